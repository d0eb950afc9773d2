"""The one place where the parts are put together."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import gc
import ipaddress
import logging
import signal
import socket
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slack_bolt import App

from bot import doctor, settings, verify
from bot.aws.cloud import Ec2Cloud
from bot.aws.shared import SharedCloud
from bot.aws.sweep import Sweep
from bot.core import story
from bot.core.bot_token import BotToken
from bot.core.causes.diagnosis import codes_in
from bot.core.causes.insight import Insight
from bot.core.checks.preflight import preflight
from bot.core.checks.preview import Previews
from bot.core.clock import FileClock, WallClock
from bot.core.costs.ledger import Committed
from bot.core.desk import Desk
from bot.core.engine import Engine
from bot.core.exporting import made
from bot.core.looking import Surroundings
from bot.core.ports import Clock, Cloud, Cluster, Permanent, Rancher, Store, Temporary, TokenRefused, WorldError
from bot.core.records import Kind, RequestState
from bot.core.roster import Rosters
from bot.core.spec import Check, ClusterSpec, Draft, Envelope, Preflight, check_draft
from bot.core.steps.base import Outside
from bot.core.story import Story
from bot.core.sweeping import Sweeping
from bot.core.token_watch import TokenWatch, operators
from bot.core.verification.extras import extras_of
from bot.core.verification.verdict import VERIFIED, Report
from bot.kube.adapter import KubeCluster, KubeconfigCluster
from bot.rancher.adapter import RancherAdapter
from bot.rancher.export import gitops
from bot.rancher.terraform import terraform
from bot.settings import Environment, Settings, how_to_mend, secret
from bot.store import open_store
from handlers.answering import Answerer
from handlers.calls import make_clients
from handlers.courier import Courier
from handlers.courtesy import Courtesy
from handlers.directory import SlackDirectory
from handlers.home import Homes
from handlers.inbox import Inbox
from handlers.intake import Intake
from handlers.publisher import Publisher
from handlers.slack import (
    HttpServer,
    SocketConnection,
    build_app,
    close_app,
    connect_socket,
    identify,
    serve_http,
)
from handlers.windows import Windows

log = logging.getLogger(__name__)

_SWITCH_S = 0.001
"""How long one thread keeps the interpreter while others want it. At Python's own 5 ms an ack, which gives it away a
dozen times, waits for most of a second behind sixteen looks."""


class NotReady(Exception):
    """Something that the command needs is missing; `problems` says what and how to mend it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# --- parts ----------------------------------------------------------------------------------------------------


def make_clock(environment: Environment) -> Clock:
    """Wall clock, or the sandbox's. Raises `NotReady` when a clock file is set and Rancher is not on loopback."""
    if not environment.gpu_cluster_clock:
        return WallClock()
    if not _on_loopback(environment.rancher_url):
        raise NotReady("GPU_CLUSTER_CLOCK is for the sandbox; it is refused because RANCHER_URL is not on loopback.")
    try:
        return FileClock(Path(environment.gpu_cluster_clock))
    except (OSError, ValueError, KeyError) as error:
        raise NotReady(f"GPU_CLUSTER_CLOCK: {environment.gpu_cluster_clock} cannot be read ({error}).") from None


def make_store(settings: Settings) -> Store:
    """The store of DATABASE_URL. Raises `NotReady` for a URL of another kind."""
    try:
        return open_store(settings.database_url)
    except ValueError as error:
        raise NotReady(str(error)) from None


