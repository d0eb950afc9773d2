"""What every window of the desk needs: who may, which cluster, and how a request is told."""

from __future__ import annotations

import json
from collections.abc import Callable

from bot.core import expiry, story
from bot.core.asking import Ask
from bot.core.changes import change_from_json
from bot.core.checks.preview import Previews
from bot.core.conflict import Conflict
from bot.core.costs import spending
from bot.core.policy import Directory, Verb, require
from bot.core.ports import Clock, Store, Tx
from bot.core.records import (
    ClusterRow,
    RequestRow,
    RequestState,
)
from bot.core.spec import (
    Catalogue,
    Draft,
    Invalid,
    Problem,
    Team,
    name_problem,
)
from bot.core.story import Story


class Base:
    """What the windows of the desk share. Reads and writes the store, and asks Slack who somebody is."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        catalogue: Catalogue,
        directory: Directory,
        approvals_channel: str = "",
        previews: Previews | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._directory = directory
        self._approvals_channel = approvals_channel
        self._previews = previews
        self._recent: dict[str, Draft] = {}
        self._wake = wake

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue

    def team(self, name: str) -> Team:
        try:
            return self._catalogue.teams[name]
        except KeyError:
            raise Conflict(
                f"Team {name} is not in gpu-cluster.toml any more, so nobody may decide for it.",
                f"Put [team.{name}] back, or ask whoever keeps the file.",
            ) from None

    def team_for(self, ask: Ask) -> Team:
        """The team that somebody asks for from there."""
        return self._catalogue.team_of(ask.user, ask.channel)

    def _allowed(self, verb: Verb, ask: Ask, name: str, meant: str = "") -> ClusterRow:
        """The living cluster of that name, if this person may do that to it."""
        if name_problem(name) is not None:
            raise Invalid(Problem("name", f"“{name}” is not a cluster's name. Try /gpu-cluster list."))
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
            request = tx.request(meant) if meant else None
        if meant and (request is None or cluster is None or request.cluster_id != cluster.id):
            raise Conflict(f"This button is of an earlier “{name}”, which is gone.", "/gpu-cluster list")
        if cluster is None:
            raise Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
        require(verb, self._directory.person(ask.user), self.team(cluster.team), cluster, self._directory)
        return cluster

    def _leads_now(self, team: Team) -> str:
        """Who may approve what is posted now, as JSON. Raises `Temporary` when Slack cannot say: nothing is posted."""
        group = self._directory.group(team.lead_group, fresh=True) if team.lead_group else frozenset[str]()
        return json.dumps(sorted({*team.leads, *group}))

    def _tell(self, tx: Tx, request_id: str) -> Story:
        request = tx.request(request_id)
        needed = self._needed(tx, request) if request else 1
        removed_at = None
        if request is not None:
            cluster, policy = tx.cluster(request.cluster_id), self._catalogue.policy
            removed_at = expiry.removed_at(cluster, tx.requests_of(cluster.id), policy)
        told = story.tell(tx, request_id, approvals_needed=needed, removed_at=removed_at)
        if told is None:
            raise LookupError(request_id)
        return told

    def _newest(self, tx: Tx, cluster: ClusterRow) -> Story:
        """The newest request that came to something: one denied or lapsed says nothing about the cluster, and a
        change that has ended less than the create, which knows how to get in."""
        requests = tx.requests_of(cluster.id)
        void = (RequestState.DENIED, RequestState.LAPSED)
        past = [r.id for r in requests if r.finished_at is not None and change_from_json(r.kind, r.spec) is not None]
        counted = [r for r in requests if r.state not in void and r.id not in past]
        return self._tell(tx, (counted or requests)[-1].id)

    def _needed(self, tx: Tx, request: RequestRow) -> int:
        """At least one where a person is asked: what needs nobody has not come this far."""
        return max(spending.approvals_needed(tx, request, self._catalogue, self._clock.now()), 1)
