"""Takes what was written down, asks the desk, and answers. Not in Bolt's listener pool: acks never wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bot.core.causes.insight import Insight
from bot.core.changes import Replace
from bot.core.desk import Ask, Conflict, Desk
from bot.core.exporting import Made
from bot.core.looking import new_incident
from bot.core.policy import Denied, Verb, allowed, who_can
from bot.core.ports import Clock, Store, WorldError
from bot.core.records import InboundRow
from bot.core.spec import Draft, Invalid, Team, name_problem
from bot.core.sweeping import Listing, Sweeping
from handlers.answering import Answerer
from handlers.courtesy import Courtesy
from handlers.directory import SlackDirectory
from handlers.forms import FormFiller, presets_for
from handlers.grammar import change_of, page_of
from handlers.home import Homes
from handlers.inbox import Gesture, Inbound, Inbox, NotOfThisRelease, Wanted, inbound_from_json
from handlers.views import answers, modals, moves
from handlers.views.costs import costs
from handlers.views.export import export_page
from handlers.views.help import Rights, help_page
from handlers.views.history import history
from handlers.views.listing import listing
from handlers.views.orphans import orphans_page, swept_page
from handlers.views.page import Page
from handlers.views.preview import preview
from handlers.views.status import status
from handlers.views.why import logs, why
from handlers.windows import Windows

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""Real seconds a gesture belongs to the process that took it; after a crash another takes it again."""
LOOK_EVERY_S = 1.0
"""Real seconds between looks for what another process wrote down or left unfinished."""
KEEP_S = 24 * 3600.0
"""Real seconds for which a key is remembered against repeats."""


SLOW: frozenset[Wanted] = frozenset({Gesture.PREVIEW, Gesture.DRY_RUN, Verb.ORPHANS, Gesture.END_ORPHANS})
"""What asks AWS and Rancher, for seconds: it has threads of its own, so that clicks never wait for it."""


@dataclass(frozen=True)
class Reply:
    """What to say to one person; `visible` to everybody in the thread, or the channel where there is none."""

    page: Page
    visible: bool = False


