"""The GPU Operator, installed through Rancher's catalog into a namespace of the System project."""

from __future__ import annotations

import dataclasses

from bot.core.causes.denial import denied_by
from bot.core.operator_values import CHART, NAMESPACE, RELEASE, REPO_NAME, operator_values
from bot.core.ports import ChartOrder, JobView, Temporary
from bot.core.spec import LABEL_MANAGED, LABEL_REQUEST
from bot.core.steps.base import Done, Fail, Look, Outcome, Wait

_RETRY_AFTER_S = 120.0
"""An operation that left no release behind after this long (world seconds) is asked for again."""

_FRESH_REAL_S = 25.0
"""Less than a look's lease: had a look died between the intent and now, its lease would still keep us out. So an
intent younger than this (real seconds) has not been acted on; an older one may have been, and Helm be at work."""

_JOB, _JOB_NAMESPACE = f"helm-install-{RELEASE}", "kube-system"
"""What the helm-controller makes of the HelmChart in the cluster's additionalManifest."""

_UNKNOWN = "unknown"
"""The operation's name where the answer that holds it was lost."""


class Operator:
    """The verdict comes from the app, never from the operation: that one can vanish and still count as finished
    (rancher/rancher: pkg/controllers/dashboard/helm/operations.go)."""

    kind = "operator@1"

    def ensure(self, look: Look) -> Outcome:
        rancher, mid = look.outside.rancher, look.management_id
        if look.order.existing is not None and look.order.existing.adopted:
            return self._adopted(look)
        if known := look.own.get("project"):
            return self._follow(look, known)
        project = rancher.system_project(mid)
        if project is None:
            return Wait("Rancher has not made the System project yet")
        _ensure_namespace(look, project)
        outcome = self._follow(look, project)
        return dataclasses.replace(outcome, facts={**(outcome.facts or {}), "project": project})

    def _follow(self, look: Look, project: str) -> Outcome:
        app = look.outside.rancher.app(look.management_id, NAMESPACE, RELEASE)
        if app is not None and app.status == "deployed" and app.version == look.order.operator:
            return Done({"version": app.version})
        if look.order.operator_by == "manifest":
            return self._by_manifest(look)
        failed = app is not None and app.status == "failed"
        if failed and look.own.get("retried") and not look.own.get("operation"):
            return self._install(look, project)
        if failed:
            return self._failed(look)
        if app is not None:
            return Wait(f"Helm: {app.status}")
        return self._install(look, project)

    def _adopted(self, look: Look) -> Outcome:
        """It was approved as it was surveyed: another version by now is another thing."""
        app = look.outside.rancher.app(look.management_id, NAMESPACE, RELEASE)
        if app is not None and (app.status, app.version) == ("deployed", look.order.operator):
            return Done({"version": app.version})
        now = f"{app.version} ({app.status})" if app else "gone"
        return Fail(
            f"The GPU Operator was {look.order.operator} when the cluster was surveyed; now it is {now}.",
            "Ask again: the survey is made anew.",
        )

    def _by_manifest(self, look: Look) -> Outcome:
        """The cluster's own helm-controller is at work: a Job, which it starts anew until it comes true
        (k3s-io/helm-controller: pkg/controllers/chart/chart.go). Rancher shows the release all the same."""
        job = look.downstream.job(_JOB_NAMESPACE, _JOB)
        if job is None:
            return Wait("the cluster has not begun to install the chart from its manifest")
        if job.finished == "failed":
            return self._job_failed(job)
        said = ": ".join(filter(None, (job.reason, job.message)))
        return Wait(f"the cluster installs the chart from its manifest{f' ({said})' if said else ''}")

    def _job_failed(self, job: JobView) -> Fail:
        return Fail(
            f"The cluster's helm-controller could not install the GPU Operator: {job.reason or 'its Job failed'}.",
            f"Look at Job {_JOB} in {_JOB_NAMESPACE}; after mending the cause, delete the cluster and ask again.",
            tuple(job.log.strip().splitlines()[-5:]),
        )

    def _install(self, look: Look, project: str) -> Outcome:
        """The operation gets no name of ours, so the intent is stored one look before it is started."""
        now, real = look.clock.now(), look.clock.real()
        intent_at = look.own.get("intent_at")
        if intent_at is None:
            return Wait("about to install the chart", 0.0, {"intent_at": repr(now), "intent_real": repr(real)})
        untouched = not look.own.get("operation") and real - float(look.own["intent_real"]) < _FRESH_REAL_S
        if not untouched and now - float(intent_at) <= _RETRY_AFTER_S:
            return Wait("Helm is installing the chart")
        _ensure_namespace(look, project)
        values, version = operator_values(look.order), look.order.operator
        order = ChartOrder(REPO_NAME, CHART, version, RELEASE, NAMESPACE, project, values)
        look.must_be_wanted()
        try:
            operation, why = (
                look.outside.rancher.install_chart(look.management_id, order),
                "Helm is installing the chart",
            )
        except Temporary as lost:
            # The answer is lost, not necessarily the order: Helm may be at work.
            operation, why = _UNKNOWN, f"{lost.reason} Looking whether Helm has begun all the same."
        return Wait(why, facts={"intent_at": repr(now), "operation": operation})

    def _failed(self, look: Look) -> Fail:
        operation = look.own.get("operation", "")
        known = operation not in ("", _UNKNOWN)
        log = look.outside.rancher.operation_log(look.management_id, NAMESPACE, operation) if known else ""
        if denied := denied_by(log):
            return denied
        return Fail(
            "Helm could not install the GPU Operator.",
            "See Helm's last lines; after mending the cause, delete the cluster and ask again.",
            tuple(log.strip().splitlines()[-5:]),
        )

    def give_up(self, look: Look) -> Fail:
        if look.order.operator_by == "manifest":
            job = look.downstream.job(_JOB_NAMESPACE, _JOB)
            return self._job_failed(job or JobView("", look.row.why, "", ""))
        return Fail(
            f"The GPU Operator was not installed in {look.observed_s / 60:.0f} minutes: {look.row.why}.",
            "Look at Apps → Recent Operations of the cluster in Rancher.",
            self._failed(look).diagnosis,
        )


def _ensure_namespace(look: Look, project: str) -> None:
    """Before anything is installed there, for Pod Security would refuse the operator's pods."""
    look.must_be_wanted()
    labels = {LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id}
    look.downstream.ensure_namespace(NAMESPACE, project=project, privileged=True, labels=labels)
