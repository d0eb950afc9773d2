"""The whole sandbox on loopback: a Slack-like workspace, a simulated Rancher, AWS by moto, and the real bot under them.

The bot is a process of its own, started with nothing but the settings that any installation has.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aiohttp import web

from bot.sandbox.aws import AwsStandIn
from bot.sandbox.slack import SlackServer, Workspace
from bot.sandbox.slack.directory import APP_TOKEN, BOT_TOKEN
from bot.sandbox.world import World, WorldClock
from bot.sandbox.world import make_app as rancher_app

RANCHER_TOKEN = "token-sandbox:not-a-secret-inside-the-sandbox"
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
CHANNEL = "C0GPU"
EXISTING = "ml-lab"
"""A cluster that Rancher has from the start, with one GPU node; it can be enabled."""

_CONFIG = """\
[slack]
workspace = "T0SANDBOX"
channel = "{channel}"

[team.default]
lead_group = "S0LEADS"

[target.default]
cloud_credential = "cattle-global-data:cc-sandbox"
region = "{region}"
account = "{account}"
vpc = "{vpc}"
security_group = "{security_group}"
ami = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"

[access]
principals = {{ U0REQUESTER = "local://u-requester" }}

[enable]
clusters = {{ {existing} = "default" }}

"""


@dataclass(frozen=True)
class Plot:
    """What kind of world: `speed` in world seconds per real second, faults and Rancher's version by name.

    `port` is the page's, 0 for any; `p3` whether AWS still lists the P3 family; with `http_port` Slack delivers to the
    bot on that port (HTTP mode), else over Socket Mode.
    """

    speed: float = 60.0
    faults: tuple[str, ...] = ()
    rancher: str = "2.15"
    port: int = 0
    p3: bool = True
    http_port: int = 0


class Stage:
    """Everything listening, on free ports; `folder` holds all state. Use as an async context manager."""

    def __init__(self, folder: Path, plot: Plot) -> None:
        self.folder = folder
        self.plot = plot
        self.clock = WorldClock(folder / "clock.json", speed=plot.speed)
        self.workspace = Workspace(
            world_clock=self.clock.now,
            request_url=f"http://127.0.0.1:{plot.http_port}/slack/events" if plot.http_port else None,
            signing_secret=SIGNING_SECRET,
        )
        self.page_url = ""
        self.rancher_url = ""
        self.world: World
        self._slack = SlackServer(self.workspace)
        self._aws = AwsStandIn(p3=plot.p3)
        self._runner: web.AppRunner | None = None
        self._bot: asyncio.subprocess.Process | None = None
        self._environment: dict[str, str] = {}

    @property
    def database(self) -> Path:
        """The bot's SQLite file."""
        return self.folder / "gpu-cluster.db"

    async def __aenter__(self) -> Stage:
        endpoint = await asyncio.get_running_loop().run_in_executor(None, self._aws.start)
        self.page_url = await self._slack.start(self.plot.port)
        self.world = World(
            self.clock,
            ec2_endpoint=endpoint,
            announce=self._aws.front.announced.announce,
            faults=self.plot.faults,
            version=self.plot.rancher,
            token=RANCHER_TOKEN,
            existing=(EXISTING,),
        )
        self._runner = web.AppRunner(rancher_app(self.world), shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.rancher_url = f"http://{host}:{port}"
        self._environment = self._settings(endpoint)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_bot()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._slack.stop()
        self._aws.stop()

    def _settings(self, endpoint: str) -> dict[str, str]:
        """The bot's settings: those of any installation, with other addresses."""
        config = self.folder / "gpu-cluster.toml"
        aws = self._aws
        config.write_text(
            _CONFIG.format(
                channel=CHANNEL,
                existing=EXISTING,
                region=aws.region,
                account=aws.account,
                vpc=aws.vpc,
                security_group=aws.security_group,
            )
            + _presets()
        )
        return {
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            **self._way_in(),
            "SLACK_API_URL": self._slack.api_url,
            "RANCHER_URL": self.rancher_url,
            "RANCHER_TOKEN": RANCHER_TOKEN,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": aws.region,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "GPU_CLUSTER_CONFIG": str(config),
            "GPU_CLUSTER_CLOCK": str(self.clock.path),
        }

    def _way_in(self) -> dict[str, str]:
        if not self.plot.http_port:
            return {"SLACK_APP_TOKEN": APP_TOKEN}
        return {"SLACK_SIGNING_SECRET": SIGNING_SECRET, "PORT": str(self.plot.http_port)}

    @property
    def environment(self) -> dict[str, str]:
        """The settings under which any bot process works in this sandbox."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
        return kept | self._environment

    async def start_bot(self) -> None:
        """Start the bot and wait until it listens to the workspace; raises RuntimeError when it does not in 30 s."""
        log = (self.folder / "bot.log").open("ab")
        self._bot = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot.cli", "run", env=self.environment, stdout=log, stderr=log, cwd=self.folder
        )
        log.close()
        for _ in range(600):
            if await self._listened_to():
                return
            if self._bot.returncode is not None:
                break
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the bot did not start:\n{self.bot_log()}")

    async def _listened_to(self) -> bool:
        if not self.plot.http_port:
            return self.workspace.socket_mode.connections > 0
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.plot.http_port)
            writer.close()
            return True
        return False

    async def stop_bot(self, *, how: signal.Signals = signal.SIGTERM) -> None:
        """End the bot: politely, or by SIGKILL."""
        if self._bot is None or self._bot.returncode is not None:
            return
        self._bot.send_signal(how)
        try:
            await asyncio.wait_for(self._bot.wait(), 10)
        except TimeoutError:
            self._bot.kill()
            await self._bot.wait()
        # What is left of its connections would pass for those of the next bot.
        await self.workspace.socket_mode.drop()

    def bot_log(self, lines: int = 40) -> str:
        """The end of what the bot logged."""
        path = self.folder / "bot.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def _presets() -> str:
    """The presets of the example configuration: one place says what they are."""
    example = (resources.files("manifests") / "gpu-cluster.example.toml").read_text()
    return example[example.index("# The walk-through") :]
