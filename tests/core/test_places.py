"""Capacity: the places of an order in their order, all or nothing, waiting, and never a machine more than approved."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable

import pytest

from bot.core.capacity.places import gpu_places, to_keep
from bot.core.changes import Verify
from bot.core.costs import ledger
from bot.core.ports import JobView, MachineView, Subnet
from bot.core.records import ClusterState, MessageKind, RequestState
from bot.core.spec import Invalid, check_draft
from bot.core.story import Story
from handlers.grammar import draft_of
from handlers.views.retype import create_line
from tests.core.fakes import KilledHere, joined, probe_log, refused, starting
from tests.core.stage import CATALOGUE, DRAFT, Stage

ZONES = (Subnet("subnet-1", "vpc-1", "us-east-1a", 200), Subnet("subnet-2", "vpc-1", "us-east-1b", 100))
NONE_IN = "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity ({})."


class Market:
    """EC2 and Rancher's endless loop: every pool is brought to its size, where its place has `room`.

    A pool without room shows a refused machine, then none, then another. What a pool has too many goes, the machines
    that have not joined first. `most` is the most GPU machines that were there or wanted at any time.
    """

    def __init__(self, stage: Stage, room: dict[str, int], words: dict[str, str] | None = None) -> None:
        self.stage, self.room, self.words = stage, room, words or {}
        self.numbers = itertools.count()
        self.tried: list[str] = []
        self.most = 0
        stage.rancher.makes = False
        stage.rancher.machines = tuple(m for m in stage.rancher.machines if not m.pool.startswith("gpu"))

    def trade(self) -> None:
        """One step of the world."""
        rancher = self.stage.rancher
        plain = [m for m in rancher.machines if not m.pool.startswith("gpu")]
        gpus: list[MachineView] = []
        for pool, size in rancher.sizes.items():
            if pool.startswith("gpu"):
                gpus += self._pool(pool, size)
        rancher.machines = (*plain, *gpus)
        self.most = max(self.most, len(gpus), sum(n for pool, n in rancher.sizes.items() if pool.startswith("gpu")))

    def _pool(self, pool: str, size: int) -> list[MachineView]:
        marked = self.stage.rancher.marked
        own = [m for m in self.stage.rancher.machines if m.pool == pool and m.node]
        there = sorted(own, key=lambda m: m.name in marked)[:size]
        failed = any(m.pool == pool and m.failure for m in self.stage.rancher.machines)
        while len(there) < min(size, self.room.get(pool, 0)):
            there.append(joined(pool, next(self.numbers)))
        if len(there) == size or failed:
            return there
        self.tried.append(pool)
        words = self.words.get(pool, NONE_IN.format(pool))
        return [*there, *(refused(pool, next(self.numbers), words) for _ in range(size - len(there)))]

    def until(
        self, request_id: str, holds: Callable[[], bool], *, within_s: float = 14400.0, every: float = 5.0
    ) -> None:
        """Let the bot look and the world go on until something holds."""
        end = self.stage.clock.now() + within_s
        while not holds():
            assert self.stage.clock.now() < end, self.stage.whys(request_id)
            self.trade()
            self.stage.look(every=every)

    def finish(self, request_id: str, **how: float) -> Story:
        self.until(request_id, lambda: self.stage.request(request_id).finished_at is not None, **how)
        return self.stage.story(request_id)


def ordered(stage: Stage, *, gpus: int = 1, wait: str = "", together: bool = False, types: tuple[str, ...] = ()) -> str:
    """An approved order with places in two zones, whose cluster object is there; its request's id."""
    stage.cloud.nets = ZONES
    preset = stage.catalogue.presets["starter"]
    pools = (*preset.pools[:2], dataclasses.replace(preset.gpu_pool, alternatives=types))
    changed = dataclasses.replace(preset, pools=pools, together=together)
    stage.catalogue = dataclasses.replace(stage.catalogue, presets={"starter": changed})
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()
    request_id = stage.running(dataclasses.replace(DRAFT, gpus=str(gpus), wait=wait))
    stage.engine.look_once()
    assert stage.rancher.label
    return request_id


def told(stage: Stage, request_id: str) -> list[str]:
    """The lines of the thread that steps had to tell."""
    with stage.store.reading() as tx:
        bodies = [json.loads(m.body) for m in tx.messages(request_id) if m.kind == MessageKind.LINE]
    return [body["text"] for body in bodies if body["what"] == "told"]


# --- the next place -------------------------------------------------------------------------------------------


