"""The front desk of the core: what people ask, checked, and written down before anything is done about it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.core import credentials, expiry, ledger, lifecycle, roster, scaling, spending, story, switches
from bot.core.asking import new_request
from bot.core.asking import request_id_for as request_id_for
from bot.core.care import Ask as Ask
from bot.core.care import Care
from bot.core.changes import Change, Scale, Share, change_from_json, change_to_json, kind_of
from bot.core.conflict import Conflict as Conflict
from bot.core.exporting import Made, made
from bot.core.kinds import rules_of
from bot.core.ledger import Account, Committed
from bot.core.measuring import documents
from bot.core.places import must_stand_in_one_place
from bot.core.policy import Denied, Directory, Verb, lead_of, require, roles_of, who_can
from bot.core.ports import Clock, Store, Taken, Tx
from bot.core.preview import Preview, Previews
from bot.core.records import (
    AuditRow,
    ClusterRow,
    ClusterState,
    CredentialRow,
    CredentialState,
    Kind,
    PostedRow,
    RequestRow,
    RequestState,
    SwitchRow,
)
from bot.core.spec import (
    REASON_MAX,
    AccessPolicy,
    Catalogue,
    Draft,
    Invalid,
    Problem,
    Team,
    check_draft,
    draft_of,
    name_problem,
    spec_from_json,
    to_json,
)
from bot.core.spending import OverBudget
from bot.core.story import Story
from bot.core.together import Together

HISTORY_PAGE = 20
"""Lines of a cluster's history at once."""


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


