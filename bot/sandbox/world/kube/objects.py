"""A store of Kubernetes objects: what an API server does before and after HTTP.

Objects are plain JSON dictionaries and are never changed in place: every change puts a new dictionary in the
old one's place, so what was handed out stays as it was.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.kinds import Kind

Obj = dict[str, Any]
Key = tuple[str, str]

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_HISTORY = 1000  # changes that a watch can start from


class ApiError(Exception):
    """A refusal, with the parts of a Kubernetes ``Status``."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}


@dataclass(frozen=True)
class Change:
    """One change of the store: ``type`` is ADDED, MODIFIED or DELETED."""

    type: str
    kind: Kind
    obj: Obj
    revision: int


def not_found(kind: Kind, name: str) -> ApiError:
    """404 as an API server words it."""
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def invalid(kind: Kind, name: str, field: str, problem: str) -> ApiError:
    """422 as an API server words it, e.g. ``spec.x: Required value``."""
    message = f'{kind.name}{"." + kind.group if kind.group else ""} "{name}" is invalid: {field}: {problem}'
    return ApiError(422, "Invalid", message, _details(kind, name))


def key_of(obj: Obj) -> Key:
    """Namespace (empty for cluster-wide objects) and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class ObjectStore:
    """All objects of one API server.

    ``now`` gives the world's time for time stamps; ``rng`` makes names and uids repeatable.
    """

    def __init__(self, now: Callable[[], float], rng: random.Random, kinds: Iterable[Kind]) -> None:
        self.kinds = list(kinds)
        self.revision = 1000
        self.history: deque[Change] = deque(maxlen=_HISTORY)
        self._now = now
        self._rng = rng
        self._objects: dict[Kind, dict[Key, Obj]] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def subscribe(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``listener`` on every change; the result unsubscribes it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def suffix(self, length: int = 5) -> str:
        """Random characters as Kubernetes appends to generated names."""
        return "".join(self._rng.choices(_SUFFIX, k=length))

    def uid(self) -> str:
        """A repeatable UUID."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def find(self, kind: Kind, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        return self._objects.get(kind, {}).get((namespace, name))

    def get(self, kind: Kind, name: str, namespace: str = "") -> Obj:
        """The object.

        Raises:
            ApiError: 404.
        """
        obj = self.find(kind, name, namespace)
        if obj is None:
            raise not_found(kind, name)
        return obj

    def all(self, kind: Kind, namespace: str | None = None) -> list[Obj]:
        """All objects of a kind, in order of namespace and name."""
        found = sorted(self._objects.get(kind, {}).items())
        return [obj for (ns, _), obj in found if namespace is None or ns == namespace]

    def create(self, kind: Kind, obj: Obj) -> Obj:
        """Store a new object; name generated if asked, uid, times and revision filled in.

        Raises:
            ApiError: 422 without a name, 409 when there is one of that name.
        """
        new = copy.deepcopy(obj)
        meta = new.setdefault("metadata", {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + self.suffix()
        if not meta.get("name"):
            raise invalid(kind, "", "metadata.name", "Required value: name or generateName is required")
        if not kind.namespaced:
            meta.pop("namespace", None)
        key = key_of(new)
        if key in self._objects.get(kind, {}):
            message = f'{kind.resource} "{key[1]}" already exists'
            raise ApiError(409, "AlreadyExists", message, _details(kind, key[1]))
        new["apiVersion"], new["kind"] = kind.api_version, kind.name
        meta["uid"] = self.uid()
        meta["creationTimestamp"] = timestamp(self._now())
        meta["managedFields"] = [self._managed(kind)]
        if kind.generation:
            meta["generation"] = 1
        return self._put("ADDED", kind, new)

    def replace(self, kind: Kind, obj: Obj, *, status: bool = False) -> Obj:
        """PUT: the whole object, or (``status``) nothing but its status.

        Raises:
            ApiError: 404, or 409 when the object's resourceVersion is not the current one.
        """
        namespace, name = key_of(obj)
        old = self.get(kind, name, namespace if kind.namespaced else "")
        sent = obj["metadata"].get("resourceVersion")
        if sent and sent != old["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on {kind.resource} "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again"
            )
            raise ApiError(409, "Conflict", message, _details(kind, name))
        new = _merged(kind, old, copy.deepcopy(obj), status=status)
        if new == old:
            return old
        if kind.generation and _spec(new) != _spec(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return self._put("MODIFIED", kind, new)

    def edit(self, kind: Kind, name: str, namespace: str, change: Callable[[Obj], object]) -> Obj | None:
        """A controller's change, status included: ``change`` alters a copy; None if the object is gone."""
        old = self.find(kind, name, namespace)
        if old is None:
            return None
        new = copy.deepcopy(old)
        change(new)
        if new == old:
            return old
        if kind.generation and _spec(new) != _spec(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return self._put("MODIFIED", kind, new)

    def delete(self, kind: Kind, name: str, namespace: str = "") -> Obj:
        """DELETE: gone at once, or marked for its controller if the kind is graceful.

        Raises:
            ApiError: 404.
        """
        obj = self.get(kind, name, namespace)
        if not kind.graceful:
            return self.remove(kind, name, namespace) or obj
        if "deletionTimestamp" in obj["metadata"]:
            return obj
        stamp = timestamp(self._now())
        marked = self.edit(kind, name, namespace, lambda o: o["metadata"].update(deletionTimestamp=stamp))
        return marked or obj

    def remove(self, kind: Kind, name: str, namespace: str = "") -> Obj | None:
        """Take an object away for good."""
        obj = self._objects.get(kind, {}).pop((namespace, name), None)
        if obj is not None:
            last = {**obj, "metadata": {**obj["metadata"]}}
            self._announce("DELETED", kind, last)
        return obj

    def _put(self, change: str, kind: Kind, obj: Obj) -> Obj:
        self._objects.setdefault(kind, {})[key_of(obj)] = obj
        self._announce(change, kind, obj)
        return obj

    def _announce(self, change: str, kind: Kind, obj: Obj) -> None:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        event = Change(change, kind, obj, self.revision)
        self.history.append(event)
        for listener in list(self._listeners):
            listener(event)

    def _managed(self, kind: Kind) -> Obj:
        return {
            "manager": "rancher",
            "operation": "Update",
            "apiVersion": kind.api_version,
            "time": timestamp(self._now()),
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {}},
        }


def _merged(kind: Kind, old: Obj, new: Obj, *, status: bool) -> Obj:
    """What a PUT may change: everything but status and identity, or nothing but status."""
    if status:
        result = copy.deepcopy(old)
        result["status"] = new.get("status", {})
        return result
    if kind.status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
    new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
    meta = new["metadata"]
    for field in ("uid", "creationTimestamp", "managedFields", "generation", "resourceVersion", "deletionTimestamp"):
        if field in old["metadata"]:
            meta[field] = copy.deepcopy(old["metadata"][field])
        else:
            meta.pop(field, None)
    for field in ("labels", "annotations"):
        if not meta.get(field):
            meta.pop(field, None)
    return new


def _spec(obj: Obj) -> Obj:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}


def _details(kind: Kind, name: str) -> Obj:
    details = {"name": name, "kind": kind.plural}
    return {**details, "group": kind.group} if kind.group else details
