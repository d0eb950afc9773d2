"""`why` and `logs`: what is stored and what is seen now, ranked; who may ask; what could not be asked; no secrets."""

from __future__ import annotations

import dataclasses
import time

import pytest

from bot.core.causes import insight
from bot.core.causes.diagnosis import codes_in
from bot.core.causes.insight import NOW, STORED, Explanation, Insight
from bot.core.desk import Conflict
from bot.core.operator_values import NAMESPACE
from bot.core.policy import Denied
from bot.core.ports import JobView, PodLog, PodTrouble, PolicyView, Temporary
from bot.core.secrets import blot
from bot.core.spec import LABEL_POOL
from bot.core.verification.sight import NAMESPACE as VERIFY
from tests.core.fakes import probe_log, refused
from tests.core.stage import BYSTANDER, DRAFT, GUEST, LEAD, REQUESTER, Stage

DRIVER, PLUGIN = "nvidia-driver-daemonset", "nvidia-device-plugin-daemonset"
HEADERS = PodTrouble(
    f"{DRIVER}-x", DRIVER, "node-gpu-0", "CrashLoopBackOff", "", "E: Unable to locate package linux-headers-6.8"
)
NOT_READY = PolicyView("notReady", False, "OperandNotReady", "states not ready: [state-driver]")


def asked(stage: Stage, *, user: str = REQUESTER, name: str = "train-a") -> Explanation:
    return Insight(desk=stage.desk, clock=stage.clock, outside=stage.outside).why(stage.ask(user), name)


def codes(told: Explanation) -> list[str]:
    return [reason.code for reason in told.reasons if reason.code]


def test_a_good_cluster_has_nothing_wrong(stage: Stage) -> None:
    stage.finish(stage.running())
    told = asked(stage)
    assert (told.reasons, told.looked, told.unanswered) == ((), True, ())


def test_while_it_is_made_it_says_what_it_waits_for_and_what_is_seen(stage: Stage) -> None:
    request = stage.running()
    stage.kube.view, stage.kube.troubles = NOT_READY, (HEADERS,)
    stage.look(12)
    told = asked(stage)
    assert codes(told) == ["diag-04"]
    first = told.reasons[0]
    assert "no headers for this kernel" in first.what
    assert first.proof.startswith("kubectl -n gpu-operator logs")
    assert first.remedy
    assert told.reasons[-1].what.startswith("it waits")
    assert stage.story(request).state == "running"


def test_what_was_found_when_it_failed_stays_and_is_not_said_twice(stage: Stage) -> None:
    request = stage.running()
    stage.kube.view, stage.kube.troubles = NOT_READY, (HEADERS,)
    stage.finish(request)
    told = asked(stage)
    assert codes(told) == ["diag-04"]
    assert told.reasons[0].seen == NOW
    stage.kube.view, stage.kube.troubles = stage.kube.READY, ()
    later = asked(stage)
    assert codes(later) == ["diag-04"]
    assert later.reasons[0].seen == STORED
    assert later.reasons[0].proof.startswith("kubectl")


def test_causes_come_in_the_order_of_the_catalogue(stage: Stage) -> None:
    stage.finish(stage.running())
    runtime = PodTrouble("v", "nvidia-operator-validator", "n", "FailedCreatePodSandBox",
                         'no runtime for "nvidia" is configured', "", 900.0)  # fmt: skip
    stage.kube.troubles = (runtime, HEADERS)
    stage.kube.kernel = {"node-gpu-0": "NVRM: Xid (PCI:0000:00:1e): 79, GPU has fallen off the bus."}
    told = asked(stage)
    assert codes(told) == ["diag-20", "diag-04", "diag-01"]
    assert told.reasons[0].what.startswith("the kernel of node-gpu-0: a GPU fell off the bus")


def test_a_gpu_that_the_plugin_took_back_is_found_in_its_log(stage: Stage) -> None:
    stage.finish(stage.running())
    (name,) = [node.name for node in stage.kube.nodes() if node.gpus]
    stage.kube.changes[name] = {"gpus": 0}
    text = "XidCriticalError: Xid=48 on Device=GPU-7b7c84ab-6874, the device will go unhealthy."
    stage.kube.logs = (PodLog(NAMESPACE, "p", PLUGIN, name, "c", "Running", text),)
    told = asked(stage)
    assert codes(told) == ["diag-19"]
    assert any("0 of 1 GPUs can be handed out" in reason.what for reason in told.reasons)


def test_a_machine_that_is_not_ready_or_gone_is_named(stage: Stage) -> None:
    stage.finish(stage.running())
    (name,) = [node.name for node in stage.kube.nodes() if node.gpus]
    stage.kube.changes[name] = {"ready": False}
    assert [reason.what for reason in asked(stage).reasons] == [f"{name} is not Ready"]
    stage.rancher.machines = [machine for machine in stage.rancher.machines if machine.pool != "gpu"]
    assert [reason.what for reason in asked(stage).reasons] == ["0 of 1 GPU machines are there"]


def test_what_aws_said_comes_first(stage: Stage) -> None:
    request = stage.running()
    stage.kube.view = NOT_READY
    stage.look(6)
    stage.rancher.machines = [refused("gpu", 1, "InsufficientInstanceCapacity: no capacity")]
    assert stage.request(request).finished_at is None
    told = asked(stage)
    assert "AWS has no free machine of this type" in told.reasons[0].what
    assert "InsufficientInstanceCapacity" in told.reasons[0].what


def test_before_anything_is_made_there_is_nothing_to_look_at(stage: Stage) -> None:
    stage.awaiting()
    told = asked(stage)
    assert (told.looked, [reason.what for reason in told.reasons]) == (False, ["it waits for a lead to decide"])


