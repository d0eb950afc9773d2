"""A cluster's life crossed by other things: a delete, a lost connection, a second process, another way in."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

import pytest
from scene import LEAD, MADE_ONCE, REQUESTER, program, scene

from bot.sandbox.stage import CHANNEL


async def test_deleted_while_it_is_built(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create_and_approve("train")
        await now.happened("instance-running", "train")
        await now.delete("train")
        card = await now.card("train")
        since = now.mark
        assert (await now.click(card, "approve")).acked
        await now.told(LEAD, "You approved", since)
        await now.create("train", user=LEAD)
        await now.told(LEAD, "still being deleted", since)
        ended = await now.outcome("train", since)
        assert (ended["kind"], ended["state"]) == ("delete", "deleted")
        assert set(now.instances()) == {"terminated"}
        assert now.made("train", ["cluster-created", "cluster-gone"]) == {"cluster-created": 1, "cluster-gone": 1}
        since = now.mark
        await now.create("train", user=LEAD)
        await now.told(LEAD, "Got it: train", since)


@pytest.mark.slow
async def test_slack_connection_lost_in_the_middle(tmp_path: Path) -> None:
    async with scene(tmp_path) as now:
        await now.create_and_approve("train")
        await now.happened("cluster-created", "train")
        await now.slack.socket_mode.drop()
        async with asyncio.timeout(30):
            while not now.slack.socket_mode.connections:
                await asyncio.sleep(0.05)
        since = now.mark
        await now.slack.mention(REQUESTER, CHANNEL, "status train")
        await now.shown("train", "train", since)
        assert (await now.outcome("train"))["verdict"] == "verified"
        assert now.made("train") == MADE_ONCE


async def test_http_mode(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with scene(tmp_path, http_port=port) as now:
        await now.create_and_approve("train")
        assert (await now.outcome("train"))["verdict"] == "verified"
        assert now.slack.socket_mode.connections == 0


async def test_a_worker_beside_the_bot(tmp_path: Path) -> None:
    async with scene(tmp_path) as now, program(now.stage, "worker"):
        names = ("train-a", "train-b")
        for name in names:
            await now.create_and_approve(name)
        for name in names:
            assert (await now.outcome(name))["verdict"] == "verified"
        assert {name: now.made(name) for name in names} == dict.fromkeys(names, MADE_ONCE)
        assert now.instances() == ["running"] * 6


async def test_a_preset_whose_machines_aws_has_withdrawn(tmp_path: Path) -> None:
    async with scene(tmp_path, p3=False) as now:
        await now.type('create blog --preset blog --gpus 1 --hours 8 --reason "the walk-through"')
        ended = await now.outcome("blog")
        assert ended["state"] == "failed"
        assert "p3.2xlarge" in ended["reason"]
        assert "g4dn.xlarge" in ended["reason"] + ended["remedy"]
        assert now.stage.world.events == []


@pytest.mark.slow
async def test_two_sandboxes_side_by_side(tmp_path: Path) -> None:
    command = ("-m", "bot.cli", "sandbox", "--headless", "--json", "--speed", "120")
    fates = {(): "ready", ("--fault", "no-capacity"): "failed"}
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            *more,
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for more in fates
    ]
    said = await asyncio.gather(*(one.communicate() for one in running))
    events = [[json.loads(line) for line in out.decode().splitlines()] for out, _ in said]
    assert [lines[-1]["state"] for lines in events] == list(fates.values())
    assert [one.returncode for one in running] == [0, 1]
    good, bad = (lines[-1] for lines in events)
    assert (good["verdict"], good["gpus"]) == ("verified", 1)
    assert "InsufficientInstanceCapacity" in bad["reason"]
    assert good["request"] != bad["request"]
    assert all({"kind", "at_world", "text"} <= line.keys() for lines in events for line in lines[:-1])
