"""Which steps, in which order, for which kind of request; and the clocks of each step."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bot.core.records import Kind


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
    "machines@1": Clocks(420, 720, 1200),
    "settled@1": Clocks(45, 300, 1200),
    "gpu_labels@1": Clocks(90, 240, 600),
    "policy_ready@1": Clocks(300, 600, 1200),
    "allocatable@1": Clocks(60, 180, 420),
    "verify@1": Clocks(90, 240, 900),
    "gate@1": Clocks(5, 60, 300),
    "access@1": Clocks(5, 60, 300),
    "remove_cluster@1": Clocks(300, 900, 3600),
    "no_instances@1": Clocks(60, 300, 1800),
}

_CREATE = (
    Planned("preflight@1", ()),
    Planned("machine_configs@1", ("preflight@1",)),
    Planned("cluster_object@1", ("machine_configs@1",)),
    Planned("control_plane@1", ("cluster_object@1",)),
    Planned("catalog@1", ("control_plane@1",)),
    Planned("operator@1", ("catalog@1",)),
    Planned("machines@1", ("cluster_object@1",)),
    Planned("settled@1", ("control_plane@1", "machines@1")),
    Planned("gpu_labels@1", ("operator@1", "machines@1")),
    Planned("policy_ready@1", ("gpu_labels@1",)),
    Planned("allocatable@1", ("policy_ready@1",)),
    Planned("verify@1", ("allocatable@1",)),
    Planned("gate@1", ("verify@1", "settled@1")),
    Planned("access@1", ("gate@1",)),
)
_DELETE = (
    Planned("remove_cluster@1", ()),
    Planned("no_instances@1", ("remove_cluster@1",)),
)
_PLANS = {Kind.CREATE: _CREATE, Kind.DELETE: _DELETE}


def plan_for(kind: Kind) -> tuple[Planned, ...]:
    """The plan of this release for a request of that kind."""
    return _PLANS[kind]


def clocks(kind: str) -> Clocks:
    """The clocks of a step kind; an unknown kind (of another release) is never hurried."""
    return _CLOCKS.get(kind, Clocks(60, float("inf"), float("inf")))


def freeze(planned: tuple[Planned, ...]) -> str:
    """The plan as JSON, for the request's row: what was approved runs, whatever later releases plan."""
    return json.dumps([{"kind": p.kind, "after": list(p.after)} for p in planned])


def thaw(text: str) -> tuple[Planned, ...]:
    """The plan as it was frozen."""
    return tuple(Planned(item["kind"], tuple(item["after"])) for item in json.loads(text))
