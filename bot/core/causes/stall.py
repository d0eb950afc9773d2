"""A step that takes longer than it should: what it waits for, since when, what is usual, the likely cause, what to do.

Said before anyone asks, once, when a step passes its clock; and whenever somebody looks at it afterwards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.core import plan
from bot.core.causes.planner import phase
from bot.core.records import StepRow, StepState

_MIRRORS = "the new machines do not reach the internet, or only through a proxy"
_USUAL: dict[str, tuple[str, str]] = {
    "preflight": ("AWS or Rancher does not answer", "gpu-cluster doctor asks both"),
    "machine_configs": ("Rancher does not answer", "gpu-cluster doctor says more"),
    "cluster_object": ("Rancher's own controllers are behind", "Look at Rancher's own log"),
    "control_plane": ("the machines do not reach Rancher on port 443", "Check route, DNS and security group"),
    "machines": ("AWS has no free machine, or a machine does not reach Rancher on port 443",
                 "Look at the machines of the cluster in Rancher; another zone or preset may have room"),
    "settled": ("Rancher is still changing something on the machines", "Look at the cluster's conditions in Rancher"),
    "catalog": (_MIRRORS, "Check that nodes reach helm.ngc.nvidia.com"),
    "operator": ("Helm waits for another operation, or its pod has no room", "Look at Recent Operations in Rancher"),
    "gpu_labels": ("Node Feature Discovery does not run on the GPU nodes", "Look at the pods in gpu-operator"),
    "policy_ready": ("the driver is being built, or does not build", "Look at the driver pod in gpu-operator"),
    "allocatable": ("a container runtime is restarting, or a GPU is unhealthy", "Look at the device plugin's log"),
    "verify": ("the probe's image is being pulled, or a GPU hangs", "Look at the pods of namespace gpu-cluster-verify"),
    "gate": ("a node that passed is not Ready now", "Look at the node in Rancher"),
    "addons": ("Helm waits for another operation, or an add-on's image cannot be pulled",
               "Look at Apps, Recent Operations in Rancher"),
    "scale_pool": ("AWS has no free machine, or a machine is slow to drain",
                   "Look at the machines of the cluster in Rancher; another zone or preset may have room"),
    "verify_new": ("the probe's image is being pulled, or a GPU hangs",
                   "Look at the pods of namespace gpu-cluster-verify"),
    "gate_new": ("a node that passed is not Ready now", "Look at the node in Rancher"),
    "surge": ("AWS has no free machine of that type", "Look at the machines of the cluster in Rancher"),
    "measure_new": ("the new machine's driver is being built", "Look at the driver pod in namespace gpu-operator"),
    "retire": ("a pod does not leave the old machine",
               "Look at the pods of that node: a disruption budget may hold one"),
    "share": ("Rancher does not take the role", "gpu-cluster doctor says more"),
    "unshare": ("Rancher does not take the role away", "gpu-cluster doctor says more"),
    "forget": ("Rancher does not take the role away", "gpu-cluster doctor says more"),
    "access": ("Rancher does not take the role", "gpu-cluster doctor says more"),
    "remove_cluster": ("the cloud credential may not terminate machines any more",
                       "Check the cloud credential in Rancher; never remove it while a cluster uses it"),
    "no_instances": ("an EC2 machine does not end", "Look at it in the EC2 console: it costs money"),
}  # fmt: skip


@dataclass(frozen=True)
class Stall:
    """`since` world time, `usual_s` and `waited_s` seconds in which the world could be seen."""

    waits_for: str
    since: float
    waited_s: float
    usual_s: float
    likely: str
    action: str


def stall(row: StepRow) -> Stall | None:
    """What there is to say about a step that is late; None for one that is not."""
    clocks = plan.clocks(row.kind)
    if row.state != StepState.RUNNING or row.observed_s <= clocks.stalled_s:
        return None
    likely, action = _cause(row)
    return Stall(row.why, row.started_at or 0.0, row.observed_s, clocks.usual_s, likely, action)


def also(rows: list[StepRow], failed: str) -> tuple[str, ...]:
    """The other troubles of a request that fails, a line each: steps that are late, or that were being refused."""
    lines = []
    for row in rows:
        refused = json.loads(row.facts).get("failures", "{}") != "{}"
        unseen = row.errors > 0
        if row.kind == failed or row.state != StepState.RUNNING or not (refused or unseen or stall(row)):
            continue
        lines.append(f"Also {row.kind.partition('@')[0].replace('_', ' ')}: {row.why or 'no word'}")
    return tuple(lines)


def _cause(row: StepRow) -> tuple[str, str]:
    """What the step itself has found; from what Rancher's planner says, where it says something; else what it usually
    is."""
    facts = json.loads(row.facts)
    if facts.get("likely"):
        return facts["likely"], facts["action"]
    if known := phase(facts.get("planner", "")):
        return known.likely, known.action
    return _USUAL.get(row.kind.partition("@")[0], ("", ""))
