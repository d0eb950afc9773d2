"""What is sent to Rancher: JSON bodies made of an envelope.

Fields and their types: rancher/machine: drivers/amazonec2/amazonec2.go (flags; an int flag is a string here);
rancher/rancher: pkg/apis/provisioning.cattle.io/v1/cluster_types.go and pkg/apis/rke.cattle.io/v1.
"""

from __future__ import annotations

from typing import Any

from bot.core.ports import ChartOrder
from bot.core.spec import LABEL_CLUSTER, LABEL_MANAGED, LABEL_POOL, LABEL_REQUEST, Envelope, Pool

NAMESPACE = "fleet-default"

# A kernel or driver package that changes under a loaded NVIDIA module breaks the node (Driver/library version
# mismatch), and a new kernel may have no headers for the driver container to build against.
USERDATA = """#cloud-config
write_files:
  - path: /etc/apt/apt.conf.d/99-gpu-cluster
    permissions: "0644"
    content: |
      APT::Periodic::Enable "0";
      APT::Periodic::Update-Package-Lists "0";
      APT::Periodic::Unattended-Upgrade "0";
runcmd:
  - systemctl disable --now unattended-upgrades.service apt-daily.timer apt-daily-upgrade.timer || true
  - >-
    command -v apt-mark >/dev/null &&
    dpkg-query -W -f='${db:Status-Abbrev} ${Package}\\n' 'linux-image*' 'linux-headers*' 'linux-modules*' 'linux-aws*' |
    awk '$1 == "ii" {print $2}' | xargs -r apt-mark hold || true
"""

# Pods that ask for nvidia.com/gpu then pass the taint of that key without a toleration of their own.
_ADMISSION = "enable-admission-plugins=NodeRestriction,ExtendedResourceToleration"


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
        "userdata": USERDATA,
    }
    if envelope.vpc:
        body["vpcId"] = envelope.vpc
    if envelope.security_group:
        body |= {"securityGroup": [envelope.security_group], "securityGroupReadonly": True}
    return body


def cluster(envelope: Envelope, request_id: str) -> dict[str, Any]:
    """The provisioning cluster: RKE2 with one machine pool for each of the envelope's."""
    return {
        "type": "provisioning.cattle.io.cluster",
        "apiVersion": "provisioning.cattle.io/v1",
        "kind": "Cluster",
        "metadata": {
            "namespace": NAMESPACE,
            "name": envelope.name,
            "labels": labels(envelope, request_id),
            "annotations": {"field.cattle.io/description": f"Made by gpu-cluster for team {envelope.team}"},
        },
        "spec": {
            "cloudCredentialSecretName": envelope.cloud_credential,
            "kubernetesVersion": envelope.kubernetes,
            "localClusterAuthEndpoint": {"enabled": False},
            "defaultPodSecurityAdmissionConfigurationTemplateName": "",
            "enableNetworkPolicy": False,
            "rkeConfig": {
                "machineGlobalConfig": {
                    "cni": "calico",
                    "disable-kube-proxy": False,
                    "etcd-expose-metrics": False,
                    "kube-apiserver-arg": [_ADMISSION],
                },
                "etcd": {"disableSnapshots": False, "snapshotScheduleCron": "0 */5 * * *", "snapshotRetention": 5},
                "upgradeStrategy": {
                    "controlPlaneConcurrency": "1",
                    "workerConcurrency": "1",
                    "controlPlaneDrainOptions": _drain(enabled=False, timeout_s=120),
                    "workerDrainOptions": _drain(enabled=True, timeout_s=300),
                },
                "machinePools": [machine_pool(envelope, pool) for pool in envelope.pools],
            },
        },
    }


def machine_pool(envelope: Envelope, pool: Pool) -> dict[str, Any]:
    """A machine pool of the provisioning cluster."""
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


def cluster_repo(name: str, url: str, request_id: str) -> dict[str, Any]:
    return {
        "type": "catalog.cattle.io.clusterrepo",
        "metadata": {"name": name, "labels": {LABEL_MANAGED: "true", LABEL_REQUEST: request_id}},
        "spec": {"url": url},
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


def role_binding(management_id: str, principal: str, role: str) -> dict[str, Any]:
    """A ClusterRoleTemplateBinding; group principals look like `okta_group://…`."""
    kind = "groupPrincipalId" if "_group://" in principal else "userPrincipalId"
    return {
        "type": "clusterRoleTemplateBinding",
        "clusterId": management_id,
        "roleTemplateId": role,
        kind: principal,
    }
