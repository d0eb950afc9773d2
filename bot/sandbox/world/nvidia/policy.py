"""The ClusterPolicy and what the operator writes into it.

"ready" is no proof of a GPU: only the reason ``Reconciled`` is
(NVIDIA/gpu-operator: controllers/clusterpolicy_controller.go, internal/conditions/consts.go).
"""

from __future__ import annotations

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.kinds import CLUSTER_POLICY
from bot.sandbox.world.nvidia.manifests import Manifests, labelled_nodes
from bot.sandbox.world.nvidia.operands import OPERANDS

_NAME = "cluster-policy"
_NFD_LABEL = "feature.node.kubernetes.io/kernel-version.full"
_GPU_LABEL = "nvidia.com/gpu.present"


class Policy:
    """The one ClusterPolicy of a cluster that counts; ``ignored``: there is another, older one."""

    def __init__(self, cluster: Downstream, manifests: Manifests, *, ignored: bool) -> None:
        self._ignored = ignored
        self._cluster = cluster
        self._store = cluster.store
        self._manifests = manifests
        self._due = False
        self._reason = ""

    def install(self) -> None:
        """Helm has applied the CRD and the object."""
        if CLUSTER_POLICY not in self._store.kinds:
            self._store.kinds.append(CLUSTER_POLICY)
        if self._store.find(CLUSTER_POLICY, _NAME) is None:
            self._store.create(CLUSTER_POLICY, {"metadata": {"name": _NAME}, "spec": {}})

    def remove(self) -> None:
        """Helm's uninstall; the CRD stays."""
        self._store.remove(CLUSTER_POLICY, _NAME)
        self._reason = ""

    def review(self) -> None:
        """Something has changed: the operator will look again in a moment."""
        if not self._due:
            self._due = True
            engine = self._cluster.engine
            engine.call_at(engine.now + self._cluster.timings.policy_reconcile, self._reconcile)

    def _reconcile(self) -> None:
        self._due = False
        state, reason, message = self._judge()
        ready = state == "ready"
        now = timestamp(self._cluster.engine.now)
        conditions = [
            {"type": "Ready", "status": str(ready), "reason": reason, "message": message, "lastTransitionTime": now},
            {
                "type": "Error",
                "status": str(not ready),
                "reason": "Ready" if ready else reason,
                "message": "" if ready else message,
                "lastTransitionTime": now,
            },
        ]
        status = {"state": state, "namespace": self._manifests.namespace, "conditions": conditions}
        self._store.edit(CLUSTER_POLICY, _NAME, "", lambda new: new.update(status=status))
        if reason != self._reason:
            self._reason = reason
            self._cluster.record("policy", reason)

    def _judge(self) -> tuple[str, str, str]:
        """State, reason and message."""
        if self._ignored:
            return "ignored", "ReconcileFailed", "only one ClusterPolicy is allowed"
        if not labelled_nodes(self._cluster, _NFD_LABEL):
            return "ready", "NFDLabelsMissing", "No NFD labels found in the cluster"
        if not labelled_nodes(self._cluster, _GPU_LABEL):
            return "ready", "NoGPUNodes", "No GPU node found, watching for new nodes to join the cluster."
        waiting = [
            operand.state
            for operand in OPERANDS
            if self._manifests.desired(operand.name) > self._manifests.count_ready(operand.name)
        ]
        if waiting:
            return "notReady", "OperandNotReady", f"ClusterPolicy is not ready, states not ready: [{' '.join(waiting)}]"
        return "ready", "Reconciled", "ClusterPolicy is ready as all resources have been successfully reconciled"
