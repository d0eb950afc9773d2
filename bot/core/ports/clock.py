"""Time, as the core needs it."""

from __future__ import annotations

from typing import Protocol

from bot.core.cloud import Cloud as Cloud
from bot.core.cloud import Identity as Identity
from bot.core.cloud import Instance as Instance
from bot.core.cloud import InstanceType as InstanceType
from bot.core.cloud import MachineImage as MachineImage
from bot.core.cloud import Subnet as Subnet


class Clock(Protocol):
    """World time is what steps wait in and people read; real time is what networks and leases live in."""

    def now(self) -> float:
        """World time, Unix seconds."""

    def real(self) -> float:
        """Wall time, Unix seconds."""

    def real_seconds(self, world_seconds: float) -> float:
        """How long that much world time takes on the wall."""
