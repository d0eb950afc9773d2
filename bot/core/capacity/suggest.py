"""Which instance type to take instead of one that cannot be had."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf

from bot.core.cloud import InstanceType
from bot.core.costs.money import dollars

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


@dataclass(frozen=True)
class Offer:
    """A type that can be had in a region; `elsewhere` names the region when it is not the target's.

    `price` in US dollars an hour, None where it is not known.
    """

    kind: InstanceType
    price: float | None = None
    elsewhere: str = ""

    def __str__(self) -> str:
        where = f" in {self.elsewhere}" if self.elsewhere else ""
        price = f", {dollars(self.price)} an hour" if self.price is not None else ""
        return f"{describe(self.kind, price)}{where}"


def describe(kind: InstanceType, more: str = "") -> str:
    """g4dn.xlarge (1 × T4 with 16 GiB)."""
    return f"{kind.name} ({kind.gpus} × {kind.gpu_name} with {kind.gpu_memory_mib / 1024:.0f} GiB{more})"


_NAME = re.compile(r"(?P<letters>[a-z]+)(?P<generation>\d*)")


def nearest(
    wanted_gpu_memory_mib: int | None,
    wanted_gpus: int,
    wanted_name: str,
    offered: tuple[InstanceType, ...],
    prices: Mapping[str, float] | None = None,
) -> tuple[InstanceType, ...]:
    """The best stand-ins among `offered`, best first, one a family, at most `SUGGESTIONS`.

    Where the memory per GPU (MiB) is known: nearest by that, then by the number of GPUs. Where it is not: types of
    the same family first (p5), then of the same letters (p), then of the nearest generation. Ties go to the
    cheapest by `prices` (dollars an hour), then to the smallest: of equal GPUs, the fewest vCPUs cost least.
    """
    known = prices or {}

    def distance(kind: InstanceType) -> tuple[int, ...]:
        gpus = abs(kind.gpus - wanted_gpus)
        if wanted_gpu_memory_mib is None:
            return (*_kinship(wanted_name, kind.name), gpus)
        return (abs(kind.gpu_memory_mib - wanted_gpu_memory_mib), gpus)

    ranked = sorted(offered, key=lambda kind: (distance(kind), known.get(kind.name, inf), kind.vcpus, kind.name))
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
