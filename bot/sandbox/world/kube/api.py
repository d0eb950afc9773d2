"""The Kubernetes API over a store: paths, verbs, lists, watches, errors.

What a real API server answers was measured against one (kube-apiserver 1.36); bodies of errors are its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.host import ApiHost
from bot.sandbox.world.kube.kinds import JOB, NAMESPACE, POD, SERVICE_ACCOUNT, Kind
from bot.sandbox.world.kube.namespaces import collect_garbage
from bot.sandbox.world.kube.objects import ApiError, Change, Obj, ObjectStore, invalid
from bot.sandbox.world.kube.patches import apply_patch
from bot.sandbox.world.kube.selectors import matches_fields, matches_labels

_TOO_SHORT = "Invalid value: may not specify a duration less than 10 minutes"
TEXT_404 = "404 page not found\n"


@dataclass(frozen=True)
class Call:
    """A request: ``path`` starts at the API server's root, ``query`` has the last value of each key."""

    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: bytes
    now: float
    exclude: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    def json(self) -> Any:
        """The body. Raises ApiError 400."""
        try:
            return json.loads(self.body)
        except ValueError as problem:
            raise ApiError(400, "BadRequest", f"the body is not JSON: {problem}") from problem

    def object(self) -> Obj:
        """The body, an object. Raises ApiError 400."""
        document = self.json()
        if not isinstance(document, dict):
            raise ApiError(400, "BadRequest", "the body must be a JSON object")
        return document


@dataclass(frozen=True)
class Reply:
    """An answer; ``body`` is JSON, or text when it is a str."""

    status: int
    body: Any
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exec:
    """A command has run in a container: what it printed, and its exit code. For a websocket only."""

    output: str
    exit_code: int


@dataclass(frozen=True)
class Watch:
    """A stream of changes, to be served by the HTTP layer; starts after ``revision`` (None: as of now)."""

    store: ObjectStore
    kind: Kind
    namespace: str | None
    query: Mapping[str, str]
    revision: int | None

    def sees(self, change: Change) -> bool:
        """Whether the change is about an object that this watch selects."""
        return change.kind is self.kind and selects(self.kind, self.namespace, self.query, change.obj)


@dataclass(frozen=True)
class Target:
    """What a path names."""

    kind: Kind
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def template(self) -> str:
        """The path with its names left out, e.g. ``/api/v1/namespaces/{namespace}/pods/{name}/log``."""
        prefix = f"/apis/{self.kind.api_version}" if self.kind.group else f"/api/{self.kind.version}"
        scope = "/namespaces/{namespace}" if self.namespace else ""
        return (
            prefix + scope + f"/{self.kind.plural}" + "/{name}" * bool(self.name) + f"/{self.subresource}".rstrip("/")
        )


def parse(kinds: list[Kind], path: str) -> Target | None:
    """The target of ``/api/v1/…`` or ``/apis/group/version/…``; None when nothing is served there."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (rest[2] in ("status", "finalize") and len(rest) == 3):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        return None
    for kind in kinds:
        if (kind.group, kind.version, kind.plural) == (group, version, rest[0]):
            if namespace and not kind.namespaced:
                return None
            return Target(kind, namespace, *rest[1:])
    return None


def selects(kind: Kind, namespace: str | None, query: Mapping[str, str], obj: Obj) -> bool:
    """Whether namespace and selectors of a list or watch admit ``obj``."""
    if namespace and obj["metadata"].get("namespace") != namespace:
        return False
    return matches_labels(query.get("labelSelector", ""), obj["metadata"].get("labels") or {}) and matches_fields(
        kind, query.get("fieldSelector", ""), obj
    )


def status_body(error: ApiError) -> Obj:
    """The Kubernetes ``Status`` of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": error.reason,
        "details": error.details,
        "code": error.code,
    }


