"""Preflight's two outsides: the real AWS adapter on a listening account, and a Rancher that says what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from bot.core.checks.preflight import preflight
from bot.core.checks.questions import UBUNTU
from bot.core.ports import StoredSecret
from bot.core.spec import Catalogue, ClusterSpec, Image, Policy, PoolSpec, Preflight, Preset, Target, Team
from bot.core.wiring import DIRECT, Network
from bot.sandbox.aws import AwsStandIn


@dataclass
class Rancher:
    """The questions that preflight asks of Rancher."""

    versions: tuple[str, ...] = ("v1.34.1+rke2r1", "v1.35.8+rke2r1")
    credentials: tuple[str, ...] = ("cattle-global-data:cc-1",)
    secrets: dict[str, StoredSecret] = field(default_factory=dict)
    trouble: Exception | None = None

    def kubernetes_versions(self, distribution: str = "rke2") -> tuple[str, ...]:
        return self._answer(tuple(v for v in self.versions if distribution in v))

    def default_kubernetes(self, distribution: str = "rke2") -> str:
        return self._answer(next((v for v in reversed(self.versions) if distribution in v), ""))

    def has_credential(self, credential: str) -> bool:
        return self._answer(credential in self.credentials)

    def secret(self, name: str) -> StoredSecret | None:
        return self._answer(self.secrets.get(name))

    def _answer(self, value: Any) -> Any:
        if self.trouble is not None:
            raise self.trouble
        return value


POOLS = (
    PoolSpec("control", "t3.xlarge", 1, control_plane=True, root_gib=60),
    PoolSpec("workers", "t3.xlarge", 1, worker=True, root_gib=60),
    PoolSpec("gpu", "p3.2xlarge", worker=True, gpu=True, root_gib=120),
)
PRESETS = {
    "blog": Preset("blog", "three pools", POOLS, driver="580.173.02"),
    "h100": Preset("h100", "a big one", (*POOLS[:2], replace(POOLS[2], instance_type="p5.48xlarge"))),
}


@dataclass
class World:
    """An account and a Rancher, and `ask` to run preflight about them."""

    account: AwsStandIn
    cloud: Any
    rancher: Any = field(default_factory=Rancher)
    target: dict[str, Any] = field(default_factory=dict)
    network: Network = DIRECT

    def ask(self, preset: str = "blog", gpus: int = 1, **options: Any) -> Preflight:
        target = Target(
            "default",
            cloud_credential="cattle-global-data:cc-1",
            region=self.account.region,
            vpc=self.account.vpc,
            subnets=self.account.subnets,
            security_group=self.account.security_group,
            ami=UBUNTU,
        )
        catalogue = Catalogue(
            teams={"default": Team("default")},
            targets={"default": replace(target, **self.target)},
            presets=PRESETS,
            policy=Policy(),
            probe_image=Image("python@sha256:0", pull_secrets=self.network.pull_secrets),
            network=self.network,
        )
        spec = ClusterSpec("train", preset, gpus, 8, "to learn", "default", "default")
        return preflight(spec, catalogue, cloud=self.cloud, rancher=self.rancher, **options)
