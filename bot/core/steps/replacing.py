"""Another machine in the place of a bad one: the new one first where there is room, then exactly the bad one goes.

The pool is never larger than what was approved, which is one more than the order where AWS has room for it. Until the
new machine has passed, the bad one stays closed for new work; whatever fails, the pool goes back to its size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from bot.core.capacity import placing
from bot.core.capacity.places import home_of, homes, sizes, to_try
from bot.core.causes.diagnosis import aws_words
from bot.core.changes import Replace, change_from_json
from bot.core.costs import ledger
from bot.core.ports import ClusterView, MachineView, Node
from bot.core.spec import UNVERIFIED_TAINT, Pool
from bot.core.steps.base import WATCHED_S, Done, Facts, Fail, Look, Outcome, Wait
from bot.core.steps.remeasure import measuring_for
from bot.core.verification.measuring import give_up, measured
from bot.core.verification.verdict import VERIFIED, NodeResult, judge, report_to_json


class Surge:
    """A machine that was not there before has joined. What was there is remembered before anything is changed.

    Facts: `before` the machines that had joined; `was` the sizes of all the places at the start, `pool` the one that is
    changes, `wanted` the sizes until the new machine has passed; `bad` the machine that goes, '' where it has gone.
    """

    kind = "surge@1"

    def ensure(self, look: Look) -> Outcome:
        view = _view(look)
        if view is None:
            return Wait("Rancher does not show the cluster", watched=True)
        if "before" not in look.own:
            _close(look)
            return Wait("a new machine is ordered", 1.0, _chosen(look, view))
        if "ordered" not in look.own:
            _order(look)
            return Wait("EC2 is asked for a machine", 5.0, {"ordered": "yes", "written_real": repr(look.clock.real())})
        before, machines = json.loads(look.own["before"]), view.pool(look.own["pool"])
        joined = [m for m in machines if m.node and m.name not in before]
        if joined:
            return Done({"machine": joined[0].name, "node": joined[0].node})
        failures = json.loads(look.own["failures"])
        failures |= {m.uid: m.failure for m in machines if m.failure}
        policy = look.catalogue.policy
        late = failures and look.observed_s > policy.place_minutes * 60
        if len(failures) >= policy.tries_per_place or late:
            return _without(look, view, f"EC2 has no machine for it: {aws_words(list(failures.values())[-1])}")
        facts = {"failures": json.dumps(failures)}
        patience = placing.patience_s(policy)
        return Wait("waiting for the new machine to join", WATCHED_S, facts, patience_s=patience, watched=True)

    def give_up(self, look: Look) -> Done | Fail:
        view = _view(look)
        if view is None or "before" not in look.own:
            return Fail(
                "Rancher does not show the cluster any more.", "Look for it in Rancher and for its EC2 machines."
            )
        return _without(look, view, "the new machine has not joined in time")


class MeasureNew:
    """The new node passes the gate as any other: measured, then opened."""

    kind = "measure_new@1"

    def ensure(self, look: Look) -> Outcome:
        facts = dict(look.own)
        node = _new_node(look)
        if node is None or not node.ready or not node.gpus:
            return Wait("the driver is being set up on the new machine", 10.0, facts)
        measuring = measuring_for(look, look.catalogue.probe_image.level)
        if why := measuring.look(measuring.see(look.downstream, [node], facts), node, facts, look.clock.now()):
            return Wait(why, 10.0, facts)
        result = measured(facts)[0]
        if result.verdict != VERIFIED:
            return _failed_too(look, "; ".join(result.reasons), {**facts, **_report(look, result)})
        look.downstream.remove_taint(node.name, UNVERIFIED_TAINT)
        return Done({**facts, **_report(look, result)})

    def give_up(self, look: Look) -> Done | Fail:
        facts = dict(look.own)
        node = _new_node(look)
        give_up(facts, [node] if node is not None else [], look.expected, look.row.why)
        return _failed_too(look, look.row.why)


class Retire:
    """The bad machine, and no other, has gone: it is marked before the pool shrinks."""

    kind = "retire@1"

    def ensure(self, look: Look) -> Outcome:
        view = _view(look)
        if view is None:
            return Wait("Rancher does not show the cluster", watched=True)
        bad = _bad(look, view)
        if bad is None:
            return Done()
        if "marked" not in look.own:
            look.outside.rancher.mark_machine(bad.name)
            look.size_pools(_sizes(look, "was"))
            return Wait("the bad machine is being removed", 5.0, {"marked": "yes", "written_real": _real(look)})
        return Wait("the bad machine is being drained and removed", 10.0, watched=True)

    def give_up(self, look: Look) -> Fail:
        return Fail(
            "The new machine works, but Rancher has not removed the bad one yet, and it costs money.",
            "Look at the machine in Rancher: a pod that may not be evicted holds it up, or its credential is refused.",
        )


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


def _bad(look: Look, view: ClusterView) -> MachineView | None:
    """The machine to be replaced, wherever it stands; None where it has gone, or never was."""
    node = _target(look).node
    return next((m for m in view.machines if node and m.node == node), None)


def _close(look: Look) -> None:
    """No new work for the bad node. One of its name with another UID is another node and stays as it is."""
    target = _target(look)
    if any(node.uid == target.uid for node in look.gpu_nodes()):
        look.downstream.add_taint(target.node, UNVERIFIED_TAINT)


def _chosen(look: Look, view: ClusterView) -> Facts:
    """What is there, and what it is to come to: one more in the pool of the bad machine where that is approved, else
    the same number; what is missing is asked for where machines stand."""
    bad = _bad(look, view)
    ordered = home_of(look.order, bad.pool) if bad is not None else _short(look, view)
    places = homes(look.order, ordered or look.order.sized_pool)
    was = sizes(view, places)
    before = ledger.envelope_of(look.requests, before=look.request.id) or look.order
    approved = next(pool.count for pool in before.pools if pool.name == places[0].name)
    if bad is not None:
        changed, more = bad.pool, int(places[0].count > approved)
        wanted = {**was, changed: was[changed] + more}
    else:
        changed = to_try(look.order, places[0], view)[0].name
        wanted = {**was, changed: was[changed] + max(approved - sum(was.values()), 0)}
    return {
        "before": json.dumps([m.name for m in view.machines if m.node]),
        "failures": "{}",
        "was": json.dumps(was),
        "wanted": json.dumps(wanted),
        "pool": changed,
        "bad": bad.name if bad is not None else "",
    }


def _short(look: Look, view: ClusterView) -> Pool | None:
    """The GPU pool of which machines are missing."""
    before = ledger.envelope_of(look.requests, before=look.request.id) or look.order
    return next((p for p in before.gpu_pools if sum(sizes(view, homes(before, p)).values()) < p.count), None)


def _order(look: Look) -> None:
    look.size_pools(_sizes(look, "wanted"))
    if look.own["bad"] and not _surges(look):
        look.outside.rancher.remove_machine(look.own["bad"])


def _surges(look: Look) -> bool:
    """Whether the new machine is one more, for the time being."""
    return bool(_facts(look)["bad"]) and _sizes(look, "wanted") != _sizes(look, "was")


def _sizes(look: Look, which: str) -> dict[str, int]:
    wanted: dict[str, int] = json.loads(_facts(look)[which])
    return wanted


def _facts(look: Look) -> Facts:
    """What the first step has chosen."""
    return look.facts["surge"]


def _without(look: Look, view: ClusterView, why: str) -> Fail:
    """No new machine: the pool goes back to its size, and what had begun goes first."""
    before, was, changed = json.loads(look.own["before"]), _sizes(look, "was"), look.own["pool"]
    if _surges(look):
        for machine in view.pool(changed):
            if machine.name not in before:
                look.outside.rancher.mark_machine(machine.name)
        lost = "The bad machine is still there, closed for new work; nothing was lost."
    elif look.own["bad"]:
        was = {**was, changed: max(was[changed] - 1, 0)}
        lost = "The bad machine is gone; the cluster has one machine fewer now."
    else:
        lost = "The cluster is as it was."
    look.size_pools(was)
    return Fail(f"No machine could be had in its place: {why}. {lost}", "Try again later with Replace, or delete it.")


def _failed_too(look: Look, why: str, facts: Facts | None = None) -> Fail:
    """The new machine is no better: it goes again, where it was one more."""
    machine = look.facts["surge"]["machine"]
    if _surges(look):
        look.outside.rancher.mark_machine(machine)
        look.size_pools(_sizes(look, "was"))
    return Fail(
        f"The new machine did not pass either: {why}",
        "Try again with Replace: AWS may give another machine.",
        facts=facts,
    )


def _new_node(look: Look) -> Node | None:
    name = look.facts["surge"]["node"]
    return next((node for node in look.gpu_nodes() if node.name == name), None)


def _report(look: Look, result: NodeResult) -> dict[str, str]:
    return {
        "report": report_to_json(judge([result], result.expected)),
        "level": look.catalogue.probe_image.level,
    }


def _real(look: Look) -> str:
    return repr(look.clock.real())
