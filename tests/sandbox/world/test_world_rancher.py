"""Rancher's APIs: what they answer and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.sandbox.world import World, WorldClock
from tests.sandbox.world.rig import REGION, Rig, cluster_body, machine_config

CLUSTERS = "/v1/provisioning.cattle.io.clusters"
CONFIGS = "/v1/rke-machine-config.cattle.io.amazonec2configs"
CLUSTER = f"{CLUSTERS}/fleet-default/gpu01"
MERGE = {"Content-Type": "application/merge-patch+json"}


def config(**fields: Any) -> dict[str, Any]:
    return {**machine_config("nc-x", "t3.medium", {"VpcId": "vpc-1", "SubnetId": "subnet-1"}), **fields}


def in_cluster(path: str, value: Any) -> dict[str, Any]:
    """The usual body with one value of its spec changed; ``path`` like ``rkeConfig.machinePools.0.quantity``."""
    body = cluster_body("gpu01")
    *parents, last = path.split(".")
    inner: Any = body["spec"]
    for part in parents:
        inner = inner[int(part)] if isinstance(inner, list) else inner.setdefault(part, {})
    inner[int(last) if isinstance(inner, list) else last] = value
    return body


def test_without_the_token_only_public_paths_answer(rig: Rig) -> None:
    for path in ("/rancherversion", "/ping", "/v3/settings/cacerts", "/v1-rke2-release/releases"):
        assert requests.get(rig.url + path, timeout=5).status_code == 200
    for headers in ({}, {"Authorization": "Bearer token-bot:wrong"}):
        for path in ("/v3/users?me=true", CLUSTERS, "/k8s/clusters/c-m-none/version", "/nothing"):
            answer = requests.get(rig.url + path, headers=headers, timeout=5)
            assert (answer.status_code, answer.json()["type"]) == (401, "error")


def test_identity_and_settings(rig: Rig) -> None:
    assert rig.get("/rancherversion")["Version"] == "v2.15.0"
    assert rig.get("/rancherversion")["RancherPrime"] == "false"
    assert rig.get("/ping") == "pong"
    (me,) = rig.get("/v3/users", me="true")["data"]
    assert me["me"] is True
    assert rig.get("/v3/tokens/token-bot")["userId"] == me["id"]
    assert rig.get("/v3/settings/rke2-default-version")["value"] == "1.35.3+rke2r1"
    assert rig.get("/v3/nodedrivers/amazonec2")["active"] is True
    credentials = {c["id"]: c["amazonec2credentialConfig"] for c in rig.get("/v3/cloudcredentials")["data"]}
    assert credentials["cattle-global-data:cc-sandbox"]["defaultRegion"] == REGION
    assert len({c["defaultRegion"] for c in credentials.values()}) == 2
    assert all("secretKey" not in c for c in credentials.values())
    releases = rig.get("/v1-rke2-release/releases")["data"]
    usable = [r["version"] for r in releases if r.get("serverArgs") and r.get("agentArgs")]
    assert "v1.34.6+rke2r1" in usable
    assert len(usable) < len(releases)
    assert all("k3s" in r["version"] for r in rig.get("/v1-k3s-release/releases")["data"])


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v3/nothing",
        "/v3/users/u-none",
        "/v3/settings/nothing",
        "/v1/no.such.type",
        f"{CLUSTERS}/fleet-default/x",
    ],
)
def test_unknown_paths_are_404(rig: Rig, path: str) -> None:
    rig.get(path, expect=404)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (config(rootSize=100), "rootSize in body must be of type string"),
        (config(tags=["a", "b"]), "tags in body must be of type string"),
        (config(securityGroup="rancher-nodes"), "must be of type array"),
        (config(encryptEbsVolume="true"), "must be of type boolean"),
        ({**config(), "spec": {"region": REGION}}, "spec: Forbidden"),
        (config(metadata={"namespace": "fleet-default"}), "metadata.name: Required value"),
    ],
)
def test_bad_machine_configs_are_refused(rig: Rig, body: dict[str, Any], words: str) -> None:
    refused = rig.post(CONFIGS, body, expect=422)
    assert refused["type"] == "error"
    assert refused["code"] == "Invalid"
    assert words in refused["message"]


def test_machine_config_loses_fields_that_the_driver_does_not_have(rig: Rig) -> None:
    stored = rig.post(CONFIGS, config(placementGroup="pg-1"))
    assert "placementGroup" not in stored
    assert stored["rootSize"] == "100"
    again = rig.post(CONFIGS, config(), expect=409)
    assert again["code"] == "AlreadyExists"


@pytest.mark.parametrize("name", ["local", "c-abcde", "x", "-gpu", "GPU", "gpu_1", "a" * 64])
def test_bad_cluster_names_are_refused(rig: Rig, name: str) -> None:
    assert rig.post(CLUSTERS, cluster_body(name), expect=422)["code"] == "Invalid"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (in_cluster("rkeConfig.machinePools.0.quantity", "1"), "must be of type integer"),
        (in_cluster("rkeConfig.machinePools.0.quantity", -1), "must not be negative"),
        (in_cluster("rkeConfig.machinePools.1.name", "cp"), "Duplicate value"),
        (in_cluster("rkeConfig.machinePools.0.taints", [{"key": 1}]), "must be of type string"),
        (in_cluster("rkeConfig.machinePools.0.labels", {"a": True}), "must be of type string"),
        (in_cluster("rkeConfig.machinePools.0.machineOS", "bsd"), "supported values"),
        (in_cluster("rkeConfig.machinePools.0.hostnameLengthLimit", 0), "greater than or equal to 10"),
        (in_cluster("rkeConfig.upgradeStrategy.workerDrainOptions", {"enabled": True}), "Required value"),
        (in_cluster("cloudCredentialSecretName", "cattle-global-data:cc-none"), "not found"),
    ],
)
def test_bad_clusters_are_refused(rig: Rig, body: dict[str, Any], words: str) -> None:
    assert words in rig.post(CLUSTERS, body, expect=422)["message"]


def test_cluster_is_pruned_completed_and_unique(rig: Rig) -> None:
    stored = rig.post(CLUSTERS, in_cluster("rkeConfig.gpuOperator", {"enabled": True}))
    assert "gpuOperator" not in stored["spec"]["rkeConfig"]
    assert all("dynamicSchemaSpec" in pool for pool in stored["spec"]["rkeConfig"]["machinePools"])
    assert stored["metadata"]["annotations"]["field.cattle.io/creatorId"] == "u-bot01"
    assert stored["metadata"]["generation"] == 1
    assert stored["id"] == "fleet-default/gpu01"
    assert rig.post(CLUSTERS, cluster_body("gpu01"), expect=409)["code"] == "AlreadyExists"
    rig.call("DELETE", CLUSTER)
    assert rig.post(CLUSTERS, cluster_body("gpu01"), expect=409)["code"] == "AlreadyExists"


def test_mistakes_that_come_to_light_later(rig: Rig) -> None:
    rig.post(CLUSTERS, cluster_body("gpu01"))
    rig.forward(30)
    state = rig.get(CLUSTER)["metadata"]["state"]
    assert state["error"] is True
    assert "invalid machinePool [cp] missing name or valid config" in state["message"]


def test_updates_need_the_present_revision(rig: Rig) -> None:
    rig.order()
    old = rig.get(CLUSTER)
    without = json.loads(json.dumps(old))
    del without["metadata"]["resourceVersion"]
    refused = rig.call("PUT", CLUSTER, 500, json=without)
    assert refused["message"] == "metadata.resourceVersion is required for update"
    rig.call("PATCH", CLUSTER, json={"metadata": {"labels": {"a": "b"}}}, headers=MERGE)
    refused = rig.call("PUT", CLUSTER, 409, json=old)
    assert (refused["code"], refused["status"]) == ("Conflict", 409)
    assert "the object has been modified" in refused["message"]


def test_patches(rig: Rig) -> None:
    rig.order()
    wrong = [{"op": "test", "path": "/spec/rkeConfig/machinePools/2/name", "value": "other"}]
    rig.call("PATCH", CLUSTER, 422, data=json.dumps(wrong), headers={"Content-Type": "application/json-patch+json"})
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    rig.call("PATCH", CLUSTER, 415, json={}, headers=strategic)
    before = rig.get(CLUSTER)["metadata"]["generation"]
    rig.call("PATCH", CLUSTER, json={"metadata": {"labels": {"x": "y"}}, "status": {"ready": True}}, headers=MERGE)
    after = rig.get(CLUSTER)
    assert after["metadata"]["generation"] == before
    assert after["status"].get("ready", False) is False
    assert after["metadata"]["labels"]["x"] == "y"


def test_lists_filter_by_indexed_fields_and_pages(rig: Rig) -> None:
    for name in ("a1", "a2", "b1"):
        rig.order(name)
    found = rig.get(CLUSTERS, filter="metadata.name~a")
    assert [c["metadata"]["name"] for c in found["data"]] == ["a1", "a2"]
    assert [c["id"] for c in rig.get(CLUSTERS, filter="metadata.name=b1")["data"]] == ["fleet-default/b1"]
    assert rig.get(CLUSTERS, expect=400, filter="spec.kubernetesVersion=x")["status"] == 400
    first = rig.get(f"{CLUSTERS}/fleet-default", limit="2", exclude="metadata.managedFields")
    assert len(first["data"]) == 2
    assert "managedFields" not in first["data"][0]["metadata"]
    rest = rig.get(f"{CLUSTERS}/fleet-default", limit="2", **{"continue": first["continue"]})
    assert [c["metadata"]["name"] for c in rest["data"]] == ["b1"]
    assert "managedFields" in rest["data"][0]["metadata"]
    rig.forward(30)
    machines = rig.get("/v1/cluster.x-k8s.io.machines", filter="spec.clusterName=a1")["data"]
    assert len(machines) == 3
    selected = rig.get("/v1/cluster.x-k8s.io.machines", labelSelector="rke.cattle.io/worker-role=true")["data"]
    assert len(selected) == 6


def test_downstream_answers_in_the_words_of_the_layer_in_front(rig: Rig) -> None:
    rig.order()
    rig.forward(5)
    for mid in (rig.mid(), "c-m-unknown1"):
        raw = rig.get(f"/k8s/clusters/{mid}/version", expect=503)
        assert json.loads(raw)["Code"] == {"Code": "ClusterUnavailable", "Status": 503}
        assert rig.get(f"/k8s/clusters/{mid}/v1/catalog.cattle.io.clusterrepos", expect=401) == ""
    said = ""
    while "impersonator" not in said:
        rig.forward(2)
        answer = rig.http.get(f"{rig.url}/k8s/clusters/{rig.mid()}/version", timeout=5)
        assert answer.status_code in (503, 500)
        said = answer.text
    rig.forward(10)
    assert rig.get(f"/k8s/clusters/{rig.mid()}/version")["gitVersion"] == "v1.34.6+rke2r1"


def test_messages_come_in_the_planners_order_and_ready_comes_early(rig: Rig) -> None:
    rig.order()
    messages, ready_at, states = [], 0, []
    for step in range(700):
        rig.forward(1)
        cluster = rig.get(CLUSTER)
        state = cluster["metadata"]["state"]
        if not messages or messages[-1] != state["message"]:
            messages.append(state["message"])
        if not states or states[-1] != state["name"]:
            states.append(state["name"])
        ready_at = ready_at or (step if cluster["status"]["ready"] else 0)
    wanted = [
        "CAPI cluster does not exist",
        "waiting for infrastructure ready",
        "waiting for at least one control plane, etcd, and worker node to be registered",
        "waiting for viable init node",
        "configuring bootstrap node(s) gpu01-cp-",
        "configuring control plane node(s) gpu01-cp-",
        "waiting for control plane to be available",
        "marking control plane as initialized",
        "configuring worker node(s) gpu01-",
    ]
    positions = [next(i for i, m in enumerate(messages) if m.startswith(w)) for w in wanted]
    assert positions == sorted(positions)
    assert any(m.endswith("waiting for agent to check in and apply initial plan") for m in messages)
    assert states == ["updating", "active", "updating", "active"]
    joined = [e.at_world for e in rig.world.events if e.kind == "node-ready"]
    assert ready_at < joined[0] - rig.world.events[0].at_world


def test_projects_principals_and_role_bindings(rig: Rig) -> None:
    rig.order()
    rig.forward(600)
    mid = rig.mid()
    (project,) = rig.get("/v3/projects", clusterId=mid, name="System")["data"]
    assert project["id"].startswith(f"{mid}:p-")
    (person,) = rig.post("/v3/principals?action=search", {"name": "requester"}, expect=200)["data"]
    bindings = "/v3/clusterroletemplatebindings"
    missing = rig.post(bindings, {"clusterId": mid}, expect=422)
    assert (missing["code"], missing["fieldName"]) == ("MissingRequired", "roleTemplateId")
    body = {"clusterId": mid, "roleTemplateId": "cluster-member"}
    rig.post(bindings, body, expect=422)
    rig.post(bindings, {**body, "roleTemplateId": "none", "userPrincipalId": person["id"]}, expect=422)
    made = rig.post(bindings, {**body, "userPrincipalId": person["id"]})
    assert rig.get(bindings, clusterId=mid)["data"] == [made]
    assert rig.get(bindings, clusterId="c-m-other")["data"] == []
    rig.call("DELETE", f"{bindings}/{made['id']}")
    assert rig.get(bindings, clusterId=mid)["data"] == []
    assert "cluster-owner" in {role["id"] for role in rig.get("/v3/roletemplates")["data"]}


def test_catalog_refusals(rig: Rig) -> None:
    rig.order()
    rig.forward(600)
    base = f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.clusterrepos"
    repo = {"metadata": {"name": "nvidia"}, "spec": {"url": "https://helm.ngc.nvidia.com/nvidia"}}
    rig.post(base, repo)
    assert rig.post(base, repo, expect=409)["code"] == "AlreadyExists"
    rig.post(base, {"metadata": {"name": "other"}, "spec": {"url": "https://charts.example.org"}})
    rig.get(f"{base}/nvidia?link=index", expect=404)
    rig.forward(15)
    conditions = {n: rig.get(f"{base}/{n}")["status"]["conditions"][0] for n in ("nvidia", "other")}
    assert (conditions["nvidia"]["type"], conditions["nvidia"]["status"]) == ("Downloaded", "True")
    assert (conditions["other"]["status"], "no such host" in conditions["other"]["message"]) == ("False", True)

    def versions(**params: str) -> list[str]:
        return [e["version"] for e in rig.get(f"{base}/nvidia", link="index", **params)["entries"]["gpu-operator"]]

    assert versions() == ["v26.7.0", "v26.3.3", "v26.3.2", "v25.10.1", "v25.3.4"]
    assert "v25.3.4" not in versions(k8sVersion="v1.35.3+rke2r1")
    assert "v25.3.4" in versions(k8sVersion="v1.35.3+rke2r1", skipFilter="true")

    def upgrade(expect: int, *, action: str = "upgrade", chart: str = "gpu-operator", version: str = "v26.3.3") -> Any:
        body = {"namespace": "gpu-operator", "charts": [{"chartName": chart, "version": version}]}
        return rig.post(f"{base}/nvidia?action={action}", body, expect=expect)

    upgrade(404, version="v1.2.3")
    upgrade(404, chart="other")
    upgrade(404, action="explode")
    rig.post(f"{base}/nvidia?action=upgrade", {"charts": []}, expect=422)
    rig.post(f"{base}/nvidia?action=upgrade", {"charts": [{"chartName": "gpu-operator"}], "timeout": 600}, expect=422)
    upgrade(201, action="install")
    rig.forward(60)
    again = upgrade(201, action="install")
    rig.forward(30)
    operations = f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.operations/gpu-operator"
    failed = rig.get(f"{operations}/{again['operationName']}")
    assert failed["metadata"]["state"]["error"] is True
    assert "cannot re-use a name" in rig.get(f"{operations}/{again['operationName']}?link=logs")


def test_machine_that_is_deleted_is_replaced(rig: Rig) -> None:
    rig.order()
    rig.forward(600)
    machines = "/v1/cluster.x-k8s.io.machines/fleet-default"
    (old,) = [m for m in rig.get(machines)["data"] if "-gpu-" in m["metadata"]["name"]]
    deleted = rig.call("DELETE", f"{machines}/{old['metadata']['name']}")
    assert deleted["metadata"]["state"]["name"] == "removing"
    rig.forward(400)
    (new,) = [m for m in rig.get(machines)["data"] if "-gpu-" in m["metadata"]["name"]]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["status"]["phase"] == "Running"
    capi = {"apiGroups": ["cluster.x-k8s.io"], "resources": ["machinedeployments"], "verbs": ["get"]}
    rig.world.gateway.rights.role["namespacedRules"]["fleet-default"].append(capi)
    deployment = rig.get("/v1/cluster.x-k8s.io.machinedeployments/fleet-default/gpu01-gpu")
    assert (deployment["spec"]["replicas"], deployment["status"]["readyReplicas"]) == (1, 1)


def test_a_pool_shrinks_by_the_marked_machine_else_by_the_oldest(rig: Rig) -> None:
    rig.order(gpus=3)
    rig.forward(600)
    machines = "/v1/cluster.x-k8s.io.machines/fleet-default"
    names = [e.detail for e in rig.world.events if e.kind == "machine-created" and "-gpu-" in e.detail]
    mark = {"metadata": {"annotations": {"cluster.x-k8s.io/delete-machine": "yes"}}}
    rig.call("PATCH", f"{machines}/{names[1]}", json=mark, headers=MERGE)
    for quantity, left in ((2, [names[0], names[2]]), (1, [names[2]])):
        cluster = rig.get(CLUSTER)
        cluster["spec"]["rkeConfig"]["machinePools"][2]["quantity"] = quantity
        rig.call("PUT", CLUSTER, json=cluster)
        rig.forward(150)
        found = [m["metadata"]["name"] for m in rig.get(machines)["data"] if "-gpu-" in m["metadata"]["name"]]
        assert found == sorted(left)
    assert len(rig.core().list_node().items) == 3


def test_a_paused_pool_makes_machines_all_the_same(rig: Rig) -> None:
    rig.order(gpus=0)
    rig.forward(20)
    cluster = rig.get(CLUSTER)
    cluster["spec"]["rkeConfig"]["machinePools"][2] |= {"quantity": 2, "paused": True}
    rig.call("PUT", CLUSTER, json=cluster)
    rig.forward(20)
    assert any("-gpu-" in e.detail for e in rig.world.events), "what is paused is the change of templates"


def test_delete_while_it_is_being_made_leaves_no_instance(rig: Rig) -> None:
    rig.order()
    rig.forward(12)
    rig.call("DELETE", CLUSTER)
    rig.forward(300)
    rig.get(CLUSTER, expect=404)
    started = [e.detail.split()[1] for e in rig.world.events if e.kind == "instance-terminated"]
    assert len(started) == 3
    states = rig.ec2.describe_instances(InstanceIds=started)["Reservations"]
    assert {r["Instances"][0]["State"]["Name"] for r in states} == {"terminated"}
    assert rig.get(CONFIGS)["data"] == []
    rig.order()


def test_aws_refusals_reach_the_machine_word_for_word(rig: Rig) -> None:
    rig.order(gpu_type="p2.xlarge")
    rig.forward(30)
    infra = rig.get("/v1/rke-machine.cattle.io.amazonec2machines/fleet-default")["data"]
    texts = [m["status"].get("failureMessage", "") for m in infra]
    assert any("error launching instance: Unsupported: " in text for text in texts)


def test_calls_are_counted_by_template(rig: Rig) -> None:
    rig.order()
    rig.forward(600)
    mid = rig.mid()
    rig.get(f"/k8s/clusters/{mid}/api/v1/nodes")
    rig.get(f"/k8s/clusters/{mid}/api/v1/namespaces/kube-system/pods/none/log", expect=404)
    rig.get("/v3/settings/server-version")
    counts = rig.get("/sandbox/rancher/calls")
    assert counts["management"][f"POST {CLUSTERS}"] == 1
    assert counts["management"][f"POST {CONFIGS}"] == 3
    assert counts["management"][f"GET {CLUSTERS}/{{namespace}}/{{id}}"] == 1
    assert counts["management"]["GET /v3/settings/server-version"] == 1
    prefix = "GET /k8s/clusters/{id}/api/v1"
    assert counts["downstream"] == {f"{prefix}/nodes": 1, f"{prefix}/namespaces/{{namespace}}/pods/{{name}}/log": 1}
    assert counts["total"] == counts["management_total"] + counts["downstream_total"]
    world = rig.get("/sandbox/world")
    assert world["clusters"]["gpu01"]["state"] == "active"
    assert world["critical_path"] == {"gpu01": None}
    assert {"at_world", "cluster", "kind", "detail"} == set(world["log"][0])


def test_only_known_releases_are_played(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "c.json", manual=True)
    with pytest.raises(ValueError, match=r"plays Rancher 2\.11, 2\.13, 2\.15, not 2\.4"):
        World(clock, ec2_endpoint="http://127.0.0.1:1", faults=[], version="2.4")
