"""Fixtures: a listening Slack, and the bot's Slack side running against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.core.causes.insight import Insight
from bot.core.checks.preview import Previews
from bot.core.desk import Desk
from bot.core.ports import Temporary
from bot.core.roster import Rosters
from bot.core.spec import Catalogue, Preset
from bot.core.steps.base import Outside
from bot.core.sweeping import Sweeping
from bot.sandbox.slack import ThreadedSlack, Workspace
from bot.store import SqliteStore
from handlers.answering import Answerer
from handlers.calls import make_clients
from handlers.directory import SlackDirectory
from handlers.home import Homes
from handlers.inbox import Inbox
from handlers.intake import Intake
from handlers.publisher import Publisher
from handlers.slack import build_app, close_app, connect_socket, identify
from handlers.windows import Windows
from tests.handlers.harness import PRESET, Bot, Looks, MovableClock, Sweeps, catalogue


def no_world(target: str) -> Outside:
    """These tests have Slack only; what is said about a cluster is what is stored."""
    raise Temporary(f"Nothing of target {target} answers.")


@pytest.fixture(scope="session")
def closing() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> dict[str, object]:
    """What a test wants otherwise: @pytest.mark.parametrize("settings", [{"approvals": 2}], indirect=True)."""
    return dict(getattr(request, "param", {}))


@pytest.fixture
def slack(clock: MovableClock) -> Iterator[ThreadedSlack]:
    with ThreadedSlack(Workspace(world_clock=clock.now, real_clock=clock.real)) as slack:
        yield slack


@pytest.fixture
def bot(
    slack: ThreadedSlack,
    clock: MovableClock,
    settings: dict[str, object],
    tmp_path: Path,
    closing: ThreadPoolExecutor,
) -> Iterator[Bot]:
    store = SqliteStore(tmp_path / "bot.db")
    clients = make_clients(slack.workspace.bot_token, slack.api_url)
    installation = identify(clients.asking)
    directory = SlackDirectory(clients.asking, installation.team_id, clock, Rosters(store, clock).noticed)
    approvals = str(settings.pop("approvals_channel", ""))
    channels: tuple[str, ...] = tuple(settings.pop("channels", ()))  # type: ignore[arg-type]
    looks, sweeps = Looks(), Sweeps()
    presets: tuple[Preset, ...] = tuple(settings.pop("presets", (PRESET,)))  # type: ignore[arg-type]
    whole: Catalogue | None = settings.pop("catalogue", None)  # type: ignore[assignment]
    whole = whole or dataclasses.replace(catalogue(**settings), presets={one.name: one for one in presets})  # type: ignore[arg-type]
    desk = Desk(
        store=store,
        clock=clock,
        catalogue=whole,
        directory=directory,
        approvals_channel=approvals,
        previews=Previews(looks.look, clock),
        wake=lambda: publisher.wake(),  # noqa: PLW0108  the publisher needs the desk
    )
    windows = Windows(clients.asking)
    homes = Homes(store=store, desk=desk, directory=directory, clock=clock, client=clients.asking)
    inbox = Inbox(store, clock)
    publisher = Publisher(store=store, desk=desk, clock=clock, clients=clients)
    intake = Intake(
        store=store,
        inbox=inbox,
        desk=desk,
        insight=Insight(desk=desk, clock=clock, outside=no_world),
        sweeping=Sweeping(
            desk=desk,
            store=store,
            clock=clock,
            directory=directory,
            regions=("eu-west-1",),
            sweeper=lambda _: sweeps,
            cloud=lambda _: sweeps,
        ),
        directory=directory,
        answerer=Answerer(clients.answering, clock),
        clock=clock,
        windows=windows,
        homes=homes,
        channels=channels,
        write_down=lambda found: f"kind: Cluster  # {found.envelope.name} of {found.request_id}\n" * 200,
    )
    app = build_app(
        clients=clients, installation=installation, inbox=inbox, desk=desk, windows=windows, channels=channels
    )
    socket = connect_socket(app, slack.workspace.app_token)
    publisher.start()
    intake.start()
    yield Bot(
        slack,
        store,
        clock,
        desk,
        inbox,
        intake,
        publisher,
        directory,
        clients,
        tmp_path / "bot.db",
        homes,
        looks,
        sweeps,
    )
    # slack_sdk's client takes seconds to close; the next test need not wait for that.
    slack.do(slack.workspace.socket_mode.drop())
    closing.submit(socket.close)
    close_app(app)
    intake.stop()
    publisher.stop()
