"""Rancher's whole rule beside places: a cluster that moved, is short, waits, or has three control-plane nodes."""

from __future__ import annotations

import dataclasses

import pytest

from bot.core.base import read_base
from bot.core.records import ClusterState, RequestState
from bot.core.spec import PoolSpec
from tests.core.fakes import joined, refused
from tests.core.stage import DRAFT, Stage
from tests.core.test_places import NONE_IN, Market, ordered, told

UPDATING = {"updated": False, "state": "updating", "message": "waiting for machine [train-a-gpu-x1] to delete"}


def minutes(stage: Stage, request_id: str) -> float:
    return stage.step(request_id, "settled").observed_s / 60


@pytest.mark.parametrize("phase", ["Deleting", "Failed"])
def test_a_machine_of_a_place_that_was_left_is_not_waited_for_to_the_end(stage: Stage, phase: str) -> None:
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1})
    market.until(request_id, lambda: stage.step(request_id, "machines").state == "done")
    lingers = dataclasses.replace(refused("gpu", 99, NONE_IN.format("a")), phase=phase)
    stage.rancher.machines = (*stage.rancher.machines, lingers)
    stage.rancher.says = UPDATING
    story = stage.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert 2 < minutes(stage, request_id) < 5
    assert "has not removed gpu-x99 yet" in stage.step(request_id, "settled").why


def test_it_goes_at_last_and_nothing_is_said(stage: Stage) -> None:
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1})
    market.until(request_id, lambda: stage.step(request_id, "machines").state == "done")
    lingers = dataclasses.replace(joined("gpu", 98), phase="Deleting", node="")
    stage.rancher.machines = (*stage.rancher.machines, lingers)
    stage.rancher.says = UPDATING
    stage.look(20)
    assert stage.step(request_id, "settled").state == "running"
    stage.rancher.machines, stage.rancher.says = stage.rancher.machines[:-1], {}
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.step(request_id, "settled").why == ""


def test_refusals_of_the_place_before_excuse_no_error_for_ever(stage: Stage) -> None:
    """Twenty minutes were waited for while three said it."""
    request_id = ordered(stage)
    market = Market(stage, {"gpu-2": 1})
    market.until(request_id, lambda: stage.step(request_id, "machines").state == "done")
    stage.rancher.says = {"error": True, "updated": False, "message": "boom"}
    story = stage.finish(request_id)
    assert (story.state, "boom" in story.reason) == (RequestState.FAILED, True)
    assert minutes(stage, request_id) < 5


@pytest.mark.parametrize(("says", "state"), [("error", ClusterState.DEGRADED), ("stalled", ClusterState.FAILED)])
def test_a_cluster_that_is_short_bears_an_error_and_nothing_final(stage: Stage, says: str, state: ClusterState) -> None:
    request_id = ordered(stage, gpus=2)
    market = Market(stage, {"gpu-2": 1})
    market.until(request_id, lambda: stage.step(request_id, "machines").state == "done")
    stage.rancher.says = {says: True if says == "error" else "invalid", "message": "boom", "updated": False}
    story = stage.finish(request_id)
    assert story.cluster_state == state
    assert minutes(stage, request_id) < 5


def test_a_short_cluster_that_rancher_calls_ready_does_not_wait(stage: Stage) -> None:
    request_id = ordered(stage, gpus=2)
    story = Market(stage, {"gpu-2": 1}).finish(request_id)
    assert story.cluster_state == ClusterState.DEGRADED
    assert minutes(stage, request_id) < 1


def test_a_wait_for_capacity_is_no_reason_to_fail_whatever_rancher_says_of_refused_machines(stage: Stage) -> None:
    request_id = ordered(stage, wait="12h")
    market = Market(stage, {})
    began = stage.clock.now()
    while stage.clock.now() < began + 3 * 3600:
        market.trade()
        failing = any(machine.failure for machine in stage.rancher.machines)
        stage.rancher.says = {"error": failing, "message": "failing worker machine(s)" if failing else ""}
        stage.look(every=20.0)
    assert stage.story(request_id).state == RequestState.RUNNING, stage.story(request_id).reason
    stage.rancher.says, market.room = {}, {"gpu": 1}
    assert market.finish(request_id).cluster_state == ClusterState.READY
    assert minutes(stage, request_id) < 1


