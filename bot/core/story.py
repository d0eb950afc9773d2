"""Everything there is to say about one request, as facts; `handlers/views` turns them into words and blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from bot.core import plan
from bot.core.causes.stall import stall
from bot.core.changes import Change, change_from_json
from bot.core.costs import ledger
from bot.core.costs.ledger import Committed
from bot.core.ports import Tx
from bot.core.records import ClusterState, Kind, RequestState, StepRow, StepState
from bot.core.roster import LeadChange
from bot.core.spec import Check, ClusterSpec, Envelope, checks_from_json, envelope_from_json, spec_from_json
from bot.core.verification.verdict import Report, report_from_json


@dataclass(frozen=True)
class StepFacts:
    """One step. `name` is the key of its title; times world.

    `stalled` when it takes longer than it should: then `likely` is the usual cause, `action` what to do about it.
    """

    name: str
    state: StepState
    started_at: float | None
    done_at: float | None
    why: str
    progress: str
    stalled: bool
    usual_s: float
    likely: str = ""
    action: str = ""


@dataclass(frozen=True)
class Decision:
    approver: str
    decision: str
    at: float
    reason: str


@dataclass(frozen=True)
class Access:
    """How to get in. `bound_to` the Rancher principal that was given `role`, '' when none is known; so was `group`.

    `tokens`: how others get in, as in `bot.core.spec.AccessPolicy`; '' for a cluster of the first release.
    """

    rancher_url: str
    management_id: str
    bound_to: str
    role: str
    storage_class: str
    group: str = ""
    tokens: str = ""


@dataclass(frozen=True)
class Story:
    """A request with its cluster, as it stands. Times are world time.

    `because`: why the policy itself asked for a delete; `removed_at`: when a failed cluster is deleted by itself;
    `gpus_now`: what is approved of the cluster as it is, changes included.
    """

    request_id: str
    kind: Kind
    state: RequestState
    cluster: str
    cluster_state: ClusterState
    requester: str
    team: str
    channel: str
    asked_at: float
    approvals_needed: int
    spec: ClusterSpec | None
    envelope: Envelope | None
    envelope_hash: str
    checks: tuple[Check, ...]
    decisions: tuple[Decision, ...]
    steps: tuple[StepFacts, ...]
    lapses_at: float | None
    approved_at: float | None
    finished_at: float | None
    ready_at: float | None
    expires_at: float | None
    reason: str
    remedy: str
    diagnosis: tuple[str, ...]
    incident: str
    report: Report | None
    access: Access | None
    enabled: bool = False
    heard_at: float | None = None
    """When a worker last looked at it; None before the first look."""
    committed: Committed | None = None
    """What the team has spent and promised without this request, while it waits for a lead."""
    added_cost: float | None = None
    """US dollars that it adds to that, while it waits for a lead; None where no price is known."""
    lead_changes: tuple[LeadChange, ...] = ()
    """Who joined and left the leads' group of late, while it waits for a lead."""
    change: Change | None = None
    cluster_id: str = ""
    because: str = ""
    removed_at: float | None = None
    gpus_now: int | None = None

    @property
    def current(self) -> StepFacts | None:
        """The first step that is under way, else None."""
        return next((step for step in self.steps if step.state == StepState.RUNNING), None)

    @property
    def done_steps(self) -> int:
        return sum(step.state == StepState.DONE for step in self.steps)


def tell(tx: Tx, request_id: str, *, approvals_needed: int, removed_at: float | None = None) -> Story | None:
    """Read everything about a request in one transaction; None when there is no such request."""
    request = tx.request(request_id)
    if request is None:
        return None
    cluster = tx.cluster(request.cluster_id)
    steps = tx.steps(request_id)
    facts = step_facts(tx, request_id)
    access = facts.get("access") or facts.get("share") or {}
    report = final_report(facts)
    return Story(
        request_id=request.id,
        kind=request.kind,
        state=request.state,
        cluster=cluster.name,
        cluster_state=cluster.state,
        enabled=cluster.enabled,
        requester=request.requester,
        team=request.team,
        channel=request.channel,
        asked_at=request.asked_at,
        approvals_needed=approvals_needed,
        spec=spec_from_json(request.spec) if request.kind == Kind.CREATE else None,
        cluster_id=cluster.id,
        change=change_from_json(request.kind, request.spec),
        envelope=envelope_from_json(request.envelope) if request.envelope else None,
        envelope_hash=request.envelope_hash,
        checks=checks_from_json(request.checks),
        decisions=tuple(Decision(row.approver, row.decision, row.at, row.reason) for row in tx.approvals(request_id)),
        steps=tuple(_step(row) for row in steps),
        lapses_at=request.lapses_at,
        approved_at=request.approved_at,
        finished_at=request.finished_at,
        ready_at=cluster.ready_at,
        expires_at=cluster.expires_at,
        reason=request.reason,
        remedy=request.remedy,
        diagnosis=tuple(json.loads(request.diagnosis)),
        incident=request.incident,
        report=report,
        access=Access(**access) if access else None,
        heard_at=max((row.looked_at for row in steps if row.looked_at is not None), default=None),
        because=str(json.loads(request.spec).get("why", "")) if request.kind == Kind.DELETE else "",
        removed_at=removed_at,
        gpus_now=held.gpus if (held := ledger.current_envelope(tx, cluster)) else None,
    )


def step_facts(tx: Tx, request_id: str) -> dict[str, Mapping[str, str]]:
    """What the steps of a request have found, by the step's name."""
    return {row.kind.partition("@")[0]: json.loads(row.facts) for row in tx.steps(request_id)}


def final_report(facts: Mapping[str, Mapping[str, str]]) -> Report | None:
    """The verdict that holds, from the facts of the steps: the gate's where it had to judge again."""
    for step in ("gate", "verify", "verify_new", "measure_new"):
        if text := facts.get(step, {}).get("report"):
            return report_from_json(text)
    return None


def _step(row: StepRow) -> StepFacts:
    name = row.kind.partition("@")[0]
    late = stall(row)
    return StepFacts(
        name=name,
        state=row.state,
        started_at=row.started_at,
        done_at=row.done_at,
        why=row.why,
        progress=row.progress,
        stalled=late is not None,
        usual_s=plan.clocks(row.kind).usual_s,
        likely=late.likely if late else "",
        action=late.action if late else "",
    )
