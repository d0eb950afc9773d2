"""What is sent to Rancher: JSON bodies made of an envelope.

Fields and their types: rancher/machine: drivers/amazonec2/amazonec2.go (flags; an int flag is a string here);
rancher/rancher: pkg/apis/provisioning.cattle.io/v1/cluster_types.go and pkg/apis/rke.cattle.io/v1.
"""

from __future__ import annotations

import json
from typing import Any

from bot.core.ports import ChartOrder
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_PERSON, LABEL_POOL, LABEL_REQUEST, Envelope, Pool
from bot.rancher.cloud_init import userdata
from bot.rancher.manifest import additional_manifest
from bot.rancher.registries import registries

NAMESPACE = "fleet-default"

# Pods that ask for nvidia.com/gpu then pass the taint of that key without a toleration of their own.
_ADMISSION_FLAG = "enable-admission-plugins="
_ADMISSION = ("NodeRestriction", "ExtendedResourceToleration")


def labels(envelope: Envelope, request_id: str) -> dict[str, str]:
    """The labels of every object of ours, by which it is known again."""
    return {LABEL_MANAGED: "true", LABEL_REQUEST: request_id, LABEL_CLUSTER: envelope.name}


def machine_config_name(cluster: str, pool: str) -> str:
    return f"nc-{cluster}-{pool}"


def machine_config(envelope: Envelope, pool: Pool, request_id: str) -> dict[str, Any]:
    """An Amazonec2Config. Its fields stand at the top: there is no `spec`."""
    ours = labels(envelope, request_id)
    body: dict[str, Any] = {
        "type": "rke-machine-config.cattle.io.amazonec2config",
        "apiVersion": "rke-machine-config.cattle.io/v1",
        "kind": "Amazonec2Config",
        "metadata": {
            "namespace": NAMESPACE,
            "name": machine_config_name(envelope.name, pool.name),
            "labels": ours,
        },
        "region": envelope.region,
        "zone": pool.zone,
        "subnetId": pool.subnet,
        "ami": pool.ami,
        "sshUser": envelope.ssh_user,
        "instanceType": pool.instance_type,
        "rootSize": str(pool.root_gib),
        "volumeType": "gp3",
        "encryptEbsVolume": True,
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "tags": ",".join(word for pair in ours.items() for word in pair),
        "userdata": userdata(envelope),
    }
    if envelope.vpc:
        body["vpcId"] = envelope.vpc
    if envelope.security_group:
        body |= {"securityGroup": [envelope.security_group], "securityGroupReadonly": True}
    return body | _wishes(envelope, pool)


def _wishes(envelope: Envelope, pool: Pool) -> dict[str, Any]:
    """What is sent only where it was asked for: a field that is absent keeps the driver's default."""
    body: dict[str, Any] = {}
    if envelope.kms_key:
        body["kmsKey"] = envelope.kms_key
    if envelope.instance_profile:
        body["iamInstanceProfile"] = envelope.instance_profile
    if envelope.private:
        body |= {"privateAddressOnly": True, "usePrivateAddress": True}
    if pool.spot_price:
        # Without a bid the driver's own of half a dollar holds, for which no GPU machine ever starts.
        body |= {"requestSpotInstance": True, "spotPrice": pool.spot_price}
    return body


def cluster(envelope: Envelope, request_id: str) -> dict[str, Any]:
    """The provisioning cluster: a machine pool for each of the envelope's, the rest by base file or default."""
    base: dict[str, Any] = json.loads(envelope.base or "{}")
    description = {"field.cattle.io/description": f"Made by gpu-cluster for team {envelope.team}"}
    return {
        "type": "provisioning.cattle.io.cluster",
        "apiVersion": "provisioning.cattle.io/v1",
        "kind": "Cluster",
        "metadata": {
            "namespace": NAMESPACE,
            "name": envelope.name,
            "labels": {**base.get("labels", {}), **labels(envelope, request_id)},
            "annotations": {**description, **base.get("annotations", {})},
        },
        "spec": _spec(envelope, request_id, base.get("spec") or _default_spec()),
    }


def _default_spec() -> dict[str, Any]:
    return {
        "localClusterAuthEndpoint": {"enabled": False},
        "defaultPodSecurityAdmissionConfigurationTemplateName": "",
        "enableNetworkPolicy": False,
        "rkeConfig": {
            "machineGlobalConfig": {"cni": "calico", "disable-kube-proxy": False, "etcd-expose-metrics": False},
            "etcd": {"disableSnapshots": False, "snapshotScheduleCron": "0 */5 * * *", "snapshotRetention": 5},
        },
    }


def _spec(envelope: Envelope, request_id: str, base: dict[str, Any]) -> dict[str, Any]:
    rke = dict(base["rkeConfig"])
    rke["machineGlobalConfig"] = _global_config(envelope, rke.get("machineGlobalConfig") or {})
    if envelope.distribution == "k3s" and "chartValues" in rke:  # keyed by RKE2's own charts
        rke["chartValues"] = {k: v for k, v in (rke["chartValues"] or {}).items() if not k.startswith("rke2-")}
    rke.setdefault("upgradeStrategy", _UPGRADE_STRATEGY)
    for key, value in (
        ("additionalManifest", additional_manifest(envelope, request_id, rke.get("additionalManifest") or "")),
        ("registries", registries(envelope.network, rke.get("registries") or {})),
    ):
        if value:
            rke[key] = value
    rke["machinePools"] = [machine_pool(envelope, pool) for pool in envelope.pools]
    spec = {
        **base,
        "cloudCredentialSecretName": envelope.cloud_credential,
        "kubernetesVersion": envelope.kubernetes,
        "rkeConfig": rke,
    }
    if environment := envelope.network.environment(envelope.cidrs):
        own = [one for one in base.get("agentEnvVars") or [] if one.get("name") not in dict(environment)]
        spec["agentEnvVars"] = [*own, *({"name": name, "value": value} for name, value in environment)]
    return spec


