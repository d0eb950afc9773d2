"""A pool of a cluster that is there gets another size.

Bigger: until every new machine has joined. GPU machines are asked for where some stand already; what EC2 refuses there
is asked for in the next approved place, as with a create, and when every place has refused, the pools go back to their
sizes and only the new machines go. Smaller: the machines that nobody needs go first, wherever they stand; Rancher would
take the oldest (Cluster API's own order), so they are marked before the sizes are lowered. Sizes are written down one
look before Rancher is told. Machine configs are not touched: an edit would replace every node of the pool.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

from bot.core.capacity import placing
from bot.core.capacity.places import going, homes, joined, sizes, to_try, where
from bot.core.capacity.placing import LEAVING, Placing
from bot.core.causes.diagnosis import aws_words, ec2_cause
from bot.core.changes import Scale, change_from_json
from bot.core.ports import ClusterView, MachineView
from bot.core.spec import UNVERIFIED_TAINT, Pool
from bot.core.steps.base import WATCHED_S, Done, Fail, Look, Outcome, Wait
from bot.core.steps.turn import Turn, known, with_new


class ScalePool:
    """Facts: `before` the machines, `was` the sizes and `nodes` the GPU nodes at the start; `leaving` those chosen to
    go; `places` the pools to try, in their order; `placing` how far it has come; `failures` by pool and machine."""

    kind = "scale_pool@1"

    def ensure(self, look: Look) -> Outcome:
        if _others_at_work(look):
            return Wait("the change before this one is being stopped", 2.0)
        at = placing.from_json(look.own["placing"]) if "placing" in look.own else None
        if at is not None and not at.asked:
            return _tell_rancher(look, at)
        view = look.outside.rancher.observe(look.order.name, newer_than=at.written if at else 0.0)
        if view is None:
            return _gone(look)
        if at is None:
            return _begun(look, view)
        return _shrunk(look, view, at) if _smaller(look) else _grown(_growth(look, view, at))

    def give_up(self, look: Look) -> Done | Fail:
        view = look.outside.rancher.observe(look.order.name, newer_than=0.0)
        if view is None or "placing" not in look.own:
            return _gone(look)
        pool = _pool(look)
        machines = [m for home in homes(look.order, pool) for m in view.pool(home.name)]
        if _smaller(look):
            return Fail(
                f"Rancher has not removed the machines of pool {pool.name} in {look.observed_s / 60:.0f} minutes.",
                "Look at the machines of the cluster in Rancher: they cost money until they are gone.",
                tuple(f"{m.name}: {m.phase}: {m.message}" for m in machines),
            )
        there = sum(bool(machine.node) for machine in machines)
        why = f"{there} of {pool.count} {pool.name} machines joined in {look.observed_s / 60:.0f} minutes."
        return Fail(why, "Look at the machines of the cluster in Rancher.")


def take_back(look: Look) -> str:
    """Before a failure is told: what got bigger gets its old sizes again and keeps its old machines, so that nothing is
    bought later unseen. Returns what to say of it; raises `WorldError`s."""
    facts = look.facts.get("scale_pool", {})
    if "was" not in facts or _smaller(look):
        return ""
    before, was = set(json.loads(facts["before"])), json.loads(facts["was"])
    view = look.outside.rancher.observe(look.order.name, newer_than=0.0)
    pool = _pool(look)
    for home in homes(look.order, pool) if view is not None else ():
        for machine in view.pool(home.name) if view is not None else ():
            if machine.name not in before:
                look.outside.rancher.mark_machine(machine.name)
    look.size_pools(was)
    return f"Pool {pool.name} is back at {sum(was.values())}; the cluster is as it was."


def _begun(look: Look, view: ClusterView) -> Wait:
    """Remember how it was, and choose what changes, one look before anything does."""
    pool = _pool(look)
    places = homes(look.order, pool)
    was, now = sizes(view, places), look.clock.now()
    facts = {
        "before": json.dumps([machine.name for place in places for machine in view.pool(place.name)]),
        "was": json.dumps(was),
        "nodes": json.dumps([node.uid for node in look.gpu_nodes()]),
    }
    if _smaller(look):
        machines = [machine for place in places for machine in view.pool(place.name) if not going(machine)]
        surplus = max(sum(was.values()) - pool.count, 0)
        leaving = _least_needed(look, machines)[:surplus]
        less = Counter(machine.pool for machine in leaving)
        wanted = {name: max(size - less[name], 0) for name, size in was.items()}
        at = Placing(wanted, now, asked=False)
        facts["leaving"] = json.dumps([machine.name for machine in leaving])
    else:
        tried = to_try(look.order, pool, view)
        missing = max(pool.count - sum(was.values()), 0)
        at = Placing(was, now).try_place(0, tried[0], missing, now)
        facts["places"] = json.dumps([place.name for place in tried])
    return Wait(f"about to change pool {pool.name}", 0.0, {**facts, "placing": at.to_json()})


def _tell_rancher(look: Look, at: Placing) -> Wait:
    """Do what an earlier look has written down."""
    look.must_be_wanted()
    for machine in json.loads(look.own.get("leaving", "[]")):
        look.outside.rancher.mark_machine(machine)
    look.size_pools(at.sizes)
    told = at.told(look.clock.now(), look.clock.real())
    return Wait(
        look.row.why or f"Rancher has the new size of pool {_pool(look).name}", 2.0, {"placing": told.to_json()}
    )


# --- smaller ---------------------------------------------------------------------------------------------------


def _shrunk(look: Look, view: ClusterView, at: Placing) -> Outcome:
    leaving = set(json.loads(look.own["leaving"]))
    machines = [machine for name in at.sizes for machine in view.pool(name)]
    left = [machine.name for machine in machines if machine.name in leaving]
    over = len(machines) - sum(at.sizes.values())
    if left or over > 0:
        return Wait(f"{len(left) or over} machines are going: {', '.join(left[:4])}", 5.0, watched=True)
    return Done({"removed": ", ".join(sorted(leaving))})


def _least_needed(look: Look, machines: list[MachineView]) -> list[MachineView]:
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


# --- bigger ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Growth(Turn):
    """One look at a pool that grows."""

    def wait(self, why: str, *, at: Placing | None = None, look_in: float = WATCHED_S, anew: bool = False) -> Wait:
        said = f"{self.there} of {self.wanted} {self.homes[0].name} machines joined"
        return Wait(why, look_in, self.facts(at), said, self.patience_s, anew, tell=why if anew else "", watched=True)


def _growth(look: Look, view: ClusterView, at: Placing) -> _Growth:
    places, before = homes(look.order, _pool(look)), known(look)
    by_name = {place.name: place for place in places}
    tried = tuple(by_name[name] for name in json.loads(look.own["places"]))
    at = at.seen(view, tried, len(placing.refused_here(before, tried[at.place])), look.clock.now())
    failures = with_new(before, (machine for name in by_name for machine in view.pool(name)))
    return _Growth(look, view, at, places, tried, failures)


def _grown(growth: _Growth) -> Outcome:
    """The turn of a place: until all have joined, or EC2 has refused often enough."""
    if growth.at.phase == LEAVING:
        return _left(growth)
    machines = sum(len(growth.view.pool(place.name)) for place in growth.homes)
    if growth.there >= growth.wanted and machines <= growth.wanted:
        return Done(growth.facts())
    pool, refused = growth.here, growth.refused
    if not growth.spent:
        return growth.wait(f"EC2 refused {len(refused)} tries for pool {pool.name}" if refused else "waiting for EC2")
    texts = growth.hopeless or refused
    if growth.coming and growth.next_place:
        return growth.wait(f"waiting for those that EC2 gave to join: {aws_words(texts[-1])}")
    left = growth.leave(texts, {place.name: joined(growth.view, [place]) for place in growth.homes})
    if not growth.next_place or left.final:
        return _refused(growth, left)
    why = f"EC2 refused {len(texts)} times in {where(growth.look.order, pool)}"
    return growth.wait(why, at=left, look_in=0.0)


def _left(growth: _Growth) -> Outcome:
    """The place buys no more; once Rancher shows nothing else of it, the next one makes what is missing."""
    if (emptying := growth.emptying) is not None:
        return growth.wait(f"pool {emptying.name} is being emptied, before it goes on")
    at, now = growth.at, growth.look.clock.now()
    pool, missing = growth.tried[at.place + 1], growth.wanted - sum(at.sizes.values())
    words = aws_words(at.words[growth.here.name])
    why = f"EC2 has not enough ({words}); now {missing} × {where(growth.look.order, pool)}"
    return growth.wait(why, at=at.try_place(at.place + 1, pool, missing, now), look_in=0.0, anew=True)


def _refused(growth: _Growth, left: Placing) -> Fail:
    """No place has it. What it has made so far is taken back before this is told."""
    pool, words, order = growth.here, left.words, growth.look.order
    times = [t for t in growth.failures.values() if placing.code_of(t) == placing.code_of(words[pool.name])]
    cause = ec2_cause(words[pool.name])
    often = f"{len(times)} times" if len(words) == 1 else f"in any of {len(words)} places"
    listed = tuple(f"{where(order, p)}: {aws_words(words[p.name])}" for p in growth.tried if p.name in words)
    return Fail(
        f"EC2 refused to start a {pool.instance_type} {often}: {aws_words(words[pool.name])}",
        cause.remedy if cause else "See AWS's own words.",
        listed,
        growth.facts(left),
    )


# --- what is asked ---------------------------------------------------------------------------------------------


def _others_at_work(look: Look) -> bool:
    """Whether a look at a request that was cancelled may still be changing the pool."""
    return any(r.id != look.request.id and r.lease_until_real > look.clock.real() for r in look.requests)


def _change(look: Look) -> Scale:
    change = change_from_json(look.request.kind, look.request.spec)
    if not isinstance(change, Scale):
        raise TypeError(look.request.id)
    return change


def _pool(look: Look) -> Pool:
    """The pool that was meant, in its new size."""
    return next(pool for pool in look.order.pools if pool.name == _change(look).pool)


def _smaller(look: Look) -> bool:
    change = _change(look)
    return change.machines < change.was


def _gone(look: Look) -> Fail:
    return Fail(
        f"Rancher does not show the cluster {look.order.name} any more.",
        "Look for it in Rancher and for its EC2 machines; somebody may have deleted it there.",
    )
