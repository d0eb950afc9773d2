"""Who may export a cluster, and what there is to export."""

from __future__ import annotations

import pytest

from bot.core.desk import Conflict
from bot.core.policy import Denied
from tests.core.stage import BYSTANDER, GUEST, LEAD, REQUESTER, Stage


def test_the_team_gets_the_envelope_that_was_approved(stage: Stage) -> None:
    asked = stage.awaiting()
    for user in (REQUESTER, LEAD):
        found = stage.desk.made(stage.ask(user), "train-a")
        assert found.request_id == asked.request_id
        assert found.envelope.digest() == stage.request(asked.request_id).envelope_hash


@pytest.mark.parametrize("user", [BYSTANDER, GUEST])
def test_others_do_not(stage: Stage, user: str) -> None:
    stage.awaiting()
    with pytest.raises(Denied):
        stage.desk.made(stage.ask(user), "train-a")


def test_before_anything_is_resolved_there_is_nothing(stage: Stage) -> None:
    stage.create()
    with pytest.raises(Conflict, match="Nothing has been resolved for train-a yet"):
        stage.desk.made(stage.ask(), "train-a")


def test_a_delete_that_waits_hides_nothing(stage: Stage) -> None:
    request = stage.running()
    stage.finish(request)
    stage.desk.ask_delete(stage.ask(), "train-a")
    assert stage.desk.made(stage.ask(), "train-a").request_id == request


def test_no_cluster_no_export(stage: Stage) -> None:
    with pytest.raises(Conflict, match="There is no cluster “nowhere”"):
        stage.desk.made(stage.ask(), "nowhere")
