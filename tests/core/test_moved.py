"""Clusters whose GPU machines stand in several places: scaled, repaired, retried, paid for, exported as any other."""

from __future__ import annotations

import dataclasses
import random

import pytest

from bot.core import exporting
from bot.core.changes import Change, Replace, Scale
from bot.core.costs import ledger
from bot.core.ports import JobView
from bot.core.records import ClusterState, RequestState
from bot.core.spec import Policy
from bot.core.story import Story
from bot.rancher.export import on_rancher
from bot.rancher.terraform import terraform
from tests.core.fakes import KilledHere, joined, probe_log, refused
from tests.core.stage import DRAFT, Stage
from tests.core.test_places import NONE_IN, Market, ordered, told

NAME = DRAFT.name


def moved(
    stage: Stage, *, gpus: int = 2, types: tuple[str, ...] = (), together: bool = False, **room: int
) -> tuple[Market, str]:
    """A verified cluster that came to stand where there was room, and its request's id. Pools by name, `gpu_2`."""
    request_id = ordered(stage, gpus=gpus, types=types, together=together)
    market = Market(stage, {name.replace("_", "-"): n for name, n in room.items()})
    assert market.finish(request_id).cluster_state == ClusterState.READY
    return market, request_id


def ask(stage: Stage, change: Change) -> str:
    """A change that a lead has approved; its request's id."""
    asked = stage.desk.ask_change(stage.ask(), NAME, change)
    stage.look()
    stage.approve(asked.request_id)
    return asked.request_id


def changed(stage: Stage, market: Market, change: Change) -> Story:
    market.most = 0
    return market.finish(ask(stage, change))


def stand(stage: Stage) -> dict[str, int]:
    """GPU machines by pool, where there are any; Rancher's sizes say the same."""
    there = {name: sum(m.pool == name and bool(m.node) for m in stage.rancher.machines) for name in stage.rancher.sizes}
    assert there == stage.rancher.sizes
    return {name: n for name, n in there.items() if n and name.startswith("gpu")}


# --- scale ------------------------------------------------------------------------------------------------------


def test_more_are_made_where_machines_stand(stage: Stage) -> None:
    market, _ = moved(stage, gpu_2=9)
    story = changed(stage, market, Scale("gpu", 5))
    assert story.state == RequestState.DONE
    assert stand(stage) == {"gpu-2": 5}
    assert market.most == 5
    assert "offered in us-east-1b" in next(check.detail for check in story.checks if check.name == "type")


def test_beside_machines_in_two_places_the_later_one_grows_as_the_first_had_refused(stage: Stage) -> None:
    market, _ = moved(stage, gpus=3, gpu=1, gpu_2=9)
    changed(stage, market, Scale("gpu", 4))
    assert stand(stage) == {"gpu": 1, "gpu-2": 3}
    assert market.most == 4


def test_what_it_refuses_is_made_in_the_next_approved_place(stage: Stage) -> None:
    market, home = moved(stage, types=("g5.xlarge",), gpu_2=2)
    kept = {m.name for m in stage.rancher.machines}
    market.room |= {"gpu-2": 3, "gpu-4": 2}
    request_id = ask(stage, Scale("gpu", 5))
    market.until(request_id, lambda: stage.rancher.sizes.get("gpu-4") == 2)
    assert market.tried[-1] in ("gpu-3", "gpu-4"), "gpu and gpu-3 have refused before"
    assert stage.rancher.sizes["gpu-2"] == 3
    assert stage.rancher.configs["gpu-4"] == home, "its EC2 tags must be those of the cluster"
    assert kept <= {m.name for m in stage.rancher.machines}
    assert market.most <= 5
    assert any("now 2 × g4dn.xlarge in us-east-1a" in line for line in told(stage, request_id))


