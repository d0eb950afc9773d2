"""What a node is made of."""

from __future__ import annotations

from dataclasses import dataclass

from bot.sandbox.world.metal.gpus import Gpu


@dataclass(frozen=True)
class Hardware:
    """One machine as its kubelet sees it. ``memory_mib`` is the instance type's, ``gpus`` those on its bus."""

    instance_type: str
    instance_id: str
    region: str
    zone: str
    private_ip: str
    architecture: str
    vcpus: int
    memory_mib: int
    gpus: tuple[Gpu, ...]
