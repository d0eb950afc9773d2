"""What is said of a step that is late, before anybody asks; and of what else is wrong when a request fails."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.core import plan
from bot.core.causes.stall import also, stall
from bot.core.ports import RepoView
from bot.core.records import Kind, StepRow, StepState
from tests.core.stage import Stage
from tests.core.test_trouble import until_cluster

KINDS = sorted(
    {planned.kind for kind in Kind for planned in (*plan.plan_for(kind), *plan.plan_for(kind, enabled=True))}
)


def lines(stage: Stage, request_id: str) -> list[dict[str, object]]:
    with stage.store.reading() as tx:
        bodies = [json.loads(m.body) for m in tx.messages(request_id) if m.body]
    return [body for body in bodies if body.get("what") == "stalled"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_that_is_late_has_a_likely_cause_and_a_next_action(kind: str) -> None:
    late = StepRow("r-1", 0, kind, StepState.RUNNING, started_at=5.0, observed_s=plan.clocks(kind).stalled_s + 1)
    found = stall(late)
    assert found is not None
    assert found.likely and found.action
    assert (found.since, found.usual_s) == (5.0, plan.clocks(kind).usual_s)
    in_time = StepRow("r-1", 0, kind, StepState.RUNNING, observed_s=plan.clocks(kind).stalled_s)
    assert stall(in_time) is None


def test_a_late_control_plane_is_explained_from_the_planners_words_before_anybody_asks(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.connected = False
    said = "configuring bootstrap node(s) a: waiting for agent to check in and apply initial plan"
    stage.rancher.says = {"message": said}
    started = stage.clock.now()
    stage.look(190)
    (body,) = [line for line in lines(stage, request_id) if line["step"] == "control_plane"]
    assert body["text"] == "a machine runs; its agent has not asked Rancher for work yet"
    assert "port 443" in str(body["likely"])
    assert "security group" in str(body["action"])
    assert body["usual_s"] == 420
    assert abs(float(str(body["since"])) - started) < 15
    current = stage.story(request_id).current
    assert current is not None and current.stalled and "port 443" in current.likely


def test_two_faults_at_once_are_both_named(stage: Stage) -> None:
    """The operator's chart is not to be had, while EC2 refuses a machine: one ends it, the other is told beside."""
    request_id = until_cluster(stage)
    stage.rancher.repo = RepoView(False, "", "")
    words = "InsufficientInstanceCapacity: We currently do not have sufficient g4dn.xlarge capacity"
    refused = replace(stage.rancher.machines[-1], node="", created=False, failure=words)
    stage.rancher.machines = (*stage.rancher.machines[:-1], refused)
    stage.look(3)
    stage.rancher.repo, stage.rancher.charts = RepoView(True, "", ""), ("v25.3.4",)
    story = stage.finish(request_id)
    assert "is not in" in story.reason
    (other,) = [line for line in story.diagnosis if line.startswith("Also machines")]
    assert "EC2 refused 1" in other and "InsufficientInstanceCapacity" in other


def test_a_step_that_goes_well_is_not_told_beside_a_failure() -> None:
    row = StepRow("r-1", 0, "machines@1", StepState.RUNNING, observed_s=10.0, why="waiting", facts='{"failures": "{}"}')
    assert also([row], "catalog@1") == ()
