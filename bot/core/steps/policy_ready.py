"""ClusterPolicy is ready, and for the right reason.

It is "ready" too when no node has a GPU or no label exists: only the reason `Reconciled` counts
(gpu-operator: controllers/clusterpolicy_controller.go, internal/conditions/consts.go).
"""

from __future__ import annotations

from bot.core.diagnosis import operand_causes, pod_lines
from bot.core.operator_values import NAMESPACE
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class PolicyReady:
    kind = "policy_ready@1"

    def ensure(self, look: Look) -> Outcome:
        policy = look.downstream.policy()
        if policy is None:
            return Wait("the operator has not made its ClusterPolicy yet")
        if policy.state == "ready" and policy.ready and policy.reason == "Reconciled":
            return Done()
        return Wait(f"{policy.reason or policy.state}: {policy.message}" if policy.message else policy.reason)

    def give_up(self, look: Look) -> Fail:
        cluster = look.downstream
        policy = cluster.policy()
        troubles = cluster.pod_troubles(NAMESPACE)
        causes = operand_causes(troubles)
        said = f"{policy.reason}: {policy.message}" if policy else "there is no ClusterPolicy"
        return Fail(
            f"The GPU Operator is not ready after {look.observed_s / 60:.0f} minutes: "
            + (causes[0].what if causes else said),
            causes[0].remedy if causes else "Look at the pods of namespace gpu-operator.",
            (f"ClusterPolicy: {said}", *(cause.what for cause in causes[1:]), *pod_lines(troubles)),
        )
