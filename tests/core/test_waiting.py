"""While a request waits for a lead: reminders, who was a lead when it was posted, and asking again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.core import lifecycle, roster
from bot.core.checks.preview import KEPT_S, Previews
from bot.core.costs.ledger import Committed
from bot.core.desk import Ask, Conflict, Desk
from bot.core.policy import Denied, Directory, Person
from bot.core.ports import Temporary
from bot.core.records import MessageKind, RequestRow, RequestState
from bot.core.roster import RECENT_S, Rosters
from bot.core.spec import Catalogue, ClusterSpec, Draft, Image, Policy, Preflight, Target, Team
from bot.store import SqliteStore
from tests.core.fakes import HandClock
from tests.handlers.harness import PRESET, envelope

HOUR = 3600.0
DRAFT = Draft("train-a", "starter", "1", "8", "try it")


class Group(Directory):
    """Everybody is a member; the leads are `leads`, or Slack cannot say."""

    def __init__(self) -> None:
        self.leads: frozenset[str] | None = frozenset({"ULEAD", "UTWO"})

    def person(self, user: str) -> Person:
        return Person(user, member=True)

    def group(self, group: str, *, fresh: bool = False) -> frozenset[str]:
        if self.leads is None:
            raise Temporary("Slack could not tell who is a lead.")
        return self.leads


class Scene:
    def __init__(self, path: Path, look: Callable[[ClusterSpec, Committed | None], Preflight]) -> None:
        self.store, self.clock, self.group = SqliteStore(path), HandClock(), Group()
        catalogue = Catalogue(
            teams={"default": Team("default", lead_group="S0LEADS", budget_per_month=100.0)},
            targets={"default": Target("default", "cattle-global-data:cc-1", "eu-west-1")},
            presets={"starter": PRESET},
            policy=Policy(two_approvals_above=50.0),
            probe_image=Image("python@sha256:0"),
        )
        previews = Previews(look, self.clock)
        self.desk = Desk(
            store=self.store, clock=self.clock, catalogue=catalogue, directory=self.group, previews=previews
        )

    def asks(self, key: str = "one") -> RequestRow:
        story = self.desk.ask_create(Ask("UREQ", "C1", key), DRAFT)
        now = self.clock.now()
        with self.store.transaction() as tx:
            request = tx.request(story.request_id)
            assert request is not None
            return lifecycle.checked(tx, request, Preflight((), envelope("train-a")), at=now, lapses_at=now + 10 * HOUR)

    def reminded(self, request: RequestRow) -> list[str]:
        with self.store.reading() as tx:
            said = [m for m in tx.messages(request.id) if m.kind == MessageKind.REMINDER]
        return [json.loads(m.body)["stage"] for m in said]

    def at(self, request: RequestRow, part: float) -> None:
        """The engine's look after so much of the ten hours."""
        assert request.lapses_at is not None
        self.clock.forward(request.asked_at + part * 10 * HOUR - self.clock.now() + 1)
        with self.store.transaction() as tx:
            current = tx.request(request.id)
            assert current is not None
            lifecycle.remind(tx, current, self.clock.now())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "s.db", lambda spec, held: Preflight((), envelope(spec.name, spec.gpus, spec.hours, 1.0)))


def test_a_reminder_at_half_time_and_the_leads_are_called_when_little_is_left(scene: Scene) -> None:
    request = scene.asks()
    assert request.next_look_at == pytest.approx(request.asked_at + 5 * HOUR)
    for part, told in ((0.3, []), (0.5, ["half"]), (0.6, ["half"]), (0.8, ["half", "leads"]), (0.9, ["half", "leads"])):
        scene.at(request, part)
        assert scene.reminded(request) == told
    with scene.store.reading() as tx:
        current = tx.request(request.id)
    assert current is not None and current.next_look_at == request.lapses_at


def test_who_slept_through_both_calls_the_leads_once(scene: Scene) -> None:
    request = scene.asks()
    scene.at(request, 0.85)
    scene.at(request, 0.9)
    assert scene.reminded(request) == ["leads"]


def test_who_became_a_lead_later_does_not_approve_and_those_who_can_are_named(scene: Scene) -> None:
    request = scene.asks()
    scene.group.leads = frozenset({"ULEAD", "UNEW"})
    with pytest.raises(Denied) as denied:
        scene.desk.decide("UNEW", request.id, approve=True)
    assert denied.value.who_can == ("ULEAD", "UTWO")
    with pytest.raises(Denied):
        scene.desk.decide("UTWO", request.id, approve=True)  # was a lead then, is none now
    assert scene.desk.decide("ULEAD", request.id, approve=True).final


def test_a_request_of_an_older_release_is_approved_by_who_is_a_lead_now(scene: Scene) -> None:
    request = scene.asks()
    other = SqliteStore(Path(scene.store.describe().split("sqlite://")[1].split(" ")[0]))
    with other.transaction() as tx:
        tx._write("DELETE FROM posted_leads", ())  # type: ignore[attr-defined]
    scene.group.leads = frozenset({"UNEW"})
    assert scene.desk.decide("UNEW", request.id, approve=True).final


def test_nothing_is_posted_while_slack_cannot_say_who_leads(scene: Scene) -> None:
    scene.group.leads = None
    with pytest.raises(Temporary):
        scene.asks()
    with scene.store.reading() as tx:
        assert tx.clusters(living=False) == []