def test_what_does_not_answer_is_named_and_what_is_stored_is_told(stage: Stage) -> None:
    request = stage.running()
    stage.kube.view, stage.kube.troubles = NOT_READY, (HEADERS,)
    stage.finish(request)
    stage.outage(Temporary("The cluster's API did not answer in time."))
    told = asked(stage)
    assert codes(told) == ["diag-04"]
    assert len(told.unanswered) == 6
    assert all("did not answer in time" in text for text in told.unanswered)


def test_somebody_waits_only_so_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.finish(stage.running())
    monkeypatch.setattr(insight, "ANSWER_S", 0.05)
    monkeypatch.setattr(stage.kube, "policy", lambda: time.sleep(0.5))
    assert asked(stage).unanswered == ("the ClusterPolicy: no answer within 0.05 s.",)


def test_only_the_kernel_that_was_not_read_cannot_be_seen(stage: Stage) -> None:
    stage.finish(stage.running())
    hidden = [what for what, _ in asked(stage).unseen]
    assert hidden == ["the kernel's log where no driver pod runs", "RKE2's own log"]
    stage.kube.kernel = {node.name: "" for node in stage.kube.nodes() if node.gpus}
    assert [what for what, _ in asked(stage).unseen] == ["RKE2's own log"]


@pytest.mark.parametrize("user", [BYSTANDER, GUEST])
def test_others_may_not_ask(stage: Stage, user: str) -> None:
    stage.running()
    look = Insight(desk=stage.desk, clock=stage.clock, outside=stage.outside)
    for question in (look.why, look.logs):
        with pytest.raises(Denied):
            question(stage.ask(user), "train-a")


def test_a_lead_may(stage: Stage) -> None:
    stage.finish(stage.running())
    assert asked(stage, user=LEAD).looked


def test_a_name_that_there_is_not(stage: Stage) -> None:
    with pytest.raises(Conflict, match="no cluster “nobody”"):
        asked(stage, name="nobody")


# --- logs -----------------------------------------------------------------------------------------------------


def log(namespace: str, pod: str, text: str, app: str = "") -> PodLog:
    return PodLog(namespace, pod, app, "n1", "c", "Running", text)


def test_logs_are_those_of_operator_driver_and_probe_without_secrets(stage: Stage) -> None:
    stage.finish(stage.running())
    stage.kube.logs = (
        log(NAMESPACE, "gpu-operator-1", "reconciled, token=abcdef123456", "gpu-operator"),
        log(NAMESPACE, "driver-1", "Installing", DRIVER),
        log(NAMESPACE, "dcgm-1", "not asked for", "nvidia-dcgm-exporter"),
        log(VERIFY, "verify-1", '{"schema":1}'),
        log("kube-system", "etcd", "never"),
    )
    told = Insight(desk=stage.desk, clock=stage.clock, outside=stage.outside).logs(stage.ask(), "train-a")
    assert [pod.pod for pod in told.pods] == ["gpu-operator-1", "driver-1", "verify-1"]
    assert told.pods[0].text == "reconciled, token=…"


def test_without_machines_there_are_no_logs(stage: Stage) -> None:
    stage.awaiting()
    with pytest.raises(Conflict, match="no machines yet"):
        Insight(desk=stage.desk, clock=stage.clock, outside=stage.outside).logs(stage.ask(), "train-a")


@pytest.mark.parametrize(
    "secret",
    [
        "Authorization: Bearer abcdefghijklmnop",
        "token-abcde:0123456789abcdef0123456789",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "key id AKIAIOSFODNN7EXAMPLE here",
        "https://user:hunter22@registry.example/v2/",
        '"password": "hunter22"',
        "--token K10abcdefabcdefabcdef::server:hunter22",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9x.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter22\n-----END RSA PRIVATE KEY-----",
        "NGC nvapi-0123456789abcdef",
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(secret: str) -> None:
    shown = blot(f"before {secret} after")
    assert shown.startswith("before")
    assert "…" in shown
    for word in ("hunter22", "abcdefghijklmnop", "0123456789abcdef", "wJalr", "AKIAIO", "eyJhbG"):
        assert word not in shown


@pytest.mark.parametrize(
    "line",
    ["NVRM: Xid (PCI:0000:00:1e): 79, GPU has fallen off the bus.", "level=info msg=reconciled states=3", ""],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert blot(line) == line


# --- causes of what is degraded ---------------------------------------------------------------------------------


def test_a_degraded_cluster_carries_the_codes_of_its_causes(stage: Stage) -> None:
    stage.kube.changes["node-gpu-1"] = {"gpus": 0, "gpu_capacity": 0, "labels": {LABEL_POOL: "gpu"}}
    story = stage.finish(stage.running(dataclasses.replace(DRAFT, gpus="2")))
    assert story.report is not None
    assert story.report.verdict == "degraded"
    assert codes_in(story.diagnosis) == ("diag-10",)
    assert story.diagnosis[0].startswith("diag-10"), "codes first"
    assert "no GPU on the PCI bus of node-gpu-1" in story.diagnosis
    assert story.reason == "no GPU on the PCI bus of node-gpu-1"


def test_what_the_probe_says_is_compared_with_the_catalogue(stage: Stage) -> None:
    lost = probe_log(ok=True).replace('"errors": []', '"errors": ["temperature: GPU is lost"]')
    stage.kube.results["node-gpu-0"] = JobView("failed", "", "", lost)
    story = stage.finish(stage.running())
    assert story.state == "failed"
    assert codes_in(story.diagnosis) == ("diag-20",)
