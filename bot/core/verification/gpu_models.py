"""What each GPU model should do, with where every number comes from. The one place where thresholds are kept.

Lines, as shares of the theoretical rate: memory 80 %, PCIe 75 %, float32 60 %; ten points below a GPU is *low*, lower
still it is *bad*. They come from H100 SXMs: device copy 90 %, PCIe 86 %, float32 97 % by the probe; cuBLAS float32
77 %, BF16 86 %. Copies from and to the host are *bad* only below half of PCIe's rate, which is what half the lanes or a
generation less leave: they measure the host as well, and one good GPU showed 40 to 55 GB/s within minutes
(tests/probe/fixtures/h100x2-quick-2.json). The tensor kernel of the probe does not reach the data sheet on Hopper and
later (docs/probe.md): its line is 70 % of what the same kernel reached on a good GPU of the model: what a 60 % line is
of the 86 % of cuBLAS.

A model is judged only where the probe itself has been run on a good one (`reference`). For any other the fail lines of
DCGM hold (NVIDIA/DCGM: nvvs/diag-skus.yaml.in, minimum memory bandwidth per SKU), and the rest reads *unrated*; what is
far below the data sheet is called *slow, by data sheet*, and fails nothing.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

MEASURES = ("device", "host_to_device", "device_to_host", "fp32", "tensor")
"""What the probe times: GB/s (decimal) for the first three, TFLOPS for the others."""

_GOOD_SHARE = {"device": 0.80, "host_to_device": 0.75, "device_to_host": 0.75, "fp32": 0.60}
_GOOD_SHARE_OF_REFERENCE = {"tensor": 0.70}
_LOW_BAND = {"host_to_device": 0.25, "device_to_host": 0.25}
_USUAL_LOW_BAND = 0.10
_BAD_SHARE_BETWEEN = 0.60

_SLOW_SHARE = {"device": 0.60, "fp32": 0.40, "tensor": 0.30}
"""Of the data sheet, for models without a reference. Low, because no good GPU may fall below: boards of 70 W (T4, L4)
leave their boost clock under load, and the probe's tensor kernel reached 66 % of the data sheet on a good H100."""

_PCIE_GBS_PER_LANE = {3: 1.0, 4: 2.0, 5: 4.0, 6: 8.0}
"""Nominal GB/s one way, by generation (PCI Express base specification: 8, 16, 32, 64 GT/s)."""


@dataclass(frozen=True)
class Reference:
    """What the probe measured on one good GPU of the model, level standard. None: not measured with this kernel."""

    device: float
    host_to_device: float
    device_to_host: float
    fp32: float | None = None
    tensor: float | None = None
    peer: float | None = None
    """GB/s from one to another of the same host over NVLink, one way."""


@dataclass(frozen=True)
class GpuModel:
    """Data sheet values; `pattern` finds the driver's name of it.

    `memory_gbs` theoretical, `floor_gbs` DCGM's minimum (None: it has none); `fp32` and `tensor` (float16, dense) in
    TFLOPS; `lanes` is the narrowest PCIe link that DCGM accepts (plugin_src/pcie/Pcie.cpp, diag-skus.yaml.in).
    `peer_gbs` is what Azure's node health checks ask of copies between two GPUs (Azure/azurehpc-health-checks: conf).
    `tensor_by_sheet`: whether the data sheet says something about the probe's kernel. It does not from Blackwell on,
    whose tensor cores want other instructions.
    """

    name: str
    pattern: str
    memory_gbs: float
    floor_gbs: float | None
    fp32: float
    tensor: float
    pcie_generation: int
    lanes: int = 16
    peer_gbs: float | None = None
    reference: Reference | None = None
    tensor_by_sheet: bool = True


@dataclass(frozen=True)
class Line:
    """What one measure should come to: `expected` of a good GPU; below `good` it is low, below `bad` it is bad."""

    expected: float | None
    good: float | None
    bad: float


# Driver 580.159.04; tests/probe/fixtures/h100-standard.json, between GPUs h100x2-standard.json.
_H100 = Reference(3016.0, 54.9, 54.9, 65.2, 657.0, 377.0)

