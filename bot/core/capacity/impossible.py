"""What EC2 can do and Rancher's EC2 driver has no option for, so that nobody can have it here."""

from __future__ import annotations

from collections.abc import Mapping

_NO_OPTION = "Rancher's EC2 driver has no option for"

# The driver's flags: rancher/machine: drivers/amazonec2/amazonec2.go.
IMPOSSIBLE: Mapping[str, str] = {
    "capacity_reservation": f"{_NO_OPTION} a targeted capacity reservation. Open ones are used by themselves.",
    "capacity_block": f"{_NO_OPTION} a capacity block. Open capacity reservations are used by themselves.",
    "placement_group": f"{_NO_OPTION} a placement group.",
    "efa": f"{_NO_OPTION} EFA interfaces: machines talk to each other over plain Ethernet.",
}
"""What somebody may ask for (a key of a preset's pool, or --key in a line), and why it cannot be."""


def why_not(word: str) -> str | None:
    """Why an option is impossible, None when it is not one of these."""
    return IMPOSSIBLE.get(word.lstrip("-").lower().replace("-", "_").partition("=")[0])
