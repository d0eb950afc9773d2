"""What a control plane installs by itself: the manifest that Rancher puts on it, and the HelmCharts in it.

Sources: rancher/rancher: pkg/capr/planner (additionalManifest); k3s-io/k3s: pkg/deploy; k3s-io/helm-controller:
pkg/controllers/chart/chart.go (a Job helm-install-NAME in the chart's namespace, started anew until it comes true).
"""

from __future__ import annotations

from collections.abc import Callable

import yaml

from bot.sandbox.world.kube.downstream import Downstream
from bot.sandbox.world.kube.kinds import HELM_CHART, JOB
from bot.sandbox.world.kube.objects import ApiError, Change, Obj

_SECONDS = 30
"""How long Helm's pod works, in world seconds."""

Install = Callable[[Obj], bool]
"""Deploys what a HelmChart's spec says; False when its repository has no such chart."""


class HelmController:
    """Of one cluster."""

    def __init__(self, cluster: Downstream, install: Install) -> None:
        self._cluster = cluster
        self._install = install
        cluster.store.subscribe(self._changed)

    def deploy(self, manifest: str) -> None:
        """Apply the objects of a manifest, in their order; one that is refused is left out, and its event says so."""
        for obj in yaml.safe_load_all(manifest):
            if not isinstance(obj, dict):
                continue
            kind = next(
                (k for k in self._cluster.store.kinds if (k.api_version, k.name) == (obj["apiVersion"], obj["kind"])),
                None,
            )
            if kind is None:
                self._cluster.record("manifest-refused", f"no matches for kind {obj.get('kind')}")
                continue
            namespace = obj["metadata"].get("namespace", "") if kind.namespaced else ""
            try:
                self._cluster.store.create(kind, self._cluster.admit(kind, obj, namespace))
            except ApiError as refused:
                self._cluster.record("manifest-refused", refused.message)

    def _changed(self, change: Change) -> None:
        obj = change.obj
        if change.kind is HELM_CHART and change.type == "ADDED":
            self._start(obj)
        elif change.kind is JOB and change.type == "MODIFIED" and _complete(obj):
            name = obj["metadata"]["name"].removeprefix("helm-install-")
            chart = self._cluster.store.find(HELM_CHART, name, obj["metadata"]["namespace"])
            if chart is not None and not chart.get("status"):
                self._done(chart)

    def _start(self, chart: Obj) -> None:
        meta = chart["metadata"]
        container = {
            "name": "helm",
            "image": "rancher/klipper-helm:v0.9.10-build20251111",
            "command": ["sh", "-c", f"sleep {_SECONDS}"],
        }
        pod = {"restartPolicy": "OnFailure", "tolerations": [{"operator": "Exists"}], "containers": [container]}
        job = {
            "metadata": {"name": f"helm-install-{meta['name']}", "namespace": meta["namespace"]},
            "spec": {"backoffLimit": 1000, "template": {"spec": pod}},
        }
        self._cluster.store.create(JOB, self._cluster.admit(JOB, job, meta["namespace"]))

    def _done(self, chart: Obj) -> None:
        meta = chart["metadata"]
        deployed = self._install(chart["spec"] | {"release": meta["name"]})
        status = {"jobName": f"helm-install-{meta['name']}"}
        self._cluster.store.edit(HELM_CHART, meta["name"], meta["namespace"], lambda new: new.update(status=status))
        self._cluster.record("helm-chart" if deployed else "helm-chart-missing", meta["name"])


def _complete(job: Obj) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)
