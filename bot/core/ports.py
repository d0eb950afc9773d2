"""The seams: what the core needs of the store, of Rancher, of the cloud, of a cluster and of time.

Adapters implement these; the values that cross are frozen dataclasses. Adapters raise only the errors below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from bot.core.cloud import Cloud as Cloud
from bot.core.cloud import Identity as Identity
from bot.core.cloud import Instance as Instance
from bot.core.cloud import InstanceType as InstanceType
from bot.core.cloud import MachineImage as MachineImage
from bot.core.cloud import Subnet as Subnet
from bot.core.records import (
    ApprovalRow,
    AuditRow,
    ClusterRow,
    CredentialRow,
    HomeRow,
    InboundRow,
    MessageRow,
    PostedRow,
    RequestRow,
    RosterRow,
    StepRow,
    SwitchRow,
    TroubleRow,
    VerdictRow,
    Watch,
)
from bot.core.spec import Distribution, Envelope, Pool
from bot.core.wiring import DIRECT, Network

# --- errors ---------------------------------------------------------------------------------------------------


class WorldError(Exception):
    """Something outside said no. `reason` says what happened, `remedy` what a person can do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class Temporary(WorldError):
    """It may work a little later: no answer, 429, 5xx, a conflict. The world could not be observed."""


class Busy(Temporary):
    """It answered: not yet. Something of ours is being removed, or others write it all the time. The step's clock
    goes on, because the world could be observed."""


class Unread(Temporary):
    """Rancher has not been read since our own last write; it will be in `look_in` world seconds. Nothing is wrong."""

    def __init__(self, look_in: float) -> None:
        super().__init__("Rancher has not been read since the last change.")
        self.look_in = look_in


class Permanent(WorldError):
    """It will not work however often it is tried: refused, malformed, not found."""


class Refused(Permanent):
    """Our own credentials may not do this; `remedy` says who can change that."""


class TokenRefused(Temporary):
    """Rancher does not take the bot's own token: nothing can be observed until somebody gives it another one."""


class Foreign(Permanent):
    """An object of our name exists and is not ours (no label of this request)."""


class Stale(Exception):
    """The row has changed since it was read; read it again."""


