"""Label and field selectors of the Kubernetes API."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bot.sandbox.world.kube.kinds import EVENT, JOB, NAMESPACE, NODE, POD, SECRET, Kind
from bot.sandbox.world.kube.objects import ApiError, Obj

Test = Callable[[dict[str, str]], bool]

_SET = re.compile(r"^(?P<key>[\w./-]+)\s+(?P<op>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[\w./-]+)\s*(?P<op>==|!=|=)\s*(?P<value>[\w.-]*)$")
_EXISTS = re.compile(r"^(?P<no>!?)\s*(?P<key>[\w./-]+)$")

_FIELDS: dict[Kind, frozenset[str]] = {
    POD: frozenset({"spec.nodeName", "status.phase", "spec.restartPolicy", "spec.serviceAccountName"}),
    NODE: frozenset({"spec.unschedulable"}),
    EVENT: frozenset(
        {"involvedObject.kind", "involvedObject.name", "involvedObject.namespace", "involvedObject.uid"}
        | {"reason", "type"}
    ),
    JOB: frozenset({"status.successful"}),
    NAMESPACE: frozenset({"status.phase"}),
    SECRET: frozenset({"type"}),
}


def matches_labels(selector: str, labels: dict[str, str]) -> bool:
    """Whether ``labels`` meet a selector such as ``a=b,!c,d in (e,f)``.

    Raises:
        ApiError: 400 when the selector cannot be parsed.
    """
    return all(_label_test(part.strip())(labels) for part in _split(selector) if part.strip())


def matches_fields(kind: Kind, selector: str, obj: Obj) -> bool:
    """Whether ``obj`` meets a field selector such as ``spec.nodeName=n1,status.phase!=Failed``.

    Raises:
        ApiError: 400 for a field that the kind does not index.
    """
    for part in filter(None, selector.split(",")):
        match = re.match(r"^([\w.]+)(==|!=|=)(.*)$", part.strip())
        if match is None:
            raise ApiError(400, "BadRequest", f"invalid field selector: {part!r}")
        field, operator, value = match.groups()
        if field not in _FIELDS.get(kind, frozenset()) | {"metadata.name", "metadata.namespace"}:
            raise ApiError(400, "BadRequest", f"field label not supported: {field}")
        if (str(at(obj, field) or "") == value) == (operator == "!="):
            return False
    return True


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def matches_expressions(expressions: list[Obj], labels: dict[str, str]) -> bool:
    """``matchExpressions`` of a node affinity or label selector."""
    return all(_expression(e, labels) for e in expressions)


def _expression(expression: Obj, labels: dict[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or []
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            raise ApiError(422, "Invalid", f"unsupported operator {operator!r}")


def _split(selector: str) -> list[str]:
    return re.split(r",(?![^(]*\))", selector)


def _label_test(part: str) -> Test:
    if found := _SET.match(part):
        key, inside = found["key"], found["op"] == "in"
        values = {value.strip() for value in found["values"].split(",")}
        return lambda labels: (labels.get(key) in values) == inside
    if found := _EQUAL.match(part):
        key, value, equal = found["key"], found["value"], found["op"] != "!="
        return lambda labels: (labels.get(key) == value) == equal
    if found := _EXISTS.match(part):
        key, absent = found["key"], bool(found["no"])
        return lambda labels: (key not in labels) == absent
    raise ApiError(400, "BadRequest", f"unable to parse requirement: {part!r}")