class Outsides:
    """The outside worlds of the targets, each made once and shared by all looks."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._environment = settings.environment
        self._targets = settings.catalogue.targets
        self._clock = clock
        source = functools.partial(secret, "RANCHER_TOKEN")
        self.token = BotToken(source, clock, mend=how_to_mend("RANCHER_TOKEN"))
        self.rancher = RancherAdapter(
            self._environment.rancher_url,
            self.token,
            ca_bundle=self._environment.rancher_ca_bundle or None,
            clock=clock,
        )
        self.cloud: Callable[[str], Cloud] = functools.cache(lambda region: SharedCloud(Ec2Cloud(region)))
        self.cluster: Callable[[str], Cluster] = functools.lru_cache(maxsize=512)(self._cluster)

    def of(self, target: str) -> Outside:
        """The outside world of a target, by its name. Raises `Permanent` when the configuration has no such target."""
        if target not in self._targets:
            raise Permanent(f"There is no [target.{target}] any more.", "Put it back into gpu-cluster.toml.")
        region = self._targets[target].region
        return Outside(self.rancher, self.cloud(region), self.cluster, self._environment.rancher_url, self._authority())

    def _authority(self) -> str:
        """Of a Rancher with a private CA, for other people's kubeconfigs: its PEM in base64, '' for none."""
        bundle = self._environment.rancher_ca_bundle
        try:
            return base64.b64encode(Path(bundle).read_bytes()).decode() if bundle else ""
        except OSError as error:
            why = f"RANCHER_CA_BUNDLE: {bundle} cannot be read ({error.strerror})."
            raise Permanent(why, "It must be the path of a PEM file.") from None

    def _cluster(self, management_id: str) -> Cluster:
        return KubeCluster(
            self._environment.rancher_url,
            self.token,
            management_id,
            ca_bundle=self._environment.rancher_ca_bundle or None,
            clock=self._clock,
        )


def make_outsides(settings: Settings, clock: Clock) -> Outsides:
    """The outside worlds. Raises `NotReady` when Rancher is not configured; asks nobody anything yet."""
    environment = settings.environment
    if not environment.rancher_url or not environment.rancher_token:
        raise NotReady("RANCHER_URL and RANCHER_TOKEN must be set (gpu-cluster doctor says more).")
    return Outsides(settings, clock)


def make_engine(settings: Settings, store: Store, clock: Clock, outsides: Outsides) -> Engine:
    """The engine with everything it looks at."""
    around = Surroundings(
        outside=outsides.of,
        catalogue=settings.catalogue,
        principals=settings.config.access.principals,
        probe_script=(resources.files("manifests") / "verify" / "probe.py").read_text(),
    )
    return Engine(store=store, clock=clock, around=around, changed=outsides.rancher.changed)


# --- programs -------------------------------------------------------------------------------------------------


def run_worker(settings: Settings) -> None:
    """An engine on the store, until it is told to end."""
    clock, store = make_clock(settings.environment), make_store(settings)
    outsides = make_outsides(settings, clock)
    engine = make_engine(settings, store, clock, outsides)
    log.info("worker: store %s", store.describe())
    _end_on_signal(engine.stop)
    _greet(outsides.rancher)
    engine.run()


