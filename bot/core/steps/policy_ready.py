"""ClusterPolicy is ready, and for the right reason.

It is "ready" too when no node has a GPU or no label exists: only the reason `Reconciled` counts
(gpu-operator: controllers/clusterpolicy_controller.go, internal/conditions/consts.go).
"""

from __future__ import annotations

from bot.core.causes.diagnosis import cause_lines, pod_lines
from bot.core.operator_values import NAMESPACE
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.steps.why import causes as likely_causes

_LATE_S = 600.0
"""A driver builds in 3 to 5 minutes; after this long the pods are asked what is wrong, before anybody asks us."""


_BUILDING_S, _SELDOM_S = 120.0, 30.0
"""No driver is built sooner, so it is asked for less often until then, and while the policy waits for what comes first:
device plugin and validator take most of a minute after it."""
_FIRST = ("state-driver", "state-container-toolkit")
"""States of the operator by their names (gpu-operator: controllers/state_manager.go)."""


class PolicyReady:
    kind = "policy_ready@1"

    def ensure(self, look: Look) -> Outcome:
        policy = look.downstream.policy()
        if policy is None:
            return Wait("the operator has not made its ClusterPolicy yet")
        if policy.state == "ready" and policy.ready and policy.reason == "Reconciled":
            return Done()
        why = f"{policy.reason or policy.state}: {policy.message}" if policy.message else policy.reason
        if look.observed_s > _LATE_S and (
            causes := likely_causes(look, look.downstream.pod_troubles(NAMESPACE), policy)
        ):
            return Wait(f"{causes[0].what}. {causes[0].remedy}", 20.0, progress=why)
        early = look.observed_s < _BUILDING_S or any(state in policy.message for state in _FIRST)
        return Wait(why, _SELDOM_S if early else 10.0)

    def give_up(self, look: Look) -> Fail:
        cluster = look.downstream
        policy = cluster.policy()
        troubles = cluster.pod_troubles(NAMESPACE)
        causes = likely_causes(look, troubles, policy)
        said = f"{policy.reason}: {policy.message}" if policy else "there is no ClusterPolicy"
        return Fail(
            f"The GPU Operator is not ready after {look.observed_s / 60:.0f} minutes: "
            + (causes[0].what if causes else said),
            causes[0].remedy if causes else "Look at the pods of namespace gpu-operator.",
            (f"ClusterPolicy: {said}", *cause_lines(causes), *pod_lines(troubles)),
        )
