"""What people decide about a cluster in use that has something wrong with it: accept, replace, ignore, clean up.

Buttons carry the cluster's id and the trouble's, `k-….t-…` or `k-….`: a name could be another cluster's by now.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from bot.core import lifecycle
from bot.core.asking import Ask
from bot.core.changes import Change, Replace
from bot.core.conflict import Conflict
from bot.core.in_use import troubles
from bot.core.kinds.replace import to_replace
from bot.core.policy import Denied, Directory, Verb, lead_of, require, who_can
from bot.core.ports import Clock, Store
from bot.core.records import ClusterRow, ClusterState
from bot.core.spec import Team
from bot.core.story import Story


class Requests(Protocol):
    """The part of the desk that writes requests down."""

    def ask_change(self, ask: Ask, name: str, change: Change) -> Story: ...
    def ask_delete(self, ask: Ask, name: str) -> Story: ...
    def team(self, name: str) -> Team: ...


class Care:
    """Quick, as the desk is: reads and writes the store, and asks Slack who somebody is."""

    def __init__(self, store: Store, clock: Clock, directory: Directory, requests: Requests) -> None:
        self._store, self._clock, self._directory, self._requests = store, clock, directory, requests

    def accept(self, ask: Ask, value: str) -> str:
        """A lead takes a degraded cluster as it is: *ready*, its verdict stays. Returns its name."""
        cluster, _ = self._clicked(value)
        team = self._allowed(Verb.ACCEPT, ask, cluster)
        if ask.user == cluster.owner:
            raise Denied(Verb.ACCEPT, "This cluster is yours; another lead has to accept it.", who_can(team))
        with self._store.transaction() as tx:
            current, now = tx.cluster(cluster.id), self._clock.now()
            if current.state != ClusterState.DEGRADED:
                raise Conflict(f"“{current.name}” is {current.state} now; there is nothing to accept.")
            home = lifecycle.home_of(tx, cluster.id)
            lifecycle.move_cluster(
                tx, current, ClusterState.READY, request=home, at=now, detail="accepted as it is", actor=ask.user
            )
            troubles.say_accepted(tx, current, ask.user, now)
        return cluster.name

    def ignore(self, ask: Ask, value: str) -> str:
        """Somebody has seen a trouble and lets it be. Returns the cluster's name."""
        cluster, trouble = self._clicked(value)
        self._allowed(Verb.IGNORE, ask, cluster)
        with self._store.transaction() as tx:
            troubles.ignore(tx, trouble, ask.user, self._clock.now())
        return cluster.name

    def replace_clicked(self, ask: Ask, value: str) -> Story:
        """Replace what the trouble is about; below an outcome, the first node that is bad."""
        cluster, trouble = self._clicked(value)
        with self._store.reading() as tx:
            row = tx.trouble(trouble) if trouble else None
        if row is not None and row.over_at is not None:
            raise Conflict("This is over already; nothing has to be replaced.", f"/gpu-cluster status {cluster.name}")
        return self.replace(ask, cluster.name, row.subject if row is not None else "")

    def replace(self, ask: Ask, name: str, wish: str) -> Story:
        """`wish`: a node by its name or UID, a GPU by its UUID, '' for the first that is bad.

        A lead who clicks on another's cluster asks in its owner's name, so that the same lead may approve it.
        """
        with self._store.reading() as tx:
            cluster = tx.living_cluster(name)
        if cluster is None:
            raise Conflict(f"There is no cluster “{name}”.", "/gpu-cluster list shows those there are.")
        self._allowed(Verb.REPLACE, ask, cluster)
        if cluster.state in (ClusterState.READY, ClusterState.DEGRADED):
            with self._store.transaction() as tx:
                change = to_replace(tx, tx.cluster(cluster.id), wish)
        else:
            change = Replace()  # refused with the reason, by the rules of the kind
        return self._requests.ask_change(self._for_the_owner(ask, cluster), name, change)

    def clean_up(self, ask: Ask, value: str) -> Story:
        """Delete the cluster, as `delete NAME` does."""
        cluster, _ = self._clicked(value)
        self._allowed(Verb.DELETE, ask, cluster)
        return self._requests.ask_delete(self._for_the_owner(ask, cluster), cluster.name)

    def _clicked(self, value: str) -> tuple[ClusterRow, str]:
        """The living cluster of a button, and the trouble's id, '' below an outcome."""
        cluster_id, _, trouble = value.partition(".")
        with self._store.reading() as tx:
            living = {cluster.id: cluster for cluster in tx.clusters()}
        if cluster_id not in living:
            raise Conflict("This cluster is gone already.", "/gpu-cluster list shows those there are.")
        return living[cluster_id], trouble

    def _allowed(self, verb: Verb, ask: Ask, cluster: ClusterRow) -> Team:
        team = self._requests.team(cluster.team)
        require(verb, self._directory.person(ask.user), team, cluster, self._directory)
        return team

    def _for_the_owner(self, ask: Ask, cluster: ClusterRow) -> Ask:
        """In the owner's name where a lead acts for somebody else: what they ask for, nobody else could approve."""
        if ask.user == cluster.owner:
            return ask
        team = self._requests.team(cluster.team)
        return replace(ask, user=cluster.owner) if lead_of(ask.user, team, self._directory).is_lead else ask
