"""What stands beside a kubeconfig in somebody's direct messages, or in its place."""

from __future__ import annotations

from bot.core.credentials import FILE_S
from bot.core.ports import WorldError
from handlers.views.page import Page, Para
from handlers.views.spans import code, line
from handlers.views.words import duration


def file_name(cluster: str) -> str:
    """Of the file, as it is saved."""
    return f"{cluster}.kubeconfig"


def comment(cluster: str, good_for_s: float) -> str:
    """The text of the message with the file (mrkdwn; a cluster's name holds nothing to escape)."""
    return (
        f"Your kubeconfig for *{cluster}*: `export KUBECONFIG=$PWD/{file_name(cluster)}`, then `kubectl get nodes`. "
        f"It opens this one cluster, works for {duration(good_for_s)}, and is yours alone: do not pass it on. I delete "
        f"this file in {duration(FILE_S)}; save it now. A new one ends this one."
    )


def refused(cluster: str, error: WorldError) -> Page:
    """There is none, and why."""
    lines = [line(f"No kubeconfig for {cluster}: {error.reason}")]
    if error.remedy:
        lines.append(line(error.remedy))
    lines.append(line("Ask again with ", code(f"/gpu-cluster kubeconfig {cluster}"), "."))
    return Page(lines[0], (Para(tuple(lines)),))
