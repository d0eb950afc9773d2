"""The line that asks for the same again, for people to edit and paste."""

from __future__ import annotations

from bot.core.spec import ClusterSpec, Draft
from handlers.views.words import clean


def create_line(wanted: ClusterSpec | Draft) -> str:
    """The complete create command for a spec, or for a draft as far as it goes."""
    reason = clean(wanted.reason).replace("\n", " ").replace("\\", "\\\\").replace('"', '\\"')
    pieces = [
        "/gpu-cluster create",
        wanted.name,
        f"--preset {wanted.preset}" if wanted.preset else "",
        f"--gpus {wanted.gpus}" if wanted.gpus else "",
        f"--hours {wanted.hours}" if wanted.hours else "",
        f"--type {wanted.instance_type}" if wanted.instance_type else "",
        f"--zone {wanted.zone}" if wanted.zone else "",
        _wait(wanted),
        f'--reason "{reason}"' if reason else "",
    ]
    return " ".join(piece for piece in pieces if piece)


def _wait(wanted: ClusterSpec | Draft) -> str:
    wait = wanted.wait if isinstance(wanted, Draft) else f"{wanted.wait_hours}h" if wanted.wait_hours else ""
    return f"--wait {wait}" if wait else ""
