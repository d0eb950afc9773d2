"""The Helm repositories of the simulated world: NVIDIA's, and that of the EBS CSI driver."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.sandbox.world.kube.objects import Obj

NVIDIA_REPO = "https://helm.ngc.nvidia.com/nvidia"
CHART = "gpu-operator"
EBS_REPO = "https://kubernetes-sigs.github.io/aws-ebs-csi-driver"
EBS_CHART = "aws-ebs-csi-driver"


@dataclass(frozen=True)
class Chart:
    """One version of a chart; ``driver`` is the driver version that the gpu-operator installs by default.

    Source: NVIDIA/gpu-operator: deployments/gpu-operator/values.yaml at each tag.
    """

    version: str
    kube_version: str
    driver: str
    created: str
    name: str = CHART
    repo: str = NVIDIA_REPO


CHARTS = (
    Chart("v26.7.0", ">= 1.32.0-0", "595.91.07", "2026-08-20T12:00:00Z"),
    Chart("v26.3.3", ">= 1.29.0-0", "580.126.20", "2026-07-02T12:00:00Z"),
    Chart("v26.3.2", ">= 1.29.0-0", "580.126.20", "2026-05-27T12:00:00Z"),
    Chart("v25.10.1", ">= 1.16.0-0", "580.105.08", "2025-12-04T12:00:00Z"),
    Chart("v25.3.4", ">= 1.16.0-0 < 1.35.0-0", "570.172.08", "2025-09-16T12:00:00Z"),
    Chart("2.53.0", ">= 1.23.0-0", "", "2026-06-01T12:00:00Z", EBS_CHART, EBS_REPO),
    Chart("2.40.0", ">= 1.23.0-0", "", "2025-01-15T12:00:00Z", EBS_CHART, EBS_REPO),
)
REPOS = frozenset(one.repo for one in CHARTS)


def chart(repo: str, name: str, version: str) -> Chart | None:
    """The chart of exactly this version; an empty version is the newest."""
    there = [c for c in CHARTS if (c.repo, c.name) == (repo.rstrip("/"), name)]
    return next((c for c in there if version in ("", c.version)), None)


def index(repo: str, kubernetes: str, *, skip_filter: bool) -> Obj:
    """The repository's index as Rancher hands it out: without versions that do not fit ``kubernetes``."""
    there = [c for c in CHARTS if c.repo == repo.rstrip("/")]
    fitting = [c for c in there if skip_filter or _fits(c.kube_version, kubernetes)]
    entries = [
        {
            "apiVersion": "v2",
            "name": c.name,
            "version": c.version,
            "appVersion": c.version,
            "kubeVersion": c.kube_version,
            "created": c.created,
            "description": f"The chart {c.name}",
            "urls": [f"{c.repo}/charts/{c.name}-{c.version}.tgz"],
        }
        for c in fitting
    ]
    by_name: dict[str, list[Obj]] = {}
    for entry in entries:
        by_name.setdefault(entry["name"], []).append(entry)
    return {"apiVersion": "v1", "entries": by_name, "generated": CHARTS[0].created}


def _fits(constraint: str, kubernetes: str) -> bool:
    have = _number(kubernetes)
    for operator, version in re.findall(r"(>=|<)\s*([\d.]+)", constraint):
        wanted = _number(version)
        if not (have >= wanted if operator == ">=" else have < wanted):
            return False
    return True


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version.split("+")[0])[:3])