class KubeApi:
    """Answers the calls to one API server."""

    def __init__(self, host: ApiHost) -> None:
        self._host = host
        self._store = host.store

    def handle(self, call: Call) -> Reply | Watch | Exec:
        """Answer ``call``; refusals come as replies, never as exceptions."""
        try:
            return self._route(call)
        except ApiError as error:
            return Reply(error.code, status_body(error))

    def _route(self, call: Call) -> Reply | Watch | Exec:
        path = call.path.rstrip("/")
        if path == "/version" and call.method == "GET":
            return Reply(200, version_body(self._host.git_version))
        if path in ("/healthz", "/readyz", "/livez") and call.method == "GET":
            return Reply(200, "ok", "text/plain")
        if path.startswith(("/apis/authorization.k8s.io/v1/self",)) and call.method == "POST":
            return _access_review(call)
        target = parse(self._store.kinds, call.path)
        if target is None:
            return self._discovery(path)
        if target.subresource:
            return self._subresource(call, target)
        if target.name:
            return self._item(call, target)
        return self._collection(call, target)

    def _discovery(self, path: str) -> Reply:
        if path == "/api":
            return Reply(200, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        versions = {k.api_version for k in self._store.kinds}
        for version in versions:
            if path == (f"/apis/{version}" if "/" in version else f"/api/{version}"):
                kinds = [k for k in self._store.kinds if k.api_version == version]
                return Reply(200, _resource_list(version, kinds))
        if path == "/apis":
            return Reply(200, _group_list(sorted(v for v in versions if "/" in v)))
        return Reply(404, TEXT_404, "text/plain")

    def _collection(self, call: Call, target: Target) -> Reply | Watch | Exec:
        kind = target.kind
        if call.method == "POST":
            obj = call.object()
            namespace = target.namespace
            sent = (obj.get("metadata") or {}).get("namespace")
            if kind.namespaced and sent and sent != namespace:
                message = "the namespace of the provided object does not match the namespace sent on the request"
                raise ApiError(400, "BadRequest", message)
            return Reply(201, self._store.create(kind, self._host.admit(kind, obj, namespace)))
        if call.method == "DELETE":
            for obj in self._selected(call, target):
                self._delete(call, kind, obj)
            return Reply(200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
        if call.method != "GET":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if call.query.get("watch") in ("1", "true"):
            return self._watch(call, target)
        return Reply(200, self._list(call, target))

    def _watch(self, call: Call, target: Target) -> Watch:
        wanted = call.query.get("resourceVersion", "")
        revision = int(wanted) if wanted not in ("", "0") else None
        oldest = self._store.history[0].revision if self._store.history else self._store.revision
        if revision is not None and revision < oldest - 1 and len(self._store.history) == self._store.history.maxlen:
            raise ApiError(410, "Expired", f"too old resource version: {revision} ({oldest})")
        return Watch(self._store, target.kind, target.namespace or None, call.query, revision)

    def _selected(self, call: Call, target: Target) -> list[Obj]:
        found = self._store.all(target.kind, target.namespace or None)
        return [obj for obj in found if selects(target.kind, target.namespace, call.query, obj)]

    def _list(self, call: Call, target: Target) -> Obj:
        wanted = call.query.get("resourceVersion", "")
        if wanted.isdigit() and int(wanted) > self._store.revision:
            message = f"Too large resource version: {wanted}, current: {self._store.revision}"
            raise ApiError(504, "Timeout", message, {"retryAfterSeconds": 1})
        items, more, left = page(self._selected(call, target), call.query)
        metadata: Obj = {"resourceVersion": str(self._store.revision)}
        if more:
            metadata |= {"continue": more, "remainingItemCount": left}
        kind = target.kind
        return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": items}

    def _item(self, call: Call, target: Target) -> Reply:
        kind, obj = target.kind, self._store.get(target.kind, target.name, target.namespace)
        match call.method:
            case "GET":
                return Reply(200, obj)
            case "PUT":
                return self._replace(kind, obj, _named(call.object(), obj))
            case "PATCH":
                return self._replace(kind, obj, _patched(call, kind, obj))
            case "DELETE":
                return self._delete(call, kind, obj)
        raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _replace(self, kind: Kind, old: Obj, new: Obj) -> Reply:
        return Reply(200, self._store.replace(kind, self._host.update(kind, old, new)))

    def _delete(self, call: Call, kind: Kind, obj: Obj) -> Reply:
        options = call.object() if call.body.strip() else {}
        meta = obj["metadata"]
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted and wanted != meta["uid"]:
            message = f"the UID in the precondition ({wanted}) does not match the UID in record ({meta['uid']})"
            raise ApiError(409, "Conflict", message)
        default = "Orphan" if kind is JOB else "Background"  # batch/v1 orphans pods unless told otherwise
        policy = options.get("propagationPolicy") or call.query.get("propagationPolicy") or default
        last = self._store.delete(kind, meta["name"], meta.get("namespace", ""))
        if policy != "Orphan":
            collect_garbage(self._store, meta["uid"])
        if kind is POD or kind is NAMESPACE:
            return Reply(200, last)
        details = {"name": meta["name"], "kind": kind.plural, "uid": meta["uid"]}
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return Reply(200, body)

    def _subresource(self, call: Call, target: Target) -> Reply | Exec:
        kind, obj = target.kind, self._store.get(target.kind, target.name, target.namespace)
        match (target.subresource, call.method):
            case ("status", "GET") if kind.status:
                return Reply(200, obj)
            case ("status", "PUT") if kind.status:
                return Reply(200, self._store.replace(kind, _named(call.object(), obj), status=True))
            case ("status", "PATCH") if kind.status:
                return Reply(200, self._store.replace(kind, _patched(call, kind, obj), status=True))
            case ("log", "GET") if kind is POD:
                return self._log(call, obj)
            case ("exec", "GET") if kind is POD:
                return self._exec(call, obj)
            case ("token", "POST") if kind is SERVICE_ACCOUNT:
                return self._token(call, obj)
        return Reply(404, TEXT_404, "text/plain")

    def _log(self, call: Call, pod: Obj) -> Reply:
        lines = self._host.pod_log(pod, call.query.get("container", "")).splitlines(keepends=True)
        tail = call.query.get("tailLines")
        if tail is not None:
            lines = lines[-int(tail) :] if int(tail) else []
        return Reply(200, "".join(lines), "text/plain")

    def _exec(self, call: Call, pod: Obj) -> Exec:
        """One command in a running container."""
        if not call.command:
            raise ApiError(400, "BadRequest", "you must specify at least 1 command for the container")
        if call.query.get("stdout") != "true":
            raise ApiError(400, "BadRequest", "you must specify at least 1 of stdin, stdout, stderr")
        name = pod["metadata"]["name"]
        container = call.query.get("container") or pod["spec"]["containers"][0]["name"]
        if container not in [c["name"] for c in pod["spec"]["containers"]]:
            raise ApiError(400, "BadRequest", f"container {container} is not valid for pod {name}")
        if pod["status"].get("phase") != "Running":
            raise ApiError(500, "InternalError", f'container not found ("{container}")')
        return Exec(*self._host.execute(pod, container, call.command))

    def _token(self, call: Call, account: Obj) -> Reply:
        request = call.object()
        seconds = int((request.get("spec") or {}).get("expirationSeconds") or 3600)
        if seconds < 600:
            raise invalid(SERVICE_ACCOUNT, account["metadata"]["name"], "spec.expirationSeconds", _TOO_SHORT)
        expires = timestamp(call.now + seconds)
        status = {"token": self._host.token(account, seconds), "expirationTimestamp": expires}
        spec = {
            "audiences": ["https://kubernetes.default.svc"],
            **(request.get("spec") or {}),
            "expirationSeconds": seconds,
        }
        meta = {"name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": meta}
        return Reply(201, {**body, "spec": spec, "status": status})


def page(items: list[Obj], query: Mapping[str, str]) -> tuple[list[Obj], str, int]:
    """One page by ``limit`` and ``continue``: its items, the token of the next one, how many are left."""
    start = 0
    if token := query.get("continue"):
        try:
            start = int(json.loads(base64.urlsafe_b64decode(token))["start"])
        except (ValueError, KeyError, TypeError) as problem:
            raise ApiError(400, "BadRequest", f"continue key is not valid: {problem}") from problem
    limit = int(query.get("limit") or 0)
    rest = items[start:]
    if not limit or len(rest) <= limit:
        return rest, "", 0
    following = json.dumps({"v": "meta.k8s.io/v1", "start": start + limit})
    return rest[:limit], base64.urlsafe_b64encode(following.encode()).decode(), len(rest) - limit


def version_body(git_version: str) -> Obj:
    """``/version``."""
    major, minor = git_version.lstrip("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": git_version,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-07-01T00:00:00Z",
        "goVersion": "go1.25.0",
        "compiler": "gc",
        "platform": "linux/amd64",
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
    }


def _named(sent: Obj, stored: Obj) -> Obj:
    """A PUT's body, refused when it is for another object than its URL."""
    meta = sent.setdefault("metadata", {})
    name = stored["metadata"]["name"]
    if meta.get("name", name) != name:
        message = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
        raise ApiError(400, "BadRequest", message)
    meta["name"] = name
    if "namespace" in stored["metadata"]:
        meta["namespace"] = stored["metadata"]["namespace"]
    return sent


def _patched(call: Call, kind: Kind, stored: Obj) -> Obj:
    return _named(apply_patch(call.content_type, call.json(), stored, builtin=kind.builtin), stored)


def _access_review(call: Call) -> Reply:
    body = call.object()
    kind = "SelfSubjectAccessReview" if call.path.rstrip("/").endswith("accessreviews") else "SelfSubjectRulesReview"
    status = {"allowed": True} if kind == "SelfSubjectAccessReview" else {"incomplete": False}
    return Reply(
        201,
        {
            "kind": kind,
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": body.get("spec", {}),
            "status": status,
        },
    )


def _resource_list(version: str, kinds: list[Kind]) -> Obj:
    verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
    resources = [
        {
            "name": k.plural,
            "singularName": k.name.lower(),
            "namespaced": k.namespaced,
            "kind": k.name,
            "verbs": verbs,
        }
        for k in kinds
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _group_list(versions: list[str]) -> Obj:
    groups = []
    for full in versions:
        group, version = full.split("/")
        entry = {"groupVersion": full, "version": version}
        groups.append({"name": group, "versions": [entry], "preferredVersion": entry})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
