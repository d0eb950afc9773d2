"""Rancher itself calls the cluster done, by its whole rule, and says so several times in a row.

It goes on beside the work on the GPUs: after the first join Rancher changes its mind once more.
"""

from __future__ import annotations

from bot.core.done_rule import unmet
from bot.core.steps import trouble
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait

_IN_A_ROW = 3


class Settled:
    kind = "settled@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return trouble.missing(look)
        failure, facts = trouble.lasting(look, view)
        if failure is not None and _whole(look):
            return failure
        if missing := unmet(view, _machines(look)):
            return Wait(missing[0], WATCHED_S, {**facts, "calm": "0"}, watched=True)
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
        missing = unmet(view, _machines(look))
        said = "; ".join(missing) or "it changes its mind all the time"
        if not _whole(look):
            return Done(short=f"Rancher does not call the cluster ready: {said}")
        return Fail(
            f"Rancher did not call the cluster ready in {look.observed_s / 60:.0f} minutes: {said}.",
            "Look at the cluster's conditions in Rancher; its GPUs stay closed until it is.",
            missing,
        )


def _whole(look: Look) -> bool:
    """Whether every machine that was ordered has joined, as the step `machines` saw it."""
    return bool(look.facts.get("machines", {}).get("all"))


def _machines(look: Look) -> int:
    """How many machines must be nodes. Where some were given up, how many is no longer a question."""
    return sum(pool.count for pool in look.order.pools) if _whole(look) else 0
