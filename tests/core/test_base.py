"""A base file: what passes through, and every way in which a file will not do, with its line."""

from __future__ import annotations

import json

import pytest

from bot.core.base import MAX_BYTES, BadBase, kubernetes_of, read_base
from bot.core.secrets import looks_secret, secrets_in, without_secrets

GOOD = """apiVersion: provisioning.cattle.io/v1
kind: Cluster
metadata:
  name: golden
  labels:
    cost-centre: 4711
spec:
  kubernetesVersion: v1.34.6+k3s1
  rkeConfig:
    machineGlobalConfig:
      disable: [traefik]
"""


def bad(text: str) -> tuple[int, str]:
    with pytest.raises(BadBase) as error:
        read_base(text)
    assert error.value.remedy
    return error.value.line, error.value.reason


def test_what_is_kept() -> None:
    kept = json.loads(read_base(GOOD))
    assert kept["labels"] == {"cost-centre": "4711"}, "labels are text in Kubernetes"
    assert kept["spec"]["rkeConfig"] == {"machineGlobalConfig": {"disable": ["traefik"]}}
    assert kubernetes_of(read_base(GOOD)) == "v1.34.6+k3s1"
    assert kubernetes_of("") == ""


def test_the_same_file_is_the_same_text_however_it_is_ordered() -> None:
    turned = GOOD.replace("apiVersion: provisioning.cattle.io/v1\nkind: Cluster\n", "")
    assert read_base(turned + "kind: Cluster\napiVersion: provisioning.cattle.io/v1\n") == read_base(GOOD)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: [1,\n", 2, "not valid YAML"),
        ("", 0, "0 documents"),
        (GOOD + "---\nkind: Secret\n", 13, "2 documents"),
        ("- 1\n", 1, "no Kubernetes object"),
        (GOOD.replace("kind: Cluster", "kind: Secret"), 2, "its kind is Secret"),
        (GOOD.replace("kind: Cluster\n", ""), 1, "its kind is missing"),
        (GOOD.replace("provisioning.cattle.io/v1", "management.cattle.io/v3"), 1, "its apiVersion is management"),
        (GOOD.replace("  rkeConfig:", "  rancherKubernetesEngineConfig:"), 9, "RKE1"),
        (GOOD.split("  rkeConfig")[0], 7, "no spec.rkeConfig"),
        (GOOD.replace("rkeConfig:\n    machine", "rkeConfig: 1\n  x:\n    machine"), 7, "no spec.rkeConfig"),
        (GOOD.replace("disable: [traefik]", "token: K10abcdef"), 11, "machineGlobalConfig.token looks like a secret"),
        (GOOD + "  agentEnvVars:\n  - name: HTTP_PROXY\n    value: http://me:pw@proxy:1\n", 14, "looks like a secret"),
        (GOOD + "  agentEnvVars:\n  - name: DB_PASSWORD\n    value: hunter2\n", 14, "looks like a secret"),
        (GOOD.replace("v1.34.6+k3s1", "v1.34.6"), 8, "no version of RKE2 or K3s"),
        (GOOD.replace("v1.34.6+k3s1", "1.34"), 8, "must be text"),
        (GOOD.replace("disable: [traefik]", "- x"), 10, "machineGlobalConfig must be a mapping"),
        (GOOD + "    machinePools: [{name: win, machineOS: windows}]\n", 12, "for Windows"),
        (GOOD + "    additionalManifest: '{a: ['\n", 12, "additionalManifest is not valid YAML"),
        (GOOD + "    additionalManifest: just words\n", 12, "no Kubernetes object"),
        (GOOD + '    additionalManifest: "kind: Secret\\ndata: {x: YQ==}\\n"\n', 12, "has a secret in Secret"),
        (
            GOOD + '    additionalManifest: "kind: ConfigMap\\nmetadata: {name: c}\\ndata: {password: x}\\n"\n',
            12,
            "has a secret in ConfigMap c",
        ),
        ("#" * (MAX_BYTES + 1), 0, "larger than 64 KiB"),
    ],
)
def test_what_will_not_do_and_where(text: str, line: int, reason: str) -> None:
    where, said = bad(text)
    assert reason in said
    assert where == line


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "x"), ("adminPassword", "x"), ("secretKey", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("token", "x"),
        ("note", "AKIAABCDEFGHIJKLMNOP"), ("file", "-----BEGIN RSA PRIVATE KEY-----"), ("url", "https://a:b@c/"),
    ],
)  # fmt: skip
def test_what_looks_secret(key: str, value: str) -> None:
    assert looks_secret(key, value)
    assert list(secrets_in({"a": [{key: value}]})) == [f"a[0].{key}"]
    assert without_secrets({"a": [{key: value, "b": 1}]}) == {"a": [{key: "REDACTED", "b": 1}]}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("authConfigSecretName", "x"), ("cloudCredentialSecretName", "cattle-global-data:cc-1"),
        ("httpTokens", "required"),
        ("key", "nvidia.com/gpu"), ("secrets-encryption", "true"), ("password", ""), ("caBundle", "MII"),
        ("url", "https://a.b/c@sha256:0"), ("tokenReview", True),
    ],
)  # fmt: skip
def test_what_only_looks_like_it(key: str, value: object) -> None:
    assert not looks_secret(key, value)
    assert without_secrets({key: value}) == {key: value}
