"""What a lead clicks below a degraded and below a failed cluster, through the whole of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.core.records import ClusterState
from bot.core.verification.verdict import VERIFIED
from bot.sandbox.play import has_button
from bot.sandbox.slack.messages import Message
from bot.store import open_store
from tests.scenarios.scene import BYSTANDER, CHANNEL, LEAD, LEAD2, Scene, scene

pytestmark = pytest.mark.slow


async def below(now: Scene, button: str) -> Message:
    """The newest message in a thread that has the button."""

    def find() -> Message | None:
        mine = [m for m in now.slack.messages.values() if m.channel == CHANNEL and has_button(m, button)]
        return max(mine, key=lambda m: m.ts, default=None)

    return await now._until(find, f"no message has {button}", 40)


async def press(now: Scene, button: str, user: str = LEAD) -> int:
    """Click the newest such button; returns where the events stood before."""
    mark = now.mark
    message = await below(now, button)
    assert (await now.slack.click(user, CHANNEL, message.ts, button)).acked
    return mark


async def test_a_degraded_cluster_is_accepted_and_its_bad_machine_replaced(tmp_path: Path) -> None:
    """To the end: the new machine has passed and is open, the bad one and no other has gone, and all is paid once."""
    async with scene(tmp_path, faults=("gpu-missing",)) as now:
        await now.create("sandbox", gpus=2)
        await now.approve("sandbox")
        made = await now.outcome("sandbox")
        assert made["state"] == "degraded"
        bad = made["reason"].removeprefix("no GPU on the PCI bus of ")
        mark = await press(now, "accept", BYSTANDER)
        await now.answered(BYSTANDER, "Only a lead", mark)
        mark = await press(now, "accept")
        await now.answered(LEAD, "You accepted sandbox", mark)
        mark = await press(now, "replace")
        await now.answered(LEAD, f"another machine in the place of {bad}", mark)
        await now.approve("sandbox", LEAD)
        await now.shown("sandbox", "1 of 1 GPU verified", mark, within=90)
        ended = await now.outcome("sandbox", mark, within=90)
        assert (ended["kind"], ended["state"], ended["verdict"], ended["gpus"]) == ("replace", "done", "verified", 1)
        gone = [e.detail.split()[0] for e in now.stage.world.events if e.kind == "instance-terminated"]
        assert gone == [bad]
        gpus = [state for kind, state in now.machines() if kind == "g4dn.xlarge"]
        assert sorted(gpus) == ["running", "running", "terminated"]
        with open_store(f"sqlite:///{now.stage.database}").reading() as tx:
            (cluster,) = tx.clusters()
        assert (cluster.state, cluster.verdict) == (ClusterState.READY, VERIFIED)


async def test_a_failed_cluster_is_kept_and_then_cleaned_up(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("policy-not-ready",)) as now:
        await now.create_and_approve("sandbox")
        assert (await now.outcome("sandbox"))["state"] == "failed"
        mark = await press(now, "keep")
        await now.answered(LEAD, "sandbox", mark)
        mark = await press(now, "cleanup")
        await now.answered(LEAD, "delete sandbox", mark)
        await now.approve("sandbox", LEAD2)
        assert (await now.outcome("sandbox", mark))["state"] == "deleted"