def test_when_every_place_has_refused_only_the_new_machines_go(stage: Stage) -> None:
    market, _ = moved(stage, gpus=3, gpu=1, gpu_2=2)
    before = {m.name for m in stage.rancher.machines}
    market.room = {"gpu": 1, "gpu-2": 3}
    story = changed(stage, market, Scale("gpu", 5))
    assert story.state == RequestState.FAILED
    assert "in any of 2 places" in story.reason
    assert "back at 3; the cluster is as it was" in story.remedy
    market.trade()
    assert {m.name for m in stage.rancher.machines} == before
    assert stand(stage) == {"gpu": 1, "gpu-2": 2}
    assert story.cluster_state == ClusterState.READY
    assert market.most <= 5


def test_together_grows_in_its_one_zone_or_not_at_all(stage: Stage) -> None:
    market, _ = moved(stage, together=True, gpu_2=2)
    market.room = {"gpu": 9, "gpu-2": 2}
    assert changed(stage, market, Scale("gpu", 4)).state == RequestState.FAILED
    market.trade()
    assert stand(stage) == {"gpu-2": 2}


def test_fewer_are_taken_from_all_places_and_only_those_nobody_needs(stage: Stage) -> None:
    market, _ = moved(stage, gpus=4, gpu=2, gpu_2=2)
    busy = sorted(m.node for m in stage.rancher.machines if m.pool.startswith("gpu"))[::2]
    stage.kube.in_use = dict.fromkeys(busy, 1)
    assert changed(stage, market, Scale("gpu", 2)).state == RequestState.DONE
    assert sorted(m.node for m in stage.rancher.machines if m.pool.startswith("gpu")) == busy
    assert stand(stage) == {"gpu": 1, "gpu-2": 1}
    assert stage.rancher.sized[-1] == {"gpu": 1, "gpu-2": 1}, "in one change"


@pytest.mark.parametrize(("after", "gpus"), [(1, 5), (2, 5), (3, 5), (1, 2)])
def test_a_process_that_dies_after_a_change_of_sizes_comes_to_the_same_end(stage: Stage, after: int, gpus: int) -> None:
    market, _ = moved(stage, gpus=3, gpu=1, gpu_2=2)
    market.room, market.most, asked = {"gpu": 3, "gpu-2": 2}, 0, len(stage.rancher.sized)
    request_id = ask(stage, Scale("gpu", gpus))
    for _ in range(200):
        market.trade()
        stage.rancher.crash_after_sizing = len(stage.rancher.sized) == asked + after - 1
        try:
            stage.look()
        except KilledHere:
            break
    else:
        pytest.fail("it was never killed")
    stage.rancher.crash_after_sizing = False
    stage.clock.forward(60)  # the lease of the dead process
    stage.engine = stage.new_engine()
    assert market.finish(request_id).state == RequestState.DONE
    assert sum(stand(stage).values()) == gpus
    assert market.most <= max(gpus, 3)


@pytest.mark.parametrize("seed", range(6))
def test_never_more_than_approved_wherever_there_is_room(stage: Stage, seed: int) -> None:
    """Whatever room places have: it ends as was asked or as it was, and at no time is there one too many."""
    chance = random.Random(seed)
    market, _ = moved(stage, gpus=3, gpu=chance.randint(0, 3), gpu_2=3)
    size = 3
    for _ in range(3):
        market.room = {"gpu": chance.randint(0, 5), "gpu-2": chance.randint(0, 5)}
        wanted = chance.choice([n for n in range(1, 7) if n != size])
        story = changed(stage, market, Scale("gpu", wanted))
        assert market.most <= max(size, wanted)
        market.trade()
        size = wanted if story.state == RequestState.DONE else size
        assert sum(stand(stage).values()) == size


# --- replace ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["gpu", "gpu-2"])
def test_exactly_the_bad_machine_is_replaced_in_its_own_place(stage: Stage, pool: str) -> None:
    market, _ = moved(stage, gpus=3, gpu=1, gpu_2=2)
    market.room = {"gpu": 9, "gpu-2": 9}
    bad = next(m for m in stage.rancher.machines if m.pool == pool)
    others = {m.name for m in stage.rancher.machines if m != bad}
    asked = stage.desk.care.replace(stage.ask(), NAME, bad.node)
    stage.look()
    stage.approve(asked.request_id)
    market.most = 0
    story = market.finish(asked.request_id)
    assert story.state == RequestState.DONE
    names = {m.name for m in stage.rancher.machines}
    assert bad.name not in names and others < names
    assert stand(stage) == {"gpu": 1, "gpu-2": 2}
    assert market.most == 4, "one more for the time being, which was approved"
    assert f"g4dn.xlarge in us-east-1{'a' if pool == 'gpu' else 'b'}" in story.checks[0].detail


