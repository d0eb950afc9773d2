"""A cluster as files for a repository: what the bot sends to Rancher, written down. Secrets are left out.

GitOps: the objects of Rancher's own cluster, then those of the new one. Applied, they are what the bot would make.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from bot.core.operator_values import REPO_NAME, repo_url
from bot.core.secrets import without_secrets
from bot.core.spec import Envelope
from bot.core.steps.addons import repo_name
from bot.core.wiring import Addon
from bot.rancher import bodies
from bot.rancher.manifest import helm_chart, operator_namespace

_HEAD = """# {name}, as gpu-cluster made it for request {request}. There are no secrets in here:
# Rancher's cloud credential {credential} must exist where this is applied{logins}.
# Delete labels and tags of gpu-cluster/ where this is to be a cluster of its own: with them the bot takes it for its.
"""


def gitops(envelope: Envelope, request_id: str) -> str:
    """YAML of several documents, in the order in which they are applied."""
    logins = f", and the Secret fleet-default/{envelope.network.registry_secret}"
    head = _HEAD.format(
        name=envelope.name,
        request=request_id,
        credential=envelope.cloud_credential,
        logins=logins if envelope.network.registry_secret else "",
    )
    parts = [_dumped(one, "") for one in on_rancher(envelope, request_id)]
    inside = [_dumped(one, "In the new cluster") for one in in_the_cluster(envelope, request_id)]
    return head + "".join(f"---\n{part}" for part in (*parts, *inside))


def on_rancher(envelope: Envelope, request_id: str) -> Iterator[dict[str, Any]]:
    """Machine configs, then the cluster that refers to them."""
    for pool in envelope.pools:
        yield without_secrets(_plain(bodies.machine_config(envelope, pool, request_id)))
    yield without_secrets(_plain(bodies.cluster(envelope, request_id)))


def in_the_cluster(envelope: Envelope, request_id: str) -> Iterator[dict[str, Any]]:
    """Repositories, the operator where no manifest of the cluster itself brings it, and add-ons, as HelmCharts."""
    network = envelope.network
    by_catalog = envelope.operator_by == "catalog"
    repos = {REPO_NAME: repo_url(envelope)} if by_catalog or envelope.catalog_everywhere else {}
    repos |= {repo_name(addon): addon.repo for addon in envelope.addons if repo_name(addon) not in repos}
    for name, url in repos.items():
        repo = bodies.cluster_repo(name, url, request_id, network.ca_base64)
        yield {"apiVersion": "catalog.cattle.io/v1", "kind": "ClusterRepo", **_plain(repo)}
    if by_catalog:
        yield operator_namespace(request_id)
        yield without_secrets(helm_chart(envelope))
    for addon in envelope.addons:
        yield without_secrets(_addon_chart(addon, envelope))


def _addon_chart(addon: Addon, envelope: Envelope) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "repo": addon.repo,
        "chart": addon.chart,
        "version": addon.version,
        "targetNamespace": addon.namespace,
        "createNamespace": True,
        "valuesContent": yaml.safe_dump(without_secrets(json.loads(addon.values)), sort_keys=False),
    }
    if envelope.network.ca:
        spec["repoCA"] = envelope.network.ca
    return {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChart",
        "metadata": {"name": addon.name, "namespace": "kube-system"},
        "spec": spec,
    }


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    """Without Steve's own `type`, which kubectl does not know."""
    return {key: value for key, value in body.items() if key != "type"}


class _Readable(yaml.SafeDumper):
    """Texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.nodes.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Readable.add_representer(str, _text)


def _dumped(one: dict[str, Any], where: str) -> str:
    text: str = yaml.dump(one, Dumper=_Readable, sort_keys=False, width=1000)
    return f"# {where}\n{text}" if where else text
