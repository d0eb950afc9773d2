"""Measurements → verdict. What a GPU must show before anybody is told that it is ready.

The probe's document (docs/probe.md) is compared with what AWS says the instance type has; a label alone proves
nothing. Verdicts: *verified* (all ordered GPUs measured and good), *degraded* (some are), *failed* (none is),
*unknown* (nothing could be read, or not all could be measured and no fault was found: never rounded up). A GPU that
somebody uses is not measured: it reads *healthy, not measured*.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.core.spec import GpuExpectation
from bot.core.verification.extras import Remark
from bot.core.verification.gpu_models import Line, find_model, line_between, same_model
from bot.core.verification.probe_document import SCHEMA, Document, Unreadable, read_document
from bot.core.verification.rating import BAD, LOW, SLOW, WORDS, Rate, performance, rate_all

VERIFIED, DEGRADED, FAILED, UNKNOWN = "verified", "degraded", "failed", "unknown"
VERDICTS = (FAILED, UNKNOWN, DEGRADED, VERIFIED)
"""The worst first."""

MEMORY_TOLERANCE = 0.07
"""The driver shows less than AWS promises: an H100 81,559 of 81,920 MiB (measured); boards with GDDR6 keep 1/16 for
their ECC, so a T4 shows 15,360 of 16,384 MiB (nvidia-smi on g4dn)."""

_BAD_THROTTLE = frozenset({"hw_slowdown", "hw_thermal_slowdown", "hw_power_brake_slowdown"})
"""Broken cooling or power, as Azure's node health checks grade them (azure_gpu_clock_throttling.nhc)."""

REQUIRED_CHECKS = ("vector_add", "matmul", "memory_pattern")
_LOG_KEPT = 2000
"""Characters of a log that is kept because nothing could be read in it."""


@dataclass(frozen=True)
class CheckResult:
    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Copy:
    """A copy from one GPU to GPU `target` of its node, one way, in GB/s (decimal); `usual` of a good pair, None where
    none was measured; `direct`: not through the host."""

    target: int
    gbs: float
    usual: float | None = None
    direct: bool = True


@dataclass(frozen=True)
class GpuResult:
    """One GPU. `memory_mib` as the driver reports it; bandwidths in GB/s (decimal), None where not measured.

    `performance` is one of `rating.WORDS`; `notes` are said and do not count against it. `slowest_copy` of those to
    the node's other GPUs, None where there is none or none came through.
    """

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
    performance: str = ""
    rates: tuple[Rate, ...] = ()
    notes: tuple[str, ...] = ()
    slowest_copy: Copy | None = None

    @property
    def badness(self) -> tuple[int, int, float]:
        """Sorts the worst GPU first: by verdict, by how fast it is in a word, by its measure that is shortest."""
        shares = [rate.value / rate.expected for rate in self.rates if rate.value is not None and rate.expected]
        verdict = VERDICTS.index(self.verdict) if self.verdict in VERDICTS else 0
        return verdict, WORDS.index(self.performance) if self.performance in WORDS else 0, min(shares, default=0.0)


@dataclass(frozen=True)
class NodeResult:
    """One node. `expected` GPUs are to be measured, `unmeasured` more are in use and look healthy from outside.

    `log` is the end of what the probe printed where nothing could be read in it.
    """

    node: str
    uid: str
    verdict: str
    expected: int
    gpus: tuple[GpuResult, ...]
    reasons: tuple[str, ...]
    unmeasured: int = 0
    log: str = ""


@dataclass(frozen=True)
class Report:
    """The verdict on a whole order: `good` GPUs of `expected`; `unmeasured` are healthy, not measured."""

    verdict: str
    good: int
    expected: int
    nodes: tuple[NodeResult, ...]
    reasons: tuple[str, ...]
    unmeasured: int = 0

    @property
    def gpus(self) -> tuple[GpuResult, ...]:
        return tuple(gpu for node in self.nodes for gpu in node.gpus)