def test_the_next_zone_is_tried_when_the_first_has_no_capacity(stage: Stage) -> None:
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1})
    story = market.finish(request_id)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.READY)
    assert market.tried.count("gpu") in (3, 4), "as often as the policy says; one more may be under way"
    assert stage.rancher.sized == [{"gpu": 0}, {"gpu": 0, "gpu-2": 1}], "emptied first, then the sibling"
    assert market.most == 1
    (line,) = told(stage, request_id)
    assert "InsufficientInstanceCapacity" in line
    assert "now 1 × g4dn.xlarge in us-east-1b, place 2" in line


def test_the_next_type_is_tried_and_measured_as_what_it_is(stage: Stage) -> None:
    request_id = ordered(stage, types=("g5.xlarge",))
    market = Market(stage, {"gpu-3": 1})
    stage.kube.changes = {f"node-gpu-3-{n}": {"labels": {**marks("g5.xlarge")}} for n in range(100)}
    for n in range(100):
        log = probe_log(name="NVIDIA A10G", memory_mib=24576, at=str(n))
        stage.kube.results[f"node-gpu-3-{n}"] = JobView("succeeded", "", "", log)
    story = market.finish(request_id)
    assert story.cluster_state == ClusterState.READY, story.report
    assert [pool for pool in stage.rancher.sizes if pool.startswith("gpu")] == ["gpu", "gpu-2", "gpu-3"]
    assert market.most == 1
    again = stage.finish(stage.desk.ask_change(stage.ask(), DRAFT.name, Verify("")).request_id)
    assert again.report is not None and again.report.verdict == "verified", again.report.reasons
    assert again.cluster_state == ClusterState.READY


def marks(kind: str) -> dict[str, str]:
    return {
        "gpu-cluster/pool": "gpu",
        "gpu-cluster/instance-type": kind,
        "feature.node.kubernetes.io/pci-10de.present": "true",
        "nvidia.com/gpu.present": "true",
    }


def test_what_the_first_zone_gave_is_kept_and_the_next_makes_only_the_rest(stage: Stage) -> None:
    request_id = ordered(stage, gpus=3)
    market = Market(stage, {"gpu": 1, "gpu-2": 2})
    story = market.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert (stage.rancher.sizes["gpu"], stage.rancher.sizes["gpu-2"]) == (1, 2)
    assert market.most == 3
    assert story.report is not None
    assert story.report.good == 3


def test_a_machine_that_has_started_is_not_thrown_away_for_the_next_place(stage: Stage) -> None:
    """A pool that shrinks loses machines first that have not joined."""
    request_id = ordered(stage, gpus=2)
    others = tuple(m for m in stage.rancher.machines if m.pool != "gpu")
    for number in range(12):
        stage.rancher.machines = (*others, starting("gpu", 0), refused("gpu", number, NONE_IN.format("a")))
        stage.look(2)
    assert stage.rancher.sized == []
    assert "waiting for those to join" in stage.step(request_id, "machines").why
    market = Market(stage, {"gpu": 1, "gpu-2": 1})
    assert market.finish(request_id).cluster_state == ClusterState.READY


def test_every_place_refused_names_each_and_stops_everything(stage: Stage) -> None:
    request_id = ordered(stage)
    market = Market(stage, {})
    story = market.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "in any of 2 places" in story.reason
    assert any("g4dn.xlarge in us-east-1b: InsufficientInstanceCapacity" in line for line in story.diagnosis)
    assert "--wait 24h" in story.remedy
    assert {n: s for n, s in stage.rancher.sizes.items() if n.startswith("gpu")} == {"gpu": 0, "gpu-2": 0}


def test_what_there_is_is_used_when_every_place_has_refused_the_rest(stage: Stage) -> None:
    request_id = ordered(stage, gpus=3)
    market = Market(stage, {"gpu": 1, "gpu-2": 1})
    story = market.finish(request_id)
    assert story.cluster_state == ClusterState.DEGRADED
    assert story.reason.startswith("2 of 3 gpu machines: InsufficientInstanceCapacity")
    assert (stage.rancher.sizes["gpu"], stage.rancher.sizes["gpu-2"]) == (1, 1), "nothing more is bought"