def test_without_capacity_for_the_new_one_every_place_is_as_it_was(stage: Stage) -> None:
    market, _ = moved(stage, gpus=3, gpu=1, gpu_2=2)
    bad = next(m for m in stage.rancher.machines if m.pool == "gpu-2")
    request_id = ask(stage, Replace(bad.node, stage.kube.nodes()[-1].uid))
    assert "nothing was lost" in market.finish(request_id).reason
    market.trade()
    assert stand(stage) == {"gpu": 1, "gpu-2": 2}
    assert bad.name in {m.name for m in stage.rancher.machines}


def test_what_is_missing_is_made_where_the_others_stand(stage: Stage) -> None:
    market, _ = moved(stage, gpus=2, gpu_2=2)
    lost = next(m for m in stage.rancher.machines if m.pool == "gpu-2")
    stage.rancher.machines = tuple(m for m in stage.rancher.machines if m != lost)
    stage.rancher.sizes["gpu-2"] = 1
    request_id = ask(stage, Replace())
    stage.look(3)
    assert stage.rancher.sized[-1] == {"gpu": 0, "gpu-2": 2}
    assert market.finish(request_id).state == RequestState.DONE
    assert stand(stage) == {"gpu-2": 2}


# --- retry ------------------------------------------------------------------------------------------------------


def test_a_retry_opens_the_pools_in_which_machines_stand(stage: Stage) -> None:
    stage.rancher.charts = ()
    request_id = ordered(stage, gpus=2)
    market = Market(stage, {"gpu": 1, "gpu-2": 1})
    stage.rancher.charts = ("v26.7.0",)
    stage.kube.results = {
        f"node-gpu-2-{n}": JobView("succeeded", "", "", probe_log(ok=False, at=str(n))) for n in range(20)
    } | {f"node-gpu-{n}": JobView("succeeded", "", "", probe_log(ok=False, at=f"a{n}")) for n in range(20)}
    assert market.finish(request_id).state == RequestState.FAILED
    stage.kube.results = {}
    asked = len(stage.rancher.sized)
    stage.desk.retry(stage.ask(), NAME)
    market.finish(request_id)
    reopened = stage.rancher.sized[asked]
    assert (reopened["gpu"], reopened["gpu-2"]) == (1, 1)
    assert stand(stage) == {"gpu": 1, "gpu-2": 1}
    assert market.most == 2


def test_a_retry_of_the_machines_goes_on_beside_what_stands(stage: Stage) -> None:
    """A plain machine that EC2 refuses for good has failed it; the GPU machines had moved meanwhile."""
    request_id = ordered(stage, gpus=2)
    market = Market(stage, {"gpu-2": 1})
    market.until(request_id, lambda: any(m.node and m.pool == "gpu-2" for m in stage.rancher.machines))
    plain = next(m for m in stage.rancher.machines if m.pool == "wk")
    words = "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit allows."
    bad = tuple(dataclasses.replace(refused("wk", n, words), name=f"wk-x{n}") for n in range(3))
    stage.rancher.machines = (*(m for m in stage.rancher.machines if m != plain), *bad)
    story = market.finish(request_id)
    assert (story.state, stage.rancher.sizes["gpu-2"]) == (RequestState.FAILED, 1)
    stage.rancher.machines = (*(m for m in stage.rancher.machines if m not in bad), plain)
    market.room, market.tried = {"gpu": 1, "gpu-2": 1}, []
    stage.desk.retry(stage.ask(), NAME)
    assert market.finish(request_id).cluster_state == ClusterState.READY
    assert stand(stage) == {"gpu": 1, "gpu-2": 1}
    assert market.most == 2


