"""What a preset can say, as it is sent to Rancher: one test for each place that it has to reach."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from living import REQUEST, Living
from scripted import Reply, Scripted

from bot.core.base import read_base
from bot.core.done_rule import unmet
from bot.core.operator_values import operator_values
from bot.core.spec import Envelope, GpuExpectation, Pool, Taint, envelope_from_json, to_json
from bot.core.spec import envelope as envelope_module
from bot.core.wiring import Addon, Network
from bot.rancher import RancherAdapter, bodies
from bot.rancher.export import gitops, in_the_cluster, on_rancher
from bot.rancher.terraform import Block, Ref, resources, terraform

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
NETWORK = Network(
    proxy="http://proxy.corp:3128",
    no_proxy=("mirror.corp", "100.64.0.0/10"),
    ca=CA,
    mirrors=(("docker.io", "mirror.corp/hub"), ("nvcr.io", "mirror.corp")),
    registry_secret="mirror-login",
    pull_secrets=("mirror-pull",),
    chart_mirror="https://mirror.corp/charts/nvidia",
)
CONTROL = Pool("cp", "t3.xlarge", 3, True, False, False, 60, "b", "subnet-1", "ami-1")
GPU = Pool(
    "gpu", "g5g.xlarge", 2, False, True, True, 120, "b", "subnet-1", "ami-arm",
    labels=(("gpu-cluster/pool", "gpu"), ("team.example.com/tier", "gold")),
    taints=(
        Taint("nvidia.com/gpu", "present"), Taint("gpu-cluster/unverified", "true"),
        Taint("team.example.com/only", "vision"),
    ),
)  # fmt: skip
ENVELOPE = Envelope(
    name="train-a", team="vision", target="default", preset="l4", account="1", region="eu-west-1", vpc="vpc-1",
    cloud_credential="cattle-global-data:cc-abcde", security_group="gpu-nodes", ssh_user="ubuntu",
    kubernetes="v1.34.6+rke2r1", operator="v26.7.0", driver="", probe_image="python@sha256:0", pools=(CONTROL, GPU),
    gpu=GpuExpectation("g5g.xlarge", "T4g", 1, 16384), gpus=2, hours=8,
)  # fmt: skip
WIRED = replace(ENVELOPE, network=NETWORK)
#: Pods, services, EC2's metadata, names within the cluster, and what the block itself names.
NEVER_PROXIED = {"10.42.0.0/16", "10.43.0.0/16", "169.254.169.254", ".svc", "mirror.corp", "100.64.0.0/10"}
EBS = Addon(
    "aws-ebs-csi-driver", "https://kubernetes-sigs.github.io/aws-ebs-csi-driver", "aws-ebs-csi-driver", "2.53.0",
    "kube-system", json.dumps({"storageClasses": [{"name": "gp3"}]}),
)  # fmt: skip


def rke(envelope: Envelope) -> dict[str, Any]:
    return bodies.cluster(envelope, "r-1")["spec"]["rkeConfig"]  # type: ignore[no-any-return]


# --- the network, one test a destination --------------------------------------------------------------------------


def test_the_proxy_reaches_rancher_s_agents() -> None:
    told = {one["name"]: one["value"] for one in bodies.cluster(WIRED, "r-1")["spec"]["agentEnvVars"]}
    assert told["HTTP_PROXY"] == told["HTTPS_PROXY"] == "http://proxy.corp:3128"
    never = told["NO_PROXY"].split(",")
    assert set(never) >= NEVER_PROXIED
    assert len(never) == len(set(never))
    assert "agentEnvVars" not in bodies.cluster(ENVELOPE, "r-1")["spec"]


def test_the_network_reaches_the_machines_through_cloud_init() -> None:
    userdata = bodies.machine_config(WIRED, GPU, "r-1")["userdata"]
    assert userdata.startswith("#cloud-config\n")
    config = yaml.safe_load(userdata)
    assert config["apt"] == {"http_proxy": "http://proxy.corp:3128", "https_proxy": "http://proxy.corp:3128"}
    assert config["ca_certs"] == {"trusted": [CA]}
    everywhere = next(one for one in config["write_files"] if one["path"] == "/etc/environment")
    assert everywhere["append"] is True
    assert "https_proxy=http://proxy.corp:3128\n" in everywhere["content"]
    said = dict(one.split("=", 1) for one in everywhere["content"].splitlines() if "=" in one)
    assert set(said["no_proxy"].split(",")) >= NEVER_PROXIED
    assert any("apt-mark hold" in command for command in config["runcmd"]), "the kernel is held all the same"


def test_the_network_reaches_the_driver_container() -> None:
    driver = operator_values(WIRED)["driver"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.corp:3128"} in driver["env"]
    told = {one["name"]: one["value"] for one in driver["env"]}
    assert set(told["NO_PROXY"].split(",")) >= NEVER_PROXIED
    assert driver["certConfig"] == {"name": "gpu-cluster-ca"}
    manifest = list(yaml.safe_load_all(rke(WIRED)["additionalManifest"]))
    assert [one["kind"] for one in manifest] == ["Namespace", "ConfigMap"]
    assert manifest[0]["metadata"]["labels"]["gpu-cluster/request"] == "r-1", "the bot must know it for its own"
    assert manifest[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert manifest[1]["metadata"] == {"name": "gpu-cluster-ca", "namespace": "gpu-operator"}
    assert manifest[1]["data"] == {"gpu-cluster-ca.crt": CA}
    assert "env" not in operator_values(ENVELOPE)["driver"]


def test_the_mirrors_reach_containerd() -> None:
    registries = rke(WIRED)["registries"]
    assert registries["mirrors"]["docker.io"] == {"endpoint": ["https://mirror.corp"], "rewrite": {"^(.*)$": "hub/$1"}}
    assert registries["mirrors"]["nvcr.io"] == {"endpoint": ["https://mirror.corp"]}
    login = registries["configs"]["mirror.corp"]
    assert login["authConfigSecretName"] == "mirror-login"
    assert base64.b64decode(login["caBundle"]).decode() == CA
    assert "registries" not in rke(ENVELOPE)


def test_the_ca_and_the_mirror_reach_the_cluster_repo(server: Scripted, rancher: RancherAdapter) -> None:
    path = "/k8s/clusters/c-m-1/v1/catalog.cattle.io.clusterrepos"
    server.on(f"GET {path}/nvidia", Reply(404, {"message": "not found"}))
    server.on(f"POST {path}", Reply(201, {"metadata": {"name": "nvidia", "generation": 1}}))
    rancher.ensure_repo("c-m-1", "nvidia", NETWORK.chart_mirror, "r-1", NETWORK)
    spec = server.calls(f"POST {path}")[0].json()["spec"]
    assert spec == {"url": "https://mirror.corp/charts/nvidia", "caBundle": base64.b64encode(CA.encode()).decode()}


def test_pull_secrets_reach_every_part_of_the_operator() -> None:
    values = operator_values(WIRED)
    assert {part for part, value in values.items() if value.get("imagePullSecrets") == ["mirror-pull"]} == {
        "validator", "operator", "driver", "toolkit", "devicePlugin", "dcgmExporter", "gfd", "migManager",
    }  # fmt: skip
    assert values["node-feature-discovery"]["imagePullSecrets"] == [{"name": "mirror-pull"}]


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("python:3@sha256:0", "mirror.corp/hub/library/python:3@sha256:0"),
        ("bitnami/python@sha256:0", "mirror.corp/hub/bitnami/python@sha256:0"),
        ("docker.io/library/python@sha256:0", "mirror.corp/hub/library/python@sha256:0"),
        ("nvcr.io/nvidia/cuda@sha256:0", "mirror.corp/nvidia/cuda@sha256:0"),
        ("quay.io/x/y@sha256:0", "quay.io/x/y@sha256:0"),
    ],
)
def test_the_probe_s_image_comes_from_the_mirror(image: str, pulled: str) -> None:
    assert NETWORK.mirrored(image) == pulled


# --- distributions, machines ---------------------------------------------------------------------------------------


def test_k3s_brings_its_own_network_and_gets_the_admission_plugin() -> None:
    config = rke(replace(ENVELOPE, kubernetes="v1.34.6+k3s1"))["machineGlobalConfig"]
    assert "cni" not in config
    assert config["kube-apiserver-arg"] == ["enable-admission-plugins=NodeRestriction,ExtendedResourceToleration"]
    env = operator_values(replace(ENVELOPE, kubernetes="v1.34.6+k3s1"))["toolkit"]["env"]
    assert env == [{"name": "CONTAINERD_SOCKET", "value": "/run/k3s/containerd/containerd.sock"}]


def test_what_was_asked_of_the_machines() -> None:
    asked = replace(ENVELOPE, kms_key="arn:aws:kms:eu-west-1:1:key/2", private=True, instance_profile="nodes")
    body = bodies.machine_config(asked, replace(GPU, spot_price="1.2120"), "r-1")
    assert (body["kmsKey"], body["iamInstanceProfile"]) == ("arn:aws:kms:eu-west-1:1:key/2", "nodes")
    assert (body["encryptEbsVolume"], body["privateAddressOnly"], body["usePrivateAddress"]) == (True, True, True)
    assert (body["requestSpotInstance"], body["spotPrice"]) == (True, "1.2120"), "a string, as every flag with a number"
    plain = bodies.machine_config(ENVELOPE, GPU, "r-1")
    assert not {"kmsKey", "iamInstanceProfile", "privateAddressOnly", "requestSpotInstance", "spotPrice"} & plain.keys()
    assert (plain["ami"], bodies.machine_config(ENVELOPE, CONTROL, "r-1")["ami"]) == ("ami-arm", "ami-1")


def test_labels_and_taints_of_a_pool_and_the_operator_lives_with_them() -> None:
    pool = rke(ENVELOPE)["machinePools"][1]
    assert pool["labels"] == {"gpu-cluster/pool": "gpu", "team.example.com/tier": "gold"}
    assert pool["taints"][-1] == {"key": "team.example.com/only", "value": "vision", "effect": "NoSchedule"}
    values = operator_values(ENVELOPE)
    lists = [values["operator"], values["daemonsets"], values["node-feature-discovery"]["worker"]]
    wanted = {"key": "team.example.com/only", "operator": "Exists", "effect": "NoSchedule"}
    assert all(wanted in one["tolerations"] for one in lists)


def test_the_operator_by_manifest() -> None:
    asked = replace(WIRED, operator_by="manifest")
    chart = list(yaml.safe_load_all(rke(asked)["additionalManifest"]))[-1]
    assert (chart["apiVersion"], chart["kind"]) == ("helm.cattle.io/v1", "HelmChart")
    assert chart["metadata"] == {"name": "gpu-operator", "namespace": "kube-system"}
    spec = chart["spec"]
    assert (spec["repo"], spec["repoCA"], spec["version"]) == ("https://mirror.corp/charts/nvidia", CA, "v26.7.0")
    assert yaml.safe_load(spec["valuesContent"]) == operator_values(asked)
    assert "additionalManifest" not in rke(ENVELOPE)


# --- a base file -----------------------------------------------------------------------------------------------------

BASE = """
apiVersion: provisioning.cattle.io/v1
kind: Cluster
metadata:
  name: golden
  namespace: fleet-default
  labels: {cost-centre: "4711", objectset.rio.cattle.io/hash: abc}
  annotations: {note: kept, field.cattle.io/creatorId: u-other}