@pytest.mark.parametrize(
    "words",
    [
        "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows",
        "UnauthorizedOperation: You are not authorized to perform this operation",
        "InvalidAMIID.NotFound: The image id '[ami-1]' does not exist",
    ],
)
def test_what_only_a_person_can_mend_is_not_tried_elsewhere(stage: Stage, words: str) -> None:
    request_id = ordered(stage, wait="24h")
    market = Market(stage, {"gpu-2": 1}, {"gpu": words})
    story = market.finish(request_id)
    assert story.state == RequestState.FAILED
    assert words in story.reason
    assert "gpu-2" not in stage.rancher.sizes
    assert stage.rancher.sizes["gpu"] == 0


def test_unsupported_in_a_zone_is_tried_in_the_next(stage: Stage) -> None:
    words = (
        "Unsupported: Your requested instance type (g4dn.xlarge) is not supported in your requested Availability Zone"
    )
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1}, {"gpu": words})
    assert market.finish(request_id).cluster_state == ClusterState.READY


def test_throttling_is_tried_again_in_its_place_until_time_is_over(stage: Stage) -> None:
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1}, {"gpu": "RequestLimitExceeded: Request limit exceeded."})
    story = market.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "RequestLimitExceeded" in story.reason
    assert "gpu-2" not in stage.rancher.sizes


def test_a_place_that_refuses_now_and_then_is_left_when_its_time_is_over(stage: Stage) -> None:
    request_id = ordered(stage)
    others = tuple(m for m in stage.rancher.machines if m.pool != "gpu")
    stage.rancher.machines = (*others, refused("gpu", 0, NONE_IN.format("a")))
    stage.look()
    stage.rancher.machines = others
    stage.look(40, every=20.0)
    assert stage.rancher.sized == []
    market = Market(stage, {"gpu-2": 1})
    market.room["gpu"] = 0
    market.until(request_id, lambda: "gpu-2" in stage.rancher.sizes, within_s=400.0)


def test_the_clock_of_the_step_begins_anew_in_every_place(stage: Stage) -> None:
    """Three places of ten minutes each are more than the twenty minutes that the step has for one."""
    request_id = ordered(stage, types=("g5.xlarge",))
    market = Market(stage, {"gpu-4": 1})
    market.until(request_id, lambda: "gpu-4" in stage.rancher.sizes, every=60.0)
    assert stage.step(request_id, "machines").observed_s < 1200


# --- all or nothing -------------------------------------------------------------------------------------------


def test_together_is_all_in_one_zone(stage: Stage) -> None:
    request_id = ordered(stage, gpus=2, together=True)
    market = Market(stage, {"gpu": 1, "gpu-2": 2})
    story = market.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert (stage.rancher.sizes["gpu"], stage.rancher.sizes["gpu-2"]) == (0, 2)
    assert market.most == 2, "what the first zone gave is given back before the next is tried"


def test_together_is_nothing_where_no_zone_has_all(stage: Stage) -> None:
    request_id = ordered(stage, gpus=2, together=True)
    market = Market(stage, {"gpu": 1, "gpu-2": 1})
    story = market.finish(request_id)
    assert story.state == RequestState.FAILED
    assert {n: s for n, s in stage.rancher.sizes.items() if n.startswith("gpu")} == {"gpu": 0, "gpu-2": 0}


def test_together_one_that_never_joins_gives_back_the_other(stage: Stage) -> None:
    request_id = ordered(stage, gpus=2, together=True)
    others = tuple(m for m in stage.rancher.machines if m.pool != "gpu")
    stage.rancher.machines = (*others, joined("gpu", 0), starting("gpu", 1, "waiting for agent"))
    story = stage.finish(request_id, every=20.0)
    assert story.state == RequestState.FAILED
    assert stage.rancher.sizes["gpu"] == 0


# --- waiting --------------------------------------------------------------------------------------------------


def test_a_wait_holds_the_pool_at_0_and_tries_again(stage: Stage) -> None:
    request_id = ordered(stage, wait="24h")
    market = Market(stage, {})
    market.until(request_id, lambda: "no place has capacity" in stage.step(request_id, "machines").why)
    assert sum(n for pool, n in stage.rancher.sizes.items() if pool.startswith("gpu")) == 0
    why = stage.step(request_id, "machines").why
    assert "costs $0.20 an hour" in why
    assert "so far" in why
    assert "Next try at" in why
    tries = len(market.tried)
    stage.look(30, every=5.0)
    assert len(market.tried) == tries, "nothing is tried before the pause is over"
    market.room["gpu-2"] = 1
    story = market.finish(request_id, every=20.0)
    assert story.cluster_state == ClusterState.READY
    assert market.most == 1


