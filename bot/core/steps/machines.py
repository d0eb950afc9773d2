"""Every machine of every pool has joined.

Rancher deletes a machine that EC2 refused and makes another, for ever, and wipes the evidence within a minute
(rancher/rancher: capr/machineprovision/controller.go). So each failure seen is remembered in our own store. What only
a person can mend stops the pool after a few tries. Where AWS lacks capacity, the pool is lowered to what is there, and
a sibling pool in the next place makes the rest; when every place has refused, the order waits, if that was asked for.
"""

from __future__ import annotations

import dataclasses

from bot.core.capacity import placing, waiting
from bot.core.capacity.excess import more_in_ec2, trimmed
from bot.core.capacity.places import gpu_places, joined, to_keep, where
from bot.core.capacity.placing import HOLDING, LEAVING, TRYING, Placing
from bot.core.causes.diagnosis import aws_words, ec2_cause
from bot.core.ports import ClusterView
from bot.core.spec import Pool
from bot.core.steps import trouble
from bot.core.steps.base import WATCHED_S, Done, Facts, Fail, Look, Outcome, Wait
from bot.core.steps.held_up import lost_credential
from bot.core.steps.turn import Turn, known, with_new


class Machines:
    kind = "machines@1"

    def ensure(self, look: Look) -> Outcome:
        if "placing" not in look.own and "retried" in look.own:
            return _again(look)
        at = _stands(look)
        if not at.asked:
            return _tell_rancher(look, at)
        view = _view(look, at)
        if view is None:
            return trouble.missing(look)
        before, places = known(look), gpu_places(look.order)
        at = at.seen(view, places, len(placing.refused_here(before, places[at.place])), look.clock.now())
        failures = with_new(before, view.machines)
        turn = _OrderTurn(look, view, at, places, places, failures)
        if at.phase != LEAVING and (told := trimmed(look, view, at.sizes)):
            return turn.wait("more machines than were approved were wanted; the pools have been lowered", tell=told)
        for pool in look.order.pools:
            if pool != look.order.sized_pool and (
                texts := placing.hopeless(failures, pool, look.catalogue.policy.tries_per_place)
            ):
                return turn.fail(pool, texts)
        return {TRYING: _try, LEAVING: _left, HOLDING: _hold}[at.phase](turn)

    def give_up(self, look: Look) -> Done | Fail:
        """With fewer GPU machines than ordered the work goes on; without a plain machine it cannot."""
        at = _stands(look)
        view = _view(look, at)
        if view is None:
            return trouble.unseen(look)
        places = gpu_places(look.order)
        return _given_up(_OrderTurn(look, view, at, places, places, with_new(known(look), view.machines)))


@dataclasses.dataclass(frozen=True)
class _OrderTurn(Turn):
    """One look at all machines of an order: beside the GPU pool's turn, the plain pools, which have one place each."""

    @property
    def plain(self) -> list[Pool]:
        return [pool for pool in self.look.order.pools if pool != self.look.order.sized_pool]

    @property
    def plain_short(self) -> list[Pool]:
        return [pool for pool in self.plain if joined(self.view, [pool]) < pool.count]

    def facts(self, at: Placing | None = None) -> Facts:
        return {**super().facts(at), "missing_at": ""}

    def wait(
        self, why: str, *, at: Placing | None = None, look_in: float = WATCHED_S, anew: bool = False, tell: str = ""
    ) -> Wait:
        wanted = self.wanted + sum(pool.count for pool in self.plain)
        there = self.there + joined(self.view, self.plain)
        told = f"{there} of {wanted} machines joined"
        return Wait(why, look_in, self.facts(at), told, self.patience_s, anew, tell, watched=True)

    def fail(self, pool: Pool, texts: list[str]) -> Fail:
        """What EC2 refused for good; nothing is bought any more."""
        _stop_all(self)
        cause = ec2_cause(texts[-1])
        return Fail(
            f"EC2 refused to start a {pool.instance_type} {len(texts)} times: {aws_words(texts[-1])}",
            f"{cause.remedy if cause else 'See AWS’s own words.'} {_STOPPED}",
            (*((f"{cause.code}: {cause.what}.",) if cause else ()), *dict.fromkeys(aws_words(t) for t in texts)),
            self.facts(),
        )


_STOPPED = "The pool has been stopped, so that no machine is bought later unseen."


def _stands(look: Look) -> Placing:
    stored = look.own.get("placing")
    return placing.from_json(stored) if stored else placing.begin(look.order.sized_pool, look.clock.now())


def _again(look: Look) -> Wait | Fail:
    """After a failure that has stopped the pools: a new round of the places, beside what stands in any of them."""
    view = look.view()
    if view is None:
        return trouble.missing(look)
    places = gpu_places(look.order)
    standing = {place.name: to_keep(view.pool(place.name)) for place in places}
    missing = max(places[0].count - sum(standing.values()), 0)
    at = placing.again(standing, places[0], missing, look.clock.now())
    return Wait("the pools go on", 0.0, {"placing": at.to_json()})


