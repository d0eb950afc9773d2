"""One node's measurement over many looks: what is run again, what is a verdict, what is left alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from bot.core.ports import Cluster, JobOrder, JobView, Node
from bot.core.spec import GpuExpectation
from bot.core.verification.measuring import Measuring, conclude, give_up, measured
from bot.core.verification.sight import NAMESPACE
from bot.core.verification.verdict import DEGRADED, FAILED, UNKNOWN, VERIFIED

SCRIPT = "print()\n"
REAL: dict[str, Any] = json.loads((Path(__file__).parent.parent / "probe" / "fixtures" / "h100-quick.json").read_text())
DOCUMENT = json.dumps({**REAL, "probe": hashlib.sha256(SCRIPT.encode()).hexdigest()[:12]})
NO_DRIVER = json.dumps({**json.loads(DOCUMENT), "gpus": [], "error": "libcuda.so.1 not found: cannot open"})
TAINT = ("team", "ml", "NoExecute")
NODE = Node("n1", "0123456789ab-uid", True, {}, (TAINT,), 1, 1)
RUNNING = JobView("", "", "", "")


@dataclass
class Scripted:
    """A cluster that knows Jobs only: `ends` are what becomes of them, in the order in which they are made."""

    ends: list[JobView]
    in_use: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    smi: str = ""
    orders: list[JobOrder] = field(default_factory=list)
    namespaces: list[tuple[str, bool]] = field(default_factory=list)
    toolkit: float | None = None
    asked: Counter[str] = field(default_factory=Counter)

    def jobs(self, namespace: str, request_id: str, wanted: Collection[str]) -> Mapping[str, JobView]:
        assert (namespace, request_id) == (NAMESPACE, "r-abc")
        self.asked["jobs"] += 1
        made = zip(self.orders, self.ends, strict=False)
        return {order.name: end for order, end in made if order.name in wanted}

    def started_at(self, app: str, node: str) -> float | None:
        assert app == "nvidia-container-toolkit-daemonset"
        self.asked["toolkit"] += 1
        return self.toolkit

    def ensure_namespace(self, name: str, *, project: str, privileged: bool, labels: Mapping[str, str]) -> None:
        self.namespaces.append((name, privileged))

    def ensure_job(self, order: JobOrder) -> None:
        assert self.namespaces, "a Job needs its namespace"
        assert order.name not in {known.name for known in self.orders}
        self.orders.append(order)

    def gpus_in_use(self) -> Mapping[str, int]:
        self.asked["pods"] += 1
        return self.in_use

    def ask_driver(self, namespace: str, app: str, node: str, command: tuple[str, ...]) -> str:
        assert (namespace, app, node) == ("gpu-operator", "nvidia-driver-daemonset", "n1")
        assert command[0] == "nvidia-smi"
        return self.smi

    def runtime_classes(self) -> tuple[str, ...]:
        return self.classes


def what(**changes: Any) -> Measuring:
    plain = Measuring(
        id="abc",
        labels={"gpu-cluster/managed": "true", "gpu-cluster/request": "r-abc", "gpu-cluster/cluster": "train"},
        image="python@sha256:0",
        pull_secrets=("mirror",),
        script=SCRIPT,
        level="quick",
        expect=lambda _: GpuExpectation("p5.4xlarge", "H100", 1, 81920),
    )
    return replace(plain, **changes)


def look(cluster: Scripted, node: Node, facts: dict[str, str], now: float, measuring: Measuring | None = None) -> str:
    """One look at one node, as the steps do it."""
    measuring, kube = measuring or what(), cast(Cluster, cluster)
    return measuring.look(measuring.see(kube, [node], facts), node, facts, now)


def watch(cluster: Scripted, node: Node = NODE, *, now: float = 0.0, measuring: Measuring | None = None) -> Any:
    """Look until there is a result; what was waited for, and the facts."""
    facts: dict[str, str] = {}
    said = []
    for _ in range(20):
        why = look(cluster, node, facts, now, measuring)
        if not why:
            return said, facts
        said.append(why)
    raise AssertionError(said)


def ended(reason: str = "", log: str = "", word: str = "failed") -> JobView:
    return JobView(word, reason, "", log)


def test_a_good_node_takes_one_job() -> None:
    cluster = Scripted([ended(word="succeeded", log=DOCUMENT)])
    said, facts = watch(cluster)
    (order,) = cluster.orders
    assert said == ["the probe is starting on n1"]
    assert conclude(facts, [NODE], 1).verdict == VERIFIED
    assert (order.gpus, order.arguments, order.pull_secrets) == (1, ("--level", "quick"), ("mirror",))
    assert order.runtime_class == ""
    assert cluster.namespaces == [(NAMESPACE, False)]
    assert order.tolerations == (
        TAINT,
        ("nvidia.com/gpu", "", "NoSchedule"),
        ("gpu-cluster/unverified", "", "NoSchedule"),
    )


def test_a_measured_node_is_not_measured_again() -> None:
    cluster = Scripted([ended(log=DOCUMENT)])
    _, facts = watch(cluster)
    assert look(cluster, NODE, facts, 1e6) == ""
    assert len(cluster.orders) == 1


def test_a_running_job_is_waited_for_in_its_own_words() -> None:
    cluster = Scripted([JobView("", "ImagePullBackOff", "not found", "")])
    facts: dict[str, str] = {}
    looks = [look(cluster, NODE, facts, 0.0) for _ in range(3)]
    assert looks == ["the probe is starting on n1", "n1: ImagePullBackOff", "n1: ImagePullBackOff"]
    give_up(facts, [NODE], what().expect, looks[-1])
    report = conclude(facts, [NODE], 1)
    assert (report.verdict, report.reasons) == (UNKNOWN, ("n1: the probe gave no result: n1: ImagePullBackOff",))


@pytest.mark.parametrize("reason", ["UnexpectedAdmissionError", "OutOfnvidia.com/gpu", "NodeAffinity"])
def test_admission_errors_while_the_toolkit_settles_are_no_verdict(reason: str) -> None:
    cluster = Scripted([ended(reason)] * 5 + [ended(log=DOCUMENT)])
    said, facts = watch(cluster)
    assert len(cluster.orders) == 6
    assert f"still settling ({reason})" in said[1]
    assert conclude(facts, [NODE], 1).verdict == VERIFIED


def test_the_toolkits_own_start_counts_where_it_can_be_read() -> None:
    """Not the node's first Job, which may come long before it or long after."""
    facts = {f"since:{NODE.uid}": "0.0"}
    fresh = Scripted([ended("UnexpectedAdmissionError")] * 5, toolkit=700.0)
    assert "still settling" in [look(fresh, NODE, facts, 999.0) for _ in range(2)][1]
    assert [look(fresh, NODE, facts, 1000.0) for _ in range(7)][-1] == "", "after five minutes two tries are all"
    assert conclude(facts, [NODE], 1).verdict == UNKNOWN

    settled, facts = Scripted([ended("UnexpectedAdmissionError")] * 3, toolkit=0.0), {}
    assert [look(settled, NODE, facts, 400.0) for _ in range(5)][-1] == "", "nor does a first Job that was just made"
    assert len(settled.orders) == 2


