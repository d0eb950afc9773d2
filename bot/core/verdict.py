"""Measurements → verdict. What a GPU must show before anybody is told that it is ready.

The probe's document (docs/probe.md) is compared with what AWS says the instance type has; a label alone proves
nothing. Verdicts: *verified* (all ordered GPUs measured and good), *degraded* (some are), *failed* (none is),
*unknown* (nothing could be read).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.core.spec import GpuExpectation

VERIFIED, DEGRADED, FAILED, UNKNOWN = "verified", "degraded", "failed", "unknown"

SCHEMA = 1
MEMORY_TOLERANCE = 0.07
"""The driver shows less than AWS promises: an H100 81,559 of 81,920 MiB (measured); boards with GDDR6 keep 1/16 for
their ECC, so a T4 shows 15,360 of 16,384 MiB (nvidia-smi on g4dn)."""

_BAD_THROTTLE = frozenset({"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})
"""Broken cooling or power, as Azure's node health checks grade them (azure_gpu_clock_throttling.nhc)."""

REQUIRED_CHECKS = ("vector_add", "matmul", "memory_pattern")

# AWS's short names against the driver's long ones (EC2 DescribeInstanceTypes; NVML device names).
_ALIASES = {"rtxproserver6000": "rtxpro6000"}


@dataclass(frozen=True)
class CheckResult:
    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class GpuResult:
    """One GPU. `memory_mib` as the driver reports it; bandwidths in GB/s (decimal), None where not measured."""

    node: str
    index: int
    uuid: str
    name: str
    memory_mib: int
    driver: str
    checks: tuple[CheckResult, ...]
    device_gbs: float | None
    host_to_device_gbs: float | None
    device_to_host_gbs: float | None
    temperature_c: int | None
    verdict: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class NodeResult:
    node: str
    uid: str
    verdict: str
    expected: int
    gpus: tuple[GpuResult, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The verdict on a whole order: `good` GPUs of `expected`."""

    verdict: str
    good: int
    expected: int
    nodes: tuple[NodeResult, ...]
    reasons: tuple[str, ...]

    @property
    def gpus(self) -> tuple[GpuResult, ...]:
        return tuple(gpu for node in self.nodes for gpu in node.gpus)


def judge_node(node: str, uid: str, log: str, expect: GpuExpectation) -> NodeResult:
    """Judge one node by what its probe printed. Unreadable output is a failure, never a pass."""
    document, problem = _document(log)
    if document is None:
        return unmeasured_node(node, uid, expect, problem)
    driver = str(document.get("driver") or "unknown")
    try:
        gpus = tuple(_judge_gpu(node, driver, raw, expect) for raw in document.get("gpus") or ())
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        return unmeasured_node(node, uid, expect, f"the probe's document is malformed: {error}")
    reasons: list[str] = []
    if document.get("error"):
        reasons.append(f"{node}: {document['error']}")
    if len(gpus) != expect.count:
        reasons.append(f"{node}: {len(gpus)} of {expect.count} GPUs answered")
    if len({gpu.uuid for gpu in gpus}) != len(gpus):
        reasons.append(f"{node}: one GPU was measured twice")
    reasons += [f"{node} GPU {gpu.index}: {reason}" for gpu in gpus for reason in gpu.reasons]
    good = sum(gpu.verdict == VERIFIED for gpu in gpus)
    verdict = VERIFIED if good == expect.count and not reasons else (DEGRADED if good else FAILED)
    return NodeResult(node, uid, verdict, expect.count, gpus, tuple(reasons))


def unmeasured_node(node: str, uid: str, expect: GpuExpectation, reason: str) -> NodeResult:
    """A node on which no probe could run, and why."""
    return NodeResult(node, uid, FAILED, expect.count, (), (f"{node}: {reason}",))


def judge(nodes: Sequence[NodeResult], expected: int) -> Report:
    """The verdict on the order: every GPU of `expected` must have been measured and found good."""
    good = sum(gpu.verdict == VERIFIED for node in nodes for gpu in node.gpus)
    reasons = [reason for node in nodes for reason in node.reasons]
    if good < expected and not reasons:
        reasons.append(f"{good} of {expected} GPUs were measured")
    if not nodes:
        verdict = UNKNOWN
    elif good >= expected and not reasons:
        verdict = VERIFIED
    else:
        verdict = DEGRADED if good else FAILED
    return Report(verdict, good, expected, tuple(nodes), tuple(reasons))


def report_to_json(report: Report) -> str:
    return json.dumps(dataclasses.asdict(report), sort_keys=True)


def report_from_json(text: str) -> Report:
    """Read back what `report_to_json` wrote."""
    raw = json.loads(text)
    return Report(**{**raw, "nodes": tuple(_node(n) for n in raw["nodes"]), "reasons": tuple(raw["reasons"])})


def _node(raw: Mapping[str, Any]) -> NodeResult:
    gpus = tuple(
        GpuResult(**{**g, "checks": tuple(CheckResult(**c) for c in g["checks"]), "reasons": tuple(g["reasons"])})
        for g in raw["gpus"]
    )
    return NodeResult(**{**raw, "gpus": gpus, "reasons": tuple(raw["reasons"])})


def node_to_json(node: NodeResult) -> str:
    return json.dumps(dataclasses.asdict(node), sort_keys=True)


def node_from_json(text: str) -> NodeResult:
    return _node(json.loads(text))


def _document(log: str) -> tuple[dict[str, Any] | None, str]:
    """The probe's JSON: the last line that is a JSON object of our schema. Other text may come before it."""
    for line in reversed(log.strip().splitlines()):
        if not line.startswith("{"):
            continue
        try:
            document = json.loads(line)
        except ValueError:
            return None, "the probe's output is cut off or not JSON"
        if document.get("schema") != SCHEMA:
            return None, f"the probe speaks schema {document.get('schema')!r}, this release reads {SCHEMA}"
        return document, ""
    return None, "the probe printed no result"


def _judge_gpu(node: str, driver: str, raw: Mapping[str, Any], expect: GpuExpectation) -> GpuResult:
    checks = tuple(
        CheckResult(str(c.get("name")), c.get("ok") is True, str(c.get("detail") or ""))
        for c in raw.get("checks") or ()
    )
    reasons = [*_identity_reasons(raw, expect), *_check_reasons(checks), *_health_reasons(raw)]
    bandwidth = raw.get("bandwidth_gbs") or {}
    return GpuResult(
        node=node,
        index=int(raw.get("index") or 0),
        uuid=str(raw.get("uuid") or ""),
        name=str(raw.get("name") or "unknown"),
        memory_mib=int(raw.get("memory_mib") or 0),
        driver=driver,
        checks=checks,
        device_gbs=_number(bandwidth.get("device")),
        host_to_device_gbs=_number(bandwidth.get("host_to_device")),
        device_to_host_gbs=_number(bandwidth.get("device_to_host")),
        temperature_c=None if (degrees := _number(raw.get("temperature_c"))) is None else int(degrees),
        verdict=FAILED if reasons else VERIFIED,
        reasons=tuple(reasons),
    )


def _number(value: object) -> float | None:
    """A number that can be shown; None where the driver did not say, or said something else."""
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if finite else None  # type: ignore[arg-type]


def _identity_reasons(raw: Mapping[str, Any], expect: GpuExpectation) -> list[str]:
    reasons = []
    name = str(raw.get("name") or "unknown")
    if not raw.get("uuid"):
        reasons.append("it does not say which GPU it is (no UUID)")
    if not same_model(expect.name, name):
        reasons.append(f"it is a {name}, but {expect.instance_type} has {expect.name}")
    memory = int(raw.get("memory_mib") or 0)
    if abs(memory - expect.memory_mib) > MEMORY_TOLERANCE * expect.memory_mib:
        reasons.append(f"{memory} MiB of memory, but {expect.instance_type} has {expect.memory_mib} MiB")
    return reasons


def _check_reasons(checks: Sequence[CheckResult]) -> list[str]:
    reasons = [f"{c.name} failed: {c.detail or 'no detail'}" for c in checks if not c.ok]
    done = {c.name for c in checks}
    reasons += [f"{name} was not run" for name in REQUIRED_CHECKS if name not in done]
    return reasons


def _health_reasons(raw: Mapping[str, Any]) -> list[str]:
    """What the driver itself says is wrong. A field that is null was not readable and proves nothing."""
    reasons = [str(error) for error in raw.get("errors") or ()]
    if raw.get("ecc_uncorrected"):
        reasons.append(f"{raw['ecc_uncorrected']} uncorrected memory errors since the driver started")
    rows = raw.get("remapped_rows") or {}
    if rows.get("failure"):
        reasons.append("row remapping has failed: replace the machine")
    elif rows.get("pending"):
        reasons.append("a row remap is pending: the GPU needs a reset")
    if (action := raw.get("recovery_action")) not in (None, "None"):
        reasons.append(f"the driver asks for: {action}")
    throttled = sorted(_BAD_THROTTLE.intersection(raw.get("throttle_reasons") or ()))
    if throttled:
        reasons.append(f"slowed down by hardware: {', '.join(throttled)}")
    pcie = raw.get("pcie") or {}
    if pcie.get("width") and pcie.get("width_max") and pcie["width"] < pcie["width_max"]:
        reasons.append(f"PCIe runs at x{pcie['width']} of x{pcie['width_max']}")
    return reasons


def same_model(aws: str, driver: str) -> bool:
    """Whether AWS's short name (V100, A10G, RTX PRO Server 6000) and the driver's long one mean one model."""

    def squeeze(text: str) -> str:
        return "".join(c for c in text.lower() if c.isalnum())

    wanted = squeeze(aws)
    wanted = _ALIASES.get(wanted, wanted)
    # "L4" is a prefix of "L40S", "T4" of "T4g" and B200 the end of GB200: short names must be a word of their own.
    words = [squeeze(word) for word in driver.replace("-", " ").split()]
    return wanted in words or (len(wanted) > 5 and wanted in squeeze(driver))
