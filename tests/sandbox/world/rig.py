"""A world on a manual clock, served over HTTP from a thread, with a real moto server behind it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import boto3
import kubernetes.client as k8s
import requests
from aiohttp import web

from bot.sandbox.world import World, WorldClock, make_app

START = 1_795_600_000.0
TOKEN = "token-bot:secret"
REGION = "us-east-1"


class Rig:
    """A served world; nothing happens but in :meth:`forward`."""

    def __init__(
        self, folder: Path, ec2_endpoint: str, faults: tuple[str, ...], seed: int, version: str = "2.15"
    ) -> None:
        self.clock = WorldClock(folder / "clock.json", world=START, manual=True)
        self.world = World(
            self.clock, ec2_endpoint=ec2_endpoint, faults=faults, seed=seed, token=TOKEN, version=version
        )
        self.ec2 = boto3.client(
            "ec2", region_name=REGION, endpoint_url=ec2_endpoint, aws_access_key_id="x", aws_secret_access_key="x"
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner = web.AppRunner(make_app(self.world))
        self.url = self._run(self._serve())
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Bearer {TOKEN}"

    async def _serve(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self.http.close()
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        assert self.world.engine.failures == []

    def forward(self, seconds: float) -> None:
        """Let world time pass."""

        async def move() -> None:
            self.clock.forward(seconds)
            self.world.advance()

        self._run(move())

    def call(self, method: str, path: str, expect: int | None = 200, **kwargs: Any) -> Any:
        """One request; its JSON (or text), the status checked."""
        answer = self.http.request(method, self.url + path, timeout=30, **kwargs)
        assert expect is None or answer.status_code == expect, f"{answer.status_code}: {answer.text}"
        return answer.json() if answer.headers["Content-Type"].startswith("application/json") else answer.text

    def get(self, path: str, expect: int | None = 200, **params: str) -> Any:
        return self.call("GET", path, expect, params=params)

    def post(self, path: str, body: Any, expect: int | None = 201) -> Any:
        return self.call("POST", path, expect, json=body)

    def cluster(self, name: str = "gpu01") -> Any:
        return self.get(f"/v1/provisioning.cattle.io.clusters/fleet-default/{name}")

    def mid(self, name: str = "gpu01") -> str:
        return str(self.cluster(name)["status"]["clusterName"])

    def core(self, name: str = "gpu01") -> k8s.CoreV1Api:
        return k8s.CoreV1Api(self.client(name))

    def client(self, name: str = "gpu01") -> k8s.ApiClient:
        config = k8s.Configuration(
            host=f"{self.url}/k8s/clusters/{self.mid(name)}", api_key={"authorization": f"Bearer {TOKEN}"}
        )
        config.retries = False
        return k8s.ApiClient(config)

    def order(self, name: str = "gpu01", **changes: Any) -> Any:
        """Machine configs and cluster, as a bot would ask for them."""
        pools = [("cp", "t3.medium"), ("wk", "t3.medium"), ("gpu", changes.pop("gpu_type", "g4dn.xlarge"))]
        subnet = self.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [REGION + "a"]}])["Subnets"]
        for pool, kind in pools:
            self.post(
                "/v1/rke-machine-config.cattle.io.amazonec2configs",
                machine_config(f"nc-{name}-{pool}", kind, subnet[0]),
            )
        return self.post("/v1/provisioning.cattle.io.clusters", cluster_body(name, **changes))

    def install_operator(self, name: str = "gpu01", version: str = "v26.3.3", values: Any = None) -> Any:
        """Repository and chart, as a bot would; moves the clock until the repository is there."""
        base = f"/k8s/clusters/{self.mid(name)}/v1"
        repo = {"metadata": {"name": "nvidia"}, "spec": {"url": "https://helm.ngc.nvidia.com/nvidia"}}
        self.post(f"{base}/catalog.cattle.io.clusterrepos", repo)
        self.forward(15)
        namespace = {
            "metadata": {"name": "gpu-operator", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}
        }
        self.post(f"{base}/namespaces", namespace)
        chart = {"chartName": "gpu-operator", "version": version, "releaseName": "gpu-operator"}
        body = {"namespace": "gpu-operator", "charts": [{**chart, "values": VALUES if values is None else values}]}
        return self.post(f"{base}/catalog.cattle.io.clusterrepos/nvidia?action=upgrade", {**body, "timeout": "600s"})


TOLERATIONS = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "gpu-cluster/unverified", "operator": "Exists", "effect": "NoSchedule"},
]
VALUES = {
    "toolkit": {"env": [{"name": "CONTAINERD_SOCKET", "value": "/run/k3s/containerd/containerd.sock"}]},
    "operator": {"tolerations": TOLERATIONS},
    "daemonsets": {"tolerations": TOLERATIONS},
    "node-feature-discovery": {"worker": {"tolerations": TOLERATIONS}},
}
TAINTS = [
    {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
    {"key": "gpu-cluster/unverified", "value": "true", "effect": "NoSchedule"},
]


def machine_config(name: str, kind: str, subnet: Any) -> dict[str, Any]:
    return {
        "type": "rke-machine-config.cattle.io.amazonec2config",
        "metadata": {"namespace": "fleet-default", "name": name},
        "region": REGION,
        "zone": "a",
        "vpcId": subnet["VpcId"],
        "subnetId": subnet["SubnetId"],
        "securityGroup": ["gpu-nodes"],
        "ami": "ami-0a2404d64c7e80003",
        "instanceType": kind,
        "rootSize": "100",
        "volumeType": "gp3",
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "tags": "gpu-cluster/managed,true,gpu-cluster/cluster,gpu01",
    }


def cluster_body(name: str, *, gpus: int = 1, toleration: bool = True, **spec: Any) -> dict[str, Any]:
    plugins = "enable-admission-plugins=NodeRestriction,ExtendedResourceToleration"

    def pool(short: str, quantity: int, **more: Any) -> dict[str, Any]:
        ref = {"kind": "Amazonec2Config", "name": f"nc-{name}-{short}"}
        return {"name": short, "quantity": quantity, "machineConfigRef": ref, **more}

    return {
        "type": "provisioning.cattle.io.cluster",
        "metadata": {"namespace": "fleet-default", "name": name, "labels": {"gpu-cluster/request": "r-1"}},
        "spec": {
            "cloudCredentialSecretName": "cattle-global-data:cc-sandbox",
            "kubernetesVersion": "v1.34.6+rke2r1",
            "rkeConfig": {
                "machineGlobalConfig": {"cni": "calico", **({"kube-apiserver-arg": [plugins]} if toleration else {})},
                "machinePools": [
                    pool("cp", 1, etcdRole=True, controlPlaneRole=True),
                    pool("wk", 1, workerRole=True),
                    pool("gpu", gpus, workerRole=True, labels={"gpu-cluster/pool": "gpu"}, taints=TAINTS),
                ],
            },
            **spec,
        },
    }