def run_bot(settings: Settings) -> None:
    """Slack, intake, publisher and engine in one process, until it is told to end.

    Raises `NotReady` or a `WorldError` when it cannot start; each names the setting to mend.
    """
    environment, slack = settings.environment, settings.config.slack
    _need_slack(environment)
    clock, store = make_clock(environment), make_store(settings)
    outsides = make_outsides(settings, clock)
    engine = make_engine(settings, store, clock, outsides)
    clients = make_clients(environment.slack_bot_token, environment.slack_api_url)
    installation = identify(clients.asking, slack.workspace)
    directory = SlackDirectory(clients.asking, installation.team_id, clock, Rosters(store, clock).noticed)
    wakers = [engine.wake]

    def look(spec: ClusterSpec, committed: Committed | None) -> Preflight:
        outside = outsides.of(spec.target)
        return preflight(spec, settings.catalogue, cloud=outside.cloud, rancher=outside.rancher, committed=committed)

    def wake() -> None:
        for one in wakers:
            one()

    desk = Desk(
        store=store,
        clock=clock,
        catalogue=settings.catalogue,
        directory=directory,
        approvals_channel=slack.approvals_channel,
        previews=Previews(look, clock),
        wake=wake,
    )
    publisher = Publisher(store=store, desk=desk, clock=clock, clients=clients)
    courier = Courier(store=store, clock=clock, desk=desk, directory=directory, outside=outsides.of, clients=clients)
    wakers += [publisher.wake, courier.wake]
    engine.on_written(publisher.wake)
    windows = Windows(clients.asking)
    homes = Homes(store=store, desk=desk, directory=directory, clock=clock, client=clients.asking)
    inbox = Inbox(store, clock)
    engine.give_way(claims=Courtesy(inbox, clock).wait, reading=Courtesy(inbox, clock).wait)
    channels = tuple(filter(None, (slack.channel, slack.approvals_channel if slack.channel else "")))
    intake = Intake(
        store=store,
        inbox=inbox,
        desk=desk,
        insight=Insight(desk=desk, clock=clock, outside=outsides.of),
        sweeping=Sweeping(
            desk=desk,
            store=store,
            clock=clock,
            directory=directory,
            regions=settings.catalogue.regions,
            sweeper=functools.cache(Sweep),
            cloud=outsides.cloud,
        ),
        directory=directory,
        answerer=Answerer(clients.answering, clock),
        clock=clock,
        windows=windows,
        homes=homes,
        channels=channels,
        write_down=lambda found: gitops(found.envelope, found.request_id),
    )
    bolt = build_app(
        clients=clients,
        installation=installation,
        inbox=inbox,
        desk=desk,
        windows=windows,
        channels=channels,
        signing_secret=environment.slack_signing_secret,
    )
    log.info("gpu-cluster in %s (%s); store %s", installation.team, installation.team_id, store.describe())
    keeper = TokenWatch(
        store=store,
        clock=clock,
        rancher=outsides.rancher,
        token=outsides.token,
        to=operators(settings.catalogue, slack.approvals_channel),
    )
    publisher.start()
    courier.start()
    keeper.start()
    intake.start()
    homes.start()
    _settle_memory(outsides.of, settings.catalogue.targets)
    sys.setswitchinterval(_SWITCH_S)
    way_in = _way_in(bolt, environment)
    _end_on_signal(engine.stop)
    try:
        _greet(outsides.rancher)
        engine.run()
    finally:
        way_in.close()
        close_app(bolt)
        intake.stop()
        courier.stop()
        keeper.stop()
        homes.stop()
        publisher.stop()


def _settle_memory(outside: Callable[[str], Outside], targets: Iterable[str]) -> None:
    """Load what stays (botocore's model of EC2 is most of it), then keep the garbage collector from walking it.

    Its full rounds stop every thread; over this heap they take 0.1 s, a few times a minute, and acks wait.
    """
    for target in targets:
        with contextlib.suppress(WorldError):  # the doctor and the first preflight say what is wrong
            outside(target)
    gc.collect()
    gc.freeze()
    # A list of Rancher's is hundreds of thousands of objects in no cycle: the usual 700 have it walked again and again.
    gc.set_threshold(50_000, 10, 10)


def _need_slack(environment: Environment) -> None:
    problems = []
    if not environment.slack_bot_token:
        problems.append("SLACK_BOT_TOKEN is not set: the Bot User OAuth Token (xoxb-…) of the app.")
    if not environment.slack_app_token and not environment.slack_signing_secret:
        problems.append(
            "SLACK_APP_TOKEN is not set: an app-level token (xapp-…) with connections:write, for Socket Mode; "
            "or set SLACK_SIGNING_SECRET for HTTP mode."
        )
    if problems:
        raise NotReady(*problems, "gpu-cluster sandbox needs none of this.")


def _way_in(bolt: App, environment: Environment) -> SocketConnection | HttpServer:
    """Socket Mode, or HTTP where a signing secret is set."""
    if not environment.slack_signing_secret:
        return connect_socket(bolt, environment.slack_app_token)
    try:
        return serve_http(bolt, environment.port)
    except OSError as error:
        raise NotReady(f"PORT {environment.port} cannot be listened on ({error.strerror}).") from None


