"""What Rancher says is wrong with a cluster, believed once it has lasted; and a cluster that it does not show."""

from __future__ import annotations

import json

from bot.core import planner
from bot.core.ports import ClusterView
from bot.core.spec import LABEL_REQUEST
from bot.core.steps.base import Facts, Fail, Look, Wait

_ERROR_S = 180.0
"""An error passes while machines come and go; terraform-provider-rancher2 tolerates it for a grace time, too."""
_FINAL_S = 60.0
"""Stalled and a lost etcd are said for good; a minute lets a controller take it back."""
_GONE_S = 300.0
_CHILDLESS_S = 120.0

CALM: Facts = {"trouble_s": "", "missing_at": ""}
"""Facts of a step that sees nothing wrong."""


def lasting(look: Look, view: ClusterView) -> tuple[Fail | None, Facts]:
    """A failure when Rancher has complained for long enough, in the seconds in which it could be seen; and the facts by
    which a step remembers since when. EC2's refusals are left to the step `machines`, which knows what to do then."""
    lost = "already initialized but no etcd machines exist" in view.message
    refused = any(m.failure for m in view.machines) or _refused(look)
    if not (lost or view.stalled or (view.error and not refused)):
        return None, CALM
    since = float(look.own.get("trouble_s") or look.observed_s)
    facts = {**CALM, "trouble_s": repr(since)}
    patience = _FINAL_S if lost or view.stalled else _ERROR_S
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
    """Rancher answers 404 for the cluster. Missing is not gone: it is believed when it is said twice, five minutes of
    world time apart, and EC2 has no machine of this request left. Until then we cannot see it, and it may cost."""
    name, now = look.order.name, look.clock.now()
    first = float(look.own.get("missing_at") or now)
    facts = {"missing_at": repr(first)}
    if now - first < _GONE_S:
        why = f"cannot see the cluster {name} in Rancher: asked again, for five minutes, before it is believed gone"
        return Wait(why, 30.0, facts)
    left = look.outside.cloud.instances(LABEL_REQUEST, look.request.id)
    if left:
        machines = ", ".join(instance.id for instance in left[:4]) + ("…" if len(left) > 4 else "")
        why = f"cannot see the cluster {name} in Rancher, but EC2 still has {len(left)} of its machines ({machines})"
        return Wait(f"{why}: they cost money", 60.0, facts)
    return Fail(
        f"The cluster {name} has disappeared from Rancher while it was being made.",
        "Somebody may have deleted it there. EC2 has no machine of it left; ask again.",
        facts=facts,
    )


def unseen(look: Look) -> Fail:
    """The time of a step is over and Rancher still does not show the cluster, though EC2 has, or may have, machines."""
    return Fail(
        f"Rancher does not show the cluster {look.order.name} any more: {look.row.why or 'it answers 404'}.",
        "Find out who deleted it; its EC2 machines cost money until they are terminated: see gpu-cluster orphans.",
    )


def _refused(look: Look) -> bool:
    return bool(json.loads(look.facts.get("machines", {}).get("failures", "{}")))
