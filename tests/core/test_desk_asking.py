"""Asking: the same gesture twice is one request, a name belongs to one, and nothing is asked without rights."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bot.core.desk import Ask, Conflict
from bot.core.policy import Denied
from bot.core.ports import Refused, Temporary
from bot.core.records import ClusterState, MessageKind, RequestState
from bot.core.spec import Draft, Invalid
from bot.core.story import Story
from tests.core.stage import CHANNEL, DRAFT, GUEST, LEAD, REQUESTER, SECOND_LEAD, Stage

OUTSIDER_TO_TEAM = "UELSE"


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Every call in a thread of its own, all let go together; what each returned or raised."""
    gate = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(place: int, call: Callable[[], Any]) -> None:
        gate.wait()
        try:
            answers[place] = call()
        except Exception as error:
            answers[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_create_is_written_down_with_its_message_before_anything_is_checked(stage: Stage) -> None:
    story = stage.create()
    assert (story.state, story.cluster_state) == (RequestState.CHECKING, ClusterState.BUILDING)
    with stage.store.reading() as tx:
        (message,) = tx.messages(story.request_id)
        assert (message.kind, message.channel) == (MessageKind.PARENT, CHANNEL)
    assert [row.action for row in stage.audit(story.request_id)] == ["asked to create"]
    assert not stage.rancher.made


def test_the_same_gesture_twice_is_one_request(stage: Stage) -> None:
    ask = stage.ask(key="trigger-1")
    first, again = stage.desk.ask_create(ask, DRAFT), stage.desk.ask_create(ask, DRAFT)
    assert first.request_id == again.request_id
    assert len(stage.desk.stories(ask)) == 1


def test_the_same_gesture_delivered_twice_at_one_moment_is_one_request(stage: Stage) -> None:
    ask = stage.ask(key="trigger-1")
    stories = at_once(*[lambda: stage.desk.ask_create(ask, DRAFT)] * 6)
    assert {story.request_id for story in stories} == {stories[0].request_id}


def test_two_creates_of_one_name_at_once_have_one_winner(stage: Stage) -> None:
    asks = [stage.ask() for _ in range(6)]
    answers = at_once(*[lambda ask=ask: stage.desk.ask_create(ask, DRAFT) for ask in asks])
    won = [a for a in answers if isinstance(a, Story)]
    lost = [a for a in answers if isinstance(a, Conflict)]
    assert (len(won), len(lost)) == (1, 5)
    assert all("in use" in conflict.why for conflict in lost)


def test_a_name_in_use_names_its_owner_and_a_way_on(stage: Stage) -> None:
    stage.create()
    with pytest.raises(Conflict, match=f"<@{REQUESTER}>'s cluster, building") as conflict:
        stage.create()
    assert "/gpu-cluster status train-a" in conflict.value.next_step


def test_a_name_is_in_use_while_its_cluster_is_being_deleted_and_free_after(stage: Stage) -> None:
    stage.finish(stage.running())
    stage.rancher.lingers = 3
    deletion = stage.delete()
    with pytest.raises(Conflict, match="still being deleted"):
        stage.create()  # from the approval on
    with pytest.raises(Conflict, match="already being deleted"):
        stage.desk.ask_delete(stage.ask(), "train-a")
    stage.look()
    with pytest.raises(Conflict, match="still being deleted"):
        stage.create()
    stage.finish(deletion)
    assert stage.create().state == RequestState.CHECKING


@pytest.mark.parametrize("user", [GUEST, OUTSIDER_TO_TEAM])
def test_who_may_not_create_leaves_no_trace(stage: Stage, user: str) -> None:
    with pytest.raises(Denied):
        stage.create(user=user)
    assert stage.desk.stories(stage.ask()) == []


def test_when_slack_cannot_say_who_asks_nothing_is_written(stage: Stage) -> None:
    stage.directory.trouble = Temporary("Slack does not answer")
    with pytest.raises(Temporary):
        stage.create()
    stage.directory.trouble = None
    assert stage.desk.stories(stage.ask()) == []


def test_bad_input_leaves_no_trace(stage: Stage) -> None:
    with pytest.raises(Invalid):
        stage.create(Draft(name="Local"))
    assert stage.desk.stories(stage.ask()) == []


def test_a_create_that_fails_its_checks_frees_the_name_and_says_why(stage: Stage) -> None:
    stage.cloud.withdrawn = ("g4dn.xlarge",)
    story = stage.awaiting()
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.GONE)
    assert "lists no g4dn.xlarge" in story.reason
    stage.cloud.withdrawn = ()
    assert stage.awaiting().state == RequestState.AWAITING_APPROVAL


