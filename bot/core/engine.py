"""Claims what is due, looks at it, writes down what it saw. Level-triggered: a crash anywhere loses nothing,
because the next look observes again.

A look is one short visit to one request: the steps whose predecessors hold run one after another in one thread, at
most `LOOK_S` in all, under a lease of `LEASE_S` (both real). What a look found is written in one transaction, and
dropped when the request's row has changed meanwhile: a cancel or a delete came first.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from bot.core import expiry, lifecycle, looking, switches
from bot.core.checks.finding import unanswered
from bot.core.costs import ledger, spending
from bot.core.costs.money import dollars
from bot.core.costs.spending import OverBudget
from bot.core.in_use import watch, watching
from bot.core.kinds import Asked, rules_of
from bot.core.looking import Surroundings
from bot.core.ports import Clock, News, Stale, Store, Temporary, Tx, WorldError
from bot.core.records import Kind, RequestRow, RequestState, Watch
from bot.core.spec import Check, Preflight

log = logging.getLogger(__name__)

LEASE_S = 30.0
WATCHERS = 4
"""Looks at clusters in use at once: they go before nobody's request."""
_ATTENDED = 50
"""Clusters that are attended to in one transaction."""
NOTICE_S, _NOTICE_REAL_S = 0.5, 0.05
"""How often it is asked whether anything is under way, and what has changed in Rancher where its reader does not say
when more can be known: world seconds, at least so many real ones."""
AHEAD_S = 60.0
"""World seconds by which a change goes before looks that are only due: where there are too many, those wait."""
IDLE_S = 1.0
"""Longest real time between two claims: another process may have written something due."""


