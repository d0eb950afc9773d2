"""What can be made to go wrong, by name."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable

from bot.sandbox.world.nvidia.failing import FAILING

_MODES = {
    "diag-09": "the GPU nodes are labelled not to get the operator's DaemonSets",
    "diag-19": "the device plugin takes the last GPU of the last GPU node back after a critical Xid",
    "diag-21": "the operator's own pod runs out of memory",
    "diag-22": "a driver upgrade has failed and left its label",
    "diag-24": "pod security refuses the operator's DaemonSets, whatever the namespace says",
    "diag-26": "another ClusterPolicy claims the cluster",
    "diag-28": "MIG is on in the mixed strategy, with a driver that hides such devices",
    **{name: what for name, (what, _) in FAILING.items()},
}

#: Name of each fault and what it does to the world.
FAULTS: dict[str, str] = {
    "no-capacity": "AWS has no capacity for the GPU pool: create, fail, wipe, create, for ever",
    "no-capacity-first-zone": "AWS has no capacity for GPU machines in the zone that is tried first",
    "no-capacity-first-type": "AWS has no capacity for the GPU type that is tried first, in any zone",
    "capacity-30": "AWS refuses 30 % of all machines for want of capacity, wherever they are tried",
    "capacity-later": "AWS has no capacity for GPU machines in the first three hours",
    "never-joins": "GPU machines run but their agent never checks in",
    "policy-not-ready": "the GPU driver does not build, so the ClusterPolicy never becomes ready",
    "gpu-missing": "the last GPU node has no GPU on its PCI bus",
    "gpu-bad": "the last GPU of the last GPU node computes wrong results",
    "node-dies-later": "the last GPU node stops answering, two minutes after it was opened for work",
    "gpu-fails-later": "the last GPU computes wrong results from two minutes after its node was opened for work",
    "spot-notice": "EC2 announces that it takes the last GPU machine back, two minutes after it was opened for work",
    "spot-taint": "AWS's node termination handler says so with a taint on the node, and EC2 says nothing",
    "retirement": "EC2 announces that it retires the last GPU machine, two minutes after it was opened for work",
    "credential-deleted": "somebody deletes the cloud credential's Secret just before a cluster is removed",
    "credential-refused": "AWS takes the cloud credential's keys no more when a machine is to be removed",
    "rancher-503": "Rancher answers 503 for 30 s, from 60 s after the first cluster was asked for",
    "slack-429": "Slack limits the rate (played by the Slack stand-in; nothing changes here)",
    **dict(sorted(_MODES.items())),
}


#: Modes of the catalogue of failures that another fault plays already.
_ALIASES = {"diag-10": "gpu-missing"}


def checked(names: Iterable[str]) -> frozenset[str]:
    """``names`` as a set.

    Raises:
        ValueError: for a name that is no fault; the message lists those that are.
    """
    wanted = frozenset(_ALIASES.get(name, name) for name in names)
    unknown = sorted(wanted - FAULTS.keys())
    if unknown:
        raise ValueError("\n".join((*map(_unknown, unknown), _there_are())))
    return wanted


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), FAULTS, n=1)
    return f"unknown fault {name}" + (f"; did you mean {close[0]}?" if close else "")


def _there_are() -> str:
    """All names, on lines that a terminal takes; the numbered ones as a range."""
    numbered = sorted({*(name for name in FAULTS if name.startswith("diag-")), *_ALIASES})
    named = ", ".join(name for name in FAULTS if name not in numbered)
    return textwrap.fill(f"There are: {named}, and {numbered[0]} to {numbered[-1]}.", 100, break_on_hyphens=False)
