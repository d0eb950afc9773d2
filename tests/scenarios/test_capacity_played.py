"""EC2 has none of the type that was asked for first; or nothing at all for three hours. Approved is what may be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene import MADE_ONCE, Scene, scene

from bot.sandbox.show import raise_curtain
from bot.sandbox.stage import Plot, Stage

EITHER = """
[preset.either]
control_plane = { instance_type = "t3.large" }
workers = { instance_type = "t3.large" }
gpu = { instance_type = "g4dn.xlarge", root_gib = 100, alternatives = ["g5.xlarge"] }
"""


@pytest.mark.slow
async def test_the_next_type_is_taken_where_the_first_is_nowhere(tmp_path: Path) -> None:
    async with Stage(tmp_path, Plot(speed=240.0, faults=("no-capacity-first-type",))) as stage:
        with (tmp_path / "gpu-cluster.toml").open("a") as config:
            config.write(EITHER)
        await raise_curtain(stage)
        now = Scene(stage)
        await now.type('create sandbox --preset either --gpus 1 --hours 8 --reason "whichever"')
        await now.approve("sandbox")
        ended = await now.outcome("sandbox", within=90)
        assert (ended["state"], ended["verdict"], ended["gpus"]) == ("ready", "verified", 1)
        assert now.made("sandbox", ["instance-running"]) == {"instance-running": 3}, "nothing was bought twice"
        types = [kind for kind, state in now.machines() if state == "running"]
        assert sorted(types) == ["g5.xlarge", "t3.large", "t3.large"]


@pytest.mark.slow
async def test_without_another_type_it_ends_with_the_true_cause(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=480.0, faults=("no-capacity-first-type",)) as now:
        await now.create_and_approve("sandbox")
        ended = await now.outcome("sandbox", within=90)
        assert ended["state"] == "failed"
        assert "InsufficientInstanceCapacity" in ended["reason"]


@pytest.mark.slow
async def test_who_waits_gets_what_comes_later(tmp_path: Path) -> None:
    async with scene(tmp_path, speed=480.0, faults=("capacity-later",)) as now:
        await now.type('create sandbox --preset starter --gpus 1 --hours 8 --wait 12h --reason "patient"')
        await now.approve("sandbox")
        ended = await now.outcome("sandbox", within=100)
        assert (ended["state"], ended["verdict"], ended["gpus"]) == ("ready", "verified", 1)
        assert now.made("sandbox", ["instance-running", "job-finished"]) == {
            name: MADE_ONCE[name] for name in ("instance-running", "job-finished")
        }
