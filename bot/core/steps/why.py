"""Why GPUs do not appear: pods, warnings, labels and the ClusterPolicy, compared with the catalogue of failures."""

from __future__ import annotations

from collections.abc import Sequence

from bot.core.diagnosis import (
    Cause,
    cause_of,
    node_signals,
    operand_causes,
    pod_signals,
    policy_signals,
    recognise,
)
from bot.core.ports import PodTrouble, PolicyView
from bot.core.steps.base import Look


def causes(look: Look, troubles: Sequence[PodTrouble], policy: PolicyView | None) -> tuple[Cause, ...]:
    """The likeliest root first; where no mode fits, what the pods say in general."""
    nodes = node_signals(look.gpu_nodes(), look.observed_s)
    findings = recognise((*pod_signals(troubles), *policy_signals(policy), *nodes))
    return tuple(map(cause_of, findings)) or operand_causes(troubles)