def _view(look: Look, at: Placing) -> ClusterView | None:
    written = max(at.written, float(look.facts["cluster_object"].get("written_real", "0")))
    return look.outside.rancher.observe(look.order.name, newer_than=written)


def _tell_rancher(look: Look, at: Placing) -> Wait:
    """Do what an earlier look has written down."""
    look.must_be_wanted()
    look.size_pools(at.sizes)
    told = at.told(look.clock.now(), look.clock.real())
    return Wait(look.row.why or "Rancher has the new sizes", 2.0, {"placing": told.to_json()})


def _try(turn: _OrderTurn) -> Outcome:
    """A place's turn: until all have joined, or EC2 has refused often enough."""
    look, pool = turn.look, turn.here
    short = turn.there < turn.wanted
    if not short and not turn.plain_short:
        return Done({**turn.facts(), "all": "yes"}, tell=more_in_ec2(look))
    if not short or not turn.spent:
        return turn.wait(_waiting_for(turn))
    texts = turn.hopeless or turn.refused
    if turn.coming and not look.order.together:
        gave = f"EC2 gave {sum(m.created for m in turn.view.pool(pool.name))} of {pool.count} {pool.name} machines"
        return turn.wait(f"{gave}; waiting for those to join: {aws_words(texts[-1])}")
    return _leave(turn, texts)


def _leave(turn: _OrderTurn, texts: list[str]) -> Wait:
    """Before any other place is tried, this one must not buy any more: its pool keeps what has joined."""
    keep = {p.name: 0 if turn.look.order.together else joined(turn.view, [p]) for p in turn.homes}
    left = turn.leave(texts, {name: keep[name] for name in turn.at.sizes})
    why = f"EC2 refused {len(texts)} times in {where(turn.look.order, turn.here)}: {aws_words(texts[-1])}"
    return turn.wait(why, at=left, look_in=0.0, anew=True)


def _left(turn: _OrderTurn) -> Outcome:
    """The pool has been lowered: go on to the next place, go on with what is there, wait, or fail."""
    look, at, now = turn.look, turn.at, turn.look.clock.now()
    there = 0 if look.order.together else turn.there
    until = waiting.until(look)
    may_wait = not at.final and not there and now < until
    if (turn.next_place or may_wait) and (pool := turn.emptying) is not None:
        return turn.wait(f"pool {pool.name} is being emptied, before it goes on")
    if turn.next_place:
        return _next_place(turn, at.place + 1, turn.wanted - sum(at.sizes.values()))
    if there:
        return _go_on_with(turn, there)
    if may_wait and placing.may_come_back(at.words):
        held = at.hold(now, until)
        first = at.rounds == 0
        why = waiting.sentence(look, held)
        return turn.wait(why, at=held, look_in=waiting.look_in(held, now), anew=True, tell=why if first else "")
    return _nowhere(turn)


def _next_place(turn: _OrderTurn, index: int, missing: int) -> Wait:
    pool = turn.tried[index]
    at = turn.at.try_place(index, pool, missing, turn.look.clock.now())
    words = aws_words(turn.at.words[turn.here.name])
    why = (
        f"EC2 has not enough in place {index} of {len(turn.tried)} ({words}); "
        f"now {missing} × {where(turn.look.order, pool)}, place {index + 1}"
    )
    return turn.wait(why, at=at, look_in=0.0, anew=True, tell=why if turn.at.rounds == 0 else "")


def _go_on_with(turn: _OrderTurn, there: int) -> Outcome:
    short = f"{there} of {turn.wanted} gpu machines: {aws_words(turn.at.words[turn.here.name])}"
    if turn.plain_short:
        return turn.wait(f"EC2 gave {short}; waiting for pool {turn.plain_short[0].name}")
    return Done(turn.facts(), short=short, tell=more_in_ec2(turn.look))


def _hold(turn: _OrderTurn) -> Outcome:
    """Every place has refused: the control plane waits, and after a while the places are tried again in order."""
    now = turn.look.clock.now()
    if now < turn.at.next_at:
        return turn.wait(waiting.sentence(turn.look, turn.at), look_in=waiting.look_in(turn.at, now), anew=True)
    fresh = dataclasses.replace(turn, failures={})
    again = turn.at.try_place(0, turn.homes[0], turn.wanted - sum(turn.at.sizes.values()), now)
    return fresh.wait(f"trying {where(turn.look.order, turn.homes[0])} again", at=again, look_in=0.0, anew=True)


