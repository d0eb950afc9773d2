"""A cluster that has been made, as the core needs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from bot.core.cloud import Cloud as Cloud
from bot.core.cloud import Identity as Identity
from bot.core.cloud import Instance as Instance
from bot.core.cloud import InstanceType as InstanceType
from bot.core.cloud import MachineImage as MachineImage
from bot.core.cloud import Subnet as Subnet


@dataclass(frozen=True)
class Node:
    """`gpus` is what the scheduler can hand out (allocatable), `gpu_capacity` what the device plugin registered.

    `provider_id` is spec.providerID: aws:///zone/i-… where AWS's cloud provider runs, rke2://name where RKE2's does.
    """

    name: str
    uid: str
    ready: bool
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    gpus: int
    gpu_capacity: int
    provider_id: str = ""


@dataclass(frozen=True)
class PolicyView:
    """ClusterPolicy: `state` (ready, notReady, …), and the Ready condition's `reason` and `message`."""

    state: str
    ready: bool
    reason: str
    message: str


@dataclass(frozen=True)
class PodTrouble:
    """A pod that does not run: what Kubernetes says (`reason`, `message`) and the end of its log.

    Where an event says it, `seconds` is for how long it has been said (world time); None for the pod's own state.
    """

    pod: str
    app: str
    node: str
    reason: str
    message: str
    log: str
    seconds: float | None = None


@dataclass(frozen=True)
class PodLog:
    """The end of one container's log; `state` is what Kubernetes says of the pod (Running, CrashLoopBackOff, …)."""

    namespace: str
    pod: str
    app: str
    node: str
    container: str
    state: str
    text: str


@dataclass(frozen=True)
class JobOrder:
    """The verification Job of one node. `script` goes into a ConfigMap; `deadline_s` world seconds.

    A toleration with an empty value tolerates every value of its key. `runtime_class` '' for the node's default.
    `command` is what another image runs; empty: Python, with the script and `arguments`.
    """

    name: str
    namespace: str
    node: str
    image: str
    gpus: int
    script: str
    arguments: tuple[str, ...]
    tolerations: tuple[tuple[str, str, str], ...]
    labels: Mapping[str, str]
    deadline_s: int
    runtime_class: str = ""
    pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobView:
    """`finished` is '', succeeded or failed; `reason` the Job's or the pod's own word; `log` the pod's output, `unread`
    why that cannot be read now."""

    finished: str
    reason: str
    message: str
    log: str
    unread: str = ""


@dataclass(frozen=True)
class GpuUse:
    """GPUs that unfinished pods ask for, ours and the operator's aside; when the last such pod ended (Unix seconds).

    Pods that have been deleted tell nothing: `last_at` is None when no pod that is still listed has ended.
    """

    asked: int
    last_at: float | None


@dataclass(frozen=True)
class Token:
    """A token of a service account of one cluster. `expires_at` Unix seconds, by that cluster's clock.

    `repr` hides the token: it is in no log and no trace.
    """

    secret: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True)
class OwnEndpoint:
    """The cluster's API server without Rancher in between: its URL and its certificate authority (PEM in base64)."""

    url: str
    authority: str


class Cluster(Protocol):
    """The Kubernetes API of one downstream cluster. Every method may raise `WorldError`s."""

    def version(self) -> str: ...
    def nodes(self) -> tuple[Node, ...]: ...
    def ensure_namespace(self, name: str, *, project: str, privileged: bool, labels: Mapping[str, str]) -> None: ...
    def remove_namespace(self, name: str, request_id: str) -> None:
        """Delete the namespace that this request made; another's, or an older one, stays."""

    def policy(self) -> PolicyView | None:
        """The ClusterPolicy `cluster-policy`, None while it (or its CRD) is not there."""

    def pod_troubles(self, namespace: str) -> tuple[PodTrouble, ...]: ...
    def pod_logs(self, namespace: str, apps: tuple[str, ...], lines: int, most: int) -> tuple[PodLog, ...]:
        """The ends of the logs of at most so many pods, those in trouble first; of these `apps`, or of all.

        Nothing where the namespace is not there; raises `Foreign` where the bot did not make it.
        """

    def kernel_log(self, namespace: str, app: str) -> Mapping[str, str]:
        """What the kernel says of its GPUs, by node name, read with dmesg inside the running pods of the driver, `app`.

        Nodes on which no such pod runs, or lets itself be asked, are missing.
        """

    def ask_driver(self, namespace: str, app: str, node: str, command: tuple[str, ...]) -> str:
        """What a command prints inside the driver's pod on a node; '' where none runs or lets itself be asked."""

    def ensure_job(self, order: JobOrder) -> None:
        """Create ConfigMap and Job, or find them there."""

    def job(self, namespace: str, name: str) -> JobView | None:
        """One Job, whoever made it; a log that cannot be read is an error."""

    def jobs(self, namespace: str, request_id: str, wanted: Collection[str]) -> Mapping[str, JobView]:
        """Those of the wanted names that bear the label of that request, by name: one question for all of them, and
        one for the log of each that has ended."""

    def started_at(self, app: str, node: str) -> float | None:
        """When the newest run of that DaemonSet's container began on the node (Unix seconds); None where no such pod
        is there, or pods may not be read."""

    def remove_job(self, namespace: str, name: str) -> None:
        """Delete the Job, its pod and its ConfigMap; nothing happens when they are not there."""

    def remove_jobs_of(self, namespace: str, requests: tuple[str, ...]) -> None:
        """Delete all Jobs, their pods and ConfigMaps that bear the label of one of those requests."""

    def gpus_in_use(self) -> Mapping[str, int]:
        """GPUs that pods hold or are about to hold, by node name; nodes without any are missing."""

    def runtime_classes(self) -> tuple[str, ...]: ...
    def remove_taint(self, node: str, key: str) -> None:
        """Take the taint off; nothing happens when it is not there."""

    def add_taint(self, node: str, key: str) -> None:
        """Put the taint on (NoSchedule: what runs there goes on); nothing happens when it is there."""

    def gpu_use(self, ours: frozenset[str]) -> GpuUse:
        """What pods outside of the namespaces `ours` ask of the GPUs."""

    def issue_token(self, account: str, person: str, *, seconds: int) -> Token:
        """A token of the service account of that name, which is made with its rights where it is not there.

        `person` is the Slack id by which `remove_accounts` finds it.
        """

    def remove_accounts(self, *, account: str = "", person: str = "") -> None:
        """Remove that one account, or all of that person's, with their rights: their tokens end with them."""

    def device_classes(self) -> tuple[str, ...]:
        """Names of the DeviceClasses of dynamic resource allocation; empty where the cluster has none."""

    def own_endpoint(self) -> OwnEndpoint:
        """Where the API server itself listens. Raises `Permanent` where the cluster does not say."""

    def storage_class(self) -> str:
        """The default StorageClass's name, '' when there is none."""
