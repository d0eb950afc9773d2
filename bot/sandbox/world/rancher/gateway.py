"""Rancher's one port: which of its APIs answers a path.

What the proxy in front of downstream clusters says when it cannot reach one comes in two shapes: a Go struct
on the raw API, nothing at all on Steve's (rancher/rancher: pkg/clusterrouter, pkg/api/steve/proxy).
"""

from __future__ import annotations

import re
from dataclasses import replace

from bot.sandbox.world.kube.api import Call, Exec, KubeApi, Reply, Watch, parse, status_body
from bot.sandbox.world.kube.kinds import CLUSTER_PROXY_CONFIG, DOWNSTREAM
from bot.sandbox.world.kube.objects import ApiError, Obj
from bot.sandbox.world.kube.rbac import authorize
from bot.sandbox.world.rancher.capi import as_v1beta1
from bot.sandbox.world.rancher.management import USER, Management
from bot.sandbox.world.rancher.norman import Norman, norman_error
from bot.sandbox.world.rancher.rights import Rights
from bot.sandbox.world.rancher.steve import Steve, template
from bot.sandbox.world.rancher.tokens import Tokens

_DOWNSTREAM = re.compile(r"^/k8s/clusters/(?P<mid>[^/]+)(?P<rest>/.*)?$")
_RELEASES = re.compile(r"^/v1-(?P<distro>rke2|k3s)-release/releases$")
_OPEN = re.compile(r"^/(rancherversion|ping|v3/settings/cacerts|v1-(rke2|k3s)-release/releases)$")
_EXT_TOKEN = re.compile(r"^/v1/ext\.cattle\.io\.tokens/(?P<name>[^/]+)$")
_UNREACHABLE = {
    "Code": {"Code": "ClusterUnavailable", "Status": 503},
    "Message": "cluster not provisioned",
    "Cause": None,
    "FieldName": "",
}
_NO_IMPERSONATION = "unable to create impersonator account: error setting up impersonation for user"


