"""What the bot's user may do in Rancher: a global role, User-Base, and what the owner of a cluster may.

The role is the one that is shipped for it, as an admin would have applied it. Whatever it does not say is forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from importlib import resources

import yaml

from bot.sandbox.world.kube.api import Call, Reply
from bot.sandbox.world.kube.objects import ApiError, Obj

#: What Rancher's role user-base says of what is asked here (rancher/rancher: pkg/data/management/role_data.go).
_USER_BASE = [{"apiGroups": ["management.cattle.io"], "resources": ["settings"], "verbs": ["get", "list", "watch"]}]
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

#: Norman's collections that are checked, as RBAC knows them.
_NORMAN = {
    "settings": "settings",
    "projects": "projects",
    "clusterroletemplatebindings": "clusterroletemplatebindings",
    "roletemplates": "roletemplates",
}
_IN_A_CLUSTER = ("projects", "clusterroletemplatebindings")
_ITEM = {"GET": "get", "PUT": "update", "DELETE": "delete", "POST": "create"}


class Rights:
    """``owned``: the namespaces of clusters that the user owns. ``role`` may be changed by a test."""

    def __init__(self, owned: Callable[[], Container[str]], user: str) -> None:
        text = (resources.files("manifests") / "rancher" / "bot-role.yaml").read_text()
        self.role: Obj = yaml.safe_load(text)
        self._owned = owned
        self._user = user
        self.asked: set[tuple[str, str, str, str]] = set()
        """Every right that a call needed: group, resource, verb, namespace ('owned' for a cluster's own)."""

    def require(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "") -> None:
        """Raises ApiError 403."""
        where = "owned" if namespace in self._owned() else namespace
        self.asked.add((group, resource, verb, where))
        if not self.allows(verb, group, resource, namespace, name):
            scope = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            raise ApiError(
                403,
                "Forbidden",
                f'{resource}.{group} is forbidden: User "{self._user}" cannot {verb} resource "{resource}" '
                f'in API group "{group}" {scope}',
            )

    def allows(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Whether a rule says so."""
        if namespace and namespace in self._owned():
            return True
        rules = [*_USER_BASE, *(self.role.get("rules") or [])]
        if namespace:
            rules += (self.role.get("namespacedRules") or {}).get(namespace) or []
        return any(
            {verb, "*"} & set(rule["verbs"])
            and {group, "*"} & set(rule["apiGroups"])
            and {resource, "*"} & set(rule["resources"])
            and (not rule.get("resourceNames") or name in rule["resourceNames"])
            for rule in rules
        )

    def norman(self, call: Call) -> None:
        """Check a call below ``/v3/``. Raises ApiError 403."""
        kind, _, ident = call.path.strip("/").partition("/")
        if kind not in _NORMAN:
            return
        verb = _ITEM.get(call.method, "get") if ident or call.method != "GET" else "list"
        namespace = ident.partition(":")[0] if ":" in ident else call.query.get("clusterId", "")
        if verb == "list":  # Norman lists what may be seen: of what is in a cluster, that of one's own
            self.asked.add(("management.cattle.io", _NORMAN[kind], verb, "owned" if kind in _IN_A_CLUSTER else ""))
            return
        if call.method == "POST":
            namespace = str(call.object().get("clusterId") or "")
        self.require(verb, "management.cattle.io", _NORMAN[kind], namespace, ident)

    def review(self, call: Call) -> Reply | None:
        """A SelfSubjectAccessReview (kubernetes: pkg/apis/authorization/validation); None for any other call."""
        if call.path.rstrip("/") != _REVIEWS:
            return None
        if call.method != "POST":
            raise ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        body = call.object()
        if (body.get("apiVersion"), body.get("kind")) != ("authorization.k8s.io/v1", "SelfSubjectAccessReview"):
            raise ApiError(400, "BadRequest", "the object provided is unrecognized")
        asked = (body.get("spec") or {}).get("resourceAttributes")
        if not isinstance(asked, dict) or not asked.get("verb") or not asked.get("resource"):
            message = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            raise ApiError(422, "Invalid", f"SelfSubjectAccessReview is invalid: spec.resourceAttributes: {message}")
        allowed = self.allows(*(str(asked.get(key, "")) for key in ("verb", "group", "resource", "namespace", "name")))
        return Reply(201, {**body, "status": {"allowed": allowed}})
