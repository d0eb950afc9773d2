"""The walk-through, and everything that can be made to go wrong: the true cause is named, or it ends well."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from scene import MADE_ONCE, SPEED, scene

from bot.sandbox.play import Player, parse

# Fault, how it ends, and what must be said about why.
ENDS_BADLY = [
    ("no-capacity", "failed", "InsufficientInstanceCapacity"),
    ("never-joins", "failed", "never joined the cluster"),
    ("policy-not-ready", "failed", "the driver does not build"),
    ("gpu-missing", "degraded", "no GPU on the PCI bus of sandbox-gpu-"),
    ("gpu-bad", "failed", "of 262144 elements wrong"),
]
SLOW = ("no-capacity", "never-joins", "policy-not-ready")


async def test_the_walk_through(tmp_path: Path) -> None:
    text = (resources.files("bot.sandbox") / "plays" / "walkthrough.toml").read_text()
    async with scene(tmp_path, speed=SPEED) as now:
        player = Player(now.stage)
        await player.play(parse(text, "walkthrough"))
        assert player.last_outcome is not None
        assert now.made("blog") == MADE_ONCE
        assert now.instances() == ["terminated"] * 3


@pytest.mark.parametrize(("fault", "state", "because"), ENDS_BADLY)
async def test_the_true_cause_is_named(tmp_path: Path, fault: str, state: str, because: str) -> None:
    # Two of them are sure only after twenty minutes in which nothing happens, one after every zone has refused.
    async with scene(tmp_path, speed=2 * SPEED if fault in SLOW else SPEED, faults=(fault,)) as now:
        await now.create("sandbox", gpus=2 if fault == "gpu-missing" else 1)
        await now.approve("sandbox")
        ended = await now.outcome("sandbox")
        assert ended["state"] == state
        assert because in ended["reason"]
        assert ended["remedy"]
        assert now.made("sandbox", ["cluster-created"]) == {"cluster-created": 1}


@pytest.mark.parametrize("fault", ["rancher-503", pytest.param("slack-429", marks=pytest.mark.slow)])
async def test_what_passes_is_waited_for(tmp_path: Path, fault: str) -> None:
    async with scene(tmp_path, faults=(fault,)) as now:
        await now.create_and_approve("sandbox")
        ended = await now.outcome("sandbox")
        assert (ended["state"], ended["verdict"], ended["gpus"]) == ("ready", "verified", 1)
        assert now.made("sandbox") == MADE_ONCE
        assert now.instances() == ["running"] * 3


@pytest.mark.slow
async def test_the_next_zone_is_taken_where_the_first_has_no_capacity(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("no-capacity-first-zone",)) as now:
        await now.create_and_approve("sandbox")
        ended = await now.outcome("sandbox")
        assert (ended["state"], ended["verdict"], ended["gpus"]) == ("ready", "verified", 1)
        assert now.made("sandbox", ["instance-running"]) == {"instance-running": 3}, "nothing was bought twice"


@pytest.mark.slow
async def test_a_cluster_that_has_moved_grows_where_it_stands(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("no-capacity-first-zone",)) as now:
        await now.create_and_approve("sandbox")
        await now.outcome("sandbox")
        since = now.mark
        await now.type("scale sandbox 2")
        await now.approve("sandbox")
        grown = await now.outcome("sandbox", since)
        assert (grown["kind"], grown["state"]) == ("scale", "done"), grown["reason"]
        assert now.made("sandbox", ["instance-running"]) == {"instance-running": 4}, "nothing was bought twice"


@pytest.mark.slow
async def test_a_delete_without_its_credential_names_it_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("credential-deleted",)) as now:
        await now.create_and_approve("sandbox")
        await now.outcome("sandbox")
        since = now.mark
        await now.delete("sandbox")
        await now.approve("sandbox")
        await now.shown("sandbox", "its cloud credential cattle-global-data:cc-sandbox is gone", since)
        assert now.instances() == ["running"] * 3
        now.stage.world.management.credentials["cattle-global-data:cc-sandbox"] = "us-east-1"
        ended = await now.outcome("sandbox", since)
        assert (ended["kind"], ended["state"]) == ("delete", "deleted")
        assert now.instances() == ["terminated"] * 3


@pytest.mark.slow
async def test_a_delete_that_aws_refuses_says_so_in_its_words_and_what_still_costs(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("credential-refused",), speed=2 * SPEED) as now:
        await now.create_and_approve("sandbox")
        await now.outcome("sandbox")
        since = now.mark
        await now.delete("sandbox")
        await now.approve("sandbox")
        ended = await now.outcome("sandbox", since)
        assert ended["state"] == "failed"
        assert "Rancher's cloud credential was refused (AuthFailure)" in ended["reason"]
        assert "force-machine-remove" in ended["remedy"]
        assert now.instances() == ["running"] * 3


async def test_two_faults_at_once(tmp_path: Path) -> None:
    async with scene(tmp_path, faults=("no-capacity", "rancher-503")) as now:
        await now.create_and_approve("sandbox")
        ended = await now.outcome("sandbox")
        assert ended["state"] == "failed"
        assert "InsufficientInstanceCapacity" in ended["reason"]