def _greet(rancher: Rancher) -> None:
    """Log who we are to Rancher. Raises `Permanent` or `TokenRefused` when it refuses us; an outage passes, and the
    steps wait for it."""
    try:
        about = rancher.about()
    except TokenRefused:
        raise
    except Temporary as error:
        log.warning("%s %s", error.reason, error.remedy)
    else:
        log.info("Rancher %s as %s", about.version, about.user_id)


def _end_on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def dry_run(settings: Settings, draft: Draft, team: str) -> Preflight:
    """What a create would make, asked of the real Rancher and AWS; nobody is asked, nothing is made.

    Raises `Invalid` with every problem of the draft, `NotReady` for what is missing.
    """
    if team not in settings.catalogue.teams:
        raise NotReady(f"There is no team “{team}” in {settings.config_path}.")
    spec = check_draft(draft, settings.catalogue.teams[team], settings.catalogue)
    outside = make_outsides(settings, make_clock(settings.environment)).of(spec.target)
    return preflight(spec, settings.catalogue, cloud=outside.cloud, rancher=outside.rancher)


def export(settings: Settings, name: str, *, for_terraform: bool) -> str:
    """A cluster of the store as GitOps YAML or as Terraform. Raises `NotReady` when there is none of that name."""
    with make_store(settings).reading() as tx:
        cluster = tx.living_cluster(name)
        found = made(tx, cluster) if cluster else None
    if found is None:
        why = "nothing has been resolved for it yet" if cluster else "there is no such cluster"
        raise NotReady(f"{name}: {why}. In Slack, /gpu-cluster list shows those there are.")
    write = terraform if for_terraform else gitops
    return write(found.envelope, found.request_id)


def verify_cluster(
    kubeconfig: Path,
    context: str,
    level: str,
    image: str,
    pull_secrets: tuple[str, ...],
    say: Callable[[str], None],
    *,
    vector_add: bool = False,
    dcgm: int = 0,
) -> Report:
    """Probe and verdict on any cluster: no settings, no Slack, no Rancher, no AWS, no store.

    Raises `WorldError`s when the kubeconfig or its cluster cannot be used.
    """
    clock = WallClock()
    cluster = KubeconfigCluster(kubeconfig, context, clock=clock)
    images = settings.VerifySection(vector_add=vector_add, dcgm=dcgm).probe_image()
    what = verify.measuring(image or images.reference, pull_secrets, level, extras_of(images))
    try:
        return verify.verify(cluster, clock, what, say=say)
    finally:
        cluster.close()


def as_plain(envelope: Envelope) -> dict[str, Any]:
    """The envelope for printing."""
    return dataclasses.asdict(envelope)


def examine() -> list[Check]:
    """Everything the doctor looks at, in order; what cannot be looked at because of an earlier no is left out."""
    try:
        loaded = settings.load()
    except settings.SettingsError as error:
        return [
            Check("Configuration", "no", problem, "Mend it, then run the doctor again.") for problem in error.problems
        ]
    return [Check("Configuration", "ok", str(loaded.config_path)), *_examined(loaded)]


def _examined(loaded: Settings) -> Iterator[Check]:
    environment, targets = loaded.environment, list(loaded.catalogue.targets.values())
    outsides = Outsides(loaded, WallClock())
    yield from doctor.example_checks(list(loaded.catalogue.teams.values()), targets)
    yield doctor.store_check(lambda: open_store(loaded.database_url))
    yield from doctor.slack_checks(environment, loaded.config.slack.workspace)
    yield from doctor.rancher_checks(environment, lambda: outsides.rancher, targets, _own_cluster(loaded))
    yield from doctor.aws_checks(lambda target: outsides.cloud(target.region), targets)
    yield from doctor.image_checks(loaded.catalogue.probe_image)


