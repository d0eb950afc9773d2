"""Helm through Rancher: the catalog API of a downstream cluster.

Evidence: rancher/rancher: pkg/catalogv2, pkg/api/steve/catalog, pkg/controllers/dashboard/helm.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from bot.core.ports import AppView, ChartOrder, Clock, Permanent, Release, RepoView, Temporary
from bot.rancher import bodies, views
from bot.rancher.client import MERGE_PATCH, RancherClient

_AGAIN_S = 30.0
"""A failed download is asked for again at most this often (world seconds)."""

_LOG_LINES = 200


class Catalog:
    """Cluster repos, operations and apps of the clusters behind one Rancher."""

    def __init__(self, client: RancherClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    def ensure_repo(self, management_id: str, name: str, url: str, request_id: str, ca: str = "") -> RepoView:
        """Create the repo or look at it; raises `Permanent` when one of that name points elsewhere."""
        path = f"{_steve(management_id)}/catalog.cattle.io.clusterrepos"
        repo = self._client.find(f"{path}/{name}")
        if repo is None:
            answer = self._client.ask(
                "POST", path, body=bodies.cluster_repo(name, url, request_id, ca), accept=(404, 409)
            )
            if answer.status == 404:
                raise Temporary("The cluster has no catalog yet.", "It comes with the cluster agent.")
            if answer.status == 409:
                raise Temporary(f"The cluster repo {name} was being made by somebody else.")
            return views.repo_view(answer.json())
        there = (repo.get("spec") or {}).get("url")
        if there != url:
            raise Permanent(
                f"The cluster has a repo {name} that points to {there}, not to {url}.",
                "Delete or rename that repo in Rancher (Apps → Repositories).",
            )
        if views.repo_failed(repo) and self._due(repo):
            now = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._client.ask(
                "PATCH", f"{path}/{name}", body={"spec": {"forceUpdate": now}}, content_type=MERGE_PATCH, accept=(409,)
            )
        return views.repo_view(repo)

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]:
        """Versions in the repo's index that fit this cluster, in the index's order (newest first)."""
        index = self._client.get(
            f"{_steve(management_id)}/catalog.cattle.io.clusterrepos/{repo}", params={"link": "index"}
        )
        return tuple(str(entry["version"]) for entry in (index.get("entries") or {}).get(chart) or [])

    def install(self, management_id: str, order: ChartOrder) -> str:
        """Start `helm upgrade --install`; returns the operation's name."""
        path = f"{_steve(management_id)}/catalog.cattle.io.clusterrepos/{order.repo}"
        body = bodies.chart_action(order)
        answer = self._client.ask("POST", path, params={"action": "upgrade"}, body=body, accept=(404,))
        if answer.error is not None:  # for a while after the cluster was made, though the index had it (rancher 29002)
            raise Temporary(f"Rancher does not find {order.chart} {order.version} yet: {answer.error.message}")
        return str(answer.json().get("operationName") or "")

    def operation_log(self, management_id: str, namespace: str, operation: str) -> str:
        """The end of Helm's output; '' when operation or pod is gone. The pod bears the operation's name."""
        if not operation:
            return ""
        found = self._client.find(f"{_steve(management_id)}/catalog.cattle.io.operations/{namespace}/{operation}")
        status: dict[str, Any] = (found or {}).get("status") or {}
        pod, pod_namespace = status.get("podName") or operation, status.get("podNamespace") or "cattle-system"
        answer = self._client.ask(
            "GET",
            f"/k8s/clusters/{management_id}/api/v1/namespaces/{pod_namespace}/pods/{pod}/log",
            params={"container": "helm", "tailLines": _LOG_LINES},
            accept=(400, 404),
        )
        return "" if answer.error else answer.text

    def app(self, management_id: str, namespace: str, release: str) -> AppView | None:
        found = self._client.find(f"{_steve(management_id)}/catalog.cattle.io.apps/{namespace}/{release}")
        return None if found is None else views.app_view(found)

    def releases(self, management_id: str) -> tuple[Release, ...]:
        return tuple(
            views.release_of(app) for app in self._client.list(f"{_steve(management_id)}/catalog.cattle.io.apps")
        )

    def _due(self, repo: views.Json) -> bool:
        """Whether the last try, whose time Rancher keeps for us, is long enough ago."""
        last = (repo.get("spec") or {}).get("forceUpdate") or repo["metadata"].get("creationTimestamp")
        return not last or self._clock.now() - datetime.fromisoformat(last).timestamp() >= _AGAIN_S


def _steve(management_id: str) -> str:
    return f"/k8s/clusters/{management_id}/v1"
