"""What holds for every step: a failed create buys nothing more, and what a person can mend is waited for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.core.ports import Refused, Temporary
from bot.core.records import ClusterState, RequestState
from tests.core.fakes import refused, starting
from tests.core.stage import Stage


@pytest.mark.parametrize("started", [False, True])
def test_a_create_that_fails_elsewhere_stops_the_pool_that_is_short(stage: Stage, started: bool) -> None:
    """Rancher would go on trying to buy the GPU machine for ever, after everybody has left."""
    request_id = stage.running()
    stage.engine.look_once()
    others = [m for m in stage.rancher.machines if m.pool != "gpu"]
    gpu = starting("gpu", 0) if started else refused("gpu", 0, "InsufficientInstanceCapacity: none")
    stage.rancher.machines = (*others, gpu)
    stage.rancher.charts = ()
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "gpu-operator v26.7.0 is not in" in story.reason
    assert stage.rancher.sizes["gpu"] == int(started), "what runs is kept for a person to look at"


def test_the_failure_is_not_told_before_the_pool_is_stopped(stage: Stage) -> None:
    request_id = stage.running()
    stage.engine.look_once()
    stage.rancher.machines = tuple(m for m in stage.rancher.machines if m.pool != "gpu")
    stage.rancher.charts = ()
    real = stage.rancher.trim_pools

    def unheard(name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        raise Temporary("Rancher changes the cluster all the time")

    stage.rancher.trim_pools = unheard  # type: ignore[method-assign]
    stage.look(5, every=15.0)
    assert stage.story(request_id).state == RequestState.RUNNING
    assert "machine pools are stopped" in stage.step(request_id, "catalog").why
    stage.rancher.trim_pools = real  # type: ignore[method-assign]
    assert stage.finish(request_id).state == RequestState.FAILED
    assert stage.rancher.held == [("gpu", True)]


def test_a_create_with_all_its_machines_has_nothing_to_stop(stage: Stage) -> None:
    request_id = stage.running()
    stage.engine.look_once()
    stage.rancher.charts = ()
    assert stage.finish(request_id).state == RequestState.FAILED
    assert stage.rancher.held == []


def test_a_token_that_was_renewed_in_time_costs_nothing(stage: Stage) -> None:
    request_id = stage.running()
    stage.look()
    stage.outage(Refused("401: the token has expired", "Renew RANCHER_TOKEN."))
    stage.look(10, every=20.0)
    assert stage.story(request_id).state == RequestState.RUNNING
    assert "Renew RANCHER_TOKEN." in " ".join(stage.whys(request_id).values())
    stage.outage(None)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_cluster_that_has_gone_is_not_taken_for_an_outage(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    stage.kube.trouble = Temporary("no route to host")
    stage.rancher.label, stage.cloud.left = "", ()
    story = stage.finish(request_id, every=30.0)
    assert "has disappeared from Rancher" in story.reason
