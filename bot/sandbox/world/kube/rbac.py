"""What a service account may do: RBAC, by the roles and bindings that are stored (kubernetes: plugin/pkg/auth)."""

from __future__ import annotations

from collections.abc import Iterator

from bot.sandbox.world.kube.api import Call, Target, parse
from bot.sandbox.world.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from bot.sandbox.world.kube.objects import ApiError, Obj, ObjectStore

_ITEM = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
_COLLECTION = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}

#: What ``system:discovery`` and ``system:public-info-viewer`` give to everybody who is authenticated.
_PUBLIC = ("/api", "/apis", "/healthz", "/livez", "/readyz", "/version", "/openapi")


def authorize(store: ObjectStore, namespace: str, account: str, call: Call) -> None:
    """Let the call of that service account pass. Raises ApiError 403."""
    target = parse(store.kinds, call.path)
    path = call.path.rstrip("/")
    if target is None:
        if any(path == public or path.startswith(public + "/") for public in _PUBLIC):
            return
        raise ApiError(403, "Forbidden", f'forbidden: User "{_user(namespace, account)}" cannot {call.method} {path}')
    verb = _verb(call, target)
    for rule in _rules(store, namespace, account, target.namespace):
        if _matches(rule, verb, target):
            return
    resource = target.kind.plural + (f"/{target.subresource}" if target.subresource else "")
    scope = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
    raise ApiError(
        403,
        "Forbidden",
        f'{target.kind.resource} is forbidden: User "{_user(namespace, account)}" cannot {verb} resource "{resource}" '
        f'in API group "{target.kind.group}" {scope}',
    )


def _user(namespace: str, account: str) -> str:
    return f"system:serviceaccount:{namespace}:{account}"


def _verb(call: Call, target: Target) -> str:
    if call.method == "GET" and call.query.get("watch") in ("1", "true"):
        return "watch"
    table = _ITEM if target.name else _COLLECTION
    return table.get(call.method, call.method.lower())


def _rules(store: ObjectStore, namespace: str, account: str, within: str) -> Iterator[Obj]:
    bindings = [*store.all(CLUSTER_ROLE_BINDING), *(store.all(ROLE_BINDING, within) if within else ())]
    for binding in bindings:
        if not any(_is(subject, namespace, account) for subject in binding.get("subjects") or []):
            continue
        reference = binding["roleRef"]
        if reference["kind"] == "Role":
            role = store.find(ROLE, reference["name"], binding["metadata"].get("namespace", ""))
        else:
            role = store.find(CLUSTER_ROLE, reference["name"])
        yield from (role or {}).get("rules") or []


def _is(subject: Obj, namespace: str, account: str) -> bool:
    named = (subject.get("kind"), subject.get("namespace"), subject.get("name"))
    return named == ("ServiceAccount", namespace, account)


def _matches(rule: Obj, verb: str, target: Target) -> bool:
    resource = target.kind.plural + (f"/{target.subresource}" if target.subresource else "")
    names = rule.get("resourceNames") or []
    return (
        bool({verb, "*"} & set(rule.get("verbs") or []))
        and bool({target.kind.group, "*"} & set(rule.get("apiGroups") or []))
        and bool({resource, "*"} & set(rule.get("resources") or []))
        and (not names or target.name in names)
    )