def test_the_wait_outlives_the_clock_of_the_step_and_backs_off_to_an_hour(stage: Stage) -> None:
    request_id = ordered(stage, wait="12h")
    market = Market(stage, {})
    end = stage.clock.now() + 11 * 3600
    market.until(request_id, lambda: stage.clock.now() > end, within_s=50000, every=30.0)
    assert stage.story(request_id).state == RequestState.RUNNING
    rounds = len(market.tried) / 6
    assert 10 < rounds < 25
    story = market.finish(request_id, within_s=10000, every=30.0)
    assert story.state == RequestState.FAILED
    assert "in any of 2 places in 12 hours" in story.reason
    assert market.most == 1


def test_what_the_wait_costs_is_approved_and_counted_without_the_gpus(stage: Stage) -> None:
    stage.cloud.prices = {"t3.large": 0.1, "g4dn.xlarge": 10.0}
    request_id = ordered(stage, wait="10h")
    envelope = stage.story(request_id).envelope
    assert envelope is not None
    assert envelope.wait_hours == 10
    assert envelope.max_cost == pytest.approx(10.2 * 8 + 0.2 * 10)
    market = Market(stage, {})
    began = stage.clock.now()
    market.until(request_id, lambda: stage.clock.now() > began + 5 * 3600, within_s=20000, every=30.0)
    with stage.store.reading() as tx:
        (bill,) = ledger.accounts(tx, stage.clock.now())
    assert bill.spent == pytest.approx(0.2 * bill.hours, abs=0.1)
    assert bill.unusable == pytest.approx(0.0, abs=0.5)


def test_unsupported_everywhere_is_not_waited_for(stage: Stage) -> None:
    words = "Unsupported: Your requested instance type is not supported in your requested Availability Zone"
    request_id = ordered(stage, wait="24h")
    market = Market(stage, {}, {"gpu": words, "gpu-2": words})
    assert market.finish(request_id, within_s=3600).state == RequestState.FAILED


# --- killed, and more than approved ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_process_that_dies_after_a_change_of_sizes_makes_nothing_twice(stage: Stage, after: int) -> None:
    """Between Rancher's answer and our note of it. The next process does the same again, to the same end."""
    request_id = ordered(stage, gpus=3, wait="24h" if after == 3 else "")
    market = Market(stage, {"gpu": 1, "gpu-2": 2} if after < 3 else {})
    for _ in range(400):
        market.trade()
        stage.rancher.crash_after_sizing = len(stage.rancher.sized) == after - 1
        try:
            stage.look()
        except KilledHere:
            break
    else:
        pytest.fail("it was never killed")
    stage.rancher.crash_after_sizing = False
    if after == 3:
        market.room = {"gpu": 1, "gpu-2": 2}
    stage.clock.forward(60)  # the lease of the dead process
    stage.engine = stage.new_engine()
    story = market.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert stage.rancher.made["config gpu-2"] == 1
    assert market.most == 3


@pytest.mark.parametrize("pool", ["gpu", "theirs"])
def test_a_pool_that_somebody_has_raised_is_lowered_and_told(stage: Stage, pool: str) -> None:
    request_id = ordered(stage, gpus=2)
    others = tuple(m for m in stage.rancher.machines if m.pool != "gpu")
    stage.rancher.sizes[pool] = 3
    stage.rancher.machines = (*others, *(starting(pool, n) for n in range(3)))
    stage.look(2)
    assert stage.rancher.sizes[pool] == (2 if pool == "gpu" else 0)
    (line,) = told(stage, request_id)
    assert "more machines were wanted than approved" in line
    assert f"pool {pool}: 3 machines" in line


def test_more_machines_in_ec2_than_approved_are_told(stage: Stage) -> None:
    request_id = ordered(stage)
    stray = dataclasses.replace(stage.cloud.left[0], id="i-stray", name="train-a-gpu-stray")
    stage.cloud.left = (*stage.cloud.left, stray)
    stage.finish(request_id)
    (line,) = told(stage, request_id)
    assert "EC2 runs 4 machines of this request and 3 were approved" in line
    assert "i-stray" in line


def test_a_pool_of_the_right_size_is_never_asked_about(stage: Stage) -> None:
    request_id = ordered(stage, gpus=2)
    stage.rancher.trim_pools = None  # type: ignore[assignment, method-assign]
    assert stage.finish(request_id).cluster_state == ClusterState.READY


# --- names and sizes ------------------------------------------------------------------------------------------


