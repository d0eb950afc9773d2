"""Why a cluster is as it is, and what its pods say: from what was stored, and from a look now.

Unlike the desk it asks the outside, side by side and for a few seconds at most; what does not answer is named. Nothing
is changed, and only namespaces that the bot made are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from bot.core.causes.diagnosis import (
    Cause,
    Signal,
    cause_of,
    codes_in,
    ec2_cause,
    node_signals,
    operand_causes,
    plugin_signals,
    pod_signals,
    policy_signals,
    recognise,
)
from bot.core.causes.failures import CATALOGUE, KERNEL, LOG
from bot.core.checks.questions import ask as in_a_thread
from bot.core.desk import Ask, Conflict, Desk
from bot.core.operator_values import NAMESPACE as OPERATOR_NAMESPACE
from bot.core.policy import Verb
from bot.core.ports import Clock, Cluster, ClusterView, Node, PodLog, PodTrouble, PolicyView, WorldError
from bot.core.records import RequestState, StepState
from bot.core.secrets import blot
from bot.core.spec import LABEL_POOL
from bot.core.steps.base import Outside
from bot.core.steps.why import PLUGIN
from bot.core.story import Story
from bot.core.verification.sight import NAMESPACE as VERIFY_NAMESPACE
from bot.core.verification.verdict import VERIFIED

T = TypeVar("T")

ANSWER_S = 12.0
"""Real seconds that a look may take: somebody waits."""
_SETTLED_S = 240.0
"""World seconds after the operator's installation in which labels of nodes may still be missing."""

NOW, STORED = "now", "stored"

DRIVER, OPERATOR = "nvidia-driver-daemonset", "gpu-operator"
LOG_LINES, LOG_PODS = 12, 6

_WAITING = {
    RequestState.CHECKING: ("its checks are under way", "They take ten seconds at most."),
    RequestState.AWAITING_APPROVAL: ("it waits for a lead to decide", "Ask a lead to look at its message."),
    RequestState.APPROVED: ("it was approved and starts in a moment", "Look again in a minute."),
}
_REMEDY = {mode.code: mode for mode in CATALOGUE}


@dataclass(frozen=True)
class Reason:
    """One cause: `code` of the catalogue where it has one, `proof` the command that shows it, `seen` now or stored."""

    what: str
    remedy: str
    code: str = ""
    proof: str = ""
    seen: str = NOW


@dataclass(frozen=True)
class Explanation:
    """Why a cluster is as it is. `reasons` ranked, the likeliest root first; empty where nothing is wrong.

    `unanswered` says what could not be asked, `unseen` what only the machines themselves would show, with the command
    that shows it.
    """

    story: Story
    reasons: tuple[Reason, ...]
    looked: bool
    unanswered: tuple[str, ...]
    unseen: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Logs:
    """The ends of the logs that matter, without secrets; `unanswered` says what could not be read."""

    cluster: str
    pods: tuple[PodLog, ...]
    unanswered: tuple[str, ...]


class Insight:
    """Answers `why` and `logs`. Safe to share between threads."""

    def __init__(self, *, desk: Desk, clock: Clock, outside: Callable[[str], Outside]) -> None:
        self._desk, self._clock, self._outside = desk, clock, outside

    def why(self, ask: Ask, name: str, thread_ts: str = "") -> Explanation:
        """The causes, ranked. Raises `Denied`, or `Conflict` when there is no such cluster."""
        row, story = self._desk.about(ask, Verb.WHY, name, thread_ts)
        stored = _stored(story)
        if not row.management_id or story.state not in (RequestState.RUNNING, RequestState.FAILED, RequestState.DONE):
            return Explanation(story, stored, False, (), ())
        if row.gone_at is not None:
            return Explanation(story, stored, False, ("The cluster is gone; this is what was stored.",), ())
        try:
            outside = self._outside(row.target)
            cluster = outside.cluster(row.management_id)
        except WorldError as error:
            return Explanation(story, stored, False, (_said("The cluster", error),), ())
        seen = _Look(cluster, lambda: outside.rancher.observe(row.name, newer_than=0.0), story)
        found = seen.reasons(self._clock.now())
        return Explanation(
            story, _ranked(found, stored), True, tuple(seen.unanswered), _unseen(found, seen.kernels_read)
        )

    def logs(self, ask: Ask, name: str, thread_ts: str = "") -> Logs:
        """The operator's, the driver's and the probe's last lines. Raises `Denied` or `Conflict`."""
        row, story = self._desk.about(ask, Verb.LOGS, name, thread_ts)
        if not row.management_id:
            raise Conflict(f"{row.name} has no machines yet, so there are no logs.", f"/gpu-cluster why {row.name}")
        if row.gone_at is not None:
            raise Conflict(f"{row.name} is gone, and its logs with it.", "Its thread holds what was found.")
        cluster = self._outside(row.target).cluster(row.management_id)
        asked = {
            "the operator's logs": in_a_thread(
                lambda: cluster.pod_logs(OPERATOR_NAMESPACE, (OPERATOR, DRIVER), LOG_LINES, LOG_PODS)
            ),
            "the probe's logs": in_a_thread(lambda: cluster.pod_logs(VERIFY_NAMESPACE, (), LOG_LINES, LOG_PODS)),
        }
        answers = _Answers()
        pods = [pod for what, future in asked.items() for pod in answers.of(what, future) or ()]
        return Logs(story.cluster, tuple(_without_secrets(pod) for pod in pods), tuple(answers.missing))


