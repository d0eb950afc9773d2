"""The one switch that leads have: no new clusters, whoever asks, until it is turned again."""

from __future__ import annotations

from bot.core.conflict import Conflict
from bot.core.ports import Tx
from bot.core.records import AuditRow, SwitchRow

STOP = "stop-creates"


def stopped(tx: Tx) -> SwitchRow | None:
    """Who stopped new creates, when and why; None while they are allowed."""
    switch = tx.switch(STOP)
    return switch if switch is not None and switch.on else None


def must_be_allowed(tx: Tx) -> None:
    """Raises `Conflict` while new creates are stopped."""
    switch = stopped(tx)
    if switch is None:
        return
    why = f": {switch.reason}" if switch.reason else "."
    raise Conflict(
        f"No new clusters for now: <@{switch.by}> has stopped them{why}",
        "A lead lets them through again with /gpu-cluster allow-creates.",
    )


def turn(tx: Tx, *, on: bool, by: str, reason: str, at: float) -> SwitchRow:
    """Stop new creates, or allow them again; with its line of audit."""
    switch = SwitchRow(STOP, on, by, reason, at)
    tx.turn(switch)
    tx.add(AuditRow(at, by, "stopped new creates" if on else "allowed new creates", "", "", reason))
    return switch
