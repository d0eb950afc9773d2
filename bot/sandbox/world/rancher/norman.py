"""Norman, the /v3 API: tokens, users, settings, credentials, projects, role bindings.

Bodies are flat and camel-cased; a list is a collection with ``data``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bot.sandbox.world.clock import timestamp
from bot.sandbox.world.kube.api import Call, Reply
from bot.sandbox.world.kube.objects import Obj
from bot.sandbox.world.rancher.management import USER, Management
from bot.sandbox.world.rancher.steve import error_body
from bot.sandbox.world.rancher.tokens import Tokens

#: Rancher users that the people of the sandbox have, by login name.
_USERS = {name: f"u-{name}" for name in ("requester", "lead", "second-lead", "bystander")}
_BUILT_IN = {"cluster-owner": "Cluster Owner", "cluster-member": "Cluster Member"}


class NormanError(Exception):
    """A refusal of Norman's."""

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reply = Reply(status, norman_error(status, code, message, field))


def norman_error(status: int, code: str, message: str, field: str = "") -> Obj:
    """Norman's error (rancher/norman: httperror/handler/handler.go)."""
    body: Obj = {"type": "error", "baseType": "error", "status": status, "code": code, "message": message}
    return {**body, "fieldName": field} if field else body


class Norman:
    """Answers the calls below ``/v3``; ``base`` is its URL, ``tokens`` the keys of the bot's user."""

    def __init__(self, management: Management, base: str, tokens: Tokens) -> None:
        self._management = management
        self._base = base
        self._tokens = tokens
        self._bindings: dict[str, Obj] = {}
        self.role_templates = {**_BUILT_IN, "gpu-cluster-user": "GPU Cluster User"}
        self._settings = {
            "server-version": management.release.version,
            "rke2-default-version": management.release.default_rke2,
            "k3s-default-version": management.release.default_k3s,
            "cacerts": "",
            "server-url": "",
            "auth-token-max-ttl-minutes": "129600",
            "kubeconfig-generate-token": "true",
        }
        if management.release.keeps_failed:
            self._settings["delete-machine-on-failure-after"] = "0s"
        self._routes: dict[str, Callable[[Call, str], Reply]] = {
            "settings": self._setting,
            "users": self._users,
            "tokens": self._token,
            "cloudcredentials": self._credentials,
            "nodedrivers": self._node_driver,
            "projects": self._projects,
            "clusterroletemplatebindings": self._role_bindings,
            "roletemplates": self._role_templates,
            "principals": self._principals,
        }

    def handle(self, call: Call) -> Reply:
        """Answer a call whose path starts after ``/v3/``; refusals come as replies."""
        kind, _, ident = call.path.strip("/").partition("/")
        try:
            if kind not in self._routes or "/" in ident:
                raise NormanError(404, "NotFound", "not found")
            return self._routes[kind](call, ident)
        except NormanError as refused:
            return refused.reply

    def _setting(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        if not ident:
            return self._collection("setting", [self._one_setting(name) for name in self._settings])
        if ident not in self._settings:
            raise NormanError(404, "NotFound", "not found")
        return Reply(200, self._one_setting(ident))

    def _one_setting(self, name: str) -> Obj:
        return {
            "id": name,
            "type": "setting",
            "baseType": "setting",
            "name": name,
            "value": self._settings[name],
            "customized": False,
            "source": "default",
            "links": {"self": f"{self._base}/settings/{name}"},
        }

    def _users(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        me = {
            "id": USER,
            "type": "user",
            "username": "gpu-cluster",
            "name": "gpu-cluster",
            "enabled": True,
            "me": True,
            "principalIds": [f"local://{USER}"],
            "state": "active",
        }
        if ident:
            if ident != USER:
                raise NormanError(404, "NotFound", "not found")
            return Reply(200, me)
        return self._collection("user", [me])

    def _token(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        key = self._tokens.find(ident)
        if key is None or ident.startswith("ext/"):
            raise NormanError(404, "NotFound", "not found")
        body = {
            "id": ident,
            "type": "token",
            "name": ident,
            "userId": USER,
            "enabled": True,
            "expired": self._management.engine.now > key.expires,
            "expiresAt": timestamp(key.expires),
            "ttl": round(key.expires - key.issued) * 1000,
            "current": True,
            "created": timestamp(key.issued),
        }
        return Reply(200, body)

    def ext_token(self, call: Call, name: str) -> Reply:
        """A token of the ext API, which answers through Steve (rancher/rancher: pkg/apis/ext.cattle.io/v1/types.go)."""
        key = self._tokens.find(f"ext/{name}")
        if call.method != "GET" or key is None:
            return Reply(404, error_body(404, "NotFound", f'tokens.ext.cattle.io "{name}" not found'))
        expired = self._management.engine.now > key.expires
        ttl = round(key.expires - key.issued) * 1000
        spec = {"userID": USER, "ttl": ttl, "enabled": True, "description": "gpu-cluster"}
        body: Obj = {"id": name, "type": "ext.cattle.io.token", "apiVersion": "ext.cattle.io/v1", "kind": "Token"}
        meta = {"name": name, "creationTimestamp": timestamp(key.issued)}
        status = {"expired": expired, "expiresAt": timestamp(key.expires), "current": True}
        return Reply(200, {**body, "metadata": meta, "spec": spec, "status": status})

    def _credentials(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        known = {
            name: {
                "id": name,
                "type": "cloudCredential",
                "name": name.split(":")[1],
                "amazonec2credentialConfig": {"accessKey": "AKIASANDBOX", "defaultRegion": region},
            }
            for name, region in self._management.credentials.items()
        }
        if not ident:
            return self._collection("cloudCredential", list(known.values()))
        if ident not in known:
            raise NormanError(404, "NotFound", "not found")
        return Reply(200, known[ident])

    def _node_driver(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        driver = {"id": "amazonec2", "type": "nodeDriver", "name": "amazonec2", "active": True, "builtin": True}
        if not ident:
            return self._collection("nodeDriver", [{**driver, "state": "active"}])
        if ident != "amazonec2":
            raise NormanError(404, "NotFound", "not found")
        return Reply(200, {**driver, "state": "active"})

    def _projects(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        found = []
        for cluster in self._management.clusters.values():
            if cluster.has_project:
                for name, project in (("System", cluster.project), ("Default", f"{cluster.mid}:p-deflt")):
                    project_body = {"id": project, "type": "project", "name": name, "clusterId": cluster.mid}
                    found.append({**project_body, "state": "active"})
        if ident:
            return _pick(found, ident)
        return self._collection("project", _filtered(found, call, "clusterId", "name", "id"))

    def _role_bindings(self, call: Call, ident: str) -> Reply:
        self._forget_orphans()
        if call.method == "POST" and not ident:
            return Reply(201, self._bind(call))
        if call.method == "DELETE" and ident in self._bindings:
            return Reply(200, self._bindings.pop(ident))
        _only(call, "GET")
        if ident:
            return _pick(list(self._bindings.values()), ident)
        fields = ("clusterId", "roleTemplateId", "userPrincipalId", "groupPrincipalId", "userId", "name", "id")
        return self._collection("clusterRoleTemplateBinding", _filtered(list(self._bindings.values()), call, *fields))

    def _bind(self, call: Call) -> Obj:
        body = _body(call)
        for field in ("clusterId", "roleTemplateId"):
            if not body.get(field):
                raise NormanError(422, "MissingRequired", f"missing required field {field}", field)
        if body["clusterId"] not in self._management.clusters:
            raise NormanError(404, "NotFound", f'clusters.management.cattle.io "{body["clusterId"]}" not found')
        if body["roleTemplateId"] not in self.role_templates:
            raise NormanError(422, "InvalidReference", "role template not found", "roleTemplateId")
        subjects = ("userId", "userPrincipalId", "groupId", "groupPrincipalId")
        given = {field: body[field] for field in subjects if body.get(field)}
        if not given:
            message = "must target a user [userId]/[userPrincipalId] or a group [groupId]/[groupPrincipalId]"
            raise NormanError(422, "InvalidBodyContent", message)
        labels = body.get("labels") or {}
        if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
            raise NormanError(422, "InvalidFormat", "labels must be a map of strings", "labels")
        ident = f"{body['clusterId']}:crtb-{self._management.store.suffix()}"
        base: Obj = {"id": ident, "type": "clusterRoleTemplateBinding", "state": "active"}
        made = {**base, "clusterId": body["clusterId"], "roleTemplateId": body["roleTemplateId"], **given}
        made["labels"] = {**labels, "cattle.io/creator": "norman"}
        self._bindings[ident] = made
        return made

    def _forget_orphans(self) -> None:
        """Bindings of a cluster end with it."""
        living = self._management.clusters
        self._bindings = {k: v for k, v in self._bindings.items() if v["clusterId"] in living}

    def _role_templates(self, call: Call, ident: str) -> Reply:
        _only(call, "GET")
        found = [
            {
                "id": key,
                "type": "roleTemplate",
                "name": name,
                "context": "cluster",
                "builtin": key in _BUILT_IN,
            }
            for key, name in self.role_templates.items()
        ]
        if ident:
            return _pick(found, ident)
        return self._collection("roleTemplate", _filtered(found, call, "name", "id"))

    def _principals(self, call: Call, ident: str) -> Reply:
        if call.method == "POST" and not ident and call.query.get("action") == "search":
            wanted = str(_body(call).get("name") or "").lower()
            if not wanted:
                raise NormanError(422, "MissingRequired", "missing required field name", "name")
            found = {n: u for n, u in _USERS.items() if n.startswith(wanted)}
            return self._collection("principal", [_principal(name, user) for name, user in found.items()])
        _only(call, "GET")
        everybody = [_principal(name, user) for name, user in _USERS.items()]
        return _pick(everybody, ident) if ident else self._collection("principal", everybody)

    def _collection(self, kind: str, data: list[Obj]) -> Reply:
        body: Obj = {
            "type": "collection",
            "resourceType": kind,
            "links": {"self": f"{self._base}/{kind.lower()}s"},
            "createTypes": {},
            "actions": {},
            "pagination": {"limit": 1000, "total": len(data)},
            "sort": {"order": "asc"},
            "filters": {},
            "data": data,
        }
        return Reply(200, body)


def _principal(name: str, user: str) -> Obj:
    return {
        "id": f"local://{user}",
        "type": "principal",
        "name": name,
        "loginName": name,
        "principalType": "user",
        "provider": "local",
        "me": False,
        "memberOf": False,
    }


def _only(call: Call, method: str) -> None:
    if call.method != method:
        raise NormanError(405, "MethodNotAllowed", f"{call.method} is not allowed")


def _pick(found: list[Obj], ident: str) -> Reply:
    for item in found:
        if item["id"] == ident:
            return Reply(200, item)
    raise NormanError(404, "NotFound", "not found")


def _filtered(found: list[Obj], call: Call, *fields: str) -> list[Obj]:
    """Norman's field filters: ``?name=x``."""
    wanted = {field: call.query[field] for field in fields if field in call.query}
    return [item for item in found if all(item.get(f) == value for f, value in wanted.items())]


def _body(call: Call) -> dict[str, Any]:
    try:
        document = json.loads(call.body or b"{}")
    except ValueError:
        raise NormanError(422, "InvalidBodyContent", "Body content is not JSON") from None
    if not isinstance(document, dict):
        raise NormanError(422, "InvalidBodyContent", "Body content is not an object")
    return document
