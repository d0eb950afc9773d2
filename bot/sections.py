"""Parts of gpu-cluster.toml that have much to check: pools, add-ons, the network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from bot.core.capacity.impossible import IMPOSSIBLE
from bot.core.secrets import has_password, secrets_in
from bot.core.spec import Taint
from bot.core.wiring import Addon, Network


class _Strict(BaseModel):
    """A table in which every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_LABEL = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
_TAINT = re.compile(r"(?P<key>[^=:\s]+)(=(?P<value>[^:\s]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")
# A kubelet may not give itself other labels of these domains, and does not start with them
# (kubernetes/kubernetes: staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go).
_RESERVED = re.compile(
    r"(?!(.*\.)?(kubelet|node)\.kubernetes\.io/)(.*\.)?(kubernetes|k8s)\.io/|gpu-cluster/|nvidia\.com/"
)
_KEY = Annotated[str, StringConstraints(pattern=_LABEL)]
_VALUE = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$")]


class PoolSection(_Strict):
    """`taints` are written key=value:Effect, as kubectl does."""

    instance_type: str
    root_gib: Annotated[int, Field(ge=8, le=16384)] = 60
    ami: str = ""
    spot: bool = False
    labels: dict[_KEY, _VALUE] = {}
    taints: list[str] = []

    @field_validator("labels")
    @classmethod
    def _labels_of_ours(cls, labels: dict[str, str]) -> dict[str, str]:
        if (key := next((key for key in labels if _RESERVED.match(key)), None)) is not None:
            raise ValueError(f"{key}: labels of that domain are not a preset's to give; choose a domain of your own")
        return labels

    @field_validator("taints")
    @classmethod
    def _taints_as_kubectl(cls, taints: list[str]) -> list[str]:
        for taint in taints:
            if (found := _TAINT.fullmatch(taint)) is None:
                raise ValueError(f"{taint} is no taint; write key=value:NoSchedule")
            if _RESERVED.match(found["key"]):
                raise ValueError(f"{found['key']}: taints of that domain are set by the bot or by Kubernetes")
        return taints

    def wishes(self) -> dict[str, Any]:
        """What a pool may say beside its size, as `PoolSpec` takes it."""
        found = [match for taint in self.taints if (match := _TAINT.fullmatch(taint))]
        return {
            "root_gib": self.root_gib,
            "ami": self.ami,
            "spot": self.spot,
            "labels": tuple(self.labels.items()),
            "taints": tuple(Taint(match["key"], match["value"] or "", match["effect"]) for match in found),
        }

    @model_validator(mode="before")
    @classmethod
    def _possible(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and (asked := next((key for key in raw if key in IMPOSSIBLE), None)) is not None:
            raise ValueError(f"{asked} is impossible: {IMPOSSIBLE[asked]}")
        return raw


class CountedPoolSection(PoolSection):
    count: Annotated[int, Field(ge=1, le=100)] = 1


class GpuPoolSection(PoolSection):
    """`alternatives`: types that may stand in, in this order, where the first has no capacity."""

    alternatives: list[str] = []


class AddonSection(_Strict):
    """A chart that the preset's clusters come with; `name` is its release and, without `chart`, the chart, too."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$")]
    repo: Annotated[str, StringConstraints(pattern=r"^(https?|oci)://[^\s@]+$")]
    chart: str = ""
    version: Annotated[str, StringConstraints(pattern=r"^v?\d\S*$")]
    namespace: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "kube-system"
    values: dict[str, Any] = {}

    @field_validator("values")
    @classmethod
    def _no_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        if (path := next(secrets_in(values), None)) is not None:
            raise ValueError(f"{path} looks like a secret, and values are shown and exported; name a Secret instead")
        return values

    def addon(self) -> Addon:
        """As the core knows it."""
        values = json.dumps(self.values, sort_keys=True, separators=(",", ":"), default=str)
        return Addon(self.name, self.repo, self.chart or self.name, self.version, self.namespace, values)


_HOST_PATH = Annotated[str, StringConstraints(pattern=r"^[^\s/@]+(/[^\s/]+)*$")]
_MAX_CA = 8 * 1024
"""EC2 takes 16 KB of user data, Rancher's bootstrap and ours included; the CA is a part of it."""


class NetworkSection(_Strict):
    """What nodes need of the network around them; it reaches every place that has to know.

    `mirrors` pairs an upstream registry (or `*`) with the host, and path, that takes its place.
    """

    proxy: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s/]+/?)?$")] = ""
    no_proxy: list[Annotated[str, StringConstraints(pattern=r"^[^\s,]+$")]] = []
    ca: str = ""
    mirrors: dict[Annotated[str, StringConstraints(pattern=r"^(\*|[^\s/@]+)$")], _HOST_PATH] = {}
    registry_secret: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]*$")] = ""
    pull_secrets: list[str] = []
    chart_mirror: Annotated[str, StringConstraints(pattern=r"^((https?|oci)://[^\s@]+)?$")] = ""

    @model_validator(mode="after")
    def _go_together(self) -> NetworkSection:
        if has_password(self.proxy):
            raise ValueError("proxy: a password in it would stand in Rancher, in EC2's user data and on every node")
        if self.no_proxy and not self.proxy:
            raise ValueError("no_proxy needs a proxy")
        if self.registry_secret and not self.mirrors:
            raise ValueError("registry_secret is the login at a mirror: name it under mirrors")
        return self

    def network(self, folder: Path) -> Network:
        """As the core knows it; raises ValueError for a CA that will not do. `folder` is where `ca` is looked for."""
        return Network(
            proxy=self.proxy.rstrip("/"),
            no_proxy=tuple(self.no_proxy),
            ca=_pem(folder / self.ca) if self.ca else "",
            mirrors=tuple(self.mirrors.items()),
            registry_secret=self.registry_secret,
            pull_secrets=tuple(self.pull_secrets),
            chart_mirror=self.chart_mirror,
        )


def _pem(path: Path) -> str:
    """The text of a CA bundle. Raises ValueError."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: it cannot be read ({error})") from None
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ValueError(f"{path}: it holds no certificate in PEM form")
    if "PRIVATE KEY" in text:
        raise ValueError(f"{path}: it holds a private key; name the certificates alone")
    if len(text) > _MAX_CA:
        raise ValueError(f"{path}: {len(text)} bytes, {_MAX_CA} at most: name your own CA alone, not the whole bundle")
    return text
