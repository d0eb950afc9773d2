"""The seams: what the core needs of the store, of Rancher, of the cloud, of a cluster and of time.

Adapters implement these; the values that cross are frozen dataclasses. Adapters raise only the errors of `errors`.
"""

from __future__ import annotations

from bot.core.cloud import Cloud, Identity, Instance, InstanceType, MachineImage, Subnet
from bot.core.ports.clock import Clock
from bot.core.ports.cluster import (
    Cluster,
    GpuUse,
    JobOrder,
    JobView,
    Node,
    OwnEndpoint,
    PodLog,
    PodTrouble,
    PolicyView,
    Token,
)
from bot.core.ports.errors import (
    Busy,
    Foreign,
    Permanent,
    Refused,
    Stale,
    Taken,
    Temporary,
    TokenRefused,
    Unread,
    WorldError,
)
from bot.core.ports.rancher import (
    AppView,
    ChartOrder,
    ClusterView,
    MachineView,
    News,
    Rancher,
    RancherAbout,
    Release,
    RepoView,
    RightView,
    StoredSecret,
)
from bot.core.ports.store import AnyRow, Row, Store, Tx

__all__ = [
    "AnyRow",
    "AppView",
    "Busy",
    "ChartOrder",
    "Clock",
    "Cloud",
    "Cluster",
    "ClusterView",
    "Foreign",
    "GpuUse",
    "Identity",
    "Instance",
    "InstanceType",
    "JobOrder",
    "JobView",
    "MachineImage",
    "MachineView",
    "News",
    "Node",
    "OwnEndpoint",
    "Permanent",
    "PodLog",
    "PodTrouble",
    "PolicyView",
    "Rancher",
    "RancherAbout",
    "Refused",
    "Release",
    "RepoView",
    "RightView",
    "Row",
    "Stale",
    "Store",
    "StoredSecret",
    "Subnet",
    "Taken",
    "Temporary",
    "Token",
    "TokenRefused",
    "Tx",
    "Unread",
    "WorldError",
]
