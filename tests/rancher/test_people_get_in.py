"""What people are given opens one cluster and nothing else: roles in Rancher, and tokens of service accounts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
import yaml
from living import TOKEN, Living

from bot.core import credentials
from bot.core.ports import Permanent
from bot.core.records import ClusterRow, ClusterState, CredentialRow, CredentialState
from bot.core.spec import LABEL_MANAGED, AccessPolicy
from bot.core.steps.base import Outside
from bot.kube.accounts import NAMESPACE
from bot.rancher.bodies import is_group

ROLE = yaml.safe_load((Path(__file__).parents[2] / "manifests/rancher/role-template.yaml").read_text())


def made(living: Living, *names: str) -> list[str]:
    """Clusters that are connected; their ids."""
    for number, name in enumerate(names):
        living.order(living.envelope(name), f"r-{number}")
    living.forward(700)
    views = [living.rancher.observe(name, newer_than=living.hand.real()) for name in names]
    return [view.management_id for view in views if view is not None]


def as_person(living: Living, token: str, path: str, method: str = "GET", body: object = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body)
    return requests.request(method, living.url + path, headers=headers, data=data, timeout=10)


def kubeconfig(living: Living, mid: str, name: str = "train-a") -> tuple[dict[str, object], str]:
    """The file as a person gets it, and its token."""
    cluster = ClusterRow(
        "k-1", name, "default", "default", "UOWNER", "C1", ClusterState.READY, 0.0, management_id=mid,
        expires_at=living.clock.now() + 3 * 3600,
    )  # fmt: skip
    now = living.clock.now()
    row = CredentialRow("t-1", "k-1", "UMATE", "person-1", CredentialState.WANTED, now, now)
    outside = Outside(living.rancher, None, living.kube, living.url)  # type: ignore[arg-type]
    made = credentials.issue(outside, cluster, row, AccessPolicy(), now)
    assert made.expires_at == pytest.approx(now + 3 * 3600, abs=5), "never beyond the cluster's own end"
    file = yaml.safe_load(made.text)
    assert TOKEN not in made.text and TOKEN.split(":")[1] not in made.text
    return file, file["users"][0]["user"]["token"]


def test_every_credential_opens_its_own_cluster_and_nothing_else(living: Living) -> None:
    mid, other = made(living, "train-a", "train-b")
    file, token = kubeconfig(living, mid)
    server = file["clusters"][0]["cluster"]["server"]  # type: ignore[index]
    assert server == f"{living.url}/k8s/clusters/{mid}"
    inside = f"/k8s/clusters/{mid}"
    assert as_person(living, token, f"{inside}/api/v1/pods").status_code == 200
    for path in (
        "/v3/users?me=true",
        "/v3/tokens",
        "/v3/cloudcredentials",
        f"/k8s/clusters/{other}/api/v1/namespaces",
        "/k8s/clusters/local/api/v1/namespaces/cattle-global-data/secrets",
        "/k8s/clusters/local/api/v1/namespaces/cattle-global-data",
        "/v1/provisioning.cattle.io.clusters",
        "/v1/rke-machine-config.cattle.io.amazonec2configs",
        f"{inside}/v1/secrets",
    ):
        assert as_person(living, token, path).status_code == 401, path

    # JWT Authentication of the other cluster does not help: it did not issue the token.
    living.rancher.let_tokens_through(other, may_change=True)
    assert as_person(living, token, f"/k8s/clusters/{other}/api/v1/namespaces").status_code == 401

    living.kube(mid).remove_accounts(person="UMATE")
    assert as_person(living, token, f"{inside}/api/v1/pods").status_code == 401, "revoked"


def test_inside_it_is_an_administrator_who_cannot_become_more(living: Living) -> None:
    (mid,) = made(living, "train-a")
    _, token = kubeconfig(living, mid)
    _, again = kubeconfig(living, mid)
    assert again != token, "the same account, found there; a token of its own"
    inside = f"/k8s/clusters/{mid}"
    namespace = {"metadata": {"name": "work"}}
    assert as_person(living, token, f"{inside}/api/v1/namespaces", "POST", namespace).status_code == 201
    account = f"{inside}/api/v1/namespaces/{NAMESPACE}/serviceaccounts/person-1/token"
    assert as_person(living, token, account, "POST", {}).status_code == 201  # one's own rights, no more
    denied = as_person(living, token, f"{inside}/apis/catalog.cattle.io/v1/clusterrepos")
    assert denied.status_code == 403 and "system:serviceaccount:gpu-cluster-access:person-1" in denied.json()["message"]

    living.forward(3 * 3600 + 10)
    assert as_person(living, token, f"{inside}/api/v1/pods").status_code == 401, "it ends by itself"


def test_where_the_switch_is_not_ours_nothing_is_given(living: Living) -> None:
    (mid,) = made(living, "train-a")
    with pytest.raises(Permanent, match="JWT Authentication is switched off") as refused:
        living.rancher.let_tokens_through(mid, may_change=False)
    assert "Cluster Management → Advanced" in refused.value.remedy
    token = living.kube(mid).issue_token("person-1", "UMATE", seconds=600)
    assert token.secret not in repr(token)
    assert as_person(living, token.secret, f"/k8s/clusters/{mid}/api/v1/pods").status_code == 401

    living.rancher.let_tokens_through(mid, may_change=True)
    living.rancher.let_tokens_through(mid, may_change=True)  # found on
    assert as_person(living, token.secret, f"/k8s/clusters/{mid}/api/v1/pods").status_code == 200
    configs = f"/v1/management.cattle.io.clusterproxyconfigs/{mid}/clusterproxyconfig"
    there = as_person(living, TOKEN, configs).json()
    assert as_person(living, TOKEN, configs, "PUT", {**there, "enabled": False}).status_code == 200
    assert as_person(living, token.secret, f"/k8s/clusters/{mid}/api/v1/pods").status_code == 401
    with pytest.raises(Permanent):
        living.rancher.let_tokens_through(mid, may_change=True)  # somebody has switched it off: that stands


def test_the_clusters_own_endpoint(living: Living) -> None:
    (mid,) = made(living, "train-a")
    kube, inside = living.kube(mid), f"/k8s/clusters/{mid}/api/v1/namespaces/default"
    with pytest.raises(Permanent, match="does not say where its own API server listens"):
        kube.own_endpoint()
    subset = {"addresses": [{"ip": "10.0.0.7"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
    endpoints = {"metadata": {"name": "kubernetes"}, "subsets": [subset]}
    authority = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "PEM"}}
    assert as_person(living, TOKEN, f"{inside}/endpoints", "POST", endpoints).status_code == 201
    assert as_person(living, TOKEN, f"{inside}/configmaps", "POST", authority).status_code == 201
    found = kube.own_endpoint()
    assert (found.url, found.authority) == ("https://10.0.0.7:6443", "UEVN")


def test_roles_are_bound_once_and_only_ours_are_taken_away(living: Living) -> None:
    (mid,) = made(living, "train-a")
    rancher, bindings = living.rancher, f"/v3/clusterroletemplatebindings?clusterId={mid}"
    by_hand = {"clusterId": mid, "roleTemplateId": "cluster-member", "userPrincipalId": "local://u-lead"}
    as_person(living, TOKEN, "/v3/clusterroletemplatebindings", "POST", by_hand)
    for _ in range(2):
        rancher.bind_role(mid, "local://u-lead", "cluster-member", person="ULEAD")
        rancher.bind_role(mid, "local://u-requester", "gpu-cluster-user", person="UREQUESTER")
        rancher.bind_role(mid, "github_team://42", "gpu-cluster-user")
    there = as_person(living, TOKEN, bindings).json()["data"]
    assert [(b.get("userPrincipalId") or b["groupPrincipalId"], b["roleTemplateId"]) for b in there] == [
        ("local://u-lead", "cluster-member"),
        ("local://u-requester", "gpu-cluster-user"),
        ("github_team://42", "gpu-cluster-user"),
    ]
    rancher.unbind(mid, "ULEAD")
    rancher.unbind(mid, "UREQUESTER")
    rancher.unbind(mid, "UREQUESTER")
    left = as_person(living, TOKEN, bindings).json()["data"]
    assert [b.get("labels", {}).get(LABEL_MANAGED) for b in left] == [None, "true"], "by hand, and the team's group"
    assert rancher.has_role("gpu-cluster-user")
    living.world.gateway.norman.role_templates.pop("gpu-cluster-user")
    assert not rancher.has_role("gpu-cluster-user")


@pytest.mark.parametrize(
    ("principal", "group"),
    [
        ("okta_group://ml", True),
        ("github_team://42", True),
        ("github_org://7", True),
        ("local://u-abcde", False),
        ("okta_user://a_group", False),
    ],
)
def test_which_principals_are_groups(principal: str, group: bool) -> None:
    assert is_group(principal) == group


def test_the_shipped_role_reaches_no_machine_and_cannot_grow() -> None:
    groups = {group for rule in ROLE["rules"] for group in rule.get("apiGroups", [])}
    verbs = {verb for rule in ROLE["rules"] for verb in rule["verbs"]}
    assert "*" not in groups | verbs
    assert not {g for g in groups if g.endswith("cattle.io") and g != "helm.cattle.io"}
    assert not {g for g in groups if "x-k8s.io" in g}
    assert not {"escalate", "bind", "impersonate"} & verbs
    assert ROLE["roleTemplateNames"] == ["cluster-member"] and ROLE["context"] == "cluster"
