"""The shared snapshot: how old it may be, who waits for whom, and what is believed of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scripted import Asked, Hands, Reply, Scripted

from bot.core.ports import News, Temporary, Unread
from bot.rancher import RancherAdapter

CLUSTERS = "/v1/provisioning.cattle.io.clusters/fleet-default"
MACHINES = "/v1/cluster.x-k8s.io.machines/fleet-default"
EC2_MACHINES = "/v1/rke-machine.cattle.io.amazonec2machines/fleet-default"
MANAGEMENT = "/v1/management.cattle.io.clusters"
LISTS = (CLUSTERS, MACHINES, EC2_MACHINES, MANAGEMENT)


def cluster(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"gpu-cluster/request": f"r-{name}"}}, "status": status}


def machine(name: str, of: str) -> dict[str, Any]:
    labels = {"cluster.x-k8s.io/cluster-name": of, "rke.cattle.io/rke-machine-pool-name": "gpu"}
    infrastructure = {"infrastructureRef": {"name": f"{name}-ec2"}}
    return {"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}, "spec": infrastructure}


def collection(*items: dict[str, Any], more: str = "") -> Reply:
    return Reply(200, {"type": "collection", "data": list(items), **({"continue": more} if more else {})})


@pytest.fixture
def listed(server: Scripted) -> Scripted:
    for path in LISTS:
        server.on(f"GET {path}", collection())
    server.on(f"GET {CLUSTERS}", collection(cluster("a"), cluster("b")))
    return server


def refreshes(server: Scripted) -> int:
    return len(server.calls(f"GET {CLUSTERS}"))


def test_one_snapshot_serves_all_until_it_is_too_old(listed: Scripted, rancher: RancherAdapter, hands: Hands) -> None:
    for name in ("a", "b", "a"):
        view = rancher.observe(name, newer_than=0)
        assert view is not None and view.request_label == f"r-{name}"
    assert refreshes(listed) == 1
    hands.world += 2.4
    rancher.observe("a", newer_than=0)
    assert refreshes(listed) == 1
    hands.world += 0.2
    rancher.observe("a", newer_than=0)
    assert refreshes(listed) == 2


def test_a_snapshot_older_than_the_callers_last_write_is_not_used(
    listed: Scripted, rancher: RancherAdapter, hands: Hands
) -> None:
    rancher.observe("a", newer_than=0)
    hands.world += 1
    written = hands.real()
    with pytest.raises(Unread) as early:
        rancher.observe("a", newer_than=written)
    assert early.value.look_in == pytest.approx(1.5)
    assert refreshes(listed) == 1, "whoever writes, it is not read more often"
    hands.world += early.value.look_in
    rancher.observe("a", newer_than=written)
    rancher.observe("b", newer_than=written)
    assert refreshes(listed) == 2


def test_a_clock_that_was_set_back_does_not_freeze_the_snapshot(
    listed: Scripted, rancher: RancherAdapter, hands: Hands
) -> None:
    rancher.observe("a", newer_than=0)
    hands.world -= 1000
    rancher.observe("a", newer_than=0)
    assert refreshes(listed) == 2


class Held:
    """A list that answers only when told to."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.reply = collection(cluster("a"))

    def __call__(self, _: Asked) -> Reply:
        self.asked.release()
        assert self.go.acquire(timeout=10)
        return self.reply


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def test_callers_wait_for_the_refresh_under_way(
    listed: Scripted, rancher: RancherAdapter, pool: ThreadPoolExecutor
) -> None:
    held = Held()
    listed.on(f"GET {CLUSTERS}", held)
    looks = [pool.submit(rancher.observe, "a", newer_than=0) for _ in range(12)]
    assert held.asked.acquire(timeout=10)
    held.go.release()
    assert all(look.result(10) is not None for look in looks)
    assert refreshes(listed) == 1


