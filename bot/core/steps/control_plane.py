"""The control plane and the first worker answer: the cluster agent is connected and /version comes back."""

from __future__ import annotations

from bot.core.ports import ClusterView
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class ControlPlane:
    """Rancher's own `ready` comes too early for this (rancher/rancher: provisioningv2/cluster/controller.go)."""

    kind = "control_plane@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return Fail(
                f"The cluster {look.order.name} has disappeared from Rancher while it was being made.",
                "Somebody may have deleted it there. Check EC2 for machines of that name, then ask again.",
            )
        if view.deleting:
            return Fail("Somebody deletes the cluster in Rancher.", "Ask again when it is gone.")
        workers = [m for pool in look.order.pools if pool.worker and not pool.gpu for m in view.pool(pool.name)]
        if not view.connected or not any(m.node for m in workers):
            return Wait(view.message or "machines are starting", progress=_started(look, view))
        return Done({"version": look.downstream.version()})

    def give_up(self, look: Look) -> Fail:
        view = look.view()
        message = view.message if view else "it is not there"
        return Fail(
            f"The control plane did not answer in {look.observed_s / 60:.0f} minutes. Rancher says: {message}.",
            "Machines must reach Rancher on port 443 and the package mirrors: check subnet, route and security group.",
            tuple(f"{m.name}: {m.phase}: {m.message}" for m in (view.machines if view else ())),
        )


def _started(look: Look, view: ClusterView) -> str:
    wanted = sum(pool.count for pool in look.order.pools)
    return f"{sum(m.created for m in view.machines)} of {wanted} machines started"
