"""The same cluster for Terraform's rancher2 provider, thin: what its resources have arguments for.

Names of resources and arguments: rancher/terraform-provider-rancher2: docs/resources/{machine_config_v2,cluster_v2,
catalog_v2,app_v2}.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from bot.core.operator_values import CHART, NAMESPACE, RELEASE, REPO_NAME, operator_values, repo_url
from bot.core.secrets import without_secrets
from bot.core.spec import Envelope
from bot.core.steps.addons import repo_name
from bot.rancher import bodies

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Of a cluster's `rkeConfig`: nested blocks, and texts of YAML. Everything else the provider has no argument for.
_TEXTS = ("machineGlobalConfig", "chartValues")


@dataclass(frozen=True)
class Ref:
    """An expression, written as it stands."""

    expression: str


@dataclass(frozen=True)
class Block:
    """A nested block or, with labels, a resource. A value that is a list of blocks is repeated."""

    kind: str
    body: dict[str, Any]
    labels: tuple[str, ...] = ()


def terraform(envelope: Envelope, request_id: str) -> str:
    """HCL that `terraform validate` takes with the provider; notes where it says less than GitOps YAML."""
    head = (
        f"# {envelope.name}, as gpu-cluster made it for request {request_id}; without secrets. Machine configs get\n"
        "# names of the provider's own. What the provider has no argument for is in the YAML export only.\n\n"
        'terraform {\n  required_providers {\n    rancher2 = {\n      source = "rancher/rancher2"\n    }\n  }\n}\n'
    )
    return head + "".join(f"\n{_written(one, 0)}" for one in resources(envelope, request_id))


def resources(envelope: Envelope, request_id: str) -> Iterator[Block]:
    """Every resource, in an order that reads well."""
    for pool in envelope.pools:
        config = _plain(bodies.machine_config(envelope, pool, request_id))
        fields = {key: value for key, value in config.items() if key not in ("type", "apiVersion", "kind", "metadata")}
        body = {
            "generate_name": f"{envelope.name}-{pool.name}",
            "fleet_namespace": bodies.NAMESPACE,
            "labels": config["metadata"]["labels"],
            "amazonec2_config": [Block("amazonec2_config", {_snake(key): value for key, value in fields.items()})],
        }
        yield Block("resource", body, ("rancher2_machine_config_v2", pool.name))
    yield Block("resource", _cluster(envelope, request_id), ("rancher2_cluster_v2", "cluster"))
    yield from _apps(envelope)


def _cluster(envelope: Envelope, request_id: str) -> dict[str, Any]:
    whole = _plain(bodies.cluster(envelope, request_id))
    spec, metadata = whole["spec"], whole["metadata"]
    rke = spec["rkeConfig"]
    inner: dict[str, Any] = {
        _snake(key): yaml.safe_dump(rke[key], sort_keys=False, width=1000) for key in _TEXTS if rke.get(key)
    }
    if rke.get("additionalManifest"):
        inner["additional_manifest"] = rke["additionalManifest"]
    inner["machine_pools"] = [_pool(pool) for pool in rke["machinePools"]]
    if rke.get("registries"):
        inner["registries"] = [_registries(rke["registries"])]
    inner["upgrade_strategy"] = [_strategy(rke["upgradeStrategy"])]
    if etcd := {_snake(k): v for k, v in (rke.get("etcd") or {}).items() if k in _ETCD}:
        inner["etcd"] = [Block("etcd", etcd)]
    return {
        "name": envelope.name,
        "fleet_namespace": bodies.NAMESPACE,
        "kubernetes_version": envelope.kubernetes,
        "cloud_credential_secret_name": envelope.cloud_credential,
        "enable_network_policy": bool(spec.get("enableNetworkPolicy")),
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
        "agent_env_vars": [Block("agent_env_vars", dict(one)) for one in spec.get("agentEnvVars") or []],
        "rke_config": [Block("rke_config", inner)],
    }


_ETCD = ("disableSnapshots", "snapshotScheduleCron", "snapshotRetention")


def _pool(pool: dict[str, Any]) -> Block:
    config = f"rancher2_machine_config_v2.{pool['name']}"
    body: dict[str, Any] = {
        "name": pool["name"],
        "quantity": pool["quantity"],
        "control_plane_role": pool["controlPlaneRole"],
        "etcd_role": pool["etcdRole"],
        "worker_role": pool["workerRole"],
        "drain_before_delete": pool["drainBeforeDelete"],
        "machine_labels": pool["labels"],
        "machine_config": [Block("machine_config", {"kind": Ref(f"{config}.kind"), "name": Ref(f"{config}.name")})],
        "taints": [Block("taints", dict(taint)) for taint in pool.get("taints") or []],
    }
    if rolling := pool.get("rollingUpdate"):
        body["rolling_update"] = [Block("rolling_update", {_snake(k): str(v) for k, v in rolling.items()})]
    return Block("machine_pools", body)


def _strategy(strategy: dict[str, Any]) -> Block:
    body: dict[str, Any] = {}
    for key, value in strategy.items():
        if isinstance(value, dict):
            body[_snake(key)] = [Block(_snake(key), {_snake(inner): one for inner, one in value.items()})]
        else:
            body[_snake(key)] = value
    return Block("upgrade_strategy", body)


def _registries(registries: dict[str, Any]) -> Block:
    mirrors = [
        Block("mirrors", {"hostname": host, "endpoints": one.get("endpoint", []), "rewrites": one.get("rewrite", {})})
        for host, one in (registries.get("mirrors") or {}).items()
    ]
    names = {
        "authConfigSecretName": "auth_config_secret_name",
        "tlsSecretName": "tls_secret_name",
        "caBundle": "ca_bundle",
        "insecureSkipVerify": "insecure",
    }
    configs = [
        Block("configs", {"hostname": host, **{names[key]: value for key, value in one.items() if key in names}})
        for host, one in (registries.get("configs") or {}).items()
    ]
    return Block("registries", {"mirrors": mirrors, "configs": configs})


def _apps(envelope: Envelope) -> Iterator[Block]:
    """Repositories and releases of the new cluster."""
    by_catalog = envelope.operator_by == "catalog"
    cluster = Ref("rancher2_cluster_v2.cluster.cluster_v1_id")
    repos = {REPO_NAME: repo_url(envelope)} if by_catalog or envelope.catalog_everywhere else {}
    repos |= {repo_name(addon): addon.repo for addon in envelope.addons if repo_name(addon) not in repos}
    for name, url in repos.items():
        body = {"cluster_id": cluster, "name": name, "url": url}
        if envelope.network.ca:
            body["ca_bundle"] = envelope.network.ca_base64
        yield Block("resource", body, ("rancher2_catalog_v2", name))
    charts = (
        [(RELEASE, NAMESPACE, REPO_NAME, CHART, envelope.operator, operator_values(envelope))] if by_catalog else []
    )
    charts += [(a.name, a.namespace, repo_name(a), a.chart, a.version, json.loads(a.values)) for a in envelope.addons]
    for release, namespace, repo, chart, version, values in charts:
        body = {
            "cluster_id": cluster,
            "name": release,
            "namespace": namespace,
            "repo_name": Ref(f"rancher2_catalog_v2.{repo}.name"),
            "chart_name": chart,
            "chart_version": version,
            "values": yaml.safe_dump(without_secrets(values), sort_keys=False, width=1000),
        }
        yield Block("resource", body, ("rancher2_app_v2", release))


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    return dict(without_secrets(body))


def _snake(name: str) -> str:
    return _CAMEL.sub("_", name).lower()


# --- HCL --------------------------------------------------------------------------------------------------------


def _written(block: Block, depth: int) -> str:
    pad = "  " * depth
    labels = "".join(f' "{label}"' for label in block.labels)
    lines = [f"{pad}{block.kind}{labels} {{\n"]
    for key, value in block.body.items():
        if isinstance(value, list) and all(isinstance(one, Block) for one in value):
            lines += [_written(one, depth + 1) for one in value]
        elif value not in ({}, []):
            lines.append(f"{pad}  {key} = {_value(value, depth + 1)}\n")
    return "".join((*lines, f"{pad}}}\n"))


def _value(value: Any, depth: int) -> str:
    if isinstance(value, Ref):
        return value.expression
    if isinstance(value, dict):
        pad = "  " * depth
        pairs = "".join(f"{pad}  {_quoted(key)} = {_value(inner, depth + 1)}\n" for key, inner in value.items())
        return f"{{\n{pairs}{pad}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(one, depth) for one in value)}]"
    if isinstance(value, str) and "\n" in value:
        return f"<<EOT\n{_escaped(value)}{'' if value.endswith(chr(10)) else chr(10)}EOT"
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    """In a template ${ and %{ begin an expression."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _quoted(text: str) -> str:
    return _escaped(json.dumps(text, ensure_ascii=False))
