"""Who may do what: every cell of the table, and what happens when Slack cannot say who somebody is."""

from __future__ import annotations

import dataclasses

import pytest

from bot.core.policy import Denied, Person, Role, Verb, lead_of, permitted, require, roles_of, who_can
from bot.core.ports import Temporary
from bot.core.records import ClusterRow, ClusterState
from bot.core.spec import Team
from tests.core.fakes import FakeDirectory

EVERYBODY = {Role.OWNER, Role.TEAMMATE, Role.LEAD, Role.SHARED, Role.MEMBER}
TABLE = {
    Verb.CREATE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.LIST: EVERYBODY,
    Verb.STATUS: EVERYBODY,
    Verb.COST: EVERYBODY,
    Verb.WHY: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.LOGS: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.DELETE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.EXTEND: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.EXPORT: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.SHARE: {Role.OWNER, Role.LEAD},
    Verb.UNSHARE: {Role.OWNER, Role.LEAD},
    Verb.KUBECONFIG: {Role.OWNER, Role.TEAMMATE, Role.LEAD, Role.SHARED},
    Verb.ENABLE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.VERIFY: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.REPLACE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.ACCEPT: {Role.LEAD},
    Verb.IGNORE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.SCALE: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.CANCEL: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.RETRY: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.KEEP: {Role.OWNER, Role.TEAMMATE, Role.LEAD},
    Verb.HISTORY: EVERYBODY,
    Verb.STOP_CREATES: {Role.LEAD},
    Verb.ALLOW_CREATES: {Role.LEAD},
    Verb.ORPHANS: {Role.LEAD},
    Verb.APPROVE: {Role.LEAD},
    Verb.DENY: {Role.LEAD},
    Verb.HELP: EVERYBODY,
}
CELLS = [(verb, role) for verb in Verb for role in Role]
TEAM = Team("ml", leads=("UNAMED",), lead_group="SLEADS", members=("UMATE",))
CLUSTER = ClusterRow("k-1", "train-a", "ml", "default", "UOWNER", "C1", ClusterState.READY, 0.0, shared="UFRIEND")
PEOPLE = {
    Role.OWNER: "UOWNER",
    Role.TEAMMATE: "UMATE",
    Role.LEAD: "UGROUP",
    Role.SHARED: "UFRIEND",
    Role.MEMBER: "UOTHER",
    Role.OUTSIDER: "UGUEST",
}


def directory(*, stale: frozenset[str] | None = None) -> FakeDirectory:
    groups = {"SLEADS": frozenset({"UGROUP", "UGUEST"})}
    return FakeDirectory(groups, {} if stale is None else {"SLEADS": stale}, guests=frozenset({"UGUEST"}))


@pytest.mark.parametrize(("verb", "role"), CELLS)
def test_every_cell_of_the_table(verb: Verb, role: Role) -> None:
    assert permitted(verb, frozenset({role})) == (role in TABLE[verb])


@pytest.mark.parametrize(("verb", "role"), CELLS)
def test_a_person_of_each_role_is_let_through_or_told_who_can(verb: Verb, role: Role) -> None:
    person = directory().person(PEOPLE[role])
    if role in TABLE[verb]:
        assert role in roles_of(person, TEAM, CLUSTER, directory())
        require(verb, person, TEAM, CLUSTER, directory())
        return
    with pytest.raises(Denied) as denied:
        require(verb, person, TEAM, CLUSTER, directory())
    assert denied.value.verb == verb
    owner = ("UOWNER",) if verb in (Verb.SHARE, Verb.UNSHARE) else ()
    silent = role == Role.OUTSIDER and verb not in (Verb.APPROVE, Verb.DENY, Verb.ACCEPT)
    assert denied.value.who_can == (() if silent else (*owner, "UNAMED", "SLEADS"))


@pytest.mark.parametrize("verb", Verb)
def test_nobody_without_a_role_may_do_anything(verb: Verb) -> None:
    assert not permitted(verb, frozenset())


@pytest.mark.parametrize("verb", Verb)
def test_a_guest_stays_outside_even_as_owner_and_lead(verb: Verb) -> None:
    mine = dataclasses.replace(CLUSTER, owner="UGUEST")
    assert roles_of(Person("UGUEST", False), TEAM, mine, directory()) == {Role.OUTSIDER}
    assert not permitted(verb, frozenset({Role.OUTSIDER, Role.LEAD, Role.OWNER}))


def test_a_team_that_lists_nobody_is_everybody() -> None:
    open_team = dataclasses.replace(TEAM, members=())
    assert Role.TEAMMATE in roles_of(Person("UOTHER", True), open_team, None, directory())


def test_owning_counts_for_that_cluster_only() -> None:
    roles = roles_of(Person("UOWNER", True), TEAM, dataclasses.replace(CLUSTER, owner="UELSE"), directory())
    assert roles == {Role.MEMBER}


def test_a_named_lead_is_one_without_asking_slack() -> None:
    book = FakeDirectory(trouble=Temporary("Slack does not answer"))
    assert lead_of("UNAMED", TEAM, book).because == "named as a lead of team ml"


def test_the_group_is_asked_again_before_a_refusal() -> None:
    book = directory(stale=frozenset())
    assert lead_of("UGROUP", TEAM, book).is_lead
    assert book.asked == [("SLEADS", False), ("SLEADS", True)]


def test_the_cache_is_enough_for_a_yes() -> None:
    book = directory()
    assert lead_of("UGROUP", TEAM, book).because == "member of SLEADS"
    assert book.asked == [("SLEADS", False)]


def test_an_approval_is_not_given_from_the_cache() -> None:
    book = directory(stale=frozenset({"UOTHER"}))
    assert lead_of("UOTHER", TEAM, book).is_lead, "until the cache is over"
    with pytest.raises(Denied):
        require(Verb.APPROVE, Person("UOTHER", True), TEAM, None, book)
    assert book.asked == [("SLEADS", False), ("SLEADS", True)]


def test_who_is_no_lead_is_refused_after_the_second_question() -> None:
    book = directory()
    assert not lead_of("UOTHER", TEAM, book).is_lead
    assert book.asked == [("SLEADS", False), ("SLEADS", True)]


@pytest.mark.parametrize("verb", [verb for verb in Verb if Role.MEMBER not in TABLE[verb]])
def test_when_slack_cannot_say_who_is_a_lead_nobody_is(verb: Verb) -> None:
    with pytest.raises(Temporary):
        require(verb, Person("UGROUP", True), TEAM, None, FakeDirectory(trouble=Temporary("Slack does not answer")))


@pytest.mark.parametrize("verb", [verb for verb in Verb if Role.MEMBER in TABLE[verb]])
def test_the_group_is_asked_only_where_it_matters(verb: Verb) -> None:
    book = FakeDirectory(trouble=Temporary("Slack does not answer"))
    require(verb, Person("UGROUP", True), TEAM, None, book)


def test_who_can_names_people_and_group() -> None:
    assert who_can(TEAM) == ("UNAMED", "SLEADS")
    assert who_can(dataclasses.replace(TEAM, lead_group="")) == ("UNAMED",)
