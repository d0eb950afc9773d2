"""Helm through Rancher: repositories, operations and apps of one downstream cluster.

Source: rancher/rancher: pkg/controllers/dashboard/helm, pkg/catalogv2/helmop/operation.go.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.engine import Process
from bot.sandbox.world.kube.api import Call, Reply
from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.kinds import APP, CLUSTER_REPO, CONFIG_MAP, OPERATION, POD, STORAGE_CLASS, Kind
from bot.sandbox.world.kube.objects import ApiError, Change, Obj
from bot.sandbox.world.kube.patches import merged
from bot.sandbox.world.nvidia.charts import CHART, REPOS, Chart, chart, index
from bot.sandbox.world.nvidia.operator import GpuOperator

_SYSTEM = "cattle-system"


@dataclass(frozen=True)
class _Release:
    """What one operation is to do."""

    action: str
    namespace: str
    name: str
    chart: Chart | None
    values: Obj
    repo: str


class Catalog:
    """The catalog of one cluster; ``operator`` is what its one chart installs, ``helm`` the major version at work."""

    def __init__(self, cluster: Downstream, operator: GpuOperator, *, helm: int) -> None:
        self._helm = helm
        self._cluster = cluster
        self._store = cluster.store
        self._operator = operator
        self._times = cluster.timings
        self._store.subscribe(self._changed)

    def extra(self, kind: Kind, obj: Obj, call: Call) -> Reply | None:
        """``?link=`` and ``?action=`` of repositories, operations and apps."""
        action, link = call.query.get("action"), call.query.get("link")
        if kind is CLUSTER_REPO and call.method == "GET" and link == "index":
            self._downloaded(obj)
            skip = call.query.get("skipFilter") == "true"
            version = call.query.get("k8sVersion") or self._cluster.git_version
            return Reply(200, index(obj["spec"].get("url", ""), version, skip_filter=skip))
        if kind is CLUSTER_REPO and call.method == "POST" and action in ("install", "upgrade"):
            return self._launch(obj, action, call.object())
        if kind is APP and call.method == "POST" and action == "uninstall":
            call.object()
            meta = obj["metadata"]
            release = _Release("uninstall", meta["namespace"], meta["name"], None, {}, "")
            return self._begin(release)
        if kind is OPERATION and call.method == "GET" and link == "logs":
            return self._logs(obj)
        return None

    # Repositories

    def _changed(self, change: Change) -> None:
        if change.kind is not CLUSTER_REPO or change.type == "DELETED":
            return
        obj, name = change.obj, change.obj["metadata"]["name"]
        if change.type == "ADDED":
            self._cluster.record("repo-created", name)
        if (obj.get("status") or {}).get("observedGeneration") != obj["metadata"]["generation"]:
            self._cluster.engine.spawn(self._download(name, obj["metadata"]["generation"]))

    def _download(self, name: str, generation: int) -> Process:
        yield self._times.repo_download
        repo = self._store.find(CLUSTER_REPO, name)
        if repo is None or (repo.get("status") or {}).get("observedGeneration") == generation:
            return
        url = repo["spec"].get("url", "")
        good = url.rstrip("/") in REPOS
        message = "" if good else f"failed to fetch {url}/index.yaml: Get {url!r}: no such host"
        if good:
            self._keep_index(name)
        status = {
            "observedGeneration": generation,
            "url": url,
            "downloadTime": timestamp(self._cluster.engine.now),
            "conditions": [_condition("Downloaded", good, message, self._cluster.engine.now)],
            **({"indexConfigMapName": name, "indexConfigMapNamespace": _SYSTEM} if good else {}),
        }
        self._store.edit(CLUSTER_REPO, name, "", lambda new: new.update(status=status))
        if good:
            self._cluster.record("repo-downloaded", name)

    def _keep_index(self, name: str) -> None:
        if self._store.find(CONFIG_MAP, name, _SYSTEM) is None:
            self._store.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": _SYSTEM}, "data": {}})

    def _downloaded(self, repo: Obj) -> None:
        if not (repo.get("status") or {}).get("indexConfigMapName"):
            raise ApiError(404, "NotFound", 'configmaps "" not found')

    # Operations

    def _launch(self, repo: Obj, action: str, body: Obj) -> Reply:
        self._downloaded(repo)
        charts = body.get("charts")
        if not isinstance(charts, list) or not charts:
            raise ApiError(422, "MissingRequired", "charts is required")
        if not isinstance(body.get("timeout", ""), str):
            raise ApiError(422, "InvalidBodyContent", "timeout is a duration string such as 600s")
        wanted = charts[0]
        url, called = repo["spec"].get("url", ""), wanted.get("chartName", "")
        if chart(url, called, "") is None:
            raise ApiError(404, "NotFound", f"chart {called} not found")
        found = chart(url, called, wanted.get("version", ""))
        if found is None:
            raise ApiError(404, "NotFound", f"no chart version found for {called}-{wanted.get('version')}")
        namespace, name = body.get("namespace") or "default", wanted.get("releaseName") or called
        values = wanted.get("values") or {}
        old = self._store.find(APP, name, namespace)
        if old is not None and action == "upgrade" and not wanted.get("resetValues"):
            values = merged(old["spec"]["values"], values)
        self._cluster.ensure_namespace(namespace, str(body.get("projectId") or "").replace("/", ":"))
        release = _Release(action, namespace, name, found, copy.deepcopy(values), repo["metadata"]["name"])
        return self._begin(release, tuple(self._flags(body)))

    def _flags(self, body: Obj) -> list[str]:
        """The body as flags of the Helm that this Rancher runs; keys that it does not know say nothing to it."""
        flags = [f"--namespace={body.get('namespace') or 'default'}", *(["--wait"] if body.get("wait") else [])]
        if body.get("force"):
            flags.append("--force" if self._helm < 4 else "--force-replace")
        if self._helm >= 4 and "serverSide" in body:
            flags.append(f"--server-side={str(body['serverSide']).lower()}")
        return flags

    def _begin(self, release: _Release, flags: tuple[str, ...] = ()) -> Reply:
        name = f"helm-operation-{self._store.suffix()}"
        status = {
            "action": release.action,
            "releaseName": release.name,
            "namespace": release.namespace,
            "podName": name,
            "podNamespace": _SYSTEM,
            "podCreated": False,
            "command": ["helm", release.action, *flags, release.name],
        }
        meta = {"name": name, "namespace": release.namespace}
        operation = self._store.create(OPERATION, {"metadata": meta, "spec": {}, "status": status})
        self._cluster.record("operation-created", name)
        self._cluster.engine.spawn(self._operate(operation, release))
        body = {
            "type": "chartActionOutput",
            "operationName": name,
            "operationNamespace": release.namespace,
            "links": {},
        }
        return Reply(201, body)

    def _operate(self, operation: Obj, release: _Release) -> Process:
        name = operation["metadata"]["name"]
        yield self._times.helm_pod
        pod = self._pod(operation)
        self._tell(operation, running=True)
        if problem := self._refusal(release):
            yield 2.0
            self._end(operation, pod, problem)
            return
        if release.action == "uninstall":
            yield from self._uninstall(release)
        else:
            yield self._times.helm_release
            self._app(release, "pending-install", bump=True)
            yield self._times.helm_apply
            self._app(release, "deployed", bump=False)
            self._apply(release)
            self._cluster.record("app-deployed", f"{release.namespace}/{release.name} {name}")
        self._end(operation, pod, "")

    def deploy(self, spec: Obj) -> bool:
        """What the cluster's own Helm has installed from a HelmChart; False when its repository has no such chart."""
        found = chart(spec.get("repo", ""), spec.get("chart", ""), spec.get("version", ""))
        if found is None:
            return False
        namespace, values = spec.get("targetNamespace") or "default", yaml.safe_load(spec.get("valuesContent") or "{}")
        self._cluster.ensure_namespace(namespace)
        release = _Release("install", namespace, spec["release"], found, values, "")
        self._app(release, "deployed", bump=True)
        self._apply(release)
        return True

    def _apply(self, release: _Release) -> None:
        """The chart's objects are there."""
        if release.chart is None:
            return
        if release.chart.name == CHART:
            self._operator.apply(release.namespace, release.chart, release.values)
        for one in release.values.get("storageClasses") or []:
            meta = {"name": one["name"], "annotations": one.get("annotations") or {}}
            self._store.create(STORAGE_CLASS, {"metadata": meta, "provisioner": "ebs.csi.aws.com"})

    def _refusal(self, release: _Release) -> str:
        app = self._store.find(APP, release.name, release.namespace)
        status = app["spec"]["info"]["status"] if app else ""
        if release.action == "install" and app is not None:
            return "Error: INSTALLATION FAILED: cannot re-use a name that is still in use"
        if status.startswith("pending"):
            return "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress"
        return ""

    def _uninstall(self, release: _Release) -> Process:
        self._edit_app(release, lambda app: app["spec"]["info"].update(status="uninstalling"))
        yield self._times.helm_uninstall
        if release.name == CHART:
            self._operator.remove()
        self._store.remove(APP, release.name, release.namespace)

    def _app(self, release: _Release, status: str, *, bump: bool) -> None:
        version, chart_name = (release.chart.version, release.chart.name) if release.chart else ("", "")
        if self._store.find(APP, release.name, release.namespace) is None:
            meta = {"name": release.name, "namespace": release.namespace}
            spec: Obj = {"name": release.name, "namespace": release.namespace, "version": 0, "info": {"status": ""}}
            self._store.create(APP, {"metadata": meta, "spec": {**spec, "values": {}}, "status": {}})

        def change(app: Obj) -> None:
            app["metadata"]["labels"] = {"catalog.cattle.io/cluster-repo-name": release.repo}
            app["spec"] |= {
                "version": app["spec"]["version"] + int(bump),
                "info": {"status": status, "lastDeployed": timestamp(self._cluster.engine.now)},
                "chart": {
                    "metadata": {
                        "name": chart_name,
                        "version": version,
                        "appVersion": version,
                    }
                },
                "values": release.values,
            }
            app["status"] = {"summary": {"state": status, "transitioning": status != "deployed"}}

        self._edit_app(release, change)

    def _edit_app(self, release: _Release, change: Callable[[Obj], Any]) -> None:
        self._store.edit(APP, release.name, release.namespace, change)

    def _pod(self, operation: Obj) -> Obj:
        meta = operation["metadata"]
        owner = {"apiVersion": operation["apiVersion"], "kind": "Operation", "name": meta["name"], "uid": meta["uid"]}
        node = next(iter(self._cluster.hardware), "")
        pod = self._store.create(
            POD,
            {
                "metadata": {"name": meta["name"], "namespace": _SYSTEM, "ownerReferences": [owner]},
                "spec": {"nodeName": node, "containers": [{"name": "helm", "image": "rancher/shell:v0.7.0"}]},
                "status": {"phase": "Running"},
            },
        )
        self._cluster.kubelet.logs[pod["metadata"]["uid"], "helm"] = f"helm {operation['status']['action']}\n"
        return pod

    def _end(self, operation: Obj, pod: Obj, problem: str) -> None:
        self._cluster.kubelet.logs[pod["metadata"]["uid"], "helm"] += f"{problem or 'SUCCESS'}\n"
        phase = "Failed" if problem else "Succeeded"
        self._store.edit(POD, pod["metadata"]["name"], _SYSTEM, lambda new: new["status"].update(phase=phase))
        self._tell(operation, running=False, problem=problem)

    def _tell(self, operation: Obj, *, running: bool, problem: str = "") -> None:
        now = self._cluster.engine.now
        message = f"command failed: {problem} exit code: 1" if problem else ""

        def change(new: Obj) -> None:
            new["status"]["podCreated"] = True
            new["status"]["conditions"] = [
                _condition("Reconciling", running, "", now),
                _condition("Stalled", bool(problem), message, now),
            ]

        self._store.edit(OPERATION, operation["metadata"]["name"], operation["metadata"]["namespace"], change)

    def _logs(self, operation: Obj) -> Reply:
        pod = self._store.get(POD, operation["status"]["podName"], _SYSTEM)
        return Reply(200, self._cluster.kubelet.log(pod, "helm"), "text/plain")


def _condition(kind: str, holds: bool, message: str, now: float) -> Obj:
    condition = {"type": kind, "status": "True" if holds else "False", "lastUpdateTime": timestamp(now)}
    return {**condition, "message": message} if message else condition