def test_checks_that_get_no_answer_are_asked_again_and_wait_for_a_lead_once_they_have(stage: Stage) -> None:
    stage.outage(Temporary("no answer within 10 s"))
    story = stage.awaiting()
    assert story.state == RequestState.CHECKING
    assert any(check.detail == "could not check: no answer within 10 s" for check in story.checks)
    with stage.store.reading() as tx:
        (parent,) = [m for m in tx.messages(story.request_id) if m.kind == MessageKind.PARENT]
    assert parent.wanted_rev == 2, "the message shows what it waits for"
    stage.outage(None)
    stage.clock.forward(3.0)
    stage.engine.look_once()
    assert stage.story(story.request_id).state == RequestState.AWAITING_APPROVAL


def test_checks_are_asked_again_less_and_less_often(stage: Stage) -> None:
    stage.outage(Temporary("no answer within 10 s"))
    asked = stage.create()
    due: dict[float, float] = {}
    for _ in range(200):
        stage.look(every=1.0)
        row = stage.request(asked.request_id)
        due.setdefault(row.next_look_at, row.next_look_at - row.asked_at)
    pauses = [b - a for a, b in itertools.pairwise(due.values())]
    assert pauses[0] <= 10
    assert max(pauses) <= 2 * 30 * 1.2
    assert len(pauses) in range(6, 16)


def test_checks_that_get_no_answer_for_ten_minutes_fail_the_request_and_say_so(stage: Stage) -> None:
    stage.outage(Temporary("connection refused"))
    story = stage.finish(stage.create().request_id, every=5.0)
    assert story.state == RequestState.FAILED
    assert "could not check: connection refused" in story.reason
    assert story.remedy
    assert 600 <= stage.clock.now() - story.asked_at <= 650


def test_what_will_not_pass_by_itself_fails_at_once(stage: Stage) -> None:
    stage.cloud.trouble = Refused("AWS answered ec2:DescribeSubnets with UnauthorizedOperation", "Give it that right.")
    story = stage.awaiting()
    assert story.state == RequestState.FAILED
    assert "UnauthorizedOperation" in story.reason


def test_a_request_whose_checks_wait_can_be_cancelled(stage: Stage) -> None:
    stage.outage(Temporary("no answer within 10 s"))
    asked = stage.awaiting()
    stage.desk.cancel(stage.ask(), DRAFT.name)
    assert stage.story(asked.request_id).state == RequestState.CANCELLED


