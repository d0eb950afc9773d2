"""More machines than were approved: somebody raised a pool, or something made machines twice. Told and corrected
downwards, never upwards."""

from __future__ import annotations

from collections.abc import Mapping

from bot.core.ports import ClusterView, MachineView, WorldError
from bot.core.spec import LABEL_REQUEST
from bot.core.steps.base import Look

_GOING = ("Deleting", "Deleted", "Failed")
_ALIVE = ("pending", "running")


def trimmed(look: Look, view: ClusterView, gpu_sizes: Mapping[str, int]) -> str:
    """What was too large and has been lowered, '' where nothing was. Rancher is asked only where the view is odd."""
    most = {pool.name: pool.count for pool in look.order.pools if pool != look.order.sized_pool} | dict(gpu_sizes)
    there = [machine for machine in view.machines if not _going(machine)]
    if all(sum(m.pool == name for m in there) <= most.get(name, 0) for name in {m.pool for m in there}):
        return ""
    lowered = look.outside.rancher.trim_pools(look.order.name, most)
    if not lowered:
        return ""
    return f"more machines were wanted than approved; lowered: {'; '.join(lowered)}. Somebody changed them in Rancher"


def more_in_ec2(look: Look) -> str:
    """An alarm where EC2 runs more machines of this request than were approved, '' where not or where AWS is silent."""
    approved = sum(pool.count for pool in look.order.pools)
    try:
        machines = look.outside.cloud.instances(LABEL_REQUEST, look.request.id)
    except WorldError:
        return ""
    alive = [machine for machine in machines if machine.state in _ALIVE]
    if len(alive) <= approved:
        return ""
    listed = ", ".join(f"{machine.id} ({machine.name}, {machine.type})" for machine in alive)
    return (
        f"EC2 runs {len(alive)} machines of this request and {approved} were approved; they cost money: {listed}. "
        "Compare them with the machines in Rancher, and terminate those that it does not know"
    )


def _going(machine: MachineView) -> bool:
    return machine.phase in _GOING or bool(machine.failure)