def test_what_lapsed_is_asked_for_again_once_and_by_its_requester(scene: Scene) -> None:
    request = scene.asks()
    with pytest.raises(Conflict, match="has lapsed"):
        scene.desk.ask_again("UREQ", request.id)
    with scene.store.transaction() as tx:
        current = tx.request(request.id)
        assert current is not None
        lifecycle.lapse(tx, current, scene.clock.now())
    with pytest.raises(Denied) as denied:
        scene.desk.ask_again("ULEAD", request.id)
    assert denied.value.who_can == ("UREQ",)
    first = scene.desk.ask_again("UREQ", request.id)
    assert first.spec == scene.desk.ask_again("UREQ", request.id).spec and first.state == RequestState.CHECKING
    with scene.store.reading() as tx:
        assert len(tx.clusters(living=False)) == 2
    with pytest.raises(Conflict, match="not known"):
        scene.desk.ask_again("UREQ", "r-nothing")


def test_a_preview_says_cost_budget_and_why_so_many_and_makes_nothing(scene: Scene) -> None:
    cheap = scene.desk.preview(Ask("UREQ", "C1", "p"), DRAFT)
    assert (cheap.approvals, cheap.by_cost, cheap.who_can, cheap.name_in_use) == (1, True, ("S0LEADS",), "")
    assert cheap.committed is not None and cheap.committed.left == 100.0
    dear = scene.desk.preview(Ask("UREQ", "C1", "p"), Draft("train-a", "starter", "1", "60", "try it"))
    assert dear.approvals == 2
    with scene.store.reading() as tx:
        assert tx.clusters(living=False) == [] and tx.last_audit() == 0
    scene.asks()
    assert "in use" in scene.desk.preview(Ask("UREQ", "C1", "p"), DRAFT).name_in_use


def test_a_preview_is_kept_for_a_minute_whatever_the_reason() -> None:
    asked: list[ClusterSpec] = []
    clock = HandClock()
    previews = Previews(lambda spec, held: asked.append(spec) or Preflight(), clock)  # type: ignore[func-returns-value]
    spec = ClusterSpec("a1", "starter", 1, 8, "one", "default", "default")
    previews.of(spec, None)
    previews.of(ClusterSpec("a1", "starter", 1, 8, "two", "default", "default"), None)
    assert len(asked) == 1
    previews.of(ClusterSpec("a1", "starter", 2, 8, "one", "default", "default"), None)
    clock.forward(KEPT_S + 1)
    previews.of(spec, None)
    assert len(asked) == 3


def test_a_group_is_written_down_when_it_changes_and_its_changes_are_told_for_a_day(scene: Scene) -> None:
    rosters = Rosters(scene.store, scene.clock)

    def told() -> list[tuple[str, bool]]:
        with scene.store.reading() as tx:
            return [(one.user, one.joined) for one in roster.changes(tx, "S0LEADS", scene.clock.now())]

    rosters.noticed("S0LEADS", frozenset({"UA", "UB"}))
    assert told() == [], "what it was before is not known"
    scene.clock.forward(48 * HOUR)
    rosters.noticed("S0LEADS", frozenset({"UA", "UB"}))
    rosters.noticed("S0LEADS", frozenset({"UB", "UC"}))
    assert told() == [("UC", True), ("UA", False)]
    Rosters(scene.store, scene.clock).noticed("S0LEADS", frozenset({"UB", "UC"}))  # another process, or after a restart
    scene.clock.forward(RECENT_S / 2)
    rosters.noticed("S0OTHER", frozenset({"UX"}))
    assert told() == [("UC", True), ("UA", False)]
    scene.clock.forward(RECENT_S)
    assert told() == []


def test_the_card_tells_of_the_change_and_of_the_budget(scene: Scene) -> None:
    rosters = Rosters(scene.store, scene.clock)
    rosters.noticed("S0LEADS", frozenset({"ULEAD"}))
    scene.clock.forward(HOUR)
    rosters.noticed("S0LEADS", frozenset({"ULEAD", "UNEW"}))
    story = scene.desk.story_by_id(scene.asks().id)
    assert story is not None and [one.user for one in story.lead_changes] == ["UNEW"]
    assert story.committed is not None and story.committed.left == 100.0


def test_ones_own_clusters_and_what_waits_for_ones_decision(scene: Scene) -> None:
    request = scene.asks()
    mine, lead, new = (scene.desk.own(user) for user in ("UREQ", "ULEAD", "UNEW"))
    assert [s.request_id for s in mine.clusters] == [request.id] and mine.waiting == ()
    assert [s.request_id for s in lead.waiting] == [request.id] and lead.clusters == ()
    assert new.waiting == ()
    scene.group.leads = frozenset({"ULEAD", "UNEW", "UREQ"})
    assert scene.desk.own("UNEW").waiting == scene.desk.own("UREQ").waiting == ()


def test_the_last_request_fills_in_the_next_form_after_a_restart_too(scene: Scene) -> None:
    scene.asks()
    assert scene.desk.recent("UREQ") == Draft("", "starter", "1", "8", "try it")
    again = Desk(store=scene.store, clock=scene.clock, catalogue=scene.desk.catalogue, directory=scene.group)
    assert again.recent("UREQ") == Draft()
    again.recall()
    assert again.recent("UREQ") == Draft("", "starter", "1", "8", "try it")