def test_checks_that_break_end_the_request_with_an_incident(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    asked = stage.create()
    row = stage.request(asked.request_id)
    with stage.store.transaction() as tx:
        tx.change(row, spec="{}")
    stage.look()
    story = stage.request(asked.request_id)
    assert story.state == RequestState.FAILED
    incident = story.reason.partition("incident ")[2].partition(")")[0]
    assert incident in caplog.text


# --- delete ---------------------------------------------------------------------------------------------------


def test_a_delete_waits_for_a_lead_and_touches_nothing(stage: Stage) -> None:
    stage.finish(stage.running())
    story = stage.desk.ask_delete(stage.ask(), "train-a")
    stage.look(3)
    assert stage.story(story.request_id).state == RequestState.AWAITING_APPROVAL
    assert stage.rancher.made["delete"] == 0
    assert story.cluster_state == ClusterState.READY


def test_a_delete_asked_twice_is_refused_and_the_same_gesture_is_not(stage: Stage) -> None:
    stage.finish(stage.running())
    ask = stage.ask(key="once")
    first = stage.desk.ask_delete(ask, "train-a")
    assert stage.desk.ask_delete(ask, "train-a").request_id == first.request_id
    with pytest.raises(Conflict, match="already asked to delete"):
        stage.desk.ask_delete(stage.ask(), "train-a")
    stage.approve(first.request_id)
    stage.rancher.lingers = 3
    stage.look()
    with pytest.raises(Conflict, match="already being deleted"):
        stage.desk.ask_delete(stage.ask(), "train-a")


def test_two_deletes_at_once_are_one(stage: Stage) -> None:
    stage.finish(stage.running())
    asks = [stage.ask() for _ in range(4)]
    answers = at_once(*[lambda ask=ask: stage.desk.ask_delete(ask, "train-a") for ask in asks])
    assert sorted(type(a).__name__ for a in answers) == ["Conflict"] * 3 + ["Story"]


@pytest.mark.parametrize("name", ["nobody", "train-b"])
def test_there_is_nothing_to_delete(stage: Stage, name: str) -> None:
    stage.create()
    with pytest.raises(Conflict, match="There is no cluster"):
        stage.desk.ask_delete(stage.ask(), name)


def test_what_is_no_name_is_said_to_be_none(stage: Stage) -> None:
    with pytest.raises(Invalid, match="not a cluster's name"):
        stage.desk.ask_delete(stage.ask(), "<!channel>")


def test_only_the_team_may_delete(stage: Stage) -> None:
    stage.finish(stage.running())
    with pytest.raises(Denied, match="Only members and leads of team default"):
        stage.desk.ask_delete(stage.ask(OUTSIDER_TO_TEAM), "train-a")


def test_a_delete_may_be_asked_while_a_create_waits_and_goes_with_it(stage: Stage) -> None:
    """A create that ends before anything was made leaves nothing to delete, and the name is free."""
    create = stage.awaiting()
    delete = stage.desk.ask_delete(stage.ask(), "train-a")
    stage.desk.decide(LEAD, create.request_id, approve=False, reason="no budget")
    ended = stage.story(delete.request_id)
    assert (ended.state, ended.cluster_state) == (RequestState.CANCELLED, ClusterState.GONE)
    assert "nothing to delete" in ended.reason
    with pytest.raises(Conflict, match="cancelled"):
        stage.approve(delete.request_id)
    assert stage.awaiting().state == RequestState.AWAITING_APPROVAL


# --- telling --------------------------------------------------------------------------------------------------


def test_list_shows_the_living_and_status_the_newest_request(stage: Stage) -> None:
    stage.finish(stage.running())
    delete = stage.desk.ask_delete(stage.ask(), "train-a")
    stage.create(dataclasses.replace(DRAFT, name="train-b"))
    assert [story.cluster for story in stage.desk.stories(stage.ask())] == ["train-a", "train-b"]
    assert stage.desk.story_of(stage.ask(), "train-a").request_id == delete.request_id
    with pytest.raises(Conflict):
        stage.desk.story_of(stage.ask(), "train-c")


@pytest.mark.parametrize("tell", ["stories", "story_of", "story_in_thread"])
def test_guests_are_told_nothing(stage: Stage, tell: str) -> None:
    stage.create()
    ask = stage.ask(GUEST)
    with pytest.raises(Denied):
        getattr(stage.desk, tell)(ask, *([] if tell == "stories" else ["train-a"]))


def test_a_thread_knows_its_cluster(stage: Stage) -> None:
    story = stage.create()
    with stage.store.transaction() as tx:
        (message,) = tx.messages(story.request_id)
        tx.change(message, ts="1795000000.000100")
    assert stage.desk.story_in_thread(stage.ask(), "1795000000.000100").cluster == "train-a"
    with pytest.raises(Conflict, match="belongs to no cluster"):
        stage.desk.story_in_thread(stage.ask(), "1795000000.000200")
    with pytest.raises(Conflict, match="belongs to no cluster"):
        stage.desk.story_in_thread(Ask(REQUESTER, "COTHER", "k"), "1795000000.000100")


def test_roles_in_words(stage: Stage) -> None:
    assert stage.desk.roles(stage.ask(SECOND_LEAD)) == {"lead", "other member"}
    assert stage.desk.roles(stage.ask(GUEST)) == {"guest or foreign user"}
    assert stage.desk.team_for(stage.ask()).name == "default"
    assert stage.desk.story_by_id("r-unknown") is None
