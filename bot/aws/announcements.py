"""What EC2 has announced for machines of a region: spot requests that end, and events of maintenance.

Codes: AWS, "Spot Instance request status" and "Scheduled events for your instances". Rebalance recommendations are in
neither: AWS sends those to the machine itself and to EventBridge only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bot.aws.clients import Clients, where
from bot.aws.errors import translated
from bot.core.cloud import Announcement
from bot.core.spec import LABEL_CLUSTER

_SPOT = (
    "marked-for-termination",
    "marked-for-stop",
    "instance-terminated-by-price",
    "instance-terminated-by-service",
    "instance-terminated-capacity-oversubscribed",
    "instance-terminated-no-capacity",
    "instance-stopped-by-price",
    "instance-stopped-no-capacity",
)
_EVENTS = ("instance-reboot", "instance-retirement", "instance-stop", "system-maintenance", "system-reboot")
_OVER = ("[Completed]", "[Canceled]")
"""How the description of an event begins for a week after it is over."""


@dataclass(frozen=True)
class _Said:
    instance: str
    code: str
    due_at: float | None = None
    event: str = ""


def announcements(clients: Clients) -> tuple[Announcement, ...]:
    """All that hold: a machine may have a spot request that ends and several events."""
    said = (*_spot(clients), *_events(clients))
    tags = _tags(clients, tuple({word.instance for word in said})) if said else {}
    return tuple(
        Announcement(
            word.instance,
            tags.get(word.instance, {}).get("Name", ""),
            tags.get(word.instance, {}).get(LABEL_CLUSTER, ""),
            word.code,
            word.due_at,
            word.event,
        )
        for word in said
    )


def _spot(clients: Clients) -> Iterator[_Said]:
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_spot_instance_requests").paginate(
            Filters=[where("status-code", *_SPOT)]
        )
        for page in pages:
            for request in page["SpotInstanceRequests"]:
                if request.get("InstanceId"):
                    yield _Said(request["InstanceId"], request["Status"]["Code"])


def _events(clients: Clients) -> Iterator[_Said]:
    """Of machines that run: the events that are not over."""
    with translated("ec2"):
        pages = clients.ec2.get_paginator("describe_instance_status").paginate(Filters=[where("event.code", *_EVENTS)])
        for page in pages:
            for status in page["InstanceStatuses"]:
                for event in status.get("Events", []):
                    if not event.get("Description", "").startswith(_OVER):
                        due_at, name = event["NotBefore"].timestamp(), event.get("InstanceEventId") or event["Code"]
                        yield _Said(status["InstanceId"], event["Code"], due_at, name)


def _tags(clients: Clients, instances: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """By a filter: an id that EC2 has forgotten would fail the whole question. 200 is the most that a filter takes."""
    found: dict[str, dict[str, str]] = {}
    with translated("ec2"):
        for first in range(0, len(instances), 200):
            wanted = [where("instance-id", *instances[first : first + 200])]
            for page in clients.ec2.get_paginator("describe_instances").paginate(Filters=wanted):
                for reservation in page["Reservations"]:
                    for item in reservation["Instances"]:
                        found[item["InstanceId"]] = {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}
    return found
