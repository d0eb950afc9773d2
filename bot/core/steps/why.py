"""Why GPUs do not appear: pods, warnings, labels and the ClusterPolicy, compared with the catalogue of failures."""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.causes.diagnosis import (
    Cause,
    Signal,
    cause_lines,
    cause_of,
    node_signals,
    operand_causes,
    plugin_signals,
    pod_signals,
    policy_signals,
    recognise,
)
from bot.core.operator_values import NAMESPACE
from bot.core.ports import Foreign, Node, PodTrouble, PolicyView, Temporary
from bot.core.steps.base import Facts, Look

PLUGIN = "nvidia-device-plugin-daemonset"
_PLUGIN_LINES, _PLUGIN_PODS = 200, 6


def causes(look: Look, troubles: Sequence[PodTrouble], policy: PolicyView | None) -> tuple[Cause, ...]:
    """The likeliest root first; where no mode fits, what the pods say in general."""
    nodes = look.gpu_nodes()
    labels = node_signals(nodes, look.observed_s)
    findings = recognise((*pod_signals(troubles), *policy_signals(policy), *labels, *_plugin(look, nodes)))
    return tuple(map(cause_of, findings)) or operand_causes(troubles)


def borne(look: Look, there: str) -> Facts:
    """Facts of a step that goes on with less than was ordered: `there` says what is short, and its causes follow."""
    found = causes(look, look.downstream.pod_troubles(NAMESPACE), look.downstream.policy())
    return {"causes": "\n".join((*cause_lines(found), there))}


def _plugin(look: Look, nodes: Sequence[Node]) -> tuple[Signal, ...]:
    """The device plugin's log, where it has taken GPUs back."""
    if not any(node.gpu_capacity > node.gpus for node in nodes):
        return ()
    try:
        return plugin_signals(look.downstream.pod_logs(NAMESPACE, (PLUGIN,), _PLUGIN_LINES, _PLUGIN_PODS))
    except (Temporary, Foreign):
        return ()  # the log only adds to what is known