class Engine:
    """Runs looks until told to stop. `wake` it when something became due."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        around: Surroundings,
        threads: int = 16,
        changed: Callable[[], News] = News,
    ) -> None:
        """`changed`: the clusters that have changed in Rancher since it was called last."""
        self._store = store
        self._clock = clock
        self._around = around
        self._threads = threads
        self._changed = changed
        self._noticed: dict[str, tuple[str, float]] = {}
        self._owner = f"engine-{uuid.uuid4().hex[:8]}"
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._busy: set[Future[None]] = set()
        self._watchers: set[Future[None]] = set()
        self._written: Callable[[], None] = lambda: None
        self._before_claims: Callable[[threading.Event], None] = lambda _: None
        self._before_reading: Callable[[threading.Event], None] = lambda _: None

    def give_way(self, claims: Callable[[threading.Event], None], reading: Callable[[threading.Event], None]) -> None:
        """Looks can wait for people: call these before each claim and before Rancher is asked what has changed.

        They get what is set when the engine shall stop.
        """
        self._before_claims, self._before_reading = claims, reading

    def on_written(self, tell: Callable[[], None]) -> None:
        """Call `tell` after each look: there may be something to publish."""
        self._written = tell

    def wake(self) -> None:
        """Look at once for what is due."""
        self._wake.set()

    def stop(self) -> None:
        """Start no new look; those under way end by themselves within their time."""
        self._stop.set()
        self._wake.set()

    def run(self) -> None:
        """Until `stop`: claim no more than there are free threads, look, wait for the next thing due."""
        noticing = threading.Thread(target=self._keep_noticing, name="notice", daemon=True)
        noticing.start()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="look") as pool:
            while not self._stop.is_set():
                self._wake.clear()
                self._busy = {future for future in self._busy if not future.done()}
                self._before_claims(self._stop)
                try:
                    self._attend()
                    for request in self._claim(self._threads - len(self._busy)):
                        future = pool.submit(self._look, request)
                        future.add_done_callback(lambda _: self._wake.set())
                        self._busy.add(future)
                    self._watch(pool)
                    pause = self._pause()
                except WorldError as error:
                    log.warning("the store cannot be used: %s %s", error.reason, error.remedy)
                    pause = IDLE_S
                self._wake.wait(pause)
        noticing.join()

    def _keep_noticing(self) -> None:
        look_in = NOTICE_S
        while not self._stop.wait(max(self._clock.real_seconds(look_in), _NOTICE_REAL_S)):
            look_in = NOTICE_S
            self._before_reading(self._stop)
            try:
                look_in = self.notice()
            except WorldError as error:
                log.debug("what has changed in Rancher cannot be seen: %s", error.reason)
            except Exception:
                log.exception("incident %s: looking for changes broke", looking.new_incident())

    def notice(self) -> float:
        """What has changed in Rancher is due at once; world seconds until more can be known.

        Asks Rancher only while something is under way.
        """
        with self._store.reading() as tx:
            if not tx.anything_running():
                return NOTICE_S
        news, at = self._changed(), self._clock.real()
        if news.names:
            with self._store.transaction() as tx:
                due = tx.look_at_once(news.names, self._clock.now() - AHEAD_S)
                # Before anybody else may write: a look that ends now says when it is due next, and must know of it.
                # Only looks under way ask for it, and none outlasts its lease.
                fresh = {cluster: seen for cluster, seen in self._noticed.items() if at - seen[1] < LEASE_S}
                self._noticed = fresh | {cluster: (name, at) for cluster, name in due.items()}
            self._wake.set()
        return news.look_in

    def look_once(self) -> int:
        """Look at everything due, in this thread; returns how many. For tests and the command line."""
        self._attend()
        with contextlib.suppress(WorldError):
            self.notice()
        claimed = self._claim(self._threads)
        for request in claimed:
            self._look(request)
        for turn in self._claim_watches(self._threads):
            self._visit(turn)
        return len(claimed)

    def _watch(self, pool: ThreadPoolExecutor) -> None:
        """Look at clusters in use with what threads are left."""
        self._watchers = {future for future in self._watchers if not future.done()}
        free = min(WATCHERS - len(self._watchers), self._threads - len(self._busy) - len(self._watchers))
        for turn in self._claim_watches(free):
            future = pool.submit(self._visit, turn)
            future.add_done_callback(lambda _: self._wake.set())
            self._watchers.add(future)

    def _claim_watches(self, limit: int) -> list[Watch]:
        if limit <= 0:
            return []
        now = self._clock.now()
        with self._store.reading() as tx:
            due = tx.next_watch_at()
        if due is None or due > now:
            return []
        with self._store.transaction() as tx:
            return tx.claim_watches(now=now, real=self._clock.real(), owner=self._owner, lease_s=LEASE_S, limit=limit)

    def _visit(self, turn: Watch) -> None:
        """One look at a cluster in use; whatever happens in it, the next one comes."""
        again, seen = watch.next_look(self._clock.now()), None
        try:
            again, seen = watching.visit(turn, self._store, self._clock, self._around)
        except Stale:
            log.info("%s changed while it was watched", turn.cluster.name)
        except WorldError as error:
            log.warning("%s could not be watched: %s %s", turn.cluster.name, error.reason, error.remedy)
        except Exception:
            log.exception("incident %s: the look at %s broke", looking.new_incident(), turn.cluster.name)
        self._afterwards(lambda tx: tx.release_watch(turn.cluster.id, self._owner, due_at=again, watched_at=seen))
        self._written()

    def _claim(self, limit: int) -> list[RequestRow]:
        if limit <= 0:
            return []
        with self._store.transaction() as tx:
            return tx.claim_requests(
                now=self._clock.now(), real=self._clock.real(), owner=self._owner, lease_s=LEASE_S, limit=limit
            )

    def _attend(self) -> None:
        """What is due to clusters by themselves: warnings and ends. Writing only, so no lease is needed."""
        now = self._clock.now()
        with self._store.reading() as tx:
            if not tx.due_clusters(now, 1):
                return
        with self._store.transaction() as tx:
            for cluster in tx.due_clusters(now, _ATTENDED):
                expiry.attend(tx, cluster, self._around.catalogue.policy, now)
        self._written()

    def _pause(self) -> float:
        """Real seconds until the next look is due, as far as this process knows."""
        if len(self._busy) >= self._threads:
            return IDLE_S
        with self._store.reading() as tx:
            moments = [tx.next_due_at()]
            if len(self._watchers) < WATCHERS:
                moments.append(tx.next_watch_at())
        due = min((moment for moment in moments if moment is not None), default=None)
        if due is None:
            return IDLE_S
        return min(max(self._clock.real_seconds(due - self._clock.now()), 0.01), IDLE_S)

    def _look(self, request: RequestRow) -> None:
        """One look; whatever happens in it, the lease is given back or runs out by itself."""
        began = self._clock.real()

        def release(tx: Tx) -> None:
            self._release(tx, request, began)

        try:
            self._look_by_state(request, release)
        except Stale:
            log.info("%s changed while it was looked at; what was seen is dropped", request.id)
            self._afterwards(release)
        except Exception:
            log.exception("incident %s: the look at %s broke", looking.new_incident(), request.id)
            self._afterwards(lambda tx: self._postpone(tx, request))
            self._afterwards(release)
        self._written()

    def _release(self, tx: Tx, request: RequestRow, began: float) -> None:
        """What changed while it was looked at may not have been seen."""
        tx.release_request(request.id, self._owner)
        name, noticed_at = self._noticed.get(request.cluster_id, ("", 0.0))
        if noticed_at > began:
            tx.look_at_once([name], self._clock.now() - AHEAD_S)

    def _look_by_state(self, request: RequestRow, release: Callable[[Tx], None]) -> None:
        """`release` is written with what the look found where that is one transaction, and by itself after others."""
        match request.state:
            case RequestState.CHECKING:
                self._check(request)
            case RequestState.AWAITING_APPROVAL:
                self._while_it_waits(request)
            case _ if not looking.knows(request):
                log.warning("%s has steps that this release does not know; it is left to another", request.id)
                self._afterwards(lambda tx: self._postpone(tx, request))
            case _:
                looking.visit(request, self._store, self._clock, self._around, release)
                return
        self._afterwards(release)

    def _afterwards(self, write: Callable[[Tx], None]) -> None:
        try:
            with self._store.transaction() as tx:
                write(tx)
        except WorldError as error:
            log.warning("the store cannot be used: %s %s", error.reason, error.remedy)

    def _check(self, request: RequestRow) -> None:
        """Preflight: nothing is made, so nothing can be doubled."""
        found = self._found(request)
        now = self._clock.now()
        hours = self._around.catalogue.policy.approval_hours
        with self._store.transaction() as tx:
            checked = lifecycle.checked(tx, request, found, at=now, lapses_at=now + hours * 3600)
            if checked.state == RequestState.AWAITING_APPROVAL:
                self._approve_what_is_small(tx, checked, now)

    def _approve_what_is_small(self, tx: Tx, request: RequestRow, now: float) -> None:
        """Where the team's commitment is below the policy's threshold nobody needs to be asked."""
        catalogue = self._around.catalogue
        if request.kind == Kind.CREATE and switches.stopped(tx) is not None:
            return
        if spending.approvals_needed(tx, request, catalogue, now) == 0:
            because = f"below {dollars(catalogue.policy.no_approval_below)} a month"
            with contextlib.suppress(OverBudget):  # then a lead is asked, and told
                spending.must_fit(tx, request, catalogue, now)
                lifecycle.approve(tx, request, lifecycle.BY_POLICY, because, now, needed=1)

    def _found(self, request: RequestRow) -> Preflight:
        try:
            outside, catalogue = self._around.outside(request.target), self._around.catalogue
            with self._store.reading() as tx:
                cluster = tx.cluster(request.cluster_id)
                asked = Asked(
                    request=request,
                    cluster=cluster,
                    envelope=ledger.current_envelope(tx, cluster),
                    outside=outside,
                    catalogue=catalogue,
                    committed=spending.against_budget(tx, request, catalogue, self._clock.now()),
                    now=self._clock.now(),
                )
            return rules_of(request.kind).check(asked)
        except Temporary as error:
            return unanswered("Rancher and AWS", error)
        except WorldError as error:
            return Preflight((Check("configuration", "no", error.reason, error.remedy),))
        except Exception:
            incident = looking.new_incident()
            log.exception("incident %s: the preflight of %s broke", incident, request.id)
            why = f"Something in the bot broke (incident {incident})."
            return Preflight((Check("preflight", "no", why, "Give the incident id to whoever runs the bot."),))

    def _while_it_waits(self, request: RequestRow) -> None:
        """Nobody has decided yet: a reminder, or the end of waiting."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            if request.lapses_at is not None and now >= request.lapses_at:
                lifecycle.lapse(tx, request, now)
            else:
                lifecycle.remind(tx, request, now)

    def _postpone(self, tx: Tx, request: RequestRow) -> None:
        """A look that broke is tried again a little later, so that it does not spin."""
        current = tx.request(request.id)
        if current is not None and current.rev == request.rev:
            tx.change(current, next_look_at=self._clock.now() + random.uniform(20, 40))  # noqa: S311
