"""The provisioning cluster with its three machine pools, and Rancher's own id for it."""

from __future__ import annotations

from bot.core.steps.base import Done, Fail, Look, Outcome, Wait


class ClusterObject:
    kind = "cluster_object@1"

    def ensure(self, look: Look) -> Outcome:
        written = look.own.get("written_real")
        if written is None:
            look.outside.rancher.ensure_cluster(look.order, look.request.id)
            return Wait("Rancher has the order", 2.0, {"written_real": repr(look.clock.real())})
        view = look.view()
        if view is None:
            return Wait("Rancher has not stored the cluster yet", 2.0, {}, watched=True)
        if not view.management_id:
            return Wait(view.message or "Rancher is making its own records of the cluster", 5.0, watched=True)
        return Done({"management_id": view.management_id, "written_real": written})

    def give_up(self, look: Look) -> Fail:
        return Fail(
            f"Rancher took the order, but made nothing of it: {look.row.why}.",
            "Look at the cluster in Rancher and at Rancher's own log; delete it with /gpu-cluster delete "
            f"{look.order.name} and ask again.",
        )