# --- money and export -------------------------------------------------------------------------------------------


def test_it_costs_what_machines_cost_where_they_stand(stage: Stage) -> None:
    """Approved by the dearest type, paid by the one that EC2 gave; what is added costs what it costs there."""
    stage.cloud.prices = {"t3.large": 0.1, "g4dn.xlarge": 1.0, "g5.xlarge": 3.0}
    market, request_id = moved(stage, gpus=2, types=("g5.xlarge",), gpu_2=2)
    envelope = stage.story(request_id).envelope
    assert envelope is not None and envelope.max_price_per_hour == pytest.approx(6.2)
    stage.clock.forward(3600)
    with stage.store.reading() as tx:
        (bill,) = ledger.accounts(tx, stage.clock.now())
    assert bill.spent == pytest.approx(2.2 * bill.hours)
    assert bill.promised == pytest.approx(2.2 * 7, rel=0.01)
    market.room["gpu-2"] = 3
    changed(stage, market, Scale("gpu", 3))
    with stage.store.reading() as tx:
        (grown,) = ledger.accounts(tx, stage.clock.now())
        stage.clock.forward(3600)
        (later,) = ledger.accounts(tx, stage.clock.now())
    assert later.spent is not None and grown.spent is not None
    assert later.spent - grown.spent == pytest.approx(3.2)


def test_the_export_has_a_pool_for_each_place(stage: Stage) -> None:
    market, request_id = moved(stage, gpus=3, gpu=1, gpu_2=9)
    changed(stage, market, Scale("gpu", 4))
    with stage.store.reading() as tx:
        row = tx.living_cluster(NAME)
        assert row is not None
        made = exporting.made(tx, row)
    assert made is not None and made.request_id == request_id
    *configs, cluster = on_rancher(made.envelope, made.request_id)
    pools = {pool["name"]: pool for pool in cluster["spec"]["rkeConfig"]["machinePools"]}
    assert {name: pool["quantity"] for name, pool in pools.items()} == {"cp": 1, "wk": 1, "gpu": 1, "gpu-2": 3}
    assert pools["gpu-2"]["labels"]["gpu-cluster/pool"] == "gpu"
    names = [config["metadata"]["name"] for config in configs]
    assert [pool["machineConfigRef"]["name"] for pool in pools.values()] == names
    assert {config["zone"] for config in configs} == {"a", "b"}
    text = terraform(made.envelope, made.request_id)
    assert 'resource "rancher2_machine_config_v2" "gpu-2"' in text
    assert text.count("quantity = 3") == 1


# --- how often and how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tries", [1, 6])
def test_how_often_is_tried_is_configured(stage: Stage, tries: int) -> None:
    stage.catalogue = dataclasses.replace(stage.catalogue, policy=Policy(tries_per_place=tries))
    market, _ = moved(stage, gpu_2=2)
    market.room, market.tried = {}, []
    story = changed(stage, market, Scale("gpu", 3))
    assert story.state == RequestState.FAILED
    assert {pool: market.tried.count(pool) in (tries, tries + 1) for pool in ("gpu", "gpu-2")} == {
        "gpu": True,
        "gpu-2": True,
    }


def test_a_place_may_have_longer_than_the_steps_clock(stage: Stage) -> None:
    stage.catalogue = dataclasses.replace(stage.catalogue, policy=Policy(place_minutes=60))
    market, _ = moved(stage, gpu_2=2)
    request_id = ask(stage, Scale("gpu", 3))
    stage.look(2)
    others = stage.rancher.machines
    stage.rancher.machines = (*others, refused("gpu-2", 0, NONE_IN.format("b")))
    stage.look()
    stage.rancher.machines = others
    stage.look(40, every=60.0)
    assert stage.story(request_id).state == RequestState.RUNNING, "forty minutes"
    stage.rancher.machines = (*others, joined("gpu-2", 77))
    assert stage.finish(request_id).state == RequestState.DONE
    assert market.most <= 3