class _Answers:
    """Waits for several answers at once, and remembers which did not come."""

    def __init__(self) -> None:
        self._until = time.monotonic() + ANSWER_S
        self.missing: list[str] = []

    def of(self, what: str, future: Future[T]) -> T | None:
        try:
            return future.result(timeout=max(0.0, self._until - time.monotonic()))
        except WorldError as error:
            self.missing.append(_said(what, error))
        except TimeoutError:
            self.missing.append(f"{what}: no answer within {ANSWER_S:g} s.")
        return None


class _Look:
    """A look at the cluster as it is now: every question in a thread of its own."""

    def __init__(self, cluster: Cluster, view: Callable[[], ClusterView | None], story: Story) -> None:
        self._cluster, self._story = cluster, story
        self.kernels_read = False
        self._view = in_a_thread(view)
        self._operator = in_a_thread(lambda: cluster.pod_troubles(OPERATOR_NAMESPACE))
        self._probe = in_a_thread(lambda: cluster.pod_troubles(VERIFY_NAMESPACE))
        self._policy = in_a_thread(cluster.policy)
        self._nodes = in_a_thread(cluster.nodes)
        self._kernel = in_a_thread(lambda: cluster.kernel_log(OPERATOR_NAMESPACE, DRIVER))
        self._answers = _Answers()

    @property
    def unanswered(self) -> list[str]:
        return self._answers.missing

    def reasons(self, now: float) -> tuple[Reason, ...]:
        """What is seen to be wrong now, `now` in world seconds."""
        of = self._answers.of
        view = of("Rancher", self._view)
        troubles = (*(of("the operator's pods", self._operator) or ()), *(of("the probe's pods", self._probe) or ()))
        policy = of("the ClusterPolicy", self._policy)
        nodes = self._gpu_nodes(of("the nodes", self._nodes) or ())
        kernel = of("the kernel's log", self._kernel) or {}
        self.kernels_read = bool(nodes) and all(node.name in kernel for node in nodes)
        signals = [*pod_signals(troubles), *policy_signals(policy), *self._labels(nodes, now)]
        signals += [Signal(LOG, text, f"the kernel of {node}", age_s=now) for node, text in kernel.items()]
        lost = [node for node in nodes if node.gpu_capacity > node.gpus]
        signals += self._plugin(lost)
        found = [_reason(cause_of(finding), finding.mode.command) for finding in recognise(signals)]
        found += [_reason(cause, "kubectl -n gpu-operator get pods") for cause in self._general(troubles, found)]
        found += _not_there(nodes, lost, self._story, policy)
        return (*_machines(view), *found)

    def _gpu_nodes(self, nodes: tuple[Node, ...]) -> list[Node]:
        pools = {pool.name for pool in self._story.envelope.gpu_pools} if self._story.envelope else {"gpu"}
        return [node for node in nodes if node.labels.get(LABEL_POOL) in pools]

    def _labels(self, nodes: list[Node], now: float) -> tuple[Signal, ...]:
        """What the labels say, once they have had the time to come."""
        installed = next((step.done_at for step in self._story.steps if step.name == "operator"), None)
        done = self._story.state == RequestState.DONE
        age = now - installed if installed is not None else (_SETTLED_S + 1 if done else 0.0)
        return node_signals(nodes, age) if age > _SETTLED_S else ()

    def _plugin(self, lost: list[Node]) -> list[Signal]:
        """The device plugin runs on after it has marked a GPU unhealthy: only its log says why."""
        if not lost:
            return []
        asked = in_a_thread(lambda: self._cluster.pod_logs(OPERATOR_NAMESPACE, (PLUGIN,), 200, LOG_PODS))
        logs: tuple[PodLog, ...] = self._answers.of("the device plugin's log", asked) or ()
        return list(plugin_signals(logs))

    @staticmethod
    def _general(troubles: tuple[PodTrouble, ...], found: list[Reason]) -> tuple[Cause, ...]:
        return () if found else tuple(cause for cause in operand_causes(troubles) if not cause.code)


