"""What holds for every step: which answers are waited for, and what must be stopped before a failure is told."""

from __future__ import annotations

import dataclasses
import logging

from bot.core import plan
from bot.core.ports import Busy, Refused, Temporary, WorldError
from bot.core.steps import trouble
from bot.core.steps.base import Fail, Look, Outcome, Step, Wait

log = logging.getLogger(__name__)

_REFUSED_LOOK_S = 20.0
_LOST_AFTER = 4
"""Looks in a row without an answer after which Rancher is asked whether the cluster is still there."""


def ensured(step: Step, look: Look) -> Outcome:
    """What the step found. *Not yet* and *not allowed* are answers: the world could be observed, the clock goes on.

    A right that is missing, or a token that has expired, is waited for as long as the step may take: a person can
    mend it, and the machines are there already.
    """
    try:
        return step.ensure(look)
    except Busy as busy:
        return Wait(busy.reason)
    except Refused as refused:
        if look.observed_s > plan.clocks(look.row.kind).give_up_s:
            return Fail(refused.reason, refused.remedy)
        return Wait(f"{refused.reason} {refused.remedy}".strip(), _REFUSED_LOOK_S)
    except Temporary:
        if (look.row.errors >= _LOST_AFTER or look.own.get("missing_at")) and (lost := _lost(look)) is not None:
            return lost
        raise


def _lost(look: Look) -> Fail | Wait | None:
    """What lies behind a cluster that does not answer: whether Rancher still has it."""
    if look.envelope is None or "management_id" not in look.facts.get("cluster_object", {}):
        return None
    try:
        view = look.view()
    except Refused:
        return None
    if view is None:
        return trouble.missing(look)
    if view.deleting:
        return Fail("Somebody deletes the cluster in Rancher.", "Ask again when it is gone.")
    if look.own.get("missing_at"):
        return Wait("Rancher shows the cluster again", facts={"missing_at": ""})
    return None


def stop_buying(look: Look, failure: Fail) -> Fail | Wait:
    """A create that fails must not leave Rancher buying machines for it, for ever and unseen.

    Before the failure is told, every pool that is short is held; the step `machines` does that for itself. What
    cannot be held, however long one waits, is told with the failure.
    """
    facts = look.facts
    ordered = "written_real" in facts.get("cluster_object", {})
    if (
        look.row.kind.startswith("machines@")
        or look.envelope is None
        or not ordered
        or facts.get("machines", {}).get("all")
    ):
        return failure
    try:
        _hold_short_pools(look)
    except WorldError as error:
        waits = isinstance(error, Refused) and look.observed_s <= plan.clocks(look.row.kind).give_up_s
        if waits or isinstance(error, Temporary):
            return Wait(f"{failure.reason} Before this ends its machine pools are stopped: {error.reason}", 10.0)
        return _buys_on(failure, error.reason)
    except Exception:
        log.exception("the pools of %s could not be held", look.request.id)
        return _buys_on(failure, "something in the bot broke")
    return failure


def _hold_short_pools(look: Look) -> None:
    view = look.view()
    if view is None:
        return
    for pool in look.order.pools:
        machines = view.pool(pool.name)
        if sum(bool(machine.node) for machine in machines) < pool.count:
            empty = not any(machine.created for machine in machines)
            look.outside.rancher.hold_pool(look.order.name, pool.name, empty=empty)


def _buys_on(failure: Fail, why: str) -> Fail:
    remedy = f"{failure.remedy} Rancher may go on buying machines for this cluster: delete it."
    diagnosis = (*failure.diagnosis, f"Its machine pools could not be stopped: {why}")
    return dataclasses.replace(failure, remedy=remedy, diagnosis=diagnosis)
