"""`gpu-cluster verify` on a simulated cluster, through a kubeconfig file and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes.client as k8s
import pytest
from kubernetes.client.exceptions import ApiException

from bot import settings, verify
from bot.core.ports import Permanent, WorldError
from bot.core.verification.extras import extras_of
from bot.core.verification.verdict import DEGRADED, FAILED, UNKNOWN, VERIFIED, Report
from bot.kube import KubeconfigCluster
from tests.sandbox.world.rig import TOKEN, Rig


class Hand:
    """The world's clock, for the command."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def now(self) -> float:
        return self._rig.clock.now()

    def real(self) -> float:
        return time.time()

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds


def kubeconfig(rig: Rig, folder: Path, token: str = TOKEN) -> Path:
    path = folder / "kubeconfig"
    server = f"{rig.url}/k8s/clusters/{rig.mid()}"
    config: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "gpus", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "gpus",
    }
    path.write_text(json.dumps(config))
    return path


def ready(rig: Rig, **order: Any) -> k8s.CoreV1Api:
    rig.order(**order)
    rig.forward(600)
    rig.install_operator()
    rig.forward(700)
    return rig.core()


def run(rig: Rig, folder: Path, level: str = "quick") -> tuple[Report, list[str]]:
    said: list[str] = []
    cluster = KubeconfigCluster(kubeconfig(rig, folder), "gpus", clock=Hand(rig), nodes_s=0)
    what = verify.measuring(settings.VerifySection().image, (), level)
    try:
        return verify.verify(cluster, Hand(rig), what, say=said.append, pause=rig.forward), said
    finally:
        cluster.close()