def _own_cluster(loaded: Settings) -> str:
    """Rancher's id of a cluster that the bot has made, '' where the store knows none, or cannot be read."""
    with contextlib.suppress(ValueError, WorldError), open_store(loaded.database_url).reading() as tx:
        return next((row.management_id for row in tx.clusters() if row.ready_at and row.management_id), "")
    return ""


# --- the sandbox ----------------------------------------------------------------------------------------------


def sandbox(
    *,
    headless: bool,
    as_json: bool,
    speed: float,
    preset: str,
    faults: tuple[str, ...],
    p3: bool,
    rancher: str,
    play: str | None,
    port: int,
    state: Path | None,
) -> int:
    """Open or play the sandbox; the exit status is 0 when what was to happen has happened.

    Raises `NotReady` for an unknown fault, preset, Rancher version or a play that cannot be read.
    """
    from bot.sandbox import play as plays
    from bot.sandbox import show
    from bot.sandbox.stage import Plot
    from bot.sandbox.world.faults import checked
    from bot.sandbox.world.rancher.release import release

    try:
        release(rancher)
        plot = Plot(speed=speed, faults=tuple(sorted(checked(faults))), rancher=rancher, port=port, p3=p3)
        script = _script(plays, play, preset, gpus=2 if "gpu-missing" in faults else 1)
    except ValueError as error:
        raise NotReady(str(error)) from None
    except OSError as error:
        raise NotReady(f"--play {play}: it cannot be read ({error.strerror}).") from None
    try:
        if not headless:
            show.interactive(plot, state)
            return 0
        outcome = show.headless(plot, script, as_json=as_json, state=state, outcome_of=outcome_of)
    except OSError as error:
        raise NotReady(f"The sandbox cannot start: {error}.") from None
    if play or not outcome.get("played", True):
        return 0 if outcome.get("played", True) else 1
    return 0 if outcome["state"] == "ready" and outcome["verdict"] == "verified" else 1


def _script(plays: Any, play: str | None, preset: str, *, gpus: int) -> Any:
    if play is None:
        known = tomllib.loads(settings.example_config())["preset"]
        if preset not in known:
            raise ValueError(f"unknown preset {preset}; there are: {', '.join(known)}")
        return plays.create_and_approve(preset, gpus)
    if play == "walkthrough":
        return plays.parse((resources.files("bot.sandbox") / "plays" / "walkthrough.toml").read_text(), play)
    return plays.read(Path(play))


def outcome_of(database: Path) -> dict[str, Any] | None:
    """How the first create in that store ended, for programs; None when nothing was asked."""
    with open_store(f"sqlite:///{database}").reading() as tx:
        clusters = tx.clusters(living=False)
        requests = [r for cluster in clusters for r in tx.requests_of(cluster.id) if r.kind == Kind.CREATE]
        first = min(requests, key=lambda r: r.asked_at, default=None)
        told = story.tell(tx, first.id, approvals_needed=1) if first else None
    return _outcome(told) if told else None


def _outcome(told: Story) -> dict[str, Any]:
    verdict = told.report.verdict if told.report else "unknown"
    if told.state == RequestState.DONE and verdict == VERIFIED:
        return {
            "state": "ready",
            "verdict": verdict,
            "gpus": told.report.good if told.report else 0,
            "request": told.request_id,
        }
    return {
        "state": "degraded" if told.state == RequestState.DONE else "failed",
        "verdict": verdict,
        "gpus": told.report.good if told.report else 0,
        "request": told.request_id,
        "reason": told.reason or (told.current.why if told.current else f"it is still {told.state}"),
        "remedy": told.remedy,
        "diagnosis": list(codes_in(told.diagnosis)),
        "evidence": list(told.diagnosis),
    }


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(socket.gethostbyname(host)).is_loopback
    except (OSError, ValueError):
        return False
