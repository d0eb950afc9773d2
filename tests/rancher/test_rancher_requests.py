"""What exactly is sent, and what is made of answers that the simulated world does not give."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from scripted import Asked, Hands, Reply, Scripted

from bot.core.capacity.places import gpu_places
from bot.core.ports import ChartOrder, Permanent, Refused, StoredSecret, Temporary
from bot.core.spec import Envelope, GpuExpectation, Place, Pool, Taint
from bot.rancher import RancherAdapter, bodies
from bot.rancher.adapter import DELETE_MACHINE
from bot.rancher.cloud_init import USERDATA

CONTROL = Pool("cp", "t3.xlarge", 1, True, False, False, 60, "b", "subnet-1", "ami-1")
GPU = Pool(
    "gpu", "g6.2xlarge", 2, False, True, True, 120, "b", "subnet-1", "ami-1",
    labels=(("team", "vision"),), taints=(Taint("nvidia.com/gpu", "present"), Taint("gpu-cluster/unverified", "true")),
)  # fmt: skip
ENVELOPE = Envelope(
    name="train-a", team="vision", target="default", preset="l4", account="1", region="eu-west-1", vpc="vpc-1",
    cloud_credential="cattle-global-data:cc-abcde", security_group="gpu-nodes", ssh_user="ubuntu",
    kubernetes="v1.34.6+rke2r1", operator="v26.7.0", driver="", probe_image="python@sha256:0", pools=(CONTROL, GPU),
    gpu=GpuExpectation("g6.2xlarge", "L4", 1, 23034), gpus=2, hours=8,
)  # fmt: skip
ONE = "/v1/provisioning.cattle.io.clusters/fleet-default/train-a"
END = "2026-12-01T00:00:00Z"
REPOS = "/k8s/clusters/c-m-1/v1/catalog.cattle.io.clusterrepos"


def test_a_machine_config() -> None:
    body = bodies.machine_config(ENVELOPE, GPU, "r-1")
    assert body["metadata"] == {
        "namespace": "fleet-default",
        "name": "nc-train-a-gpu",
        "labels": {"gpu-cluster/managed": "true", "gpu-cluster/request": "r-1", "gpu-cluster/cluster": "train-a"},
    }
    assert "spec" not in body and "iamInstanceProfile" not in body
    assert body["rootSize"] == "120", "an int flag of the driver is a string here"
    assert body["tags"] == "gpu-cluster/managed,true,gpu-cluster/request,r-1,gpu-cluster/cluster,train-a"
    assert (body["region"], body["zone"], body["vpcId"], body["subnetId"]) == ("eu-west-1", "b", "vpc-1", "subnet-1")
    assert (body["securityGroup"], body["securityGroupReadonly"]) == (["gpu-nodes"], True)
    assert (body["httpEndpoint"], body["httpTokens"]) == ("enabled", "required")
    assert (body["volumeType"], body["encryptEbsVolume"]) == ("gp3", True)


def test_without_vpc_and_group_the_driver_s_own_are_left() -> None:
    body = bodies.machine_config(replace(ENVELOPE, vpc="", security_group=""), GPU, "r-1")
    assert not {"vpcId", "securityGroup", "securityGroupReadonly"} & body.keys()


def test_the_userdata_is_cloud_config_that_holds_the_kernel() -> None:
    assert USERDATA.startswith("#cloud-config\n")
    config = yaml.safe_load(USERDATA)
    assert 'Unattended-Upgrade "0"' in config["write_files"][0]["content"]
    assert any("apt-mark hold" in command for command in config["runcmd"])
    assert len(USERDATA) < 8192, "EC2 takes 16 KB of Rancher's bootstrap and this together"


def test_a_cluster() -> None:
    body = bodies.cluster(ENVELOPE, "r-1")
    spec = body["spec"]
    assert spec["kubernetesVersion"] == "v1.34.6+rke2r1"
    assert spec["cloudCredentialSecretName"] == "cattle-global-data:cc-abcde"
    assert spec["localClusterAuthEndpoint"] == {"enabled": False}
    rke = spec["rkeConfig"]
    plugins = "enable-admission-plugins=NodeRestriction,ExtendedResourceToleration"
    assert rke["machineGlobalConfig"]["kube-apiserver-arg"] == [plugins]
    assert rke["machineGlobalConfig"]["cni"] == "calico"
    assert {len(rke["upgradeStrategy"][f"{who}DrainOptions"]) for who in ("controlPlane", "worker")} == {8}
    control, gpu = rke["machinePools"]
    roles = [[pool[f"{role}Role"] for role in ("etcd", "controlPlane", "worker")] for pool in (control, gpu)]
    assert roles == [[True, True, False], [False, False, True]]
    assert "taints" not in control
    assert gpu["quantity"] == 2
    assert gpu["labels"] == {"gpu-cluster/pool": "gpu", "team": "vision"}
    assert [taint["key"] for taint in gpu["taints"]] == ["nvidia.com/gpu", "gpu-cluster/unverified"]
    assert gpu["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert gpu["machineConfigRef"] == {"kind": "Amazonec2Config", "name": "nc-train-a-gpu"}
    assert {pool["unhealthyNodeTimeout"] for pool in (control, gpu)} == {"0m"}


def test_an_object_that_goes_between_conflict_and_get_is_temporary(server: Scripted, rancher: RancherAdapter) -> None:
    server.on("POST /v1/provisioning.cattle.io.clusters", Reply(409, {"code": "AlreadyExists", "message": "exists"}))
    with pytest.raises(Temporary, match="does not show it"):
        rancher.ensure_cluster(ENVELOPE, "r-1")


def pools(*names: str, generation: int | None = None, **first: Any) -> Reply:
    listed = [{"name": name, "quantity": 2} for name in names]
    return Reply(
        200,
        {
            "metadata": {"name": "train-a", **({"generation": generation} if generation else {})},
            "spec": {"rkeConfig": {"machinePools": [{**listed[0], **first}, *listed[1:]]}},
        },
    )


def test_a_pool_is_lowered_by_name_though_the_pools_move(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu", "cp"), pools("cp", "gpu"), pools("cp", "gpu"))
    server.on(f"PATCH {ONE}", Reply(422, {"message": "test failed"}), Reply(409, {"message": "Conflict"}), Reply(200))
    assert rancher.trim_pools("train-a", {"gpu": 0, "cp": 2}) == ("pool gpu: 2 machines, 0 approved",)
    patches = server.calls(f"PATCH {ONE}")
    assert [patch.json()[0]["path"][-6] for patch in patches] == ["0", "1", "1"]
    assert patches[-1].headers["Content-Type"] == "application/json-patch+json"
    assert patches[-1].json() == [
        {"op": "test", "path": "/spec/rkeConfig/machinePools/1/name", "value": "gpu"},
        {"op": "test", "path": "/spec/rkeConfig/machinePools/1/quantity", "value": 2},
        {"op": "add", "path": "/spec/rkeConfig/machinePools/1/quantity", "value": 0},
    ]


def test_pools_that_cannot_be_lowered_for_conflicts_are_temporary(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu"))
    server.on(f"PATCH {ONE}", Reply(409, {"message": "the object has been modified"}))
    with pytest.raises(Temporary, match="the object has been modified"):
        rancher.trim_pools("train-a", {"gpu": 1})


@pytest.mark.parametrize("most", [2, 3])
def test_nothing_is_ever_raised(server: Scripted, rancher: RancherAdapter, most: int) -> None:
    server.on(f"GET {ONE}", pools("gpu"))
    assert rancher.trim_pools("train-a", {"gpu": most}) == ()
    assert server.calls(f"PATCH {ONE}") == []


def test_a_pool_that_nobody_approved_is_lowered_to_nothing(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu", "tpu"))
    server.on(f"PATCH {ONE}", Reply(200))
    assert rancher.trim_pools("train-a", {"gpu": 2}) == ("pool tpu: 2 machines, 0 approved",)


WITH_PLACES = replace(ENVELOPE, places=(Place("g6.2xlarge", "b", "subnet-1"), Place("g6.4xlarge", "a", "subnet-2")))


def sized(*counts: int) -> tuple[Pool, ...]:
    """The GPU pools of an order of two machines, first choice and sibling, with these sizes."""
    return tuple(replace(pool, count=n) for pool, n in zip(gpu_places(WITH_PLACES), counts, strict=True))


def test_a_sibling_is_added_in_the_change_that_holds_the_sizes_together(
    server: Scripted, rancher: RancherAdapter
) -> None:
    server.on(f"GET {ONE}", pools("cp", "gpu", generation=7))
    server.on("POST /v1/rke-machine-config.cattle.io.amazonec2configs", Reply(201, {}))
    server.on(f"PATCH {ONE}", Reply(200))
    rancher.size_pools(WITH_PLACES, sized(1, 1), "r-1")
    (config,) = server.calls("POST /v1/rke-machine-config.cattle.io.amazonec2configs")
    assert config.json()["metadata"]["name"] == "nc-train-a-gpu-2"
    assert (config.json()["instanceType"], config.json()["zone"], config.json()["subnetId"]) == (
        "g6.4xlarge",
        "a",
        "subnet-2",
    )
    (patch,) = server.calls(f"PATCH {ONE}")
    assert patch.json()[0] == {"op": "test", "path": "/metadata/generation", "value": 7}
    assert patch.json()[-2] == {"op": "add", "path": "/spec/rkeConfig/machinePools/1/quantity", "value": 1}
    added = patch.json()[-1]
    assert (added["op"], added["path"]) == ("add", "/spec/rkeConfig/machinePools/-")
    assert (added["value"]["name"], added["value"]["quantity"]) == ("gpu-2", 1)
    assert added["value"]["labels"]["gpu-cluster/pool"] == "gpu", "by which everything finds its nodes"
    assert {taint["key"] for taint in added["value"]["taints"]} == {"nvidia.com/gpu", "gpu-cluster/unverified"}


def test_a_sibling_that_is_there_is_not_added_again(server: Scripted, rancher: RancherAdapter) -> None:
    """As after a process that died between the change and its note of it."""
    server.on(f"GET {ONE}", pools("gpu", "gpu-2", quantity=0))
    rancher.size_pools(WITH_PLACES, sized(0, 2), "r-1")
    assert server.calls(f"PATCH {ONE}") == []
    assert server.calls("POST /v1/rke-machine-config.cattle.io.amazonec2configs") == []


def test_a_lost_race_is_read_again_and_the_config_is_made_once(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu", quantity=0), pools("gpu", "gpu-2", quantity=0))
    server.on("POST /v1/rke-machine-config.cattle.io.amazonec2configs", Reply(201, {}))
    server.on(f"PATCH {ONE}", Reply(409, {"message": "the object has been modified"}))
    rancher.size_pools(WITH_PLACES, sized(0, 2), "r-1")
    assert len(server.calls(f"PATCH {ONE}")) == 1
    assert len(server.calls("POST /v1/rke-machine-config.cattle.io.amazonec2configs")) == 1


def test_more_than_was_approved_is_never_asked_for(server: Scripted, rancher: RancherAdapter) -> None:
    """The first pool, which this change leaves alone, has been raised by somebody."""
    server.on(f"GET {ONE}", pools("gpu", quantity=1))
    server.on("POST /v1/rke-machine-config.cattle.io.amazonec2configs", Reply(201, {}))
    with pytest.raises(Permanent, match="would come to 3 machines; 2 are approved"):
        rancher.size_pools(WITH_PLACES, sized(0, 2)[1:], "r-1")
    assert server.calls(f"PATCH {ONE}") == []


def test_a_cluster_that_goes_while_it_is_deleted_is_gone(server: Scripted, rancher: RancherAdapter) -> None:
    labels = {"gpu-cluster/request": "r-1"}
    server.on(f"GET {ONE}", Reply(200, {"metadata": {"name": "train-a", "labels": labels}}))
    rancher.delete_cluster("train-a", ("r-0", "r-1"))
    assert len(server.calls(f"DELETE {ONE}")) == 1


def test_a_management_cluster_we_may_no_longer_see_counts_as_gone(server: Scripted, rancher: RancherAdapter) -> None:
    path = "/v1/management.cattle.io.clusters/c-m-1"
    server.on(
        f"GET {path}", Reply(200, {"metadata": {"name": "c-m-1"}}), Reply(403, {"message": "forbidden"}), Reply(404)
    )
    assert [rancher.management_cluster_gone("c-m-1") for _ in range(3)] == [False, True, True]


def test_versions_are_in_the_order_of_their_releases(server: Scripted, rancher: RancherAdapter) -> None:
    names = ["v1.34.10+rke2r1", "v1.34.6+rke2r10", "v1.34.6+rke2r2", "v1.34.6-rc3+rke2r1", "v1.9.0+rke2r1", "odd"]
    data = [{"version": name, "serverArgs": {"a": 1}, "agentArgs": {"a": 1}} for name in names]
    server.on("GET /v1-rke2-release/releases", Reply(200, {"data": [*data, {"version": "v1.36.0+rke2r1"}]}))
    assert rancher.kubernetes_versions() == (
        "v1.9.0+rke2r1",
        "v1.34.6-rc3+rke2r1",
        "v1.34.6+rke2r2",
        "v1.34.6+rke2r10",
        "v1.34.10+rke2r1",
    )
    server.on("GET /v1-rke2-release/releases", Reply(200, {"data": None}))
    assert rancher.kubernetes_versions() == ()


@pytest.mark.parametrize(
    ("token", "path", "answer", "expires"),
    [
        ("token-x:s", "/v3/tokens/token-x", {"expiresAt": END}, 1796083200.0),
        ("token-x:s", "/v3/tokens/token-x", {"expiresAt": ""}, None),
        ("ext/token-y:s", "/v1/ext.cattle.io.tokens/token-y", {"status": {"expiresAt": END}}, 1796083200.0),
        ("token-x:s", "/v3/tokens/token-x", {"expiresAt": "0001-01-01T00:00:00Z"}, None),
        ("token-x:s", "/v3/elsewhere", {}, None),
    ],
)  # fmt: skip
def test_when_the_token_ends(
    server: Scripted, hands: Hands, token: str, path: str, answer: dict[str, Any], expires: float | None
) -> None:
    server.on("GET /rancherversion", Reply(200, {"Version": "v2.14.4"}))
    server.on("GET /v3/users", Reply(200, {"data": [{"id": "u-other"}, {"id": "u-bot", "me": True}]}))
    server.on(f"GET {path}", Reply(200, answer))
    adapter = RancherAdapter(server.url, token, clock=hands)
    about = adapter.about()
    adapter.close()
    assert (about.version, about.user_id, about.token_expires_at) == ("v2.14.4", "u-bot", expires)


def test_the_chart_s_order_as_rancher_wants_it(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"POST {REPOS}/nvidia", Reply(201, {"operationName": "helm-operation-1", "operationNamespace": "gpu"}))
    order = ChartOrder("nvidia", "gpu-operator", "v26.7.0", "rel", "gpu", "c-m-1:p-1", {"driver": {"enabled": True}})
    assert rancher.install_chart("c-m-1", order) == "helm-operation-1"
    (asked,) = server.asked
    assert asked.query == {"action": "upgrade"}
    body = asked.json()
    assert (body["wait"], body["timeout"], body["projectId"], body["namespace"]) == (False, "1200s", "c-m-1:p-1", "gpu")
    (chart,) = body["charts"]
    assert (chart["chartName"], chart["version"], chart["releaseName"]) == ("gpu-operator", "v26.7.0", "rel")
    assert chart["values"] == {"driver": {"enabled": True}}
    rancher.install_chart("c-m-1", replace(order, project=""))
    assert "projectId" not in server.asked[-1].json()


def test_a_repo_made_by_two_at_once_is_looked_at_again_later(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"POST {REPOS}", Reply(409, {"message": "already exists"}), Reply(404, "404 page not found"))
    for words in ("somebody else", "no catalog yet"):
        with pytest.raises(Temporary, match=words):
            rancher.ensure_repo("c-m-1", "nvidia", "https://charts.example", "r-1")


def test_a_failed_download_is_asked_for_again_after_half_a_minute(
    server: Scripted, rancher: RancherAdapter, hands: Hands
) -> None:
    failed = {"observedGeneration": 1, "conditions": [{"type": "Downloaded", "status": "False", "message": "no route"}]}
    repo: dict[str, Any] = {
        "metadata": {"name": "nvidia", "generation": 1, "creationTimestamp": "2026-11-25T10:00:00Z"},
        "spec": {"url": "https://charts.example"},
        "status": failed,
    }

    def force(asked: Asked) -> Reply:
        assert asked.headers["Content-Type"] == "application/merge-patch+json"
        repo["spec"] |= asked.json()["spec"]
        return Reply(200, repo)

    server.on(f"GET {REPOS}/nvidia", lambda _: Reply(200, json.loads(json.dumps(repo))))
    server.on(f"PATCH {REPOS}/nvidia", force)
    patches = []
    hands.world = 1_795_600_800.0  # 2026-11-25T10:00:00Z
    for _ in range(8):
        hands.world += 10
        assert rancher.ensure_repo("c-m-1", "nvidia", "https://charts.example", "r-1").message == "no route"
        patches.append(len(server.calls(f"PATCH {REPOS}/nvidia")))
    assert patches == [0, 0, 1, 1, 1, 2, 2, 2]
    assert repo["spec"]["forceUpdate"] == "2026-11-25T10:01:00Z"


@pytest.mark.parametrize(
    ("principal", "field"),
    [("github_user://42", "userPrincipalId"), ("okta_group://ml", "groupPrincipalId")],
)
def test_a_role_is_bound_to_a_person_or_a_group(
    server: Scripted, rancher: RancherAdapter, principal: str, field: str
) -> None:
    path = "/v3/clusterroletemplatebindings"
    there = {"clusterId": "c-m-1", "roleTemplateId": "cluster-member", "userPrincipalId": "local://u-other"}
    server.on(f"GET {path}", Reply(200, {"data": [there, {**there, "roleTemplateId": "other", field: principal}]}))
    server.on(f"POST {path}", Reply(201, {}))
    rancher.bind_role("c-m-1", principal, "cluster-member")
    (asked,) = server.calls(f"POST {path}")
    assert asked.json()[field] == principal
    assert server.calls(f"GET {path}")[0].query == {"clusterId": "c-m-1"}


def test_a_log_that_is_not_there_yet_is_empty(server: Scripted, rancher: RancherAdapter) -> None:
    assert rancher.operation_log("c-m-1", "gpu", "") == ""
    assert server.asked == []
    log = "/k8s/clusters/c-m-1/api/v1/namespaces/cattle-system/pods/op-1/log"
    server.on(f"GET {log}", Reply(400, {"message": "container helm is waiting to start"}), Reply(200, "done\n"))
    assert rancher.operation_log("c-m-1", "gpu", "op-1") == ""
    assert rancher.operation_log("c-m-1", "gpu", "op-1") == "done\n"


def test_a_pod_of_another_name_is_followed(server: Scripted, rancher: RancherAdapter) -> None:
    status = {"podName": "pod-9", "podNamespace": "elsewhere"}
    server.on("GET /k8s/clusters/c-m-1/v1/catalog.cattle.io.operations/gpu/op-1", Reply(200, {"status": status}))
    server.on("GET /k8s/clusters/c-m-1/api/v1/namespaces/elsewhere/pods/pod-9/log", Reply(200, "helm says\n"))
    assert rancher.operation_log("c-m-1", "gpu", "op-1") == "helm says\n"
    assert server.asked[-1].query == {"container": "helm", "tailLines": "200"}


def test_a_credential_we_may_not_see_is_none(server: Scripted, rancher: RancherAdapter) -> None:
    server.on("GET /v3/cloudcredentials/cattle-global-data:cc-1", Reply(403, {"message": "no"}), Reply(500, {}))
    assert not rancher.has_credential("cattle-global-data:cc-1")
    with pytest.raises(Temporary):
        rancher.has_credential("cattle-global-data:cc-1")


def test_a_secret_is_known_by_its_type_and_the_names_of_its_keys(server: Scripted, rancher: RancherAdapter) -> None:
    held = {
        "id": "fleet-default/login",
        "type": "secret",
        "_type": "rke.cattle.io/auth-config",
        "data": {"b": "Yg==", "a": "YQ=="},
    }
    server.on(
        "GET /v1/secrets/fleet-default/login", Reply(200, held), Reply(404, {"message": 'secrets "login" not found'})
    )
    assert rancher.secret("login") == StoredSecret("rke.cattle.io/auth-config", ("a", "b"))
    assert rancher.secret("login") is None


@pytest.mark.parametrize(
    "answer", [Reply(403, {"message": "no"}), Reply(404, {"message": "schema [secrets] not found"})]
)
def test_a_secret_that_is_hidden_is_not_missing(server: Scripted, rancher: RancherAdapter, answer: Reply) -> None:
    server.on("GET /v1/secrets/fleet-default/login", answer)
    with pytest.raises(Refused):
        rancher.secret("login")


def test_a_pool_nobody_knows(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu"))
    plain = next(pool for pool in ENVELOPE.pools if not pool.gpu)
    with pytest.raises(Permanent, match=f"no machine pool {plain.name}"):
        rancher.size_pools(ENVELOPE, (plain,), "r-1")
    assert server.calls(f"PATCH {ONE}") == []


def test_a_pool_that_was_held_works_again(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu", quantity=1, paused=True))
    server.on(f"PATCH {ONE}", Reply(409, {"message": "Conflict"}), Reply(200))
    rancher.size_pools(WITH_PLACES, sized(2, 0), "r-1")
    where = "/spec/rkeConfig/machinePools/0"
    assert server.calls(f"PATCH {ONE}")[-1].json() == [
        {"op": "test", "path": f"{where}/name", "value": "gpu"},
        {"op": "test", "path": f"{where}/quantity", "value": 1},
        {"op": "add", "path": f"{where}/quantity", "value": 2},
        {"op": "add", "path": f"{where}/paused", "value": False},
    ]


def test_a_plain_pool_is_never_larger_than_approved(server: Scripted, rancher: RancherAdapter) -> None:
    plain = next(pool for pool in ENVELOPE.pools if not pool.gpu)
    server.on(f"GET {ONE}", pools(plain.name, quantity=plain.count))
    with pytest.raises(Permanent, match=f"{plain.count + 1} machines; {plain.count} are approved"):
        rancher.size_pools(ENVELOPE, (replace(plain, count=plain.count + 1),), "r-1")
    assert server.calls(f"PATCH {ONE}") == []


def test_a_machine_is_marked_to_go_first_and_one_that_is_gone_is_no_error(
    server: Scripted, rancher: RancherAdapter
) -> None:
    machine = "/v1/cluster.x-k8s.io.machines/fleet-default/m-1"
    there, marked = ({"metadata": {"name": "m-1", "annotations": {DELETE_MACHINE: value}}} for value in ("", "yes"))
    server.on(f"GET {machine}", Reply(200, there), Reply(200, marked), Reply(200, marked), Reply(404))
    server.on(f"PATCH {machine}", Reply(200))
    server.on(f"DELETE {machine}", Reply(404))
    rancher.mark_machine("m-1")
    rancher.mark_machine("m-1")
    for _ in range(2):
        rancher.remove_machine("m-1")
    rancher.mark_machine("m-1")
    assert (len(server.calls(f"PATCH {machine}")), len(server.calls(f"DELETE {machine}"))) == (1, 1)
    first = server.calls(f"PATCH {machine}")[0]
    assert first.headers["Content-Type"] == "application/merge-patch+json"
    assert first.json() == {"metadata": {"annotations": {"cluster.x-k8s.io/delete-machine": "yes"}}}


def test_a_pool_that_has_its_size_is_left_alone(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {ONE}", pools("gpu", quantity=2))
    rancher.size_pools(WITH_PLACES, sized(2, 0), "r-1")
    assert server.calls(f"PATCH {ONE}") == []
