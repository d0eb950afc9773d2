"""What people ask for, checked, and written down before anything is done about it."""

from __future__ import annotations

import dataclasses

from bot.core import credentials, lifecycle, switches
from bot.core.asking import Ask, new_request, request_id_for
from bot.core.changes import Change, Share, change_from_json, change_to_json, kind_of
from bot.core.checks.preview import Preview
from bot.core.conflict import Conflict
from bot.core.costs import ledger, spending
from bot.core.desk.base import Base
from bot.core.kinds import rules_of
from bot.core.policy import Denied, Verb, require, who_can
from bot.core.ports import Taken, Tx
from bot.core.records import (
    ClusterRow,
    ClusterState,
    CredentialRow,
    CredentialState,
    Kind,
    PostedRow,
    RequestRow,
    RequestState,
)
from bot.core.spec import (
    AccessPolicy,
    Draft,
    check_draft,
    draft_of,
    spec_from_json,
    to_json,
)
from bot.core.story import Story


class Asking(Base):
    """Requests, as they are written down. A gesture that is delivered twice is one request."""

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
                raise _name_in_use(tx, living)
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
                raise _delete_asked(tx, cluster) from taken
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
            in_use = _name_in_use(tx, living).why if living else ""
        found = self._previews.of(spec, None if held.budget is None else held)
        policy = self._catalogue.policy
        by_cost = policy.by_cost
        cost = found.envelope.max_cost if found.envelope else None
        needed = spending.approvals_for(policy, held, cost) if by_cost else policy.approvals
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

    def _must_be_shareable(self, user: str, person: str) -> None:
        if person == user:
            raise Conflict("You cannot share a cluster with yourself.", "Name somebody else: share NAME @them")
        if not self._directory.person(person).member:
            raise Conflict(
                f"<@{person}> is a guest, a bot, deactivated, or of another workspace.",
                "A cluster can be shared with full members of this workspace.",
            )

    def _request(self, request_id: str, kind: Kind, cluster: ClusterRow, ask: Ask, spec: str, now: float) -> RequestRow:
        return new_request(request_id, kind, cluster, requester=ask.user, channel=ask.channel, spec=spec, now=now)

    def _known(self, tx: Tx, request_id: str) -> Story | None:
        return self._tell(tx, request_id) if tx.request(request_id) else None

    def _remember(self, user: str, draft: Draft) -> None:
        self._recent[user] = dataclasses.replace(draft, name="", hours=draft.hours.removesuffix("h"), problems=())


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


def _busy(cluster: ClusterRow, other: RequestRow | None) -> Conflict:
    what = f"one is open: {other.kind} ({other.state})" if other else "another is open"
    return Conflict(f"“{cluster.name}” takes one change at a time, and {what}.", f"/gpu-cluster status {cluster.name}")


def _leaving(tx: Tx, cluster: ClusterRow) -> bool:
    """From the approval on, though the engine may not have begun yet."""
    approved = (RequestState.APPROVED, RequestState.RUNNING)
    asked = (r.kind == Kind.DELETE and r.state in approved for r in tx.requests_of(cluster.id))
    return cluster.state == ClusterState.DELETING or any(asked)


def _delete_asked(tx: Tx, cluster: ClusterRow) -> Conflict:
    """A delete that failed leaves the cluster *deleting* with no open request: then it can be asked again."""
    if _leaving(tx, cluster):
        return Conflict(f"“{cluster.name}” is already being deleted.", f"/gpu-cluster status {cluster.name}")
    return Conflict(
        f"Somebody has already asked to delete “{cluster.name}”; it waits for a lead.",
        f"/gpu-cluster status {cluster.name}",
    )


def _name_in_use(tx: Tx, cluster: ClusterRow) -> Conflict:
    if _leaving(tx, cluster):
        return Conflict(
            f"“{cluster.name}” is still being deleted; the name is free once its last machine is gone.",
            f"Watch it with /gpu-cluster status {cluster.name}, or choose another name.",
        )
    return Conflict(
        f"The name “{cluster.name}” is in use: <@{cluster.owner}>'s cluster, {cluster.state}.",
        f"Choose another name, or see /gpu-cluster status {cluster.name}.",
    )
