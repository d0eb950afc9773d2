"""A cluster lives its hours: it is made longer, made bigger, warned of its end, and ends by itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene import LEAD, REQUESTER, scene


@pytest.mark.slow
async def test_extended_scaled_warned_and_over(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=600.0) as now:
        await now.type('create train --preset starter --gpus 1 --hours 2 --reason "a scenario"')
        await now.approve("train")
        assert (await now.outcome("train"))["verdict"] == "verified"
        configs = {e.kind for e in now.stage.world.events if "config" in e.kind}

        since = now.mark
        await now.type("scale train 2")
        await now.approve("train")
        scaled = await now.outcome("train", since)
        assert (scaled["kind"], scaled["state"]) == ("scale", "done")
        assert now.made("train", ["instance-running", "job-finished"]) == {"instance-running": 4, "job-finished": 2}
        assert {e.kind for e in now.stage.world.events if "config" in e.kind} == configs

        since = now.mark
        await now.type("extend train 1h")
        await now.approve("train")
        assert (await now.outcome("train", since))["kind"] == "extend"

        warning = await now.shown("train", "To keep it", since, within=60)
        assert f"<@{REQUESTER}>" in warning.text
        await now.shown("train", "are over", since, within=60)
        ended = await now.outcome("train", now.mark, within=60)
        assert (ended["kind"], ended["state"]) == ("delete", "deleted")
        assert set(now.instances()) == {"terminated"}
        await now.create("train", user=LEAD)
