"""The seam `Cluster` of the core: one downstream cluster through Rancher's proxy."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.core.bot_token import BotToken
from bot.core.ports import (
    Busy,
    Clock,
    Foreign,
    GpuUse,
    JobOrder,
    JobView,
    Node,
    OwnEndpoint,
    PodLog,
    PodTrouble,
    PolicyView,
    Refused,
    Temporary,
    Token,
    WorldError,
)
from bot.core.spec import GPU_RESOURCE, LABEL_MANAGED, LABEL_REQUEST
from bot.kube import accounts, events, jobs, pods
from bot.kube.access import Access, Kubeconfig, RancherProxy
from bot.kube.client import ApiError, Json, KubeClient
from bot.kube.namespaces import ensure_namespace

_PATCH_TRIES = 4
_TROUBLE_LOGS = 8
_TROUBLE_LINES = 20
_PROBE_LINES = 5000
"""The probe prints one line a GPU and its document; DCGM's is indented."""
_KERNELS = 8
"""Nodes whose kernel log is read at most: somebody waits."""
_KERNEL_LINES = 40
_GPU_LINE = re.compile(r"NVRM|Xid|nvidia|nouveau|MSI-X", re.IGNORECASE)
_JSON_PATCH = "application/json-patch+json"
_WARNING = "type=Warning"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