class Intake:
    """Worker threads for gestures. `start` returns at once; `stop` waits for what is under way."""

    def __init__(
        self,
        *,
        store: Store,
        inbox: Inbox,
        desk: Desk,
        insight: Insight,
        sweeping: Sweeping,
        directory: SlackDirectory,
        answerer: Answerer,
        clock: Clock,
        windows: Windows,
        homes: Homes,
        channels: tuple[str, ...] = (),
        workers: int = 6,
        write_down: Callable[[Made], str] = lambda _: "",
    ) -> None:
        self._store, self._inbox, self._desk, self._directory = store, inbox, desk, directory
        self._insight, self._sweeping = insight, sweeping
        self._answerer, self._clock, self._channels = answerer, clock, channels
        self._windows, self._homes = windows, homes
        self._courtesy = Courtesy(inbox, clock)
        self._filler = FormFiller(desk, windows)
        self._place = channels[0] if channels else ""
        self._workers = workers
        self._write_down = write_down
        self._free = threading.Semaphore(workers)
        self._woken, self._stopping = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="intake")
        self._slow = ThreadPoolExecutor(workers, thread_name_prefix="intake-slow")
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._forgotten_real = 0.0
        inbox.on_put(self._woken.set)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, finish what was taken."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        self._pool.shutdown(wait=True)
        self._slow.shutdown(wait=True)

    # --- taking -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            self._courtesy.wait(self._stopping)
            try:
                taken = self._take()
            except Exception:
                log.exception("the inbox could not be read; trying again")
                taken = 0
            if not taken:
                self._woken.wait(LOOK_EVERY_S)

    def _take(self) -> int:
        """Hand out as many gestures as there are free workers; returns how many were taken."""
        if not self._free.acquire(timeout=LOOK_EVERY_S):
            return 1
        slots = 1
        while slots < self._workers and self._free.acquire(blocking=False):
            slots += 1
        rows: list[InboundRow] = []
        try:
            rows = self._claim(slots)
        finally:
            if len(rows) < slots:
                self._free.release(slots - len(rows))
        for row in rows:
            if row.kind in SLOW:
                self._slow.submit(self._handle, row)
                self._free.release()
            else:
                self._pool.submit(self._handle_and_free, row)
        return len(rows)

    def _claim(self, limit: int) -> list[InboundRow]:
        real = self._clock.real()
        with self._store.transaction() as tx:
            if real - self._forgotten_real > KEEP_S / 24:
                tx.forget_inbound(before_real=real - KEEP_S)
                self._forgotten_real = real
            return tx.claim_inbound(real=real, lease_s=LEASE_S, limit=limit)

    def _handle_and_free(self, row: InboundRow) -> None:
        try:
            self._handle(row)
        finally:
            self._free.release()
            self._woken.set()

    def _handle(self, row: InboundRow) -> None:
        try:
            try:
                inbound = inbound_from_json(row.payload)
                reply = self._reply(row.key, inbound)
            except NotOfThisRelease as unknown:
                log.exception("%s is of another release and is closed", row.key)
                inbound, reply = unknown.whose, Reply(answers.another_release())
            if reply is not None and inbound.gesture == Gesture.DETAILS:
                # The window was opened for the answer, and shows whatever the answer is.
                self._windows.show(inbound.view, inbound.hash, inbound.order, modals.told(reply.page))
            elif reply is not None and inbound.gesture != Gesture.PREVIEW:
                self._answerer.answer(inbound, reply.page, received_real=row.received_real, visible=reply.visible)
            with self._store.transaction() as tx:
                tx.finish_inbound(row.key, real=self._clock.real())
        except Exception:
            log.exception("a gesture stays unfinished and is taken again: %s", row.key)

    # --- answering ----------------------------------------------------------------------------------------

    def _reply(self, key: str, inbound: Inbound) -> Reply | None:
        try:
            return self._ask_desk(Ask(inbound.user, inbound.channel, key), inbound)
        except Denied as error:
            log.info("denied: %s, %s by %s in %s", error.why, inbound.gesture, inbound.user, inbound.channel)
            return Reply(answers.denied(error))
        except Invalid as error:
            return Reply(answers.invalid(error, inbound.draft))
        except Conflict as error:
            return Reply(answers.conflict(error, inbound.draft))
        except WorldError as error:
            return Reply(answers.unavailable(error))
        except Exception:
            identity = new_incident()
            log.exception("incident %s: %s by %s", identity, inbound.gesture, inbound.user)
            return Reply(answers.incident(identity))

    def _ask_desk(self, ask: Ask, inbound: Inbound) -> Reply | None:
        handle: dict[Wanted, Callable[[Ask, Inbound], Reply | None]] = {
            Verb.CREATE: self._create,
            Verb.DELETE: self._delete,
            Verb.LIST: self._list,
            Verb.STATUS: self._status,
            Verb.COST: self._cost,
            Verb.EXPORT: self._export,
            Verb.WHY: self._why,
            Verb.LOGS: self._logs,
            Verb.EXTEND: self._change,
            Verb.SHARE: self._change,
            Verb.UNSHARE: self._change,
            Verb.KUBECONFIG: self._kubeconfig,
            Verb.ENABLE: self._enable,
            Verb.HELP: lambda ask, _: Reply(self._noted(self._help(ask))),
            Verb.VERIFY: self._change,
            Verb.REPLACE: self._replace,
            Verb.ACCEPT: self._accept,
            Verb.IGNORE: self._ignore,
            Verb.SCALE: self._change,
            Verb.CANCEL: self._cancel,
            Verb.RETRY: self._retry,
            Verb.KEEP: self._keep,
            Verb.HISTORY: self._history,
            Verb.STOP_CREATES: self._switch,
            Verb.ALLOW_CREATES: self._switch,
            Verb.ORPHANS: self._orphans,
            Gesture.END_ORPHANS: self._end_orphans,
            Verb.APPROVE: self._decide,
            Verb.DENY: self._decide,
            Gesture.UNKNOWN: lambda _, inbound: Reply(answers.unknown(inbound.name)),
            Gesture.GARBLED: lambda _, inbound: Reply(answers.bad_line(inbound.name)),
            Gesture.DRY_RUN: self._dry_run,
            Gesture.PREVIEW: self._preview,
            Gesture.AGAIN: self._again,
            Gesture.DETAILS: self._details,
            Gesture.LATE: self._late,
            Gesture.HOME: self._home,
            Gesture.ELSEWHERE: lambda _, inbound: Reply(answers.elsewhere(self._channels)),
        }
        return handle[inbound.gesture](ask, inbound)

    def _dry_run(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(preview(self._desk.preview(ask, inbound.draft or Draft()), self._desk.catalogue.policy))

    def _preview(self, ask: Ask, inbound: Inbound) -> None:
        self._filler.fill(inbound)

    def _again(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(answers.got_it(self._desk.ask_again(ask.user, inbound.name).cluster))

    def _details(self, ask: Ask, inbound: Inbound) -> None:
        named = bool(inbound.name)
        story = self._desk.story_for(ask, inbound.name) if named else self._desk.story_in_thread(ask, inbound.thread_ts)
        self._windows.show(inbound.view, inbound.hash, inbound.order, modals.details(story))

    def _late(self, ask: Ask, inbound: Inbound) -> Reply:
        """A form can be typed instead; any other window is asked for again."""
        return Reply(answers.window_late() if inbound.draft is None else answers.form_late(inbound.draft))

    def _home(self, ask: Ask, inbound: Inbound) -> None:
        self._homes.opened(ask.user)

    def _somewhere_public(self, ask: Ask) -> Ask:
        """A request is posted where others see it: what is asked in private goes to the configured channel."""
        if ask.channel and not ask.channel.startswith("D"):
            return ask
        if not self._place:
            raise Conflict(
                "A request is posted in a channel, where others see it.",
                "Type /gpu-cluster create in a channel that I am in.",
            )
        return Ask(ask.user, self._place, ask.key)

    def _list(self, ask: Ask, inbound: Inbound) -> Reply:
        page = page_of(inbound.words)
        return Reply(self._noted(listing(self._desk.stories(ask), page)))

    def _create(self, ask: Ask, inbound: Inbound) -> Reply | None:
        ask = self._somewhere_public(ask)
        if not self._directory.is_in(ask.channel):
            return Reply(answers.not_invited(ask.channel))
        story = self._desk.ask_create(ask, inbound.draft or Draft())
        return None if inbound.told else Reply(answers.got_it(story.cluster))

    def _delete(self, ask: Ask, inbound: Inbound) -> Reply:
        name = "" if "." in inbound.name else self._named(ask, inbound)
        ask = self._somewhere_public(ask)
        if not self._directory.is_in(ask.channel):
            return Reply(answers.not_invited(ask.channel))
        if "." in inbound.name:  # a button: no cluster's name has a dot
            return Reply(answers.got_it(self._desk.care.clean_up(ask, inbound.name).cluster, delete=True))
        story = self._desk.ask_delete(ask, name, meant=inbound.meant)
        return Reply(answers.got_it(story.cluster, delete=True))

    def _change(self, ask: Ask, inbound: Inbound) -> Reply:
        if not self._directory.is_in(ask.channel):
            return Reply(answers.not_invited(ask.channel))
        in_thread = bool(inbound.thread_ts) and not inbound.meant
        name, change = change_of(Verb(inbound.gesture), inbound.words, in_thread=in_thread)
        name = name or self._desk.story_in_thread(ask, inbound.thread_ts).cluster
        return Reply(answers.change_taken(self._desk.ask_change(ask, name, change, meant=inbound.meant)))

    def _named(self, ask: Ask, inbound: Inbound) -> str:
        """The cluster that was named, or the thread's own."""
        return inbound.name or self._desk.story_in_thread(ask, inbound.thread_ts).cluster

    def _cancel(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(moves.cancelled(self._desk.cancel(ask, self._named(ask, inbound), meant=inbound.meant)))

    def _retry(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(moves.retried(self._desk.retry(ask, self._named(ask, inbound), meant=inbound.meant)))

    def _keep(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(moves.kept(self._desk.keep(ask, self._named(ask, inbound), meant=inbound.meant)))

    def _history(self, ask: Ask, inbound: Inbound) -> Reply:
        shown = self._desk.history(ask, self._named(ask, inbound), page_of(inbound.words))
        return Reply(history(shown), visible=bool(inbound.thread_ts))

    def _switch(self, ask: Ask, inbound: Inbound) -> Reply:
        stop = inbound.gesture == Verb.STOP_CREATES
        return Reply(moves.switched(self._desk.stop_creates(ask, inbound.name, stop=stop)))

    def _orphans(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(orphans_page(self._sweeping.listing(ask)), visible=bool(inbound.thread_ts))

    def _end_orphans(self, ask: Ask, inbound: Inbound) -> Reply:
        """What was ended is told to everybody: so the bot must be able to speak there before it ends anything."""
        if not ask.channel.startswith("D") and not self._directory.is_in(ask.channel):
            return Reply(answers.not_invited(ask.channel))
        told = self._sweeping.press(ask, inbound.name)
        if isinstance(told, Listing):
            return Reply(orphans_page(told), visible=bool(inbound.thread_ts))
        return Reply(swept_page(told), visible=True)

    def _noted(self, page: Page) -> Page:
        """With a note while new creates are stopped."""
        switch = self._desk.stopped()
        return page if switch is None else moves.while_stopped(page, switch)

    def _replace(self, ask: Ask, inbound: Inbound) -> Reply:
        """Typed with a name and perhaps a node, or clicked below a trouble or a degraded outcome."""
        if "." in inbound.name:
            return Reply(answers.change_taken(self._desk.care.replace_clicked(ask, inbound.name)))
        name, change = change_of(Verb.REPLACE, inbound.words, in_thread=bool(inbound.thread_ts))
        name = name or self._desk.story_in_thread(ask, inbound.thread_ts).cluster
        wish = change.node if isinstance(change, Replace) else ""
        return Reply(answers.change_taken(self._desk.care.replace(ask, name, wish)))

    def _accept(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(answers.accepted(self._desk.care.accept(ask, inbound.name)))

    def _ignore(self, ask: Ask, inbound: Inbound) -> Reply:
        return Reply(answers.ignored(self._desk.care.ignore(ask, inbound.name)))

    def _enable(self, ask: Ask, inbound: Inbound) -> Reply:
        if not self._directory.is_in(ask.channel):
            return Reply(answers.not_invited(ask.channel))
        if not inbound.name:
            return Reply(answers.no_name(inbound.gesture))
        return Reply(answers.got_it(self._desk.ask_enable(ask, inbound.name).cluster))

    def _kubeconfig(self, ask: Ask, inbound: Inbound) -> Reply:
        name = inbound.name or self._desk.story_in_thread(ask, inbound.thread_ts).cluster
        return Reply(answers.kubeconfig_coming(self._desk.ask_kubeconfig(ask, name).name))

    def _status(self, ask: Ask, inbound: Inbound) -> Reply:
        if not inbound.name:
            story = self._desk.story_in_thread(ask, inbound.thread_ts)
        elif name_problem(inbound.name) is not None:
            raise Conflict("That is not a cluster's name.", "/gpu-cluster list shows those there are.")
        else:
            story = self._desk.story_of(ask, inbound.name)
        # Who asks may miss the message with the buttons: one that was deleted in Slack is posted anew.
        self._desk.show_again(story.cluster)
        return Reply(self._noted(status(story)), visible=bool(inbound.thread_ts))

    def _cost(self, ask: Ask, inbound: Inbound) -> Reply:
        if inbound.name and name_problem(inbound.name) is not None:
            raise Conflict("That is not a cluster's name.", "/gpu-cluster cost shows all there are.")
        shown = costs(self._desk.costs(ask, inbound.name), page_of(inbound.words))
        return Reply(shown, visible=bool(inbound.thread_ts))

    def _export(self, ask: Ask, inbound: Inbound) -> Reply:
        """For the one who asks, and for nobody else in the channel."""
        if name_problem(inbound.name) is not None:
            raise Conflict("That is not a cluster's name.", "/gpu-cluster export NAME; /gpu-cluster list shows them.")
        found = self._desk.made(ask, inbound.name)
        return Reply(export_page(inbound.name, self._write_down(found)))

    def _why(self, ask: Ask, inbound: Inbound) -> Reply:
        found = self._insight.why(ask, _known_name(inbound), inbound.thread_ts)
        return Reply(why(found), visible=bool(inbound.thread_ts))

    def _logs(self, ask: Ask, inbound: Inbound) -> Reply:
        """Only for whoever asked: a thread is read by people who may not."""
        return Reply(logs(self._insight.logs(ask, _known_name(inbound), inbound.thread_ts)))

    def _decide(self, ask: Ask, inbound: Inbound) -> Reply:
        request_id, _, seen = inbound.name.partition(".")
        if not seen:
            raise Conflict("This button is not of this release.", "/gpu-cluster list")
        approve = inbound.gesture == Verb.APPROVE
        return Reply(
            answers.decided(
                self._desk.decide(ask.user, request_id, approve=approve, reason=inbound.text, seen=seen),
                approve=approve,
            )
        )

    def _help(self, ask: Ask) -> Page:
        team = self._desk.team_for(ask)
        roles = self._desk.roles(ask)
        rights = Rights(tuple(sorted(roles)), allowed(roles), team.name, who_can(team), self._leads(team))
        return help_page(rights, presets_for(self._desk, team), self._desk.committed_of(team))

    def _leads(self, team: Team) -> tuple[str, ...]:
        """Whose approval counts at this moment; empty where Slack cannot say."""
        try:
            group = self._directory.group(team.lead_group) if team.lead_group else frozenset[str]()
        except WorldError:
            return ()
        return tuple(sorted({*team.leads, *group}))


def _known_name(inbound: Inbound) -> str:
    """The name that was typed, '' where the thread says which cluster. Raises `Conflict` for what can be none."""
    if inbound.name and name_problem(inbound.name) is not None:
        raise Conflict("That is not a cluster's name.", "/gpu-cluster list shows those there are.")
    return inbound.name