def test_a_node_without_gpus_whose_toolkit_has_just_started_is_waited_for() -> None:
    empty, cluster = replace(NODE, gpus=0), Scripted([ended(log=DOCUMENT)], toolkit=100.0)
    facts: dict[str, str] = {}
    assert "has just started" in look(cluster, empty, facts, 399.0)
    assert look(cluster, empty, dict(facts), 400.0) == "" and cluster.orders == []
    look(cluster, NODE, facts, 399.0)
    assert look(cluster, NODE, facts, 399.0) == ""
    assert conclude(facts, [NODE], 1).verdict == VERIFIED


def test_the_toolkit_is_asked_about_only_where_a_job_was_refused() -> None:
    good = Scripted([ended(log=DOCUMENT)])
    watch(good)
    assert good.asked["toolkit"] == 0
    refused = Scripted([ended("UnexpectedAdmissionError"), ended(log=DOCUMENT)])
    watch(refused)
    assert refused.asked["toolkit"] == 1


def test_what_one_look_asks_does_not_grow_with_the_nodes() -> None:
    nodes = [replace(NODE, name=f"n{number}", uid=f"{number:08}-uid") for number in range(8)]
    cluster = Scripted([ended(log=DOCUMENT)] * 8)
    facts: dict[str, str] = {}
    looks = 0
    while len(measured(facts)) < 8:
        looks += 1
        sight = what().see(cast(Cluster, cluster), nodes, facts)
        for node in nodes:
            what().look(sight, node, facts, 0.0)
    assert (looks, len(cluster.orders)) == (2, 8)
    assert cluster.asked == {"jobs": 2, "pods": 1}
    assert len(cluster.namespaces) == 1


