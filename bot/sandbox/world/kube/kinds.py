"""The kinds of object that the simulated API servers know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One resource of an API server.

    ``graceful``: a deleted object stays, with its deletion timestamp, until a controller removes it.
    ``generation``: changes of the spec count in ``metadata.generation`` (nodes and pods have none, as in the
    real API). ``builtin``: part of Kubernetes, so it takes strategic merge patches.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    status: bool = True
    graceful: bool = False
    generation: bool = True
    builtin: bool = True

    @property
    def api_version(self) -> str:
        """``v1`` or ``group/version``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As error messages name it: ``pods`` or ``jobs.batch``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def steve(self) -> str:
        """Steve's name of the type: ``pod`` or ``batch.job``."""
        return f"{self.group}.{self.name.lower()}" if self.group else self.name.lower()

    @property
    def steve_plural(self) -> str:
        """The form used in Steve's URLs: ``pods`` or ``batch.jobs``."""
        return f"{self.group}.{self.plural}" if self.group else self.plural


def _core(plural: str, name: str, *, namespaced: bool = True, status: bool = False, graceful: bool = False) -> Kind:
    return Kind("", "v1", plural, name, namespaced, status, graceful, generation=False)


def _custom(
    group: str, version: str, plural: str, name: str, *, namespaced: bool = True, graceful: bool = False
) -> Kind:
    return Kind(group, version, plural, name, namespaced, graceful=graceful, builtin=False)


NAMESPACE = _core("namespaces", "Namespace", namespaced=False, status=True, graceful=True)
NODE = _core("nodes", "Node", namespaced=False, status=True)
POD = _core("pods", "Pod", status=True, graceful=True)
CONFIG_MAP = _core("configmaps", "ConfigMap")
SECRET = _core("secrets", "Secret")
SERVICE = _core("services", "Service", status=True)
ENDPOINTS = _core("endpoints", "Endpoints")
SERVICE_ACCOUNT = _core("serviceaccounts", "ServiceAccount")
EVENT = _core("events", "Event")
JOB = Kind("batch", "v1", "jobs", "Job")
DAEMON_SET = Kind("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
RUNTIME_CLASS = Kind(
    "node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False, status=False, generation=False
)
STORAGE_CLASS = Kind(
    "storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False, status=False, generation=False
)
_RBAC = "rbac.authorization.k8s.io"
ROLE = Kind(_RBAC, "v1", "roles", "Role", status=False, generation=False)
ROLE_BINDING = Kind(_RBAC, "v1", "rolebindings", "RoleBinding", status=False, generation=False)
CLUSTER_ROLE = Kind(_RBAC, "v1", "clusterroles", "ClusterRole", False, status=False, generation=False)
CLUSTER_ROLE_BINDING = Kind(
    _RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False, status=False, generation=False
)

CLUSTER_REPO = _custom("catalog.cattle.io", "v1", "clusterrepos", "ClusterRepo", namespaced=False)
OPERATION = _custom("catalog.cattle.io", "v1", "operations", "Operation")
APP = _custom("catalog.cattle.io", "v1", "apps", "App")
HELM_CHART = _custom("helm.cattle.io", "v1", "helmcharts", "HelmChart")
CLUSTER_POLICY = _custom("nvidia.com", "v1", "clusterpolicies", "ClusterPolicy", namespaced=False)

#: What a downstream cluster serves from the start.
DOWNSTREAM = (
    NAMESPACE,
    NODE,
    POD,
    CONFIG_MAP,
    SECRET,
    SERVICE,
    ENDPOINTS,
    SERVICE_ACCOUNT,
    EVENT,
    JOB,
    DAEMON_SET,
    DEPLOYMENT,
    RUNTIME_CLASS,
    STORAGE_CLASS,
    ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CLUSTER_REPO,
    OPERATION,
    APP,
    HELM_CHART,
)

PROVISIONING_CLUSTER = _custom("provisioning.cattle.io", "v1", "clusters", "Cluster", graceful=True)
MANAGEMENT_CLUSTER = _custom("management.cattle.io", "v3", "clusters", "Cluster", namespaced=False, graceful=True)
CLUSTER_PROXY_CONFIG = _custom("management.cattle.io", "v3", "clusterproxyconfigs", "ClusterProxyConfig")
MACHINE_CONFIG = _custom("rke-machine-config.cattle.io", "v1", "amazonec2configs", "Amazonec2Config")
INFRA_MACHINE = _custom("rke-machine.cattle.io", "v1", "amazonec2machines", "Amazonec2Machine", graceful=True)
CONTROL_PLANE = _custom("rke.cattle.io", "v1", "rkecontrolplanes", "RKEControlPlane")
MACHINE = _custom("cluster.x-k8s.io", "v1beta2", "machines", "Machine", graceful=True)
MACHINE_DEPLOYMENT = _custom("cluster.x-k8s.io", "v1beta2", "machinedeployments", "MachineDeployment")

#: What the management cluster serves.
MANAGEMENT = (
    PROVISIONING_CLUSTER,
    MANAGEMENT_CLUSTER,
    CLUSTER_PROXY_CONFIG,
    MACHINE_CONFIG,
    INFRA_MACHINE,
    CONTROL_PLANE,
    MACHINE,
    MACHINE_DEPLOYMENT,
    NAMESPACE,
    SECRET,
)