def _machines(view: ClusterView | None) -> tuple[Reason, ...]:
    """What EC2 said of machines that it did not start, and Rancher of those that are not there yet."""
    reasons: dict[str, Reason] = {}
    for machine in view.machines if view else ():
        cause = ec2_cause(machine.failure) if machine.failure else None
        if cause is not None:
            said = f"pool {machine.pool}: {cause.what} ({cause.code})"
            proof = (
                f"aws ec2 describe-instances --filters Name=tag:gpu-cluster/cluster,Values={view.name if view else ''}"
            )
            reasons.setdefault(said, Reason(said, cause.remedy, "", proof))
    return tuple(reasons.values())


def _not_there(nodes: list[Node], lost: list[Node], story: Story, policy: PolicyView | None) -> list[Reason]:
    """Nodes that are not Ready, GPUs that Kubernetes cannot hand out, machines that are missing."""
    reasons = [
        Reason(f"{node.name} is not Ready", "Look at the machine in Rancher, or replace it.", "",
               f"kubectl describe node {node.name}")
        for node in nodes if not node.ready
    ]  # fmt: skip
    reasons += [
        Reason(f"{node.name}: {node.gpus} of {node.gpu_capacity} GPUs can be handed out: the device plugin marked the "
               "others unhealthy", "Look at the device plugin's log; reset the GPU or replace the machine.", "",
               f"kubectl get node {node.name} -o jsonpath='{{.status.allocatable}}'")
        for node in lost
    ]  # fmt: skip
    wanted = sum(pool.count for pool in story.envelope.gpu_pools) if story.envelope else 0
    if story.state == RequestState.DONE and len(nodes) < wanted:
        missing = f"{len(nodes)} of {wanted} GPU machines are there"
        reasons.append(Reason(missing, "Look at the machines in Rancher and EC2.", "", "kubectl get nodes"))
    if story.state == RequestState.DONE and policy is not None and not policy.ready:
        said = f"the ClusterPolicy is not ready: {policy.reason}: {policy.message}"
        reasons.append(Reason(said, "Look at the pods of namespace gpu-operator.", "", "kubectl get clusterpolicy"))
    return reasons


def _stored(story: Story) -> tuple[Reason, ...]:
    """What was found when it was made: modes by their codes, then the words of the step and of the verdict."""
    found = []
    for line in story.diagnosis:
        for code in codes_in([line]):
            mode = _REMEDY.get(code)
            if mode is not None:
                what = line.removeprefix(code).strip()
                found.append(Reason(what, f"{mode.remedy}.", code, mode.command, STORED))
    if story.reason and not any(reason.what in story.reason or story.reason in reason.what for reason in found):
        found.append(Reason(story.reason, story.remedy, "", "", STORED))
    if story.state in _WAITING:
        found.append(Reason(*_WAITING[story.state], "", "", STORED))
    for step in story.steps:
        if step.state == StepState.RUNNING and step.why:
            late = " (longer than usual)" if step.stalled else ""
            found.append(Reason(f"it waits{late}: {step.why}", "", "", "", STORED))
    found += _measured(story)
    return tuple(dict.fromkeys(found))


def _measured(story: Story) -> list[Reason]:
    report = story.report
    if report is None or report.verdict == VERIFIED:
        return []
    proof = f"kubectl -n {VERIFY_NAMESPACE} logs -l gpu-cluster/request={story.request_id} --tail=1"
    remedy = "The document in the thread has the numbers; another machine is the remedy for a GPU that is bad."
    return [Reason(reason, remedy, "", proof, STORED) for reason in report.reasons if reason not in story.reason]


def _ranked(now: tuple[Reason, ...], stored: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """What is seen now comes first, in the catalogue's order; what was seen then and is seen no more follows."""
    codes = {reason.code for reason in now if reason.code}
    return (*now, *(reason for reason in stored if not reason.code or reason.code not in codes))


def _unseen(found: tuple[Reason, ...], kernels_read: bool) -> tuple[tuple[str, str], ...]:
    """What only the machines would show, with the command, for the modes that were not found anyway."""
    named = {reason.code for reason in found}
    hidden: dict[str, str] = {}
    for mode in CATALOGUE:
        if mode.unseen and mode.code not in named and not (kernels_read and mode.unseen == KERNEL):
            hidden.setdefault(mode.unseen, mode.unseen_command)
    return tuple(hidden.items())


def _reason(cause: Cause, proof: str) -> Reason:
    return Reason(blot(cause.what), cause.remedy, cause.code, proof)


def _without_secrets(pod: PodLog) -> PodLog:
    return PodLog(pod.namespace, pod.pod, pod.app, pod.node, pod.container, blot(pod.state), blot(pod.text))


def _said(what: str, error: WorldError) -> str:
    return f"{what}: {error.reason}"


__all__ = ["ANSWER_S", "NOW", "STORED", "Explanation", "Insight", "Logs", "Reason"]
