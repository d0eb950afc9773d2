"""Very many clusters in flight: what they cost Rancher, and how soon a change is seen.

The bot is the real one and the world the sandbox's, with everything that it refuses. Only how the clusters got where
they are is short: one goes the whole way, and the others are written into the store and into Rancher as its like,
spread over the first minutes of a cluster's life. From then on the world runs at speed 1 and the bot does the rest.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from statistics import quantiles
from typing import Any, cast

from bot.core import plan
from bot.core.records import ClusterRow, MessageKind, MessageRow, RequestRow, RequestState, StepRow, StepState
from bot.core.spec import Envelope, envelope_from_json, spec_from_json, to_json
from bot.rancher import bodies
from bot.sandbox.slack.limits import RateLimiter
from bot.sandbox.stage import Plot
from bot.sandbox.world.kube.api import Call, Reply
from bot.sandbox.world.kube.kinds import PROVISIONING_CLUSTER
from bot.sandbox.world.metal.hardware import Hardware
from bot.sandbox.world.rancher.ec2 import Ec2
from bot.sandbox.world.rancher.provisioning import ProvisionedCluster
from bot.store import open_store
from tests.bench.crowd import Crowd, NotVerified, crowd
from tests.bench.figures import Figure

_LIFE_S = 240.0
"""World seconds: until the control plane of the oldest is about to answer. The stand-in, one Python process, cannot
serve what so many clusters' own APIs are asked after that; what it comes to for each is measured in `order`."""
_SETTLE_S, _WINDOW_S = 45.0, 60.0
_MARK_EVERY_S, _LOST_S = 0.5, 20.0
_DONE = ("preflight@1", "machine_configs@1", "cluster_object@1")


@dataclass(frozen=True)
class Traffic:
    """What Rancher was asked in `seconds`, real and world alike; `delays` from a change to the step that saw it."""

    seconds: float
    management: int
    downstream: int
    busiest: str
    delays: tuple[float, ...]


async def in_flight(numbers: Sequence[int] = (1, 100, 1_000)) -> list[Figure]:
    """Requests a second with so many clusters in flight; the last number's other figures."""
    figures: list[Figure] = []
    for number in numbers:
        traffic = await _traffic(number)
        how = (
            f"{number:,} clusters in flight, spread over the first {_LIFE_S / 60:.0f} minutes of their lives, then "
            f"{_SETTLE_S:g} s to settle and {traffic.seconds:.0f} s counted; world speed 1, so both clocks are "
            f"the same; the whole bot, one process, on the whole sandbox; most often {traffic.busiest}"
        )
        rps = Figure(f"rancher_rps_{number}", traffic.management / traffic.seconds, "requests/s", how, target=2)
        figures.append(rps)
    seen = quantiles(traffic.delays, n=100, method="inclusive")
    marked = f"{len(traffic.delays)} changes of what Rancher says of a cluster, among those same {number:,}"
    return [
        *figures,
        Figure(f"downstream_rps_{number}", traffic.downstream / traffic.seconds, "requests/s", how),
        Figure(
            "change_seen_p99_s", seen[98], "s", f"{marked}; median {seen[49]:.1f}, most {max(traffic.delays):.1f}", 5
        ),
    ]


async def _traffic(number: int) -> Traffic:
    async with crowd(Plot(speed=1)) as people:
        people.stage.workspace.limiter = RateLimiter({})
        fleet = await aloft(people, number)
        world, clock = people.stage.world, people.stage.clock
        before, began = Counter(world.calls), clock.now()
        delays = await _changes(people, fleet)
        calls, seconds = world.calls - before, clock.now() - began
    at_rancher = Counter({call: n for (downstream, call), n in calls.items() if not downstream})
    downstream = sum(n for (behind, _), n in calls.items() if behind)
    busiest = ", ".join(f"{call} ({n})" for call, n in at_rancher.most_common(5))
    return Traffic(seconds, at_rancher.total(), downstream, busiest, tuple(delays))


async def aloft(people: Crowd, number: int) -> list[str]:
    """So many requests that run, settled; the names of their clusters, oldest first."""
    fleet = await _seed(people, await _model(people), number)
    await asyncio.sleep(_SETTLE_S)
    return fleet


async def _model(people: Crowd) -> RequestRow:
    """A create that the bot itself has checked and that waits for a lead."""
    await people.ask(["model"])
    store = open_store(f"sqlite:///{people.stage.database}")
    for _ in range(60):
        await asyncio.sleep(0.5)
        with store.reading() as tx:
            if waiting := tx.waiting_requests():
                return waiting[0]
    raise NotVerified("the model request was never checked")


async def _seed(people: Crowd, model: RequestRow, number: int) -> list[str]:
    """The clusters' names, oldest first; they are in Rancher before the bot hears of them."""
    stage, store = people.stage, open_store(f"sqlite:///{people.stage.database}")
    stage.world.management.ec2 = cast(Ec2, _ReadyMachines(stage.world.management.ec2))
    order = envelope_from_json(model.envelope)
    likes = [(f"f{index:04}", dataclasses.replace(order, name=f"fly-{index:04}")) for index in range(number)]
    born: dict[str, tuple[float, float]] = {}
    for digits, envelope in likes:
        for path, body in _objects(envelope, f"r-{digits}"):
            _post(people, path, body)
        born[envelope.name] = stage.clock.now(), time.time()
        stage.clock.forward(_LIFE_S / number)
        await asyncio.sleep(0)
    ids = {cluster.name: mid for mid, cluster in stage.world.management.clusters.items()}
    with store.transaction() as tx:
        original = tx.cluster(model.cluster_id)
        for digits, envelope in likes:
            cluster = dataclasses.replace(original, management_id=ids[envelope.name])
            for row in _rows(cluster, model, digits, envelope, *born[envelope.name]):
                tx.add(row)
    return [envelope.name for _, envelope in likes]


