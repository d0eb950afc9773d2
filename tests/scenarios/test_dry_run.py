"""What --dry-run shows is what a lead would approve."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from scene import scene

from bot.store import open_store


async def test_dry_run_shows_what_would_be_approved(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create("train")
        await now.card("train")
        slack_calls, logged = dict(now.slack.calls), now.mark
        order = ("create", "--dry-run", "train", "--preset", "starter", "--gpus", "1", "--hours", "8")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot.cli", *order, env=now.stage.environment, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        shown = json.loads(out)
        with open_store(f"sqlite:///{now.stage.database}").reading() as tx:
            (cluster,) = tx.clusters(living=True)
            (request,) = tx.requests_of(cluster.id)
        assert shown.pop("hash") == request.envelope_hash
        assert shown == json.loads(request.envelope)
        assert (dict(now.slack.calls), now.mark) == (slack_calls, logged)
        assert now.stage.world.events == []
