"""How often a new cluster's own API is asked until it is verified, whatever the number of its GPU nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.store import open_store
from tests.scenarios.scene import scene

MOST = 60
"""The bound that the bench has for one GPU node (downstream_reads_per_cluster)."""


@pytest.mark.slow
async def test_reads_grow_by_one_a_node_which_is_its_result(tmp_path: Path) -> None:
    """At the bench's speed: faster, and a look's own time is as long as the wait for the next."""
    nodes = {"one": 1, "four": 4, "eight": 8}
    async with scene(tmp_path, speed=20.0) as now:
        for name, gpus in nodes.items():
            await now.create(name, gpus=gpus)
            await now.approve(name)
        ends = await asyncio.gather(*(now.outcome(name, within=150) for name in nodes))
        assert [end["state"] for end in ends] == ["ready"] * len(nodes)
        with open_store(f"sqlite:///{now.stage.database}").reading() as tx:
            reads = {row.name: now.stage.world.reads[row.management_id] for row in tx.clusters()}
    assert max(reads.values()) <= MOST, reads
    assert reads["eight"] - reads["one"] <= 7 + 4, f"a result a node, and a look or two: {reads}"
