"""Brings kubeconfigs to people's direct messages, takes the files back after a while, and revokes what has to end.

What is due stands in the store, so that a restart loses nothing; the token does not, so that what was interrupted is
done again with another one. Slack's id of the file is stored before anybody can see the file.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

import requests

from bot.core import credentials
from bot.core.desk import Desk
from bot.core.policy import Directory
from bot.core.ports import Clock, Stale, Store, Temporary, WorldError
from bot.core.records import ClusterRow, ClusterState, CredentialRow, CredentialState
from bot.core.steps.base import Outside
from handlers.calls import CALL_ERRORS, TIMEOUT_S, Clients, code_of
from handlers.rounds import Rounds
from handlers.views.kubeconfig import comment, file_name, refused
from handlers.views.render import render

log = logging.getLogger(__name__)

LEASE, LEASE_S = "courier", 180.0
"""Real seconds: longer than all calls of one visit together."""
LOOK_EVERY_S = 1.0
PEOPLE_EVERY_S = 60.0
"""Real seconds between looks at whether those who hold a kubeconfig are still members of the workspace."""
MOST = 50

_ACTOR = "courier"
_GONE = frozenset({"file_not_found", "file_deleted"})


class Courier:
    """One thread. `start` returns at once; `stop` waits for what is under way."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        desk: Desk,
        directory: Directory,
        outside: Callable[[str], Outside],
        clients: Clients,
    ) -> None:
        self._store, self._clock, self._desk, self._directory = store, clock, desk, directory
        self._outside, self._clients = outside, clients
        self._owner = f"courier-{uuid.uuid4().hex[:8]}"
        self._rounds = Rounds("courier", self._round, trouble_s=LOOK_EVERY_S, last=lambda: self._lead(0.0))
        self._people_at = 0.0

    def start(self) -> None:
        self._rounds.start()

    def wake(self) -> None:
        """Something may be due."""
        self._rounds.wake()

    def stop(self) -> None:
        self._rounds.stop()

    def _round(self) -> float:
        self.look()
        return LOOK_EVERY_S

    def look(self) -> None:
        """Do what is due, where no other process does."""
        with self._store.reading() as tx:
            rows = tx.due_credentials(self._clock.now(), MOST)
        if (not rows and not self._people_due()) or not self._lead(LEASE_S):
            return
        if self._people_due():
            self._look_at_people()
        for row in rows:
            if self._rounds.stopping or not self._lead(LEASE_S):
                return
            try:
                self._visit(row)
            except Stale:
                log.info("%s changed while it was looked at", row.id)
            except Exception:
                log.exception("%s could not be looked at; trying again", row.id)
                self._postpone(row)

    def _lead(self, seconds: float) -> bool:
        with self._store.transaction() as tx:
            return tx.take_lease(LEASE, self._owner, real=self._clock.real(), seconds=seconds)

    def _people_due(self) -> bool:
        return self._clock.real() - self._people_at >= PEOPLE_EVERY_S

    def _look_at_people(self) -> None:
        """Whoever is no full member any more keeps nothing."""
        self._people_at = self._clock.real()
        with self._store.reading() as tx:
            people = {row.person for row in tx.credentials()}
        for person in sorted(people):
            try:
                member = self._directory.person(person).member
            except Temporary as error:
                log.warning("whether %s is still a member: %s", person, error.reason)
                continue
            if not member:
                with self._store.transaction() as tx:
                    for row in tx.credentials():
                        if row.person == person:
                            credentials.end(tx, row, "no full member of the workspace any more", self._clock.now())

    # --- one kubeconfig -----------------------------------------------------------------------------------

    def _visit(self, row: CredentialRow) -> None:
        with self._store.reading() as tx:
            current, cluster = tx.credential(row.id), tx.cluster(row.cluster_id)
        if current is None or current.rev != row.rev:
            return
        match row.state:
            case CredentialState.WANTED:
                self._hand_over(row, cluster)
            case CredentialState.HANDED:
                self._take_back(row)
            case CredentialState.ENDING:
                self._end(row, cluster)

    def _hand_over(self, row: CredentialRow, cluster: ClusterRow) -> None:
        now = self._clock.now()
        try:
            if cluster.state not in (ClusterState.READY, ClusterState.DEGRADED):
                raise Temporary(f"The cluster is {cluster.state}.")
            row = self._without_file(row)
            outside = self._outside(cluster.target)
            made = credentials.issue(outside, cluster, row, self._desk.catalogue.access, now)
            row = self._deliver(row, cluster.name, made, made.expires_at - now)
        except Stale:
            raise  # it was ended meanwhile; what was made is revoked then
        except WorldError as error:
            self._not_yet(row, cluster, error, now)
            return
        with self._store.transaction() as tx:
            given = tx.change(
                row, state=CredentialState.HANDED, issued_at=now, expires_at=made.expires_at,
                file_until=now + credentials.FILE_S, next_look_at=min(now + credentials.FILE_S, made.expires_at),
            )  # fmt: skip
            until = f"for {round(made.expires_at - now)} s, file {given.file_id}"
            credentials.audit(tx, given, _ACTOR, "gave a kubeconfig", until, now)

    def _not_yet(self, row: CredentialRow, cluster: ClusterRow, error: WorldError, now: float) -> None:
        """Tried again for a while where it may come true; then the person is told why not."""
        if isinstance(error, Temporary) and now - row.asked_at < credentials.TRY_S:
            self._postpone(row)
            return
        log.warning("no kubeconfig %s: %s", row.id, error.reason)
        self._tell(row.person, cluster.name, error)
        with self._store.transaction() as tx:
            if (current := tx.credential(row.id)) is not None:
                credentials.end(tx, current, f"could not be given: {error.reason}", now)

    def _take_back(self, row: CredentialRow) -> None:
        now = self._clock.now()
        if row.file_id and row.file_until is not None and now >= row.file_until:
            file = row.file_id
            row = self._without_file(row)
            with self._store.transaction() as tx:
                row = tx.change(row, next_look_at=row.expires_at or now)
                credentials.audit(tx, row, _ACTOR, "deleted a kubeconfig's file", file, now)
        if row.expires_at is not None and now >= row.expires_at:
            with self._store.transaction() as tx:
                credentials.end(tx, row, "its time is over", now)

    def _end(self, row: CredentialRow, cluster: ClusterRow) -> None:
        try:
            row = self._without_file(row)
            credentials.revoke(self._outside(cluster.target), cluster, row)
        except WorldError as error:
            log.warning("%s is not revoked yet: %s", row.id, error.reason)
            self._postpone(row)
            return
        now = self._clock.now()
        with self._store.transaction() as tx:
            ended = tx.change(row, state=CredentialState.ENDED)
            credentials.audit(tx, ended, _ACTOR, "revoked a kubeconfig", row.why, now)

    def _postpone(self, row: CredentialRow) -> None:
        with self._store.transaction() as tx:
            current = tx.credential(row.id)
            if current is not None and current.state != CredentialState.ENDED:
                tx.change(current, next_look_at=self._clock.now() + credentials.AGAIN_S)

    # --- Slack --------------------------------------------------------------------------------------------

    def _deliver(
        self, row: CredentialRow, cluster: str, made: credentials.Kubeconfig, good_for_s: float
    ) -> CredentialRow:
        """Into the person's direct messages. Raises `Temporary`; the client's errors hold no part of the file."""
        content, name = made.text.encode(), file_name(cluster)
        try:
            direct = str(self._clients.asking.conversations_open(users=row.person)["channel"]["id"])
            place = self._clients.posting.files_getUploadURLExternal(filename=name, length=len(content))
            with self._store.transaction() as tx:
                row = tx.change(row, file_id=str(place["file_id"]))
            sent = requests.post(str(place["upload_url"]), data=content, timeout=TIMEOUT_S)
            if sent.status_code != requests.codes.ok:
                raise Temporary(f"Slack did not take the file (HTTP {sent.status_code}).")
            self._clients.posting.files_completeUploadExternal(
                files=[{"id": row.file_id, "title": name}],
                channel_id=direct,
                initial_comment=comment(cluster, good_for_s),
            )
        except (*CALL_ERRORS, requests.RequestException) as error:
            raise Temporary(f"Slack did not take the file ({code_of(error)}).", _SCOPE) from error
        return row

    def _without_file(self, row: CredentialRow) -> CredentialRow:
        """The file is gone from Slack, and so is its id. Raises `Temporary`."""
        if not row.file_id:
            return row
        try:
            self._clients.asking.files_delete(file=row.file_id)
        except CALL_ERRORS as error:
            if code_of(error) not in _GONE:
                raise Temporary(f"Slack did not delete the file {row.file_id} ({code_of(error)}).") from error
        with self._store.transaction() as tx:
            return tx.change(row, file_id="")

    def _tell(self, person: str, cluster: str, why: WorldError) -> None:
        """Why there is none; a kindness, so Slack's troubles end here."""
        page = render(refused(cluster, why))
        try:
            direct = str(self._clients.asking.conversations_open(users=person)["channel"]["id"])
            self._clients.posting.chat_postMessage(channel=direct, text=page.text, blocks=list(page.plain_blocks))
        except CALL_ERRORS as error:
            log.warning("%s was not told why there is no kubeconfig: %s", person, code_of(error))


_SCOPE = "The app needs the scopes files:write and im:write (gpu-cluster doctor)."
