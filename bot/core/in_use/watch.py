"""What is wrong with a cluster in use, judged from what one look has seen. Pure: asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.core.cloud import Announcement
from bot.core.in_use import troubles
from bot.core.ports import Node
from bot.core.records import VerdictRow
from bot.core.spec import LABEL_POOL, UNVERIFIED_TAINT, Envelope
from bot.core.verification import first_day
from bot.core.verification.verdict import VERIFIED

WATCH_S = 45.0
"""World seconds between two looks; all clusters have the same moments, so that one snapshot of Rancher serves."""
NOT_READY_S = 300.0
"""A node that is not Ready: kubelets restart, and Kubernetes itself waits five minutes before it evicts
(node.kubernetes.io/not-ready:NoExecute, tolerationSeconds 300)."""
UNREACHABLE_S = 300.0
NO_GPU_S = 1200.0
"""A new node whose driver is still being built: it takes 3 to 5 minutes, and 20 before its own probe gives up."""
SEEN_TWICE_S = 30.0
"""What one answer shows and the next does not, was no trouble."""
SETTLED_S = 60.0
"""The device plugin registers anew when it restarts, and its node has no GPUs meanwhile."""

SPOT_END = "spot"
"""The one event of a spot machine whose id EC2 does not give: that it is taken back. Taint and status mean the same."""
_SPOT_TAINT = "aws-node-termination-handler/spot-itn"
_MAINTENANCE_TAINT = "aws-node-termination-handler/scheduled-maintenance"

NOTICES: Mapping[str, str] = {
    _SPOT_TAINT: "AWS takes this spot machine back within two minutes",
    "aws-node-termination-handler/rebalance-recommendation": "AWS says that this spot machine is likely to go",
    _MAINTENANCE_TAINT: "AWS has scheduled maintenance for this machine",
    "aws-node-termination-handler/asg-lifecycle-termination": "AWS is terminating this machine",
    "node.cloudprovider.kubernetes.io/shutdown": "AWS has shut this machine down",
}
"""Taints by which a node says that AWS is about to take it (aws/aws-node-termination-handler: pkg/node/node.go;
k8s.io/cloud-provider: api/well_known_taints.go)."""

ANNOUNCED: Mapping[str, str] = {
    "marked-for-termination": "AWS takes this spot machine back within two minutes",
    "marked-for-stop": "AWS stops this spot machine within two minutes",
    "instance-reboot": "AWS will restart this machine",
    "system-reboot": "AWS will restart this machine's host",
    "system-maintenance": "AWS has scheduled maintenance of this machine's host",
    "instance-retirement": "AWS retires this machine",
    "instance-stop": "AWS will stop this machine",
}
"""EC2's own words for what will befall a machine; every other code says that a spot machine has been taken."""