def judge_node(
    node: str, uid: str, log: str, expect: GpuExpectation, *, unmeasured: int = 0, probe: str = ""
) -> NodeResult:
    """Judge one node by what its probe printed. Unreadable output proves nothing: *unknown*, never a pass.

    `expect.count` counts all GPUs of the machine, `unmeasured` those of them that were in use; `probe` as in
    `read_document`.
    """
    wanted = expect.count - unmeasured
    try:
        document = read_document(log, probe)
    except Unreadable as error:
        return NodeResult(node, uid, UNKNOWN, wanted, (), (f"{node}: {error}",), unmeasured, log[-_LOG_KEPT:])
    gpus = tuple(_judge_gpu(node, document, raw, expect) for raw in document.gpus)
    reasons = [f"{node}: {document.error}"] if document.error else []
    if len(gpus) != wanted:
        reasons.append(f"{node}: {len(gpus)} of {wanted} GPUs answered")
    reasons += [f"{node} GPU {gpu.index}: {reason}" for gpu in gpus for reason in gpu.reasons]
    reasons += [f"{node}: {problem}" for problem in _peer_problems(document)]
    good = sum(gpu.verdict == VERIFIED for gpu in gpus)
    verdict = VERIFIED if good == wanted and not reasons else (DEGRADED if good else FAILED)
    return NodeResult(node, uid, verdict, wanted, gpus, tuple(reasons), unmeasured)


def unmeasured_node(node: str, uid: str, expect: GpuExpectation, reason: str, verdict: str = FAILED) -> NodeResult:
    """A node on which no probe could run, and why: *failed* where that is the fault, else *unknown*."""
    return NodeResult(node, uid, verdict, expect.count, (), (f"{node}: {reason}",))


def busy_node(node: str, uid: str, gpus: int) -> NodeResult:
    """A node all of whose GPUs are in use: nothing is preempted, so nothing is measured."""
    return NodeResult(node, uid, UNKNOWN, 0, (), (), gpus)


def with_remarks(node: NodeResult, remarks: Sequence[Remark]) -> NodeResult:
    """The node with what was found beside the probe: faults fail a GPU (or the node), slight ones are notes."""
    gpus = tuple(_with_remarks(gpu, [r for r in remarks if r.gpu == gpu.index]) for gpu in node.gpus)
    known = {gpu.index for gpu in node.gpus}
    whole = [remark.text for remark in remarks if remark.gpu not in known and not remark.slight]
    reasons = [f"{node.node} GPU {r.gpu}: {r.text}" for r in remarks if r.gpu in known and not r.slight]
    reasons += [f"{node.node}: {text}" for text in whole]
    good = sum(gpu.verdict == VERIFIED for gpu in gpus)
    verdict = node.verdict if not reasons else (DEGRADED if good else FAILED)
    return dataclasses.replace(node, gpus=gpus, verdict=verdict, reasons=(*node.reasons, *reasons))


def _with_remarks(gpu: GpuResult, remarks: Sequence[Remark]) -> GpuResult:
    faults = tuple(remark.text for remark in remarks if not remark.slight)
    notes = tuple(remark.text for remark in remarks if remark.slight)
    verdict = FAILED if faults else gpu.verdict
    return dataclasses.replace(gpu, verdict=verdict, reasons=(*gpu.reasons, *faults), notes=(*gpu.notes, *notes))


def not_known(node: NodeResult, why: str) -> NodeResult:
    """Something that was to be run could not be: what passed so far is not known to be good."""
    unknown = [
        dataclasses.replace(gpu, verdict=UNKNOWN, reasons=(*gpu.reasons, why)) if gpu.verdict == VERIFIED else gpu
        for gpu in node.gpus
    ]
    verdict = UNKNOWN if node.verdict == VERIFIED else node.verdict
    return dataclasses.replace(
        node, gpus=tuple(unknown), verdict=verdict, reasons=(*node.reasons, f"{node.node}: {why}")
    )


def with_faults(node: NodeResult, faults: Sequence[str]) -> NodeResult:
    """The node with what is wrong with GPUs that were not measured: nothing is verified past a fault that was seen."""
    if not faults:
        return node
    good = any(gpu.verdict == VERIFIED for gpu in node.gpus)
    reasons = (*node.reasons, *(f"{node.node}: {fault}" for fault in faults))
    return dataclasses.replace(node, verdict=DEGRADED if good else FAILED, reasons=reasons)


