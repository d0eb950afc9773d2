"""The rows of the store, as values. Times ending in `_at` are world time, in `_real` wall time; Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ClusterState(StrEnum):
    BUILDING = "building"
    READY = "ready"
    DEGRADED = "degraded"
    FAILED = "failed"
    DELETING = "deleting"
    GONE = "gone"


class RequestState(StrEnum):
    CHECKING = "checking"
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DENIED = "denied"
    LAPSED = "lapsed"


OPEN_STATES = (
    RequestState.CHECKING,
    RequestState.AWAITING_APPROVAL,
    RequestState.APPROVED,
    RequestState.RUNNING,
)
"""States in which a request still wants something; at most one such changing request per cluster."""


class Kind(StrEnum):
    CREATE = "create"
    DELETE = "delete"
    EXTEND = "extend"
    SHARE = "share"
    UNSHARE = "unshare"
    ENABLE = "enable"
    VERIFY = "verify"
    REPLACE = "replace"
    SCALE = "scale"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class CredentialState(StrEnum):
    """wanted → handed → ending → ended; what cannot be given goes from wanted to ended."""

    WANTED = "wanted"
    HANDED = "handed"
    ENDING = "ending"
    """To be revoked: its service account and its file still have to go."""
    ENDED = "ended"


class MessageKind(StrEnum):
    PARENT = "parent"
    """The one message of a request in its channel, edited in place."""
    CARD = "card"
    """A copy with the buttons in the approvals channel, where that is another channel."""
    LINE = "line"
    """One line of the story, in the thread."""
    RESULTS = "results"
    """The verification table, in the thread."""
    FILES = "files"
    """What was measured, as files below that table: the documents whole, a picture, a CSV."""
    TROUBLE = "trouble"
    """Something has befallen a cluster in use, with what its owner can do; or it is over."""
    NOTICE = "notice"
    """Something that happens to the cluster by itself, in its thread; `body` says what."""
    OUTCOME = "outcome"
    """The end of the request, in the thread and broadcast to the channel."""
    REMINDER = "reminder"
    """That a request still waits for a lead, in the thread of the message with the buttons."""
    OPERATORS = "operators"
    """What whoever runs the bot must know, about no request: `channel` is the leads', or a person."""


@dataclass(frozen=True)
class ClusterRow:
    """The thing people have. `management_id` is Rancher's c-m-…, once known; `verdict` '' until measured.

    `shared` holds the Slack ids of those it is shared with, between spaces. `enabled`: it was there before us, and
    stays when it is given back.

    `due_at` is when something happens to it by itself (a warning, its end), None for never; `warned_for` the
    `expires_at` that has been warned of; `kept_until` how long a failed one stays because somebody said so.
    """

    id: str
    name: str
    team: str
    target: str
    owner: str
    channel: str
    state: ClusterState
    created_at: float
    management_id: str = ""
    verdict: str = ""
    ready_at: float | None = None
    expires_at: float | None = None
    gone_at: float | None = None
    shared: str = ""
    enabled: bool = False
    due_at: float | None = None
    warned_for: float | None = None
    kept_until: float | None = None
    rev: int = 0

    @property
    def shared_with(self) -> frozenset[str]:
        """Slack ids of those who may get in beside the owner and the team."""
        return frozenset(self.shared.split())


@dataclass(frozen=True)
class RequestRow:
    """Somebody wants something done. `spec`, `envelope`, `checks`, `plan`, `diagnosis` are JSON text.

    `envelope_hash` is what approvals bind; `wish` is '' or 'cancel'; `hold` is the lease of the process that looks.
    """

    id: str
    cluster_id: str
    kind: Kind
    state: RequestState
    requester: str
    team: str
    target: str
    channel: str
    spec: str
    asked_at: float
    next_look_at: float
    envelope: str = ""
    envelope_hash: str = ""
    checks: str = "[]"
    plan: str = "[]"
    lapses_at: float | None = None
    approved_at: float | None = None
    finished_at: float | None = None
    decided_by: str = ""
    wish: str = ""
    reason: str = ""
    remedy: str = ""
    diagnosis: str = "[]"
    incident: str = ""
    lease_owner: str = ""
    lease_until_real: float = 0.0
    rev: int = 0


