"""A pool of a cluster that is there gets another size.

Bigger: until every new machine has joined; when EC2 refuses, the pool goes back to its size and only the new machines
go. Smaller: the machines that nobody needs go first; Rancher would take the oldest (Cluster API's own order), so they
are marked before the size is lowered. Machine configs are not touched: an edit would replace every node of the pool.
"""

from __future__ import annotations

import json

from bot.core.changes import Scale, change_from_json
from bot.core.diagnosis import aws_words, ec2_cause
from bot.core.ports import ClusterView, MachineView
from bot.core.spec import UNVERIFIED_TAINT, Pool
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait

ENOUGH_FAILURES = 3


class ScalePool:
    """Facts: `before` the machines and `nodes` the GPU nodes at the start; `leaving` those chosen to go; `failures`."""

    kind = "scale_pool@1"

    def ensure(self, look: Look) -> Outcome:
        if _others_at_work(look):
            return Wait("the change before this one is being stopped", 2.0)
        view = look.outside.rancher.observe(look.order.name, newer_than=float(look.own.get("written_real", "0")))
        if view is None:
            return _gone(look)
        pool = _pool(look)
        if "before" not in look.own:
            return _begun(look, view, pool)
        if "undo" in look.own:
            return _undone(look, pool)
        if "written_real" not in look.own:
            leaving = tuple(json.loads(look.own["leaving"]))
            look.outside.rancher.scale_pool(look.order.name, pool.name, pool.count, first=leaving)
            return Wait(f"Rancher has the new size of pool {pool.name}", 2.0, {"written_real": repr(look.clock.real())})
        return _awaited(look, view, pool)

    def give_up(self, look: Look) -> Done | Fail:
        view = look.outside.rancher.observe(look.order.name, newer_than=0.0)
        pool = _pool(look)
        if view is None or "before" not in look.own:
            return _gone(look)
        if _smaller(look):
            return Fail(
                f"Rancher has not removed the machines of pool {pool.name} in {look.observed_s / 60:.0f} minutes.",
                "Look at the machines of the cluster in Rancher: they cost money until they are gone.",
                tuple(f"{m.name}: {m.phase}: {m.message}" for m in view.pool(pool.name)),
            )
        joined = sum(bool(machine.node) for machine in view.pool(pool.name))
        why = f"{joined} of {pool.count} {pool.name} machines joined in {look.observed_s / 60:.0f} minutes."
        return Fail(why, "Look at the machines of the cluster in Rancher.")


def take_back(look: Look) -> str:
    """Before a failure is told: a bigger pool gets its old size again and keeps its old machines, so that nothing is
    bought later unseen. Returns what to say of it; raises `WorldError`s."""
    before: list[str] | None = json.loads(look.facts.get("scale_pool", {}).get("before", "null"))
    if before is None or _smaller(look):
        return ""
    view = look.outside.rancher.observe(look.order.name, newer_than=0.0)
    machines = view.pool(_change(look).pool) if view is not None else ()
    new = tuple(machine.name for machine in machines if machine.name not in before)
    look.outside.rancher.scale_pool(look.order.name, _change(look).pool, _change(look).was, first=new)
    return f"Pool {_change(look).pool} is back at {_change(look).was}; the cluster is as it was."


def _begun(look: Look, view: ClusterView, pool: Pool) -> Wait:
    """Remember how it was, and choose what goes, one look before anything is changed."""
    machines = view.pool(pool.name)
    surplus = len(machines) - pool.count if _smaller(look) else 0
    leaving = [machine.name for machine in _least_needed(look, machines)[: max(surplus, 0)]]
    return Wait(
        f"about to change pool {pool.name}",
        0.0,
        {
            "before": json.dumps([machine.name for machine in machines]),
            "nodes": json.dumps([node.uid for node in look.gpu_nodes()]),
            "leaving": json.dumps(leaving),
        },
    )


def _awaited(look: Look, view: ClusterView, pool: Pool) -> Outcome:
    machines = view.pool(pool.name)
    if _smaller(look):
        leaving = set(json.loads(look.own["leaving"]))
        left = [machine.name for machine in machines if machine.name in leaving]
        if left or len(machines) > pool.count:
            going = len(left) or len(machines) - pool.count
            return Wait(f"{going} machines are going: {', '.join(left[:4])}", 5.0, watched=True)
        return Done({"removed": ", ".join(sorted(leaving))})
    failures = _remembered(look, machines)
    facts = {"failures": json.dumps(failures)}
    if len(failures) >= ENOUGH_FAILURES:
        return Wait(f"EC2 does not start machines for pool {pool.name}", 0.0, {**facts, "undo": "yes"})
    joined = sum(bool(machine.node) for machine in machines)
    if joined >= pool.count and len(machines) <= pool.count:
        return Done(facts)
    said = f"EC2 refused {len(failures)} of at most {ENOUGH_FAILURES} tries" if failures else "waiting for EC2"
    told = f"{joined} of {pool.count} {pool.name} machines joined"
    return Wait(f"{said} for pool {pool.name}", WATCHED_S, facts, told, watched=True)


def _undone(look: Look, pool: Pool) -> Fail:
    words = list(json.loads(look.own["failures"]).values())
    cause = ec2_cause(words[-1])
    return Fail(
        f"EC2 refused to start a {pool.instance_type} {len(words)} times: {aws_words(words[-1])}",
        cause.remedy if cause else "See AWS's own words.",
        tuple(dict.fromkeys(aws_words(text) for text in words)),
    )


def _least_needed(look: Look, machines: tuple[MachineView, ...]) -> list[MachineView]:
    """Those that never joined first, then the unverified, then the idle; among equals the youngest name last known."""
    nodes = {node.name: node for node in look.downstream.nodes()}
    in_use = look.downstream.gpus_in_use()

    def needed(machine: MachineView) -> tuple[bool, bool, int, str]:
        node = nodes.get(machine.node)
        verified = node is not None and all(key != UNVERIFIED_TAINT for key, _, _ in node.taints)
        return (
            bool(machine.node),
            verified and node is not None and node.ready,
            in_use.get(machine.node, 0),
            machine.name,
        )

    return sorted(machines, key=needed)


def _others_at_work(look: Look) -> bool:
    """Whether a look at a request that was cancelled may still be changing the pool."""
    return any(r.id != look.request.id and r.lease_until_real > look.clock.real() for r in look.requests)


def _remembered(look: Look, machines: tuple[MachineView, ...]) -> dict[str, str]:
    """Failures by machine uid, those seen before as well: Rancher wipes the evidence within a minute."""
    known: dict[str, str] = json.loads(look.own.get("failures", "{}"))
    return known | {machine.uid: machine.failure[-1500:] for machine in machines if machine.failure}


def _change(look: Look) -> Scale:
    change = change_from_json(look.request.kind, look.request.spec)
    if not isinstance(change, Scale):
        raise TypeError(look.request.id)
    return change


def _pool(look: Look) -> Pool:
    return next(pool for pool in look.order.pools if pool.name == _change(look).pool)


def _smaller(look: Look) -> bool:
    change = _change(look)
    return change.machines < change.was


def _gone(look: Look) -> Fail:
    return Fail(
        f"Rancher does not show the cluster {look.order.name} any more.",
        "Look for it in Rancher and for its EC2 machines; somebody may have deleted it there.",
    )
