"""Another machine in the place of a bad one: the new one first where there is room, then exactly the bad one goes.

The pool is never larger than what was approved, which is one more than the order where AWS has room for it. Until the
new machine has passed, the bad one stays closed for new work; whatever fails, the pool goes back to its size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from bot.core.changes import Replace, change_from_json
from bot.core.diagnosis import aws_words
from bot.core.measuring import give_up, measured
from bot.core.ports import ClusterView, MachineView, Node
from bot.core.spec import UNVERIFIED_TAINT
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait
from bot.core.steps.remeasure import measuring_for
from bot.core.verdict import VERIFIED, NodeResult, judge, report_to_json


class Surge:
    """A machine that was not there before has joined. What was there is remembered before anything is changed."""

    kind = "surge@1"

    def ensure(self, look: Look) -> Outcome:
        view = _view(look)
        if view is None:
            return Wait("Rancher does not show the cluster", watched=True)
        machines = view.pool(look.gpu_pool.name)
        if "before" not in look.own:
            _close(look)
            before = [m.name for m in machines if m.node]
            return Wait("a new machine is ordered", 1.0, {"before": json.dumps(before), "failures": "{}"})
        if "ordered" not in look.own:
            _order(look, machines)
            return Wait("EC2 is asked for a machine", 5.0, {"ordered": "yes", "written_real": repr(look.clock.real())})
        before = json.loads(look.own["before"])
        joined = [m for m in machines if m.node and m.name not in before]
        if joined:
            return Done({"machine": joined[0].name, "node": joined[0].node})
        failures = json.loads(look.own["failures"])
        failures |= {m.uid: m.failure for m in machines if m.failure}
        if len(failures) >= look.catalogue.policy.tries_per_place:
            return _without(look, machines, f"EC2 has no machine for it: {aws_words(list(failures.values())[-1])}")
        return Wait("waiting for the new machine to join", WATCHED_S, {"failures": json.dumps(failures)}, watched=True)

    def give_up(self, look: Look) -> Done | Fail:
        view = _view(look)
        machines = view.pool(look.gpu_pool.name) if view is not None else ()
        return _without(look, machines, "the new machine has not joined in time")


class MeasureNew:
    """The new node passes the gate as any other: measured, then opened."""

    kind = "measure_new@1"

    def ensure(self, look: Look) -> Outcome:
        facts = dict(look.own)
        node = _new_node(look)
        if node is None or not node.ready or not node.gpus:
            return Wait("the driver is being set up on the new machine", 10.0, facts)
        level = look.catalogue.probe_image.level
        if why := measuring_for(look, level).look(look.downstream, node, facts, look.clock.now()):
            return Wait(why, 10.0, facts)
        result = measured(facts)[0]
        if result.verdict != VERIFIED:
            return _failed_too(look, "; ".join(result.reasons))
        look.downstream.remove_taint(node.name, UNVERIFIED_TAINT)
        return Done({**facts, **_report(look, result)})

    def give_up(self, look: Look) -> Done | Fail:
        facts = dict(look.own)
        node = _new_node(look)
        give_up(facts, [node] if node is not None else [], lambda _: look.order.gpu, look.row.why)
        return _failed_too(look, look.row.why)


class Retire:
    """The bad machine, and no other, has gone: it is marked before the pool shrinks."""

    kind = "retire@1"

    def ensure(self, look: Look) -> Outcome:
        view = _view(look)
        if view is None:
            return Wait("Rancher does not show the cluster", watched=True)
        bad = _bad(look, view.pool(look.gpu_pool.name))
        if bad is None:
            return Done()
        if "marked" not in look.own:
            rancher = look.outside.rancher
            rancher.mark_machine(bad.name)
            rancher.resize_pool(look.cluster.name, look.gpu_pool.name, machines_ordered(look))
            return Wait("the bad machine is being removed", 5.0, {"marked": "yes", "written_real": _real(look)})
        return Wait("the bad machine is being drained and removed", 10.0, watched=True)

    def give_up(self, look: Look) -> Fail:
        return Fail(
            "The new machine works, but Rancher has not removed the bad one yet, and it costs money.",
            "Look at the machine in Rancher: a pod that may not be evicted holds it up, or its credential is refused.",
        )


def machines_ordered(look: Look) -> int:
    """GPU machines of the order, without the one more that is allowed while one is replaced."""
    return math.ceil(look.order.gpus / look.order.gpu.count)


def _surges(look: Look) -> bool:
    return look.gpu_pool.count > machines_ordered(look)


def _target(look: Look) -> Replace:
    change = change_from_json(look.request.kind, look.request.spec)
    if not isinstance(change, Replace):
        raise TypeError(change)
    return change


def _view(look: Look) -> ClusterView | None:
    """Never older than our last write."""
    writes: list[Mapping[str, str]] = [look.own, *look.facts.values()]
    written = max(float(facts.get("written_real", "0")) for facts in writes)
    return look.outside.rancher.observe(look.cluster.name, newer_than=written)


def _bad(look: Look, machines: tuple[MachineView, ...]) -> MachineView | None:
    """The machine to be replaced; None where it has gone, or never was."""
    node = _target(look).node
    return next((m for m in machines if node and m.node == node), None)


def _close(look: Look) -> None:
    """No new work for the bad node. One of its name with another UID is another node and stays as it is."""
    target = _target(look)
    if any(node.uid == target.uid for node in look.gpu_nodes()):
        look.downstream.add_taint(target.node, UNVERIFIED_TAINT)


def _order(look: Look, machines: tuple[MachineView, ...]) -> None:
    rancher, pool, bad = look.outside.rancher, look.gpu_pool.name, _bad(look, machines)
    more = bad is not None and _surges(look)
    rancher.resize_pool(look.cluster.name, pool, machines_ordered(look) + more)
    if bad is not None and not more:
        rancher.remove_machine(bad.name)


def _without(look: Look, machines: tuple[MachineView, ...], why: str) -> Fail:
    """No new machine: the pool goes back to its size, and what had begun goes first."""
    before = json.loads(look.own.get("before", "[]"))
    rancher, pool = look.outside.rancher, look.gpu_pool.name
    if _surges(look):
        for machine in machines:
            if machine.name not in before:
                rancher.mark_machine(machine.name)
        rancher.resize_pool(look.cluster.name, pool, machines_ordered(look))
        lost = "The bad machine is still there, closed for new work; nothing was lost."
    else:
        rancher.resize_pool(look.cluster.name, pool, max(machines_ordered(look) - 1, 0))
        lost = "The bad machine is gone; the cluster has one machine fewer now."
    return Fail(f"No machine could be had in its place: {why}. {lost}", "Try again later with Replace, or delete it.")


def _failed_too(look: Look, why: str) -> Fail:
    """The new machine is no better: it goes again, where it was one more."""
    machine = look.facts["surge"]["machine"]
    if _surges(look):
        look.outside.rancher.mark_machine(machine)
        look.outside.rancher.resize_pool(look.cluster.name, look.gpu_pool.name, machines_ordered(look))
    return Fail(
        f"The new machine did not pass either: {why}",
        "Try again with Replace: AWS may give another machine.",
    )


def _new_node(look: Look) -> Node | None:
    name = look.facts["surge"]["node"]
    return next((node for node in look.gpu_nodes() if node.name == name), None)


def _report(look: Look, result: NodeResult) -> dict[str, str]:
    return {
        "report": report_to_json(judge([result], look.order.gpu.count)),
        "level": look.catalogue.probe_image.level,
    }


def _real(look: Look) -> str:
    return repr(look.clock.real())