# H100, H200, L40S, A100 tensor: pytorch/torchtitan; A100 (NVIDIA's data sheet nvidia-1758950), B200, B300:
# glennklockwood.com/garden/processors; A10G memory: Baseten; L4: fpsbench.com, hmc-tech.com; H100 PCIe: hmc-tech.com,
# memory by NVIDIA's data sheet. V100, T4: NVIDIA's data sheets volta-v100-datasheet-update-us-1165301-r5 and
# t4-tensor-core-datasheet-951643, as Lightning-AI/pytorch-lightning quotes them (fabric/utilities/throughput.py); their
# memory: heise.de 3753051, sysrqmts.com (TU104-895). T4G has T4's chip, and T4's floor in DCGM. A10G, which has no data
# sheet of its own: float32 GoogleCloudPlatform/professional-services (gpu-mapping.yaml), the lowest that is published;
# tensor 70 agrees with Baseten (less than the A10's 125) and was found in no table. EC2 gives T4, A10G and L40S fewer
# than 16 lanes.
MODELS = (
    GpuModel("V100 SXM2", r"V100-SXM2", 900, 607, 15.7, 125, 3),
    GpuModel("T4", r"\bT4\b", 320, 183, 8.1, 65, 3, lanes=8),
    GpuModel("T4G", r"\bT4G\b", 320, 183, 8.1, 65, 3, lanes=8),
    GpuModel("A10G", r"\bA10G\b", 600, 363, 31.5, 70, 4, lanes=8),
    GpuModel("A100 SXM 40 GB", r"A100-SXM4-40GB", 1555, None, 19.5, 312, 4, peer_gbs=235),
    GpuModel("A100 SXM 80 GB", r"A100-SXM4-80GB", 2039, 1173, 19.5, 312, 4, peer_gbs=235),
    GpuModel("L4", r"\bL4\b", 300, 198, 30.3, 121, 4),
    GpuModel("L40S", r"\bL40S\b", 864, 525, 91.6, 362, 4, lanes=8),
    GpuModel("H100 SXM", r"H100 80GB HBM3", 3350, 1905, 67, 989, 5, peer_gbs=335, reference=_H100),
    GpuModel("H100 PCIe", r"H100 PCIe", 2000, None, 51, 756, 5),
    GpuModel("H200 SXM", r"\bH200$", 4800, 2212, 67, 989, 5, peer_gbs=335),
    GpuModel("B200", r"\bB200\b", 8000, 4072, 75, 2250, 5, tensor_by_sheet=False),
    GpuModel("B300", r"\bB300\b", 8000, 4623, 75, 2250, 6, tensor_by_sheet=False),
)


@functools.lru_cache(maxsize=256)
def find_model(driver_name: str) -> GpuModel | None:
    """The model with the driver's name, such as "NVIDIA H100 80GB HBM3"; None for one that the table lacks."""
    return next((model for model in MODELS if re.search(model.pattern, driver_name, re.IGNORECASE)), None)


def line(model: GpuModel, measure: str) -> Line | None:
    """What `measure` should come to on a good GPU of the model; None where nothing reliable is known."""
    floor = model.floor_gbs if measure == "device" else None
    expected = getattr(model.reference, measure) if model.reference else None
    if expected is None:
        return None if floor is None else Line(None, None, floor)
    if measure in _GOOD_SHARE_OF_REFERENCE:
        whole, share = expected, _GOOD_SHARE_OF_REFERENCE[measure]
    else:
        whole, share = _theoretical(model, measure), _GOOD_SHARE[measure]
    return Line(expected, share * whole, max((share - _LOW_BAND.get(measure, _USUAL_LOW_BAND)) * whole, floor or 0.0))


def slow_line(model: GpuModel, measure: str) -> float | None:
    """Below this a GPU of a model that was never measured is slow by its data sheet; None for a measured model, and
    where the data sheet says nothing reliable (PCIe: machines give what they give)."""
    share = _SLOW_SHARE.get(measure)
    if share is None or model.reference is not None or (measure == "tensor" and not model.tensor_by_sheet):
        return None
    return share * data_sheet(model, measure)


def line_between(model: GpuModel) -> Line | None:
    """What a copy from one GPU to another of the model should come to where they reach one another directly; None where
    none was measured."""
    measured = model.reference.peer if model.reference else None
    if measured is None:
        return None
    return Line(measured, model.peer_gbs, _BAD_SHARE_BETWEEN * measured)


def data_sheet(model: GpuModel, measure: str) -> float:
    """What the maker promises, in GB/s or TFLOPS: no GPU fails by it."""
    return model.tensor if measure == "tensor" else _theoretical(model, measure)


def _theoretical(model: GpuModel, measure: str) -> float:
    if measure == "device":
        return model.memory_gbs
    if measure == "fp32":
        return model.fp32
    return _PCIE_GBS_PER_LANE[model.pcie_generation] * 16


# AWS's short names against the driver's long ones (EC2 DescribeInstanceTypes; NVML device names).
_ALIASES = {"rtxproserver6000": "rtxpro6000"}


def same_model(aws: str, driver: str) -> bool:
    """Whether AWS's short name (V100, A10G, RTX PRO Server 6000) and the driver's long one mean one model."""
    wanted = _ALIASES.get(_squeeze(aws), _squeeze(aws))
    # "L4" is a prefix of "L40S", "T4" of "T4g" and B200 the end of GB200: short names must be a word of their own.
    words = [_squeeze(word) for word in driver.replace("-", " ").split()]
    return wanted in words or (len(wanted) > 5 and wanted in _squeeze(driver))


def _squeeze(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
