"""Rows for the store's tests: plain ones to start from, and any that there can be (hypothesis)."""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import Any, get_type_hints

from hypothesis import strategies as st

from bot.core.ports import Store
from bot.core.records import (
    ApprovalRow,
    AuditRow,
    ClusterRow,
    ClusterState,
    InboundRow,
    Kind,
    MessageKind,
    MessageRow,
    RequestRow,
    RequestState,
    StepRow,
)


def cluster(id: str = "c1", name: str = "blog", **fields: Any) -> ClusterRow:
    given = {"team": "default", "target": "default", "owner": "U1", "channel": "C1", "created_at": 100.0}
    return ClusterRow(id=id, name=name, **{"state": ClusterState.BUILDING, **given, **fields})


def request(id: str = "r1", cluster_id: str = "c1", **fields: Any) -> RequestRow:
    given = {"team": "default", "target": "default", "requester": "U1", "channel": "C1", "spec": "{}"}
    times = {"asked_at": 100.0, "next_look_at": 100.0}
    states = {"kind": Kind.CREATE, "state": RequestState.CHECKING}
    return RequestRow(id=id, cluster_id=cluster_id, **{**states, **given, **times, **fields})


def step(position: int = 0, request_id: str = "r1", **fields: Any) -> StepRow:
    return StepRow(**{"request_id": request_id, "position": position, "kind": "preflight@1", **fields})


def approval(approver: str = "U2", request_id: str = "r1", **fields: Any) -> ApprovalRow:
    given = {"envelope_hash": "h1", "decision": "approve", "at": 100.0, "as_lead": "listed"}
    return ApprovalRow(request_id=request_id, approver=approver, **{**given, **fields})


def message(id: str = "m1", request_id: str = "r1", **fields: Any) -> MessageRow:
    given = {"kind": MessageKind.PARENT, "channel": "C1", "created_at": 100.0}
    return MessageRow(id=id, request_id=request_id, **{**given, **fields})


def inbound(key: str = "k1", **fields: Any) -> InboundRow:
    return InboundRow(key=key, **{"kind": "command", "payload": "{}", "received_real": 100.0, **fields})


def audit(action: str = "asked", request_id: str = "r1", **fields: Any) -> AuditRow:
    given = {"at": 100.0, "actor": "U1", "cluster_id": "c1", "detail": ""}
    return AuditRow(action=action, request_id=request_id, **{**given, **fields})


def fill(store: Store, requests: int) -> list[str]:
    """So many clusters, each with a request that is due; returns the requests' ids, soonest due first."""
    ids = [f"r{number:04d}" for number in range(requests)]
    with store.transaction() as tx:
        for number, id in enumerate(ids):
            tx.add(cluster(f"c{number}", f"n{number}"))
            tx.add(request(id, f"c{number}", next_look_at=float(number)))
    return ids


def any_row(row: type[Any], **fixed: Any) -> st.SearchStrategy[Any]:
    """Every row of that type, with these fields fixed."""
    hints = get_type_hints(row)
    free = {field.name: _any(hints[field.name]) for field in fields(row) if field.name not in fixed}
    return st.builds(row, **free, **{name: st.just(value) for name, value in fixed.items()})


def _any(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    return {
        str: st.text(),
        int: st.integers(-(2**63), 2**63 - 1),
        bool: st.booleans(),
        float: st.floats(allow_nan=False),
        float | None: st.none() | st.floats(allow_nan=False),
    }[hint]