class _ReadyMachines:
    """EC2 for the seeding: one machine of each type is really started, the others are its like.

    The stand-in for EC2 takes a tenth of a second for each; what it costs is not what is measured here.
    """

    def __init__(self, real: Ec2) -> None:
        self._real = real
        self._first: dict[str, Future[Hardware]] = {}
        self._number = count(1)

    def launch(self, config: dict[str, Any], name: str, owner_tag: str) -> Future[Hardware]:
        kind = config["instanceType"]
        if kind not in self._first:
            self._first[kind] = self._real.launch(config, name, owner_tag)
            return self._first[kind]
        like, ident = self._first[kind].result(), f"i-{next(self._number):017x}"
        gpus = tuple(dataclasses.replace(gpu, uuid=f"GPU-{ident}-{gpu.index}") for gpu in like.gpus)
        made: Future[Hardware] = Future()
        made.set_result(dataclasses.replace(like, instance_id=ident, gpus=gpus))
        return made

    def terminate(self, region: str, instance_id: str) -> Future[None]:
        return self._real.terminate(region, instance_id)


def _objects(envelope: Envelope, request_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for pool in envelope.pools:
        yield "/v1/rke-machine-config.cattle.io.amazonec2configs", bodies.machine_config(envelope, pool, request_id)
    yield "/v1/provisioning.cattle.io.clusters", bodies.cluster(envelope, request_id)


def _post(people: Crowd, path: str, body: dict[str, Any]) -> None:
    world = people.stage.world
    call = Call("POST", path, {}, "application/json", json.dumps(body).encode(), world.engine.now)
    reply = world.handle(call, f"Bearer {world.token}")
    if not isinstance(reply, Reply) or reply.status != 201:
        raise NotVerified(f"Rancher refused to make {body['metadata']['name']}: {reply}")


def _rows(
    cluster: ClusterRow, model: RequestRow, digits: str, envelope: Envelope, born: float, born_real: float
) -> Iterator[ClusterRow | RequestRow | StepRow | MessageRow]:
    """As the bot would have written them until Rancher had the cluster."""
    request = f"r-{digits}"
    spec = dataclasses.replace(spec_from_json(model.spec), name=envelope.name)
    yield dataclasses.replace(cluster, id=f"k-{digits}", name=envelope.name)
    yield dataclasses.replace(
        model,
        id=request,
        cluster_id=f"k-{digits}",
        state=RequestState.RUNNING,
        spec=to_json(spec),
        envelope=to_json(envelope),
        envelope_hash=envelope.digest(),
        asked_at=born,
        approved_at=born,
        next_look_at=born,
    )
    yield MessageRow(f"{request}-000", request, MessageKind.PARENT, model.channel, born)
    made = json.dumps({"management_id": cluster.management_id, "written_real": repr(born_real)})
    for position, planned in enumerate(plan.thaw(model.plan)):
        done = planned.kind in _DONE
        state = StepState.DONE if done else StepState.PENDING
        facts = made if planned.kind == "cluster_object@1" else "{}"
        yield StepRow(request, position, planned.kind, state, done_at=born if done else None, facts=facts)


async def _changes(people: Crowd, fleet: list[str]) -> list[float]:
    """World seconds from a change of what Rancher says to the look that saw it, over the time that is counted."""
    world, clock = people.stage.world, people.stage.clock
    store = open_store(f"sqlite:///{people.stage.database}")
    clusters = {cluster.name: cluster for cluster in world.management.clusters.values()}
    waiting = [name for name in fleet if not clusters[name].control_plane_up.fired]
    marked: dict[str, tuple[str, float]] = {}
    delays: list[float] = []
    until, serial = clock.now() + _WINDOW_S, 0
    while clock.now() < until or marked:
        if clock.now() < until and waiting:
            name = waiting.pop()
            marker = f"waiting for the bench to count to {serial}"
            clusters[name].report.waiting(marker)
            marked[name] = marker, clock.now()
            serial += 1
        await asyncio.sleep(_MARK_EVERY_S)
        with store.reading() as tx:
            for name, (marker, at) in list(marked.items()):
                step = next(s for s in tx.steps(f"r-f{name[-4:]}") if s.kind == "control_plane@1")
                if json.loads(step.facts).get("planner") == marker:
                    delays.append((step.looked_at or 0.0) - at)
                    del marked[name]
                elif clock.now() - at > _LOST_S:
                    del marked[name]
                    if _still_says(clusters[name], marker):
                        delays.append(_LOST_S)
    return delays


def _still_says(cluster: ProvisionedCluster, marker: str) -> bool:
    """Whether Rancher has not said something else in between."""
    obj = cluster.local.get(PROVISIONING_CLUSTER, cluster.name, cluster.namespace)
    return any(condition.get("message") == marker for condition in obj["status"]["conditions"])
