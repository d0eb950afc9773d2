"""The simulated world on a manual clock, served over HTTP, with both adapters pointed at it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
from aiohttp import web

from bot.core.spec import Envelope, GpuExpectation, Place, Pool, Taint
from bot.kube import KubeCluster
from bot.rancher import RancherAdapter
from bot.sandbox.world import World, WorldClock, make_app

START = 1_795_600_000.0
TOKEN = "token-bot:secret"
REGION = "us-east-1"
REQUEST = "r-1234abcd"


class HandClock:
    """The core's clock over the world's: world time moves only by hand."""

    def __init__(self, world: WorldClock) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now()

    def real(self) -> float:
        return time.time()

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds


class Living:
    """A served world; nothing happens but in `forward`."""

    def __init__(
        self,
        folder: Path,
        ec2_endpoint: str,
        faults: tuple[str, ...],
        *,
        version: str = "2.15",
        token: str = TOKEN,
    ) -> None:
        self.clock = WorldClock(folder / "clock.json", world=START, manual=True)
        self.world = World(self.clock, ec2_endpoint=ec2_endpoint, faults=faults, version=version, token=token)
        self.token = token
        self.ec2 = boto3.client(
            "ec2", region_name=REGION, endpoint_url=ec2_endpoint, aws_access_key_id="x", aws_secret_access_key="x"
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = web.AppRunner(make_app(self.world))
        self.url: str = self._run(self._serve())
        self.hand = HandClock(self.clock)
        self.rancher = RancherAdapter(self.url, token, clock=self.hand, snapshot_s=0.0)
        self._kubes: list[KubeCluster] = []

    def kube(self, management_id: str) -> KubeCluster:
        """The adapter of one downstream cluster; it asks for nodes anew each time."""
        self._kubes.append(KubeCluster(self.url, self.token, management_id, clock=self.hand, nodes_s=0.0))
        return self._kubes[-1]

    def forward(self, seconds: float) -> None:
        """Let world time pass."""

        async def move() -> None:
            self.clock.forward(seconds)
            self.world.advance()

        self._run(move())

    def envelope(self, name: str = "train-a", *, gpu_machines: int = 1, zones: str = "a") -> Envelope:
        """What an approval would bind: three pools in the default VPC; GPU machines may be in any of these zones."""
        found = self.ec2.describe_subnets()["Subnets"]
        by_zone = {subnet["AvailabilityZone"]: subnet for subnet in found}
        subnet = by_zone[REGION + "a"]
        base = Pool("cp", "t3.medium", 1, True, False, False, 60, "a", subnet["SubnetId"], "ami-0a2404d64c7e80003")
        gpu = replace(
            base,
            name="gpu",
            instance_type="g4dn.xlarge",
            count=gpu_machines,
            control_plane=False,
            worker=True,
            gpu=True,
            root_gib=120,
            labels=(("gpu-cluster/pool", "gpu"),),
            taints=(Taint("nvidia.com/gpu", "present"), Taint("gpu-cluster/unverified", "true")),
        )
        return Envelope(
            name=name,
            team="default",
            target="default",
            preset="starter",
            account="123456789012",
            region=REGION,
            vpc=subnet["VpcId"],
            cloud_credential="cattle-global-data:cc-sandbox",
            security_group="gpu-nodes",
            ssh_user="ubuntu",
            kubernetes=self.kubernetes,
            operator="v26.7.0",
            driver="",
            probe_image="python@sha256:" + "0" * 64,
            pools=(base, replace(base, name="wk", control_plane=False, worker=True), gpu),
            gpu=GpuExpectation("g4dn.xlarge", "T4", 1, 16384),
            gpus=gpu_machines,
            hours=8,
            places=tuple(Place("g4dn.xlarge", zone, by_zone[REGION + zone]["SubnetId"]) for zone in zones),
        )

    @property
    def kubernetes(self) -> str:
        """The newest RKE2 that every release but the oldest offers; of that one, its default."""
        offered = self.world.management.release.kubernetes
        return "v1.34.6+rke2r1" if "v1.34.6+rke2r1" in offered else self.world.management.git_version

    def order(self, envelope: Envelope, request_id: str = REQUEST) -> None:
        """Machine configs and cluster."""
        for pool in envelope.pools:
            self.rancher.ensure_machine_config(envelope, pool, request_id)
        self.rancher.ensure_cluster(envelope, request_id)

    def close(self) -> None:
        self.rancher.close()
        for kube in self._kubes:
            kube.close()
        self.ec2.close()
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        assert self.world.engine.failures == []

    async def _serve(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
