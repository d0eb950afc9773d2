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
from bot.core.steps import trouble
from bot.core.steps.base import Done, Facts, Fail, Look, Outcome, Wait

ENOUGH_FAILURES = 3


class Machines:
    kind = "machines@1"

    def ensure(self, look: Look) -> Outcome:
        view = look.view()
        if view is None:
            return trouble.missing(look)
        failures = _remember(look, view)
        facts = {"failures": json.dumps(failures), "missing_at": ""}
        for pool in sorted(look.order.pools, key=lambda pool: pool.gpu):
            if (texts := _hopeless(failures, pool)) is not None:
                return _stop(look, view, pool, texts, facts)
        missing = [pool for pool in look.order.pools if _joined(view, pool) < pool.count]
        if not missing:
            return Done({**facts, "all": "yes"})
        return Wait(_waiting_for(view, missing[-1], failures), 5.0, facts, _progress(look, view))

    def give_up(self, look: Look) -> Done | Fail:
        """With fewer GPU machines than ordered the work goes on; without a plain machine it cannot."""
        view = look.view()
        if view is None:
            return Fail(
                "Rancher does not show the cluster any more.",
                "Look for it in Rancher and for its EC2 machines.",
            )
        missing = [pool for pool in look.order.pools if _joined(view, pool) < pool.count]
        for pool in missing:
            useless = _joined(view, pool) == 0 if pool.gpu else _none_started(view, pool)
            look.outside.rancher.hold_pool(look.order.name, pool.name, empty=useless)
        needed = [pool for pool in missing if not pool.gpu or _joined(view, pool) == 0]
        if needed:
            return _never_joined(look, view, needed[0])
        return Done(short="; ".join(f"{_joined(view, p)} of {p.count} {p.name} machines joined" for p in missing))


def _hopeless(failures: Mapping[str, str], pool: Pool) -> list[str] | None:
    """The failures of a pool that EC2 has refused often enough for one and the same reason."""
    by_code: dict[str, list[str]] = {}
    for key, text in failures.items():
        if key.startswith(f"{pool.name}/"):
            cause = ec2_cause(text)
            by_code.setdefault(cause.code if cause else "", []).append(text)
    return next((texts for texts in by_code.values() if len(texts) >= ENOUGH_FAILURES), None)


def _stop(look: Look, view: ClusterView, pool: Pool, texts: list[str], facts: Facts) -> Outcome:
    """No further tries. GPU machines that have started are waited for, and used; without any the order has failed."""
    started = [machine for machine in view.pool(pool.name) if machine.created]
    if look.own.get("held") != pool.name:
        look.outside.rancher.hold_pool(look.order.name, pool.name, empty=not started)
    if pool.gpu and started:
        facts = {**facts, "held": pool.name}
        short = f"{len(started)} of {pool.count} {pool.name} machines: {aws_words(texts[-1])}"
        plain_there = all(_joined(view, plain) >= plain.count for plain in look.order.pools if not plain.gpu)
        if plain_there and all(machine.node for machine in started):
            return Done(facts, short=short)
        return Wait(f"EC2 gave {short}; waiting for those to join", 5.0, facts, _progress(look, view))
    for other in look.order.pools:
        if other != pool and _joined(view, other) < other.count:
            look.outside.rancher.hold_pool(look.order.name, other.name, empty=_none_started(view, other))
    cause = ec2_cause(texts[-1])
    return Fail(
        f"EC2 refused to start a {pool.instance_type} {len(texts)} times: {aws_words(texts[-1])}",
        (cause.remedy if cause else "See AWS's own words.")
        + " The pool has been stopped, so that no machine is bought later unseen.",
        (*((f"{cause.code}: {cause.what}.",) if cause else ()), *dict.fromkeys(aws_words(t) for t in texts)),
    )


def _never_joined(look: Look, view: ClusterView, pool: Pool) -> Fail:
    machines = view.pool(pool.name)
    started = [machine for machine in machines if machine.created and not machine.node]
    evidence = tuple(f"{m.name}: {m.phase}: {m.message or 'no word'}" for m in machines)
    if not started:
        return Fail(
            f"{_joined(view, pool)} of {pool.count} {pool.name} machines joined in {look.observed_s / 60:.0f} minutes.",
            "Look at the machines of the cluster in Rancher.",
            evidence,
        )
    emptied = " The pool has been emptied, so that it costs nothing more." if pool.gpu else ""
    return Fail(
        f"{len(started)} machine{'s' * (len(started) > 1)} of pool {pool.name} started in EC2 but never joined "
        f"the cluster in {look.observed_s / 60:.0f} minutes. Rancher says: {started[0].message or 'nothing'}.",
        "The machine must reach Rancher on port 443: check the subnet's route, the security group and the "
        f"AMI's cloud-init (EC2 console, system log).{emptied}",
        evidence,
    )


def _remember(look: Look, view: ClusterView) -> dict[str, str]:
    """Failures by pool and machine uid: those seen before, and those to be seen now."""
    known: dict[str, str] = json.loads(look.own.get("failures", "{}"))
    return known | {f"{m.pool}/{m.uid}": m.failure[-1500:] for m in view.machines if m.failure}


def _joined(view: ClusterView, pool: Pool) -> int:
    return sum(bool(m.node) for m in view.pool(pool.name))


def _none_started(view: ClusterView, pool: Pool) -> bool:
    return not any(machine.created for machine in view.pool(pool.name))


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
