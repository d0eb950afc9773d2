"""What the GPU probe prints on a simulated GPU: the probe's document, schema 1."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from typing import Any

from bot.sandbox.world.metal.gpus import Gpu

#: Share of a GPU's memory that each level writes and reads back.
_PATTERN_SHARE = {"quick": 0.8, "standard": 0.95, "burn": 0.95}


def probe_document(
    script: str, *, level: str, host: str, started: float, seconds: float, driver: str, gpus: tuple[Gpu, ...]
) -> dict[str, Any]:
    """The probe's JSON document for ``gpus`` on ``host``; without any, its ``error`` is set.

    ``script`` is the text that runs: its hash names the probe. ``started`` is unix seconds of world time.
    """
    return {
        "schema": 1,
        "probe": hashlib.sha256(script.encode()).hexdigest()[:12],
        "level": level,
        "host": host,
        "started": int(started),
        "seconds": round(seconds, 1),
        "driver": driver if gpus else None,
        "cuda_driver": 13000 if gpus else None,
        "error": None if gpus else "libcuda.so.1 not found: cannot open shared object file",
        "gpus": [_gpu(index, gpu, level) for index, gpu in enumerate(gpus)],
        "peers": [_peer(pair) for pair in itertools.permutations(enumerate(gpus), 2)],
    }


def probe_exit_code(document: dict[str, Any]) -> int:
    """0 when every check passed, 1 when one failed, 3 without a GPU."""
    if document["error"]:
        return 3
    return 0 if all(check["ok"] for gpu in document["gpus"] for check in gpu["checks"]) else 1


def probe_line(document: dict[str, Any]) -> str:
    """The document as the probe prints it: one line."""
    return json.dumps(document, separators=(",", ":")) + "\n"


def _gpu(index: int, gpu: Gpu, level: str) -> dict[str, Any]:
    model = gpu.model
    rng = random.Random(gpu.uuid)  # the same GPU measures the same, give or take nothing

    def spread(value: float) -> float:
        return round(value * rng.uniform(0.985, 1.015), 1)

    return {
        "index": index,
        "uuid": gpu.uuid,
        "name": model.name,
        "memory_mib": model.memory_mib,
        "compute_capability": model.compute_capability,
        "pci_bus_id": gpu.pci_bus_id,
        "serial": None,
        "ecc_mode": "Enabled",
        "ecc_uncorrected": 0,
        "remapped_rows": _remapped() if model.remaps_rows else None,
        "pcie": {
            "generation": model.pcie_generation,
            "generation_max": model.pcie_generation,
            "width": model.pcie_width,
            "width_max": model.pcie_width,
        },
        "clocks_mhz": {"sm": model.sm_clock, "memory": model.memory_clock},
        "temperature_c": rng.randint(34, 48),
        "power_w": spread(model.power_w * 0.45),
        "power_limit_w": model.power_w,
        "throttle_reasons": ["gpu_idle"],
        "persistence_mode": "Enabled",
        "mig_mode": "Disabled" if model.mig else None,
        "recovery_action": "None",
        "checks": _checks(gpu, level),
        "bandwidth_gbs": {
            "device": spread(model.device_gbs),
            "host_to_device": spread(model.host_gbs),
            "device_to_host": spread(model.host_gbs * 1.02),
        },
        "tflops": {"fp32": spread(model.fp32_tflops), "tensor": spread(model.tensor_tflops)},
        "errors": [],
    }


def _peer(pair: tuple[tuple[int, Gpu], tuple[int, Gpu]]) -> dict[str, Any]:
    (source, gpu), (target, _) = pair
    nvlink = gpu.model.peer_gbs
    gbs = nvlink or round(gpu.model.host_gbs * 0.9, 1)
    return {"source": source, "target": target, "access": nvlink is not None, "gbs": gbs, "error": None}


def _remapped() -> dict[str, Any]:
    return {"pending": False, "failure": False, "correctable": 0, "uncorrectable": 0}


def _checks(gpu: Gpu, level: str) -> list[dict[str, Any]]:
    gib = gpu.model.memory_mib * _PATTERN_SHARE[level] / 1024
    wrong = "3 of 262144 elements wrong, first at (17, 301)" if gpu.faulty else ""
    return [
        {"name": "vector_add", "ok": True, "seconds": 0.02, "detail": ""},
        {"name": "matmul", "ok": not gpu.faulty, "seconds": 0.05, "detail": wrong},
        {"name": "memory_pattern", "ok": True, "seconds": 0.8, "detail": f"{gib:.1f} GiB"},
        {"name": "fused_multiply_add", "ok": True, "seconds": 0.01, "detail": ""},
        {"name": "tensor_product", "ok": True, "seconds": 0.03, "detail": ""},
    ]
