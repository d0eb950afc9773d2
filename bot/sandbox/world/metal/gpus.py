"""GPUs as their driver describes them. How many a machine has, AWS says; never this table."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuModel:
    """What a driver reports about a model.

    ``memory_mib`` is nvidia-smi's total, a little below what EC2 lists; bandwidths are decimal GB/s as a probe
    measures them (NVIDIA/DCGM: nvvs/diag-skus.yaml.in gives floors below these), TFLOPS likewise, clocks MHz, power
    watts. ``peer_gbs``: copies between two of them over NVLink; None where they go through the host.
    """

    name: str
    compute_capability: str
    memory_mib: int
    device_gbs: float
    host_gbs: float
    pcie_generation: int
    pcie_width: int
    sm_clock: int
    memory_clock: int
    power_w: float
    family: str
    remaps_rows: bool
    fp32_tflops: float
    tensor_tflops: float
    mig: bool = False
    peer_gbs: float | None = None


#: By AWS's name of the GPU and its memory in MiB (EC2 DescribeInstanceTypes, GpuInfo).
_MODELS: dict[tuple[str, int], GpuModel] = {
    ("V100", 16384): GpuModel(
        "Tesla V100-SXM2-16GB", "7.0", 16160, 795.0, 11.9, 3, 16, 1530, 877, 300.0, "volta", False, 14.9, 100.0
    ),
    ("V100", 32768): GpuModel(
        "Tesla V100-SXM2-32GB", "7.0", 32494, 795.0, 11.9, 3, 16, 1530, 877, 300.0, "volta", False, 14.9, 100.0
    ),
    ("T4", 16384): GpuModel("Tesla T4", "7.5", 15360, 262.0, 11.9, 3, 16, 1590, 5001, 70.0, "turing", False, 7.9, 52.0),
    ("T4g", 16384): GpuModel(
        "NVIDIA T4G", "7.5", 15360, 262.0, 11.9, 3, 16, 1590, 5001, 70.0, "turing", False, 7.9, 52.0
    ),
    ("A10G", 22888): GpuModel(
        "NVIDIA A10G", "8.6", 23028, 512.0, 24.6, 4, 16, 1710, 6251, 300.0, "ampere", True, 33.0, 66.0
    ),
    ("L4", 22888): GpuModel("NVIDIA L4", "8.9", 23034, 264.0, 24.6, 4, 16, 2040, 6251, 72.0, "ada", True, 29.0, 108.0),
    ("L40S", 45776): GpuModel(
        "NVIDIA L40S", "8.9", 46068, 760.0, 25.1, 4, 16, 2520, 9001, 350.0, "ada", True, 88.0, 340.0
    ),
    ("A100", 40960): GpuModel(
        "NVIDIA A100-SXM4-40GB",
        "8.0",
        40960,
        1380.0,
        24.9,
        4,
        16,
        1410,
        1215,
        400.0,
        "ampere",
        True,
        19.1,
        285.0,
        mig=True,
        peer_gbs=238.0,
    ),
    ("A100", 81920): GpuModel(
        "NVIDIA A100-SXM4-80GB",
        "8.0",
        81920,
        1790.0,
        24.9,
        4,
        16,
        1410,
        1593,
        400.0,
        "ampere",
        True,
        19.1,
        285.0,
        mig=True,
        peer_gbs=238.0,
    ),
    ("H100", 81920): GpuModel(
        "NVIDIA H100 80GB HBM3",
        "9.0",
        81559,
        3008.0,
        54.7,
        5,
        16,
        1980,
        2619,
        700.0,
        "hopper",
        True,
        65.2,
        657.0,
        mig=True,
        peer_gbs=335.0,
    ),
    ("H200", 144384): GpuModel(
        "NVIDIA H200",
        "9.0",
        143771,
        4250.0,
        54.9,
        5,
        16,
        1980,
        3201,
        700.0,
        "hopper",
        True,
        65.3,
        660.0,
        mig=True,
        peer_gbs=335.0,
    ),
    ("B200", 183359): GpuModel(
        "NVIDIA B200",
        "10.0",
        183359,
        7050.0,
        55.3,
        5,
        16,
        1965,
        3996,
        1000.0,
        "blackwell",
        True,
        73.0,
        700.0,
        mig=True,
        peer_gbs=640.0,
    ),
}


@dataclass(frozen=True)
class Gpu:
    """One GPU of one node. ``faulty``: it computes wrong results."""

    index: int
    uuid: str
    pci_bus_id: str
    model: GpuModel
    faulty: bool = False


def model_of(aws_name: str, memory_mib: int) -> GpuModel:
    """The model behind AWS's name and memory size.

    Raises:
        ValueError: for a GPU whose driver-side description is not known here.
    """
    sizes = {mib: model for (name, mib), model in _MODELS.items() if name == aws_name}
    if not sizes:
        known = sorted({name for name, _ in _MODELS})
        raise ValueError(f"the sandbox cannot play a {aws_name}; it knows {', '.join(known)}")
    return sizes[min(sizes, key=lambda mib: abs(mib - memory_mib))]


def make_gpus(aws_name: str, memory_mib: int, count: int, seed: str) -> tuple[Gpu, ...]:
    """``count`` GPUs; their UUIDs depend on ``seed`` (the instance id) alone."""
    model = model_of(aws_name, memory_mib)
    rng = random.Random(seed)
    return tuple(
        Gpu(
            index=index,
            uuid=f"GPU-{uuid.UUID(int=rng.getrandbits(128), version=4)}",
            pci_bus_id=f"00000000:00:{0x1E - index:02X}.0",
            model=model,
        )
        for index in range(count)
    )
