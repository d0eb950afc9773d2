"""What Rancher says is wrong with a cluster, believed once it has lasted; and a cluster that it does not show."""

from __future__ import annotations

import json

from bot.core.absence import absence
from bot.core.causes import planner
from bot.core.ports import ClusterView
from bot.core.spec import LABEL_REQUEST
from bot.core.steps.base import Facts, Fail, Look, Wait

_ERROR_S = 180.0
"""An error passes while machines come and go; terraform-provider-rancher2 tolerates it for a grace time, too."""
_FINAL_S = 60.0
"""Stalled and a lost etcd are said for good; a minute lets a controller take it back."""
_CHILDLESS_S = 120.0

CALM: Facts = {"trouble_s": "", "missing_at": ""}
"""Facts of a step that sees nothing wrong."""


def lasting(look: Look, view: ClusterView, *, refused: bool) -> tuple[Fail | None, Facts]:
    """A failure when Rancher has complained for long enough, in the seconds in which it could be seen; and the facts by
    which a step remembers since when. An error beside machines that EC2 `refused` is left to the step `machines`, which
    knows what to do then."""
    lost = _lost(view)
    if not (final(view) or (view.error and not refused)):
        return None, CALM
    since = float(look.own.get("trouble_s") or look.observed_s)
    facts = {**CALM, "trouble_s": repr(since)}
    patience = _FINAL_S if final(view) else _ERROR_S
    if look.observed_s - since < patience:
        return None, facts
    said = view.stalled or view.message or view.state
    known = planner.phase(said)
    reason = f"Rancher cannot make the cluster: {said}" if not lost else f"{planner.sentence(said).capitalize()}."
    remedy = f"{known.action}." if known else "Mend what it names, delete the cluster and ask again."
    evidence = tuple(f"{m.name}: {m.phase}: {m.message or 'no word'}" for m in view.machines)
    return Fail(reason, remedy, (*((f"Rancher's own words: {said}",) if lost else ()), *evidence), facts), facts


def childless(look: Look, view: ClusterView) -> str:
    """Rancher took the order and makes no machine of it: it says why in its own log only. '' while there is time."""
    if view.machines or look.observed_s < _CHILDLESS_S or not any(pool.count for pool in look.order.pools):
        return ""
    return (
        f"Rancher has made no machine in {look.observed_s / 60:.0f} minutes"
        + (f" ({planner.sentence(view.message)})" if view.message else "")
        + ". A pool or its machine config is likely not acceptable: look at Rancher's own log"
    )


def missing(look: Look) -> Wait | Fail:
    """Rancher answers 404 for the cluster: see `absence`."""
    first = float(look.own.get("missing_at") or look.clock.now())
    facts, cloud = {"missing_at": repr(first)}, look.outside.cloud
    found = absence(look.order.name, first, look.clock.now(), lambda: cloud.instances(LABEL_REQUEST, look.home))
    if not found.gone:
        return Wait(found.why, 60.0 if found.left else 30.0, facts)
    return Fail(
        f"The cluster {look.order.name} has disappeared from Rancher while it was being made.",
        "Somebody may have deleted it there. EC2 has no machine of it left; ask again.",
        facts=facts,
    )


def unseen(look: Look) -> Fail:
    """The time of a step is over and Rancher still does not show the cluster, though EC2 has, or may have, machines."""
    return Fail(
        f"Rancher does not show the cluster {look.order.name} any more: {look.row.why or 'it answers 404'}.",
        "Find out who deleted it; its EC2 machines cost money until they are terminated: see gpu-cluster orphans.",
    )


def final(view: ClusterView) -> bool:
    """Whether Rancher says that it will come to nothing, whatever happens next."""
    return bool(view.stalled) or _lost(view)


def refused(look: Look, view: ClusterView) -> bool:
    """Whether EC2 refuses machines of the order, or has done so while they were being made."""
    remembered = json.loads(look.facts.get("machines", {}).get("failures", "{}"))
    return bool(remembered) or refused_now(view)


def refused_now(view: ClusterView) -> bool:
    """Whether a machine shows that EC2 has refused it."""
    return any(machine.failure for machine in view.machines)


def _lost(view: ClusterView) -> bool:
    return "already initialized but no etcd machines exist" in view.message
