"""The control plane and the first worker answer: the cluster agent is connected and /version comes back."""

from __future__ import annotations

from bot.core.causes.planner import phase, sentence
from bot.core.ports import ClusterView
from bot.core.steps import trouble
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait


class ControlPlane:
    """Rancher's own `ready` comes too early for this (rancher/rancher: provisioningv2/cluster/controller.go)."""

    kind = "control_plane@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return trouble.missing(look)
        if view.deleting:
            return Fail("Somebody deletes the cluster in Rancher.", "Ask again when it is gone.")
        failure, facts = trouble.lasting(look, view, refused=trouble.refused(look, view))
        if failure is not None:
            return failure
        workers = [m for pool in look.order.pools if pool.worker and not pool.gpu for m in view.pool(pool.name)]
        if not view.connected or not any(m.node for m in workers):
            why = trouble.childless(look, view) or sentence(view.message) or "machines are starting"
            return Wait(why, WATCHED_S, {**facts, "planner": view.message[:300]}, _started(look, view), watched=True)
        return Done({"version": look.downstream.version()})

    def give_up(self, look: Look) -> Fail:
        view = look.view()
        if view is None:
            return trouble.unseen(look)
        known = phase(view.message)
        likely = f"{known.action}." if known else "Check subnet, route and security group."
        return Fail(
            f"The control plane did not answer in {look.observed_s / 60:.0f} minutes. "
            f"Rancher says: {view.message or view.state or 'nothing'}.",
            f"{likely} Machines must reach Rancher on port 443 and the package mirrors.",
            tuple(f"{m.name}: {m.phase}: {m.message}" for m in view.machines),
        )


def _started(look: Look, view: ClusterView) -> str:
    wanted = sum(pool.count for pool in look.order.pools)
    return f"{sum(m.created for m in view.machines)} of {wanted} machines started"
