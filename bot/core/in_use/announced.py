"""What EC2 has announced, kept for all clusters of a region, so that their looks at one moment are one question."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from threading import Lock

from bot.core.cloud import Announcement, Cloud
from bot.core.ports import Clock, Temporary, WorldError

log = logging.getLogger(__name__)

EVERY_S = 30.0
"""World seconds for which an answer serves: less than the watch's, so that each of its moments has a new one."""
KEPT_S = 600.0
"""World seconds for which the last answer stands while AWS does not answer."""
_PATIENCE_S = 5.0
"""Real seconds that a look waits for another's question."""


@dataclass
class _Region:
    lock: Lock = field(default_factory=Lock)
    tried_at: float = float("-inf")
    answered_at: float = float("-inf")
    answer: tuple[Announcement, ...] = ()
    refused: str = ""


class Announced:
    """One for the process; thread safe."""

    def __init__(self) -> None:
        self._regions: dict[str, _Region] = {}

    def of(self, cloud: Cloud, clock: Clock) -> tuple[Announcement, ...] | None:
        """What holds in the cloud's region; None where that is not known. Where the bot may not ask, nothing is."""
        region = self._regions.setdefault(cloud.region, _Region())
        if region.lock.acquire(timeout=_PATIENCE_S):
            try:
                if not 0 <= clock.now() - region.tried_at < EVERY_S:
                    region.tried_at = clock.now()
                    _ask(region, cloud, clock)
            finally:
                region.lock.release()
        return region.answer if 0 <= clock.now() - region.answered_at < KEPT_S else None


def _ask(region: _Region, cloud: Cloud, clock: Clock) -> None:
    try:
        answer = cloud.announcements()
    except Temporary as error:
        log.info("EC2's announcements in %s are not known: %s", cloud.region, error.reason)
        return
    except WorldError as error:
        if error.reason != region.refused:
            log.warning("EC2's announcements in %s cannot be read: %s %s", cloud.region, error.reason, error.remedy)
        region.refused, answer = error.reason, ()
    region.answer, region.answered_at = answer, clock.now()
