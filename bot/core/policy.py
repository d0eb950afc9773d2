"""Who may do what: one table, verb × role, default deny. Enforced here, whatever a button shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bot.core.records import ClusterRow
from bot.core.spec import Team


class Verb(StrEnum):
    CREATE = "create"
    LIST = "list"
    STATUS = "status"
    COST = "cost"
    WHY = "why"
    LOGS = "logs"
    DELETE = "delete"
    EXTEND = "extend"
    SHARE = "share"
    UNSHARE = "unshare"
    KUBECONFIG = "kubeconfig"
    ENABLE = "enable"
    EXPORT = "export"
    VERIFY = "verify"
    REPLACE = "replace"
    ACCEPT = "accept"
    IGNORE = "ignore"
    SCALE = "scale"
    CANCEL = "cancel"
    RETRY = "retry"
    KEEP = "keep"
    HISTORY = "history"
    STOP_CREATES = "stop-creates"
    ALLOW_CREATES = "allow-creates"
    ORPHANS = "orphans"
    APPROVE = "approve"
    DENY = "deny"
    HELP = "help"


class Role(StrEnum):
    OWNER = "owner"
    TEAMMATE = "teammate"
    LEAD = "lead"
    SHARED = "shared with"
    MEMBER = "other member"
    OUTSIDER = "guest or foreign user"


_O, _T, _L, _S, _M = Role.OWNER, Role.TEAMMATE, Role.LEAD, Role.SHARED, Role.MEMBER
_EVERYBODY = frozenset({_O, _T, _L, _S, _M})
_ALLOWED: dict[Verb, frozenset[Role]] = {
    Verb.CREATE: frozenset({_O, _T, _L}),
    Verb.LIST: _EVERYBODY,
    Verb.STATUS: _EVERYBODY,
    Verb.COST: _EVERYBODY,
    Verb.WHY: frozenset({_O, _T, _L}),
    Verb.LOGS: frozenset({_O, _T, _L}),
    Verb.DELETE: frozenset({_O, _T, _L}),
    Verb.EXTEND: frozenset({_O, _T, _L}),
    Verb.SHARE: frozenset({_O, _L}),
    Verb.UNSHARE: frozenset({_O, _L}),
    Verb.KUBECONFIG: frozenset({_O, _T, _L, _S}),
    Verb.ENABLE: frozenset({_O, _T, _L}),
    Verb.EXPORT: frozenset({_O, _T, _L}),
    Verb.VERIFY: frozenset({_O, _T, _L}),
    Verb.REPLACE: frozenset({_O, _T, _L}),
    Verb.ACCEPT: frozenset({_L}),
    Verb.IGNORE: frozenset({_O, _T, _L}),
    Verb.SCALE: frozenset({_O, _T, _L}),
    Verb.CANCEL: frozenset({_O, _T, _L}),
    Verb.RETRY: frozenset({_O, _T, _L}),
    Verb.KEEP: frozenset({_O, _T, _L}),
    Verb.HISTORY: _EVERYBODY,
    Verb.STOP_CREATES: frozenset({_L}),
    Verb.ALLOW_CREATES: frozenset({_L}),
    Verb.ORPHANS: frozenset({_L}),
    Verb.APPROVE: frozenset({_L}),
    Verb.DENY: frozenset({_L}),
    Verb.HELP: _EVERYBODY,
}


@dataclass(frozen=True)
class Person:
    """A Slack user. `member` is False for guests, the deactivated and people of other workspaces."""

    id: str
    member: bool


class Directory(Protocol):
    """Who people are. Both may raise `Temporary` when Slack cannot be asked: then nobody has rights (fail closed)."""

    def person(self, user: str) -> Person: ...

    def group(self, group: str, *, fresh: bool = False) -> frozenset[str]:
        """The user ids of a Slack user group, from a cache of at most 60 s (real) unless `fresh`."""


@dataclass(frozen=True)
class Lead:
    """Whether somebody is a lead of a team, and what says so (for the audit)."""

    is_lead: bool
    because: str


class Denied(Exception):
    """Not allowed; `who_can` names those who are, as Slack user and group ids."""

    def __init__(self, verb: Verb, why: str, who_can: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.verb = verb
        self.why = why
        self.who_can = who_can


def permitted(verb: Verb, roles: frozenset[Role]) -> bool:
    """Whether any of these roles may do it; outsiders may do nothing, whatever else they are."""
    return Role.OUTSIDER not in roles and bool(_ALLOWED.get(verb, frozenset()) & roles)


def allowed(roles: frozenset[str]) -> tuple[str, ...]:
    """The words for what people of these roles (by their words) may do, in the order of the table."""
    known = frozenset(role for role in Role if role.value in roles)
    return tuple(verb.value for verb in Verb if permitted(verb, known))


def lead_of(user: str, team: Team, directory: Directory, *, fresh: bool = False) -> Lead:
    """Whether `user` is a lead: by name, or by the group, which is asked again before it is denied.

    `fresh`: a yes from the cache does not count, either.
    """
    if user in team.leads:
        return Lead(True, f"named as a lead of team {team.name}")
    if team.lead_group:
        for asked_now in (True,) if fresh else (False, True):
            if user in directory.group(team.lead_group, fresh=asked_now):
                return Lead(True, f"member of {team.lead_group}")
    return Lead(False, "")


def roles_of(
    person: Person, team: Team, cluster: ClusterRow | None, directory: Directory, *, fresh: bool = False
) -> frozenset[Role]:
    """Every role a person has towards a team and, where there is one, a cluster of it; `fresh` as in `lead_of`."""
    roles = _own_roles(person, team, cluster)
    if Role.OUTSIDER in roles or not lead_of(person.id, team, directory, fresh=fresh).is_lead:
        return roles
    return roles | {Role.LEAD}


def _own_roles(person: Person, team: Team, cluster: ClusterRow | None) -> frozenset[Role]:
    """Those that can be told without asking Slack for a group."""
    if not person.member:
        return frozenset({Role.OUTSIDER})
    roles = {Role.MEMBER}
    if cluster is not None and cluster.owner == person.id:
        roles.add(Role.OWNER)
    if cluster is not None and person.id in cluster.shared_with:
        roles.add(Role.SHARED)
    if not team.members or person.id in team.members:
        roles.add(Role.TEAMMATE)
    return frozenset(roles)


def who_can(team: Team) -> tuple[str, ...]:
    """Those who may approve for the team: user ids and the group's id."""
    return (*team.leads, *((team.lead_group,) if team.lead_group else ()))


