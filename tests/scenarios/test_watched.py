"""A cluster in use: what befalls it is told in its thread, with buttons that work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.scene import CHANNEL, REQUESTER, scene

pytestmark = pytest.mark.slow


async def test_a_gpu_that_fails_later_is_found_told_and_ignored(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("gpu-fails-later",)) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox"))["state"] == "ready"
        await now.happened("node-aged", "sandbox")
        mark = now.mark
        await now.type("verify sandbox --level quick", REQUESTER)
        told = await now.shown("sandbox", "did not pass when it was measured again", since=mark)
        assert (await now.slack.click(REQUESTER, CHANNEL, told.ts, "ignore")).acked
        await now.answered(REQUESTER, "stays as it is", since=mark)


async def test_a_node_that_dies_later_is_told(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("node-dies-later",)) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox"))["state"] == "ready"
        mark = now.mark
        await now.shown("sandbox", "is not Ready", since=mark, within=40)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("spot-notice", "AWS takes this spot machine back within two minutes (i-"),
        ("spot-taint", "AWS takes this spot machine back within two minutes"),
        ("retirement", "AWS retires this machine, not before 2099-01-01"),
    ],
)
async def test_what_aws_announces_is_told_in_two_minutes(tmp_path: Path, fault: str, words: str) -> None:
    async with scene(tmp_path, speed=60.0, faults=(fault,)) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox", within=90))["state"] == "ready"
        mark = now.mark
        await now.happened("node-aged", "sandbox")
        (aged,) = (e.at_world for e in now.stage.world.events if e.kind == "node-aged")
        await now.shown("sandbox", words, since=mark, within=20)
        assert now.stage.clock.now() - aged <= 120