spec:
  cloudCredentialSecretName: cattle-global-data:cc-other
  kubernetesVersion: v1.33.10+rke2r1
  defaultPodSecurityAdmissionConfigurationTemplateName: rancher-privileged
  agentEnvVars: [{name: FOO, value: bar}, {name: HTTP_PROXY, value: "http://old:1"}]
  rkeConfig:
    machineGlobalConfig:
      cni: cilium
      cluster-cidr: 10.52.0.0/16
      kube-apiserver-arg: [audit-log-maxage=30, "enable-admission-plugins=PodNodeSelector"]
    chartValues: {rke2-cilium: {mtu: 9000}}
    additionalManifest: "apiVersion: v1\\nkind: Namespace\\nmetadata: {name: theirs}\\n"
    registries: {mirrors: {quay.io: {endpoint: ["https://q.corp"]}}}
    etcd: {snapshotRetention: 9}
    machinePools: [{name: old, quantity: 7}]
    rotateCertificates: {generation: 2}
status: {ready: true}
"""


def test_a_base_passes_through_and_the_bot_fills_the_rest() -> None:
    based = replace(WIRED, base=read_base(BASE), operator_by="manifest")
    body = bodies.cluster(based, "r-1")
    assert body["metadata"]["name"] == "train-a"
    assert body["metadata"]["labels"]["cost-centre"] == "4711"
    assert body["metadata"]["labels"]["gpu-cluster/request"] == "r-1"
    assert "objectset.rio.cattle.io/hash" not in body["metadata"]["labels"]
    assert body["metadata"]["annotations"]["note"] == "kept"
    assert "field.cattle.io/creatorId" not in body["metadata"]["annotations"]
    spec = body["spec"]
    assert spec["cloudCredentialSecretName"] == "cattle-global-data:cc-abcde"
    assert spec["defaultPodSecurityAdmissionConfigurationTemplateName"] == "rancher-privileged"
    told = {one["name"]: one["value"] for one in spec["agentEnvVars"]}
    assert (told["FOO"], told["HTTP_PROXY"]) == ("bar", "http://proxy.corp:3128")
    assert "10.52.0.0/16" in told["NO_PROXY"].split(",")
    config = spec["rkeConfig"]
    assert config["machineGlobalConfig"]["cni"] == "cilium"
    assert config["machineGlobalConfig"]["kube-apiserver-arg"] == [
        "audit-log-maxage=30",
        "enable-admission-plugins=PodNodeSelector,NodeRestriction,ExtendedResourceToleration",
    ]
    assert [one["kind"] for one in yaml.safe_load_all(config["additionalManifest"])] == [
        "Namespace", "Namespace", "ConfigMap", "HelmChart",
    ]  # fmt: skip
    assert set(config["registries"]["mirrors"]) == {"quay.io", "docker.io", "nvcr.io"}
    assert config["etcd"] == {"snapshotRetention": 9}
    assert [pool["name"] for pool in config["machinePools"]] == ["cp", "gpu"]
    assert "rotateCertificates" not in config
    assert len(config["upgradeStrategy"]["workerDrainOptions"]) == 8


def test_rancher_makes_the_order_s_pools_only_and_is_done_with_them(living: Living) -> None:
    """A base has pools of its own, one of them named like one of ours."""
    base = read_base(BASE.replace("{name: old, quantity: 7}", "{name: old, quantity: 7}, {name: gpu, quantity: 3}"))
    living.order(replace(living.envelope(), base=base))
    living.forward(700)
    view = living.rancher.observe("train-a", newer_than=living.hand.real())
    assert view is not None
    assert sorted(machine.pool for machine in view.machines) == ["cp", "gpu", "wk"]
    assert unmet(view, sum(bool(machine.node) for machine in view.machines), 3) == ()


def test_what_belongs_to_rke2_is_left_out_for_k3s() -> None:
    config = rke(replace(ENVELOPE, base=read_base(BASE), kubernetes="v1.34.6+k3s1"))
    assert "cni" not in config["machineGlobalConfig"]
    assert config["chartValues"] == {}


# --- export -----------------------------------------------------------------------------------------------------------

RICH = replace(WIRED, base=read_base(BASE), addons=(EBS,), catalog_everywhere=True)


def test_the_envelope_that_says_everything_survives_the_store() -> None:
    again = envelope_from_json(to_json(RICH))
    assert (again, again.digest()) == (RICH, RICH.digest())


def test_an_export_applied_to_rancher_is_what_the_bot_makes(make_living: Any) -> None:
    """The same envelope twice: by the bot, and by hand from the export."""
    by_bot, by_hand = make_living(), make_living()
    envelope = replace(
        by_bot.envelope(), network=NETWORK, addons=(EBS,), operator_by="manifest", instance_profile="nodes"
    )
    by_bot.order(envelope)
    documents = [one for one in yaml.safe_load_all(gitops(envelope, REQUEST)) if one]
    assert [one["kind"] for one in documents] == [
        "Amazonec2Config", "Amazonec2Config", "Amazonec2Config", "Cluster", "ClusterRepo", "HelmChart",
    ]  # fmt: skip
    client = by_hand.rancher._client
    for one in documents[:4]:
        group, plural = one["apiVersion"].split("/")[0], one["kind"].lower() + "s"
        client.ask("POST", f"/v1/{group}.{plural}", body=one)
    for one in documents[:4]:
        group, plural = one["apiVersion"].split("/")[0], one["kind"].lower() + "s"
        path = f"/v1/{group}.{plural}/fleet-default/{one['metadata']['name']}"
        theirs, ours = (_said(world.rancher._client.get(path)) for world in (by_hand, by_bot))
        assert theirs == ours


def _said(obj: dict[str, Any]) -> dict[str, Any]:
    """What people say of an object, without what a server adds."""
    added = ("id", "links", "status", "metadata")
    kept = {name: obj["metadata"].get(name) for name in ("name", "namespace", "labels", "annotations")}
    return {"metadata": kept, **{key: value for key, value in obj.items() if key not in added}}


def test_what_is_exported_for_the_new_cluster() -> None:
    there = {(one["kind"], one["metadata"]["name"]): one for one in in_the_cluster(RICH, "r-1")}
    assert list(there) == [
        ("ClusterRepo", "nvidia"),
        ("ClusterRepo", "kubernetes-sigs-github-io-aws-ebs-csi-driver"),
        ("Namespace", "gpu-operator"),
        ("HelmChart", "gpu-operator"),
        ("HelmChart", "aws-ebs-csi-driver"),
    ]
    assert there["ClusterRepo", "nvidia"]["spec"]["caBundle"] == NETWORK.ca_base64
    values = there["HelmChart", "aws-ebs-csi-driver"]["spec"]["valuesContent"]
    assert yaml.safe_load(values) == {"storageClasses": [{"name": "gp3"}]}


def test_secrets_are_never_exported() -> None:
    """Settings refuse them; what got in all the same does not get out."""
    base = json.loads(RICH.base)
    base["spec"]["rkeConfig"]["machineGlobalConfig"]["token"] = "s3cr3t-join-token"
    base["spec"]["agentEnvVars"].append({"name": "DB_PASSWORD", "value": "s3cr3t-env"})
    addon = replace(EBS, values=json.dumps({"auth": {"password": "s3cr3t-value"}}))
    leaky = replace(
        RICH, base=json.dumps(base), addons=(addon,), network=replace(NETWORK, proxy="http://me:s3cr3t-proxy@p:1")
    )
    for text in (gitops(leaky, "r-1"), terraform(leaky, "r-1")):
        assert "s3cr3t" not in text
        assert "REDACTED" in text
    assert all("REDACTED" not in text for text in (gitops(RICH, "r-1"), terraform(RICH, "r-1")))
    assert list(on_rancher(RICH, "r-1"))[-1]["spec"] == bodies.cluster(RICH, "r-1")["spec"]


# What the provider takes, by resource or block, read from its schema; the file says of which version.
PROVIDER: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "rancher2_provider.json").read_text())[
    "blocks"
]
_TYPES = {"String": str, "Int": int, "Bool": bool, "List": list, "Map": dict}


def _blocks(block: Block) -> Any:
    yield block
    for value in block.body.values():
        if isinstance(value, list):
            for one in value:
                if isinstance(one, Block):
                    yield from _blocks(one)


@pytest.mark.parametrize("envelope", [ENVELOPE, RICH, replace(ENVELOPE, private=True, kms_key="arn:aws:kms:x")])
def test_terraform_uses_names_that_the_provider_has(envelope: Envelope) -> None:
    spot = tuple(replace(pool, spot_price="1.0") if pool.gpu else pool for pool in envelope.pools)
    for resource in resources(replace(envelope, pools=spot), "r-1"):
        for block in _blocks(resource):
            kind = block.labels[0] if block.labels else block.kind
            takes = PROVIDER[kind]
            assert set(block.body) <= set(takes), kind
            assert {name for name, what in takes.items() if what.endswith("!")} <= set(block.body), kind
            for name, value in block.body.items():
                wanted = _TYPES[takes[name].rstrip("!")]
                assert type(value) is wanted or (wanted is str and isinstance(value, Ref)), (kind, name, value)


def test_terraform_is_hcl_that_is_balanced_and_refers_to_itself() -> None:
    text = terraform(RICH, "r-1")
    assert 'resource "rancher2_cluster_v2" "cluster" {' in text
    assert "      name = rancher2_machine_config_v2.gpu.name" in text.replace("        ", "      ")
    assert "cluster_id = rancher2_cluster_v2.cluster.cluster_v1_id" in text
    assert text.count("<<EOT\n") == sum(line == "EOT" for line in text.splitlines())
    assert "$${" in text, "userdata holds ${…}, which Terraform would take for its own"


def test_old_envelopes_keep_their_hash() -> None:
    """What the first release has approved says nothing of all this."""
    old = dataclasses.asdict(ENVELOPE)
    for key in envelope_module._SINCE:
        del old[key]
    for pool in old["pools"]:
        for key in envelope_module._SINCE_POOL:
            del pool[key]
    again = envelope_from_json(json.dumps(old))
    assert (again, again.digest()) == (ENVELOPE, ENVELOPE.digest())
    first = hashlib.sha256(json.dumps(old, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert again.digest() == first


def test_a_k3s_cluster_and_its_helm_chart_come_up(living: Living) -> None:
    """The operator by the cluster's own helm-controller, on K3s; Rancher shows the release."""
    envelope = replace(living.envelope(), kubernetes="v1.34.6+k3s1", operator_by="manifest")
    living.order(envelope)
    for _ in range(60):
        living.forward(30)
        view = living.rancher.observe("train-a", newer_than=0)
        assert view is not None
        if view.connected and (app := living.rancher.app(view.management_id, "gpu-operator", "gpu-operator")):
            break
    else:
        raise AssertionError(view.message)
    assert (app.status, app.version) == ("deployed", "v26.7.0")
    job = living.kube(view.management_id).job("kube-system", "helm-install-gpu-operator")
    assert job is not None
    assert job.finished == "succeeded"
    assert "v1.34.6+k3s1" in living.rancher.kubernetes_versions("k3s")
    assert living.rancher.default_kubernetes("k3s") == "v1.35.3+k3s1"


def test_a_wait_is_not_cheaper_than_the_fixed_gpu_pools_that_run_meanwhile() -> None:
    waits = replace(ENVELOPE, max_price_per_hour=10.0, gpu_price_per_hour=8.0, wait_hours=5)
    assert waits.waiting_price_per_hour == 2.0
    fixed = replace(waits.gpu_pools[0], name="other", expect=waits.gpu)
    assert replace(waits, pools=(*waits.pools, fixed)).waiting_price_per_hour == 10.0