def require(verb: Verb, person: Person, team: Team, cluster: ClusterRow | None, directory: Directory) -> None:
    """Raises `Denied` when none of the person's roles may do this. The group is asked only where it matters.

    An approval spends money, and a sweep ends machines: whoever has just left the group does neither.
    """
    roles = _own_roles(person, team, cluster)
    fresh = verb in (Verb.APPROVE, Verb.ACCEPT, Verb.ORPHANS)
    if permitted(verb, roles) or permitted(verb, roles_of(person, team, cluster, directory, fresh=fresh)):
        return
    decision = verb in (Verb.APPROVE, Verb.DENY, Verb.ACCEPT)
    if Role.OUTSIDER in roles:
        why = "Guests, deactivated accounts and people of other workspaces cannot use this bot."
        raise Denied(verb, why, who_can(team) if decision else ())
    if decision:
        raise Denied(verb, f"Only a lead of team {team.name} can decide this.", who_can(team))
    if verb in (Verb.SHARE, Verb.UNSHARE) and cluster is not None:
        raise Denied(verb, "Only who asked for the cluster and leads can do that.", (cluster.owner, *who_can(team)))
    if verb in (Verb.STOP_CREATES, Verb.ALLOW_CREATES, Verb.ORPHANS):
        raise Denied(verb, f"Only a lead can do that, such as those of team {team.name}.", who_can(team))
    raise Denied(verb, f"Only members and leads of team {team.name} can do that.", who_can(team))
