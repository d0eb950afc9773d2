"""The cluster is gone from Rancher: 404 twice, and its management object as well."""

from __future__ import annotations

from bot.core.ports import ClusterView, Foreign
from bot.core.records import RequestState
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait
from bot.core.steps.held_up import held_up

_ABSENT_LOOKS = 2

_LEASE_S = 30.0
"""Real seconds. An order whose answer was lost may still be on its way to Rancher for as long as a look may last."""


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
        # An old snapshot can only show a cluster that has gone meanwhile: that it is gone, Rancher is asked by its id.
        view = rancher.observe(name, newer_than=0.0)
        if view is not None:
            return _removing(look, view)
        absent = int(look.own.get("absent", "0")) + 1
        first = float(look.own.get("absent_real", "0")) if absent > 1 else started
        mid = look.cluster.management_id
        too_soon = _may_still_come(look) and started - first < _LEASE_S
        if absent < _ABSENT_LOOKS or too_soon or (mid and not rancher.management_cluster_gone(mid)):
            facts = {"absent": str(absent), "absent_real": repr(first)}
            return Wait("Rancher says it is gone; looking once more", 5.0, facts)
        return Done()

    def give_up(self, look: Look) -> Fail:
        view = look.outside.rancher.observe(look.cluster.name, newer_than=0.0)
        if view is not None and (hold := held_up(look, view)) is not None:
            return Fail(
                f"{hold.what}. They cost money until they are gone.",
                f"{hold.action}. Then /gpu-cluster delete {look.cluster.name} again.",
                hold.evidence or tuple(f"{m.name}: {m.message or m.phase}" for m in view.machines),
            )
        return Fail(
            f"Rancher has not removed the cluster in {look.observed_s / 60:.0f} minutes. "
            f"It says: {view.message if view and view.message else look.row.why}.",
            "Check the cloud credential in Rancher and the machines in EC2 (they cost money until they are gone), then "
            f"/gpu-cluster delete {look.cluster.name} again.",
            tuple(f"{m.name}: {m.message}" for m in (view.machines if view else ())),
        )


def _removing(look: Look, view: ClusterView) -> Wait:
    """Rancher is at it. What holds it up is told once, and once more when it goes on."""
    before = look.own.get("likely", "")
    hold = held_up(look, view)
    if hold is None:
        tell = "Rancher goes on removing the machines" if before else ""
        facts = {"absent": "0", "likely": "", "action": ""}
        return Wait(view.message or "Rancher is removing the machines", WATCHED_S, facts, tell=tell, watched=True)
    tell = f"{hold.what}. They cost money until they are gone. {hold.action}"
    facts = {"absent": "0", "likely": hold.likely, "action": hold.action}
    return Wait(hold.what, WATCHED_S, facts, tell="" if before == hold.likely else tell, watched=True)


def _may_still_come(look: Look) -> bool:
    """Whether the delete cut a create short, whose order for the cluster may arrive late."""
    return any(request.state == RequestState.CANCELLED for request in look.requests)
