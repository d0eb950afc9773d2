"""Steve: Rancher's dress for a Kubernetes API (rancher/steve: README.md)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from bot.sandbox.world.kube.api import Call, Reply, page
from bot.sandbox.world.kube.host import ApiHost
from bot.sandbox.world.kube.kinds import MACHINE, SECRET, Kind
from bot.sandbox.world.kube.objects import ApiError, Obj, key_of
from bot.sandbox.world.kube.patches import apply_patch
from bot.sandbox.world.kube.selectors import at, matches_labels
from bot.sandbox.world.rancher.rights import Rights
from bot.sandbox.world.rancher.state import state

#: Answers ``?action=`` and ``?link=`` of one object; None: there is no such thing.
Extra = Callable[[Kind, Obj, Call], Reply | None]

#: The object in the version of its type that is served.
Shown = Callable[[Kind, Obj], Obj]

_ITEM_VERBS = {"GET": ("get",), "PUT": ("update",), "PATCH": ("update", "patch"), "DELETE": ("delete",)}
_COLLECTION_VERBS = {"GET": ("list",), "POST": ("create",)}
_OWN_FIELDS = ("id", "type", "links", "actions")
_COMPUTED = ("state", "relationships", "fields")
_INDEXED = re.compile(
    r"^(id|metadata\.(name|namespace|creationTimestamp|state\.name|fields\[\d+\]|labels(\[.+\]|\..+)))$"
)
_INDEXED_EXTRA = {MACHINE: {"spec.clusterName"}}
_FILTER = re.compile(r"^(?P<field>.+?)(?P<op>!=|!~|=|~)(?P<value>.*)$")


def error_body(status: int, code: str, message: str) -> Obj:
    """Steve's error (rancher/apiserver: pkg/handlers/error.go)."""
    return {"type": "error", "links": {}, "status": status, "code": code, "message": message}


def template(kinds: list[Kind], path: str) -> str:
    """The ``path`` after ``/v1/`` with names left out, for counting."""
    first, *names = path.strip("/").split("/")
    kind = _kind(kinds, first)
    words = ["{namespace}", "{id}"] if kind and kind.namespaced else ["{id}"]
    return "/".join([first, *words[: len(names)]])


def _kind(kinds: list[Kind], name: str) -> Kind | None:
    return next((kind for kind in kinds if name in (kind.steve, kind.steve_plural)), None)


