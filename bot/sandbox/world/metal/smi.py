"""What ``nvidia-smi --query-gpu=…`` prints of simulated GPUs (names and words: nvidia-smi of driver 580)."""

from __future__ import annotations

from collections.abc import Callable

from bot.sandbox.world.metal.gpus import Gpu

_FIELDS: dict[str, Callable[[Gpu], str]] = {
    "uuid": lambda gpu: gpu.uuid,
    "name": lambda gpu: gpu.model.name,
    "pcie.link.width.current": lambda gpu: str(gpu.model.pcie_width),
    "pcie.link.width.max": lambda gpu: str(gpu.model.pcie_width),
    "ecc.errors.uncorrected.volatile.total": lambda gpu: "3" if gpu.faulty else "0",
    "remapped_rows.pending": lambda gpu: "No" if gpu.model.remaps_rows else "[N/A]",
    "remapped_rows.failure": lambda gpu: "No" if gpu.model.remaps_rows else "[N/A]",
    "clocks_throttle_reasons.hw_thermal_slowdown": lambda _: "Not Active",
    "clocks_throttle_reasons.hw_power_brake_slowdown": lambda _: "Not Active",
}


def query_gpus(arguments: tuple[str, ...], gpus: tuple[Gpu, ...]) -> tuple[str, int]:
    """Output and exit code. One unknown field costs the whole answer, as with the real one."""
    asked = next((word.partition("=")[2] for word in arguments if word.startswith("--query-gpu=")), "")
    if not asked or "--format=csv,noheader,nounits" not in arguments:
        return "Invalid combination of input arguments.\n", 1
    names = asked.split(",")
    for name in names:
        if name not in _FIELDS:
            return f'Field "{name}" is not a valid field to query.\n', 2
    return "".join(", ".join(_FIELDS[name](gpu) for name in names) + "\n" for gpu in gpus), 0
