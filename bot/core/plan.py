"""Which steps, in which order, for which kind of request; and the clocks of each step."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from bot.core.records import Kind
from bot.core.spec import Envelope


@dataclass(frozen=True)
class Clocks:
    """World seconds in which the outside could be observed: usual duration, when to speak up, when to give up."""

    usual_s: float
    stalled_s: float
    give_up_s: float


@dataclass(frozen=True)
class Planned:
    """A step of a plan: `kind` is name@version, `after` the kinds that must be done before it starts."""

    kind: str
    after: tuple[str, ...]


# Usual times are those of real clusters (boot and join 3–8 min, driver build 3–5 min; NVIDIA getting-started.rst and
# gpu-operator#413); the operator's driver may take up to about 20 min before its own probe gives up (values.yaml).
_CLOCKS = {
    "preflight@1": Clocks(10, 60, 600),
    "machine_configs@1": Clocks(5, 60, 600),
    "cluster_object@1": Clocks(10, 120, 600),
    "control_plane@1": Clocks(420, 900, 1800),
    "catalog@1": Clocks(30, 180, 900),
    "operator@1": Clocks(90, 300, 1200),
    "addons@1": Clocks(90, 300, 1200),
    "machines@1": Clocks(420, 720, 1200),
    "settled@1": Clocks(45, 300, 1200),
    "gpu_labels@1": Clocks(90, 240, 600),
    "policy_ready@1": Clocks(300, 600, 1200),
    "allocatable@1": Clocks(60, 180, 420),
    "allocatable@2": Clocks(360, 780, 1200),
    "verify@1": Clocks(90, 240, 900),
    "gate@1": Clocks(5, 60, 300),
    "access@1": Clocks(5, 60, 300),
    "access@2": Clocks(5, 60, 300),
    "share@1": Clocks(5, 60, 600),
    "unshare@1": Clocks(5, 60, 600),
    "forget@1": Clocks(10, 120, 900),
    "verify@2": Clocks(90, 600, 1200),
    "gate@2": Clocks(5, 60, 300),
    "surge@1": Clocks(420, 900, 1500),
    "measure_new@1": Clocks(480, 1200, 2400),
    "retire@1": Clocks(120, 600, 1800),
    "remove_cluster@1": Clocks(300, 900, 3600),
    "no_instances@1": Clocks(60, 300, 1800),
    "scale_pool@1": Clocks(420, 720, 1200),
    "verify_new@1": Clocks(90, 240, 900),
    "gate_new@1": Clocks(5, 60, 300),
}

_CREATE = (
    Planned("preflight@1", ()),
    Planned("machine_configs@1", ("preflight@1",)),
    Planned("cluster_object@1", ("machine_configs@1",)),
    Planned("control_plane@1", ("cluster_object@1",)),
    Planned("catalog@1", ("control_plane@1",)),
    Planned("operator@1", ("catalog@1",)),
    Planned("addons@1", ("control_plane@1",)),
    Planned("machines@1", ("cluster_object@1",)),
    Planned("settled@1", ("control_plane@1", "machines@1")),
    Planned("gpu_labels@1", ("operator@1", "machines@1")),
    Planned("policy_ready@1", ("gpu_labels@1",)),
    Planned("allocatable@1", ("policy_ready@1",)),
    Planned("verify@1", ("allocatable@1",)),
    Planned("gate@1", ("verify@1", "settled@1")),
    Planned("access@2", ("gate@1",)),
)
_DELETE = (
    Planned("remove_cluster@1", ()),
    Planned("no_instances@1", ("remove_cluster@1",)),
)
_ENABLE = (
    Planned("catalog@1", ()),
    Planned("operator@1", ("catalog@1",)),
    Planned("gpu_labels@1", ("operator@1",)),
    Planned("policy_ready@1", ("gpu_labels@1",)),
    Planned("allocatable@1", ("policy_ready@1",)),
    Planned("verify@1", ("allocatable@1",)),
    Planned("access@2", ("verify@1",)),
)
_FORGET = (Planned("forget@1", ()),)
_VERIFY = (
    Planned("verify@2", ()),
    Planned("gate@2", ("verify@2",)),
)
_REPLACE = (
    Planned("surge@1", ()),
    Planned("measure_new@1", ("surge@1",)),
    Planned("retire@1", ("measure_new@1",)),
)
_SCALE = (
    Planned("scale_pool@1", ()),
    Planned("gpu_labels@1", ("scale_pool@1",)),
    Planned("allocatable@2", ("gpu_labels@1",)),
    Planned("verify_new@1", ("allocatable@2",)),
    Planned("gate_new@1", ("verify_new@1",)),
)
_PLANS: dict[Kind, tuple[Planned, ...]] = {
    Kind.CREATE: _CREATE,
    Kind.DELETE: _DELETE,
    Kind.EXTEND: (),
    Kind.SHARE: (Planned("share@1", ()),),
    Kind.ENABLE: _ENABLE,
    Kind.UNSHARE: (Planned("unshare@1", ()),),
    Kind.VERIFY: _VERIFY,
    Kind.REPLACE: _REPLACE,
    Kind.SCALE: _SCALE,
}


def plan_for(kind: Kind, envelope: Envelope | None = None, *, enabled: bool = False) -> tuple[Planned, ...]:
    """The plan of this release for a request of that kind; of an envelope, without the steps that it does not need.

    `enabled`: the cluster was there before us, so a delete only forgets it.
    """
    if enabled and kind == Kind.DELETE:
        return _FORGET
    if kind != Kind.CREATE:
        return _PLANS[kind]
    unneeded = {"addons@1"} if envelope is None or not envelope.addons else set()
    if envelope is not None and envelope.operator_by == "manifest" and not envelope.catalog_everywhere:
        unneeded.add("catalog@1")
    return tuple(_without(planned, unneeded) for planned in _CREATE if planned.kind not in unneeded)


def _without(planned: Planned, unneeded: set[str]) -> Planned:
    """The step waits for what those it waited for would have waited for."""
    instead = {p.kind: p.after for p in _CREATE if p.kind in unneeded}
    after = dict.fromkeys(kind for before in planned.after for kind in instead.get(before, (before,)))
    return dataclasses.replace(planned, after=tuple(after))


def clocks(kind: str) -> Clocks:
    """The clocks of a step kind; an unknown kind (of another release) is never hurried."""
    return _CLOCKS.get(kind, Clocks(60, float("inf"), float("inf")))


def freeze(planned: tuple[Planned, ...]) -> str:
    """The plan as JSON, for the request's row: what was approved runs, whatever later releases plan."""
    return json.dumps([{"kind": p.kind, "after": list(p.after)} for p in planned])


def thaw(text: str) -> tuple[Planned, ...]:
    """The plan as it was frozen."""
    return tuple(Planned(item["kind"], tuple(item["after"])) for item in json.loads(text))
