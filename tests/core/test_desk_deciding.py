"""Deciding: a lead, never oneself, once, in time, and about what the card showed."""

from __future__ import annotations

import dataclasses

import pytest

from bot.core.desk import Conflict, Decided
from bot.core.policy import Denied
from bot.core.ports import Temporary
from bot.core.records import ClusterState, RequestState
from bot.core.spec import to_json
from tests.core.stage import BYSTANDER, GUEST, LEAD, REQUESTER, SECOND_LEAD, Stage
from tests.core.test_desk_asking import at_once


def test_a_lead_approves_and_the_work_is_due(stage: Stage) -> None:
    asked = stage.awaiting()
    decided = stage.approve(asked.request_id)
    assert (decided.final, decided.approvals, decided.needed) == (True, 1, 1)
    row = stage.request(asked.request_id)
    assert (row.state, row.decided_by, row.next_look_at) == (RequestState.APPROVED, LEAD, stage.clock.now())
    (decision,) = decided.story.decisions
    assert (decision.approver, decision.decision) == (LEAD, "approve")


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("user", [BYSTANDER, GUEST])
def test_who_is_no_lead_cannot_decide(stage: Stage, user: str, approve: bool) -> None:
    asked = stage.awaiting()
    with pytest.raises(Denied):
        stage.desk.decide(user, asked.request_id, approve=approve)
    assert stage.story(asked.request_id).state == RequestState.AWAITING_APPROVAL
    assert stage.story(asked.request_id).decisions == ()


def test_the_requester_cannot_approve_even_as_a_lead_but_may_deny(stage: Stage) -> None:
    asked = stage.awaiting()
    with pytest.raises(Denied, match="You asked for this yourself") as denied:
        stage.approve(asked.request_id, REQUESTER)
    assert LEAD in denied.value.who_can
    assert stage.desk.decide(REQUESTER, asked.request_id, approve=False).story.state == RequestState.DENIED


def test_when_slack_cannot_say_who_clicked_nothing_is_decided(stage: Stage) -> None:
    asked = stage.awaiting()
    stage.directory.trouble = Temporary("Slack does not answer")
    with pytest.raises(Temporary):
        stage.approve(asked.request_id)
    assert stage.story(asked.request_id).state == RequestState.AWAITING_APPROVAL


def test_approving_twice(stage: Stage) -> None:
    asked = stage.awaiting()
    stage.approve(asked.request_id)
    with pytest.raises(Conflict, match=f"already approved by <@{LEAD}>"):
        stage.approve(asked.request_id)
    with pytest.raises(Conflict, match=f"already approved by <@{LEAD}>"):
        stage.desk.decide(SECOND_LEAD, asked.request_id, approve=False)


@pytest.mark.parametrize("second_approves", [True, False])
def test_of_two_leads_at_once_exactly_one_decides(stage: Stage, second_approves: bool) -> None:
    asked = stage.awaiting()
    answers = at_once(
        lambda: stage.desk.decide(LEAD, asked.request_id, approve=True),
        lambda: stage.desk.decide(SECOND_LEAD, asked.request_id, approve=second_approves),
    )
    assert sorted(type(a).__name__ for a in answers) == ["Conflict", "Decided"]
    (won,) = [a for a in answers if isinstance(a, Decided)]
    assert len(stage.story(asked.request_id).decisions) == 1
    assert stage.story(asked.request_id).state == won.story.state


def test_it_is_too_late_from_the_moment_it_lapses_whether_or_not_anybody_looked(stage: Stage) -> None:
    asked = stage.awaiting()
    stage.clock.forward(24 * 3600)
    with pytest.raises(Conflict, match="lapsed"):
        stage.approve(asked.request_id)
    stage.look()
    assert stage.story(asked.request_id).state == RequestState.LAPSED
    with pytest.raises(Conflict, match="lapsed"):
        stage.approve(asked.request_id)
    assert stage.awaiting().state == RequestState.AWAITING_APPROVAL, "the name is free again"


def test_a_moment_before_it_lapses_is_in_time(stage: Stage) -> None:
    asked = stage.awaiting()
    stage.clock.forward(24 * 3600 - 1)
    stage.look(every=0)
    assert stage.approve(asked.request_id).final


def test_a_delete_lapses_too_and_the_cluster_stays(stage: Stage) -> None:
    stage.finish(stage.running())
    asked = stage.desk.ask_delete(stage.ask(), "train-a")
    stage.clock.forward(24 * 3600)
    stage.look()
    story = stage.story(asked.request_id)
    assert (story.state, story.cluster_state) == (RequestState.LAPSED, ClusterState.READY)


def test_a_decision_is_about_the_card_that_was_seen(stage: Stage) -> None:
    asked = stage.awaiting()
    with pytest.raises(Conflict, match="has changed since this card was drawn"):
        stage.desk.decide(LEAD, asked.request_id, approve=True, seen="0" * 12)
    decided = stage.desk.decide(LEAD, asked.request_id, approve=True, seen=asked.envelope_hash[:12])
    assert decided.story.envelope_hash == asked.envelope_hash


def test_buttons_of_a_request_that_is_being_checked_do_nothing_yet(stage: Stage) -> None:
    asked = stage.create()
    with pytest.raises(Conflict, match="checks are not finished"):
        stage.approve(asked.request_id)