class Steve:
    """Steve over one API server; ``base`` is the URL in front of type names, ``shown`` the version of its objects.

    ``sql_cache``: lists are filtered by the SQL cache, else by the older engine, which knows no index.
    """

    def __init__(
        self,
        host: ApiHost,
        base: str,
        extra: Extra,
        *,
        sql_cache: bool = True,
        shown: Shown = lambda _, obj: obj,
        rights: Rights | None = None,
    ) -> None:
        self._rights = rights
        self._host = host
        self._passes = _indexed if sql_cache else _substring
        self._shown = shown
        self._store = host.store
        self._base = base
        self._extra = extra

    def handle(self, call: Call) -> Reply:
        """Answer a call whose path starts after ``/v1/``; refusals come as replies."""
        try:
            return self._route(call)
        except ApiError as error:
            return Reply(error.code, error_body(error.code, error.reason, error.message))

    def _route(self, call: Call) -> Reply:
        parts = call.path.strip("/").split("/")
        kind = _kind(self._store.kinds, parts[0])
        if kind is None or len(parts) > 3:
            raise ApiError(404, "NotFound", f"schema [{parts[0]}] not found")
        self._authorize(call, kind, parts)
        if len(parts) == 3 or (len(parts) == 2 and not kind.namespaced):
            return self._item(call, kind, self._store.get(kind, parts[-1], parts[1] if kind.namespaced else ""))
        namespace = parts[1] if len(parts) == 2 else None
        if call.method == "GET":
            return self._list(call, kind, namespace)
        if call.method == "POST":
            return self._create(call, kind, namespace)
        raise ApiError(405, "MethodNotAllowed", f"{call.method} is not allowed on {parts[0]}")

    def _authorize(self, call: Call, kind: Kind, parts: list[str]) -> None:
        """A change by PATCH needs two verbs: Steve asks for one, Kubernetes for the other."""
        if self._rights is None:
            return
        item = len(parts) == 3 or (len(parts) == 2 and not kind.namespaced)
        namespace = parts[1] if kind.namespaced and len(parts) > 1 else ""
        if call.method == "POST" and not item and kind.namespaced and not namespace:
            namespace = str((call.object().get("metadata") or {}).get("namespace") or "")
        if call.method == "GET" and kind.namespaced and not namespace:
            return  # the list holds what may be seen
        for verb in (_ITEM_VERBS if item else _COLLECTION_VERBS).get(call.method, ()):
            self._rights.require(verb, kind.group, kind.plural, namespace, parts[-1] if item else "")

    def _create(self, call: Call, kind: Kind, namespace: str | None) -> Reply:
        obj = _from_steve(kind, call.object())
        namespace = namespace or (obj.get("metadata") or {}).get("namespace", "")
        if kind.namespaced and not namespace:
            raise ApiError(422, "MissingRequired", "metadata.namespace is required")
        return Reply(
            201, self._dress(kind, self._store.create(kind, self._host.admit(kind, obj, namespace)), call.exclude)
        )

    def _item(self, call: Call, kind: Kind, obj: Obj) -> Reply:
        if call.query.get("action") or call.query.get("link"):
            reply = self._extra(kind, obj, call)
            if reply is None:
                raise ApiError(404, "NotFound", f"{call.query.get('action') or call.query.get('link')} not found")
            return reply
        match call.method:
            case "GET":
                return Reply(200, self._dress(kind, obj, call.exclude))
            case "PUT":
                return self._put(call, kind, obj)
            case "PATCH":
                patched = apply_patch(call.content_type, call.json(), obj, builtin=kind.builtin)
                return self._replace(call, kind, obj, patched)
            case "DELETE":
                namespace, name = key_of(obj)
                return Reply(200, self._dress(kind, self._store.delete(kind, name, namespace), call.exclude))
        raise ApiError(405, "MethodNotAllowed", f"{call.method} is not allowed")

    def _put(self, call: Call, kind: Kind, obj: Obj) -> Reply:
        sent = _from_steve(kind, call.object())
        metadata = sent.setdefault("metadata", {})
        if not metadata.get("resourceVersion"):
            raise ApiError(500, "ServerError", "metadata.resourceVersion is required for update")
        metadata["name"] = obj["metadata"]["name"]
        if kind.namespaced:
            metadata["namespace"] = obj["metadata"]["namespace"]
        return self._replace(call, kind, obj, sent)

    def _replace(self, call: Call, kind: Kind, old: Obj, new: Obj) -> Reply:
        stored = self._store.replace(kind, self._host.update(kind, old, new))
        return Reply(200, self._dress(kind, stored, call.exclude))

    def _list(self, call: Call, kind: Kind, namespace: str | None) -> Reply:
        found = self._store.all(kind, namespace if kind.namespaced else None)
        if self._rights is not None and kind.namespaced:
            found = [o for o in found if self._rights.allows("list", kind.group, kind.plural, key_of(o)[0])]
        if selector := call.query.get("labelSelector"):
            found = [o for o in found if matches_labels(selector, o["metadata"].get("labels") or {})]
        if wanted := call.query.get("filter"):
            found = [o for o in found if any(self._passes(kind, part, o) for part in wanted.split(","))]
        items, more, _ = page(found, call.query)
        body: Obj = {
            "type": "collection",
            "links": {"self": f"{self._base}/{kind.steve_plural}"},
            "createTypes": {kind.steve: f"{self._base}/{kind.steve_plural}"},
            "actions": {},
            "resourceType": kind.steve,
            "revision": str(self._store.revision),
            "count": len(found),
            "data": [self._dress(kind, obj, call.exclude) for obj in items],
        }
        return Reply(200, {**body, "continue": more} if more else body)

    def _dress(self, kind: Kind, obj: Obj, exclude: tuple[str, ...]) -> Obj:
        """The object with Steve's id, type, links and computed state."""
        namespace, name = key_of(obj)
        shown = self._shown(kind, obj)
        ident = f"{namespace}/{name}" if kind.namespaced else name
        url = f"{self._base}/{kind.steve_plural}/{ident}"
        metadata = {**obj["metadata"], "state": state(kind, obj), "relationships": None, "fields": [name]}
        body = {(f"_{k}" if k in _OWN_FIELDS else k): v for k, v in shown.items()}
        links = dict.fromkeys(("self", "update", "remove", "patch", "view"), url)
        dressed = {"id": ident, "type": kind.steve, "links": links, **body, "metadata": metadata}
        return functools.reduce(_without, (field.split(".") for field in exclude), dressed)


