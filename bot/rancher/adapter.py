"""The seam `Rancher` of the core, over HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from bot.core.bot_token import BotToken
from bot.core.capacity.places import gpu_places
from bot.core.ports import (
    AppView,
    Busy,
    ChartOrder,
    Clock,
    ClusterView,
    Foreign,
    News,
    Permanent,
    RancherAbout,
    Refused,
    Release,
    RepoView,
    RightView,
    StoredSecret,
    Temporary,
)
from bot.core.spec import (
    LABEL_CLUSTER,
    LABEL_MANAGED,
    LABEL_PERSON,
    LABEL_REQUEST,
    Distribution,
    Envelope,
    Pool,
)
from bot.core.wiring import DIRECT, Network
from bot.rancher import bodies, rights, sizing, views
from bot.rancher.bodies import NAMESPACE
from bot.rancher.catalog import Catalog
from bot.rancher.client import JSON_PATCH, MERGE_PATCH, Json, RancherClient
from bot.rancher.reader import CLUSTERS, MACHINES, MANAGEMENT, SnapshotReader
from bot.rancher.sizing import Patch

_MACHINE_CONFIGS = "/v1/rke-machine-config.cattle.io.amazonec2configs"
_PROXY_CONFIGS = "/v1/management.cattle.io.clusterproxyconfigs"
_BINDINGS = "/v3/clusterroletemplatebindings"
_SECRETS = "/v1/secrets"
_PATCH_TRIES = 4
_PROJECTS_S = 5.0
"""World seconds before the list of System projects is read again; Norman gives 10,000 at once, no more."""
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-([\w.-]+))?\+(?:rke2r|k3s)(\d+)")
DELETE_MACHINE = "cluster.x-k8s.io/delete-machine"


class RancherAdapter:
    """One Rancher. Safe to share between threads.

    `token` may be a function, which is read again when Rancher answers 401, or a `BotToken`. `ca_bundle` is the path of
    a PEM file for a Rancher with a private CA. `snapshot_s`: how old the shared snapshot may get, in world seconds.
    Every method raises `Temporary`, `Permanent`, `Refused` or `Foreign` of the core, and nothing else.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str] | BotToken,
        *,
        ca_bundle: str | None = None,
        clock: Clock,
        snapshot_s: float = 2.5,
    ) -> None:
        self._token = BotToken.of(token, clock)
        self._client = RancherClient(url, self._token, ca_bundle=ca_bundle)
        self._reader = SnapshotReader(self._client, clock, snapshot_s)
        self._catalog = Catalog(self._client, clock)
        self._clock = clock
        self._projects_lock = threading.Lock()
        self._projects: dict[str, str] = {}
        self._projects_at = float("-inf")

    def close(self) -> None:
        """Close the connections to Rancher."""
        self._client.close()

    # --- what this Rancher is ----------------------------------------------------------------------------------

    def about(self) -> RancherAbout:
        """Version, own user and the token's end. The users' list is the cheapest check of a token."""
        version = str(self._client.get("/rancherversion").get("Version", ""))
        users = self._client.get("/v3/users", {"me": "true"}).get("data") or []
        me = next((str(user["id"]) for user in users if user.get("me")), "")
        return RancherAbout(version, me, self._token_expires_at())

    def rights(self, management_id: str) -> tuple[RightView, ...]:
        return rights.look(self._client, management_id)

    def kubernetes_versions(self, distribution: Distribution = "rke2") -> tuple[str, ...]:
        """Versions with both server and agent arguments, oldest first (rancher/shepherd: kubernetesversions)."""
        releases = self._client.get(f"/v1-{distribution}-release/releases").get("data") or []
        usable = {str(r["version"]) for r in releases if r.get("serverArgs") and r.get("agentArgs")}
        return tuple(sorted((v for v in usable if _VERSION.fullmatch(v)), key=_version_key))

    def default_kubernetes(self, distribution: Distribution = "rke2") -> str:
        """Rancher keeps it sometimes without the leading v."""
        setting = self._client.find(f"/v3/settings/{distribution}-default-version") or {}
        value = str(setting.get("value") or setting.get("default") or "")
        return f"v{value.removeprefix('v')}" if value else ""

    def has_credential(self, credential: str) -> bool:
        """A credential that we may not see is as good as none: 403 and 404 are both False."""
        answer = self._client.ask("GET", f"/v3/cloudcredentials/{credential}", accept=(403, 404))
        return answer.error is None

    def secret(self, name: str) -> StoredSecret | None:
        """What a Secret holds stays where it is: only the names of its keys are kept."""
        answer = self._client.ask("GET", f"{_SECRETS}/{NAMESPACE}/{name}", accept=(404,))
        if answer.error is None:
            found = answer.json()
            # Steve renames what it has a field of its own for (rancher/steve: README.md).
            return StoredSecret(str(found.get("_type") or ""), tuple(sorted(found.get("data") or {})))
        if "schema" in answer.error.message:  # whoever may see no Secret at all has no such type
            raise Refused(f"Rancher shows the bot no Secrets of {NAMESPACE}.", "Look yourself, or let its user see it.")
        return None

    # --- create or get -----------------------------------------------------------------------------------------

    def ensure_machine_config(self, envelope: Envelope, pool: Pool, request_id: str) -> None:
        self._create_or_get(_MACHINE_CONFIGS, bodies.machine_config(envelope, pool, request_id), request_id)

    def ensure_cluster(self, envelope: Envelope, request_id: str) -> None:
        self._create_or_get(CLUSTERS, bodies.cluster(envelope, request_id), request_id)

    def _create_or_get(self, path: str, body: Json, request_id: str) -> None:
        """POST under a fixed name. A repeat, of a request of ours whose answer was lost, finds the object there."""
        name = body["metadata"]["name"]
        answer = self._client.ask("POST", path, body=body, accept=(404, 409))
        if answer.error is None:
            answer.json()  # a proxy's page has made nothing
            return
        if answer.status == 404:
            raise Temporary(f"Rancher does not know {path} yet.", "Is the Amazon EC2 node driver active in Rancher?")
        # 403: our right to what we have just made may come some seconds later. 404: it went in between.
        found = self._client.ask("GET", f"{path}/{NAMESPACE}/{name}", accept=(403, 404))
        if found.error is not None:
            raise Temporary(f"{body['kind']} {name} exists, but Rancher does not show it: {found.error.message}")
        there = found.json()
        if views.deleting(there):
            raise Busy(f"{body['kind']} {name} is still being deleted.", "The bot waits until it is gone.")
        if views.label(there, LABEL_REQUEST) != request_id:
            raise Foreign(
                f"{body['kind']} {name} exists in Rancher and is not of this request.",
                "Choose another name, or delete that object in Rancher if nobody needs it.",
            )

    # --- observe and change ------------------------------------------------------------------------------------

    def observe(self, name: str, *, newer_than: float) -> ClusterView | None:
        snapshot = self._reader.get(newer_than)
        view = snapshot.views.get(name)
        if view is not None:
            return view
        # Lists come from a cache that may lag; and to a bot without a right on the whole namespace, a cluster made just
        # now is forbidden until its own role binding works. Only 404 means that it is not there.
        answer = self._client.ask("GET", _cluster_path(name), accept=(403, 404))
        if answer.status == 404:
            return None
        if answer.error is not None:
            raise Temporary(
                f"Rancher does not show us the cluster {name}: {answer.error.message}",
                "If this lasts, let the bot's user get clusters (provisioning.cattle.io) in fleet-default.",
            )
        return snapshot.view_of(answer.json())

    def changed(self) -> News:
        return self._reader.changed()

    def size_pools(self, envelope: Envelope, pools: tuple[Pool, ...], request_id: str) -> None:
        """Give pools their `count` and let them work, all in one change; places that the cluster lacks are added."""
        made: set[str] = set()
        places = {place.name for place in gpu_places(envelope)}

        def patch(there: list[Json]) -> Patch:
            known = {p["name"] for p in there}
            for pool in pools:
                if pool.name in places - known - made and pool.count:
                    self.ensure_machine_config(envelope, pool, request_id)
                    made.add(pool.name)
            return sizing.sized(envelope, there, pools)

        self._patch_pools(envelope.name, patch)

    def trim_pools(self, name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        """Lower each pool to at most what `most` says, those that it does not name to 0; raise none."""
        too_large: tuple[str, ...] = ()

        def patch(pools: list[Json]) -> Patch:
            nonlocal too_large
            limits = {str(p["name"]): most.get(p["name"], 0) for p in pools}
            too_large = sizing.above(pools, limits)
            return sizing.lowered(pools, limits)

        self._patch_pools(name, patch)
        return too_large

    def _patch_pools(self, name: str, patch_of: Callable[[list[Json]], Patch]) -> None:
        """Change machine pools by a patch that holds only for the pools it was made from.

        409 and 422 (a `test` that fails) both mean that they have changed meanwhile: they are read again. Nothing
        happens when there is nothing to change or when the cluster is gone.
        """
        said = ""
        for _ in range(_PATCH_TRIES):
            cluster = self._client.find(_cluster_path(name))
            if cluster is None:
                return
            patch = patch_of(cluster["spec"]["rkeConfig"].get("machinePools") or [])
            if not patch:
                return
            answer = self._client.ask(
                "PATCH",
                _cluster_path(name),
                body=[*sizing.unchanged(cluster), *patch],
                content_type=JSON_PATCH,
                accept=(404, 409, 422),
            )
            if answer.error is None or answer.status == 404:
                return
            said = answer.error.message
        raise Temporary(f"Rancher does not take a change of the pools of cluster {name}: {said}")

    def mark_machine(self, machine: str) -> None:
        """When its pool shrinks, this machine goes first (Cluster API: DeleteMachineAnnotation)."""
        there = self._client.find(_machine_path(machine))
        if there is None or (there["metadata"].get("annotations") or {}).get(DELETE_MACHINE):
            return
        patch = {"metadata": {"annotations": {DELETE_MACHINE: "yes"}}}
        self._client.ask("PATCH", _machine_path(machine), body=patch, content_type=MERGE_PATCH, accept=(404,))

    def remove_machine(self, machine: str) -> None:
        """Have it removed; Rancher makes another, as its pool keeps its size."""
        there = self._client.find(_machine_path(machine))
        if there is None or views.deleting(there):
            return
        self._client.ask("DELETE", _machine_path(machine), accept=(404,))

    def delete_cluster(self, name: str, request_ids: tuple[str, ...]) -> None:
        """Ask for its removal, and where it was never made, remove the machine configs that were made for it."""
        cluster = self._client.find(_cluster_path(name))
        if cluster is None:
            self._delete_orphans(name, request_ids)
            return
        if views.deleting(cluster):
            return
        if views.label(cluster, LABEL_REQUEST) not in request_ids:
            raise Foreign(
                f"The cluster {name} in Rancher was not made by this bot's request.",
                "If it is to go, delete it in Rancher.",
            )
        self._client.ask("DELETE", _cluster_path(name), accept=(404,))

    def _delete_orphans(self, cluster: str, request_ids: tuple[str, ...]) -> None:
        """Machine configs belong to their cluster and go with it; those of a cluster that was never made would stay in
        the way of the next one of that name."""
        for config in list(self._client.list(f"{_MACHINE_CONFIGS}/{NAMESPACE}")):
            ours = views.label(config, LABEL_CLUSTER) == cluster and views.label(config, LABEL_REQUEST) in request_ids
            path = f"{_MACHINE_CONFIGS}/{NAMESPACE}/{views.name_of(config)}"
            # The list may be older than a cluster of that name that somebody has made meanwhile.
            now = self._client.find(path) if ours else None
            same = now is not None and views.label(now, LABEL_REQUEST) == views.label(config, LABEL_REQUEST)
            if now and same and not views.deleting(now) and not now["metadata"].get("ownerReferences"):
                self._client.ask("DELETE", path, accept=(404,))

    def management_cluster_gone(self, management_id: str) -> bool:
        """Asked once the provisioning cluster is 404. Its creator loses all rights with it, so 403 counts as gone."""
        answer = self._client.ask("GET", f"{MANAGEMENT}/{management_id}", accept=(403, 404))
        return answer.error is not None

    # --- inside the cluster ------------------------------------------------------------------------------------

    def system_project(self, management_id: str) -> str | None:
        """One list answers for all clusters, and is read anew only when a cluster's is not in it."""
        with self._projects_lock:
            age = self._clock.now() - self._projects_at
            if management_id not in self._projects and not 0 <= age < _PROJECTS_S:
                found = self._client.get("/v3/projects", {"name": "System", "limit": "10000"}).get("data") or []
                ours = {str(p.get("clusterId")): str(p["id"]) for p in found if p.get("name") == "System"}
                self._projects, self._projects_at = ours, self._clock.now()
        return self._projects.get(management_id)

    def releases(self, management_id: str) -> tuple[Release, ...]:
        return self._catalog.releases(management_id)

    def has_role(self, role: str) -> bool:
        return self._client.ask("GET", f"/v3/roletemplates/{role}", accept=(403, 404)).error is None

    def bind_role(self, management_id: str, principal: str, role: str, *, person: str = "") -> None:
        """A binding of somebody else's making that says the same will do, and is not ours to remove."""
        wanted = bodies.role_binding(management_id, principal, role, person)
        telling = wanted.keys() - {"type", "labels"}
        there = self._client.get(_BINDINGS, {"clusterId": management_id}).get("data") or []
        if any(all(binding.get(key) == wanted[key] for key in telling) for binding in there):
            return
        self._client.ask("POST", _BINDINGS, body=wanted)

    def unbind(self, management_id: str, person: str) -> None:
        there = self._client.get(_BINDINGS, {"clusterId": management_id}).get("data") or []
        for listed in there:
            path = f"{_BINDINGS}/{listed['id']}"
            if _is_of(listed, person) and _is_of(self._client.find(path) or {}, person):
                self._client.ask("DELETE", path, accept=(404,))

    def let_tokens_through(self, management_id: str, *, may_change: bool) -> None:
        """Rancher's *JWT Authentication*, off until somebody switches it on (Rancher 2.9+; rancher/rancher:
        pkg/auth/requests/service_account.go). At most one object a cluster counts, of any name."""
        answer = self._client.ask("GET", f"{_PROXY_CONFIGS}/{management_id}", accept=(403, 404))
        there = [] if answer.error else answer.json().get("data") or []
        if any(config.get("enabled") for config in there):
            return
        if there or not may_change:
            raise Permanent(
                "Rancher takes no tokens of that cluster's own service accounts: JWT Authentication is switched off.",
                "Whoever keeps Rancher can switch it on (Cluster Management → Advanced → JWT Authentication), or add "
                "you under [access] principals.",
            )
        made = self._client.ask("POST", _PROXY_CONFIGS, body=bodies.proxy_config(management_id), accept=(403, 404, 409))
        if made.status == 409:
            raise Temporary("JWT Authentication of the cluster is being switched on.")
        if made.error is not None:
            raise Permanent(
                f"Rancher does not let the bot switch on JWT Authentication for the cluster: {made.error.message}",
                "Whoever keeps Rancher can switch it on (Cluster Management → Advanced → JWT Authentication), or add "
                "you under [access] principals.",
            )

    def ensure_repo(
        self, management_id: str, name: str, url: str, request_id: str, network: Network = DIRECT
    ) -> RepoView:
        return self._catalog.ensure_repo(management_id, name, url, request_id, network.ca_base64)

    def chart_versions(self, management_id: str, repo: str, chart: str) -> tuple[str, ...]:
        return self._catalog.chart_versions(management_id, repo, chart)

    def install_chart(self, management_id: str, order: ChartOrder) -> str:
        return self._catalog.install(management_id, order)

    def operation_log(self, management_id: str, namespace: str, operation: str) -> str:
        return self._catalog.operation_log(management_id, namespace, operation)

    def app(self, management_id: str, namespace: str, release: str) -> AppView | None:
        return self._catalog.app(management_id, namespace, release)

    def _token_expires_at(self) -> float | None:
        """Legacy tokens live in /v3, those called ext/… in their own API group (Rancher 2.12+)."""
        name = self._token.name
        if name.startswith("ext/"):
            path = f"/v1/ext.cattle.io.tokens/{name.removeprefix('ext/')}"
        else:
            path = f"/v3/tokens/{name}"
        answer = self._client.ask("GET", path, accept=(403, 404))
        if answer.error is not None:
            return None
        token = answer.json()
        text = token.get("expiresAt") or (token.get("status") or {}).get("expiresAt") or ""
        # Go writes the year 1 for a time that is not set.
        return None if not text or text.startswith("0001-") else datetime.fromisoformat(text).timestamp()


def _is_of(binding: Json, person: str) -> bool:
    """Whether the bot has made it, for that person; '' for anybody."""
    labels = binding.get("labels") or {}
    return labels.get(LABEL_MANAGED) == "true" and person in ("", labels.get(LABEL_PERSON))


def _machine_path(name: str) -> str:
    return f"{MACHINES}/{NAMESPACE}/{name}"


def _cluster_path(name: str) -> str:
    return f"{CLUSTERS}/{NAMESPACE}/{name}"


def _version_key(version: str) -> tuple[int, int, int, bool, str, int]:
    """Semantic order, then the distribution's own release number, which semantic versioning ignores."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(f"no version of RKE2 or K3s: {version}")
    major, minor, patch, candidate, release = found.groups()
    return int(major), int(minor), int(patch), candidate is None, candidate or "", int(release)