def _global_config(envelope: Envelope, base: dict[str, Any]) -> dict[str, Any]:
    """K3s brings flannel and knows no `cni`. What the base says of admission plugins stays, ours are added."""
    config = {key: value for key, value in base.items() if key != "cni" or envelope.distribution == "rke2"}
    said = config.get("kube-apiserver-arg") or []
    arguments = [said] if isinstance(said, str) else list(said)
    plugins = [a.removeprefix(_ADMISSION_FLAG) for a in arguments if a.startswith(_ADMISSION_FLAG)]
    wanted = dict.fromkeys((*(name for one in plugins for name in one.split(",")), *_ADMISSION))
    others = [a for a in arguments if not a.startswith(_ADMISSION_FLAG)]
    return {**config, "kube-apiserver-arg": [*others, _ADMISSION_FLAG + ",".join(wanted)]}


def machine_pool(envelope: Envelope, pool: Pool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": pool.name,
        "displayName": pool.name,
        "quantity": pool.count,
        "etcdRole": pool.control_plane,
        "controlPlaneRole": pool.control_plane,
        "workerRole": pool.worker,
        "drainBeforeDelete": True,
        "drainBeforeDeleteTimeout": "10m",
        "unhealthyNodeTimeout": "0m",
        "labels": {LABEL_POOL: pool.name, **dict(pool.labels)},
        "machineConfigRef": {"kind": "Amazonec2Config", "name": machine_config_name(envelope.name, pool.name)},
    }
    if pool.taints:
        body["taints"] = [{"key": t.key, "value": t.value, "effect": t.effect} for t in pool.taints]
    if pool.gpu:
        # A GPU machine more than was ordered may not be had, and costs: replace one by one, never surge.
        body["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0}
    return body


def _drain(*, enabled: bool, timeout_s: int) -> dict[str, Any]:
    """Drain options; the webhook wants all eight."""
    return {
        "enabled": enabled,
        "force": False,
        "ignoreDaemonSets": True,
        "deleteEmptyDirData": True,
        "disableEviction": False,
        "gracePeriod": -1,
        "timeout": timeout_s,
        "skipWaitForDeleteTimeoutSeconds": 0,
    }


_UPGRADE_STRATEGY = {
    "controlPlaneConcurrency": "1",
    "workerConcurrency": "1",
    "controlPlaneDrainOptions": _drain(enabled=False, timeout_s=120),
    "workerDrainOptions": _drain(enabled=True, timeout_s=300),
}


def cluster_repo(name: str, url: str, request_id: str, ca: str = "") -> dict[str, Any]:
    """A ClusterRepo; `ca` is the base64 of a PEM bundle."""
    return {
        "type": "catalog.cattle.io.clusterrepo",
        "metadata": {"name": name, "labels": {LABEL_MANAGED: "true", LABEL_REQUEST: request_id}},
        "spec": {"url": url, **({"caBundle": ca} if ca else {})},
    }


def chart_action(order: ChartOrder) -> dict[str, Any]:
    """Body of install-or-upgrade of one chart (rancher/rancher: pkg/catalogv2/helmop/operation.go)."""
    body: dict[str, Any] = {
        "namespace": order.namespace,
        "wait": False,
        "timeout": "1200s",
        "noHooks": False,
        "disableOpenAPIValidation": False,
        "charts": [
            {
                "chartName": order.chart,
                "version": order.version,
                "releaseName": order.release,
                "annotations": {
                    "catalog.cattle.io/ui-source-repo": order.repo,
                    "catalog.cattle.io/ui-source-repo-type": "cluster",
                },
                "values": dict(order.values),
            }
        ],
    }
    if order.project:
        body["projectId"] = order.project
    return body


def is_group(principal: str) -> bool:
    """Whether a principal is a group's, as `okta_group://…` or `github_team://…` (rancher/rancher:
    pkg/auth/providers/*: the provider's name and the kind, before ://)."""
    return principal.partition("://")[0].endswith(("_group", "_org", "_team"))


def role_binding(management_id: str, principal: str, role: str, person: str = "") -> dict[str, Any]:
    """A ClusterRoleTemplateBinding; its labels say that it is ours, and for whom."""
    kind = "groupPrincipalId" if is_group(principal) else "userPrincipalId"
    return {
        "type": "clusterRoleTemplateBinding",
        "clusterId": management_id,
        "roleTemplateId": role,
        kind: principal,
        "labels": {LABEL_MANAGED: "true", **({LABEL_PERSON: person} if person else {})},
    }


def proxy_config(management_id: str) -> dict[str, Any]:
    """JWT Authentication of one cluster, on. `enabled` stands at the top: there is no `spec` (rancher/rancher:
    pkg/apis/management.cattle.io/v3/clusterproxyconfig_types.go)."""
    return {
        "type": "management.cattle.io.clusterproxyconfig",
        "metadata": {"name": "clusterproxyconfig", "namespace": management_id},
        "enabled": True,
    }
