"""Kubernetes can hand out as many GPUs as were ordered; fewer, after a while, are borne and show in the verdict."""

from __future__ import annotations

from bot.core.causes.diagnosis import cause_lines, pod_lines
from bot.core.operator_values import NAMESPACE
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait
from bot.core.steps.why import borne
from bot.core.steps.why import causes as likely_causes

_SETTLED_S = 180.0


class Allocatable:
    kind = "allocatable@1"
    settled_s = _SETTLED_S

    def ensure(self, look: Look) -> Outcome:
        nodes = look.gpu_nodes()
        there, wanted = sum(node.gpus for node in nodes), look.gpus_wanted
        waking = [node.name for node in nodes if node.gpus and not node.ready]
        if there >= wanted and not waking:
            return Done()
        if there and not waking and look.observed_s > self.settled_s:
            short = f"{there} of {wanted} GPUs can be handed out"
            return Done(borne(look, short), short=short)
        if waking:
            return Wait(f"{', '.join(waking)} is not Ready: the container runtime is being restarted")
        return Wait(f"{there} of {wanted} GPUs can be handed out", progress=f"{there} of {wanted} GPUs")

    def give_up(self, look: Look) -> Fail:
        nodes = look.gpu_nodes()
        there = sum(node.gpus for node in nodes)
        troubles = look.downstream.pod_troubles(NAMESPACE)
        causes = likely_causes(look, troubles, look.downstream.policy())
        lost = [
            f"{n.name}: {n.gpu_capacity - n.gpus} GPU(s) marked unhealthy" for n in nodes if n.gpu_capacity > n.gpus
        ]
        return Fail(
            f"{there} of the {look.gpus_wanted} GPUs can be handed out by Kubernetes"
            + (f": {causes[0].what}." if causes else "."),
            causes[0].remedy if causes else "Look at the device plugin's log in namespace gpu-operator.",
            (*cause_lines(causes), *lost, *pod_lines(troubles)),
        )


class AllocatableAgain(Allocatable):
    """In a cluster that has grown: no step before this one waits for the driver of the new machines."""

    kind = "allocatable@2"
    settled_s = 900.0
