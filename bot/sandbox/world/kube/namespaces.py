"""Namespaces: what they hold from birth, and their end. Also the end of objects whose owner is gone."""

from __future__ import annotations

from bot.sandbox.world.engine import Engine, Process
from bot.sandbox.world.kube.kinds import NAMESPACE, POD, SERVICE_ACCOUNT
from bot.sandbox.world.kube.objects import Change, Obj, ObjectStore

PROJECT = "field.cattle.io/projectId"


class Namespaces:
    """The namespace controller, with Rancher's addition: the project's label follows its annotation."""

    def __init__(self, engine: Engine, store: ObjectStore, removal: float) -> None:
        self._engine = engine
        self._store = store
        self._removal = removal
        store.subscribe(self._changed)

    def _changed(self, change: Change) -> None:
        if change.kind is not NAMESPACE:
            return
        name = change.obj["metadata"]["name"]
        if change.type == "ADDED":
            self._store.create(SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": name}})
        if change.type == "DELETED":
            return
        if "deletionTimestamp" not in change.obj["metadata"]:
            self._engine.call_soon(lambda: self._store.edit(NAMESPACE, name, "", _label_project))
        elif change.obj["status"]["phase"] != "Terminating":
            self._engine.spawn(self._end(name))

    def _end(self, name: str) -> Process:
        def terminating(namespace: Obj) -> None:
            namespace["status"]["phase"] = "Terminating"

        self._store.edit(NAMESPACE, name, "", terminating)
        for pod in self._store.all(POD, name):
            self._store.delete(POD, pod["metadata"]["name"], name)
        yield self._removal
        for kind in self._store.kinds:
            for obj in self._store.all(kind, name) if kind.namespaced else []:
                self._store.remove(kind, obj["metadata"]["name"], name)
        self._store.remove(NAMESPACE, name)


def _label_project(namespace: Obj) -> None:
    project = (namespace["metadata"].get("annotations") or {}).get(PROJECT, "")
    if ":" in project:
        namespace["metadata"].setdefault("labels", {})[PROJECT] = project.split(":")[1]


def collect_garbage(store: ObjectStore, owner_uid: str) -> None:
    """Delete every object that the object of this uid owned."""
    for kind in store.kinds:
        for obj in store.all(kind):
            if any(owner["uid"] == owner_uid for owner in obj["metadata"].get("ownerReferences") or []):
                namespace = obj["metadata"].get("namespace", "")
                store.delete(kind, obj["metadata"]["name"], namespace)
                collect_garbage(store, obj["metadata"]["uid"])
