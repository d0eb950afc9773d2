"""Node Feature Discovery has seen a GPU on every GPU node, and the operator has marked it."""

from __future__ import annotations

from bot.core.causes.diagnosis import NO_DEVICE, cause_lines
from bot.core.operator_values import NAMESPACE
from bot.core.ports import Node
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.steps.why import borne
from bot.core.steps.why import causes as likely_causes

# The operator accepts any of the three (gpu-operator: controllers/state_manager.go).
_PCI_LABELS = tuple(f"feature.node.kubernetes.io/pci-{form}.present" for form in ("10de", "0302_10de", "0300_10de"))
_PRESENT = "nvidia.com/gpu.present"
_SETTLED_S = 180.0
"""NFD rescans every 60 s: a node without the label after three scans has no GPU that PCI can see."""


class GpuLabels:
    kind = "gpu_labels@1"

    def ensure(self, look: Look) -> Outcome:
        nodes = look.gpu_nodes()
        bare = [node for node in nodes if not marked(node)]
        if nodes and not bare:
            return Done()
        if len(bare) < len(nodes) and look.observed_s > _SETTLED_S:
            names = ", ".join(node.name for node in bare)
            short = f"no GPU on the PCI bus of {names}"
            return Done(borne(look, short), short=short)
        unseen = [node for node in bare if not seen(node)]
        if unseen:
            return Wait(f"Node Feature Discovery has found no GPU yet on {len(unseen)} of {len(nodes)} GPU nodes")
        return Wait("the operator is marking the GPU nodes")

    def give_up(self, look: Look) -> Fail:
        causes = likely_causes(look, look.downstream.pod_troubles(NAMESPACE), look.downstream.policy())
        unseen = [node for node in look.gpu_nodes() if not seen(node)]
        if unseen and (not causes or causes[0].code == NO_DEVICE):
            return Fail(
                f"No GPU is on the PCI bus of {', '.join(n.name for n in unseen)} (label {_PCI_LABELS[0]} is missing).",
                "Check that Node Feature Discovery runs there; if it does, the machine is faulty or of a wrong type: "
                "delete the cluster and ask again.",
                cause_lines(causes),
            )
        return Fail(
            f"The GPU nodes never got the label {_PRESENT}" + (f": {causes[0].what}." if causes else "."),
            causes[0].remedy if causes else "Look at the log of the gpu-operator pod in namespace gpu-operator.",
            cause_lines(causes),
        )


def seen(node: Node) -> bool:
    """Whether NFD found an NVIDIA device on the node's PCI bus."""
    return any(node.labels.get(label) == "true" for label in _PCI_LABELS)


def marked(node: Node) -> bool:
    """Whether NFD saw the GPU and the operator took the node on."""
    return seen(node) and node.labels.get(_PRESENT) == "true"