@dataclass(frozen=True)
class Own:
    """What somebody's Home tab is about: their clusters, what waits for their decision, their team and its month."""

    team: Team
    committed: Committed
    clusters: tuple[Story, ...]
    waiting: tuple[Story, ...]


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled; `removing`: it had made something, which is being removed."""

    story: Story
    removing: bool


@dataclass(frozen=True)
class Kept:
    """Until when a failed cluster stays (world time), and what it costs an hour; None where no price is known."""

    cluster: str
    until: float
    rate: float | None


@dataclass(frozen=True)
class History:
    """A page of a cluster's audit trail; `kinds` by request id."""

    cluster: str
    lines: tuple[AuditRow, ...]
    kinds: Mapping[str, Kind]
    page: int
    pages: int


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
        self._stories = Together[list[Story]]()
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
        leads = self._leads_now(team)
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
            switches.must_be_allowed(tx)
            living = tx.living_cluster(spec.name)
            if living is not None:
                raise _name_in_use(living)
            lifecycle.open_create(tx, cluster, request, approvals_channel=self._approvals_channel)
            tx.add(PostedRow(request_id, leads))
            told = self._tell(tx, request_id)
        self._remember(ask.user, draft)
        self._wake()
        return told

    def ask_enable(self, ask: Ask, name: str) -> Story:
        """Write down that a cluster which is there already shall be enabled; its survey starts at once.

        Raises `Denied`, `Invalid`, or `Conflict` for one that is not on the list or has been enabled.
        """
        now, listed = self._clock.now(), self._catalogue.enable.clusters
        if name not in listed:
            known = ", ".join(sorted(listed)) or "none so far"
            raise Conflict(
                f"“{name}” is not on the list of clusters that may be enabled.",
                f"On it are: {known}. Whoever runs the bot can add it under [enable] clusters.",
            )
        team = self.team(listed[name])
        require(Verb.ENABLE, self._directory.person(ask.user), team, None, self._directory)
        request_id = request_id_for(ask.key)
        cluster = ClusterRow(
            id=f"k-{request_id[2:]}", name=name, team=team.name, target=team.targets[0], owner=ask.user,
            channel=ask.channel, state=ClusterState.BUILDING, created_at=now, enabled=True,
        )  # fmt: skip
        request = self._request(request_id, Kind.ENABLE, cluster, ask, "{}", now)
        with self._store.transaction() as tx:
            if (known_story := self._known(tx, request_id)) is not None:
                return known_story
            if (living := tx.living_cluster(name)) is not None:
                raise _enabled_already(living)
            lifecycle.open_create(tx, cluster, request, approvals_channel=self._approvals_channel)
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def ask_delete(self, ask: Ask, name: str, *, meant: str = "") -> Story:
        """Write a delete down; it waits for a lead. Raises `Denied`, `Invalid` or `Conflict`.

        `meant`: a request of the cluster that is meant, where a button was pressed that may be an old one.
        """
        now = self._clock.now()
        request_id = request_id_for(ask.key)
        cluster = self._allowed(Verb.DELETE, ask, name, meant)
        leads = self._leads_now(self.team(cluster.team))
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
            tx.add(PostedRow(request_id, leads))
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def ask_again(self, user: str, request_id: str) -> Story:
        """Ask for what lapsed once more, by its requester; however often that is done, it is one request.

        Raises `Denied`, `Invalid` or `Conflict` as asking does.
        """
        with self._store.reading() as tx:
            request = tx.request(request_id)
            cluster = tx.cluster(request.cluster_id) if request else None
        if request is None or cluster is None:
            raise Conflict("This request is not known here any more.", "/gpu-cluster list")
        if user != request.requester:
            raise Denied(Verb.CREATE, "Only who asked for it can ask for it again.", (request.requester,))
        if request.state != RequestState.LAPSED:
            raise Conflict("Only a request that has lapsed is asked for again.", f"/gpu-cluster status {cluster.name}")
        ask = Ask(user, request.channel, f"again:{request_id}")
        if request.kind == Kind.DELETE:
            return self.ask_delete(ask, cluster.name)
        if (change := change_from_json(request.kind, request.spec)) is not None:
            return self.ask_change(ask, cluster.name, change)
        return self.ask_create(ask, draft_of(spec_from_json(request.spec)))

    def preview(self, ask: Ask, draft: Draft) -> Preview:
        """What a create would cost and need. Nothing is made and nobody asked; AWS and Rancher are, for seconds.

        Raises `Denied`, `Invalid` (every problem named), or `WorldError` where the target is not configured.
        """
        team = self._catalogue.team_of(ask.user, ask.channel)
        require(Verb.CREATE, self._directory.person(ask.user), team, None, self._directory)
        spec = check_draft(draft, team, self._catalogue)
        if self._previews is None:
            raise Conflict("Previews are not set up here.", "Ask with /gpu-cluster create: the card shows the same.")
        with self._store.reading() as tx:
            held = ledger.committed(tx, team, self._clock.now())
            living = tx.living_cluster(spec.name)
        found = self._previews.of(spec, None if held.budget is None else held)
        policy = self._catalogue.policy
        by_cost = policy.by_cost
        cost = found.envelope.max_cost if found.envelope else None
        needed = spending.approvals_for(policy, held, cost) if by_cost else policy.approvals
        in_use = _name_in_use(living).why if living else ""
        return Preview(spec, found, held, needed, by_cost, who_can(team), in_use)

    def ask_change(self, ask: Ask, name: str, change: Change, *, meant: str = "") -> Story:
        """Write a change of a living cluster down. Raises `Denied`, `Invalid` or `Conflict`; `meant` as above."""
        now, kind = self._clock.now(), kind_of(change)
        request_id = request_id_for(ask.key)
        cluster = self._allowed(Verb(kind), ask, name, meant)
        if isinstance(change, Share):
            self._must_be_shareable(ask.user, change.person)
        leads = self._leads_now(self.team(cluster.team))
        request = self._request(request_id, kind, cluster, ask, change_to_json(change), now)
        with self._store.transaction() as tx:
            if (known := self._known(tx, request_id)) is not None:
                return known
            cluster = tx.cluster(cluster.id)
            opening = rules_of(kind).open(tx, cluster, change, self._catalogue, now)
            if opening.change is not None:
                request = dataclasses.replace(request, spec=change_to_json(opening.change))
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
            tx.add(PostedRow(request_id, leads))
            told = self._tell(tx, request_id)
        self._wake()
        return told

    def ask_kubeconfig(self, ask: Ask, name: str) -> ClusterRow:
        """Write down that somebody wants a kubeconfig of their own. Raises `Denied`, `Invalid` or `Conflict`.

        It is for those whom Rancher does not know: the others have their own, by Rancher.
        """
        now = self._clock.now()
        cluster, access = self._allowed(Verb.KUBECONFIG, ask, name), self._catalogue.access
        _must_give_tokens(cluster, ask.user, access)
        identity = "t-" + request_id_for(ask.key)[2:]
        row = CredentialRow(
            id=identity, cluster_id=cluster.id, person=ask.user, account=f"person-{identity[2:]}",
            state=CredentialState.WANTED, asked_at=now, next_look_at=now,
        )  # fmt: skip
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            _must_be_usable(cluster)
            if tx.credential(identity) is None:
                credentials.want(tx, row)
        self._wake()
        return cluster

    def _must_be_shareable(self, user: str, person: str) -> None:
        if person == user:
            raise Conflict("You cannot share a cluster with yourself.", "Name somebody else: share NAME @them")
        if not self._directory.person(person).member:
            raise Conflict(
                f"<@{person}> is a guest, a bot, deactivated, or of another workspace.",
                "A cluster can be shared with full members of this workspace.",
            )

    # --- moving -------------------------------------------------------------------------------------------

    def cancel(self, ask: Ask, name: str) -> Cancelled:
        """End what is open on a cluster; what a running one has made is removed. Raises `Denied` or `Conflict`.

        A look under way starts no further step; the removal waits until its lease is over.
        """
        cluster, now = self._allowed(Verb.CANCEL, ask, name), self._clock.now()
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            request = tx.open_request(cluster.id)
            if request is None:
                raise Conflict(f"Nothing is under way on “{name}”.", f"/gpu-cluster status {name}")
            _must_be_cancellable(request, name)
            cancelled = lifecycle.cancel(tx, request, ask.user, now)
            removing = self._undo(tx, cluster, request, ask.user, now)
            told = self._tell(tx, cancelled.id)
        self._wake()
        return Cancelled(told, removing)

    def _undo(self, tx: Tx, cluster: ClusterRow, request: RequestRow, user: str, now: float) -> bool:
        """Have removed what the cancelled request has made; False where it had made nothing."""
        begun = request.state in (RequestState.APPROVED, RequestState.RUNNING)
        if request.kind == Kind.CREATE and not begun:
            lifecycle.free_name(tx, request, now)
        elif request.kind == Kind.CREATE:
            expiry.end(tx, cluster, "It was cancelled while it was being made.", requester=user, at=now)
        elif request.kind == Kind.SCALE and request.state == RequestState.RUNNING:
            scaling.back(tx, cluster, request, user, now)
        else:
            return False
        return begun

    def retry(self, ask: Ask, name: str, *, meant: str = "") -> Story:
        """Let a failed create go on from the step that failed, under the approval it has.

        Raises `Denied`, or `Conflict`: nothing failed, or what was approved is not what would be made.
        """
        cluster, now = self._allowed(Verb.RETRY, ask, name, meant), self._clock.now()
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            create = lifecycle.home_of(tx, cluster.id)
            if cluster.state != ClusterState.FAILED or create.state != RequestState.FAILED:
                raise Conflict(_nothing_to_retry(cluster), f"/gpu-cluster status {name}")
            switches.must_be_allowed(tx)
            if (refusal := lifecycle.not_what_was_approved(tx, create)) is not None:
                raise Conflict(refusal, f"Delete it (/gpu-cluster delete {name}), and have a new one approved.")
            facts = story.step_facts(tx, create.id).get("machines", {})
            must_stand_in_one_place(name, facts, "retry")
            lifecycle.retry(tx, create, ask.user, now)
            told = self._tell(tx, create.id)
        self._wake()
        return told

    def keep(self, ask: Ask, name: str, *, meant: str = "") -> Kept:
        """Let a failed cluster stay longer, so that somebody can look at it. Raises `Denied` or `Conflict`."""
        cluster, now = self._allowed(Verb.KEEP, ask, name, meant), self._clock.now()
        policy = self._catalogue.policy
        with self._store.transaction() as tx:
            cluster = tx.cluster(cluster.id)
            if cluster.state != ClusterState.FAILED:
                raise Conflict(
                    f"“{name}” is {cluster.state}; only a failed cluster needs to be kept.",
                    f"/gpu-cluster extend {name} 4h keeps one that is ready.",
                )
            was = expiry.removed_at(cluster, tx.requests_of(cluster.id), policy) or now
            until = max(now + policy.keep_hours * 3600.0, was)
            order = ledger.current_envelope(tx, cluster)
            rate = order.max_price_per_hour if order else None
            counted = max(cluster.kept_until or now, now)
            try:
                added = None if rate is None else rate * (until - counted) / 3600.0
                held = ledger.committed(tx, self.team(cluster.team), now)
                spending.must_afford(held, added, cluster.team)
            except OverBudget as over:
                raise Conflict(over.why, over.remedy) from over
            if until != cluster.kept_until:
                tx.change(cluster, kept_until=until, due_at=until)
                lifecycle.note(tx, cluster, ask.user, "kept a failed cluster", f"until {until:.0f}", now)
                lifecycle.notice(tx, cluster, "kept", now, by=ask.user, ends=until, rate=rate)
        self._wake()
        return Kept(name, until, rate)

    def stop_creates(self, ask: Ask, reason: str, *, stop: bool) -> SwitchRow:
        """Stop all new creates, of every team, or allow them again. Raises `Denied`, `Invalid` or `Conflict`."""
        verb = Verb.STOP_CREATES if stop else Verb.ALLOW_CREATES
        require(verb, self._directory.person(ask.user), self.team_for(ask), None, self._directory)
        if len(reason) > REASON_MAX:
            raise Invalid(Problem("reason", f"The reason is {len(reason)} characters long; {REASON_MAX} at most."))
        with self._store.transaction() as tx:
            if (switches.stopped(tx) is not None) == stop:
                raise Conflict("New creates are stopped already." if stop else "New creates are allowed already.")
            turned = switches.turn(tx, on=stop, by=ask.user, reason=reason, at=self._clock.now())
        self._wake()
        return turned

    def stopped(self) -> SwitchRow | None:
        """Who has stopped new creates; None while they are allowed."""
        with self._store.reading() as tx:
            return switches.stopped(tx)

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
        if approve:
            self._must_have_been_lead(user, request_id)
        now = self._clock.now()
        with self._store.transaction() as tx:
            request = tx.request(request_id)
            if request is None:
                raise Conflict("This request is not known here any more.", "/gpu-cluster list")
            _must_be_open(request, now)
            if not request.envelope_hash.startswith(seen):
                raise Conflict("The request has changed since this card was drawn.", "Look at it again, then decide.")
            needed = self._needed(tx, request)
            if approve and request.kind == Kind.CREATE:
                switches.must_be_allowed(tx)
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
        return self._stories.of(self._living)

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

    def committed_of(self, team: Team) -> Committed:
        """What a team has spent and promised this month."""
        with self._store.reading() as tx:
            return ledger.committed(tx, team, self._clock.now())

    def recall(self) -> None:
        """Read once what each person asked for last: a form that opens does not wait for the store."""
        with self._store.reading() as tx:
            specs = {row.requester: spec_from_json(row.spec) for row in tx.newest_creates()}
        self._recent = {
            user: dataclasses.replace(draft_of(spec), name="", wait="") for user, spec in specs.items()
        } | self._recent

    def recent(self, user: str) -> Draft:
        """What somebody asked for last, as far as this process knows; without the name, which is taken once."""
        return self._recent.get(user, Draft())

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

    def documents(self, request_id: str) -> dict[str, Any]:
        """What the probes of a request printed, by node name; for the publisher: no rights are asked."""
        with self._store.reading() as tx:
            rows = [row for row in tx.steps(request_id) if row.kind.startswith("verify@")]
        return {node: said for row in rows for node, said in documents(json.loads(row.facts)).items()}

    def team_for(self, ask: Ask) -> Team:
        """The team that somebody asks for from there."""
        return self._catalogue.team_of(ask.user, ask.channel)

    def roles(self, ask: Ask) -> frozenset[str]:
        """What somebody is to their team, in words, for `help`."""
        team = self.team_for(ask)
        return frozenset(r.value for r in roles_of(self._directory.person(ask.user), team, None, self._directory))

    # --- inside -------------------------------------------------------------------------------------------

    def _request(self, request_id: str, kind: Kind, cluster: ClusterRow, ask: Ask, spec: str, now: float) -> RequestRow:
        return new_request(request_id, kind, cluster, requester=ask.user, channel=ask.channel, spec=spec, now=now)

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

    def _leads_now(self, team: Team) -> str:
        """Who may approve what is posted now, as JSON. Raises `Temporary` when Slack cannot say: nothing is posted."""
        group = self._directory.group(team.lead_group, fresh=True) if team.lead_group else frozenset[str]()
        return json.dumps(sorted({*team.leads, *group}))

    def _must_have_been_lead(self, user: str, request_id: str) -> None:
        """Whoever joins the leads after a request was posted does not approve that one: nobody adds a friend for it."""
        with self._store.reading() as tx:
            posted = tx.posted_leads(request_id)
        if posted is not None and user not in (were := tuple(json.loads(posted.leads))):
            why = "You became a lead after this was asked; one who was a lead then has to approve it."
            raise Denied(Verb.APPROVE, why, were)

    def _may_ever_decide(self, tx: Tx, user: str, request: RequestRow) -> bool:
        """Told without asking Slack: somebody who was a lead when it was posted, of a team that still is."""
        posted = tx.posted_leads(request.id)
        return request.team in self._catalogue.teams and (posted is None or user in json.loads(posted.leads))

    def _remember(self, user: str, draft: Draft) -> None:
        self._recent[user] = dataclasses.replace(draft, name="", hours=draft.hours.removesuffix("h"), problems=())

    def _known(self, tx: Tx, request_id: str) -> Story | None:
        return self._tell(tx, request_id) if tx.request(request_id) else None

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

    def team(self, name: str) -> Team:
        try:
            return self._catalogue.teams[name]
        except KeyError:
            raise Conflict(
                f"Team {name} is not in gpu-cluster.toml any more, so nobody may decide for it.",
                f"Put [team.{name}] back, or ask whoever keeps the file.",
            ) from None