class Taken(Exception):
    """A unique index refused the row; `what` names the index."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


# --- time -----------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """World time is what steps wait in and people read; real time is what networks and leases live in."""

    def now(self) -> float:
        """World time, Unix seconds."""

    def real(self) -> float:
        """Wall time, Unix seconds."""

    def real_seconds(self, world_seconds: float) -> float:
        """How long that much world time takes on the wall."""


# --- store ----------------------------------------------------------------------------------------------------

Row = TypeVar("Row", ClusterRow, RequestRow, StepRow, MessageRow, VerdictRow, TroubleRow, CredentialRow)
AnyRow = (
    ClusterRow
    | RequestRow
    | StepRow
    | ApprovalRow
    | MessageRow
    | InboundRow
    | AuditRow
    | VerdictRow
    | TroubleRow
    | CredentialRow
    | RosterRow
    | PostedRow
)


class Tx(Protocol):
    """One transaction. Reads see one state; writes happen together or not at all."""

    def add(self, row: AnyRow) -> None:
        """Insert; raises `Taken` when a unique index says no.

        Indexes: `cluster_name` (living clusters), `open_request` (one open changing request per cluster; a delete
        may wait beside it), `approval` (request, hash, approver), `seen` (key), `message` (id), `cluster`,
        `request`, `step`, `credential`, `verdict` (cluster, node, GPU), `trouble` (id), `open_trouble`
        (cluster, kind, subject).
        """

    def change(self, row: Row, **changes: Any) -> Row:
        """Write the row with these fields changed and, where it has one, `rev` + 1; raises `Stale`
        when the stored `rev` is another than `row.rev`. Rows without `rev` are written unconditionally."""

    def cluster(self, cluster_id: str) -> ClusterRow: ...
    def living_cluster(self, name: str) -> ClusterRow | None:
        """The cluster of that name that is not gone."""

    def clusters(self, *, living: bool = True) -> list[ClusterRow]: ...
    def request(self, request_id: str) -> RequestRow | None: ...
    def requests_of(self, cluster_id: str) -> list[RequestRow]:
        """Oldest first."""

    def open_request(self, cluster_id: str) -> RequestRow | None:
        """The open request; where a delete waits beside another, the other, which it supersedes."""

    def steps(self, request_id: str) -> list[StepRow]:
        """In the order of the plan."""

    def approvals(self, request_id: str) -> list[ApprovalRow]: ...
    def messages(self, request_id: str) -> list[MessageRow]:
        """Oldest first."""

    def message_at(self, channel: str, ts: str) -> MessageRow | None:
        """The message of ours that Slack knows by this channel and timestamp."""

    def credential(self, credential_id: str) -> CredentialRow | None: ...
    def credentials(self, cluster_id: str = "") -> list[CredentialRow]:
        """Those that have not ended, oldest first; of one cluster, or of all."""

    def due_credentials(self, now: float, limit: int) -> list[CredentialRow]:
        """Those at which somebody has to look now, soonest due first."""

    def audit_trail(self, request_id: str) -> list[AuditRow]: ...
    def last_audit(self) -> int:
        """A number that grows with every line of the audit trail; 0 while there is none."""

    def newest_creates(self) -> list[RequestRow]:
        """The newest create of every requester."""

    def waiting_requests(self) -> list[RequestRow]:
        """Those that wait for a lead, oldest first."""

    def silent_requests(self, *, before: float) -> list[RequestRow]:
        """Those approved or running whose look was due before that moment (world)."""

    def posted_leads(self, request_id: str) -> PostedRow | None:
        """Who was a lead when the request was posted; None where nobody wrote that down."""

    def rosters(self, name: str, *, since: float) -> list[RosterRow]:
        """What is known of a user group since that moment, oldest first, and before it the one that held then."""

    def open_home(self, user: str, *, real: float) -> None:
        """Somebody has opened the Home tab; what it shows is as good as unknown."""

    def homes(self, *, since_real: float) -> list[HomeRow]:
        """Those opened since then."""

    def show_home(self, user: str, digest: str) -> None:
        """The Home tab of that person shows this now."""

    def audit_of(self, cluster_id: str) -> list[AuditRow]:
        """Everything about a cluster, in the order of writing."""

    def switch(self, name: str) -> SwitchRow | None:
        """As it was turned last; None when nobody ever did."""

    def turn(self, switch: SwitchRow) -> None:
        """Turn it, whoever did it before."""

    def due_clusters(self, now: float, limit: int) -> list[ClusterRow]:
        """Living clusters whose `due_at` has come, soonest due first. They are not leased: what is due to them is
        writing only, so it is done within the transaction that reads them."""

    def claim_requests(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[RequestRow]:
        """Open requests whose `next_look_at` has come and whose lease is free or over, now leased to `owner`.

        Soonest due first. `awaiting_approval` counts as open: its look is the one that lets it lapse.
        A lease does not change `rev`.
        """

    def release_request(self, request_id: str, owner: str) -> None:
        """Give the lease back, if it is still ours."""

    def anything_running(self) -> bool:
        """Whether some request is under way."""

    def look_at_once(self, names: Iterable[str], now: float) -> Mapping[str, str]:
        """Make the running requests of the clusters of these names due at `now`, unless they are already; a look that
        is under way goes on. Returns the names by id of the clusters that have one. Changes no `rev`."""

    def claim_inbound(self, *, real: float, lease_s: float, limit: int) -> list[InboundRow]:
        """Inbound rows not handled and not leased, oldest first, now leased."""

    def finish_inbound(self, key: str, *, real: float) -> None:
        """Handled: the payload is emptied (it may hold a response_url), the key stays against repeats."""

    def forget_inbound(self, *, before_real: float) -> int:
        """Drop handled keys older than that; returns how many."""

    def due_messages(self, limit: int) -> list[MessageRow]:
        """Messages whose `sent_rev` < `wanted_rev` and that have not failed for good; urgent first, oldest first."""

    def take_lease(self, name: str, owner: str, *, real: float, seconds: float) -> bool:
        """True when `owner` now holds the lease of that name."""

    def verdicts(self, cluster_id: str) -> list[VerdictRow]:
        """What was measured last, of nodes that have gone, too; by node."""

    def trouble(self, trouble_id: str) -> TroubleRow | None: ...
    def troubles(self, cluster_id: str) -> list[TroubleRow]:
        """Those that are not over, oldest first."""

    def claim_watches(self, *, now: float, real: float, owner: str, lease_s: float, limit: int) -> list[Watch]:
        """Ready and degraded clusters whose next look is due and that nobody looks at, now leased to `owner`."""

    def release_watch(self, cluster_id: str, owner: str, *, due_at: float, watched_at: float | None) -> None:
        """Look again at `due_at` (world), if the lease is still ours. `watched_at` None: it could not be seen."""

    def next_watch_at(self) -> float | None:
        """When the next ready or degraded cluster is to be looked at."""

    def next_due_at(self) -> float | None:
        """The earliest `next_look_at` of an open request that nobody holds, or `due_at` of a living cluster."""


class Store(Protocol):
    """Where everything asked is written down before anything is done about it."""

    def transaction(self) -> AbstractContextManager[Tx]:
        """A write transaction: serialised with all others, committed at the end, rolled back on an exception."""

    def reading(self) -> AbstractContextManager[Tx]:
        """A read transaction; writing in it is an error."""

    def describe(self) -> str:
        """Which store this is, without secrets: for the start line and the doctor."""


# --- Rancher --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RancherAbout:
    """`token_expires_at` in Unix seconds, None when it does not expire or is not told."""

    version: str
    user_id: str
    token_expires_at: float | None


@dataclass(frozen=True)
class RightView:
    """Whether the bot may do something in Rancher. `what` is a resource, `purpose` what it is needed for; `state` is
    ok, no or unknown, `missing` those of `verbs` that are not granted, `why` says where, or why nobody knows."""

    what: str
    verbs: tuple[str, ...]
    purpose: str
    state: str
    missing: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class MachineView:
    """A machine as Rancher sees it. `failure` holds AWS's words where the creation failed, '' otherwise.

    `created` says the EC2 instance runs (infrastructure ready); `node` is the Kubernetes node's name once joined.
    """

    name: str
    uid: str
    pool: str
    phase: str
    created: bool
    node: str
    failure: str
    message: str


@dataclass(frozen=True)
class ClusterView:
    """The provisioning cluster with its machines, from one snapshot. Conditions absent are None, not False.

    `stalled`: why Rancher says that it cannot go on (condition Stalled), '' while it does not say so.
    """

    name: str
    request_label: str
    management_id: str
    deleting: bool
    ready: bool
    updated: bool | None
    observed: bool
    connected: bool | None
    state: str
    transitioning: bool
    error: bool
    message: str
    machines: tuple[MachineView, ...]
    stalled: str = ""

    def pool(self, name: str) -> tuple[MachineView, ...]:
        """The machines of one pool."""
        return tuple(machine for machine in self.machines if machine.pool == name)


@dataclass(frozen=True)
class RepoView:
    """A cluster repo: `ready` when its index has been downloaded; `message` says why not."""

    ready: bool
    message: str
    request_label: str


@dataclass(frozen=True)
class AppView:
    """An installed Helm release: `status` in Helm's words (deployed, failed, pending-install, …)."""

    status: str
    version: str
    revision: int


