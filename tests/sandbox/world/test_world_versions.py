"""Each Rancher that is played answers as that release does, so that a client written for another is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.sandbox.world import World, WorldClock
from bot.sandbox.world.kube.api import Call, Reply
from bot.sandbox.world.rancher.release import PLAYED, release
from tests.sandbox.world.rig import Rig, machine_config

CLUSTER = "/v1/provisioning.cattle.io.clusters/fleet-default/gpu01"
MACHINES = "/v1/cluster.x-k8s.io.machines/fleet-default"
INFRA = "/v1/rke-machine.cattle.io.amazonec2machines/fleet-default"


def conditions(obj: Any) -> dict[str, str]:
    return {c["type"]: c["status"] for c in obj["status"]["conditions"]}


@pytest.fixture
def ordered(make_rig: Callable[..., Rig], request: pytest.FixtureRequest) -> Rig:
    """A cluster that has been asked for, in the release that the test is given."""
    rig = make_rig(version=request.param)
    rig.order(kubernetesVersion=rig.world.management.git_version)
    return rig


@pytest.mark.parametrize("name", ["2.11", "2.13", "2.15", "v2.13.8"])
def test_a_release_is_known_by_its_minor_and_by_its_full_version(name: str) -> None:
    assert release(name).version.startswith(f"v{name.removeprefix('v')}"[:5])


@pytest.mark.parametrize("ordered", ["2.11", "2.13"], indirect=True)
def test_machines_are_v1beta1_before_2_14(ordered: Rig) -> None:
    ordered.forward(70)
    machine, infra = ordered.get(MACHINES)["data"][0], ordered.get(INFRA)["data"][0]
    assert machine["apiVersion"] == "cluster.x-k8s.io/v1beta1"
    assert machine["status"]["infrastructureReady"] is True
    assert not {"initialization", "deprecated"} & machine["status"].keys()
    assert {c["type"] for c in machine["status"]["conditions"]} == {"InfrastructureReady", "Ready"}
    assert machine["spec"]["infrastructureRef"]["apiVersion"] == "rke-machine.cattle.io/v1"
    assert "initialization" not in infra["status"] and infra["status"]["ready"] is True


@pytest.mark.parametrize("ordered", ["2.15"], indirect=True)
def test_machines_are_v1beta2_since_2_14(ordered: Rig) -> None:
    ordered.forward(70)
    status = ordered.get(MACHINES)["data"][0]["status"]
    assert "infrastructureReady" not in status
    assert status["initialization"]["infrastructureProvisioned"] is True
    assert status["deprecated"]["v1beta1"]["conditions"]


@pytest.mark.parametrize("ordered", PLAYED, indirect=True)
def test_where_connected_stands_and_what_ready_follows(ordered: Rig) -> None:
    older = ordered.world.management.release.mirrors
    seen: list[tuple[bool, bool, bool]] = []
    for _ in range(400):
        ordered.forward(1)
        cluster = ordered.get(CLUSTER)
        if mid := cluster["status"].get("clusterName"):
            management = conditions(ordered.get(f"/v1/management.cattle.io.clusters/{mid}"))
            assert ("Connected" in conditions(cluster)) is older
            seen.append(
                (management["Connected"] == "True", management.get("Ready") == "True", cluster["status"]["ready"])
            )
            if cluster["status"]["ready"]:
                break
    assert all(ready == healthy for _, healthy, ready in seen)
    # Up to 2.14 the agent is connected for a while before Rancher calls the cluster ready; since then it is one thing.
    assert ((True, False, False) in seen) is older
    assert ("info" in ordered.get(f"/v1/management.cattle.io.clusters/{mid}")["status"]) is not older


@pytest.mark.parametrize("ordered", ["2.13"], indirect=True)
def test_before_2_15_ready_is_the_management_clusters_once_the_control_plane_is_stable(ordered: Rig) -> None:
    ordered.forward(700)
    ordered.world.management.clusters[ordered.mid()].report.waiting("waiting for kubelet to update")
    told = conditions(ordered.get(CLUSTER))
    assert (told["Updated"], told["Ready"]) == ("Unknown", "True")


@pytest.mark.parametrize("ordered", ["2.11"], indirect=True)
def test_without_the_sql_cache_a_filter_takes_any_field_and_a_part(ordered: Rig) -> None:
    ordered.forward(6)
    every = {m["id"] for m in ordered.get(MACHINES)["data"]}
    assert {m["id"] for m in ordered.get(MACHINES, filter="metadata.name=gpu01-")["data"]} == every
    assert ordered.get(MACHINES, filter="metadata.name='gpu01-'")["data"] == []
    assert len(ordered.get(MACHINES, filter="metadata.name!=gpu01-gpu")["data"]) == len(every) - 1
    assert ordered.get(MACHINES, filter="spec.bootstrap.configRef.kind=RKEBootstrap")["count"] == len(every)
    assert ordered.get(MACHINES, filter="metadata.name~gpu")["count"] == len(every), "no filter at all"


@pytest.mark.parametrize("ordered", ["2.13"], indirect=True)
def test_with_the_sql_cache_a_filter_is_exact_and_takes_indexed_fields(ordered: Rig) -> None:
    ordered.forward(6)
    assert ordered.get(MACHINES, filter="metadata.name=gpu01-")["data"] == []
    assert (
        "column is invalid"
        in ordered.get(MACHINES, 400, filter="spec.bootstrap.configRef.kind=RKEBootstrap")["message"]
    )


@pytest.mark.parametrize("ordered", PLAYED, indirect=True)
def test_settings_and_fields_that_came_later(ordered: Rig) -> None:
    newer = ordered.world.management.release.keeps_failed
    ordered.get("/v3/settings/delete-machine-on-failure-after", 200 if newer else 404)
    body = {**machine_config("nc-y", "t3.medium", {"VpcId": "v", "SubnetId": "s"}), "httpProtocolIpv6": "enabled"}
    made = ordered.post("/v1/rke-machine-config.cattle.io.amazonec2configs", body)
    assert ("httpProtocolIpv6" in made) is newer, "a field that the driver does not have is pruned"


@pytest.mark.parametrize(("version", "flag"), [("2.13", "--force"), ("2.15", "--force-replace")])
def test_helm_3_and_4_read_the_same_order_differently(make_rig: Callable[..., Rig], version: str, flag: str) -> None:
    rig = make_rig(version=version)
    rig.order()
    rig.forward(700)
    rig.install_operator()
    rig.forward(120)
    base = f"/k8s/clusters/{rig.mid()}/v1"
    chart = {"chartName": "gpu-operator", "version": "v26.3.3", "releaseName": "gpu-operator"}
    body = {"namespace": "gpu-operator", "charts": [chart], "force": True, "serverSide": True, "skipCRDs": True}
    made = rig.post(f"{base}/catalog.cattle.io.clusterrepos/nvidia?action=upgrade", body)
    operation = rig.get(f"{base}/catalog.cattle.io.operations/gpu-operator/{made['operationName']}")
    command = operation["status"]["command"]
    assert flag in command
    assert ("--server-side=true" in command) is (version == "2.15")


@pytest.mark.parametrize(
    ("version", "token", "status"),
    [("2.11", "ext/bot:s", 401), ("2.13", "ext/bot:s", 200), ("2.15", "ext/bot:s", 200), ("2.11", "token-a:s", 200)],
)
def test_tokens_of_the_ext_api_came_with_2_12(tmp_path: Path, version: str, token: str, status: int) -> None:
    clock = WorldClock(tmp_path / "c.json", manual=True)
    world = World(clock, ec2_endpoint="http://127.0.0.1:1", version=version, token=token)

    def get(path: str) -> Reply:
        answer = world.handle(Call("GET", path, {}, (), "", b"", clock.now()), f"Bearer {token}")
        assert isinstance(answer, Reply)
        return answer

    assert get("/v3/users").status == status
    told = get("/v1/ext.cattle.io.tokens/bot")
    assert told.status == (status if token.startswith("ext/") else 404)
    if told.status == 200:
        assert isinstance(told.body, dict) and told.body["status"]["expiresAt"].endswith("Z")
