"""The charts that the preset's clusters come with, each installed through a cluster repo of its own.

An add-on that does not come up takes nothing from the GPUs: it is said, and borne.
"""

from __future__ import annotations

import json

from bot.core.operator_values import REPO_NAME, REPO_URL
from bot.core.ports import ChartOrder, Permanent, Refused, Temporary
from bot.core.spec import LABEL_MANAGED, LABEL_REQUEST
from bot.core.steps.base import Done, Look, Outcome, Wait
from bot.core.wiring import Addon

_RETRY_AFTER_S = 120.0
"""A Helm operation that left no release behind after this long (world seconds) is started again."""

_FRESH_REAL_S = 25.0
"""As in the operator's step: an intent younger than this (real seconds) has not been acted on by anybody else."""


class Addons:
    """One after the other, in the preset's order: a later one may need what an earlier one brings."""

    kind = "addons@1"

    def ensure(self, look: Look) -> Outcome:
        for addon in look.order.addons:
            if f"end:{addon.name}" in look.own:
                continue
            try:
                outcome = _install(look, addon)
            except Refused:
                raise  # a right can still be given
            except Permanent as error:
                return _ended(look, addon, f"{error.reason} {error.remedy}".strip())
            if outcome is not None:
                return outcome
            return _ended(look, addon, "")
        return Done(look.own, short=_short(look, {}))

    def give_up(self, look: Look) -> Done:
        why = look.row.why or "it did not come up in time"
        late = {f"end:{a.name}": why for a in look.order.addons if f"end:{a.name}" not in look.own}
        return Done({**look.own, **late}, short=_short(look, late))


def repo_name(addon: Addon) -> str:
    """The cluster repo's name: add-ons of one repository share it with each other and with the operator."""
    if addon.repo.rstrip("/") == REPO_URL:
        return REPO_NAME
    plain = addon.repo.split("://", 1)[-1].lower()
    return "-".join(filter(None, "".join(c if c.isalnum() else "-" for c in plain).split("-")))[:60].strip("-")


def _ended(look: Look, addon: Addon, why: str) -> Wait:
    """It is settled, '' for well; the next one is looked at at once."""
    return Wait(f"{addon.name}: {why or 'installed'}", 0.0, {**look.own, f"end:{addon.name}": why})


def _short(look: Look, late: dict[str, str]) -> str:
    ends = {**look.own, **late}
    bad = [(a.name, ends[f"end:{a.name}"]) for a in look.order.addons if ends.get(f"end:{a.name}")]
    return "; ".join(f"add-on {name} is not installed: {why}" for name, why in bad)


def _install(look: Look, addon: Addon) -> Outcome | None:
    """What it waits for, or None once the release is deployed. Raises `Permanent` when it cannot be."""
    rancher, mid, repo = look.outside.rancher, look.management_id, repo_name(addon)
    app = rancher.app(mid, addon.namespace, addon.name)
    if app is not None and app.status == "deployed" and app.version == addon.version:
        return None
    if app is not None and app.status == "failed":
        log = _log(look, addon)
        raise Permanent(f"Helm failed{f': {log}' if log else ''}.", "See Apps, Recent Operations in Rancher.")
    if app is not None and app.status != "deployed":
        return Wait(f"{addon.name}: Helm: {app.status}")
    look.must_be_wanted()
    found = rancher.ensure_repo(mid, repo, addon.repo, look.request.id, look.order.network)
    if not found.ready:
        return Wait(f"{addon.name}: {found.message or f'the index of {addon.repo} is being downloaded'}")
    versions = rancher.chart_versions(mid, repo, addon.chart)
    if addon.version not in versions:
        offered = ", ".join(versions[:6]) or "none"
        missing = f"{addon.repo} has no {addon.chart} {addon.version} for this Kubernetes."
        raise Permanent(missing, f"It has: {offered}.")
    return _order(look, addon, repo)


def _order(look: Look, addon: Addon, repo: str) -> Outcome:
    """As for the operator: the intent is stored one look before Helm is started."""
    now, real, key = look.clock.now(), look.clock.real(), f"intent:{addon.name}"
    if key not in look.own:
        return Wait(f"{addon.name}: about to install the chart", 0.0, {**look.own, key: f"{now!r} {real!r}"})
    began, began_real = map(float, look.own[key].split())
    begun = f"operation:{addon.name}" in look.own
    untouched = not begun and real - began_real < _FRESH_REAL_S
    if not untouched and now - began <= _RETRY_AFTER_S:
        return Wait(f"{addon.name}: Helm is installing the chart")
    project = look.outside.rancher.system_project(look.management_id) if addon.namespace != "kube-system" else ""
    if project is None:
        return Wait("Rancher has not made the System project yet")
    look.must_be_wanted()
    if project:
        labels = {LABEL_MANAGED: "true", LABEL_REQUEST: look.request.id}
        look.downstream.ensure_namespace(addon.namespace, project=project, privileged=False, labels=labels)
    values = json.loads(addon.values)
    order = ChartOrder(repo, addon.chart, addon.version, addon.name, addon.namespace, project, values)
    try:
        operation = look.outside.rancher.install_chart(look.management_id, order)
    except Temporary:
        operation = ""  # the answer is lost, not necessarily the order
    facts = {**look.own, key: f"{now!r} {real!r}", f"operation:{addon.name}": operation}
    return Wait(f"{addon.name}: Helm is installing the chart", facts=facts)


def _log(look: Look, addon: Addon) -> str:
    operation = look.own.get(f"operation:{addon.name}", "")
    log = look.outside.rancher.operation_log(look.management_id, addon.namespace, operation) if operation else ""
    return (log.strip().splitlines() or [""])[-1]