@dataclass(frozen=True)
class Finding:
    """Something that is so now. It is told once it has been so for `after_s` world seconds.

    `event` and `due_at` as in `TroubleRow`: what AWS announces is told once an event, and again when it is put off.
    """

    kind: str
    subject: str
    detail: str
    after_s: float
    event: str = ""
    due_at: float | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What of a cluster there is one of."""
        return self.kind, self.subject, self.event


@dataclass(frozen=True)
class Judged:
    """What a look at the nodes comes to. `reopened` must be closed again, `new` measured; `left` have gone and are not
    missed, because the pool has all its machines."""

    findings: tuple[Finding, ...]
    reopened: tuple[Node, ...] = ()
    new: tuple[Node, ...] = ()
    left: tuple[VerdictRow, ...] = ()


def judge(
    nodes: Sequence[Node], rows: Sequence[VerdictRow], order: Envelope, announced: Sequence[Announcement] = ()
) -> Judged:
    """Compare the nodes of an answer with what is known of them, with the order and with what EC2 has announced."""
    named = [a for a in announced if a.cluster == order.name and a.name]
    known = first_day.nodes_of(rows)
    gpu_nodes, wanted = _ours(nodes, order)
    there = {node.uid for node in gpu_nodes}
    vanished = [row for uid, row in known.items() if uid not in there]
    missing = wanted - len(gpu_nodes)
    fresh = [node for node in gpu_nodes if node.uid not in known]
    gone = vanished[: max(missing, 0)]
    findings = [
        *(Finding(troubles.MACHINE_GONE, r.node_uid, _gone(r.node, named), SEEN_TWICE_S) for r in gone),
        *_plain_machines(nodes, order),
        *(found for node in nodes for found in _of_node(node, known.get(node.uid))),
        *(_announced(node, said) for node in nodes for said in _words_on(node, named, announced)),
        *(
            Finding(troubles.NO_GPU, n.uid, f"{n.name} has joined and shows no GPU", NO_GPU_S)
            for n in fresh
            if not n.gpus
        ),
    ]
    return Judged(
        tuple(findings),
        reopened=tuple(n for n in gpu_nodes if order.existing is None and _open(n) and _unproven(known.get(n.uid))),
        new=tuple(node for node in fresh if node.ready and node.gpus),
        left=tuple(row for row in vanished if row not in gone),
    )


def next_look(now: float, every: float = WATCH_S) -> float:
    """The next of the moments that all clusters share."""
    return (now // every + 1) * every


def _ours(nodes: Sequence[Node], order: Envelope) -> tuple[list[Node], int]:
    """The GPU nodes, and how many there should be: by their pools, or by name as the survey found them."""
    if order.existing is not None:
        names = {name for name, _ in order.existing.nodes}
        return [node for node in nodes if node.name in names], len(names)
    pools = {pool.name for pool in order.gpu_pools}
    return [node for node in nodes if _pool(node) in pools], sum(pool.count for pool in order.gpu_pools)


def _of_node(node: Node, row: VerdictRow | None) -> Iterable[Finding]:
    if not node.ready:
        yield Finding(troubles.NOT_READY, node.uid, f"{node.name} is not Ready", NOT_READY_S)
    elif row is not None and row.verdict == VERIFIED and node.gpus < row.gpus:
        said = f"{node.name} hands out {node.gpus} of its {row.gpus} GPUs"
        yield Finding(troubles.SHORT, node.uid, said, SETTLED_S)
    for key, value, _ in node.taints:
        if key in NOTICES:
            event = _event_of_taint(key, value)
            yield Finding(troubles.NOTICE, node.uid, f"{node.name}: {NOTICES[key]}", 0.0, event)


def _event_of_taint(key: str, value: str) -> str:
    """The maintenance taint's value is EC2's id of the event (aws-node-termination-handler: TaintScheduledMaintenance),
    so that the taint and EC2's own word are one."""
    if key == _SPOT_TAINT:
        return SPOT_END
    return value if key == _MAINTENANCE_TAINT and value else key.partition("/")[2]


def _words_on(node: Node, named: Sequence[Announcement], announced: Sequence[Announcement]) -> list[Announcement]:
    """By its id where the node says that; else by the machine's tags, which Rancher's driver sets."""
    by_id = [said for said in announced if node.provider_id.endswith(f"/{said.instance}")]
    return by_id or [said for said in named if said.name == node.name]


def _announced(node: Node, said: Announcement) -> Finding:
    what = ANNOUNCED.get(said.code, "AWS has taken this spot machine back")
    when = f", not before {datetime.fromtimestamp(said.due_at, UTC):%Y-%m-%d %H:%M} UTC" if said.due_at else ""
    detail = f"{node.name}: {what}{when} ({said.instance}: {said.code})"
    return Finding(troubles.NOTICE, node.uid, detail, 0.0, said.event or SPOT_END, said.due_at)


def _gone(name: str, named: Sequence[Announcement]) -> str:
    """What ends a spot machine explains it better than an event that was still to come."""
    said = sorted((a for a in named if a.name == name), key=lambda a: a.event != "")
    because = f": AWS has taken it ({said[0].code})" if said else ""
    return f"{name} is not in the cluster any more{because}"


def _plain_machines(nodes: Sequence[Node], order: Envelope) -> Iterable[Finding]:
    """Control plane and plain workers are not measured, so only their number is known."""
    for pool in order.pools:
        there = sum(_pool(node) == pool.name for node in nodes)
        if not pool.gpu and there < pool.count:
            said = f"{there} of {pool.count} machines of pool {pool.name} are in the cluster"
            yield Finding(troubles.MACHINE_GONE, f"pool:{pool.name}", said, SEEN_TWICE_S)


def _open(node: Node) -> bool:
    return not any(key == UNVERIFIED_TAINT for key, _, _ in node.taints)


def _unproven(row: VerdictRow | None) -> bool:
    return row is None or row.verdict != VERIFIED


def _pool(node: Node) -> str:
    return node.labels.get(LABEL_POOL, "")
