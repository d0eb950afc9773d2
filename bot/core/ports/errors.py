"""What adapters raise, and nothing else."""

from __future__ import annotations

from bot.core.cloud import Cloud as Cloud
from bot.core.cloud import Identity as Identity
from bot.core.cloud import Instance as Instance
from bot.core.cloud import InstanceType as InstanceType
from bot.core.cloud import MachineImage as MachineImage
from bot.core.cloud import Subnet as Subnet


class WorldError(Exception):
    """Something outside said no. `reason` says what happened, `remedy` what a person can do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Temporary(WorldError):
    """It may work a little later: no answer, 429, 5xx, a conflict. The world could not be observed."""


class Busy(Temporary):
    """It answered: not yet. Something of ours is being removed, or others write it all the time. The step's clock
    goes on, because the world could be observed."""


class Unread(Temporary):
    """Rancher has not been read since our own last write; it will be in `look_in` world seconds. Nothing is wrong."""

    def __init__(self, look_in: float) -> None:
        super().__init__("Rancher has not been read since the last change.")
        self.look_in = look_in


class Permanent(WorldError):
    """It will not work however often it is tried: refused, malformed, not found."""


class Refused(Permanent):
    """Our own credentials may not do this; `remedy` says who can change that."""


class TokenRefused(Temporary):
    """Rancher does not take the bot's own token: nothing can be observed until somebody gives it another one."""


class Foreign(Permanent):
    """An object of our name exists and is not ours (no label of this request)."""


class Stale(Exception):
    """The row has changed since it was read; read it again."""


class Taken(Exception):
    """A unique index refused the row; `what` names the index."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