def _nowhere(turn: _OrderTurn) -> Fail:
    """No place has it, and nobody waits any longer."""
    pool, words, order = turn.here, turn.at.words, turn.look.order
    text = words[pool.name]
    refused = [t for t in turn.failures.values() if placing.code_of(t) == placing.code_of(text)]
    cause = ec2_cause(text)
    _stop_all(turn)
    times = f" {len(refused)} times" if len(words) == 1 and not turn.at.rounds else f" in any of {len(words)} places"
    waited = f" in {order.wait_hours} hours" if turn.at.rounds else ""
    more = turn.look.catalogue.policy.max_wait_hours
    wait = f" Or ask with --wait {min(24, more)}h, to go on trying." if more and not order.wait_hours else ""
    return Fail(
        f"EC2 refused to start a {pool.instance_type}{times}{waited}: {aws_words(text)}",
        f"{cause.remedy if cause else 'See AWS’s own words.'}{'' if turn.at.final else wait} {_STOPPED}",
        (
            *((f"{cause.code}: {cause.what}.",) if cause else ()),
            *(f"{where(order, p)}: {aws_words(words[p.name])}" for p in turn.homes if p.name in words),
        ),
        turn.facts(),
    )


def _stop_all(turn: _OrderTurn) -> None:
    """Nothing more is bought for this order: each pool keeps what it has."""
    pools = (*turn.plain, *turn.homes)
    turn.look.outside.rancher.trim_pools(
        turn.look.order.name, {p.name: min(p.count, to_keep(turn.view.pool(p.name))) for p in pools}
    )


def _given_up(turn: _OrderTurn) -> Done | Fail:
    """What started and never joined is given back; what is missing is borne, where it can be."""
    together = turn.look.order.together and turn.there < turn.wanted
    keep = {p.name: 0 if together else joined(turn.view, [p]) for p in turn.homes}
    plain = {p.name: min(p.count, to_keep(turn.view.pool(p.name))) for p in turn.plain}
    turn.look.outside.rancher.trim_pools(turn.look.order.name, {**plain, **keep})
    if turn.plain_short:
        return _never_joined(turn, turn.plain_short[0])
    if not turn.there or together:
        return _never_joined(turn, turn.here)
    left = turn.at.intend(turn.at.phase, keep, turn.look.clock.now(), asked=True)
    return Done(turn.facts(left), short=f"{turn.there} of {turn.wanted} {turn.homes[0].name} machines joined")


def _never_joined(turn: _OrderTurn, pool: Pool) -> Fail:
    minutes = f"{turn.look.observed_s / 60:.0f} minutes"
    machines = turn.view.pool(pool.name)
    started = [machine for machine in machines if machine.created and not machine.node]
    evidence = tuple(f"{m.name}: {m.phase}: {m.message or 'no word'}" for m in machines)
    if not started and (texts := [t for key, t in turn.failures.items() if key.startswith(f"{pool.name}/")]):
        return turn.fail(pool, texts)
    if not started and (lost := lost_credential(turn.look)) is not None:
        return Fail(f"Rancher cannot start the machines of pool {pool.name}: {lost[0]}.", f"{lost[1]}.", evidence)
    if not started:
        return Fail(
            f"{joined(turn.view, [pool])} of {pool.count} {pool.name} machines joined in {minutes}.",
            "Look at the machines of the cluster in Rancher.",
            evidence,
        )
    emptied = " The pool has been emptied, so that it costs nothing more." if pool.gpu else ""
    return Fail(
        f"{len(started)} machine{'s' * (len(started) > 1)} of pool {pool.name} started in EC2 but never joined "
        f"the cluster in {minutes}. Rancher says: {started[0].message or 'nothing'}.",
        "The machine must reach Rancher on port 443: check the subnet's route, the security group and the "
        f"AMI's cloud-init (EC2 console, system log).{emptied}",
        evidence,
    )


def _waiting_for(turn: _OrderTurn) -> str:
    pool = turn.here if turn.there < turn.wanted else turn.plain_short[0]
    failed = [text for key, text in turn.failures.items() if key.startswith(f"{pool.name}/")]
    in_a_row = len(turn.refused) - turn.at.forgiven if pool in turn.homes else len(failed)
    if failed and in_a_row:
        most = turn.look.catalogue.policy.tries_per_place * max(turn.at.sizes.get(pool.name, 1) - turn.at.started, 1)
        tries = f"{in_a_row} of at most {most} tries" if pool in turn.homes else f"{in_a_row} tries"
        return f"EC2 refused {tries} for pool {pool.name}: {aws_words(failed[-1])}"
    machines = [m for m in turn.view.pool(pool.name) if not m.node]
    started = sum(m.created for m in machines)
    if started:
        return f"{started} {pool.name} machine{'s' * (started > 1)} started in EC2, waiting for the join"
    return f"waiting for EC2 to start pool {pool.name}"
