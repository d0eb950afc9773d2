"""Service accounts for people, inside of one cluster, and their tokens. All are in a namespace of ours.

Each account has a binding of its own to one ClusterRole, whose rules are those of the shipped Rancher role.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import datetime
from importlib import resources
from typing import Any

import yaml
from kubernetes import client

from bot.core.ports import OwnEndpoint, Permanent, Temporary, Token
from bot.core.spec import LABEL_MANAGED, LABEL_PERSON
from bot.kube.client import ApiError, Json, KubeClient
from bot.kube.namespaces import ensure_namespace

NAMESPACE = "gpu-cluster-access"
ROLE = "gpu-cluster-user"

_OURS = {LABEL_MANAGED: "true"}
_ROOT_CA = "kube-root-ca.crt"


def issue_token(kube: KubeClient, account: str, person: str, *, seconds: int) -> Token:
    """See the port. What is there already is left as it is, the role's rules aside."""
    ensure_namespace(kube, NAMESPACE, project="", privileged=False, labels=_OURS)
    labels = {**_OURS, LABEL_PERSON: person}
    _ensure_role(kube)
    _make(kube, kube.core.create_namespaced_service_account, NAMESPACE, _account(account, labels))
    _make(kube, kube.rbac.create_cluster_role_binding, _binding(account, labels))
    body = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=seconds))
    status = kube.json(kube.core.create_namespaced_service_account_token, account, NAMESPACE, body).get("status") or {}
    try:
        until = datetime.fromisoformat(str(status["expirationTimestamp"])).timestamp()
        return Token(str(status["token"]), until)
    except (KeyError, ValueError):
        raise Temporary("The cluster's API gave no token for the account.", "It is asked again.") from None


def remove_accounts(kube: KubeClient, *, account: str, person: str) -> None:
    """See the port. Binding first: an account without rights harms nobody, rights without an account may come back."""
    if bool(account) == bool(person):
        raise ValueError("either an account or a person")
    names = [account] if account else _accounts_of(kube, person)
    for name in names:
        with suppress(ApiError):
            kube.json(kube.rbac.delete_cluster_role_binding, _binding_name(name), expect=(404,))
        with suppress(ApiError):
            kube.json(kube.core.delete_namespaced_service_account, name, NAMESPACE, expect=(404,))


def own_endpoint(kube: KubeClient) -> OwnEndpoint:
    """The address under which the API server announces itself to pods, and the CA that every namespace is given
    (kubernetes: pkg/controlplane/reconcilers, pkg/controller/certificates/rootcacertpublisher)."""
    found = kube.find(kube.core.read_namespaced_endpoints, "kubernetes", "default") or {}
    authority = ((kube.find(kube.core.read_namespaced_config_map, _ROOT_CA, "default") or {}).get("data") or {}).get(
        "ca.crt"
    )
    for subset in found.get("subsets") or []:
        ports = [port["port"] for port in subset.get("ports") or [] if port.get("name") in ("https", None)]
        addresses = [address["ip"] for address in subset.get("addresses") or []]
        if ports and addresses and authority:
            return OwnEndpoint(f"https://{addresses[0]}:{ports[0]}", base64.b64encode(str(authority).encode()).decode())
    raise Permanent(
        "The cluster does not say where its own API server listens.",
        'Set tokens = "rancher" under [access], or add people under [access] principals.',
    )


def _accounts_of(kube: KubeClient, person: str) -> list[str]:
    selector = f"{LABEL_MANAGED}=true,{LABEL_PERSON}={person}"
    found = kube.list(kube.core.list_namespaced_service_account, NAMESPACE, label_selector=selector)
    return [str(account["metadata"]["name"]) for account in found]


def _ensure_role(kube: KubeClient) -> None:
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE, "labels": _OURS},
        "rules": _rules(),
    }
    there = kube.find(kube.rbac.read_cluster_role, ROLE)
    if there is None:
        _make(kube, kube.rbac.create_cluster_role, body)
    elif (there["metadata"].get("labels") or {}).get(LABEL_MANAGED) != "true":
        raise Permanent(
            f"A ClusterRole {ROLE} exists in the cluster and was not made by the bot.",
            "Delete or rename it if nobody needs it.",
        )


def _rules() -> list[Json]:
    text = (resources.files("manifests") / "rancher" / "role-template.yaml").read_text()
    rules: list[Json] = yaml.safe_load(text)["rules"]
    return rules


def _account(name: str, labels: dict[str, str]) -> Json:
    # Pods that somebody runs under it get no token of it by themselves.
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "automountServiceAccountToken": False,
    }


def _binding(account: str, labels: dict[str, str]) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _binding_name(account), "labels": labels},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
    }


def _binding_name(account: str) -> str:
    return f"gpu-cluster-{account}"


def _make(kube: KubeClient, create: Any, *args: Any) -> None:
    with suppress(ApiError):
        kube.json(create, *args, expect=(409,))
