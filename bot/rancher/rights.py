"""What the bot's user needs in Rancher, and whether it has it.

The same list as manifests/rancher/bot-role.yaml, and what comes with a cluster that the bot has made.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.core.ports import RightView
from bot.rancher.bodies import NAMESPACE
from bot.rancher.client import RancherClient

_REVIEWS = "/k8s/clusters/local/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_METHODS = {
    "get": ("resourceMethods", "GET"),
    "list": ("collectionMethods", "GET"),
    "create": ("collectionMethods", "POST"),
    "update": ("resourceMethods", "PUT"),
    "patch": ("resourceMethods", "PATCH"),
    "delete": ("resourceMethods", "DELETE"),
}
"""Where Steve's schema of a type shows a verb: it lists what somebody may do with some object of it, wherever
(rancher/steve: pkg/schema/factory.go)."""


@dataclass(frozen=True)
class Right:
    """`namespace` '' for all. `owned`: it is had in the namespace that Rancher makes for a cluster, by its owner.
    `owner_too`: whoever has no such right at large has it for clusters of their own, object by object."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str
    purpose: str
    owned: bool = False
    owner_too: bool = False


_PROVISIONING, _MANAGEMENT = "provisioning.cattle.io", "management.cattle.io"
_CONFIGS, _MACHINES = "rke-machine-config.cattle.io", "cluster.x-k8s.io"

NEEDED = (
    Right(_PROVISIONING, "clusters", ("create",), NAMESPACE, "to make clusters"),
    Right(
        _PROVISIONING, "clusters", ("get", "list", "update", "patch", "delete"), NAMESPACE,
        "to see, scale and delete clusters", owner_too=True,
    ),
    Right(_CONFIGS, "amazonec2configs", ("create",), NAMESPACE, "to make machine pools"),
    Right(
        _CONFIGS, "amazonec2configs", ("get", "list", "delete"), NAMESPACE,
        "to find its machine configs again, and remove those of no cluster", owner_too=True,
    ),
    Right(
        _MACHINES, "machines", ("get", "list", "update", "patch", "delete"), NAMESPACE,
        "to see machines, and to replace a bad one", owner_too=True,
    ),
    Right(
        "rke-machine.cattle.io", "amazonec2machines", ("list",), NAMESPACE,
        "to read why AWS gives no machine", owner_too=True,
    ),
    Right(_MANAGEMENT, "clusters", ("get", "list"), "", "to see whether clusters are connected", owner_too=True),
    Right(_MANAGEMENT, "settings", ("get",), "", "to know Rancher's default version (comes with User-Base)"),
    Right(_MANAGEMENT, "roletemplates", ("get",), "", "to see whether the role for people is there"),
    Right(
        _MANAGEMENT, "clusterroletemplatebindings", ("get", "list", "create", "delete"), "",
        "to let people into clusters", owned=True,
    ),
    Right(
        _MANAGEMENT, "projects", ("list", "manage-namespaces", "updatepsa"), "",
        "to put the operator's namespace into the System project", owned=True,
    ),
    Right(
        _MANAGEMENT, "clusterproxyconfigs", ("list", "create"), "",
        "to let the tokens of a cluster's own accounts through", owned=True,
    ),
)  # fmt: skip


def look(client: RancherClient, management_id: str) -> tuple[RightView, ...]:
    """Of every right whether it is there. `management_id`: of a cluster of the bot's, '' while there is none; what
    comes with a cluster is left out then."""
    return tuple(_view(client, right, management_id) for right in NEEDED if management_id or not right.owned)


def _view(client: RancherClient, right: Right, management_id: str) -> RightView:
    what = f"{right.resource}.{right.group}"
    namespace = management_id if right.owned else right.namespace
    said = {verb: _allowed(client, right, verb, namespace) for verb in right.verbs}
    missing = tuple(verb for verb, allowed in said.items() if allowed is False)
    if missing and right.owner_too:
        why = f"not for all in {namespace or 'Rancher'}; its own clusters come with it (Cluster Owner)"
        return RightView(what, right.verbs, right.purpose, "unknown", missing, why)
    if missing:
        return RightView(what, right.verbs, right.purpose, "no", missing, f"in {namespace}" if namespace else "")
    if None in said.values():
        return RightView(what, right.verbs, right.purpose, "unknown", (), "Rancher does not say")
    return RightView(what, right.verbs, right.purpose, "ok", (), "")


def _allowed(client: RancherClient, right: Right, verb: str, namespace: str) -> bool | None:
    """By a review of Rancher's own cluster, else by the schema of the type; None where neither says."""
    attributes = {"group": right.group, "resource": right.resource, "verb": verb, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = client.ask("POST", _REVIEWS, body=body, accept=(401, 403, 404, 405))
    if answer.error is None:
        return bool((answer.json().get("status") or {}).get("allowed"))
    where, method = _METHODS.get(verb, ("", ""))
    singular = f"{right.group}.{right.resource.removesuffix('s')}"
    schema = client.find(f"/v1/schemas/{singular}") if where else None
    return None if schema is None else method in (schema.get(where) or [])
