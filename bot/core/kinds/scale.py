"""Scale: the same cluster with a pool of another size. Only the new nodes are measured."""

from __future__ import annotations

import dataclasses

from bot.core import lifecycle
from bot.core.changes import Change, Scale, change_from_json
from bot.core.checks.machines import nearest_counts
from bot.core.conflict import Conflict
from bot.core.costs import ledger, spending
from bot.core.costs.spending import OverBudget
from bot.core.kinds.base import Asked, Opening, Plain
from bot.core.kinds.growing import check_scale
from bot.core.ports import Tx
from bot.core.records import ClusterRow, ClusterState, Kind, RequestRow
from bot.core.scaling import resized
from bot.core.spec import Catalogue, Envelope, Invalid, Pool, Preflight, Problem
from bot.core.story import final_report, step_facts
from bot.core.verification import first_day
from bot.core.verification.verdict import DEGRADED, VERIFIED

MOST_MACHINES = 100
"""Of a pool without GPUs, as in a preset."""


class ScaleRules(Plain):
    """Bigger is checked like a create, and costs more; smaller is approved like a delete, for what is there is lost."""

    kind = Kind.SCALE

    def open(self, tx: Tx, cluster: ClusterRow, change: Change, catalogue: Catalogue, now: float) -> Opening:
        if not isinstance(change, Scale):
            raise TypeError(change)
        before = ledger.current_envelope(tx, cluster)
        if before is None or cluster.state not in (ClusterState.READY, ClusterState.DEGRADED):
            raise Conflict(
                f"“{cluster.name}” is {cluster.state}; pools can be scaled once it is ready.",
                f"/gpu-cluster status {cluster.name}",
            )
        pool = _pool(before, change)
        machines = _machines(before, pool, change.count, catalogue)
        if machines == pool.count:
            raise Conflict(f"Pool {pool.name} of “{cluster.name}” has that size already: {_size(before, pool)}.")
        after = resized(before, pool, machines)
        bigger = machines > pool.count
        if bigger:
            _must_afford(tx, cluster, before, after, catalogue, now)
        found = dataclasses.replace(change, pool=pool.name, machines=machines, was=pool.count)
        return Opening(after, check=bigger, change=found)

    def check(self, asked: Asked) -> Preflight:
        change = change_from_json(asked.request.kind, asked.request.spec)
        if asked.envelope is None or not isinstance(change, Scale):
            raise TypeError(asked.request.id)
        return check_scale(asked, asked.envelope, change)

    def done(self, tx: Tx, request: RequestRow, at: float) -> None:
        """A new node that failed makes the cluster degraded: there is less than was ordered."""
        cluster, facts = tx.cluster(request.cluster_id), step_facts(tx, request.id)
        report = final_report(facts)
        if report is not None:  # for the watch, the new nodes are as known as those of the create
            first_day.known(tx, cluster)
            first_day.remember(tx, cluster, report, facts["verify_new"].get("level", "standard"), at)
        short = next((row.why for row in tx.steps(request.id) if row.why), "")
        if (report is not None and report.verdict != VERIFIED) or short:
            tx.change(request, reason=short or "Not every new GPU passed verification.")
            if cluster.state == ClusterState.READY:
                lifecycle.move_cluster(
                    tx, cluster, ClusterState.DEGRADED, request=request, at=at, detail=short, verdict=DEGRADED
                )


def _pool(envelope: Envelope, change: Scale) -> Pool:
    """The pool that is meant. Raises `Invalid`, naming those there are."""
    workers = [pool for pool in envelope.pools if not pool.control_plane]
    names = ", ".join(pool.name for pool in workers)
    if not change.pool and len(envelope.gpu_pools) == 1:
        return envelope.gpu_pools[0]
    if not change.pool:
        raise Invalid(Problem("pool", f"Say which pool: {names}."))
    found = next((pool for pool in envelope.pools if pool.name == change.pool), None)
    if found is None:
        raise Invalid(Problem("pool", f"There is no pool “{change.pool}”; there are: {names}."))
    if found.control_plane:
        why = f"Pool {found.name} is the control plane, which keeps its size; those that can be scaled: {names}."
        raise Invalid(Problem("pool", why))
    return found


def _machines(envelope: Envelope, pool: Pool, count: int, catalogue: Catalogue) -> int:
    """How many machines that is: GPUs in whole machines, as with create --gpus. Raises `Invalid`."""
    if count < 1:
        why = f"A pool cannot have {count}. To give everything back: /gpu-cluster delete {envelope.name}"
        raise Invalid(Problem("count", why))
    if not pool.gpu:
        if count > MOST_MACHINES:
            raise Invalid(Problem("count", f"At most {MOST_MACHINES} machines in a pool."))
        return count
    each = envelope.expectation(pool.name).count
    others = sum(p.count * envelope.expectation(p.name).count for p in envelope.gpu_pools if p != pool)
    most = catalogue.policy.max_gpus - others
    if count > most:
        raise Invalid(Problem("count", f"“{count}” is too many: {most} GPUs at most (max_gpus)."))
    if count % each:
        near = " or ".join(map(str, nearest_counts(count, each, most)))
        why = f"A {pool.instance_type} has {each} GPUs, so {count} is no whole number of machines; ask for {near}."
        raise Invalid(Problem("count", why))
    return count // each


def _size(envelope: Envelope, pool: Pool) -> str:
    return f"{pool.count * envelope.expectation(pool.name).count} GPUs" if pool.gpu else f"{pool.count} machines"


def _must_afford(
    tx: Tx, cluster: ClusterRow, before: Envelope, after: Envelope, catalogue: Catalogue, now: float
) -> None:
    """By the prices that were approved; the check that follows asks for today's."""
    held = ledger.committed(tx, catalogue.teams[cluster.team], now)
    try:
        spending.must_afford(held, spending.added_cost(before, after, cluster.ready_at, now), cluster.team)
    except OverBudget as over:
        raise Conflict(over.why, over.remedy) from over
