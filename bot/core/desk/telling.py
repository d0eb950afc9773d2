"""What people want to know about clusters, requests and money."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bot.core import lifecycle, roster
from bot.core.asking import Ask
from bot.core.conflict import Conflict
from bot.core.costs import ledger, spending
from bot.core.costs.ledger import Account, Committed
from bot.core.desk.base import Base
from bot.core.exporting import Made, made
from bot.core.policy import Verb, lead_of, require, roles_of
from bot.core.ports import Tx
from bot.core.records import (
    AuditRow,
    ClusterRow,
    ClusterState,
    Kind,
    RequestRow,
    RequestState,
)
from bot.core.spec import (
    Team,
)
from bot.core.story import Story
from bot.core.together import Together
from bot.core.verification.measuring import documents

HISTORY_PAGE = 20
"""Lines of a cluster's history at once."""


@dataclass(frozen=True)
class Costs:
    """What clusters cost so far, and what each team concerned has committed this month."""

    accounts: tuple[Account, ...]
    teams: tuple[tuple[str, Committed], ...]


@dataclass(frozen=True)
class Own:
    """What somebody's Home tab is about: their clusters, what waits for their decision, their team and its month."""

    team: Team
    committed: Committed
    clusters: tuple[Story, ...]
    waiting: tuple[Story, ...]


@dataclass(frozen=True)
class History:
    """A page of a cluster's audit trail; `kinds` by request id."""

    cluster: str
    lines: tuple[AuditRow, ...]
    kinds: Mapping[str, Kind]
    page: int
    pages: int