def _no_such_cluster(name: str) -> Conflict:
    if not name:
        return Conflict("This thread belongs to no cluster.", "Add its name; /gpu-cluster list shows those there are.")
    return Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")


def _enabled_already(cluster: ClusterRow) -> Conflict:
    if cluster.enabled:
        return Conflict(
            f"“{cluster.name}” is {cluster.state} already.", f"/gpu-cluster status {cluster.name}; delete forgets it."
        )
    return Conflict(
        f"The name “{cluster.name}” belongs to a cluster that this bot made for <@{cluster.owner}>.",
        "It was enabled when it was made.",
    )


def _must_be_usable(cluster: ClusterRow) -> None:
    if cluster.state not in (ClusterState.READY, ClusterState.DEGRADED) or not cluster.management_id:
        raise Conflict(
            f"“{cluster.name}” is {cluster.state}; there is a kubeconfig once it is ready.",
            f"/gpu-cluster status {cluster.name}",
        )


def _must_give_tokens(cluster: ClusterRow, user: str, access: AccessPolicy) -> None:
    _must_be_usable(cluster)
    if principal := access.principals.get(user):
        raise Conflict(
            f"Rancher knows you as {principal}: log in there and download your own KubeConfig from the cluster's page.",
            f"Is the cluster not there? <@{cluster.owner}> or a lead can type /gpu-cluster share {cluster.name} @you",
        )
    if access.tokens == credentials.OFF:
        raise Conflict(
            "This bot gives no kubeconfigs, and it does not know your Rancher account.",
            "Whoever runs the bot can add you under [access] principals.",
        )


def _must_be_cancellable(request: RequestRow, name: str) -> None:
    if request.kind == Kind.DELETE and request.state in (RequestState.APPROVED, RequestState.RUNNING):
        raise Conflict("Its removal has begun, and cannot be taken back.")
    if request.kind == Kind.REPLACE and request.state == RequestState.RUNNING:
        raise Conflict(
            "The replacement has begun: the new machine is being made, or the bad one is going already.",
            f"Wait until it has ended: /gpu-cluster status {name}",
        )
    change = change_from_json(request.kind, request.spec)
    if isinstance(change, Scale) and change.machines < change.was and request.state == RequestState.RUNNING:
        raise Conflict("Machines are being removed already, and cannot be had back.", "Scale up again afterwards.")


def _nothing_to_retry(cluster: ClusterRow) -> str:
    if cluster.state == ClusterState.BUILDING:
        return f"“{cluster.name}” is being built; there is nothing to retry."
    return f"“{cluster.name}” is {cluster.state}; only a create that has failed can be retried."


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
