"""What is in a cluster that was there before us. Asks and never changes anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bot.core.operator_values import CHART, NAMESPACE, RELEASE
from bot.core.ports import Cluster, ClusterView, Node, Rancher, Release
from bot.core.spec import (
    GPU_TAINT,
    LABEL_POOL,
    UNVERIFIED_TAINT,
    Catalogue,
    Check,
    Envelope,
    Existing,
    GpuExpectation,
    Preflight,
    Taint,
)

COUNT, REPLICAS = "nvidia.com/gpu.count", "nvidia.com/gpu.replicas"
TYPE = "node.kubernetes.io/instance-type"

_SEEN = (
    "nvidia.com/gpu.present",
    "feature.node.kubernetes.io/pci-10de.present",
    "feature.node.kubernetes.io/pci-0302_10de.present",
    "feature.node.kubernetes.io/pci-0300_10de.present",
)
# EC2's accelerated families with NVIDIA GPUs; g4ad has AMD's.
_GPU_TYPE = re.compile(r"(p[2-9]\w*|g(?!4ad)\w+)\.\w+")
_MIG_COUNT = re.compile(r"nvidia\.com/mig-[\w.]+\.count")
_HOST_DRIVER = ("nvidia.com/gpu.deploy.driver", "pre-installed")
_DRA_CLASS = "gpu.nvidia.com"


def survey(
    name: str, team: str, target: str, rancher: Rancher, kube: Cluster, view: ClusterView, catalogue: Catalogue
) -> Preflight:
    """The checks, and the envelope where nothing says no. Raises `WorldError`s."""
    nodes = sorted((node for node in kube.nodes() if has_gpu(node)), key=lambda node: node.name)
    if not nodes:
        return Preflight((_NO_NODES,))
    releases = [release for release in rancher.releases(view.management_id) if release.chart == CHART]
    operator = _operator(releases, kube, nodes, catalogue)
    dra = _DRA_CLASS in kube.device_classes()
    counts = tuple((node.name, None if dra else expected_gpus(node)) for node in nodes)
    known = [count for _, count in counts if count is not None]
    checks = (
        Check("Cluster", "ok", f"{name} is {view.management_id}, and answers"),
        Check("GPU nodes", "ok", f"{len(nodes)}: " + ", ".join(node.name for node in nodes[:8])),
        operator,
        _counts(counts, dra=dra),
        Check(
            "Nodes stay open", "ok", "they carry no taint of this bot: work can land on them before they are measured"
        ),
    )
    if operator.state == "no":
        return Preflight(checks)
    existing = Existing(
        management_id=view.management_id,
        nodes=counts,
        taints=_taints(nodes),
        adopted=bool(releases),
        host_driver=any(node.labels.get(_HOST_DRIVER[0]) == _HOST_DRIVER[1] for node in nodes),
    )
    types = sorted({node.labels.get(TYPE, "unknown") for node in nodes})
    envelope = Envelope(
        name=name, team=team, target=target, preset="", account="", region="", vpc="", cloud_credential="",
        security_group="", ssh_user="", kubernetes=kube.version(),
        operator=releases[0].version if releases else catalogue.enable.operator,
        driver="", probe_image=catalogue.probe_image.reference, pools=(),
        gpu=GpuExpectation(", ".join(types), "", max(known, default=0), 0),
        gpus=sum(known), hours=0, max_price_per_hour=0.0, gpu_price_per_hour=0.0, existing=existing,
    )  # fmt: skip
    return Preflight(checks, envelope)


def has_gpu(node: Node) -> bool:
    """Whether anything says that there are NVIDIA GPUs in it, with an operator or without."""
    seen = any(node.labels.get(label) == "true" for label in _SEEN)
    told = node.labels.get(LABEL_POOL) == "gpu" or bool(_GPU_TYPE.fullmatch(node.labels.get(TYPE, "")))
    return bool(node.gpu_capacity) or seen or told


def expected_gpus(node: Node) -> int | None:
    """How many the node should hand out, by the labels of GPU Feature Discovery: its MIG devices where the strategy is
    mixed, else its count (of MIG devices, too, where it is single), times the replicas of time-slicing. None before it
    has looked (NVIDIA/k8s-device-plugin: docs/gpu-feature-discovery)."""
    labels = node.labels
    if devices := [int(value) for key, value in labels.items() if _MIG_COUNT.fullmatch(key) and value.isdigit()]:
        return sum(devices)
    count, replicas = labels.get(COUNT, ""), labels.get(REPLICAS, "")
    if not count.isdigit():
        return node.gpu_capacity or None
    return int(count) * max(int(replicas) if replicas.isdigit() else 1, 1)


def expectation(node: Node) -> GpuExpectation:
    """What the node itself says it has: nobody was asked what it should have."""
    return GpuExpectation(node.labels.get(TYPE, node.name), "", max(node.gpu_capacity, expected_gpus(node) or 0), 0)


def _operator(releases: Sequence[Release], kube: Cluster, nodes: Sequence[Node], catalogue: Catalogue) -> Check:
    """Adopted, refused with the reason, or to be installed."""
    name = "GPU Operator"
    if len(releases) > 1:
        where = ", ".join(f"{r.name} in {r.namespace}" for r in releases)
        return Check(name, "no", f"it is there {len(releases)} times: {where}", "Uninstall all but one.")
    for found in releases:
        if (found.name, found.namespace) != (RELEASE, NAMESPACE):
            return Check(
                name, "no",
                f"it is there as release {found.name} in namespace {found.namespace}; this bot can look after "
                f"{RELEASE} in {NAMESPACE} only",
                "Install it anew under that name, or leave this cluster to whoever installed it.",
            )  # fmt: skip
        if found.status != "deployed":
            return Check(name, "no", f"Helm says {found.status} of {found.version}", "Mend or uninstall it in Rancher.")
        return Check(name, "ok", f"{found.version} is there and stays as it is")
    if kube.policy() is not None:
        return Check(
            name, "no", "a ClusterPolicy is there, but no Helm release: something else installed the operator",
            "Let whoever installed it remove it, or leave this cluster to them.",
        )  # fmt: skip
    if any(node.gpu_capacity for node in nodes):
        return Check(
            name, "no", "another device plugin hands out nvidia.com/gpu already; the operator's would get in its way",
            "Remove that device plugin first; gpu-cluster verify measures the GPUs as they are.",
        )  # fmt: skip
    bring = "without a driver: the machines have one" if _on_host(nodes) else "with its driver"
    tolerated = ", ".join(f"{t.key}={t.value}:{t.effect}" for t in _taints(nodes)) or "none"
    return Check(name, "ok", f"{catalogue.enable.operator} will be installed {bring}; taints tolerated: {tolerated}")


def _on_host(nodes: Sequence[Node]) -> bool:
    return any(node.labels.get(_HOST_DRIVER[0]) == _HOST_DRIVER[1] for node in nodes)


def _counts(counts: Sequence[tuple[str, int | None]], *, dra: bool) -> Check:
    if dra:
        why = "GPUs are handed out by dynamic resource allocation, which tells no counts and is not measured"
        return Check("Expected GPUs", "unknown", why)
    unknown = [name for name, count in counts if count is None]
    total = sum(count or 0 for _, count in counts)
    if unknown:
        return Check(
            "Expected GPUs", "unknown", f"{total} on {len(counts) - len(unknown)} nodes; the others have no label yet"
        )
    return Check("Expected GPUs", "ok", f"{total} by the nodes' labels")


def _taints(nodes: Sequence[Node]) -> tuple[Taint, ...]:
    """Those that keep pods away for good: not Kubernetes' own signs of trouble, nor those tolerated anyway."""
    return tuple(sorted(set(_foreign_taints(nodes)), key=lambda taint: (taint.key, taint.value, taint.effect)))


def _foreign_taints(nodes: Sequence[Node]) -> Iterator[Taint]:
    for node in nodes:
        for key, value, effect in node.taints:
            ours = key in (GPU_TAINT, UNVERIFIED_TAINT) and effect == "NoSchedule"
            if not key.startswith("node.kubernetes.io/") and not ours and effect != "PreferNoSchedule":
                yield Taint(key, value, effect)


_NO_NODES = Check(
    "GPU nodes", "no", "no node shows an NVIDIA GPU, by label, by EC2 type or by what it hands out",
    f"If there are some, label them: kubectl label node NODE {LABEL_POOL}=gpu",
)  # fmt: skip
