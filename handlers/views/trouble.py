"""What has befallen a cluster in use, with what its owner can do; and that it is over."""

from __future__ import annotations

from bot.core.in_use import troubles
from bot.core.in_use.troubles import Notice
from handlers.views.page import Button, Buttons, Confirm, Header, Page, Para
from handlers.views.spans import line, who

_TITLES = {
    troubles.MACHINE_GONE: "a machine is gone",
    troubles.NOT_READY: "a node is not Ready",
    troubles.SHORT: "GPUs are missing",
    troubles.NOTICE: "AWS has announced something for a machine",
    troubles.NO_GPU: "a new node has no GPU",
    troubles.UNCHECKED: "a node was open without having passed",
    troubles.UNREACHABLE: "the cluster does not answer",
    troubles.CLUSTER_GONE: "the cluster is gone from Rancher",
    troubles.UNSEEN: "Rancher does not show the cluster",
    troubles.FAILED_CHECK: "a node did not pass when it was measured again",
    troubles.DRIFT: "a GPU is slower than on its first day",
}
_NEXT = {
    troubles.UNREACHABLE: "Nothing can be seen in it; what was known of its nodes stands. Look at its page in Rancher.",
    troubles.CLUSTER_GONE: "Delete clears up what is left of it, and ends its costs here.",
    troubles.UNSEEN: "Find out who deleted it in Rancher. Its machines run on and are paid for; Delete clears up.",
    troubles.UNCHECKED: "It is being measured now, and opened if it passes.",
    troubles.FAILED_CHECK: "Its nodes that did not pass are closed for new work; what runs there goes on.",
    troubles.DRIFT: "It passes its checks and stays open for work.",
    troubles.NOTICE: "Save what runs there now; Replace orders another machine.",
}


def trouble(notice: Notice) -> Page:
    """One message in the cluster's thread; it mentions the owner, who can act at once."""
    if notice.kind == troubles.ACCEPTED:
        said = line(
            who(notice.detail), f" has accepted {notice.cluster} as it is. Nodes that did not pass stay closed."
        )
        return Page(said, (Para((said,)),))
    title = _TITLES.get(notice.kind, notice.kind)
    if notice.over:
        said = line(f"Over: {title} ({notice.detail}).")
        return Page(said, (Para((said,)),))
    said = line(who(notice.owner), f" {notice.cluster}: {notice.detail}.")
    then = _NEXT.get(notice.kind, "Replace orders another machine; what is on this one is lost.")
    parts = (Header(f"{notice.cluster}: {title}"), Para((said, line(then))))
    if notice.kind == troubles.UNCHECKED:
        return Page(said, parts)
    return Page(said, (*parts, _buttons(notice)))


def degraded_buttons(cluster_id: str) -> Buttons:
    """What a lead can do with a cluster of which not everything is good."""
    value = f"{cluster_id}."
    accept = Confirm("Accept it as it is?", "It counts as ready; nodes that did not pass stay closed.", "Accept", "No")
    return Buttons(
        f"degraded-{cluster_id}",
        (
            Button("accept", "Accept degraded", value, "", accept),
            Button("replace", "Replace node", value, "", _REPLACE),
            Button("delete", "Clean up", value, "danger", _DELETE),
        ),
    )


_REPLACE = Confirm("Replace the machine?", "A lead approves it. What is on the old machine is lost.", "Replace", "No")
_DELETE = Confirm("Delete the cluster?", "A lead approves it. All machines go, and everything on them.", "Delete", "No")


def _buttons(notice: Notice) -> Buttons:
    value = f"{notice.cluster_id}.{notice.trouble}"
    replace = Button("replace", "Replace", value, "", _REPLACE)
    rest = (Button("ignore", "Ignore", value), Button("delete", "Delete", value, "danger", _DELETE))
    some = (replace, *rest) if notice.kind in troubles.OF_A_NODE else rest
    return Buttons(f"trouble-{notice.trouble}", some)