def test_buttons_of_a_request_that_failed_its_checks(stage: Stage) -> None:
    stage.cloud.withdrawn = ("g4dn.xlarge",)
    asked = stage.awaiting()
    with pytest.raises(Conflict, match="failed its checks"):
        stage.approve(asked.request_id)


def test_a_request_that_nobody_knows(stage: Stage) -> None:
    with pytest.raises(Conflict, match="not known"):
        stage.approve("r-0000000000")


def test_a_team_that_is_no_longer_configured(stage: Stage) -> None:
    asked = stage.awaiting()
    team = dataclasses.replace(stage.catalogue.teams["default"], name="other")
    stage.catalogue = dataclasses.replace(stage.catalogue, teams={"other": team})
    with pytest.raises(Conflict, match="Team default is not in"):
        stage.new_desk().decide(LEAD, asked.request_id, approve=True)


def test_a_denial_ends_it_frees_the_name_and_keeps_the_reason(stage: Stage) -> None:
    asked = stage.awaiting()
    story = stage.desk.decide(LEAD, asked.request_id, approve=False, reason="use the old one").story
    assert (story.state, story.cluster_state, story.reason) == (
        RequestState.DENIED,
        ClusterState.GONE,
        "use the old one",
    )
    with pytest.raises(Conflict, match=f"already denied by <@{LEAD}>"):
        stage.approve(asked.request_id, SECOND_LEAD)
    assert stage.create().state == RequestState.CHECKING


def test_a_denied_delete_leaves_the_cluster(stage: Stage) -> None:
    stage.finish(stage.running())
    asked = stage.desk.ask_delete(stage.ask(), "train-a")
    story = stage.desk.decide(LEAD, asked.request_id, approve=False).story
    assert (story.state, story.cluster_state) == (RequestState.DENIED, ClusterState.READY)


class TestTwoApprovals:
    """Where policy wants two different leads."""

    @pytest.fixture(autouse=True)
    def _two(self, stage: Stage) -> None:
        stage.desk = stage.new_desk(approvals=2)

    def test_the_second_lead_decides(self, stage: Stage) -> None:
        asked = stage.awaiting()
        first = stage.approve(asked.request_id)
        assert (first.final, first.approvals, first.needed) == (False, 1, 2)
        assert first.story.state == RequestState.AWAITING_APPROVAL
        second = stage.approve(asked.request_id, SECOND_LEAD)
        assert (second.final, second.approvals) == (True, 2)
        assert second.story.state == RequestState.APPROVED

    def test_one_lead_cannot_be_two(self, stage: Stage) -> None:
        asked = stage.awaiting()
        stage.approve(asked.request_id)
        with pytest.raises(Conflict, match="waits for another lead"):
            stage.approve(asked.request_id)
        assert stage.story(asked.request_id).state == RequestState.AWAITING_APPROVAL

    def test_both_at_once(self, stage: Stage) -> None:
        asked = stage.awaiting()
        answers = at_once(*[lambda u=u: stage.approve(asked.request_id, u) for u in (LEAD, SECOND_LEAD)])
        assert sorted(answer.final for answer in answers) == [False, True]
        assert stage.story(asked.request_id).state == RequestState.APPROVED

    def test_who_approved_cannot_deny_as_well_but_another_can(self, stage: Stage) -> None:
        asked = stage.awaiting()
        stage.approve(asked.request_id)
        with pytest.raises(Conflict, match="approved this already"):
            stage.desk.decide(LEAD, asked.request_id, approve=False)
        denied = stage.desk.decide(SECOND_LEAD, asked.request_id, approve=False)
        assert denied.story.state == RequestState.DENIED

    def test_an_approval_of_another_envelope_does_not_count(self, stage: Stage) -> None:
        asked = stage.awaiting()
        stage.approve(asked.request_id)
        assert asked.envelope is not None
        larger = dataclasses.replace(asked.envelope, hours=9)
        row = stage.request(asked.request_id)
        with stage.store.transaction() as tx:
            tx.change(row, envelope=to_json(larger), envelope_hash=larger.digest())
        again = stage.approve(asked.request_id)
        assert (again.final, again.approvals) == (False, 1)


# --- an approved delete ---------------------------------------------------------------------------------------


def test_an_approved_delete_supersedes_a_running_create(stage: Stage) -> None:
    create = stage.running()
    stage.rancher.connected = False
    stage.look(3)
    assert stage.story(create).state == RequestState.RUNNING
    deletion = stage.delete()
    ended = stage.story(create)
    assert (ended.state, ended.reason) == (RequestState.CANCELLED, "The cluster is being deleted.")
    with pytest.raises(Conflict, match="cancelled"):
        stage.approve(create, SECOND_LEAD)
    story = stage.finish(deletion)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.GONE)
    assert stage.rancher.label == ""


@pytest.mark.parametrize("checked", [False, True])
def test_an_approved_delete_supersedes_a_create_that_was_never_approved(stage: Stage, checked: bool) -> None:
    create = stage.create()
    if checked:
        stage.look()
    deletion = stage.delete()
    assert stage.story(create.request_id).state == RequestState.CANCELLED
    assert stage.finish(deletion).cluster_state == ClusterState.GONE
    assert stage.rancher.made["cluster train-a"] == 0
