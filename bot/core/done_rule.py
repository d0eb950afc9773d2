"""When a cluster of Rancher's is done: every condition at once, for its own `ready` comes early and never goes back.

rancher/rancher: pkg/controllers/provisioningv2 (updateStatus); rancher/shepherd: IsProvisioningClusterReady. A
condition that is absent is not one that holds.
"""

from __future__ import annotations

from bot.core.causes.planner import sentence
from bot.core.ports import ClusterView

ACTIVE = "active"


def unmet(view: ClusterView, joined: int, machines: int) -> tuple[str, ...]:
    """What is missing, the most telling first; empty when everything holds. Of the order's `machines`, so many have
    `joined`: others that the cluster has do not stand in for them."""
    missing = (
        (not view.observed, "Rancher has not looked at the present order yet"),
        (view.error, f"Rancher reports an error: {view.message or view.state}"),
        (view.updated is not True, sentence(view.message) or "Rancher has not said that the cluster is up to date"),
        (joined < machines, f"{joined} of {machines} machines are nodes"),
        (not view.connected, "the cluster's agent is not connected to Rancher"),
        (not view.ready, "Rancher does not call the cluster ready yet"),
        (
            view.transitioning or view.state != ACTIVE,
            f"its state in Rancher is {view.state or 'not known'}"
            + (f": {sentence(view.message)}" * bool(view.message)),
        ),
    )
    return tuple(dict.fromkeys(what for lacks, what in missing if lacks))