def test_who_needs_a_newer_one_than_that_under_way_comes_again(
    listed: Scripted, rancher: RancherAdapter, hands: Hands, pool: ThreadPoolExecutor
) -> None:
    held = Held()
    listed.on(f"GET {CLUSTERS}", held)
    early = pool.submit(rancher.observe, "a", newer_than=0)
    assert held.asked.acquire(timeout=10)
    written = hands.real()
    with pytest.raises(Unread):
        rancher.observe("a", newer_than=written)
    held.go.release()
    assert early.result(10) is not None
    assert refreshes(listed) == 1


def test_what_has_changed_is_told_once(listed: Scripted, rancher: RancherAdapter, hands: Hands) -> None:
    assert rancher.changed().names == {"a", "b"}, "nothing was known before"
    hands.world += 1
    assert rancher.changed() == News(look_in=pytest.approx(1.5)), "as fresh as a snapshot may be"
    hands.world += 3
    listed.on(f"GET {CLUSTERS}", collection(cluster("a", ready=True), cluster("c")))
    rancher.observe("a", newer_than=0)
    assert rancher.changed().names == {"a", "b", "c"}, "it looks otherwise, has gone, has come"
    hands.world += 3
    listed.on(f"GET {MACHINES}", collection(machine("a-1", "a")))
    assert rancher.changed().names == {"a"}
    assert refreshes(listed) == 3


def test_whoever_asks_what_has_changed_waits_for_the_refresh_under_way(
    listed: Scripted, rancher: RancherAdapter, hands: Hands, pool: ThreadPoolExecutor
) -> None:
    rancher.changed()
    held = Held()
    listed.on(f"GET {CLUSTERS}", held)
    hands.world += 3
    look = pool.submit(rancher.observe, "a", newer_than=0)
    assert held.asked.acquire(timeout=10)
    news = pool.submit(rancher.changed)
    held.go.release()
    assert look.result(10) is not None
    assert news.result(10).names == {"b"}, "not what was so before"
    assert refreshes(listed) == 2


def test_the_lists_are_read_side_by_side(listed: Scripted, rancher: RancherAdapter) -> None:
    together = threading.Barrier(len(LISTS), timeout=10)

    def meet(_: Asked) -> Reply:
        together.wait()
        return collection(cluster("a"))

    for path in LISTS:
        listed.on(f"GET {path}", meet)
    assert rancher.observe("a", newer_than=0) is not None


def test_what_no_view_needs_is_left_out_of_the_lists(listed: Scripted, rancher: RancherAdapter) -> None:
    rancher.observe("a", newer_than=0)
    for path in LISTS:
        (asked,) = listed.calls(f"GET {path}")
        assert {"metadata.managedFields", "metadata.annotations"} < set(asked.query["exclude"].split(","))


def test_a_failed_refresh_fails_all_who_ask_until_the_next(
    listed: Scripted, rancher: RancherAdapter, hands: Hands, pool: ThreadPoolExecutor
) -> None:
    held = Held()
    held.reply = Reply(500, {"message": "database is locked"})
    listed.on(f"GET {CLUSTERS}", held)
    looks = [pool.submit(rancher.observe, "a", newer_than=0) for _ in range(4)]
    assert held.asked.acquire(timeout=10)
    for _ in looks:
        held.go.release()
    for look in looks:
        with pytest.raises(Temporary, match="database is locked"):
            look.result(10)
    listed.on(f"GET {CLUSTERS}", collection(cluster("a")))
    tries = refreshes(listed)
    with pytest.raises(Temporary, match="database is locked"):
        rancher.observe("a", newer_than=0)
    assert refreshes(listed) == tries, "an outage is not made worse by the number of clusters"
    hands.world += 3
    assert rancher.observe("a", newer_than=0) is not None


