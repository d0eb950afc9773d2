"""Preflight: can this be had, and what exactly would be made? Asked of AWS and Rancher side by side, in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from bot.core.checks import NO, Answer, Facts, all_checks, best_subnets
from bot.core.ports import Cloud, Instance, InstanceType, MachineImage, Permanent, Rancher, Temporary, WorldError
from bot.core.spec import (
    GPU_TAINT,
    LABEL_CLUSTER,
    LABEL_POOL,
    LABEL_REQUEST,
    UNVERIFIED_TAINT,
    Catalogue,
    Check,
    ClusterSpec,
    Envelope,
    GpuExpectation,
    Pool,
    PoolSpec,
    Preflight,
    Preset,
    Taint,
    Target,
)

T = TypeVar("T")

UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
"""Canonical's SSM parameter for the Ubuntu that the GPU Operator builds drivers for."""


def preflight(
    spec: ClusterSpec,
    catalogue: Catalogue,
    *,
    cloud: Cloud,
    rancher: Rancher,
    seconds: float = 10.0,
    ignore_request: str = "",
) -> Preflight:
    """Every check, and the envelope when none says no and all it needs is known.

    Returns within `seconds` (real time); what has not answered by then is "could not check". Machines that carry
    the label of `ignore_request` are no left-overs. Raises nothing for what the outside says or does not say.
    """
    preset, target = catalogue.presets.get(spec.preset), catalogue.targets.get(spec.target)
    if preset is None or target is None:
        gone = f"preset {spec.preset}" if preset is None else f"target {spec.target}"
        return Preflight((Check("configuration", NO, f"There is no {gone} any more.", "Put it back, or ask anew."),))
    questions = _Questions(spec, preset, target, cloud, rancher, ignore_request)
    facts = questions.facts(catalogue.policy.max_gpus, seconds)
    checks = all_checks(facts)
    if any(check.state == NO for check in checks):
        return Preflight(checks)
    return Preflight(checks, _envelope(facts, catalogue.probe_image.reference))


class _Questions:
    """Everything that is asked, each in a thread of its own; some wait for the answer of another."""

    def __init__(
        self, spec: ClusterSpec, preset: Preset, target: Target, cloud: Cloud, rancher: Rancher, ignore_request: str
    ) -> None:
        self._spec, self._preset, self._target = spec, preset, target
        self._cloud, self._ignored = cloud, ignore_request
        names = tuple(dict.fromkeys(pool.instance_type for pool in preset.pools))
        self.identity = _ask(cloud.identity)
        self.credential = _ask(lambda: rancher.has_credential(target.cloud_credential))
        self.kubernetes = _ask(lambda: _version(preset, rancher))
        self.kubernetes_known = _ask(rancher.kubernetes_versions)
        self.types = _ask(lambda: cloud.instance_types(names))
        self.zones = {name: _ask_zones(cloud, name) for name in names}
        self.subnets = _ask(lambda: cloud.subnets(target.vpc, target.subnets))
        self.image = _ask(self._image)
        self.left_overs = _ask(self._left_overs)
        self.gpu_types = _ask(self._gpu_types)
        self.security_group = _ask(self._security_group)

    def facts(self, max_gpus: int, seconds: float) -> Facts:
        """The answers that came within `seconds`."""
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
            credential=answer(self.credential),
            kubernetes=answer(self.kubernetes),
            kubernetes_known=answer(self.kubernetes_known),
            types=answer(self.types),
            zones={name: answer(zones) for name, zones in self.zones.items()},
            gpu_types=answer(self.gpu_types),
            subnets=answer(self.subnets),
            image=answer(self.image),
            security_group=answer(self.security_group),
            left_overs=answer(self.left_overs),
        )

    def _image(self) -> MachineImage:
        reference = self._preset.ami or self._target.ami
        if not reference:
            raise Permanent(
                f"Neither preset {self._preset.name} nor target {self._target.name} names an AMI.",
                f'Set ami in the target, such as "{UBUNTU}".',
            )
        return self._cloud.image(reference)

    def _gpu_types(self) -> tuple[InstanceType, ...]:
        """Only where one must be suggested: it is the longest list of all."""
        listed = self.types.result()
        if all(name in listed and zones.result() for name, zones in self.zones.items()):
            return ()
        return self._cloud.gpu_types()

    def _security_group(self) -> str | None:
        if not self._target.security_group:
            return None
        vpc = self._target.vpc or next((subnet.vpc for subnet in self.subnets.result()), "")
        return self._cloud.security_group_id(vpc, self._target.security_group)

    def _left_overs(self) -> tuple[Instance, ...]:
        found = self._cloud.instances(LABEL_CLUSTER, self._spec.name)
        if not found or not self._ignored:
            return found
        ours = {machine.id for machine in self._cloud.instances(LABEL_REQUEST, self._ignored)}
        return tuple(machine for machine in found if machine.id not in ours)


def _ask(question: Callable[[], T]) -> Future[T]:
    """The answer to come. The threads are daemons: one that hangs must not keep the program from ending."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(question())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, name="preflight", daemon=True).start()
    return future


def _ask_zones(cloud: Cloud, name: str) -> Future[tuple[str, ...]]:
    return _ask(lambda: cloud.zones_offering(name))


def _version(preset: Preset, rancher: Rancher) -> str:
    """The preset's Kubernetes version or Rancher's default, with its leading v."""
    version = preset.kubernetes or rancher.default_kubernetes()
    if not version:
        raise Temporary("Rancher names no default version", f"Set kubernetes in preset {preset.name}.")
    return f"v{version.removeprefix('v')}"


def _envelope(facts: Facts, probe_image: str) -> Envelope | None:
    """What exactly would be made; None when an answer that it needs is missing (its check says which)."""
    spec, preset, target = facts.spec, facts.preset, facts.target
    try:
        machine = facts.types.get()[preset.gpu_pool.instance_type]
        return Envelope(
            name=spec.name,
            team=spec.team,
            target=target.name,
            preset=preset.name,
            account=facts.identity.get().account,
            region=target.region,
            vpc=best_subnets(facts)[0].vpc,
            cloud_credential=target.cloud_credential,
            security_group=target.security_group,
            ssh_user=target.ssh_user,
            kubernetes=facts.kubernetes.get(),
            operator=preset.operator,
            driver=preset.driver,
            probe_image=probe_image,
            pools=tuple(_pool(pool, facts) for pool in preset.pools),
            gpu=GpuExpectation(machine.name, machine.gpu_name, machine.gpus, machine.gpu_memory_mib),
            gpus=spec.gpus,
            hours=spec.hours,
        )
    except WorldError:
        return None


def _pool(pool: PoolSpec, facts: Facts) -> Pool:
    """A pool with everything decided; the GPU pool registers behind both taints (the gate takes one away)."""
    place = best_subnets(facts)[0]
    return Pool(
        name=pool.name,
        instance_type=pool.instance_type,
        count=facts.machines(pool),
        control_plane=pool.control_plane,
        worker=pool.worker,
        gpu=pool.gpu,
        root_gib=pool.root_gib,
        zone=place.zone.removeprefix(facts.target.region),
        subnet=place.id,
        ami=facts.image.get().id,
        labels=((LABEL_POOL, pool.name),),
        taints=(Taint(GPU_TAINT, "present"), Taint(UNVERIFIED_TAINT, "true")) if pool.gpu else (),
    )