@dataclass(frozen=True)
class StepRow:
    """One thing that must be true. `kind` is name@version; `facts` a JSON object of strings.

    `observed_s` counts world seconds in which the outside world could be seen: stall and give-up clocks use it.
    `errors` counts looks in a row in which it could not be seen, `broken` those in which our own code broke.
    `not_before` (world) is when it may be looked at again; looks that come earlier, for another step, leave it alone.
    """

    request_id: str
    position: int
    kind: str
    state: StepState = StepState.PENDING
    started_at: float | None = None
    looked_at: float | None = None
    done_at: float | None = None
    observed_s: float = 0.0
    why: str = ""
    progress: str = ""
    facts: str = "{}"
    errors: int = 0
    broken: int = 0
    not_before: float = 0.0


@dataclass(frozen=True)
class ApprovalRow:
    """One decision. `decision` is approve or deny; `as_lead` says what made the person a lead at that moment."""

    request_id: str
    envelope_hash: str
    approver: str
    decision: str
    at: float
    as_lead: str
    reason: str = ""


@dataclass(frozen=True)
class MessageRow:
    """A message that must exist, at revision `wanted_rev`; what Slack has is `sent_rev`.

    `body` is JSON text: the facts of a one-shot message; '' for those rendered from the request.
    `sending` names the attempt under way, so that a crash between post and commit is seen.
    `urgent`: the newest revision is a change of state and goes before mere progress.
    `thread`: the request in whose thread it stands; '' for its own.
    """

    id: str
    request_id: str
    kind: MessageKind
    channel: str
    created_at: float
    body: str = ""
    ts: str = ""
    wanted_rev: int = 1
    sent_rev: int = 0
    sending: str = ""
    urgent: bool = True
    failed: str = ""
    thread: str = ""


@dataclass(frozen=True)
class VerdictRow:
    """What was measured last on one GPU of one node; `gpu_uuid` '' for the node as a whole.

    `first` is JSON: by level, the rates of the first time it was measured at that level (a GPU's; GB/s and TFLOPS).
    `gpus`: how many the node could hand out then (a node's). `gone_at`: the node has left the cluster.
    """

    cluster_id: str
    node_uid: str
    gpu_uuid: str
    node: str
    verdict: str
    at: float
    first: str = "{}"
    gpus: int = 0
    gone_at: float | None = None


@dataclass(frozen=True)
class TroubleRow:
    """Something wrong with a cluster in use. `subject` is the UID of a node, the UUID of a GPU, or ''.

    `event` tells apart what AWS announces for one machine, '' for all else; `due_at` is when that will be, where known.

    Seen, then told once it has lasted; `clear_at` since when it is no longer seen; `over_at` once that has lasted, too.
    """

    id: str
    cluster_id: str
    kind: str
    subject: str
    detail: str
    seen_at: float
    told_at: float | None = None
    clear_at: float | None = None
    over_at: float | None = None
    ignored_by: str = ""
    event: str = ""
    due_at: float | None = None


@dataclass(frozen=True)
class Watch:
    """A cluster whose turn it is to be looked at; `watched_at` is when it could be seen last, 0 for never."""

    cluster: ClusterRow
    watched_at: float


@dataclass(frozen=True)
class CredentialRow:
    """A kubeconfig for one person: a token of the service account `account` in that one cluster. The token itself is
    stored nowhere. `file_id` is Slack's id of the file, '' when there is none (any more); `file_until` when it goes.
    """

    id: str
    cluster_id: str
    person: str
    account: str
    state: CredentialState
    asked_at: float
    next_look_at: float
    issued_at: float | None = None
    expires_at: float | None = None
    file_id: str = ""
    file_until: float | None = None
    why: str = ""
    rev: int = 0


@dataclass(frozen=True)
class InboundRow:
    """Something Slack delivered, written down before anything is done about it. `key` makes repeats visible."""

    key: str
    kind: str
    payload: str
    received_real: float
    lease_until_real: float = 0.0
    handled_real: float | None = None


@dataclass(frozen=True)
class RosterRow:
    """The members of a Slack user group (a JSON list of user ids) from `seen_at` on, until the next row of it."""

    name: str
    seen_at: float
    members: str


@dataclass(frozen=True)
class PostedRow:
    """Who was a lead when a request was posted: a JSON list of user ids."""

    request_id: str
    leads: str


@dataclass(frozen=True)
class HomeRow:
    """Who opened the Home tab, when they did last (real), and the digest of what it shows."""

    user: str
    opened_real: float
    shown: str = ""


@dataclass(frozen=True)
class AuditRow:
    """Append-only. `actor` is a Slack user id, or `engine`."""

    at: float
    actor: str
    action: str
    request_id: str
    cluster_id: str
    detail: str


@dataclass(frozen=True)
class SwitchRow:
    """Something that people turn on and off for everybody: who did it last, when (world) and why."""

    name: str
    on: bool
    by: str
    reason: str
    at: float
