"""A person's own pod: it asks for one GPU and for nothing else, and prints what it sees."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from bot.sandbox.stage import RANCHER_TOKEN
from bot.sandbox.world import WorldClock

_POLL_WORLD_S = 2.0


async def run(rancher_url: str, clock: WorldClock, cluster: str, *, within: float) -> str:
    """Create the pod in namespace default of that cluster, wait until it has ended, return its log.

    `within` real seconds; returns a sentence that says what the pod waits for when it does not end in that time.
    """
    headers = {"Authorization": f"Bearer {RANCHER_TOKEN}"}
    async with aiohttp.ClientSession(rancher_url, headers=headers, raise_for_status=True) as session:
        order = await _json(session, f"/v1/provisioning.cattle.io.clusters/fleet-default/{cluster}")
        pods = f"/k8s/clusters/{order['status']['clusterName']}/api/v1/namespaces/default/pods"
        async with session.post(pods, json=_pod()):
            pass
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            pod = await _json(session, f"{pods}/one-gpu")
            if pod["status"].get("phase") in ("Succeeded", "Failed"):
                async with session.get(f"{pods}/one-gpu/log") as log:
                    return (await log.text()).strip()
            await asyncio.sleep(_POLL_WORLD_S / max(clock.speed, 1.0))
        return f"still {pod['status'].get('phase')}: {pod['status'].get('conditions')}"


async def _json(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with session.get(path) as response:
        body: dict[str, Any] = await response.json()
        return body


def _pod() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one-gpu", "namespace": "default"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "one-gpu",
                    "image": "ubuntu:24.04",
                    "command": ["nvidia-smi", "-L"],
                    "resources": {"limits": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
    }
