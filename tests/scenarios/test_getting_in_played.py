"""A cluster that was there is enabled, shared, opened with a kubeconfig, and given back; as people do it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import requests

from bot.sandbox.stage import EXISTING
from tests.scenarios.scene import BYSTANDER, LEAD, REQUESTER, Scene, scene

pytestmark = pytest.mark.slow


async def kubeconfig_of(play: Scene, user: str) -> dict[str, str]:
    """The server and token of the file in that person's direct messages."""
    event = await play.slack.wait_for(lambda e: e.kind == "file" and e.channel == f"D{user[1:]}", 30, 0)
    content = play.slack.files[str((event.metadata or {})["file_id"])].content
    file = json.loads(content or b"{}")
    return {"server": file["clusters"][0]["cluster"]["server"], "token": file["users"][0]["user"]["token"]}


async def status_of(key: dict[str, str], path: str) -> int:
    def ask() -> int:
        return requests.get(path, headers={"Authorization": f"Bearer {key['token']}"}, timeout=10).status_code

    return await asyncio.to_thread(ask)


async def test_enabled_shared_opened_and_given_back(tmp_path: Path) -> None:
    async with scene(tmp_path) as play:
        await play.type("enable nobody")
        await play.told(REQUESTER, "is not on the list of clusters")
        await play.type(f"enable {EXISTING}")
        await play.approve(EXISTING)
        ended = await play.outcome(EXISTING)
        assert (ended["kind"], ended["state"], ended["gpus"]) == ("enable", "ready", 1)

        await play.type(f"kubeconfig {EXISTING}", BYSTANDER)
        await play.told(BYSTANDER, "kubeconfig for")  # no members are listed: everybody is a teammate
        await play.slack.wait_for(lambda e: "JWT Authentication is switched off" in e.text, 30, 0)

        mark = play.mark
        await play.type(f"share {EXISTING} @bystander", LEAD)
        await play.shown(EXISTING, "shared with", mark)
        mid = next(mid for mid, c in play.stage.world.management.clusters.items() if c.name == EXISTING)
        await play.create_and_approve("train-a")
        assert (await play.outcome("train-a"))["state"] == "ready"
        await play.type("kubeconfig train-a", BYSTANDER)
        key = await kubeconfig_of(play, BYSTANDER)
        base = play.stage.rancher_url
        assert await status_of(key, f"{key['server']}/api/v1/nodes") == 200
        assert await status_of(key, f"{base}/v3/users?me=true") == 401
        assert await status_of(key, f"{base}/k8s/clusters/{mid}/api/v1/nodes") == 401
        assert await status_of(key, f"{base}/k8s/clusters/local/api/v1/namespaces/cattle-global-data/secrets") == 401

        mark = play.mark
        await play.delete(EXISTING)
        await play.approve(EXISTING)
        assert (await play.outcome(EXISTING, mark))["state"] == "deleted"
        assert any(c.name == EXISTING for c in play.stage.world.management.clusters.values()), "it stays"
