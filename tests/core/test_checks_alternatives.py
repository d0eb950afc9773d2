"""Which of the other types an order may move to has room in its quota."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.core.checks.facts import Answer, Facts
from bot.core.cloud import InstanceType, Quota
from bot.core.ports import Temporary
from handlers.views.request import check_line
from tests.core.test_checks import H100, T4, V100, ZONES, check, facts_about, names

G5 = replace(T4, name="g5.4xlarge", vcpus=16)
P3 = replace(V100, vcpus=8)


def moving(*kinds: InstanceType, gpus: int = 2, spot: bool = False) -> Facts:
    """An order of T4 machines (4 vCPUs each) that may move to `kinds`."""
    facts = facts_about(T4, gpus)
    pool = replace(facts.preset.gpu_pool, alternatives=tuple(kind.name for kind in kinds), spot=spot)
    return replace(
        facts,
        preset=replace(facts.preset, pools=(*facts.preset.pools[:2], pool)),
        types=Answer({**facts.types.get(), **{kind.name: kind for kind in kinds}}),
        zones={**facts.zones, **{kind.name: Answer(ZONES) for kind in kinds}},
        money=replace(facts.money, machines={**facts.money.machines, **{k.name: Answer(3.0) for k in kinds}}),
    )


def limited(facts: Facts, **limits: float) -> Facts:
    quotas = {code.replace("_", "-"): Answer(Quota(code.replace("_", "-"), limit)) for code, limit in limits.items()}
    return replace(facts, quotas={**facts.quotas, **quotas})


def test_without_alternatives_nothing_is_said() -> None:
    assert "alternatives" not in names(facts_about())


def test_all_have_room() -> None:
    found = check("alternatives", moving(G5, P3))
    assert (found.state, found.remedy) == ("ok", "")
    assert found.detail == "g5.4xlarge has room; p3.2xlarge has room"


def test_one_has_none_which_is_a_warning_and_no_refusal() -> None:
    found = check("alternatives", limited(moving(G5, P3), L_417A185B=15))
    assert found.detail == (
        "g5.4xlarge has room; p3.2xlarge has none (16 vCPUs of P needed, 0 in use, the quota is 15): "
        "an order that moves there fails"
    )
    assert (found.state, found.warns) == ("ok", True)
    assert "--quota-code L-417A185B --desired-value 16" in found.remedy
    said = "".join(span.text for span in check_line(found))
    assert said.startswith("ok, but · alternatives: ")
    assert found.remedy in said


def test_the_same_family_is_counted_with_the_larger_machines_and_what_runs() -> None:
    facts = replace(limited(moving(G5), L_DB2E81BA=40), in_use=Answer({"g4dn.2xlarge": 8}))
    assert check("quota G and VT", facts).state == "ok"
    assert not check("alternatives", facts).warns
    assert check("alternatives", replace(facts, in_use=Answer({"g4dn.2xlarge": 9}))).warns


def test_spot_machines_count_against_the_spot_quota() -> None:
    facts = limited(moving(P3, spot=True), L_3819A6DF=1000)
    assert "not known" in check("alternatives", facts).detail, "not asked for is not known"
    assert not check("alternatives", limited(facts, L_7212CCBC=16)).warns
    short = check("alternatives", limited(facts, L_7212CCBC=15))
    assert "16 spot vCPUs of P needed, the quota is 15" in short.detail


def test_one_that_cannot_stand_in_is_said_to_be_left_out() -> None:
    found = check("alternatives", moving(H100, P3))
    assert found.detail.startswith("p5.48xlarge is left out")
    assert found.remedy == "take p5.48xlarge out of preset any"


@pytest.mark.parametrize(("others", "state"), [((), "unknown"), ((H100,), "ok")])
def test_a_quota_that_does_not_answer(others: tuple[InstanceType, ...], state: str) -> None:
    facts = moving(P3, *others)
    facts = replace(facts, quotas={**facts.quotas, "L-417A185B": Answer(error=Temporary("503"))})
    found = check("alternatives", facts)
    assert (found.state, "could not check" in found.detail) == (state, True)


def test_one_that_is_sold_in_capacity_blocks_only_is_left_out() -> None:
    facts = moving(replace(G5, on_demand=False))
    assert facts.gpu_types() == ("g4dn.xlarge",)
    assert check("alternatives", facts).detail.startswith("g5.4xlarge is left out")


def test_a_pool_of_spot_machines_that_aws_does_not_sell() -> None:
    facts = limited(moving(spot=True), L_3819A6DF=1000)
    facts = replace(facts, types=Answer({**facts.types.get(), T4.name: replace(T4, spot=False)}))
    found = check("spot", facts)
    assert (found.state, found.detail) == ("no", "AWS does not sell g4dn.xlarge as spot.")
