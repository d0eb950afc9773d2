"""What holds for every step: a failed create buys nothing more, and what a person can mend is waited for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.core.ports import Refused, Temporary, TokenRefused, WorldError
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


@pytest.mark.parametrize(
    ("trouble", "hours"),
    [
        (Refused("403: machines is forbidden", "An administrator can give that right."), 0.1),
        (TokenRefused("Rancher has not accepted the bot's token since Friday.", "Put another one into its file."), 60),
        (Temporary("Rancher cannot be reached.", ""), 24),
    ],
)
def test_what_was_mended_in_time_costs_nothing(stage: Stage, trouble: WorldError, hours: float) -> None:
    """A right that is missing, within the step's time; a token that is refused over a weekend; Rancher down for a
    day."""
    request_id = stage.running()
    stage.look()
    stage.outage(trouble)
    stage.look(20, every=hours * 3600 / 20)
    assert stage.story(request_id).state == RequestState.RUNNING
    why = " ".join(stage.whys(request_id).values())
    assert trouble.reason in why
    assert (isinstance(trouble, Temporary) and not isinstance(trouble, TokenRefused)) or trouble.remedy in why
    stage.outage(None)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_cluster_that_has_gone_is_not_taken_for_an_outage(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(2)
    stage.kube.trouble = Temporary("no route to host")
    stage.rancher.label, stage.cloud.left = "", ()
    story = stage.finish(request_id, every=30.0)
    assert "has disappeared from Rancher" in story.reason