def test_vector_add_and_dcgm_run_beside_the_probe(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig = make_rig("gpu-bad")
    core = ready(rig, gpu_type="g4dn.12xlarge")
    cluster = KubeconfigCluster(kubeconfig(rig, tmp_path), "gpus", clock=Hand(rig), nodes_s=0)
    images = settings.VerifySection(vector_add=True, dcgm=1).probe_image()
    what = verify.measuring(images.reference, (), "quick", extras_of(images))
    try:
        report = verify.verify(cluster, Hand(rig), what, say=lambda _: None, pause=rig.forward)
    finally:
        cluster.close()
    assert (report.verdict, report.good) == (DEGRADED, 3)
    assert all("matmul" in reason for reason in report.reasons), "neither the sample nor DCGM's r1 notices"
    rig.forward(60)
    assert "gpu-cluster-verify" not in {found.metadata.name for found in core.list_namespace().items}


def hold_gpu(core: k8s.CoreV1Api, gpus: int) -> None:
    container = {
        "name": "work",
        "image": "ubuntu:24.04",
        "command": ["sleep", "infinity"],
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
    }
    tolerations = [{"key": key, "operator": "Exists"} for key in ("nvidia.com/gpu", "gpu-cluster/unverified")]
    spec = {"containers": [container], "tolerations": tolerations}
    core.create_namespaced_pod("default", {"metadata": {"name": "work"}, "spec": spec})


def test_a_good_cluster_is_verified_and_left_as_it_was(rig: Rig, tmp_path: Path) -> None:
    core = ready(rig, gpu_type="g4dn.12xlarge")
    before = {namespace.metadata.name for namespace in core.list_namespace().items}
    report, said = run(rig, tmp_path, "standard")
    assert (report.verdict, report.good, report.expected, report.reasons) == (VERIFIED, 4, 4, ())
    assert {gpu.performance for gpu in report.gpus} == {"unrated"}, "the probe never ran on a real T4"
    assert "0 of 1 nodes measured" in said[0]
    rig.forward(60)
    assert {namespace.metadata.name for namespace in core.list_namespace().items} == before
    (node,) = core.list_node(label_selector="gpu-cluster/pool=gpu").items
    assert "gpu-cluster/unverified" in {taint.key for taint in node.spec.taints}, "verify opens no gate"


def test_an_h100_is_rated(rig: Rig, tmp_path: Path) -> None:
    ready(rig, gpu_type="p5.4xlarge")
    report, _ = run(rig, tmp_path)
    (gpu,) = report.gpus
    assert (report.verdict, gpu.performance, gpu.notes) == (VERIFIED, "good", ())
    assert {rate.word for rate in gpu.rates} == {"good"}


def test_a_bad_gpu_is_named(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig = make_rig("gpu-bad")
    ready(rig, gpu_type="g4dn.12xlarge")
    report, _ = run(rig, tmp_path)
    assert (report.verdict, report.good, report.expected) == (DEGRADED, 3, 4)
    assert "GPU 3: matmul failed" in report.reasons[0]
    printed = [column._cells for column in verify.table(report).columns]
    assert str(printed[0][0]).endswith("/3"), "the worst first"


def test_gpus_in_use_are_left_alone(rig: Rig, tmp_path: Path) -> None:
    core = ready(rig, gpu_type="g4dn.12xlarge")
    hold_gpu(core, 1)
    rig.forward(60)
    report, _ = run(rig, tmp_path)
    assert (report.verdict, report.good, report.unmeasured) == (UNKNOWN, 3, 1)
    assert report.reasons == ("1 of 4 GPUs are in use: healthy, not measured",)
    assert core.read_namespaced_pod("work", "default").status.phase == "Running"


def test_where_all_are_in_use_nothing_is_started(rig: Rig, tmp_path: Path) -> None:
    hold_gpu(ready(rig), 1)
    rig.forward(60)
    report, said = run(rig, tmp_path)
    assert (report.verdict, report.good, report.unmeasured, said) == (UNKNOWN, 0, 1, [])


def test_what_is_wrong_with_a_gpu_in_use_is_seen_without_touching_it(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig("gpu-bad")
    core = ready(rig, gpu_type="g4dn.12xlarge")
    hold_gpu(core, 4)
    rig.forward(60)
    report, said = run(rig, tmp_path)
    assert (report.verdict, said) == (FAILED, [])
    assert "in use: 3 uncorrected memory errors since the driver started" in report.reasons[0]
    assert core.read_namespaced_pod("work", "default").status.phase == "Running"


def test_a_namespace_that_was_there_stays(rig: Rig, tmp_path: Path) -> None:
    core = ready(rig)
    labels = {"gpu-cluster/managed": "true", "gpu-cluster/request": "r-0"}
    core.create_namespace({"metadata": {"name": "gpu-cluster-verify", "labels": labels}})
    report, _ = run(rig, tmp_path)
    rig.forward(60)
    assert report.verdict == VERIFIED
    assert core.read_namespace("gpu-cluster-verify").metadata.deletion_timestamp is None
    assert k8s.BatchV1Api(core.api_client).list_namespaced_job("gpu-cluster-verify").items == []
    own = [c.metadata.name for c in core.list_namespaced_config_map("gpu-cluster-verify").items]
    assert [name for name in own if name.startswith("verify-")] == []


def test_a_cluster_without_gpus_and_a_token_that_is_refused(rig: Rig, tmp_path: Path) -> None:
    rig.order()
    rig.forward(600)
    with pytest.raises(Permanent, match="No node of this cluster offers"):
        run(rig, tmp_path)
    cluster = KubeconfigCluster(kubeconfig(rig, tmp_path, "token-x:wrong"), clock=Hand(rig))
    with pytest.raises(WorldError) as raised:
        cluster.nodes()
    assert "kubectl get nodes" in raised.value.remedy
    cluster.close()


def test_a_kubeconfig_of_no_use(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("{")
    for path, context in ((tmp_path / "missing", ""), (tmp_path / "broken", "")):
        with pytest.raises(Permanent, match="cannot be used as a kubeconfig"):
            KubeconfigCluster(path, context, clock=Hand(rig))


def test_the_command_itself(rig: Rig, tmp_path: Path) -> None:
    core = ready(rig)
    command = [sys.executable, "-m", "bot.cli", "verify", "--level", "quick", "--json"]
    kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig(rig, tmp_path))}
    started = time.monotonic()
    with subprocess.Popen(command, env=kept, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and time.monotonic() - started < 60:
            rig.forward(2)
            time.sleep(0.2)
        said, complaints = process.communicate(timeout=10)
    assert process.returncode == 0, complaints
    report = json.loads(said)
    assert (report["verdict"], report["good"]) == ("verified", 1)
    with pytest.raises(ApiException):
        rig.forward(60)
        core.read_namespace("gpu-cluster-verify")