class Gateway:
    """Answers everything below Rancher's URL, to who brings one of ``tokens``; ``token`` is the first."""

    def __init__(self, management: Management, token: str) -> None:
        self._management = management
        self.tokens = Tokens(lambda: management.engine.now)
        self.tokens.issue(token)
        self.norman = Norman(management, "/v3", self.tokens)
        self._release = management.release
        shown = as_v1beta1 if self._release.capi == "v1beta1" else lambda _, obj: obj
        self.rights = Rights(lambda: management.clusters, USER)
        self._steve = Steve(
            management,
            "/v1",
            lambda *_: None,
            sql_cache=self._release.sql_cache,
            shown=shown,
            rights=self.rights,
        )
        self._local = KubeApi(management)

    def handle(self, call: Call, authorization: str) -> Reply | Watch | Exec:
        """Answer a call; ``authorization`` is the header of that name."""
        path = "/" + call.path.strip("/")
        if not _OPEN.match(path) and not self._known(authorization):
            return self._by_account(replace(call, path=path), authorization.removeprefix("Bearer "))
        if found := _DOWNSTREAM.match(path):
            return self._downstream(replace(call, path=found["rest"] or "/"), found["mid"])
        if path.startswith("/v3/"):
            return self._norman(replace(call, path=path.removeprefix("/v3/")))
        if self._release.ext_tokens and (found := _EXT_TOKEN.match(path)):
            return self.norman.ext_token(call, found["name"])
        if path.startswith("/v1/"):
            return self._steve.handle(replace(call, path=path.removeprefix("/v1/")))
        if found := _RELEASES.match(path):
            return Reply(200, self._releases(found["distro"]))
        if path == "/rancherversion":
            return Reply(200, self._version())
        if path == "/ping":
            return Reply(200, "pong", "text/plain")
        return Reply(404, "404 page not found\n", "text/plain")

    def _norman(self, call: Call) -> Reply:
        try:
            self.rights.norman(call)
        except ApiError as error:
            return Reply(error.code, norman_error(error.code, error.reason, error.message))
        return self.norman.handle(call)

    def _known(self, authorization: str) -> bool:
        """Whether the token is ours; one of the ext API is none before there was that API."""
        token = authorization.removeprefix("Bearer ")
        readable = self._release.ext_tokens or not token.startswith("ext/")
        return readable and authorization != token and self.tokens.valid(token)

    def template(self, path: str) -> tuple[bool, str]:
        """Whether the path leads to a downstream cluster, and the path with its names left out."""
        path = "/" + path.strip("/")
        found = _DOWNSTREAM.match(path)
        if found is None:
            if path.startswith("/v1/"):
                return False, "/v1/" + template(self._management.store.kinds, path.removeprefix("/v1/"))
            parts = path.split("/")
            return False, "/".join([*parts[:3], "{id}"] if len(parts) > 3 and parts[2] != "settings" else parts)
        rest = found["rest"] or "/"
        prefix = "/k8s/clusters/{id}"
        cluster = self._management.clusters.get(found["mid"])
        kinds = cluster.downstream.store.kinds if cluster else list(DOWNSTREAM)
        if rest.startswith("/v1/"):
            return True, f"{prefix}/v1/" + template(kinds, rest.removeprefix("/v1/"))
        target = parse(kinds, rest)
        return found["mid"] != "local", prefix + (target.template if target else rest)

    def _downstream(self, call: Call, mid: str) -> Reply | Watch | Exec:
        steve = call.path.startswith("/v1/")
        if mid == "local":
            return self._steve_of(self._steve, call) if steve else self._of_local(call)
        cluster = self._management.clusters.get(mid)
        if cluster is None or not cluster.connected:
            return Reply(401, "", "text/plain") if steve else Reply(503, _UNREACHABLE, "text/plain")
        if not cluster.reachable:
            return Reply(500, _NO_IMPERSONATION, "text/plain")
        if not steve:
            return KubeApi(cluster.downstream).handle(call)
        base = f"/k8s/clusters/{mid}/v1"
        return self._steve_of(
            Steve(cluster.downstream, base, cluster.catalog.extra, sql_cache=self._release.sql_cache), call
        )

    def _of_local(self, call: Call) -> Reply | Watch | Exec:
        """Rancher's own cluster, raw: everybody may ask what they may do."""
        try:
            return self.rights.review(call) or self._local.handle(call)
        except ApiError as error:
            return Reply(error.code, status_body(error))

    def _by_account(self, call: Call, token: str) -> Reply | Watch | Exec:
        """A token that is not Rancher's: good for the raw API of the one cluster that has issued it, where JWT
        Authentication is switched on, and for nothing else (rancher/rancher: pkg/auth/requests/service_account.go)."""
        refused = Reply(401, norman_error(401, "Unauthorized", "must authenticate"))
        found = _DOWNSTREAM.match(call.path)
        cluster = self._management.clusters.get(found["mid"]) if found else None
        if found is None or cluster is None or (found["rest"] or "/").startswith("/v1/"):
            return refused
        configs = self._management.store.all(CLUSTER_PROXY_CONFIG, cluster.mid)
        if len(configs) != 1 or configs[0].get("enabled") is not True or not cluster.reachable:
            return refused
        account = cluster.downstream.review(token)
        if account is None:
            return refused
        inner = replace(call, path=found["rest"] or "/")
        try:
            authorize(cluster.downstream.store, *account, inner)
        except ApiError as error:
            return Reply(error.code, status_body(error))
        return KubeApi(cluster.downstream).handle(inner)

    def _steve_of(self, steve: Steve, call: Call) -> Reply:
        return steve.handle(replace(call, path=call.path.removeprefix("/v1/")))

    def _version(self) -> Obj:
        release = self._management.release
        return {"Version": release.version, "GitCommit": release.git_commit, "RancherPrime": "false"}

    def _releases(self, distro: str) -> Obj:
        """Offered versions; one without arguments is listed too and is not usable, as in the real list."""
        offered = [v for v in self._management.release.kubernetes if distro in v]
        arguments = {"cni": {"type": "string", "options": ["calico", "canal", "cilium", "flannel", "none"]}}
        data = [
            {"id": v, "type": "release", "version": v, "serverArgs": arguments, "agentArgs": {"kubelet-arg": {}}}
            for v in offered
        ]
        unusable = f"v1.36.0-rc1+{distro}r1" if distro == "rke2" else "v1.36.0-rc1+k3s1"
        data.append({"id": unusable, "type": "release", "version": unusable})
        return {"type": "collection", "resourceType": "release", "links": {}, "data": data}