def judge(nodes: Sequence[NodeResult], expected: int) -> Report:
    """The verdict on the order: every GPU of `expected` must have been measured and found good."""
    good = sum(gpu.verdict == VERIFIED for node in nodes for gpu in node.gpus)
    unmeasured = sum(node.unmeasured for node in nodes)
    reasons = [reason for node in nodes for reason in node.reasons]
    reasons += [f"GPU {uuid} is on more than one node" for uuid in _on_several_nodes(nodes)]
    if good + unmeasured < expected and not reasons:
        reasons.append(f"{good} of {expected} GPUs were measured")
    if good >= expected and not reasons:
        verdict = VERIFIED
    elif all(node.verdict in (VERIFIED, UNKNOWN) for node in nodes) and (not good or not reasons):
        verdict = UNKNOWN
    else:
        verdict = DEGRADED if good else FAILED
    if unmeasured:
        reasons.append(f"{unmeasured} of {expected} GPUs are in use: healthy, not measured")
    return Report(verdict, good, expected, tuple(nodes), tuple(reasons), unmeasured)


def _on_several_nodes(nodes: Sequence[NodeResult]) -> list[str]:
    counted = Counter(uuid for node in nodes for uuid in {gpu.uuid for gpu in node.gpus} if uuid)
    return sorted(uuid for uuid, times in counted.items() if times > 1)


def report_to_json(report: Report) -> str:
    return json.dumps(report, sort_keys=True, default=vars)  # a third of the time that `asdict` takes


def report_from_json(text: str) -> Report:
    """Read back what `report_to_json` wrote."""
    raw = json.loads(text)
    return Report(**{**raw, "nodes": tuple(_node(n) for n in raw["nodes"]), "reasons": tuple(raw["reasons"])})


def _node(raw: Mapping[str, Any]) -> NodeResult:
    gpus = tuple(_gpu(gpu) for gpu in raw["gpus"])
    return NodeResult(**{**raw, "gpus": gpus, "reasons": tuple(raw["reasons"])})


def _gpu(raw: Mapping[str, Any]) -> GpuResult:
    """`rates`, `notes` and `slowest_copy` are missing in what earlier releases wrote."""
    parts = {
        "checks": tuple(CheckResult(**check) for check in raw["checks"]),
        "reasons": tuple(raw["reasons"]),
        "rates": tuple(Rate(**rate) for rate in raw.get("rates", ())),
        "notes": tuple(raw.get("notes", ())),
        "slowest_copy": Copy(**raw["slowest_copy"]) if raw.get("slowest_copy") else None,
    }
    return GpuResult(**{**raw, **parts})


def node_to_json(node: NodeResult) -> str:
    return json.dumps(node, sort_keys=True, default=vars)


def node_from_json(text: str) -> NodeResult:
    return _node(json.loads(text))


def _judge_gpu(node: str, document: Document, raw: Mapping[str, Any], expect: GpuExpectation) -> GpuResult:
    checks = tuple(
        CheckResult(str(c.get("name")), c.get("ok") is True, str(c.get("detail") or ""))
        for c in raw.get("checks") or ()
    )
    name = str(raw.get("name") or "unknown")
    rates = rate_all(name, raw)
    reasons = [*_identity_reasons(raw, expect), *_check_reasons(checks), *_health_reasons(raw)]
    uuid = str(raw.get("uuid") or "")
    if not uuid or uuid in document.shared_uuids:
        reasons.append(f"it shares its UUID with another GPU: {uuid}" if uuid else "it has no UUID")
    reasons += [rate.sentence for rate in rates if rate.word == BAD]
    value = {rate.measure: rate.value for rate in rates}
    return GpuResult(
        node=node,
        index=int(raw.get("index") or 0),
        uuid=uuid,
        name=name,
        memory_mib=int(raw.get("memory_mib") or 0),
        driver=document.driver,
        checks=checks,
        device_gbs=value["device"],
        host_to_device_gbs=value["host_to_device"],
        device_to_host_gbs=value["device_to_host"],
        temperature_c=raw.get("temperature_c"),
        verdict=FAILED if reasons else VERIFIED,
        reasons=tuple(reasons),
        performance=performance(rates),
        rates=rates,
        notes=(
            *(rate.sentence for rate in rates if rate.word in (LOW, SLOW)),
            *_notes(raw),
            *_peer_notes(document, int(raw.get("index") or 0)),
        ),
        slowest_copy=_slowest_copy(document, int(raw.get("index") or 0)),
    )


