"""The shipped role against the calls that the code makes, as Rancher counted them: no fewer rights, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import yaml
from living import REQUEST, Living
from scripted import Hands, Reply, Scripted

from bot import doctor
from bot.core.ports import Refused, Temporary
from bot.rancher import RancherAdapter
from bot.rancher.rights import NEEDED

NEVER_ASKED_THERE = {"manage-namespaces", "updatepsa"}
"""Rancher's webhook asks for these inside of a cluster, when a namespace is put into a project and gets its labels
(rancher/webhook: docs.md)."""


def needed() -> set[tuple[str, str, str, str]]:
    return {
        (right.group, right.resource, verb, "owned" if right.owned else right.namespace)
        for right in NEEDED
        for verb in right.verbs
        if verb not in NEVER_ASKED_THERE
    }


def everything(living: Living) -> None:
    """Every question and every change of Rancher's management API that the core's `Rancher` knows."""
    rancher, envelope = living.rancher, living.envelope(gpu_machines=2)
    rancher.about(), rancher.kubernetes_versions(), rancher.default_kubernetes()
    assert rancher.has_credential(envelope.cloud_credential)
    assert rancher.has_role("gpu-cluster-user")
    rancher.delete_cluster("train-a", (REQUEST,))
    rancher.ensure_machine_config(envelope, envelope.pools[0], REQUEST)
    rancher.delete_cluster("train-a", (REQUEST,))
    living.order(envelope)
    living.order(envelope)
    living.forward(600)
    view = rancher.observe("train-a", newer_than=0)
    assert view is not None and view.connected
    mid = view.management_id
    rancher.observe("train-b", newer_than=0)
    rancher.system_project(mid)
    machine = view.pool("gpu")[0].name
    rancher.mark_machine(machine)
    rancher.remove_machine(machine)
    gpu = next(pool for pool in envelope.pools if pool.gpu)
    rancher.size_pools(envelope, (replace(gpu, count=1),), REQUEST)
    rancher.trim_pools("train-a", {"cp": 1, "wk": 1, "gpu": 0})
    rancher.bind_role(mid, "local://u-requester", "gpu-cluster-user", person="UREQUESTER")
    rancher.unbind(mid, "UREQUESTER")
    rancher.let_tokens_through(mid, may_change=True)
    rancher.delete_cluster("train-a", (REQUEST,))
    living.forward(900)
    assert rancher.management_cluster_gone(mid)


def test_what_the_bot_asks_is_what_it_says_it_needs(living: Living) -> None:
    everything(living)
    assert living.world.gateway.rights.asked == needed()


def test_the_shipped_role_says_the_same() -> None:
    role = yaml.safe_load((resources.files("manifests") / "rancher" / "bot-role.yaml").read_text())
    base = {("management.cattle.io", "settings", "get", "")}
    assert (
        set(_granted(role)) - {("", "secrets", "get", "cattle-global-data")}
        == {right for right in needed() if right[3] != "owned"} - base
    )
    (secret,) = role["namespacedRules"]["cattle-global-data"]
    assert secret["resourceNames"], "never every credential that Rancher has"
    verbs = {verb for right in _granted(role) for verb in (right[2],)}
    assert "*" not in verbs and not verbs & {"bind", "escalate", "impersonate", "deletecollection"}


def _granted(role: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for namespace, rules in {"": role["rules"], **role["namespacedRules"]}.items():
        for rule in rules:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from ((group, resource, verb, namespace) for verb in rule["verbs"])


def test_rancher_says_of_each_right_whether_it_is_there(living: Living) -> None:
    views = living.rancher.rights("")
    assert {view.state for view in views} == {"ok"} and len(views) == sum(not right.owned for right in NEEDED)
    living.order(living.envelope())
    living.forward(600)
    view = living.rancher.observe("train-a", newer_than=0)
    assert view is not None
    assert {view.state for view in living.rancher.rights(view.management_id)} == {"ok"}


def test_what_is_missing_is_named_with_what_to_grant(living: Living) -> None:
    rules = living.world.gateway.rights.role
    for rule in rules["namespacedRules"]["fleet-default"]:
        rule["verbs"] = [verb for verb in rule["verbs"] if verb not in ("create", "patch")]
    rules["rules"] = []
    checks = list(doctor.rights_checks(living.rancher, ""))
    noes = {check.detail: check.remedy for check in checks if check.state == "no"}
    said = " ".join(noes)
    assert "create clusters.provisioning.cattle.io in fleet-default; it needs that to make clusters" in said
    assert "get roletemplates.management.cattle.io" in said
    assert all("manifests/rancher/bot-role.yaml" in remedy for remedy in noes.values())
    unknown = " ".join(check.detail for check in checks if check.state == "unknown")
    assert "patch machines.cluster.x-k8s.io, to see machines, and to replace a bad one" in unknown
    assert "Cluster Owner" in unknown
    with pytest.raises(Refused, match="cannot create resource"):
        living.order(living.envelope())


def test_where_rancher_reviews_nothing_its_schemas_are_read(
    server: Scripted, rancher: RancherAdapter, hands: Hands
) -> None:
    machine = {"collectionMethods": ["GET"], "resourceMethods": ["GET", "PUT", "PATCH", "DELETE"]}
    server.on("GET /v1/schemas/cluster.x-k8s.io.machine", Reply(200, machine))
    cluster = {"collectionMethods": ["GET"], "resourceMethods": ["GET"]}
    server.on("GET /v1/schemas/provisioning.cattle.io.cluster", Reply(200, cluster))
    states = {(view.what, view.verbs[0]): view.state for view in rancher.rights("c-m-1")}
    assert states["machines.cluster.x-k8s.io", "get"] == "ok"
    assert states["clusters.provisioning.cattle.io", "create"] == "no"
    assert states["amazonec2configs.rke-machine-config.cattle.io", "create"] == "unknown", "no such schema: who knows"
    assert states["projects.management.cattle.io", "list"] == "unknown", "schemas know no verbs of Rancher's own"


def test_a_rancher_that_does_not_answer_is_no_missing_right() -> None:
    class Down:
        def rights(self, management_id: str) -> Any:
            raise Temporary("Rancher cannot be reached.", "Check RANCHER_URL.")

    (check,) = doctor.rights_checks(Down(), "")  # type: ignore[arg-type]
    assert (check.state, check.remedy) == ("unknown", "Check RANCHER_URL.")