class KubeCluster:
    """The Kubernetes API at RANCHER_URL/k8s/clusters/<management id>. Safe to share between threads.

    `token` and `ca_bundle` as for Rancher. The steps of one look share a list of nodes, at most `nodes_s` world seconds
    old. Every method raises errors of the core, and nothing else.
    """

    def __init__(
        self,
        rancher_url: str,
        token: str | Callable[[], str] | BotToken,
        management_id: str,
        *,
        ca_bundle: str | None = None,
        clock: Clock,
        nodes_s: float = 2.0,
    ) -> None:
        way = RancherProxy(rancher_url, BotToken.of(token, clock), management_id, ca_bundle)
        self._use(way, clock, nodes_s)

    def _use(self, access: Access, clock: Clock, nodes_s: float) -> None:
        self._client = KubeClient(access)
        self._clock = clock
        self._nodes_s = nodes_s
        self._nodes: tuple[float, tuple[Node, ...]] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def version(self) -> str:
        """The API server's version (v1.34.6+rke2r1)."""
        return str(self._client.json(self._client.versions.get_code).get("gitVersion") or "")

    def nodes(self) -> tuple[Node, ...]:
        now, known = self._clock.now(), self._nodes
        if known is not None and 0 <= now - known[0] < self._nodes_s:
            return known[1]
        nodes = tuple(_node(node) for node in self._client.list(self._client.core.list_node))
        self._nodes = (now, nodes)
        return nodes

    def storage_class(self) -> str:
        for found in self._client.list(self._client.storage.list_storage_class):
            if (found["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
                return str(found["metadata"]["name"])
        return ""

    def ensure_namespace(self, name: str, *, project: str, privileged: bool, labels: Mapping[str, str]) -> None:
        """Create it or see to it that it is as wanted; raises `Foreign` when another's would have to be changed."""
        ensure_namespace(self._client, name, project=project, privileged=privileged, labels=labels)

    def remove_namespace(self, name: str, request_id: str) -> None:
        there = self._client.find(self._client.core.read_namespace, name)
        if there is None or (there["metadata"].get("labels") or {}).get(LABEL_REQUEST) != request_id:
            return
        with suppress(ApiError):
            self._client.json(self._client.core.delete_namespace, name, expect=(404, 409))

    def policy(self) -> PolicyView | None:
        found = self._client.find(
            self._client.custom.get_cluster_custom_object, "nvidia.com", "v1", "clusterpolicies", "cluster-policy"
        )
        if found is None:
            return None
        status = found.get("status") or {}
        ready, error = _condition(status, "Ready"), _condition(status, "Error")
        # While it is not ready the reason stands in the Ready condition, that of a failed reconciliation in Error.
        said = error if error.get("status") == "True" and not ready.get("message") else ready
        return PolicyView(
            state=str(status.get("state") or ""),
            ready=ready.get("status") == "True",
            reason=str(said.get("reason") or ""),
            message=str(said.get("message") or ""),
        )

    def pod_troubles(self, namespace: str) -> tuple[PodTrouble, ...]:
        found = list(self._client.list(self._client.core.list_namespaced_pod, namespace))

        def read_log(pod: str, culprit: pods.Culprit) -> str:
            with suppress(WorldError):  # the log is a kindness: the pod's own words come without it
                return self._log(namespace, pod, _TROUBLE_LINES, container=culprit.container, previous=culprit.crashed)
            return ""

        return (*pods.troubles(found, read_log, _TROUBLE_LOGS), *events.troubles(self._warnings(namespace), found))

    def pod_logs(self, namespace: str, apps: tuple[str, ...], lines: int, most: int) -> tuple[PodLog, ...]:
        if not self._is_ours(namespace):
            return ()
        found = self._client.list(self._client.core.list_namespaced_pod, namespace)
        chosen = pods.worth_reading((pod for pod in found if not apps or pods.app_of(pod) in apps), most)
        return tuple(self._pod_log(namespace, pod, what, lines) for pod, what in chosen)

    def _is_ours(self, namespace: str) -> bool:
        """Whether the namespace is there; raises `Foreign` where the bot did not make it."""
        there = self._client.find(self._client.core.read_namespace, namespace)
        if there is not None and (there["metadata"].get("labels") or {}).get(LABEL_MANAGED) != "true":
            raise Foreign(f"The namespace {namespace} was not made by the bot, so its logs are not read.")
        return there is not None

    def _pod_log(self, namespace: str, pod: Json, what: pods.Culprit | None, lines: int) -> PodLog:
        name, container = str(pod["metadata"]["name"]), what.container if what and what.container else pods.main_of(pod)
        text = self._log(namespace, name, lines, container=container, previous=bool(what and what.crashed))
        return PodLog(
            namespace=namespace,
            pod=name,
            app=pods.app_of(pod),
            node=str((pod.get("spec") or {}).get("nodeName") or ""),
            container=container,
            state=what.reason if what else str((pod.get("status") or {}).get("phase") or ""),
            text=text,
        )

    def kernel_log(self, namespace: str, app: str) -> Mapping[str, str]:
        """With dmesg inside the driver's pods: they are privileged, and run on every GPU node."""
        selector = f"app={app}"
        read: dict[str, str] = {}
        if not self._is_ours(namespace):
            return read
        for pod in self._client.list(self._client.core.list_namespaced_pod, namespace, label_selector=selector):
            if (pod.get("status") or {}).get("phase") != "Running" or len(read) >= _KERNELS:
                continue
            with suppress(WorldError):  # a pod that is just going must not hide the others
                said = self._client.execute(namespace, pod["metadata"]["name"], pods.main_of(pod), ("dmesg",))
                lines = [line for line in said.splitlines() if _GPU_LINE.search(line)]
                read[str(pod["spec"]["nodeName"])] = "\n".join(lines[-_KERNEL_LINES:])
        return read

    def ask_driver(self, namespace: str, app: str, node: str, command: tuple[str, ...]) -> str:
        core = self._client.core
        with suppress(WorldError):  # whoever may not read or enter those pods gets no answer, and goes on
            for pod in self._client.list(core.list_namespaced_pod, namespace, label_selector=f"app={app}"):
                there = (pod.get("spec") or {}).get("nodeName") == node
                if there and (pod.get("status") or {}).get("phase") == "Running":
                    return self._client.execute(namespace, pod["metadata"]["name"], pods.main_of(pod), command)
        return ""

    def gpu_use(self, ours: frozenset[str]) -> GpuUse:
        found = self._client.list(self._client.core.list_pod_for_all_namespaces)
        return pods.gpu_use(pod for pod in found if pod["metadata"]["namespace"] not in ours)

    def ensure_job(self, order: JobOrder) -> None:
        """ConfigMap first, so that the pod never waits for it; raises `Foreign` when one of them is another's."""
        core, batch = self._client.core, self._client.batch
        for body, create, read in (
            (jobs.config_map(order), core.create_namespaced_config_map, core.read_namespaced_config_map),
            (jobs.job(order), batch.create_namespaced_job, batch.read_namespaced_job),
        ):
            if body["kind"] == "ConfigMap" and order.command:
                continue  # another image, which needs no script of ours
            self._create_or_get(body, create, read, order.labels.get(LABEL_REQUEST, ""))

    def job(self, namespace: str, name: str) -> JobView | None:
        found = self._client.find(self._client.batch.read_namespaced_job, name, namespace)
        if found is None:
            return None
        of_it = self._pods_of_jobs(namespace, f"{jobs.JOB_NAME_LABEL}={name}").get(name, [])
        warning = {} if of_it else self._warnings_of_jobs(namespace, f"involvedObject.name={name}")
        return jobs.job_view(found, of_it, self._result(namespace, of_it), warning.get(name, ("", "")))

    def jobs(self, namespace: str, request_id: str, wanted: Collection[str]) -> Mapping[str, JobView]:
        those = f"{LABEL_REQUEST}={request_id}"
        listed = self._client.list(self._client.batch.list_namespaced_job, namespace, label_selector=those)
        found = {name: job for job in listed if (name := str(job["metadata"]["name"])) in wanted}
        of_them = self._pods_of_jobs(namespace, those) if found else {}
        warnings = self._warnings_of_jobs(namespace) if found.keys() - of_them.keys() else {}
        views = {}
        for name, job in found.items():
            log = unread = ""
            try:
                log = self._result(namespace, of_them.get(name, []))
            except Temporary as error:  # one node's kubelet that does not answer keeps no other waiting
                unread = error.reason
            view = jobs.job_view(job, of_them.get(name, []), log, warnings.get(name, ("", "")))
            views[name] = replace(view, unread=unread)
        return views

    def _pods_of_jobs(self, namespace: str, selector: str) -> dict[str, list[Json]]:
        """By the Job's name, the newest last."""
        found: dict[str, list[Json]] = defaultdict(list)
        for pod in self._client.list(self._client.core.list_namespaced_pod, namespace, label_selector=selector):
            found[str((pod["metadata"].get("labels") or {}).get(jobs.JOB_NAME_LABEL) or "")].append(pod)
        for of_it in found.values():
            of_it.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp") or ""))
        return found

    def _result(self, namespace: str, of_it: list[Json]) -> str:
        """Only of a pod that has ended: that log holds the result, so not being able to read it is an error. A pod that
        never ends, its node being dead, has none."""
        ended = bool(of_it) and (of_it[-1].get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return self._log(namespace, of_it[-1]["metadata"]["name"], _PROBE_LINES) if ended else ""

    def started_at(self, app: str, node: str) -> float | None:
        """In whatever namespace the operator is: its DaemonSets keep their names."""
        core, there = self._client.core, f"spec.nodeName={node}"
        with suppress(Refused):
            found = self._client.list(
                core.list_pod_for_all_namespaces, label_selector=f"app={app}", field_selector=there
            )
            return max(filter(None, map(pods.started_at, found)), default=None)
        return None

    def remove_job(self, namespace: str, name: str) -> None:
        core, batch = self._client.core, self._client.batch
        for delete in (batch.delete_namespaced_job, core.delete_namespaced_config_map):
            with suppress(ApiError):
                self._client.json(delete, name, namespace, expect=(404,), propagation_policy="Background")

    def remove_jobs_of(self, namespace: str, requests: tuple[str, ...]) -> None:
        those = f"{LABEL_REQUEST} in ({','.join(requests)})"
        found = list(self._client.list(self._client.batch.list_namespaced_job, namespace, label_selector=those))
        for job in found:
            self.remove_job(namespace, str(job["metadata"]["name"]))

    def gpus_in_use(self) -> Mapping[str, int]:
        held: Counter[str] = Counter()
        running = "status.phase!=Succeeded,status.phase!=Failed"
        for pod in self._client.list(self._client.core.list_pod_for_all_namespaces, field_selector=running):
            if (node := (pod.get("spec") or {}).get("nodeName")) and (gpus := pods.gpus_of(pod)):
                held[str(node)] += gpus
        return held

    def runtime_classes(self) -> tuple[str, ...]:
        return tuple(
            str(found["metadata"]["name"]) for found in self._client.list(self._client.node.list_runtime_class)
        )

    def remove_taint(self, node: str, key: str) -> None:
        """By JSON patch with tests: whatever else happens to the taints meanwhile, only this key goes.

        As the nodes were listed last, where they show the taint: the tests fail where they show it wrong.
        """
        seen = next((known.taints for known in (self._nodes or (0.0, ()))[1] if known.name == node), ())
        patch = _without_taint([taint for taint, _, _ in seen], key)
        if not patch or not self._patched(node, patch):
            self._change_taints(node, lambda found: _without_taint(_taint_keys(found), key))

    def add_taint(self, node: str, key: str) -> None:
        """By JSON patch, as the node was read: a taint that another writer sets meanwhile is never lost."""
        self._change_taints(node, lambda found: _with_taint(found, key))

    def _change_taints(self, node: str, patch_of: Callable[[Json], list[Json]]) -> None:
        self._nodes = None
        for _ in range(_PATCH_TRIES):
            found = self._client.find(self._client.core.read_node, node)
            if found is None:
                raise Temporary(f"The node {node} is gone.")
            patch = patch_of(found)
            if not patch or self._patched(node, patch):
                return
        raise Busy(f"The taints of {node} change all the time.")

    def _patched(self, node: str, patch: list[Json]) -> bool:
        """False where a test failed or a path has gone: the taints have moved."""
        try:
            changed = self._client.json(
                self._client.core.patch_node, node, patch, expect=(400, 404, 409, 422), _content_type=_JSON_PATCH
            )
        except ApiError:
            return False
        if self._nodes is not None:
            at, known = self._nodes
            self._nodes = at, tuple(_node(changed) if one.name == node else one for one in known)
        return True

    def issue_token(self, account: str, person: str, *, seconds: int) -> Token:
        return accounts.issue_token(self._client, account, person, seconds=seconds)

    def remove_accounts(self, *, account: str = "", person: str = "") -> None:
        accounts.remove_accounts(self._client, account=account, person=person)

    def device_classes(self) -> tuple[str, ...]:
        """v1 since Kubernetes 1.34; a cluster without the API answers 404 (kubernetes: pkg/apis/resource)."""
        found: list[str] = []
        for version in ("v1", "v1beta1"):
            listed = self._client.find(
                self._client.custom.list_cluster_custom_object, "resource.k8s.io", version, "deviceclasses"
            )
            found += [str(item["metadata"]["name"]) for item in (listed or {}).get("items") or []]
        return tuple(sorted(set(found)))

    def own_endpoint(self) -> OwnEndpoint:
        return accounts.own_endpoint(self._client)

    def _create_or_get(self, body: Json, create: Callable[..., Any], read: Callable[..., Any], request_id: str) -> None:
        name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
        try:
            self._client.json(create, namespace, body, expect=(409,))
        except ApiError:
            there = self._client.find(read, name, namespace)
        else:
            return
        if there is None or there["metadata"].get("deletionTimestamp"):
            raise Busy(f"{body['kind']} {name} is still being deleted.")
        if (there["metadata"].get("labels") or {}).get(LABEL_REQUEST) != request_id:
            raise Foreign(
                f"{body['kind']} {name} exists in namespace {namespace} and is not of this request.",
                "Delete it there if nobody needs it.",
            )

    def _log(self, namespace: str, pod: str, lines: int, **options: Any) -> str:
        """The end of a log; '' where there is none: the container is waiting (400), the pod is gone (404)."""
        read = self._client.core.read_namespaced_pod_log
        try:
            return self._client.text(read, pod, namespace, expect=(400, 404), tail_lines=lines, **options)
        except ApiError:
            return ""

    def _warnings(self, namespace: str) -> list[Json]:
        """Warnings of the namespace; none where events may not be read: they only add to what pods say."""
        with suppress(WorldError):
            return list(self._client.list(self._client.core.list_namespaced_event, namespace, field_selector=_WARNING))
        return []

    def _warnings_of_jobs(self, namespace: str, *further: str) -> dict[str, tuple[str, str]]:
        """(reason, message) of each Job's last warning, by its name: why it could not even make its pod."""
        those = ",".join(("involvedObject.kind=Job", _WARNING, *further))
        found = self._client.list(self._client.core.list_namespaced_event, namespace, field_selector=those)
        last: dict[str, tuple[str, str]] = {}
        for event in sorted(found, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
            job = str((event.get("involvedObject") or {}).get("name") or "")
            last[job] = str(event.get("reason") or ""), str(event.get("message") or "")
        return last


class KubeconfigCluster(KubeCluster):
    """Any cluster, by a kubeconfig file; `context` '' for its current one. Raises `Permanent` for one of no use."""

    def __init__(self, path: Path, context: str = "", *, clock: Clock, nodes_s: float = 2.0) -> None:
        self._use(Kubeconfig(path, context), clock, nodes_s)


def _node(node: Json) -> Node:
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    return Node(
        name=str(meta["name"]),
        uid=str(meta.get("uid") or ""),
        ready=_condition(status, "Ready").get("status") == "True",
        labels=dict(meta.get("labels") or {}),
        taints=tuple((t["key"], str(t.get("value") or ""), str(t["effect"])) for t in spec.get("taints") or []),
        gpus=int((status.get("allocatable") or {}).get(GPU_RESOURCE) or 0),
        gpu_capacity=int((status.get("capacity") or {}).get(GPU_RESOURCE) or 0),
        provider_id=str(spec.get("providerID") or ""),
    )


def _condition(status: Json, kind: str) -> Json:
    """The condition of that type, empty when there is none."""
    found: list[Json] = [c for c in status.get("conditions") or [] if c.get("type") == kind]
    return found[0] if found else {}


def _taint_keys(node: Json) -> list[str]:
    return [str(taint["key"]) for taint in (node.get("spec") or {}).get("taints") or []]


def _without_taint(keys: list[str], key: str) -> list[Json]:
    """JSON patch that takes off every taint of that key, the last first, so that the indexes stay right."""
    patch: list[Json] = []
    for index in reversed([i for i, found in enumerate(keys) if found == key]):
        patch.append({"op": "test", "path": f"/spec/taints/{index}/key", "value": key})
        patch.append({"op": "remove", "path": f"/spec/taints/{index}"})
    return patch


def _with_taint(node: Json, key: str) -> list[Json]:
    """JSON patch that puts the taint on; it fails when the node has changed since it was read."""
    taints = (node.get("spec") or {}).get("taints") or []
    if any(taint["key"] == key and taint.get("effect") == "NoSchedule" for taint in taints):
        return []
    taint = {"key": key, "value": "true", "effect": "NoSchedule"}
    change: Json = {"path": "/spec/taints/-", "value": taint} if taints else {"path": "/spec/taints", "value": [taint]}
    same = {"op": "test", "path": "/metadata/resourceVersion", "value": node["metadata"]["resourceVersion"]}
    return [same, {"op": "add", **change}]
