"""What changed between Rancher's releases: the bot asks for nothing that went, leans on nothing that came, and says the
same to all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from living import REQUEST, TOKEN, Living
from scripted import Reply, Scripted
from test_bot_rights import everything
from test_rancher_requests import ONE
from test_rancher_whole_life import NVIDIA, OURS, chart_order, connected

from bot.core.ports import ChartOrder, Temporary
from bot.rancher import RancherAdapter, bodies
from bot.rancher.client import RancherClient
from bot.sandbox.world.kube.kinds import MACHINE_CONFIG, PROVISIONING_CLUSTER
from bot.sandbox.world.rancher.release import PLAYED

#: Of Rancher 2.0 to 2.11 (RKE1, catalogs of the first kind, logging in with a password).
GONE = re.compile(
    r"/v3/(catalogs|clustercatalogs|node[tT]emplates|nodepools|projects?/[^/]+/apps)|/v3-public|/v1-public"
)
#: Came later than the oldest that is played.
LATER = re.compile(r"ext\.cattle\.io\.(selfusers|kubeconfigs)|delete-machine-on-failure-after")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Path and query of every request, as the client sent it."""
    log: list[tuple[str, dict[str, Any]]] = []
    real = RancherClient._send

    def spy(self: RancherClient, method: str, path: str, params: Any, *rest: Any) -> Any:
        log.append((path, dict(params or {})))
        return real(self, method, path, params, *rest)

    monkeypatch.setattr(RancherClient, "_send", spy)
    yield log


@pytest.mark.parametrize("version", PLAYED)
def test_nothing_is_asked_that_a_release_lacks_or_reads_otherwise(
    make_living: Callable[..., Living], sent: list[tuple[str, dict[str, Any]]], version: str
) -> None:
    """Nor is any list filtered by Rancher: with the SQL cache a filter means something else."""
    everything(make_living(version=version))
    assert len(sent) > 30
    assert [path for path, _ in sent if GONE.search(path) or LATER.search(path)] == []
    asked_of_steve = [query for path, query in sent if "/v1/" in path]
    assert {key for query in asked_of_steve for key in query} <= {"limit", "exclude", "continue", "link", "action"}


@pytest.mark.parametrize("path", ["/v3/catalogs", "/v3/nodetemplates", "/v3/nodepools", "/v3/project/local/apps"])
def test_the_old_ways_are_404_in_the_sandbox(living: Living, path: str) -> None:
    answer = requests.get(living.url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5)
    assert answer.status_code == 404


@pytest.mark.parametrize("version", PLAYED)
def test_every_release_keeps_all_that_the_bot_sends(make_living: Callable[..., Living], version: str) -> None:
    """An older one drops fields that it does not know, such as those for IPv6."""
    living = make_living(version=version)
    envelope = living.envelope(gpu_machines=2)
    living.order(envelope)
    store = living.world.management.store
    for pool in envelope.pools:
        said = bodies.machine_config(envelope, pool, REQUEST)
        kept = store.get(MACHINE_CONFIG, said["metadata"]["name"], "fleet-default")
        assert lost(said, kept) == []
    said = bodies.cluster(envelope, REQUEST)
    assert lost(said, store.get(PROVISIONING_CLUSTER, "train-a", "fleet-default")) == []


def lost(said: Any, kept: Any, where: str = "") -> list[str]:
    """What was said and is not there, or is another; `type` is Steve's own, and stored nowhere."""
    if isinstance(said, dict) and isinstance(kept, dict):
        named = {key: value for key, value in said.items() if (where, key) != ("", "type")}
        return [what for key, value in named.items() for what in lost(value, kept.get(key), f"{where}.{key}")]
    if isinstance(said, list) and isinstance(kept, list) and len(said) == len(kept):
        pairs = enumerate(zip(said, kept, strict=True))
        return [what for index, (a, b) in pairs for what in lost(a, b, f"{where}[{index}]")]
    return [] if said == kept or (not said and kept is None) else [where]


@pytest.mark.parametrize("version", PLAYED)
def test_helm_3_and_helm_4_take_the_order_for_the_same(make_living: Callable[..., Living], version: str) -> None:
    """`force` and `serverSide` mean something else from 2.15 on: the bot says neither."""
    living = make_living(version=version)
    living.order(living.envelope())
    mid = connected(living).management_id
    living.rancher.ensure_repo(mid, "nvidia", NVIDIA, REQUEST)
    living.forward(20)
    project = living.rancher.system_project(mid) or ""
    living.kube(mid).ensure_namespace("gpu-operator", project=project, privileged=True, labels=OURS)
    name = living.rancher.install_chart(mid, chart_order(living, project))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = f"/k8s/clusters/{mid}/v1/catalog.cattle.io.operations/gpu-operator/{name}"
    command = requests.get(living.url + path, headers=headers, timeout=5).json()["status"]["command"]
    assert not [word for word in command if "force" in word or "server-side" in word]
    assert command[:2] == ["helm", "upgrade"]
    living.forward(60)
    app = living.rancher.app(mid, "gpu-operator", "gpu-operator")
    assert app is not None and (app.status, app.version) == ("deployed", "v26.7.0")


def test_a_chart_that_is_404_just_after_the_cluster_was_made_is_asked_for_again(
    server: Scripted, rancher: RancherAdapter
) -> None:
    """Its index has named it already (rancher 29002)."""
    path = "POST /k8s/clusters/c-m-1/v1/catalog.cattle.io.clusterrepos/nvidia"
    body = {"type": "error", "status": 404, "code": "NotFound", "message": "chart gpu-operator not found"}
    server.on(path, Reply(404, body), Reply(201, {"type": "chartActionOutput", "operationName": "helm-operation-x"}))
    order = ChartOrder("nvidia", "gpu-operator", "v26.7.0", "gpu-operator", "gpu-operator", "", {})
    with pytest.raises(Temporary, match=r"does not find gpu-operator v26\.7\.0 yet"):
        rancher.install_chart("c-m-1", order)
    assert rancher.install_chart("c-m-1", order) == "helm-operation-x"
    assert len(server.calls(path)) == 2


@pytest.mark.parametrize(
    "answer",
    [Reply(204, ""), Reply(200, {"metadata": {"name": "train-a", "deletionTimestamp": "2026-01-01T00:00:00Z"}})],
)
def test_both_answers_to_a_delete_are_a_yes(server: Scripted, rancher: RancherAdapter, answer: Reply) -> None:
    """204 where it is gone at once, else the object that is still going."""
    there = {"metadata": {"name": "train-a", "labels": {"gpu-cluster/request": "r-1"}}}
    server.on(f"GET {ONE}", Reply(200, there))
    server.on(f"DELETE {ONE}", answer)
    rancher.delete_cluster("train-a", ("r-1",))
    assert len(server.calls(f"DELETE {ONE}")) == 1


def test_the_body_of_an_order_has_nothing_that_only_newer_servers_read() -> None:
    order = ChartOrder("nvidia", "gpu-operator", "v26.7.0", "gpu-operator", "gpu-operator", "c-m-1:p-1", {"a": 1})
    said = json.dumps(bodies.chart_action(order))
    assert not re.search(r"serverSide|skipCRDs|takeOwnership|\"force\"", said)