def test_places_are_pools_with_names_that_follow_from_their_order(stage: Stage) -> None:
    envelope = stage.story(ordered(stage, types=("g5.xlarge",))).envelope
    assert envelope is not None
    assert [(p.name, p.instance_type, p.zone, p.subnet) for p in gpu_places(envelope)] == [
        ("gpu", "g4dn.xlarge", "a", "subnet-1"),
        ("gpu-2", "g4dn.xlarge", "b", "subnet-2"),
        ("gpu-3", "g5.xlarge", "a", "subnet-1"),
        ("gpu-4", "g5.xlarge", "b", "subnet-2"),
    ]
    assert {dict(p.labels)["gpu-cluster/pool"] for p in gpu_places(envelope)} == {"gpu"}
    assert dict(gpu_places(envelope)[3].labels)["gpu-cluster/instance-type"] == "g5.xlarge"


def with_a_fixed_pool(stage: Stage, name: str) -> None:
    """The preset gets a second GPU pool, of one machine; machines may be had in two zones."""
    stage.cloud.nets = ZONES
    preset = stage.catalogue.presets["starter"]
    fixed = dataclasses.replace(preset.gpu_pool, name=name, count=1)
    changed = dataclasses.replace(preset, pools=(*preset.pools[:2], fixed, preset.gpu_pool))
    stage.catalogue = dataclasses.replace(stage.catalogue, presets={"starter": changed})
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()


@pytest.mark.parametrize(("fixed", "siblings"), [("gpu-2", ["gpu-3"]), ("gpu-3", ["gpu-2"]), ("other", ["gpu-2"])])
def test_a_sibling_never_takes_the_name_of_an_ordered_pool(stage: Stage, fixed: str, siblings: list[str]) -> None:
    with_a_fixed_pool(stage, fixed)
    envelope = stage.awaiting(dataclasses.replace(DRAFT, gpus="2")).envelope
    assert envelope is not None
    assert [pool.name for pool in gpu_places(envelope)] == ["gpu", *siblings]
    assert {pool.name for pool in envelope.pools} & set(siblings) == set()


def test_an_order_with_a_fixed_pool_called_like_a_sibling_moves_on_beside_it(stage: Stage) -> None:
    with_a_fixed_pool(stage, "gpu-2")
    request_id = stage.running(dataclasses.replace(DRAFT, gpus="2"))
    stage.engine.look_once()
    story = Market(stage, {"gpu-2": 1, "gpu-3": 1}).finish(request_id)
    assert story.cluster_state == ClusterState.READY, story.reason
    sizes = {name: size for name, size in stage.rancher.sizes.items() if name.startswith("gpu")}
    assert sizes == {"gpu": 0, "gpu-2": 1, "gpu-3": 1}


def test_a_pool_is_lowered_so_that_what_runs_stays() -> None:
    on_its_way = dataclasses.replace(starting("gpu", 9), created=False)
    assert to_keep([joined("gpu", 0), starting("gpu", 1)]) == 2
    assert to_keep([joined("gpu", 0), starting("gpu", 1), on_its_way]) == 1
    assert to_keep([refused("gpu", 0, "x: y")]) == 0
    assert to_keep([]) == 0


# --- what is typed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "hours"), [("", 0), ("1h", 1), ("48h", 48), ("48", 48)])
def test_a_wait_that_can_be_had(typed: str, hours: int) -> None:
    draft = dataclasses.replace(DRAFT, wait=typed)
    assert check_draft(draft, CATALOGUE.teams["default"], CATALOGUE).wait_hours == hours


@pytest.mark.parametrize("typed", ["0h", "49h", "-1", "2d", "long", "1.5h", "h"])
def test_a_wait_that_cannot(typed: str) -> None:
    with pytest.raises(Invalid, match="say how many hours to wait for capacity, 1h to 48h"):
        check_draft(dataclasses.replace(DRAFT, wait=typed), CATALOGUE.teams["default"], CATALOGUE)


def test_a_policy_without_waiting() -> None:
    rules = dataclasses.replace(CATALOGUE, policy=dataclasses.replace(CATALOGUE.policy, max_wait_hours=0))
    with pytest.raises(Invalid, match="switched off"):
        check_draft(dataclasses.replace(DRAFT, wait="1h"), rules.teams["default"], rules)


def test_the_line_is_understood_and_can_be_typed_again() -> None:
    draft = draft_of(("train-a", "--preset", "starter", "--wait", "24h"))
    assert draft.wait == "24h"
    assert "--wait 24h" in create_line(draft)
    assert draft_of(("train-a", "--wait")).problems[0].field == "wait"
