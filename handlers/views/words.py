"""Words: cleaning what people typed, durations, and the names of steps and states."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.core import plan
from bot.core.records import ClusterState, Kind, RequestState
from bot.core.story import Story
from bot.core.verification.verdict import DEGRADED, VERIFIED

_SPACES = re.compile("[\t\r\u2028\u2029\x0b\x0c\x85]")
# Control characters but the newline, surrogates, and marks that change the direction of what follows, so that a text
# reads as another one.
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_AT_AN_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_FORMATTING = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})

STEP_TITLES: Mapping[str, str] = {
    "preflight": "Check again before spending money",
    "machine_configs": "Describe the machines",
    "cluster_object": "Order the cluster from Rancher",
    "control_plane": "Control plane and first worker answer",
    "catalog": "Add NVIDIA's chart repository",
    "operator": "Install the GPU Operator",
    "addons": "Install the add-ons",
    "machines": "All machines have joined",
    "settled": "Rancher calls the cluster ready",
    "gpu_labels": "GPUs are found on the nodes",
    "policy_ready": "Driver and device plugin are ready",
    "allocatable": "Kubernetes can hand out the GPUs",
    "verify": "Measure every GPU",
    "gate": "Open the nodes for work",
    "access": "Give access",
    "share": "Let them in",
    "forget": "Take away what people were given",
    "unshare": "Take away what they were given",
    "surge": "Order another machine",
    "measure_new": "Measure the new machine",
    "retire": "Remove the bad machine",
    "remove_cluster": "Remove the cluster from Rancher",
    "no_instances": "No machine is left in EC2",
    "scale_pool": "The pool has its new size",
    "verify_new": "Measure the new GPUs",
    "gate_new": "Open the new nodes for work",
}


def clean(text: str) -> str:
    """Without control characters, surrogates and direction marks; newlines stay."""
    if text.isprintable():
        return text
    return _UNSEEN.sub("", _SPACES.sub(" ", text))


def escape(text: str) -> str:
    """Cleaned, and with the three characters escaped that start Slack's own markup: no mention, no link."""
    return clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def neutral(text: str) -> str:
    """Escaped, and with look-alikes for the characters that mrkdwn reads as bold, strike or code.

    An underscore formats only at the edge of a word, so those inside of names stay.
    """
    return _AT_AN_EDGE.sub("ˍ", escape(text).translate(_FORMATTING))


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: max(0, limit - 1)].rstrip() + "…"


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 19 min, 2 h 10 min, 3 days."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 72:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(hours / 24)} days"


def count(number: int, singular: str, plural: str = "") -> str:
    """A number with its noun: 1 GPU, 8 GPUs."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def step_title(name: str) -> str:
    """What a step is called; a step of another release by its own name."""
    return STEP_TITLES.get(name, name.replace("_", " "))


def usual_seconds(kind: Kind) -> float:
    """How long such a request usually runs: the longest way through its plan, in world seconds."""
    ends: dict[str, float] = {}
    for planned in plan.plan_for(kind):
        begins = max((ends[before] for before in planned.after), default=0.0)
        ends[planned.kind] = begins + plan.clocks(planned.kind).usual_s
    return max(ends.values(), default=0.0)


def outcome_state(story: Story) -> str:
    """How a finished request ended, in one word for people and programs: ready, degraded, deleted, failed, …"""
    if story.state != RequestState.DONE:
        return str(story.state)
    if story.kind == Kind.DELETE:
        return "deleted"
    if story.change is not None:
        return "done"
    return "ready" if story.report is not None and story.report.verdict == VERIFIED else DEGRADED


_RUNNING = {Kind.ENABLE: "Enabling", Kind.CREATE: "Building", Kind.DELETE: "Deleting"}
_SINCE = {
    ClusterState.READY: "ready",
    ClusterState.DEGRADED: "degraded",
    ClusterState.BUILDING: "being repaired",
    ClusterState.DELETING: "being deleted",
    ClusterState.GONE: "deleted",
}


def _ended_words(story: Story) -> str:
    words = outcome_state(story).capitalize()
    since = _SINCE.get(story.cluster_state, "")
    if story.kind == Kind.CREATE and since and since != words.lower():
        return f"{words}, and since then {since}"
    return words


def state_words(story: Story) -> str:
    """The state of a request as its header says it."""
    running = _RUNNING.get(story.kind, "Changing")
    words = {
        RequestState.CHECKING: "Checking",
        RequestState.AWAITING_APPROVAL: "Waiting for approval",
        RequestState.APPROVED: f"Approved, {running.lower()} begins",
        RequestState.RUNNING: running,
        RequestState.DONE: _ended_words(story),
        RequestState.FAILED: "Failed",
        RequestState.CANCELLED: "Cancelled",
        RequestState.DENIED: "Denied",
        RequestState.LAPSED: "Lapsed, nobody decided in time",
    }
    return words[story.state]
