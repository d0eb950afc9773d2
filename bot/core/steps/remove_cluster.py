"""The cluster is gone from Rancher: 404 twice, and its management object as well."""

from __future__ import annotations

from bot.core.ports import Foreign
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait

_ABSENT_LOOKS = 2


class RemoveCluster:
    kind = "remove_cluster@1"

    def ensure(self, look: Look) -> Outcome:
        others = [r for r in look.requests if r.id != look.request.id and r.lease_until_real > look.clock.real()]
        if others:
            # A look at the superseded request may still be making things: wait until its lease is over.
            return Wait("the work on this cluster is being stopped", 2.0)
        rancher, name = look.outside.rancher, look.cluster.name
        started = look.clock.real()
        try:
            rancher.delete_cluster(name, tuple(r.id for r in look.requests))
        except Foreign:
            return Done({"note": "a cluster of this name exists in Rancher and is not ours; it was left alone"})
        view = rancher.observe(name, newer_than=started)
        if view is not None:
            return Wait(view.message or "Rancher is removing the machines", 5.0, {"absent": "0"})
        absent = int(look.own.get("absent", "0")) + 1
        mid = look.cluster.management_id
        if absent < _ABSENT_LOOKS or (mid and not rancher.management_cluster_gone(mid)):
            return Wait("Rancher says it is gone; looking once more", 5.0, {"absent": str(absent)})
        return Done()

    def give_up(self, look: Look) -> Fail:
        view = look.outside.rancher.observe(look.cluster.name, newer_than=0.0)
        return Fail(
            f"Rancher has not removed the cluster in {look.observed_s / 60:.0f} minutes. "
            f"It says: {view.message if view and view.message else look.row.why}.",
            "Check the cloud credential in Rancher and the machines in EC2 (they cost money until they are gone), then "
            f"/gpu-cluster delete {look.cluster.name} again.",
            tuple(f"{m.name}: {m.message}" for m in (view.machines if view else ())),
        )
