"""The clock, the engine, the journal and the critical path."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import kubernetes.client as k8s
import pytest
import requests
from aiohttp import web
from test_world_happy_path import SCRIPT, probe_job

from bot.sandbox.world import World, WorldClock, make_app
from bot.sandbox.world.engine import Engine, Process, Signal
from bot.sandbox.world.journal import LogEntry, critical_path
from tests.sandbox.world.rig import START, TOKEN, VALUES, Rig, machine_config


def test_clock_file_tells_others_the_time(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "clock.json", world=1000.0, speed=60.0)
    clock.set_speed(5.0)
    document = json.loads((tmp_path / "clock.json").read_text())
    assert set(document) == {"real", "world", "speed"}
    assert document["speed"] == 5.0
    theirs = document["world"] + (time.time() - document["real"]) * document["speed"]
    assert theirs == pytest.approx(clock.now(), abs=1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["clock.json"]
    with pytest.raises(ValueError, match="negative"):
        clock.set_speed(-1)


def test_manual_clock_stands_still_and_never_goes_back(tmp_path: Path) -> None:
    clock = WorldClock(tmp_path / "clock.json", world=1000.0, manual=True)
    clock.forward(5)
    assert clock.now() == 1005.0
    with pytest.raises(ValueError, match="does not go back"):
        clock.set(1004)
    with pytest.raises(ValueError, match="no speed"):
        clock.set_speed(2)


def test_processes_wake_at_their_own_time_however_late_anybody_looks() -> None:
    engine, seen = Engine(100.0), []

    def process(name: str, delay: float) -> Process:
        for _ in range(3):
            yield delay
            seen.append((name, engine.now))

    engine.spawn(process("a", 2.0))
    engine.spawn(process("b", 3.0))
    engine.advance(200.0)
    assert seen == [("a", 102.0), ("b", 103.0), ("a", 104.0), ("b", 106.0), ("a", 106.0), ("b", 109.0)]
    assert engine.now == 200.0


def test_signals_wake_all_who_wait_and_those_who_come_later() -> None:
    engine, signal, seen = Engine(0.0), Signal(), []

    def waiter(name: str, before: float) -> Process:
        yield before
        yield signal
        seen.append((name, engine.now))

    engine.spawn(waiter("early", 1.0))
    engine.spawn(waiter("late", 9.0))
    cancelled = engine.spawn(waiter("cancelled", 1.0))
    engine.call_at(4.0, cancelled.cancel)
    engine.call_at(5.0, signal.fire)
    engine.advance(10.0)
    assert seen == [("early", 5.0), ("late", 9.0)]


def test_calls_into_the_real_world_do_not_hold_up_the_rest() -> None:
    engine, call, seen = Engine(0.0), Future[str](), []

    def caller() -> Process:
        seen.append((yield call))

    def other() -> Process:
        yield 1.0
        seen.append("other")

    engine.spawn(caller())
    engine.spawn(other())
    engine.advance(5.0)
    assert seen == ["other"]
    call.set_result("answer")
    engine.advance(6.0)
    assert seen == ["other", "answer"]


def test_a_process_may_cancel_itself() -> None:
    engine, seen, tasks = Engine(0.0), [], []

    def process() -> Process:
        yield 1.0
        tasks[0].cancel()
        seen.append("to the next wait")
        yield 1.0
        seen.append("never")

    tasks.append(engine.spawn(process()))
    engine.advance(5.0)
    assert seen == ["to the next wait"]
    assert engine.failures == []


def test_a_process_that_dies_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(0.0)

    def broken() -> Process:
        yield 1.0
        raise RuntimeError("oops")

    engine.spawn(broken())
    engine.advance(2.0)
    assert [str(failure) for failure in engine.failures] == ["oops"]
    assert "a process of the simulated world died" in caplog.text


def entry(at: float, kind: str, detail: str = "") -> LogEntry:
    return LogEntry(at, "c", kind, detail)


def test_critical_path_leaves_out_what_the_client_took() -> None:
    """Two GPU nodes; the client dawdles 100 s before each of its three calls."""
    log = [
        entry(0, "cluster-created", "c"),
        entry(300, "api-ready", "c"),
        entry(302, "system-project", "p"),
        entry(310, "node-ready", "w"),
        *(entry(t, kind, g) for t, g in ((320, "g1"), (900, "g2")) for kind in ("gpu-node", "node-ready")),
        entry(410, "repo-created", "nvidia"),
        entry(420, "repo-downloaded", "nvidia"),
        entry(520, "operation-created", "op"),
        entry(560, "app-deployed", "op"),
        entry(860, "allocatable", "g1"),
        entry(1150, "allocatable", "g2"),
        entry(1200, "policy", "Reconciled"),
        entry(1300, "job-created", "ns/j1"),
        entry(1300, "job-created", "ns/j2"),
        entry(1310, "job-pod-bound", "ns/j1 g1"),
        entry(1310, "job-pod-bound", "ns/j2 g2"),
        entry(1330, "job-finished", "ns/j1 Complete"),
        entry(1325, "job-finished", "ns/j2 Complete"),
    ]
    # g1: chart deployed 310+10+40=360, chain 1200-560=640, job 30; g2: joined 900, chain 1200-900=300, job 25
    assert critical_path(log) == pytest.approx(max(360 + 640 + 30, 900 + 300 + 25))


def test_critical_path_needs_a_finished_job() -> None:
    with pytest.raises(ValueError, match="api-ready"):
        critical_path(
            [entry(0, "cluster-created", "c"), entry(10, "job-pod-bound", "ns/j g"), entry(5, "gpu-node", "g")]
        )


class EagerClient:
    """Reacts to the journal within one step of the clock."""

    STEP = 0.5

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def until(self, kind: str, detail: str = "", count: int = 1) -> None:
        for _ in range(4000):
            found = [e for e in self.rig.world.events if e.kind == kind and detail in e.detail]
            if len(found) >= count:
                return
            self.rig.forward(self.STEP)
        raise AssertionError(f"no {kind}")

    def play(self) -> float:
        rig = self.rig
        rig.order(gpus=2)
        self.until("api-ready")
        self.until("node-ready", "-wk-")
        base = f"/k8s/clusters/{rig.mid()}/v1/catalog.cattle.io.clusterrepos"
        rig.post(base, {"metadata": {"name": "nvidia"}, "spec": {"url": "https://helm.ngc.nvidia.com/nvidia"}})
        self.until("repo-downloaded")
        chart = {"chartName": "gpu-operator", "version": "v26.3.3", "releaseName": "gpu-operator", "values": VALUES}
        rig.post(f"{base}/nvidia?action=upgrade", {"namespace": "gpu-operator", "charts": [chart]})
        self.until("allocatable", count=2)
        self.until("policy", "Reconciled")
        core = rig.core()
        core.create_namespaced_config_map("default", {"metadata": {"name": "probe"}, "data": {"probe.py": SCRIPT}})
        for node in core.list_node(label_selector="gpu-cluster/pool=gpu").items:
            job = probe_job()
            job["metadata"]["name"] = f"probe-{node.metadata.name}"
            job["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node.metadata.name}
            k8s.BatchV1Api(core.api_client).create_namespaced_job("default", job)
        self.until("job-finished", "Complete", count=2)
        return rig.clock.now() - START


def test_an_eager_client_needs_little_more_than_the_critical_path(rig: Rig) -> None:
    needed = EagerClient(rig).play()
    path = rig.world.critical_path("gpu01")
    assert path <= needed <= path + 6 * EagerClient.STEP


def test_the_same_seed_gives_the_same_world(make_rig: Callable[..., Rig]) -> None:
    def play(seed: int) -> list[tuple[float, str]]:
        rig = make_rig(seed=seed)
        rig.order()
        rig.forward(600)
        return [(e.at_world, e.kind) for e in rig.world.events]

    assert play(7) == play(7)
    assert play(7) != play(8)


def test_time_passes_by_itself_when_the_clock_runs(tmp_path: Path, aws_endpoint: str) -> None:
    async def play() -> list[dict[str, Any]]:
        clock = WorldClock(tmp_path / "clock.json", speed=600.0)
        world = World(clock, ec2_endpoint=aws_endpoint, token=TOKEN)
        runner = web.AppRunner(make_app(world))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            return await asyncio.to_thread(order_and_wait, url)
        finally:
            await runner.cleanup()
            assert world.engine.failures == []

    machines = asyncio.run(play())
    assert {m["status"]["phase"] for m in machines} == {"Running"}


def order_and_wait(url: str) -> list[dict[str, Any]]:
    """Make a one-machine cluster, and look until it is active."""
    with requests.Session() as http:
        http.headers["Authorization"] = f"Bearer {TOKEN}"
        config = {k: v for k, v in machine_config("one", "t3.medium", {"VpcId": "", "SubnetId": ""}).items() if v}
        assert http.post(f"{url}/v1/rke-machine-config.cattle.io.amazonec2configs", json=config).status_code == 201
        roles = {"etcdRole": True, "controlPlaneRole": True, "workerRole": True}
        pool = {"name": "all", "quantity": 1, "machineConfigRef": {"kind": "Amazonec2Config", "name": "one"}, **roles}
        spec = {
            "kubernetesVersion": "v1.34.6+rke2r1",
            "cloudCredentialSecretName": "cattle-global-data:cc-sandbox",
            "rkeConfig": {"machinePools": [pool]},
        }
        body = {"metadata": {"namespace": "fleet-default", "name": "one"}, "spec": spec}
        assert http.post(f"{url}/v1/provisioning.cattle.io.clusters", json=body).status_code == 201
        end = time.monotonic() + 30
        while time.monotonic() < end:
            cluster = http.get(f"{url}/v1/provisioning.cattle.io.clusters/fleet-default/one").json()
            if cluster["metadata"]["state"]["name"] == "active":
                break
        machines: list[dict[str, Any]] = http.get(f"{url}/v1/cluster.x-k8s.io.machines/fleet-default").json()["data"]
        return machines
