"""What EC2 announces for machines: spot requests that end (DescribeSpotInstanceRequests) and events of maintenance
(DescribeInstanceStatus). moto answers both, and knows of neither.

Only questions that filter by them are answered here, and only with the filters that EC2 knows (AWS: EC2 API reference).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.sandbox.aws.wire import Call, Reply, ec2_reply, error_reply

_EVENTS = frozenset({"instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop"})


@dataclass(frozen=True)
class _Word:
    instance: str
    code: str
    region: str


class Announced:
    """`announce` is what AWS itself would decide."""

    def __init__(self) -> None:
        self._words: list[_Word] = []

    def announce(self, instance: str, code: str, region: str) -> None:
        """From now on: a spot request's status code, or an event's."""
        self._words.append(_Word(instance, code, region))

    def answer(self, call: Call) -> Reply | None:
        """None for a question that is not about announcements."""
        match call.name:
            case "ec2:DescribeSpotInstanceRequests" if (codes := call.filters().get("status-code")) is not None:
                requests = [_request(word) for word in self._of(call, codes) if word.code not in _EVENTS]
                return ec2_reply(call.operation, {"spotInstanceRequestSet": requests})
            case "ec2:DescribeInstanceStatus" if (codes := call.filters().get("event.code")) is not None:
                if unknown := set(codes) - _EVENTS:
                    said = f"Value ({unknown.pop()}) for filter event.code is invalid."
                    return error_reply(call, "InvalidParameterValue", said, 400)
                words = [word for word in self._of(call, codes) if word.code in _EVENTS]
                statuses = [_status(instance, words) for instance in dict.fromkeys(word.instance for word in words)]
                return ec2_reply(call.operation, {"instanceStatusSet": statuses})
            case _:
                return None

    def _of(self, call: Call, codes: list[str]) -> list[_Word]:
        return [word for word in self._words if word.region == call.region and word.code in codes]


def _request(word: _Word) -> dict[str, Any]:
    return {
        "spotInstanceRequestId": f"sir-{word.instance.removeprefix('i-')[:8]}",
        "type": "one-time",
        "state": "active" if word.code.startswith("marked") else "closed",
        "status": {"code": word.code, "updateTime": "2026-01-01T00:00:00.000Z", "message": "announced by the sandbox"},
        "instanceId": word.instance,
    }


def _status(instance: str, words: list[_Word]) -> dict[str, Any]:
    """One for a machine, with an event that is over beside those that come: EC2 lists those for a week."""
    codes = [word.code for word in words if word.instance == instance]
    over = {"code": codes[0], "description": "[Completed] earlier", "notBefore": "2025-01-01T00:00:00.000Z"}
    coming = [
        {
            "code": code,
            "description": "announced by the sandbox",
            "notBefore": "2099-01-01T00:00:00.000Z",
            "instanceEventId": f"instance-event-{code}-{number}",
        }
        for number, code in enumerate(codes)
    ]
    return {
        "instanceId": instance,
        "instanceState": {"code": 16, "name": "running"},
        "eventsSet": [{**over, "instanceEventId": "instance-event-over"}, *coming],
    }
