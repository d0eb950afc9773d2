"""What is suggested in place of a type that cannot be had."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.core.capacity.suggest import SUGGESTIONS, nearest
from bot.core.ports import InstanceType


def gpu_type(name: str, gpus: int, gib: int, vcpus: int = 8) -> InstanceType:
    return InstanceType(name, vcpus, 4096 * vcpus, "x86_64", gpus, "GPU", "NVIDIA", gib * 1024)


T4 = (gpu_type("g4dn.2xlarge", 1, 16), gpu_type("g4dn.xlarge", 1, 16, 4), gpu_type("g4dn.metal", 8, 16, 96))
L4 = (gpu_type("g6.xlarge", 1, 22, 4), gpu_type("g6.12xlarge", 4, 22, 48))
H100 = (gpu_type("p5.4xlarge", 1, 80, 16), gpu_type("p5.48xlarge", 8, 80, 192))
A100 = (gpu_type("p4d.24xlarge", 8, 40, 96),)
OFFERED = (*H100, *L4, *A100, *T4)


def names(found: tuple[InstanceType, ...]) -> list[str]:
    return [kind.name for kind in found]


def test_nearest_by_memory_then_by_count_smallest_machine_first():
    assert names(nearest(16384, 1, "p3.2xlarge", OFFERED)) == ["g4dn.xlarge", "g6.xlarge", "p4d.24xlarge"]
    assert names(nearest(16384, 8, "p3.16xlarge", OFFERED))[0] == "g4dn.metal"
    assert names(nearest(81920, 4, "x.y", OFFERED))[0] == "p5.4xlarge"


def test_of_an_unknown_shape_the_same_family_then_the_same_letters():
    assert names(nearest(None, 1, "p5.xlarge", OFFERED)) == ["p5.4xlarge", "p4d.24xlarge", "g4dn.xlarge"]
    assert names(nearest(None, 8, "p5.96xlarge", OFFERED))[0] == "p5.48xlarge"
    assert names(nearest(None, 1, "g5x.large", OFFERED))[:2] == ["g4dn.xlarge", "g6.xlarge"]


def test_a_name_without_any_sense():
    assert names(nearest(None, 1, "42", OFFERED))[0] == "g4dn.xlarge"
    assert nearest(None, 1, "p5.4xlarge", ()) == ()


kinds = st.builds(
    gpu_type,
    st.from_regex(r"[pg][1-7][a-z]{0,2}\.(xlarge|2xlarge|metal)", fullmatch=True),
    st.integers(1, 16),
    st.integers(8, 288),
    st.integers(2, 192),
)


@given(st.lists(kinds, max_size=12).map(tuple), st.none() | st.integers(1, 300_000), st.integers(1, 16))
def test_never_two_of_a_family_and_the_first_is_the_nearest(offered, memory, gpus):
    found = nearest(memory, gpus, "p3.2xlarge", offered)
    assert set(found) <= set(offered)
    families = {kind.name.partition(".")[0] for kind in offered}
    assert len({kind.name.partition(".")[0] for kind in found}) == len(found) == min(SUGGESTIONS, len(families))
    if memory is not None and found:
        closest = min(abs(kind.gpu_memory_mib - memory) for kind in offered)
        assert abs(found[0].gpu_memory_mib - memory) == closest


def test_of_equals_the_cheapest():
    both = (gpu_type("g4dn.xlarge", 1, 16, 4), gpu_type("g5x.2xlarge", 1, 16, 8))
    assert names(nearest(16384, 1, "p3.2xlarge", both)) == ["g4dn.xlarge", "g5x.2xlarge"]
    prices = {"g4dn.xlarge": 0.5, "g5x.2xlarge": 0.4}
    assert names(nearest(16384, 1, "p3.2xlarge", both, prices)) == ["g5x.2xlarge", "g4dn.xlarge"]
    assert names(nearest(16384, 1, "p3.2xlarge", both, {"g5x.2xlarge": 9.0}))[0] == "g5x.2xlarge", "a known price first"
