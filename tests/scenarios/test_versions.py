"""The walk-through and two that go wrong, on every Rancher that is played."""

from __future__ import annotations

from pathlib import Path

import pytest
from scene import MADE_ONCE, scene

from bot.sandbox.world.rancher.release import PLAYED

OLDER = [version for version in PLAYED if version != "2.15"]  # the other scenarios play the newest


@pytest.mark.slow
@pytest.mark.parametrize("rancher", OLDER)
async def test_a_life_on_every_version(tmp_path: Path, rancher: str) -> None:
    async with scene(tmp_path, rancher=rancher) as now:
        await now.create_and_approve("train")
        ended = await now.outcome("train")
        assert (ended["state"], ended["verdict"]) == ("ready", "verified")
        assert now.made("train") == MADE_ONCE
        since = now.mark
        await now.delete("train")
        assert (await now.click(await now.card("train"), "approve")).acked
        assert (await now.outcome("train", since))["state"] == "deleted"
        assert set(now.instances()) == {"terminated"}


@pytest.mark.slow
@pytest.mark.parametrize("rancher", OLDER)
@pytest.mark.parametrize(
    ("fault", "state", "because"),
    [("no-capacity", "failed", "InsufficientInstanceCapacity"), ("gpu-missing", "degraded", "no GPU on the PCI bus")],
)
async def test_the_true_cause_on_every_version(
    tmp_path: Path, rancher: str, fault: str, state: str, because: str
) -> None:
    async with scene(tmp_path, rancher=rancher, faults=(fault,)) as now:
        await now.create("sandbox", gpus=2 if fault == "gpu-missing" else 1)
        await now.approve("sandbox")
        ended = await now.outcome("sandbox")
        assert (ended["state"], because in ended["reason"]) == (state, True)


@pytest.mark.slow
@pytest.mark.parametrize("rancher", OLDER)
async def test_an_outage_passes_on_every_version(tmp_path: Path, rancher: str) -> None:
    async with scene(tmp_path, rancher=rancher, faults=("rancher-503",)) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox"))["verdict"] == "verified"
