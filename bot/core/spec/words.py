"""Labels and taints that the bot writes on machines and nodes, and what is wrong with an order."""

from __future__ import annotations

from dataclasses import dataclass

UNVERIFIED_TAINT = "gpu-cluster/unverified"

GPU_TAINT = "nvidia.com/gpu"

GPU_RESOURCE = "nvidia.com/gpu"

LABEL_MANAGED = "gpu-cluster/managed"

LABEL_REQUEST = "gpu-cluster/request"

LABEL_CLUSTER = "gpu-cluster/cluster"

LABEL_POOL = "gpu-cluster/pool"

LABEL_PERSON = "gpu-cluster/person"

LABEL_TYPE = "gpu-cluster/instance-type"
"""The EC2 type: without AWS's cloud provider RKE2 puts its own name into Kubernetes' label for it."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with what somebody typed: where, what, and what to do about it."""

    field: str
    message: str


class Invalid(Exception):
    """What was asked for cannot be; `problems` says why, one line a field."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(p.message for p in problems))
        self.problems = problems


@dataclass(frozen=True)
class Taint:
    key: str
    value: str
    effect: str = "NoSchedule"
