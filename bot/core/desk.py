"""The front desk of the core: what people ask, checked, and written down before anything is done about it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from bot.core import ledger, lifecycle, plan, spending, story
from bot.core.care import Ask as Ask
from bot.core.care import Care
from bot.core.changes import Change, change_to_json, kind_of
from bot.core.conflict import Conflict as Conflict
from bot.core.kinds import rules_of
from bot.core.ledger import Account, Committed
from bot.core.policy import Denied, Directory, Verb, lead_of, require, roles_of, who_can
from bot.core.ports import Clock, Store, Taken, Tx
from bot.core.records import OPEN_STATES, ClusterRow, ClusterState, Kind, RequestRow, RequestState
from bot.core.spec import Catalogue, Draft, Invalid, Problem, Team, check_draft, name_problem, to_json
from bot.core.spending import OverBudget
from bot.core.story import Story


@dataclass(frozen=True)
class Decided:
    """What a click on Approve or Deny came to: `approvals` of `needed` so far; `final` when that decided it."""

    story: Story
    approvals: int
    needed: int
    final: bool


@dataclass(frozen=True)
class Costs:
    """What clusters cost so far, and what each team concerned has committed this month."""

    accounts: tuple[Account, ...]
    teams: tuple[tuple[str, Committed], ...]


class Desk:
    """What handlers (and the command line) call. All methods are quick: they read and write the store only,
    and ask Slack who somebody is."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        catalogue: Catalogue,
        directory: Directory,
        approvals_channel: str = "",
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._catalogue = catalogue
        self._directory = directory
        self._approvals_channel = approvals_channel
        self._wake = wake
        self.care = Care(store, clock, directory, self)

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue

    # --- asking -------------------------------------------------------------------------------------------

    def ask_create(self, ask: Ask, draft: Draft) -> Story:
        """Write a create down; its preflight starts at once.

        Raises `Denied`, `Invalid` (every problem named), or `Conflict` when the name is in use.
        """
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.CREATE, self._directory.person(ask.user), team, None, self._directory)
        spec = check_draft(draft, team, self._catalogue)
        now = self._clock.now()
        request_id = request_id_for(ask.key)
        cluster = ClusterRow(
            id=f"k-{request_id[2:]}",
            name=spec.name,
            team=team.name,
            target=spec.target,
            owner=ask.user,
            channel=ask.channel,
            state=ClusterState.BUILDING,
            created_at=now,
        )
        request = self._request(request_id, Kind.CREATE, cluster, ask, to_json(spec), now)
        with self._store.transaction() as tx:
            if (known := self._known(tx, request_id)) is not None:
                return known
            living = tx.living_cluster(spec.name)
            if living is not None:
                raise _name_in_use(living)
            lifecycle.open_create(tx, cluster, request, approvals_channel=self._approvals_channel)
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def ask_delete(self, ask: Ask, name: str) -> Story:
        """Write a delete down; it waits for a lead. Raises `Denied`, `Invalid` or `Conflict`."""
        now = self._clock.now()
        request_id = request_id_for(ask.key)
        cluster = self._allowed(Verb.DELETE, ask, name)
        request = self._request(request_id, Kind.DELETE, cluster, ask, "{}", now)
        with self._store.transaction() as tx:
            if (known := self._known(tx, request_id)) is not None:
                return known
            cluster = tx.cluster(cluster.id)
            if cluster.state == ClusterState.GONE:
                raise Conflict(f"“{name}” is gone already.", "/gpu-cluster list shows those there are.")
            try:
                lifecycle.open_delete(
                    tx,
                    cluster,
                    request,
                    approvals_channel=self._approvals_channel,
                    lapses_at=now + self._catalogue.policy.approval_hours * 3600,
                )
            except Taken as taken:
                raise _delete_asked(cluster) from taken
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def ask_change(self, ask: Ask, name: str, change: Change) -> Story:
        """Write a change of a living cluster down. Raises `Denied`, `Invalid` or `Conflict`."""
        now, kind = self._clock.now(), kind_of(change)
        request_id = request_id_for(ask.key)
        cluster = self._allowed(Verb(kind), ask, name)
        request = self._request(request_id, kind, cluster, ask, change_to_json(change), now)
        with self._store.transaction() as tx:
            if (known := self._known(tx, request_id)) is not None:
                return known
            cluster = tx.cluster(cluster.id)
            opening = rules_of(kind).open(tx, cluster, change, self._catalogue, now)
            try:
                lifecycle.open_change(
                    tx,
                    cluster,
                    request,
                    approvals_channel=self._approvals_channel,
                    lapses_at=now + self._catalogue.policy.approval_hours * 3600,
                    envelope=opening.envelope,
                    check=opening.check,
                    free=opening.free,
                )
            except Taken as taken:
                raise _busy(cluster, tx.open_request(cluster.id)) from taken
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def _allowed(self, verb: Verb, ask: Ask, name: str) -> ClusterRow:
        """The living cluster of that name, if this person may do that to it."""
        if name_problem(name) is not None:
            raise Invalid(Problem("name", f"“{name}” is not a cluster's name. Try /gpu-cluster list."))
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
        if cluster is None:
            raise Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
        require(verb, self._directory.person(ask.user), self.team(cluster.team), cluster, self._directory)
        return cluster

    # --- deciding -----------------------------------------------------------------------------------------

    def decide(self, user: str, request_id: str, *, approve: bool, reason: str = "", seen: str = "") -> Decided:
        """One person's decision. Raises `Denied` (rights, own request) or `Conflict` (decided, lapsed, changed).

        Rights are looked up now, whatever the card showed; one winner by compare-and-set. `seen` is the beginning
        of the envelope's hash on the card that was clicked: a decision is about what the person saw.
        """
        verb = Verb.APPROVE if approve else Verb.DENY
        with self._store.reading() as tx:
            request = tx.request(request_id)
        if request is None:
            raise Conflict("This request is not known here any more.", "/gpu-cluster list")
        team = self.team(request.team)
        person = self._directory.person(user)
        require(verb, person, team, None, self._directory)
        if approve and user == request.requester:
            raise Denied(verb, "You asked for this yourself; another lead has to approve it.", who_can(team))
        because = lead_of(user, team, self._directory, fresh=approve).because
        now = self._clock.now()
        with self._store.transaction() as tx:
            request = tx.request(request_id)
            if request is None:
                raise Conflict("This request is not known here any more.", "/gpu-cluster list")
            _must_be_open(request, now)
            if not request.envelope_hash.startswith(seen):
                raise Conflict("The request has changed since this card was drawn.", "Look at it again, then decide.")
            needed = self._needed(tx, request)
            if approve:
                try:
                    spending.must_fit(tx, request, self._catalogue, now)
                    count = lifecycle.approve(tx, request, user, because, now, needed=needed)
                except Taken as taken:
                    raise Conflict("You have approved this already; it waits for another lead.") from taken
                except OverBudget as over:
                    raise Conflict(over.why, over.remedy) from over
                final = count >= needed
            else:
                try:
                    lifecycle.deny(tx, request, user, because, reason, now)
                except Taken as taken:
                    raise Conflict(
                        "You have approved this already, and an approval stands.", "Another lead can still deny it."
                    ) from taken
                count, final = 0, True
            told = self._tell(tx, request_id)
        self._wake()
        return Decided(told, count, needed, final)

    # --- telling ------------------------------------------------------------------------------------------

    def stories(self, ask: Ask) -> list[Story]:
        """The newest request of every living cluster, oldest cluster first. Raises `Denied`."""
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.LIST, self._directory.person(ask.user), team, None, self._directory)
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

    def story_by_id(self, request_id: str) -> Story | None:
        """For the publisher and the command line: no rights are asked."""
        with self._store.reading() as tx:
            request = tx.request(request_id)
            return self._tell(tx, request_id) if request else None

    def team_for(self, ask: Ask) -> Team:
        """The team that somebody asks for from there."""
        return self._catalogue.team_of(ask.user, ask.channel)

    def roles(self, ask: Ask) -> frozenset[str]:
        """What somebody is to their team, in words, for `help`."""
        team = self.team_for(ask)
        return frozenset(r.value for r in roles_of(self._directory.person(ask.user), team, None, self._directory))

    # --- inside -------------------------------------------------------------------------------------------

    def _request(self, request_id: str, kind: Kind, cluster: ClusterRow, ask: Ask, spec: str, now: float) -> RequestRow:
        return RequestRow(
            id=request_id,
            cluster_id=cluster.id,
            kind=kind,
            state=RequestState.CHECKING,
            requester=ask.user,
            team=cluster.team,
            target=cluster.target,
            channel=ask.channel,
            spec=spec,
            asked_at=now,
            next_look_at=now,
            plan=plan.freeze(plan.plan_for(kind)),
        )

    def _known(self, tx: Tx, request_id: str) -> Story | None:
        return self._tell(tx, request_id) if tx.request(request_id) else None

    def _tell(self, tx: Tx, request_id: str) -> Story:
        request = tx.request(request_id)
        needed = self._needed(tx, request) if request else 1
        told = story.tell(tx, request_id, approvals_needed=needed)
        if told is None:
            raise LookupError(request_id)
        return told

    def _newest(self, tx: Tx, cluster: ClusterRow) -> Story:
        """The newest request that came to something: one denied or lapsed says nothing about the cluster, and a change
        that has ended says less than the request that made it: how to get in, for one."""
        requests = tx.requests_of(cluster.id)
        counted = [
            r
            for r in requests
            if r.state not in (RequestState.DENIED, RequestState.LAPSED)
            and (r.kind in (Kind.CREATE, Kind.DELETE) or r.state in OPEN_STATES)
        ]
        return self._tell(tx, (counted or requests)[-1].id)

    def _needed(self, tx: Tx, request: RequestRow) -> int:
        """At least one where a person is asked: what needs nobody has not come this far."""
        return max(spending.approvals_needed(tx, request, self._catalogue, self._clock.now()), 1)

    def team(self, name: str) -> Team:
        try:
            return self._catalogue.teams[name]
        except KeyError:
            raise Conflict(
                f"Team {name} is not in gpu-cluster.toml any more, so nobody may decide for it.",
                f"Put [team.{name}] back, or ask whoever keeps the file.",
            ) from None


