"""Capacity: reservations that an account has, and how likely spot machines are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.sandbox.aws.wire import Call, Reply, ec2_reply


@dataclass(frozen=True)
class Reservation:
    """`zone` is the full name (us-east-1b); `match` is open or targeted."""

    instance_type: str
    zone: str
    total: int
    free: int
    match: str = "open"
    id: str = "cr-0123456789abcdef0"


class Capacity:
    """`reservations` of the account; `scores` (1 to 10) of spot placement by zone id (use1-az1)."""

    def __init__(self) -> None:
        self.reservations: list[Reservation] = []
        self.scores: dict[str, int] = {}

    def answer(self, call: Call) -> Reply | None:
        """None for an operation that is not played."""
        match call.name:
            case "ec2:DescribeCapacityReservations":
                return ec2_reply(call.operation, {"capacityReservationSet": self._listed(call)})
            case "ec2:GetSpotPlacementScores":
                scores = [
                    {"region": call.region, "availabilityZoneId": zone, "score": score}
                    for zone, score in self.scores.items()
                ]
                return ec2_reply(call.operation, {"spotPlacementScoreSet": scores})
            case _:
                return None

    def _listed(self, call: Call) -> list[dict[str, Any]]:
        kinds = call.filters().get("instance-type")
        return [
            {
                "capacityReservationId": held.id,
                "instanceType": held.instance_type,
                "instancePlatform": "Linux/UNIX",
                "availabilityZone": held.zone,
                "tenancy": "default",
                "totalInstanceCount": held.total,
                "availableInstanceCount": held.free,
                "state": "active",
                "instanceMatchCriteria": held.match,
            }
            for held in self.reservations
            if kinds is None or held.instance_type in kinds
        ]
