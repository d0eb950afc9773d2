"""Troubles that no pod's state shows: a sandbox that cannot be made, a pod that may not be created."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bot.core.ports import PodTrouble
from bot.kube.client import Json
from bot.kube.pods import app_of

_TELLING = frozenset({"FailedCreatePodSandBox", "FailedCreate"})


def troubles(warnings: Iterable[Json], pods: Iterable[Json]) -> tuple[PodTrouble, ...]:
    """One for each object and reason, with its latest words and how long they have been repeated."""
    by_name = {pod["metadata"]["name"]: pod for pod in pods}
    grouped: dict[tuple[str, str], list[Json]] = {}
    for event in warnings:
        if event.get("reason") in _TELLING:
            name = str((event.get("involvedObject") or {}).get("name") or "")
            grouped.setdefault((name, str(event["reason"])), []).append(event)
    return tuple(_trouble(name, reason, said, by_name.get(name)) for (name, reason), said in grouped.items())


def _trouble(name: str, reason: str, said: list[Json], pod: Json | None) -> PodTrouble:
    last = max(said, key=lambda event: _moment(event, "lastTimestamp"))
    first = min(_moment(event, "firstTimestamp") for event in said)
    return PodTrouble(
        pod=name,
        app=app_of(pod) if pod else name,
        node=str((pod.get("spec") or {}).get("nodeName") or "") if pod else "",
        reason=reason,
        message=str(last.get("message") or ""),
        log="",
        seconds=max(0.0, _moment(last, "lastTimestamp") - first),
    )


def _moment(event: Json, field: str) -> float:
    """Unix seconds of an event's time; newer clients write `eventTime` only."""
    text = event.get(field) or event.get("eventTime") or (event.get("metadata") or {}).get("creationTimestamp")
    return datetime.fromisoformat(text).timestamp() if text else 0.0