@pytest.mark.parametrize("version", ["v1.34.1+rke2r1", "v1.34.1+k3s1"])
def test_three_control_plane_nodes_must_all_have_joined(stage: Stage, version: str) -> None:
    preset = stage.catalogue.presets["starter"]
    cp, *rest = preset.pools
    extra = PoolSpec("cpu", "t3.large", 2, worker=True)
    changed = dataclasses.replace(preset, pools=(dataclasses.replace(cp, count=3), *rest, extra), kubernetes=version)
    stage.catalogue = dataclasses.replace(stage.catalogue, presets={"starter": changed})
    stage.rancher.kubernetes_versions = lambda distribution="rke2": (version,)  # type: ignore[method-assign]
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()
    request_id = stage.running(DRAFT)
    while stage.step(request_id, "machines").state != "done":
        stage.look()
    third = next(m for m in stage.rancher.machines if m.pool == "cp")
    stage.rancher.machines = tuple(m for m in stage.rancher.machines if m != third)
    stage.look(5)
    assert stage.whys(request_id)["settled@1"] == "6 of 7 machines are nodes"
    stage.rancher.machines = (*stage.rancher.machines, third)
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert told(stage, request_id) == []


BASE = """apiVersion: provisioning.cattle.io/v1
kind: Cluster
spec:
  rkeConfig:
    machinePools:
    - {name: old, quantity: 7, workerRole: true}
    - {name: gpu, quantity: 3, workerRole: true}
"""


def test_the_pools_of_a_base_file_are_not_waited_for(stage: Stage) -> None:
    """The bot orders the preset's pools, whatever pools the exported cluster had."""
    preset = stage.catalogue.presets["starter"]
    extra = PoolSpec("cpu", "t3.large", 2, worker=True)
    changed = dataclasses.replace(preset, pools=(*preset.pools, extra), base=read_base(BASE))
    stage.catalogue = dataclasses.replace(stage.catalogue, presets={"starter": changed})
    stage.desk, stage.engine = stage.new_desk(), stage.new_engine()
    story = stage.finish(stage.running())
    assert story.cluster_state == ClusterState.READY
    assert stage.rancher.sizes == {"cp": 1, "wk": 1, "gpu": 1, "cpu": 2}
    assert minutes(stage, story.request_id) < 1


def test_a_machine_of_a_pool_that_nobody_ordered_stands_in_for_none(stage: Stage) -> None:
    """Somebody adds a pool in Rancher just as one of the order's machines drops out."""
    request_id = stage.running()
    while stage.step(request_id, "machines").state != "done":
        stage.look()
    worker = next(m for m in stage.rancher.machines if m.pool == "wk")
    others = tuple(m for m in stage.rancher.machines if m != worker)
    stage.rancher.machines = (*others, joined("old", 0), joined("old", 1))
    stage.look(5)
    assert stage.whys(request_id)["settled@1"] == "2 of 3 machines are nodes"
    stage.rancher.machines = (*others, joined("old", 0), worker)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_machine_too_many_in_one_pool_stands_in_for_none_in_another(stage: Stage) -> None:
    request_id = stage.running()
    while stage.step(request_id, "machines").state != "done":
        stage.look()
    worker = next(m for m in stage.rancher.machines if m.pool == "wk")
    others = tuple(m for m in stage.rancher.machines if m != worker)
    stage.rancher.machines = (*others, joined("cp", 7))
    stage.look(5)
    assert stage.whys(request_id)["settled@1"] == "2 of 3 machines are nodes"
