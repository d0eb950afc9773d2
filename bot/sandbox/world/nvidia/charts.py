"""The Helm repository of the simulated world: NVIDIA's, with the gpu-operator chart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.sandbox.world.kube.objects import Obj

NVIDIA_REPO = "https://helm.ngc.nvidia.com/nvidia"
CHART = "gpu-operator"


@dataclass(frozen=True)
class Chart:
    """One version of the gpu-operator chart; ``driver`` is the driver version that it installs by default.

    Source: NVIDIA/gpu-operator: deployments/gpu-operator/values.yaml at each tag.
    """

    version: str
    kube_version: str
    driver: str
    created: str


CHARTS = (
    Chart("v26.7.0", ">= 1.32.0-0", "595.91.07", "2026-08-20T12:00:00Z"),
    Chart("v26.3.3", ">= 1.29.0-0", "580.126.20", "2026-07-02T12:00:00Z"),
    Chart("v26.3.2", ">= 1.29.0-0", "580.126.20", "2026-05-27T12:00:00Z"),
    Chart("v25.10.1", ">= 1.16.0-0", "580.105.08", "2025-12-04T12:00:00Z"),
    Chart("v25.3.4", ">= 1.16.0-0 < 1.35.0-0", "570.172.08", "2025-09-16T12:00:00Z"),
)


def chart(version: str) -> Chart | None:
    """The chart of exactly this version; an empty version is the newest."""
    if not version:
        return CHARTS[0]
    return next((c for c in CHARTS if c.version == version), None)


def index(kubernetes: str, *, skip_filter: bool) -> Obj:
    """The repository's index as Rancher hands it out: without versions that do not fit ``kubernetes``."""
    fitting = [c for c in CHARTS if skip_filter or _fits(c.kube_version, kubernetes)]
    entries = [
        {
            "apiVersion": "v2",
            "name": CHART,
            "version": c.version,
            "appVersion": c.version,
            "kubeVersion": c.kube_version,
            "created": c.created,
            "description": "NVIDIA GPU Operator creates/configures/manages GPUs atop Kubernetes",
            "urls": [f"{NVIDIA_REPO}/charts/{CHART}-{c.version}.tgz"],
        }
        for c in fitting
    ]
    return {"apiVersion": "v1", "entries": {CHART: entries}, "generated": CHARTS[0].created}


def _fits(constraint: str, kubernetes: str) -> bool:
    have = _number(kubernetes)
    for operator, version in re.findall(r"(>=|<)\s*([\d.]+)", constraint):
        wanted = _number(version)
        if not (have >= wanted if operator == ">=" else have < wanted):
            return False
    return True


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])