def test_a_log_that_cannot_be_read_keeps_only_its_own_node_waiting() -> None:
    second = replace(NODE, name="n2", uid="second00-uid")
    cluster = Scripted([replace(ended(), unread="the kubelet does not answer"), ended(log=DOCUMENT)])
    facts: dict[str, str] = {}
    for _ in range(2):
        sight = what().see(cast(Cluster, cluster), [NODE, second], facts)
        said = [what().look(sight, node, facts, 0.0) for node in (NODE, second)]
    assert said == ["n1: the kubelet does not answer", ""]
    assert len(cluster.orders) == 2, "it is not run again: its result may be there"


def test_a_node_that_is_not_ready_meanwhile_is_no_verdict() -> None:
    cluster = Scripted([ended("Evicted")] * 3 + [ended(log=DOCUMENT)])
    _, facts = watch(cluster, replace(NODE, ready=False))
    assert conclude(facts, [NODE], 1).verdict == VERIFIED


def test_when_it_should_have_settled_two_tries_are_all() -> None:
    cluster = Scripted([ended("UnexpectedAdmissionError")] * 3)
    facts = {f"since:{NODE.uid}": "0.0"}
    said = [look(cluster, NODE, facts, 301.0) for _ in range(4)]
    assert said[-1] == ""
    assert len(cluster.orders) == 2
    report = conclude(facts, [NODE], 1)
    assert report.verdict == UNKNOWN
    assert "the probe ended without a result: UnexpectedAdmissionError" in report.reasons[0]


@pytest.mark.parametrize("log", ["", "half a docu", '{"schema": 1, "gp'])
def test_a_job_without_a_document_is_run_once_more(log: str) -> None:
    good = Scripted([ended("OOMKilled", log), ended(log=DOCUMENT)])
    assert conclude(watch(good)[1], [NODE], 1).verdict == VERIFIED
    bad = Scripted([ended("OOMKilled", log)] * 3)
    assert conclude(watch(bad)[1], [NODE], 1).verdict == UNKNOWN
    assert len(bad.orders) == 2


def test_the_runtime_class_is_used_only_where_it_is_there_and_needed() -> None:
    needs = Scripted([ended(log=NO_DRIVER), ended(log=DOCUMENT)], classes=("kata", "nvidia"))
    said, facts = watch(needs)
    assert [order.runtime_class for order in needs.orders] == ["", "nvidia"]
    assert "needs runtimeClassName nvidia" in said[1]
    assert conclude(facts, [NODE], 1).verdict == VERIFIED
    lacks = Scripted([ended(log=NO_DRIVER)])
    assert conclude(watch(lacks)[1], [NODE], 1).verdict == FAILED
    in_vain = Scripted([ended(log=NO_DRIVER)] * 3, classes=("nvidia",))
    assert conclude(watch(in_vain)[1], [NODE], 1).verdict == FAILED
    assert len(in_vain.orders) == 2


def test_only_idle_gpus_are_asked_for() -> None:
    eight = replace(NODE, gpus=8, gpu_capacity=8)
    cluster = Scripted([RUNNING], in_use={"n1": 5, "n2": 8})
    facts: dict[str, str] = {}
    look(cluster, eight, facts, 0.0)
    assert cluster.orders[0].gpus == 3
    cluster.in_use["n1"] = 8
    assert look(cluster, eight, facts, 0.0), "a Job that runs is looked at, whatever else runs"
    assert len(cluster.orders) == 1


def test_a_busy_node_gets_no_job_and_reads_healthy() -> None:
    cluster = Scripted([], in_use={"n1": 1})
    said, facts = watch(cluster)
    assert (said, cluster.orders) == ([], [])
    (result,) = measured(facts)
    assert (result.unmeasured, result.reasons) == (1, ())


@pytest.mark.parametrize(
    ("node", "verdict", "reason"),
    [
        (replace(NODE, gpus=0), FAILED, "none is on the PCI bus"),
        (replace(NODE, labels={"nvidia.com/gpu.replicas": "4"}), UNKNOWN, "shared (4 shares each)"),
    ],
)
def test_a_node_on_which_a_job_would_prove_nothing_gets_none(node: Node, verdict: str, reason: str) -> None:
    cluster = Scripted([])
    _, facts = watch(cluster, node)
    report = conclude(facts, [node], 1)
    assert (report.verdict, cluster.orders) == (verdict, [])
    assert reason in report.reasons[0]