class Telling(Base):
    """Reads the store only. What costs as much as there are clusters is worked out once for all who ask at once."""

    @cached_property
    def _living_stories(self) -> Together[list[Story]]:
        return Together()

    @cached_property
    def _months(self) -> Mapping[str, Together[Committed]]:
        return {name: Together() for name in self._catalogue.teams}

    def stories(self, ask: Ask) -> list[Story]:
        """The newest request of every living cluster, oldest cluster first. Raises `Denied`."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.LIST, self._directory.person(ask.user), team, None, self._directory)
        return self._living_stories.of(self._living)

    def _living(self) -> list[Story]:
        with self._store.reading() as tx:
            return [self._newest(tx, cluster) for cluster in tx.clusters(living=True)]

    def story_of(self, ask: Ask, name: str) -> Story:
        """What there is to say about a cluster. Raises `Denied`, or `Conflict` when there is none of that name."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.STATUS, self._directory.person(ask.user), team, None, self._directory)
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
            if cluster is None:
                raise Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
            return self._newest(tx, cluster)

    def story_in_thread(self, ask: Ask, thread_ts: str) -> Story:
        """What there is to say about the cluster whose thread this is. Raises `Denied` or `Conflict`."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.STATUS, self._directory.person(ask.user), team, None, self._directory)
        with self._store.reading() as tx:
            message = tx.message_at(ask.channel, thread_ts)
            request = tx.request(message.request_id) if message else None
            if request is None:
                raise Conflict("This thread belongs to no cluster.", "@gpu-cluster status NAME, or /gpu-cluster list")
            cluster = tx.cluster(request.cluster_id)
            return self._tell(tx, request.id) if cluster.state == ClusterState.GONE else self._newest(tx, cluster)

    def about(self, ask: Ask, verb: Verb, name: str, thread_ts: str = "") -> tuple[ClusterRow, Story]:
        """The cluster of that name, or whose thread this is, for somebody who may do `verb` with it.

        Raises `Denied` or `Conflict`.
        """
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name) if name else None
            message = tx.message_at(ask.channel, thread_ts) if thread_ts and not name else None
            request = tx.request(message.request_id) if message else None
            if request is not None:
                cluster = tx.cluster(request.cluster_id)
            if cluster is None:
                raise _no_such_cluster(name)
            story = self._tell(tx, request.id) if request and cluster.gone_at else self._newest(tx, cluster)
        require(verb, self._directory.person(ask.user), self.team(cluster.team), cluster, self._directory)
        return cluster, story

    def show_again(self, name: str) -> None:
        """Have the messages of what waits for a lead on this cluster sent again, in case somebody deleted them."""
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
            requests = tx.requests_of(cluster.id) if cluster else []
        waiting = [r.id for r in requests if r.state == RequestState.AWAITING_APPROVAL]
        if not waiting:
            return
        with self._store.transaction() as tx:
            for request_id in waiting:
                lifecycle.rerender(tx, request_id, urgent=False)
        self._wake()

    def story_for(self, ask: Ask, request_id: str) -> Story:
        """What there is to say about one request. Raises `Denied` or `Conflict`."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.STATUS, self._directory.person(ask.user), team, None, self._directory)
        told = self.story_by_id(request_id)
        if told is None:
            raise Conflict("This request is not known here any more.", "/gpu-cluster list")
        return told

    def own(self, user: str) -> Own:
        """What concerns one person. Raises `Denied`, or `Temporary` when Slack cannot say who leads."""
        team = self._catalogue.team_of(user, "")
        require(Verb.LIST, self._directory.person(user), team, None, self._directory)
        now = self._clock.now()
        with self._store.reading() as tx:
            held = ledger.committed(tx, team, now)
            clusters = [self._newest(tx, row) for row in tx.clusters(living=True) if row.owner == user]
            asked = [r for r in tx.waiting_requests() if r.requester != user and self._may_ever_decide(tx, user, r)]
        waiting = [r for r in asked if lead_of(user, self.team(r.team), self._directory).is_lead]
        with self._store.reading() as tx:
            stories = [self._tell(tx, r.id) for r in waiting]
        decidable = [s for s in stories if all(d.approver != user for d in s.decisions)]
        return Own(team, held, tuple(clusters), tuple(decidable))

    def _may_ever_decide(self, tx: Tx, user: str, request: RequestRow) -> bool:
        """Told without asking Slack: somebody who was a lead when it was posted, of a team that still is."""
        posted = tx.posted_leads(request.id)
        return request.team in self._catalogue.teams and (posted is None or user in json.loads(posted.leads))

    def committed_of(self, team: Team) -> Committed:
        """What a team has spent and promised this month."""

        def month() -> Committed:
            with self._store.reading() as tx:
                return ledger.committed(tx, team, self._clock.now())

        return self._months[team.name].of(month)

    def made(self, ask: Ask, name: str) -> Made:
        """What a cluster was made of. Raises `Denied`, or `Conflict` when there is none, or nothing resolved yet."""
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
            if cluster is None:
                raise Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
            found = made(tx, cluster)
        person = self._directory.person(ask.user)
        require(Verb.EXPORT, person, self.team(cluster.team), cluster, self._directory)
        if found is None:
            raise Conflict(f"Nothing has been resolved for {name} yet.", f"/gpu-cluster status {name}")
        return found

    def costs(self, ask: Ask, name: str = "") -> Costs:
        """The bill of every cluster of this month, or of all that bore a name. Raises `Denied` or `Conflict`."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.COST, self._directory.person(ask.user), team, None, self._directory)
        now = self._clock.now()
        with self._store.reading() as tx:
            bills = [a for a in ledger.accounts(tx, now) if (a.cluster == name if name else a.this_month)]
            teams = [team for team in self._catalogue.teams.values() if any(a.team == team.name for a in bills)]
            held = tuple((team.name, ledger.committed(tx, team, now)) for team in teams)
        if name and not bills:
            raise Conflict(f"Nothing has been spent on a cluster “{name}”.", "/gpu-cluster cost shows the others.")
        return Costs(tuple(bills), held)

    def history(self, ask: Ask, name: str, page: int = 1) -> History:
        """Everything that was done to the cluster of that name, newest last; of several, to the newest.

        Raises `Denied`, or `Conflict` when there never was one, or has no such page.
        """
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.HISTORY, self._directory.person(ask.user), team, None, self._directory)
        with self._store.reading() as tx:
            bore = [cluster for cluster in tx.clusters(living=False) if cluster.name == name]
            lines = tx.audit_of(bore[-1].id) if bore else []
            kinds = {request.id: request.kind for request in tx.requests_of(bore[-1].id)} if bore else {}
        if not bore:
            raise Conflict(f"There never was a cluster “{name}”.", "/gpu-cluster list shows those there are.")
        pages = -(-len(lines) // HISTORY_PAGE) or 1
        if not 1 <= page <= pages:
            raise Conflict(f"The history of “{name}” has pages 1 to {pages}.", f"/gpu-cluster history {name} {pages}")
        shown = lines[(page - 1) * HISTORY_PAGE : page * HISTORY_PAGE]
        return History(name, tuple(shown), kinds, page, pages)

    def story_by_id(self, request_id: str) -> Story | None:
        """For the publisher and the command line: no rights are asked."""
        with self._store.reading() as tx:
            request = tx.request(request_id)
            return self._with_what_a_lead_needs(tx, request) if request else None

    def _with_what_a_lead_needs(self, tx: Tx, request: RequestRow) -> Story:
        """The story, and while it waits the team's month and how the group of its leads has changed."""
        told, team = self._tell(tx, request.id), self._catalogue.teams.get(request.team)
        if request.state != RequestState.AWAITING_APPROVAL or team is None:
            return told
        now = self._clock.now()
        held = spending.against_budget(tx, request, self._catalogue, now)
        added = spending.cost(tx, request, now)
        return dataclasses.replace(
            told, committed=held, added_cost=added, lead_changes=roster.changes(tx, team.lead_group, now)
        )

    def documents(self, request_id: str) -> dict[str, Any]:
        """What the probes of a request printed, by node name; for the publisher: no rights are asked."""
        with self._store.reading() as tx:
            rows = [row for row in tx.steps(request_id) if row.kind.startswith("verify@")]
        return {node: said for row in rows for node, said in documents(json.loads(row.facts)).items()}

    def roles(self, ask: Ask) -> frozenset[str]:
        """What somebody is to their team, in words, for `help`."""
        team = self.team_for(ask)
        return frozenset(r.value for r in roles_of(self._directory.person(ask.user), team, None, self._directory))


def _no_such_cluster(name: str) -> Conflict:
    if not name:
        return Conflict("This thread belongs to no cluster.", "Add its name; /gpu-cluster list shows those there are.")
    return Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