def request_id_for(key: str) -> str:
    """A request's id follows from the gesture that asked for it, so that a repeat finds the first."""
    return "r-" + uuid.uuid5(uuid.NAMESPACE_URL, f"gpu-cluster:{key}").hex[:10]


def _must_be_open(request: RequestRow, now: float) -> None:
    if request.state == RequestState.AWAITING_APPROVAL:
        if request.lapses_at is not None and now >= request.lapses_at:
            raise Conflict("Too late: this request has lapsed.", "The requester can ask again.")
        return
    if request.state == RequestState.CHECKING:
        raise Conflict("The checks are not finished; the buttons work as soon as they are.")
    if request.state == RequestState.LAPSED:
        raise Conflict("Too late: this request has lapsed.", "The requester can ask again.")
    if request.state == RequestState.CANCELLED:
        raise Conflict("This request was cancelled.")
    if not request.decided_by:
        raise Conflict("This request has failed its checks.", "The requester can ask again.")
    word = "denied" if request.state == RequestState.DENIED else "approved"
    by = "the policy" if request.decided_by == lifecycle.BY_POLICY else f"<@{request.decided_by}>"
    raise Conflict(f"This was already {word} by {by}.")


def _busy(cluster: ClusterRow, other: RequestRow | None) -> Conflict:
    what = f"one is open: {other.kind} ({other.state})" if other else "another is open"
    return Conflict(f"“{cluster.name}” takes one change at a time, and {what}.", f"/gpu-cluster status {cluster.name}")


def _delete_asked(cluster: ClusterRow) -> Conflict:
    """A delete that failed leaves the cluster *deleting* with no open request: then it can be asked again."""
    if cluster.state == ClusterState.DELETING:
        return Conflict(f"“{cluster.name}” is already being deleted.", f"/gpu-cluster status {cluster.name}")
    return Conflict(
        f"Somebody has already asked to delete “{cluster.name}”; it waits for a lead.",
        f"/gpu-cluster status {cluster.name}",
    )


def _name_in_use(cluster: ClusterRow) -> Conflict:
    if cluster.state == ClusterState.DELETING:
        return Conflict(
            f"“{cluster.name}” is still being deleted; the name is free once its last machine is gone.",
            f"Watch it with /gpu-cluster status {cluster.name}, or choose another name.",
        )
    return Conflict(
        f"The name “{cluster.name}” is in use: <@{cluster.owner}>'s cluster, {cluster.state}.",
        f"Choose another name, or see /gpu-cluster status {cluster.name}.",
    )