def test_the_result_of_a_node_that_was_renamed_or_replaced_counts_no_more() -> None:
    _, facts = watch(Scripted([ended(log=DOCUMENT)]))
    other = replace(NODE, name="n1-new", uid="another-uid")
    report = conclude(facts, [other], 1)
    assert (report.verdict, report.good) == (UNKNOWN, 0)
    assert report.reasons == ("n1: gone since it was measured: renamed or replaced", "0 of 1 GPUs were measured")
    second = replace(NODE, name="n2", uid="second-uid")
    unlike = json.loads(DOCUMENT)
    unlike["gpus"][0]["uuid"] = "GPU-22222222-2222-2222-2222-222222222222"
    there = Scripted([ended(log=json.dumps(unlike))])
    look(there, second, facts, 0.0)
    look(there, second, facts, 0.0)
    assert conclude(facts, [second], 2).verdict == DEGRADED


def test_the_jobs_to_remove_are_those_that_were_made() -> None:
    cluster = Scripted([ended(), ended(log=DOCUMENT)])
    _, facts = watch(cluster)
    untouched = replace(NODE, name="n2", uid="second-uid")
    assert what().jobs([NODE, untouched], facts) == [order.name for order in cluster.orders]


def test_deadlines_grow_with_the_level() -> None:
    deadlines = []
    for level in ("quick", "standard", "burn"):
        cluster = Scripted([ended(log=DOCUMENT)])
        watch(cluster, measuring=what(level=level))
        deadlines.append(cluster.orders[0].deadline_s)
    assert deadlines == sorted(set(deadlines))


# --- what is in use, as the driver's tool sees it ---------------------------------------------------------------

FINE = "GPU-busy, 16, 16, 0, No, No, Not Active, Not Active\n"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (FINE, ""),
        ("GPU-busy, 8, 16, [N/A], [N/A], [N/A], Not Active, Not Active", ""),
        (FINE.replace(", 0,", ", 7,"), "7 uncorrected memory errors since the driver started"),
        (FINE.replace("0, No, No", "0, Yes, No"), "a row remap is pending: the GPU needs a reset"),
        (FINE.replace("0, No, No", "0, Yes, Yes"), "row remapping has failed: replace the machine"),
        (FINE.replace("No, Not Active", "No, Active"), "slowed down by hardware: hw_thermal_slowdown"),
        (FINE.replace("16, 16", "4, 16"), "PCIe runs at x4 of x16"),
        ('Field "x" is not a valid field to query.', ""),
        ("GPU-busy, 16", ""),
        ("", ""),
    ],
)
def test_gpus_in_use_get_the_passive_checks(row: str, fault: str) -> None:
    cluster = Scripted([], in_use={"n1": 1}, smi=row)
    _, facts = watch(cluster)
    report = conclude(facts, [NODE], 1)
    assert cluster.orders == [], "nothing is run on them"
    if fault:
        assert report.verdict == FAILED
        assert report.reasons[0] == f"n1: GPU-busy, in use: {fault}"
    else:
        assert report.verdict == UNKNOWN
        assert report.reasons == ("1 of 1 GPUs are in use: healthy, not measured",)


def test_a_fault_of_the_busy_neighbour_does_not_fail_what_was_measured() -> None:
    node = replace(NODE, gpus=2, gpu_capacity=2)
    measured_one = FINE.replace("GPU-busy", REAL["gpus"][0]["uuid"]).replace(", 0,", ", 9,")
    cluster = Scripted([ended(word="succeeded", log=DOCUMENT)], in_use={"n1": 1}, smi=measured_one + FINE)
    expect = what(expect=lambda _: GpuExpectation("p5.8xlarge", "H100", 2, 81920))
    _, facts = watch(cluster, node, measuring=expect)
    assert measured(facts)[0].verdict == VERIFIED, "what was measured is judged by its own document"
    cluster.smi, cluster.orders = FINE.replace(", 0,", ", 9,"), []
    _, facts = watch(cluster, node, measuring=expect)
    (result,) = measured(facts)
    assert (result.verdict, result.gpus[0].verdict) == ("degraded", VERIFIED)
