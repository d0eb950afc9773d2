"""Where nodes pull images from: `spec.rkeConfig.registries` (rancher/rancher: pkg/apis/rke.cattle.io/v1/config.go)."""

from __future__ import annotations

from typing import Any

from bot.core.wiring import Network


def registries(network: Network, base: dict[str, Any]) -> dict[str, Any]:
    """The base's own registries with the network's mirrors over them; empty where there are none.

    A mirror with a path (host/path) is an endpoint with a rewrite: containerd puts the image's name behind the host.
    """
    mirrors, configs = dict(base.get("mirrors") or {}), dict(base.get("configs") or {})
    for upstream, instead in network.mirrors:
        host, _, path = instead.partition("/")
        mirror: dict[str, Any] = {"endpoint": [f"https://{host}"]}
        if path:
            mirror["rewrite"] = {"^(.*)$": f"{path}/$1"}
        mirrors[upstream] = mirror
        if login := _login(network):
            configs[host] = {**configs.get(host, {}), **login}
    return {**({"mirrors": mirrors} if mirrors else {}), **({"configs": configs} if configs else {})}


def _login(network: Network) -> dict[str, Any]:
    """How a mirror is trusted and logged in to."""
    login: dict[str, Any] = {}
    if network.registry_secret:
        login["authConfigSecretName"] = network.registry_secret
    if network.ca:
        login["caBundle"] = network.ca_base64
    return login