def test_while_the_next_is_under_way_the_last_one_serves(
    listed: Scripted, rancher: RancherAdapter, hands: Hands, pool: ThreadPoolExecutor
) -> None:
    rancher.observe("a", newer_than=0)
    held = Held()
    listed.on(f"GET {CLUSTERS}", held)
    hands.world += 4
    late = pool.submit(rancher.observe, "a", newer_than=0)
    assert held.asked.acquire(timeout=10)
    assert rancher.observe("b", newer_than=0) is not None, "which the next one does not have"
    held.go.release()
    assert late.result(10) is not None
    assert refreshes(listed) == 2


def test_every_page_is_read(listed: Scripted, rancher: RancherAdapter) -> None:
    listed.on(f"GET {CLUSTERS}", collection(cluster("a"), more="next"), collection(cluster("z")))
    assert rancher.observe("z", newer_than=0) is not None
    first, second = listed.calls(f"GET {CLUSTERS}")
    assert first.query["limit"] == "10000"
    assert second.query == {**first.query, "continue": "next"}


def test_absence_is_believed_only_from_a_get_by_id(listed: Scripted, rancher: RancherAdapter) -> None:
    listed.on(f"GET {CLUSTERS}/young", Reply(200, cluster("young", clusterName="c-m-1")))
    view = rancher.observe("young", newer_than=0)
    assert view is not None and view.management_id == "c-m-1"
    listed.on(f"GET {CLUSTERS}/young", Reply(403, {"message": "forbidden: not bound yet"}))
    with pytest.raises(Temporary, match="not bound yet"):
        rancher.observe("young", newer_than=0)
    listed.on(f"GET {CLUSTERS}/young", Reply(404, {"message": "not found"}))
    assert rancher.observe("young", newer_than=0) is None


def test_a_type_that_rancher_does_not_know_yet_is_temporary(listed: Scripted, rancher: RancherAdapter) -> None:
    listed.on(f"GET {MACHINES}", Reply(404, "404 page not found"))
    with pytest.raises(Temporary, match="does not know"):
        rancher.observe("a", newer_than=0)


def test_machines_and_management_cluster_are_joined_to_their_cluster(listed: Scripted, rancher: RancherAdapter) -> None:
    connected = {"conditions": [{"type": "Connected", "status": "True"}]}
    listed.on(f"GET {CLUSTERS}", collection(cluster("a", clusterName="c-m-a"), cluster("b")))
    listed.on(f"GET {MACHINES}", collection(machine("a-2", "a"), machine("b-1", "b"), machine("a-1", "a")))
    listed.on(f"GET {EC2_MACHINES}", collection({"metadata": {"name": "a-2-ec2"}, "status": {"failureMessage": "no"}}))
    listed.on(f"GET {MANAGEMENT}", collection({"metadata": {"name": "c-m-a"}, "status": connected}))
    view = rancher.observe("a", newer_than=0)
    assert view is not None
    assert [(m.name, m.uid, m.failure) for m in view.pool("gpu")] == [("a-1", "uid-a-1", ""), ("a-2", "uid-a-2", "no")]
    assert view.connected is True
    other = rancher.observe("b", newer_than=0)
    assert other is not None and other.connected is None


def test_one_list_of_system_projects_serves_all_clusters(
    server: Scripted, rancher: RancherAdapter, hands: Hands
) -> None:
    def project(cluster_id: str, name: str = "System") -> dict[str, Any]:
        return {"id": f"{cluster_id}:p-{name.lower()}", "name": name, "clusterId": cluster_id}

    server.on("GET /v3/projects", collection(project("c-m-a"), project("c-m-a", "Default"), project("c-m-b")))
    assert [rancher.system_project(one) for one in ("c-m-a", "c-m-b", "c-m-c")] == [
        "c-m-a:p-system",
        "c-m-b:p-system",
        None,
    ]
    assert len(server.calls("GET /v3/projects")) == 1
    server.on("GET /v3/projects", collection(project("c-m-c")))
    hands.world += 5
    assert rancher.system_project("c-m-c") == "c-m-c:p-system"
    assert len(server.calls("GET /v3/projects")) == 2
