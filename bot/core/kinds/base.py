"""What each kind of request has: how it opens, what must be asked before a lead is, and what its end means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bot.core.changes import Change
from bot.core.costs.ledger import Committed
from bot.core.ports import Tx
from bot.core.records import ClusterRow, Kind, RequestRow
from bot.core.spec import Catalogue, Envelope, Preflight
from bot.core.steps.base import Outside


@dataclass(frozen=True)
class Opening:
    """How a change begins. `envelope` is the whole cluster as it would be approved, None where nothing is bought.

    `check`: Rancher or AWS must be asked before a lead is. `free`: why nobody has to approve, '' when a lead must.
    `change`: the change with what was found out about it, None where it stays as it was asked.
    """

    envelope: Envelope | None = None
    check: bool = False
    free: str = ""
    change: Change | None = None


@dataclass(frozen=True)
class Asked:
    """A request that is being checked, and what may be asked about it. `committed`: None where no budget is set."""

    request: RequestRow
    cluster: ClusterRow
    envelope: Envelope | None
    outside: Outside
    catalogue: Catalogue
    committed: Committed | None
    now: float


class Rules(Protocol):
    """One kind of request. Rules hold no state. Plans are in `bot.core.plan`."""

    kind: Kind

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        """How the change begins. Raises `Invalid` or `Conflict` for what cannot be."""

    def check(self, asked: Asked) -> Preflight:
        """What the outside says, and the envelope. No transaction is open. May raise `WorldError`s."""

    def started(self, tx: Tx, request: RequestRow, at: float) -> None:
        """Its first look has begun."""

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        """Every step of its plan holds; the request is *done*."""

    def failed(self, tx: Tx, request: RequestRow, reason: str, at: float) -> None:
        """A step gave up; the request is *failed*."""

    def speaks(self, tx: Tx, request: RequestRow) -> bool:
        """Whether results and end are said in the thread, as far as is known now."""


class Plain:
    """What most kinds do at these moments: nothing."""

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        raise NotImplementedError(f"{type(self).__name__} changes no cluster")

    def check(self, asked: Asked) -> Preflight:
        return Preflight(envelope=asked.envelope)

    def started(self, tx: Tx, request: RequestRow, at: float) -> None:
        return None

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        return None

    def failed(self, tx: Tx, request: RequestRow, reason: str, at: float) -> None:
        return None

    def speaks(self, tx: Tx, request: RequestRow) -> bool:
        return True


__all__ = ["Asked", "Opening", "Plain", "Rules"]
