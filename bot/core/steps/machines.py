"""Every machine of every pool has joined.

Rancher deletes a machine that EC2 refused and makes another, for ever, and wipes the evidence within a minute
(rancher/rancher: capr/machineprovision/controller.go). So each failure seen is remembered in our own store, and
after three of one kind the pool is stopped: otherwise a machine might be bought long after everybody has left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from bot.core.diagnosis import aws_words, ec2_cause
from bot.core.ports import ClusterView
from bot.core.spec import Pool
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait

ENOUGH_FAILURES = 3


class Machines:
    kind = "machines@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return Wait("Rancher does not show the cluster")
        failures = _remember(look, view)
        for pool in look.order.pools:
            of_pool = [text for key, text in failures.items() if key.startswith(f"{pool.name}/")]
            if len(of_pool) >= ENOUGH_FAILURES:
                return self._stop(look, view, pool, of_pool)
        facts = {"failures": json.dumps(failures)}
        missing = [pool for pool in look.order.pools if _joined(view, pool) < pool.count]
        if not missing:
            return Done(facts)
        return Wait(_waiting_for(view, missing[-1], failures), 5.0, facts, _progress(look, view))

    def give_up(self, look: Look) -> Done | Fail:
        view = look.view()
        pools = [pool for pool in look.order.pools if view is None or _joined(view, pool) < pool.count]
        pool = pools[-1] if pools else look.gpu_pool
        machines = view.pool(pool.name) if view else ()
        evidence = tuple(f"{m.name}: {m.phase}: {m.message or 'no word'}" for m in machines)
        if view is not None and pool.gpu and _joined(view, pool) > 0:
            look.outside.rancher.hold_pool(look.order.name, pool.name, empty=False)
            return Done(dict(look.own), short=f"{_joined(view, pool)} of {pool.count} {pool.name} machines joined")
        started = [m for m in machines if m.created and not m.node]
        if pool.gpu:
            look.outside.rancher.hold_pool(look.order.name, pool.name, empty=True)
        if started:
            return Fail(
                f"{len(started)} machine{'s' * (len(started) > 1)} of pool {pool.name} started in EC2 but never joined "
                f"the cluster in {look.observed_s / 60:.0f} minutes. Rancher says: {started[0].message or 'nothing'}.",
                "The machine must reach Rancher on port 443: check the subnet's route, the security group and the "
                "AMI's cloud-init (EC2 console, system log). "
                + ("The pool has been emptied, so that it costs nothing more." if pool.gpu else ""),
                evidence,
            )
        return Fail(
            f"Pool {pool.name} has no machine after {look.observed_s / 60:.0f} minutes.",
            "Look at the machines of the cluster in Rancher.",
            evidence,
        )

    def _stop(self, look: Look, view: ClusterView, pool: Pool, texts: list[str]) -> Done | Fail:
        joined = _joined(view, pool)
        look.outside.rancher.hold_pool(look.order.name, pool.name, empty=joined == 0)
        if pool.gpu and joined:
            return Done(dict(look.own), short=f"{joined} of {pool.count} machines: {aws_words(texts[-1])}")
        cause = ec2_cause(texts[-1])
        return Fail(
            f"EC2 refused to start a {pool.instance_type} {len(texts)} times: {aws_words(texts[-1])}",
            (cause.remedy if cause else "See AWS's own words.")
            + " The pool has been stopped, so that no machine is bought later unseen.",
            (*((f"{cause.code}: {cause.what}.",) if cause else ()), *dict.fromkeys(aws_words(t) for t in texts)),
        )


def _remember(look: Look, view: ClusterView) -> dict[str, str]:
    """Failures by pool and machine uid: those seen before, and those to be seen now."""
    known: dict[str, str] = json.loads(look.own.get("failures", "{}"))
    return known | {f"{m.pool}/{m.uid}": m.failure[-1500:] for m in view.machines if m.failure}


def _joined(view: ClusterView, pool: Pool) -> int:
    return sum(bool(m.node) for m in view.pool(pool.name))


def _waiting_for(view: ClusterView, pool: Pool, failures: Mapping[str, str]) -> str:
    failed = [text for key, text in failures.items() if key.startswith(f"{pool.name}/")]
    if failed:
        tries = f"{len(failed)} of at most {ENOUGH_FAILURES} tries"
        return f"EC2 refused {tries} for pool {pool.name}: {aws_words(failed[-1])}"
    machines = [m for m in view.pool(pool.name) if not m.node]
    started = sum(m.created for m in machines)
    if started:
        return f"{started} {pool.name} machine{'s' * (started > 1)} started in EC2, waiting for the join"
    return f"waiting for EC2 to start pool {pool.name}"


def _progress(look: Look, view: ClusterView) -> str:
    wanted = sum(pool.count for pool in look.order.pools)
    return f"{sum(_joined(view, pool) for pool in look.order.pools)} of {wanted} machines joined"