@dataclass(frozen=True)
class Release:
    """A Helm release of some chart, wherever it is."""

    name: str
    namespace: str
    chart: str
    version: str
    status: str


@dataclass(frozen=True)
class ChartOrder:
    """What to install: an exact version, and values as Helm takes them."""

    repo: str
    chart: str
    version: str
    release: str
    namespace: str
    project: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class StoredSecret:
    """A Kubernetes Secret, without what is in it: its type, and the names of its keys."""

    type: str
    keys: tuple[str, ...]


class Rancher(Protocol):
    """Rancher's management API, and the catalog API of downstream clusters. Every method may raise `WorldError`s."""

    def about(self) -> RancherAbout: ...
    def rights(self, management_id: str) -> tuple[RightView, ...]:
        """What the bot needs in Rancher, and whether it has it. `management_id`: of a cluster of its own; '' leaves out
        what comes with one."""

    def kubernetes_versions(self, distribution: Distribution = "rke2") -> tuple[str, ...]:
        """Versions that this Rancher can install, oldest first; empty when it cannot tell (air gap)."""

    def default_kubernetes(self, distribution: Distribution = "rke2") -> str:
        """The version Rancher would choose, with its leading v; '' when unknown."""

    def has_credential(self, credential: str) -> bool:
        """Whether the cloud credential (cattle-global-data:cc-…) exists and is visible to us."""

    def secret(self, name: str) -> StoredSecret | None:
        """A Secret of fleet-default; None when it is not there, `Refused` when we may not see."""

    def ensure_machine_config(self, envelope: Envelope, pool: Pool, request_id: str) -> None:
        """Create the pool's Amazonec2Config or find it there; raises `Foreign` when it is another's."""

    def ensure_cluster(self, envelope: Envelope, request_id: str) -> None:
        """Create the provisioning cluster or find it there; raises `Foreign` when it is another's."""

    def observe(self, name: str, *, newer_than: float) -> ClusterView | None:
        """The cluster from a snapshot whose request started after `newer_than` (real time).

        None when it is not there, which is believed only from a GET by id. Raises `Unread` while the snapshot is older
        than `newer_than` and too young to be made anew.
        """

    def changed(self) -> frozenset[str]:
        """Names of the clusters that look otherwise in Rancher than when this was asked last; all, the first time."""

    def size_pools(self, envelope: Envelope, pools: tuple[Pool, ...], request_id: str) -> None:
        """Give pools their `count` and let them work where they were held, all in one change; places that the cluster
        lacks are added, with a machine config of their own first, of the request that made the cluster.

        Raises `Permanent` where a pool would come to more machines than the envelope has, in all its places, or where
        the cluster has no such pool.
        """

    def trim_pools(self, name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        """Lower each pool of the cluster to at most what `most` says, those that it does not name to 0; raise none.
        Rancher makes refused machines anew for ever: this is what stops it. Returns what was too large, in words."""

    def mark_machine(self, machine: str) -> None:
        """When its pool shrinks, this machine goes first; nothing happens when it is gone."""

    def remove_machine(self, machine: str) -> None:
        """Have it removed; Rancher makes another, as its pool keeps its size. Nothing happens when it is gone."""

    def delete_cluster(self, name: str, request_ids: tuple[str, ...]) -> None:
        """Ask for its removal; nothing happens when it is gone or already going.
        Raises `Foreign` when its request label is none of `request_ids`."""

    def management_cluster_gone(self, management_id: str) -> bool: ...
    def system_project(self, management_id: str) -> str | None:
        """The id (c-m-…:p-…) of the System project, None while it does not exist yet."""

    def ensure_repo(
        self, management_id: str, name: str, url: str, request_id: str, network: Network = DIRECT
    ) -> RepoView:
        """Create the cluster repo or look at it; a failed download is asked for again. It trusts the network's CA."""

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]: ...
    def install_chart(self, management_id: str, order: ChartOrder) -> str:
        """Start install-or-upgrade; returns the operation's name. The verdict comes from `app`."""

    def operation_log(self, management_id: str, namespace: str, operation: str) -> str:
        """The last lines of Helm's own output; '' when it is gone."""

    def app(self, management_id: str, namespace: str, release: str) -> AppView | None: ...
    def releases(self, management_id: str) -> tuple[Release, ...]:
        """Every Helm release in that cluster."""

    def has_role(self, role: str) -> bool:
        """Whether a role of that id exists and is visible to us."""

    def bind_role(self, management_id: str, principal: str, role: str, *, person: str = "") -> None:
        """Give a Rancher principal a role in that cluster; nothing happens when it has it.

        `person` is the Slack id by which `unbind` finds it again, '' for a group.
        """

    def unbind(self, management_id: str, person: str) -> None:
        """Take away every role that `bind_role` gave to that person in that cluster, to everybody where `person` is
        ''; others' gifts stay."""

    def let_tokens_through(self, management_id: str, *, may_change: bool) -> None:
        """See to it that Rancher's proxy takes tokens of that cluster's own service accounts.

        Raises `Permanent` where it does not and may not be changed, `Refused` where the bot has no right to.
        """


# --- a downstream cluster -------------------------------------------------------------------------------------


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
    """`finished` is '', succeeded or failed; `reason` the Job's or the pod's own word; `log` the pod's output."""

    finished: str
    reason: str
    message: str
    log: str


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

    def job(self, namespace: str, name: str) -> JobView | None: ...
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
