"""What Rancher's planner says while it makes a cluster, as sentences, with the usual cause where one of them lasts.

Texts: rancher/rancher: pkg/capr/planner/{planner,messages,store,initnode}.go. They carry machine names and change
between releases, so they are found by their beginnings and parts, and what is not known is told as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """Where the planner is. `says` for people; `likely` the usual cause where it lasts, `action` what to do then."""

    key: str
    says: str
    likely: str
    action: str


_EC2 = (
    "EC2 gives no machine, or the machines do not reach Rancher",
    "Look at the machines of the cluster in Rancher and in EC2, and at the cloud credential",
)
_AGENT = (
    "the machine does not reach Rancher on port 443, or its cloud-init has not run",
    "Check the subnet's route out, the security group and the AMI's cloud-init (EC2 console, system log)",
)
_IMAGES = (
    "the machine does not reach the package and image mirrors, or is too small",
    "Check the route to docker.io and the mirrors, and journalctl -u rancher-system-agent on the machine",
)
_PROBES = (
    "a component does not start: images that cannot be pulled, ports closed between the machines, or a full disk",
    "Look at journalctl -u rke2-server on the machine; the security group must let its members reach each other",
)
_CLUSTER_AGENT = (
    "the cattle-cluster-agent pod does not reach Rancher, or does not trust its certificate",
    "Look at the log of cattle-cluster-agent in cattle-system; check DNS and RANCHER's server-url and CA",
)
_BY_HAND = ("somebody works on the cluster in Rancher", "Ask whoever administers Rancher")
_RANCHER = ("Rancher's own controllers are behind, or have lost the cluster", "Look at Rancher's own log")

# The first that is found counts: what stops everything stands before what is merely under way.
_TABLE: tuple[tuple[str, str, str, tuple[str, str]], ...] = (
    (r"already initialized but no etcd machines exist", "etcd-lost",
     "every etcd machine is gone: the cluster's data is lost",
     ("the control plane's machines were deleted in Rancher or EC2",
      "Delete the cluster and ask again, or restore an etcd snapshot in Rancher")),
    (r"is paused", "paused", "Rancher has paused the cluster", _BY_HAND),
    (r"KDM release data is empty", "no-release", "Rancher does not know this Kubernetes version",
     ("Rancher's version list is out of date, or cannot be loaded", "Choose another version of Kubernetes")),
    (r"failing [\w ]*machine\(s\)", "failing-machine", "a machine has failed", _EC2),
    (r"non-ready [\w ]*machine\(s\)", "unready-machine", "a machine is not ready", _AGENT),
    (r"CAPI cluster does not exist", "accepted", "Rancher has the order and is making its own records", _RANCHER),
    (r"waiting for infrastructure ready", "infrastructure", "Rancher is preparing the machines", _RANCHER),
    (r"waiting for at least one control plane, etcd, and worker node", "registering",
     "machines are starting; Rancher waits until one of every role has registered", _EC2),
    (r"waiting for viable init node", "init-node", "Rancher is choosing the first control-plane machine", _EC2),
    (r"waiting for cluster agent to connect", "cluster-agent",
     "the control plane runs; its agent is connecting to Rancher",
     _CLUSTER_AGENT),
    (r"waiting for agent to check in", "agent", "a machine runs; its agent has not asked Rancher for work yet", _AGENT),
    (r"waiting for plan to be applied", "plan", "Kubernetes is being installed on a machine", _IMAGES),
    (r"waiting for probes: (?P<probes>[\w ,-]+?)(?= and |$)", "probes",
     "Kubernetes is starting; not ready yet: {probes}", _PROBES),
    (r"join url to be available", "join-url", "the first control-plane machine is nearly up", _PROBES),
    (r"waiting for control plane to be available|marking control plane as initialized", "control-plane",
     "the control plane is nearly up", _PROBES),
    (r"configuring etcd node", "etcd", "etcd machines are joining", _PROBES),
    (r"configuring control plane node", "control-plane-nodes", "control-plane machines are joining", _PROBES),
    (r"configuring worker node|waiting for kubelet to update", "workers", "workers are joining", _AGENT),
    (r"^draining|^uncordoning", "draining", "Rancher is replacing machines one by one",
     ("a pod that may not be evicted holds a machine", "Look at the pod disruption budgets of the cluster")),
    (r"waiting for machine \[[^\]]*\] to delete", "removing-machine", "a machine is being removed",
     ("AWS or the cloud credential does not let Rancher terminate it", "Check Rancher's cloud credential")),
    (r"waiting for cluster-api cluster", "removing-cluster", "Rancher is removing its own records", _RANCHER),
    (r"machine must be deleted manually", "removal-failed", "Rancher could not remove a machine",
     ("the cloud credential was removed or refused", "Mend the cloud credential in Rancher, then delete again")),
)  # fmt: skip


def phase(message: str) -> Phase | None:
    """What a message of the planner means; None for one that is not known."""
    for pattern, key, says, (likely, action) in _TABLE:
        if found := re.search(pattern, message):
            return Phase(key, says.format(**found.groupdict()), likely, action)
    return None


def sentence(message: str) -> str:
    """The message in plain words; as it is where it is not known, '' for none."""
    known = phase(message)
    return known.says if known else message
