"""A cluster for which Rancher answers 404. Missing is not gone.

It is believed when it was said twice, five minutes of world time apart, while Rancher lists its other clusters, and EC2
has no machine of it left. Until then we cannot see it, and it may cost money.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.core.ports import Instance

GONE_S = 300.0


@dataclass(frozen=True)
class Absence:
    """`gone`: it is believed; `left` machines of it that EC2 still has; `why` says what is so, for people."""

    gone: bool
    left: int
    why: str


def absence(name: str, since: float, now: float, machines: Callable[[], Sequence[Instance]]) -> Absence:
    """What to make of it that the cluster has been missing since then (world time, Unix seconds).

    `machines` asks EC2 for what is left of it, only once the five minutes are over; its `WorldError`s pass through:
    nothing is concluded from no answer.
    """
    if now - since < GONE_S:
        said = "asked again, for five minutes, before it is believed gone"
        return Absence(False, 0, f"cannot see the cluster {name} in Rancher: {said}")
    left = machines()
    if left:
        ids = ", ".join(instance.id for instance in left[:4]) + ("…" if len(left) > 4 else "")
        said = f"cannot see the cluster {name} in Rancher, but EC2 still has {len(left)} of its machines ({ids})"
        return Absence(False, len(left), f"{said}: they cost money")
    return Absence(True, 0, f"Rancher has no cluster {name} of ours any more, and EC2 no machine of it")
