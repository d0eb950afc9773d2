"""The sandbox's services without a bot, in a thread, and the program run beside them as people run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from click.testing import CliRunner

from bot.cli import main
from bot.sandbox.stage import Plot, Stage

NEEDED = ("PATH", "HOME", "LANG")


@contextlib.contextmanager
def services(folder: Path, plot: Plot | None = None) -> Iterator[Stage]:
    """Slack, Rancher and AWS, listening; `stage.environment` is what the program needs to find them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stage = Stage(folder, plot or Plot())
    try:
        asyncio.run_coroutine_threadsafe(stage.__aenter__(), loop).result(30)
        try:
            yield stage
        finally:
            asyncio.run_coroutine_threadsafe(stage.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def complaint(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What `gpu-cluster` says before it has begun anything, run in this process; it must end with status 2."""
    hidden = dict.fromkeys(name for name in os.environ if name.startswith(("SLACK_", "RANCHER_", "GPU_CLUSTER_")))
    ended = CliRunner().invoke(main, arguments, env=hidden | dict(env or {}))
    assert isinstance(ended.exception, SystemExit), ended.exception
    assert ended.exit_code == 2, ended.output
    return ended.output


def program(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `gpu-cluster` to its end, with these variables and none of the surroundings' own."""
    kept = {name: os.environ[name] for name in NEEDED if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "bot.cli", *arguments],
        env=kept | dict(env or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