def _peer_problems(document: Document) -> list[str]:
    """Copies between GPUs that failed, and those that are far too slow for the model."""
    problems = []
    for peer in document.peers:
        way = f"the copy from GPU {peer.get('source')} to GPU {peer.get('target')}"
        wanted = _between(document, peer)
        if peer.get("error"):
            problems.append(f"{way} failed: {peer['error']}")
        elif wanted is not None and peer["gbs"] < wanted.bad:
            problems.append(
                f"{way} runs at {peer['gbs']:,.4g} GB/s, should be {wanted.good or wanted.bad:,.4g} or more"
            )
    return problems


def _slowest_copy(document: Document, index: int) -> Copy | None:
    copies = []
    for peer in document.peers:
        if peer.get("source") == index and not peer.get("error") and peer.get("gbs") is not None:
            wanted = _between(document, peer)
            usual = wanted.expected if wanted is not None else None
            copies.append(Copy(int(peer.get("target") or 0), peer["gbs"], usual, bool(peer.get("access"))))
    return min(copies, key=lambda copy: copy.gbs, default=None)


def _peer_notes(document: Document, index: int) -> list[str]:
    """Copies from this GPU that are slower than they should be, and not so slow that it is a fault."""
    notes = []
    for peer in document.peers:
        wanted = _between(document, peer) if peer.get("source") == index and not peer.get("error") else None
        if wanted is not None and wanted.good and wanted.bad <= peer["gbs"] < wanted.good:
            notes.append(f"copies to GPU {peer.get('target')} at {peer['gbs']:,.4g} GB/s, {wanted.good:,.4g} are usual")
    return notes


def _between(document: Document, peer: Mapping[str, Any]) -> Line | None:
    """What such a copy should come to; None where it goes through the host, or nothing is known of the model."""
    source = next((gpu for gpu in document.gpus if gpu.get("index") == peer.get("source")), None)
    model = find_model(str(source.get("name") or "")) if source else None
    if model is None or not peer.get("access") or peer.get("gbs") is None:
        return None
    return line_between(model)


def _identity_reasons(raw: Mapping[str, Any], expect: GpuExpectation) -> list[str]:
    """It is not what was ordered; where nothing was (an empty name, no memory), nothing is compared."""
    reasons = []
    name = str(raw.get("name") or "unknown")
    if expect.name and not same_model(expect.name, name):
        reasons.append(f"it is a {name}, but {expect.instance_type} has {expect.name}")
    memory = int(raw.get("memory_mib") or 0)
    if expect.memory_mib and abs(memory - expect.memory_mib) > MEMORY_TOLERANCE * expect.memory_mib:
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
    if raw.get("mig_mode") == "Enabled":
        reasons.append("MIG is on: only a part of the GPU was measured")
    throttled = sorted(_BAD_THROTTLE.intersection(raw.get("throttle_reasons") or ()))
    if throttled:
        reasons.append(f"slowed down by hardware: {', '.join(throttled)}")
    if narrow := _narrow(raw):
        reasons.append(narrow)
    return reasons


def _narrow(raw: Mapping[str, Any]) -> str:
    """A PCIe link with fewer lanes than its model must have; EC2 gives some models fewer than they could use."""
    pcie = raw.get("pcie") or {}
    width, most = pcie.get("width"), pcie.get("width_max")
    if not width or not most:
        return ""
    model = find_model(str(raw.get("name") or ""))
    least = min(most, model.lanes) if model else most
    return f"PCIe runs at x{width} of x{most}" if width < least else ""


def _notes(raw: Mapping[str, Any]) -> list[str]:
    """What is worth a look and no fault of the GPU."""
    notes = []
    pcie = raw.get("pcie") or {}
    if pcie.get("generation") and pcie.get("generation_max") and pcie["generation"] < pcie["generation_max"]:
        notes.append(f"PCIe runs at generation {pcie['generation']} of {pcie['generation_max']}")
    if "sw_thermal_slowdown" in (raw.get("throttle_reasons") or ()):
        notes.append("the driver slows it down because it is warm")
    return notes


__all__ = [
    "DEGRADED",
    "FAILED",
    "SCHEMA",
    "UNKNOWN",
    "VERDICTS",
    "VERIFIED",
    "CheckResult",
    "GpuResult",
    "NodeResult",
    "Report",
    "busy_node",
    "judge",
    "judge_node",
    "node_from_json",
    "node_to_json",
    "not_known",
    "report_from_json",
    "report_to_json",
    "same_model",
    "unmeasured_node",
    "with_faults",
    "with_remarks",
]
