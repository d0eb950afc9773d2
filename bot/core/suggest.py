"""Which instance type to take instead of one that cannot be had."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from bot.core.ports import InstanceType

SUGGESTIONS = 3
"""How many types are suggested at most, one a family: more is a list to study, not a hint."""


@dataclass(frozen=True)
class Shape:
    """What a machine had for GPUs; `gpu_memory_mib` per GPU."""

    gpus: int
    gpu_memory_mib: int
    architecture: str = "x86_64"


# AWS lists these no longer (getmoto/moto: its crawl of AWS's listings of 2026-05-01 dropped them), and no API tells
# what a type that is not listed once had.
WITHDRAWN = {
    "p3.2xlarge": Shape(1, 16384),
    "p3.8xlarge": Shape(4, 16384),
    "p3.16xlarge": Shape(8, 16384),
}

_NAME = re.compile(r"(?P<letters>[a-z]+)(?P<generation>\d*)")


def nearest(
    wanted_gpu_memory_mib: int | None,
    wanted_gpus: int,
    wanted_name: str,
    offered: tuple[InstanceType, ...],
) -> tuple[InstanceType, ...]:
    """The best stand-ins among `offered`, best first, one a family, at most `SUGGESTIONS`.

    Where the memory per GPU (MiB) is known: nearest by that, then by the number of GPUs. Where it is not: types of
    the same family first (p5), then of the same letters (p), then of the nearest generation. Smaller machines
    break ties: of equal GPUs, the fewest vCPUs cost least.
    """

    def distance(kind: InstanceType) -> tuple[int, ...]:
        gpus = abs(kind.gpus - wanted_gpus)
        if wanted_gpu_memory_mib is None:
            return (*_kinship(wanted_name, kind.name), gpus)
        return (abs(kind.gpu_memory_mib - wanted_gpu_memory_mib), gpus)

    others = (kind for kind in offered if kind.name != wanted_name)
    ranked = sorted(others, key=lambda kind: (distance(kind), kind.vcpus, kind.name))
    return tuple(islice(_one_a_family(ranked), SUGGESTIONS))


def _kinship(wanted: str, name: str) -> tuple[int, int, int]:
    """0s for the same family; else whether the letters differ, and how many generations lie between."""
    (letters, generation), (other_letters, other_generation) = _split(wanted), _split(name)
    same_family = wanted.partition(".")[0] == name.partition(".")[0]
    return (int(not same_family), int(letters != other_letters), abs(generation - other_generation))


def _split(name: str) -> tuple[str, int]:
    """p5en.48xlarge → ("p", 5)."""
    match = _NAME.match(name)
    return (match["letters"], int(match["generation"] or 0)) if match else ("", 0)


def _one_a_family(ranked: Iterable[InstanceType]) -> Iterable[InstanceType]:
    seen: set[str] = set()
    for kind in ranked:
        family = kind.name.partition(".")[0]
        if family not in seen:
            seen.add(family)
            yield kind
