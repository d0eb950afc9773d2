"""The two ways to a cluster's API: through Rancher's proxy, or by a kubeconfig file. What to say when it is shut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml
from kubernetes import client, config

from bot.core.bot_token import BotToken
from bot.core.ports import Permanent, Temporary, WorldError


@dataclass(frozen=True)
class Remedies:
    """What a person can do, by what went wrong on the way."""

    unauthorized: str
    forbidden: str
    not_json: str
    not_trusted: str
    unreachable: str


_RANCHER = Remedies(
    unauthorized="The cluster is not ready for the bot yet, or the bot's token is no longer valid.",
    forbidden="The bot's user must be owner of this cluster in Rancher.",
    not_json="RANCHER_URL must be Rancher itself.",
    not_trusted="Rancher with a private CA: point RANCHER_CA_BUNDLE to its certificate (PEM).",
    unreachable="Check the network between the bot and Rancher, and between Rancher and the cluster's agent.",
)
_KUBECONFIG = Remedies(
    unauthorized="The kubeconfig's credentials are not accepted: see whether kubectl get nodes works with it.",
    forbidden="The kubeconfig's user must be able to read nodes and pods and to make a namespace and Jobs.",
    not_json="The kubeconfig's server must be a Kubernetes API server.",
    not_trusted="The kubeconfig must hold the certificate authority of its server.",
    unreachable="See whether kubectl get nodes works with the same kubeconfig and context.",
)


class Access(Protocol):
    """A way in. `renew` brings the configuration's credentials up to date, and says whether they changed;
    `unauthorized` is the error that a 401 in these words is."""

    configuration: client.Configuration
    remedies: Remedies

    def renew(self) -> bool: ...
    def unauthorized(self, said: str) -> WorldError: ...


class RancherProxy:
    """RANCHER_URL/k8s/clusters/<management id>, with a token of Rancher. Raises `Refused` for what is no token."""

    remedies = _RANCHER

    def __init__(self, rancher_url: str, token: BotToken, management_id: str, ca_bundle: str | None) -> None:
        self._token = token
        self.configuration = client.Configuration(
            host=f"{rancher_url.rstrip('/')}/k8s/clusters/{management_id}",
            api_key={"BearerToken": token.current()},
            api_key_prefix={"BearerToken": "Bearer"},
            ssl_ca_cert=ca_bundle,
            connection_pool_maxsize=8,
        )
        # Called by the client before every request.
        self.configuration.refresh_api_key_hook = self._bring_up_to_date  # type: ignore[assignment]

    def renew(self) -> bool:
        return self._token.replaced(str(self.configuration.api_key["BearerToken"]))

    def unauthorized(self, said: str) -> WorldError:
        """Rancher gives 401 also, empty, while it does not know the cluster yet (rancher/rancher:
        pkg/api/steve/proxy/proxy.go)."""
        return self._token.refusal() or Temporary(said, self.remedies.unauthorized)

    def _bring_up_to_date(self, configuration: client.Configuration) -> None:
        configuration.api_key["BearerToken"] = self._token.current()


class Kubeconfig:
    """A kubeconfig file, as kubectl reads it; `context` '' for its current one.

    Raises `Permanent` when the file or the context is not there or cannot be used.
    """

    remedies = _KUBECONFIG

    def __init__(self, path: Path, context: str) -> None:
        self.configuration = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(path), context=context or None, client_configuration=self.configuration
            )
        except (config.ConfigException, yaml.YAMLError, OSError, ValueError, KeyError, TypeError) as error:
            raise Permanent(f"{path} cannot be used as a kubeconfig: {error}", self.remedies.unreachable) from error

    def renew(self) -> bool:
        """The client renews what a kubeconfig can renew (exec plugins) by itself."""
        return False

    def unauthorized(self, said: str) -> WorldError:
        return Temporary(said, self.remedies.unauthorized)
