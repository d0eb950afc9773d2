"""What holds for every step: which answers are waited for, and what must be stopped before a failure is told."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

from bot.core import plan
from bot.core.capacity import placing
from bot.core.capacity.places import gpu_places, to_keep
from bot.core.causes.denial import denied_by
from bot.core.ports import Busy, Permanent, Refused, Temporary, WorldError
from bot.core.records import Kind
from bot.core.steps import trouble
from bot.core.steps.base import Fail, Look, Outcome, Step, Wait
from bot.core.steps.scale_pool import take_back

log = logging.getLogger(__name__)

_REFUSED_LOOK_S = 20.0
_PATIENCE_S = {"verify@2": 1800.0, "gate@2": 1800.0}
"""World seconds for which such a step waits for a cluster that does not answer: it holds up every other change."""
_LOST_AFTER = 4
"""Looks in a row without an answer after which Rancher is asked whether the cluster is still there."""


def ensured(step: Step, look: Look) -> Outcome:
    """What the step found. *Not yet* and *not allowed* are answers: the world could be observed, the clock goes on.

    A right that is missing is waited for as long as the step may take: a person can mend it, and the machines are
    there already. While Rancher refuses the bot's token nothing can be observed, so no clock goes on.
    """
    try:
        if look.own.get("reopen"):
            return _reopened(look)
        return step.ensure(look)
    except Busy as busy:
        return Wait(busy.reason)
    except Permanent as refused:
        if denied := denied_by(refused.reason):
            return denied
        if not isinstance(refused, Refused):
            raise
        if look.observed_s > plan.clocks(look.row.kind).give_up_s:
            return Fail(refused.reason, refused.remedy)
        return Wait(f"{refused.reason} {refused.remedy}".strip(), _REFUSED_LOOK_S)
    except Temporary as error:
        patience = _PATIENCE_S.get(look.row.kind, float("inf"))
        if look.clock.now() - (look.row.started_at or look.clock.now()) > patience:
            remedy = f"/gpu-cluster status {look.cluster.name}; try again once it answers."
            return Fail(f"The cluster did not answer for {patience / 60:.0f} minutes: {error.reason}", remedy)
        if (look.row.errors >= _LOST_AFTER or look.own.get("missing_at")) and (lost := _lost(look)) is not None:
            return lost
        raise


def _reopened(look: Look) -> Wait:
    """The failure that came before this retry has stopped the pools that were short: they go on, where the step
    `machines` had them last. Where it is that step that failed, it finds out for itself where GPU machines stand."""
    if look.envelope is not None and "written_real" in look.facts.get("cluster_object", {}):
        sizes = {pool.name: pool.count for pool in look.order.pools if pool != look.order.sized_pool}
        if not look.row.kind.startswith("machines@"):
            ordered = look.order.sized_pool
            placed = look.facts.get("machines", {}).get("placing")
            sizes |= placing.from_json(placed).sizes if placed else {ordered.name: ordered.count}
        look.size_pools(sizes)
    return Wait("trying again", 1.0, {"reopen": ""})


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
    if look.request.kind == Kind.SCALE:
        return _stopped(look, failure, take_back)
    facts = look.facts
    ordered = "written_real" in facts.get("cluster_object", {})
    if (
        look.row.kind.startswith("machines@")
        or look.envelope is None
        or not ordered
        or facts.get("machines", {}).get("all")
    ):
        return failure
    return _stopped(look, failure, _hold_short_pools)


def _stopped(look: Look, failure: Fail, stop: Callable[[Look], str]) -> Fail | Wait:
    try:
        said = stop(look)
    except WorldError as error:
        waits = isinstance(error, Refused) and look.observed_s <= plan.clocks(look.row.kind).give_up_s
        if waits or isinstance(error, Temporary):
            return Wait(f"{failure.reason} Before this ends its machine pools are stopped: {error.reason}", 10.0)
        return _buys_on(failure, error.reason)
    except Exception:
        log.exception("the pools of %s could not be held", look.request.id)
        return _buys_on(failure, "something in the bot broke")
    return dataclasses.replace(failure, remedy=f"{failure.remedy} {said}") if said else failure


def _hold_short_pools(look: Look) -> str:
    view = look.view()
    if view is None:
        return ""
    pools = (*look.order.pools, *gpu_places(look.order))
    most = {pool.name: min(pool.count, to_keep(view.pool(pool.name))) for pool in pools}
    look.outside.rancher.trim_pools(look.order.name, most)
    return ""


def _buys_on(failure: Fail, why: str) -> Fail:
    remedy = f"{failure.remedy} Rancher may go on buying machines for this cluster: delete it."
    diagnosis = (*failure.diagnosis, f"Its machine pools could not be stopped: {why}")
    return dataclasses.replace(failure, remedy=remedy, diagnosis=diagnosis)
