"""Whether image, Kubernetes, GPU Operator and GPU go together."""

from __future__ import annotations

import re
import time

from bot.core.checks.facts import Facts
from bot.core.checks.finding import Finding, no, ok, unknown
from bot.core.cloud import MachineImage

# The GPU Operator's default driver (595 in v26.7.0) has dropped Volta: R580 is the last branch that drives it
# (NVIDIA/cloud-native-docs: gpu-operator/platform-support.rst). GPU as EC2 names it → a driver of its last branch.
_LAST_DRIVER = {"V100": "580.173.02"}

# What NVIDIA has validated, by the operator's major release (NVIDIA/cloud-native-docs: platform-support.rst):
# Kubernetes minors for RKE2, and the Ubuntu releases that driver containers are built for.
_VALIDATED = {"v26.7": ((33, 36), ("22.04", "24.04", "26.04"))}

_UBUNTU = re.compile(r"ubuntu.*?[-/](\d\d\.\d\d)\b")
_MINOR = re.compile(r"v?1\.(\d+)")
_TRUSTED = {"099720109477": "Canonical", "137112412989": "Amazon", "898082745236": "Amazon (DLAMI)"}
_OLD_DAYS = 180


def driver(facts: Facts) -> Finding | None:
    machine, wanted, preset = facts.gpu_machine(), facts.preset.driver, facts.preset
    if machine is None or not machine.gpus:
        return None
    last = _LAST_DRIVER.get(machine.gpu_name, "")
    branch = last.partition(".")[0]
    chosen = wanted or f"the default of GPU Operator {preset.operator}"
    if not last or wanted.startswith(f"{branch}."):
        return ok(chosen)
    return no(
        f"Branch {branch} is the last that drives {machine.gpu_name}; the preset takes {chosen}.",
        f'Set driver = "{last}" in preset {preset.name}.',
    )


def combination(facts: Facts) -> Finding:
    """Kubernetes, operator and operating system as NVIDIA has validated them together."""
    operator, version, image = facts.preset.operator, facts.kubernetes.get(), facts.image_of(facts.preset.gpu_pool)
    release, minor = _UBUNTU.search(image.name), _MINOR.match(version)
    validated = _VALIDATED.get(operator.rpartition(".")[0])
    if validated is None or release is None or minor is None:
        return unknown(f"NVIDIA's validation of {operator} with {version} on “{image.name}” is not known here")
    (low, high), systems = validated
    if release[1] not in systems:
        return no(
            f"GPU Operator {operator} has no driver container for Ubuntu {release[1]}.",
            f"Use an AMI of Ubuntu {', '.join(systems)}.",
        )
    together = f"Kubernetes 1.{minor[1]}, GPU Operator {operator}, Ubuntu {release[1]}"
    if not low <= int(minor[1]) <= high:
        return unknown(f"{together}: NVIDIA has validated 1.{low} to 1.{high}", "It may work; nobody promises it.")
    return ok(together)


def image(facts: Facts) -> Finding:
    """Each pool's image fits its type and its disk."""
    types = facts.types.get()
    for pool in facts.preset.pools:
        image, kind = facts.image_of(pool), types.get(pool.instance_type)
        if kind is not None and kind.architecture != image.architecture:
            key = "ami_arm64" if kind.architecture == "arm64" else "ami"
            return no(
                f"{image.id} is for {image.architecture}, {kind.name} is {kind.architecture}.",
                f"Name an AMI for {kind.architecture} ({key} in target or preset), or types of one architecture.",
            )
        if pool.root_gib < image.root_gib:
            return no(
                f"{image.id} needs a root disk of {image.root_gib} GiB, pool {pool.name} asks for {pool.root_gib}.",
                f"Set root_gib of pool {pool.name} to {image.root_gib} or more.",
            )
    said = {one.id: _said(one, facts) for one in map(facts.image_of, facts.preset.pools)}
    old = any(facts.image_of(pool).deprecated for pool in facts.preset.pools)
    return ok("; ".join(said.values()), "Move to a newer image before it is gone." if old else "")


def _said(image: MachineImage, facts: Facts) -> str:
    own = facts.identity.value is not None and facts.identity.value.account == image.owner
    maker = _TRUSTED.get(image.owner) or ("this account" if own else f"account {image.owner}, a stranger")
    said = f"{image.id} {image.name}, by {maker}{_age(image.created_at)}"
    return f"{said}, deprecated by its owner" if image.deprecated else said


def _age(created_at: float) -> str:
    """How old an image is, where that is known; an old one lacks the fixes since."""
    if not created_at:
        return ""
    days = int((time.time() - created_at) / 86400)
    return f", {days} days old" + (": there is probably a newer one" if days > _OLD_DAYS else "")
