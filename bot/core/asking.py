"""Who asks, the request as it is written down first, and the id it gets."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from bot.core import plan
from bot.core.records import ClusterRow, Kind, RequestRow, RequestState


@dataclass(frozen=True)
class Ask:
    """Who asks, and where. `key` identifies the gesture: the same one delivered twice is one request."""

    user: str
    channel: str
    key: str


def request_id_for(key: str) -> str:
    """A request's id follows from the gesture that asked for it, so that a repeat finds the first."""
    return "r-" + uuid.uuid5(uuid.NAMESPACE_URL, f"gpu-cluster:{key}").hex[:10]


def new_request(
    request_id: str, kind: Kind, cluster: ClusterRow, *, requester: str, channel: str, spec: str, now: float
) -> RequestRow:
    """Nothing checked yet; the plan is this release's."""
    return RequestRow(
        id=request_id,
        cluster_id=cluster.id,
        kind=kind,
        state=RequestState.CHECKING,
        requester=requester,
        team=cluster.team,
        target=cluster.target,
        channel=channel,
        spec=spec,
        asked_at=now,
        next_look_at=now,
        plan=plan.freeze(plan.plan_for(kind, enabled=cluster.enabled)),
    )
