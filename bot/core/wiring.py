"""What nodes need of the network around them, resolved once: proxy, own CA, mirrors of registries and charts.

One block of the configuration becomes one value of the envelope; each place it has to reach takes it from here:
agentEnvVars, cloud-init, the driver's environment, registries, cluster repos and the probe's image.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

POD_CIDR, SERVICE_CIDR = "10.42.0.0/16", "10.43.0.0/16"
"""The defaults of RKE2 and K3s (rancher/rke2-docs: docs/reference/server_config.md)."""

# Never through a proxy: the node itself, the metadata service, private addresses (nodes talk to each other on 9345 and
# 6443) and names within the cluster (rancher/rancher-docs: behind-http-proxy).
_NEVER_PROXIED = (
    "localhost",
    "127.0.0.0/8",
    "169.254.169.254",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "cattle-system.svc",
    ".svc",
    ".cluster.local",
)

CA_CONFIG_MAP = "gpu-cluster-ca"
"""In the operator's namespace: what the driver container trusts when it fetches kernel headers."""


@dataclass(frozen=True)
class Network:
    """The `[network]` block. `ca` is PEM text; `mirrors` pairs an upstream registry with the host (and path) instead.

    `registry_secret` is a Secret of fleet-default with which nodes log in at the mirrors; `pull_secrets` are Secrets
    inside the cluster, for the operator's and the probe's pods.
    """

    proxy: str = ""
    no_proxy: tuple[str, ...] = ()
    ca: str = ""
    mirrors: tuple[tuple[str, str], ...] = ()
    registry_secret: str = ""
    pull_secrets: tuple[str, ...] = ()
    chart_mirror: str = ""

    def environment(self, cidrs: tuple[str, ...] = (POD_CIDR, SERVICE_CIDR)) -> tuple[tuple[str, str], ...]:
        """The proxy's variables, none without a proxy. `cidrs` are those of pods and services."""
        if not self.proxy:
            return ()
        never = ",".join(dict.fromkeys((*_NEVER_PROXIED, *cidrs, *self.no_proxy)))
        return (("HTTP_PROXY", self.proxy), ("HTTPS_PROXY", self.proxy), ("NO_PROXY", never))

    @property
    def ca_base64(self) -> str:
        """The CA as Rancher's byte fields take it, '' without one."""
        return base64.b64encode(self.ca.encode()).decode()

    def mirrored(self, image: str) -> str:
        """An image as it is pulled: from the mirror of its registry, where there is one."""
        host, slash, rest = image.partition("/")
        own = slash and ("." in host or ":" in host or host == "localhost")
        host, rest = (host, rest) if own else ("docker.io", image if slash else f"library/{image}")
        mirrors = dict(self.mirrors)
        instead = mirrors.get(host) or mirrors.get("*")
        return f"{instead}/{rest}" if instead else image


DIRECT = Network()
"""Nothing in between."""


@dataclass(frozen=True)
class Addon:
    """A chart that a preset's clusters come with; `name` is its release. `values` is canonical JSON, for the hash."""

    name: str
    repo: str
    chart: str
    version: str
    namespace: str
    values: str = "{}"
