"""Everything that preflight asks, side by side: each question in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TypeVar

from bot.core.capacity.families import GPU_FAMILIES, family_of, spot_code
from bot.core.capacity.suggest import WITHDRAWN, Offer, nearest
from bot.core.checks.belongings import region_of
from bot.core.checks.facts import Answer, Facts, Money
from bot.core.checks.quota import used_of
from bot.core.cloud import Cloud, DiskKey, Instance, InstanceProfile, InstanceType, MachineImage, SecurityGroup, Trial
from bot.core.costs.ledger import Committed
from bot.core.ports import Permanent, Rancher, StoredSecret, Temporary, WorldError
from bot.core.spec import LABEL_CLUSTER, LABEL_REQUEST, ClusterSpec, PoolSpec, Preset, Target
from bot.core.wiring import DIRECT, Network

T = TypeVar("T")

UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Canonical's SSM parameter for the Ubuntu that the GPU Operator builds drivers for."""

_SHORTLIST = 6
"""For how many types a price is looked up before the nearest are named."""


class Questions:
    """Asked as soon as it is made; some questions wait for the answer of another."""

    def __init__(
        self,
        spec: ClusterSpec,
        preset: Preset,
        target: Target,
        cloud: Cloud,
        rancher: Rancher,
        ignore_request: str,
        network: Network = DIRECT,
    ) -> None:
        self._spec, self._preset, self._target = spec, preset, target
        self._cloud, self._ignored = cloud, ignore_request
        gpu = preset.gpu_pool
        names = tuple(dict.fromkeys(pool.instance_type for pool in preset.pools))
        every = tuple(dict.fromkeys((*names, *gpu.alternatives)))
        spot = {code for pool in preset.pools if pool.spot and (code := spot_code(pool.instance_type))}
        spot |= {code for name in gpu.alternatives if gpu.spot and (code := spot_code(name))}
        codes = dict.fromkeys((*(family.code for family in (*map(family_of, every), *GPU_FAMILIES)), *spot))
        self.identity = ask(cloud.identity)
        self.region = ask(cloud.region_status)
        self.credential = ask(lambda: rancher.has_credential(target.cloud_credential))
        self.kubernetes = ask(lambda: _version(preset, rancher))
        self.kubernetes_known = ask(lambda: rancher.kubernetes_versions(preset.distribution))
        self.types = ask(lambda: cloud.instance_types(every))
        self.zones = {name: _ask_by(name, cloud.zones_offering) for name in every}
        self.quotas = {code: _ask_by(code, cloud.quota) for code in codes}
        self.in_use = ask(cloud.vcpus_in_use)
        self.subnets = ask(lambda: cloud.subnets(target.vpc, target.subnets))
        self.image = ask(lambda: self._image(preset.ami or target.ami))
        self.images = {pool.name: ask(partial(self._image_of, pool)) for pool in preset.pools}
        self.left_overs = ask(self._left_overs)
        self.reservations = ask(lambda: cloud.reservations(gpu.instance_type))
        self.scores = ask(self._scores)
        self.prices = {name: _ask_by(name, cloud.on_demand_price) for name in every}
        self.spot = ask(lambda: cloud.spot_prices(gpu.instance_type))
        self.disk = ask(cloud.disk_price)
        self.routes = ask(lambda: cloud.routes(self._vpc()))
        self.security_group = ask(self._security_group)
        self.instance_profile = ask(self._instance_profile)
        self.disk_key = ask(self._disk_key)
        self.registry_secret = ask(lambda: self._secret(rancher, network.registry_secret))
        self.trial = ask(self._try)
        self.offers = ask(self._offers)

    def facts(self, max_gpus: int, seconds: float, committed: Committed | None) -> Facts:
        """The answers that came within `seconds` (real)."""
        deadline = time.monotonic() + seconds

        def answer(future: Future[T]) -> Answer[T]:
            try:
                return Answer(future.result(timeout=max(0.0, deadline - time.monotonic())))
            except WorldError as error:
                return Answer(error=error)
            except TimeoutError:
                return Answer(error=Temporary(f"no answer within {seconds:g} s", "Ask again in a minute."))

        return Facts(
            spec=self._spec,
            preset=self._preset,
            target=self._target,
            max_gpus=max_gpus,
            identity=answer(self.identity),
            region=answer(self.region),
            credential=answer(self.credential),
            kubernetes=answer(self.kubernetes),
            kubernetes_known=answer(self.kubernetes_known),
            types=answer(self.types),
            zones={name: answer(zones) for name, zones in self.zones.items()},
            offers=answer(self.offers),
            subnets=answer(self.subnets),
            routes=answer(self.routes),
            image=answer(self.image),
            security_group=answer(self.security_group),
            left_overs=answer(self.left_overs),
            quotas={code: answer(quota) for code, quota in self.quotas.items()},
            in_use=answer(self.in_use),
            trial=answer(self.trial),
            instance_profile=answer(self.instance_profile),
            disk_key=answer(self.disk_key),
            registry_secret=answer(self.registry_secret),
            reservations=answer(self.reservations),
            scores=answer(self.scores),
            images={name: answer(image) for name, image in self.images.items()},
            money=Money({n: answer(price) for n, price in self.prices.items()}, answer(self.spot), answer(self.disk)),
            committed=committed,
        )

    # --- what takes more than one call --------------------------------------------------------------------

    def _image_of(self, pool: PoolSpec) -> MachineImage:
        """The pool's own image, else that for its type's architecture."""
        if pool.ami:
            return self._image(pool.ami)
        first = self._preset.ami or self._target.ami
        second = self._preset.ami_arm64 or self._target.ami_arm64 or first.replace("/amd64/", "/arm64/")
        if second == first:
            return self.image.result()
        kind = self.types.result().get(pool.instance_type)
        return self._image(second) if kind and kind.architecture == "arm64" else self.image.result()

    def _image(self, reference: str) -> MachineImage:
        if not reference:
            raise Permanent(
                f"Neither preset {self._preset.name} nor target {self._target.name} names an AMI.",
                f'Set ami in the target, such as "{UBUNTU}".',
            )
        return self._cloud.image(reference)

    def _vpc(self) -> str:
        return self._target.vpc or next((subnet.vpc for subnet in self.subnets.result()), "")

    def _security_group(self) -> SecurityGroup | None:
        if not self._target.security_group:
            return None
        return self._cloud.security_group(self._vpc(), self._target.security_group)

    def _scores(self) -> dict[str, int]:
        """Asked for as many machines as the order takes, which its types tell."""
        name = self._preset.gpu_pool.instance_type
        kind = self.types.result().get(name)
        return self._cloud.placement_scores(name, -(-self._spec.gpus // kind.gpus) if kind and kind.gpus else 1)

    def _instance_profile(self) -> InstanceProfile | None:
        name = self._target.instance_profile
        return self._cloud.instance_profile(name) if name else None

    def _disk_key(self) -> DiskKey | None:
        """Asked of its own region only: another's is a mistake already."""
        arn = self._target.kms_key
        return self._cloud.disk_key(arn) if arn and region_of(arn) == self._target.region else None

    @staticmethod
    def _secret(rancher: Rancher, name: str) -> StoredSecret | None:
        return rancher.secret(name) if name else None

    def _left_overs(self) -> tuple[Instance, ...]:
        found = self._cloud.instances(LABEL_CLUSTER, self._spec.name)
        if not found or not self._ignored:
            return found
        ours = {machine.id for machine in self._cloud.instances(LABEL_REQUEST, self._ignored)}
        return tuple(machine for machine in found if machine.id not in ours)

    def _try(self) -> bool | None:
        """A dry run of one GPU machine; None where something that it takes is missing (another check says what)."""
        kind, name = self._preset.gpu_pool.instance_type, self._preset.gpu_pool.name
        try:
            zones, image = self.zones[kind].result(), self.images[name].result()
            group, subnets = self.security_group.result(), self.subnets.result()
        except WorldError:
            return None
        where = next((subnet for subnet in subnets if subnet.zone in zones), None)
        if where is None or group is None or kind not in self.types.result():
            return None
        return self._cloud.allowed_to_start(Trial(kind, image.id, where.id, group.id))

    # --- what to take instead -----------------------------------------------------------------------------

    def _offers(self) -> tuple[Offer, ...]:
        """The nearest types that could be had; asked for only where one is needed: it is the longest list of all."""
        listed = self.types.result()
        wanted = self._preset.gpu_pool.instance_type
        kind = listed.get(wanted)
        if kind is not None and kind.on_demand and self.zones[wanted].result() and self._has_room(kind):
            return ()
        here_first = [offer for region in self._regions() for offer in self._offers_in(region, kind)]
        by_name: dict[str, Offer] = {}
        for offer in here_first:
            by_name.setdefault(offer.kind.name, offer)
        prices = {name: offer.price for name, offer in by_name.items() if offer.price is not None}
        best = self._nearest(kind, tuple(offer.kind for offer in by_name.values()), prices)
        return tuple(by_name[one.name] for one in best)

    def _regions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._target.region, *self._target.regions)))

    def _offers_in(self, region: str, wanted: InstanceType | None) -> list[Offer]:
        """The shortlist of one region, with prices."""
        here = region == self._target.region
        cloud = self._cloud if here else self._cloud.elsewhere(region)
        kinds = tuple(kind for kind in cloud.gpu_types() if self._usable(kind, here))
        short: list[InstanceType] = []
        while len(short) < _SHORTLIST and (near := self._nearest(wanted, tuple(k for k in kinds if k not in short))):
            short += near
        prices = [_ask_by(kind.name, cloud.on_demand_price) for kind in short]
        pairs = zip(short, prices, strict=True)
        return [Offer(kind, _value(price), "" if here else region) for kind, price in pairs]

    def _nearest(
        self, wanted: InstanceType | None, kinds: tuple[InstanceType, ...], prices: dict[str, float] | None = None
    ) -> tuple[InstanceType, ...]:
        name = self._preset.gpu_pool.instance_type
        last = WITHDRAWN.get(name)
        if last is not None:
            return nearest(last.gpu_memory_mib, last.gpus, name, kinds, prices)
        if wanted is not None and wanted.gpus:
            return nearest(wanted.gpu_memory_mib, wanted.gpus, name, kinds, prices)
        return nearest(None, self._spec.gpus, name, kinds, prices)

    def _usable(self, kind: InstanceType, here: bool) -> bool:
        """Sold by the hour, runs the preset's image; here another type whose quota has room. An unknown image fits."""
        try:
            chip = self.images[self._preset.gpu_pool.name].result().architecture
        except WorldError:
            chip = kind.architecture
        another = kind.name != self._preset.gpu_pool.instance_type
        return kind.on_demand and kind.architecture == chip and (not here or (another and self._has_room(kind)))

    def _has_room(self, kind: InstanceType) -> bool:
        """Whether the family's quota allows machines of that type for the order; yes where that is not known."""
        family = family_of(kind.name)
        try:
            quota, in_use = self.quotas[family.code].result(), self.in_use.result()
        except (WorldError, KeyError):
            return True
        machines = -(-self._spec.gpus // kind.gpus) if kind.gpus else 1
        return used_of(family, in_use) + machines * kind.vcpus <= quota.limit


def ask(question: Callable[[], T]) -> Future[T]:
    """The answer to come. The threads are daemons: one that hangs must not keep the program from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, name="preflight", daemon=True).start()
    return future


def _ask_by(key: str, question: Callable[[str], T]) -> Future[T]:
    return ask(lambda: question(key))


def _value(future: Future[float]) -> float | None:
    try:
        return future.result()
    except WorldError:
        return None


def _version(preset: Preset, rancher: Rancher) -> str:
    """The preset's Kubernetes version or Rancher's default, with its leading v."""
    version = preset.kubernetes or rancher.default_kubernetes(preset.distribution)
    if not version:
        raise Temporary("Rancher names no default version", f"Set kubernetes in preset {preset.name}.")
    return f"v{version.removeprefix('v')}"