def _without(obj: Obj, path: list[str]) -> Obj:
    """The object without the field at that path; its own parts stay untouched."""
    name, *rest = path
    if name not in obj or (rest and not isinstance(obj[name], dict)):
        return obj
    kept = {key: value for key, value in obj.items() if key != name}
    return {**kept, name: _without(obj[name], rest)} if rest else kept


def _from_steve(kind: Kind, sent: Obj) -> Obj:
    """A body without what Steve adds: the way back of ``_dress``."""
    obj = {k: v for k, v in sent.items() if k not in _OWN_FIELDS}
    for field in _OWN_FIELDS:
        if f"_{field}" in obj:
            obj[field] = obj.pop(f"_{field}")
    if kind is SECRET and "type" not in obj:
        obj["type"] = "Opaque"
    metadata = {k: v for k, v in (obj.get("metadata") or {}).items() if k not in _COMPUTED}
    return {**obj, "metadata": metadata}


def _substring(kind: Kind, part: str, obj: Obj) -> bool:
    """A filter as it was before the SQL cache: any field; a value means a part of it, in single quotes all of it.

    What is no filter is passed over (rancher/steve: pkg/stores/partition/listprocessor/processor.go).
    """
    field, negated, value = part.replace("!=", "=!", 1).partition("=")[0], "!=" in part, part.partition("=")[2]
    if "=" not in part:
        return True
    actual = _value(kind, field, obj)
    exact = len(value) > 1 and value[0] == value[-1] == "'"
    return (actual == value.strip("'") if exact else value in actual) != negated


def _indexed(kind: Kind, part: str, obj: Obj) -> bool:
    """A filter of the SQL cache: indexed fields only, ``=`` is exact and ``~`` a part."""
    found = _FILTER.match(part)
    if found is None:
        raise ApiError(400, "InvalidFormat", f"cannot parse filter {part!r}")
    field, operator, value = found["field"], found["op"], found["value"].strip("'\"")
    if not _INDEXED.match(field) and field not in _INDEXED_EXTRA.get(kind, set()):
        raise ApiError(400, "InvalidQueryParam", f"column is invalid [{field}]: supplied column is invalid")
    actual = _value(kind, field, obj)
    match operator:
        case "=":
            return actual == value
        case "!=":
            return actual != value
        case "~":
            return value in actual
        case _:
            return value not in actual


def _value(kind: Kind, field: str, obj: Obj) -> str:
    if field == "id":
        return "/".join(part for part in key_of(obj) if part)
    if field == "metadata.state.name":
        return str(state(kind, obj)["name"])
    if field.startswith("metadata.labels"):
        label = field.removeprefix("metadata.labels").strip("[].")
        return str((obj["metadata"].get("labels") or {}).get(label, ""))
    if field.startswith("metadata.fields"):
        return str(obj["metadata"]["name"])
    return str(at(obj, field) or "")
