"""A simulated Rancher with the clusters behind it, served over real HTTP and driven by a clock of its own."""

from bot.sandbox.world.app import make_app
from bot.sandbox.world.clock import WorldClock
from bot.sandbox.world.faults import FAULTS
from bot.sandbox.world.journal import LogEntry
from bot.sandbox.world.timings import Timings
from bot.sandbox.world.world import World

__all__ = ["FAULTS", "LogEntry", "Timings", "World", "WorldClock", "make_app"]
