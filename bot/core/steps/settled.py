"""Rancher itself calls the cluster done, by its whole rule, and says so several times in a row.

It goes on beside the work on the GPUs: after the first join Rancher changes its mind once more.
"""

from __future__ import annotations

import dataclasses

from bot.core.capacity import placing
from bot.core.capacity.places import going, homes, joined
from bot.core.done_rule import unmet
from bot.core.ports import ClusterView
from bot.core.steps import trouble
from bot.core.steps.base import WATCHED_S, Done, Facts, Fail, Look, Outcome, Wait

_IN_A_ROW = 3
_LEAVING_S = 180.0
"""Seconds that machines of a place that was left have for going; later than that they are no reason to wait."""
_SHORT = "Rancher does not call the cluster ready"


class Settled:
    kind = "settled@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return trouble.missing(look)
        failure, facts = trouble.lasting(look, view, refused=trouble.refused_now(view))
        if failure is not None and (_whole(look) or trouble.final(view)):
            return failure
        if failure is not None:
            return Done(facts, short=f"{_SHORT}: {failure.reason}")
        if missing := unmet(view, _joined(look, view), _machines(look)):
            return _unmet(look, view, missing[0], {**facts, "calm": "0"})
        calm = int(look.own.get("calm", "0")) + 1
        if calm < _IN_A_ROW:
            return Wait(
                "Rancher calls it ready; it is asked again, for it may change its mind", 5.0, {"calm": str(calm)}
            )
        return Done({**facts, "version": look.downstream.version()})

    def give_up(self, look: Look) -> Done | Fail:
        """A cluster that is short of machines may never be whole for Rancher; that is borne and told."""
        view = look.view()
        if view is None:
            return trouble.unseen(look)
        missing = unmet(view, _joined(look, view), _machines(look))
        said = "; ".join(missing) or "it changes its mind all the time"
        if not _whole(look):
            return Done(short=f"{_SHORT}: {said}")
        return Fail(
            f"Rancher did not call the cluster ready in {look.observed_s / 60:.0f} minutes: {said}.",
            "Look at the cluster's conditions in Rancher; its GPUs stay closed until it is.",
            missing,
        )


def _unmet(look: Look, view: ClusterView, missing: str, facts: Facts) -> Outcome:
    """A machine that is being removed keeps Rancher from calling a cluster ready in which everything runs: that of a
    place that gave none, or one that EC2 is slow to end. It is waited for, not for ever."""
    leaving = [machine.name for machine in view.machines if going(machine) or machine.failure]
    runs = view.observed and view.connected and view.ready and not trouble.final(view)
    if not leaving or not runs or _joined(look, view) < _wanted(look):
        return Wait(missing, WATCHED_S, {**facts, "leaving_s": ""}, watched=True)
    since = float(look.own.get("leaving_s") or look.observed_s)
    if look.observed_s - since < _LEAVING_S:
        return Wait(missing, WATCHED_S, {**facts, "leaving_s": repr(since)}, watched=True)
    said = f"everything runs, but Rancher has not removed {', '.join(leaving[:4])} yet: look there, it may cost money"
    return Done({**facts, "version": look.downstream.version()}, short=said)


def _joined(look: Look, view: ClusterView) -> int:
    """Machines of the order that are nodes and stay, in all their places; those of pools that nobody ordered do not
    count, and no pool for another."""
    staying = dataclasses.replace(view, machines=tuple(m for m in view.machines if not going(m)))
    return sum(min(pool.count, joined(staying, homes(look.order, pool))) for pool in look.order.pools)


def _wanted(look: Look) -> int:
    """Machines that must run: where some were given up, those that the step `machines` has kept."""
    plain = sum(pool.count for pool in look.order.pools if pool != look.order.sized_pool)
    placed = look.facts.get("machines", {}).get("placing")
    if _whole(look) or not placed:
        return plain + look.order.sized_pool.count
    return plain + sum(placing.from_json(placed).sizes.values())


def _whole(look: Look) -> bool:
    """Whether every machine that was ordered has joined, as the step `machines` saw it."""
    return bool(look.facts.get("machines", {}).get("all"))


def _machines(look: Look) -> int:
    """How many machines must be nodes. Where some were given up, how many is no longer a question."""
    return sum(pool.count for pool in look.order.pools) if _whole(look) else 0
