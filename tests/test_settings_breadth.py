"""What a preset and the network can say, and each way of saying it wrong, with line and key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bot.settings import SettingsError, catalogue_of, example_config, read_config

HEAD = """
[team.default]
leads = ["U00000001"]
[target.default]
cloud_credential = "cattle-global-data:cc-1"
region = "us-east-1"
"""
POOLS = """
control_plane = { instance_type = "t3.large" }
workers = { instance_type = "t3.large" }
gpu = { instance_type = "g4dn.xlarge" }
"""
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
BASE = """apiVersion: provisioning.cattle.io/v1
kind: Cluster
spec:
  kubernetesVersion: v1.33.10+k3s1
  rkeConfig: {}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "corp-ca.pem").write_text(PEM)
    (tmp_path / "golden.yaml").write_text(BASE)
    return tmp_path / "gpu-cluster.toml"


def complaint(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_config(path)
    return " ".join(error.value.problems)


def test_every_commented_line_of_the_example_holds(path: Path) -> None:
    """With its # taken away, and nothing else."""
    lines = [re.sub(r"^# (?=\[|[a-z0-9_]+ = )", "", line) for line in example_config().splitlines()]
    path.write_text("\n".join(lines))
    (path.parent / "golden.yaml").write_text(BASE)
    catalogue = catalogue_of(read_config(path), path.parent)
    preset = catalogue.presets["everything"]
    assert (preset.distribution, preset.kubernetes, preset.operator_by) == ("k3s", "v1.34.6+k3s1", "manifest")
    assert [(pool.name, pool.count, pool.spot) for pool in preset.pools] == [
        ("cp", 3, False), ("wk", 2, False), ("gpu", None, True), ("dev", 1, False),
    ]  # fmt: skip
    assert preset.gpu_pool.name == "gpu"
    assert [pool.name for pool in preset.fixed_gpu_pools] == ["dev"]
    taint = preset.gpu_pool.taints[0]
    assert (taint.key, taint.value, taint.effect) == ("example.com/team", "vision", "NoSchedule")
    assert preset.pools[1].labels == (("example.com/tier", "plain"),)
    assert json.loads(preset.base)["spec"]["kubernetesVersion"] == "v1.33.10+k3s1"
    addon = preset.addons[0]
    assert (addon.name, addon.chart, addon.version) == ("aws-ebs-csi-driver", "aws-ebs-csi-driver", "2.53.0")
    assert json.loads(addon.values)["storageClasses"][0]["name"] == "gp3"
    network = catalogue.network
    assert network.ca == PEM
    assert network.mirrors[0] == ("docker.io", "mirror.corp.example/hub")
    target = catalogue.targets["default"]
    assert (target.private, target.instance_profile) == (True, "nodes")
    assert catalogue.policy.catalog_everywhere
    assert catalogue.probe_image.reference.startswith("mirror.corp.example/hub/library/python:")
    assert catalogue.probe_image.pull_secrets == ("mirror-pull",)


def test_without_a_version_the_base_s_own_and_else_the_distribution(path: Path) -> None:
    path.write_text(HEAD + '[preset.a]\nbase = "golden.yaml"\n' + POOLS + '[preset.b]\ndistribution = "k3s"\n' + POOLS)
    presets = catalogue_of(read_config(path), path.parent).presets
    assert (presets["a"].kubernetes, presets["a"].distribution) == ("v1.33.10+k3s1", "k3s")
    assert (presets["b"].kubernetes, presets["b"].distribution) == ("", "k3s")


@pytest.mark.parametrize(
    ("keys", "pools", "said"),
    [
        ('kubernetes = "v1.34.6+rke2r1"\ndistribution = "k3s"', POOLS, "is rke2, distribution says k3s"),
        ('distribution = "rke1"', POOLS, "distribution"),
        ("", POOLS.replace('"t3.large" }', '"t3.large", count = 2 }', 1), "must be 1 or 3"),
        ("", POOLS.replace('"t3.large" }', '"t3.large", spot = true }', 1), "with its control plane taken back"),
        ("", POOLS.replace("workers = { ", 'workers = { taints = ["a=b:NoSchedule"], '), "lets everything in"),
        ("", POOLS.replace("gpu = { ", 'gpu = { taints = ["a=b"], '), "a=b is no taint; write key=value:NoSchedule"),
        ("", POOLS.replace("gpu = { ", 'gpu = { taints = ["nvidia.com/gpu=x:NoSchedule"], '), "taints of that domain"),
        ("", POOLS.replace("gpu = { ", 'gpu = { labels = { "kubernetes.io/x" = "y" }, '), "labels of that domain"),
        ("", POOLS.replace("gpu = { ", 'gpu = { labels = { "a b" = "y" }, '), "labels"),
        ('gpu_fixed = { gpu = { instance_type = "g4dn.xlarge" } }', POOLS, "gpu_fixed.gpu: that name is the bot's own"),
        ('gpu_fixed = { "too-long-a-name" = { instance_type = "g4dn.xlarge" } }', POOLS, "gpu_fixed"),
        ('operator_by = "hand"', POOLS, "operator_by"),
        ('base = "nothing.yaml"', POOLS, "nothing.yaml: there is no such file"),
        ('base = "corp-ca.pem"', POOLS, "corp-ca.pem"),
        ('base = "golden.yaml"\nkubernetes = "v1.34.6+rke2r1"', POOLS, "golden.yaml is a cluster of k3s, the preset"),
        ('addons = [{ name = "a", repo = "git://x", version = "1" }]', POOLS, "addons.0.repo"),
        ('addons = [{ name = "a", repo = "https://me:pw@x", version = "1" }]', POOLS, "addons.0.repo"),
        ('addons = [{ name = "a", repo = "https://x", version = "latest" }]', POOLS, "addons.0.version"),
        (
            'addons = [{ name = "a", repo = "https://x", version = "1", values = { auth = { password = "x" } } }]',
            POOLS,
            "auth.password looks like a secret",
        ),
        (
            'addons = [{ name = "a", repo = "https://x", version = "1" }, '
            '{ name = "a", repo = "https://y", version = "1" }]',
            POOLS,
            "two of them have the same name",
        ),
    ],
)  # fmt: skip
def test_what_a_preset_cannot_say(path: Path, keys: str, pools: str, said: str) -> None:
    heard = complaint(path, f"{HEAD}[preset.p]\n{keys}\n{pools}")
    assert said in heard
    assert re.search(r"gpu-cluster\.toml, line \d+, key preset\.p", heard)


def test_a_bad_base_is_named_with_its_own_line_and_ours(path: Path) -> None:
    (path.parent / "golden.yaml").write_text(
        BASE.replace("rkeConfig: {}", "rkeConfig:\n    machineGlobalConfig: {token: a}")
    )
    heard = complaint(path, f'{HEAD}[preset.p]\nbase = "golden.yaml"\n{POOLS}')
    assert "line 8, key preset.p.base: " in heard
    assert "golden.yaml, line 6: spec.rkeConfig.machineGlobalConfig.token looks like a secret" in heard


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ('proxy = "http://me:pw@proxy:1"', "a password in it would stand in Rancher"),
        ('proxy = "proxy:3128"', "network.proxy"),
        ('no_proxy = ["x"]', "no_proxy needs a proxy"),
        ('registry_secret = "login"', "name it under mirrors"),
        ('ca = "nothing.pem"', "nothing.pem: there is no such file"),
        ('ca = "golden.yaml"', "it holds no certificate in PEM form"),
        ('ca = "key.pem"', "it holds a private key"),
        ('ca = "large.pem"', "8192 at most"),
        ('mirrors = { "docker.io" = "https://mirror" }', "network.mirrors"),
        ('chart_mirror = "mirror"', "network.chart_mirror"),
        ('prox = "x"', "this key is not known"),
    ],
)
def test_what_the_network_cannot_say(path: Path, block: str, said: str) -> None:
    (path.parent / "key.pem").write_text(f"{PEM}-----BEGIN PRIVATE KEY-----\n")
    (path.parent / "large.pem").write_text(PEM * 200)
    assert said in complaint(path, f"{HEAD}[preset.p]\n{POOLS}\n[network]\n{block}\n")


@pytest.mark.parametrize(
    "line", ['kms_key = "alias/mine"', 'instance_profile = "arn:aws:iam::1:x/y"', 'private = "no way"']
)
def test_what_a_target_cannot_say(path: Path, line: str) -> None:
    assert f"target.default.{line.split()[0]}" in complaint(path, f"{HEAD}{line}\n[preset.p]\n{POOLS}")
