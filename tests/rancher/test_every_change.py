"""Every change of something that is there: it is read by id first, changed where it must be, and nowhere else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from living import REQUEST, Living
from test_bot_rights import everything

from bot.core.ports import Permanent
from bot.rancher.client import BODY_MAX, RancherClient
from bot.sandbox.world.kube.kinds import MACHINE, MACHINE_CONFIG, PROVISIONING_CLUSTER, Kind

Obj = dict[str, Any]
ODD = {"anno.example/by-somebody": "else"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, int]]]:
    """Every request with its method, path and size, as the client sent it."""
    log: list[tuple[str, str, int]] = []
    real = RancherClient._send

    def spy(self: RancherClient, method: str, path: str, params: Any, data: bytes | None, *rest: Any) -> Any:
        log.append((method, path, len(data or b"")))
        return real(self, method, path, params, data, *rest)

    monkeypatch.setattr(RancherClient, "_send", spy)
    yield log


def stored(living: Living, kind: Kind) -> dict[str, Obj]:
    objects = living.world.management.store.all(kind, "fleet-default")
    return {obj["metadata"]["name"]: copy.deepcopy(obj) for obj in objects}


def oddly(living: Living, kind: Kind, name: str, **spec: Any) -> None:
    """Somebody else has put into the object what the bot never says."""
    obj = stored(living, kind)[name]
    obj["metadata"]["annotations"] = {**(obj["metadata"].get("annotations") or {}), **ODD}
    obj["spec"] = {**obj.get("spec", {}), **spec} if kind is not MACHINE_CONFIG else obj.get("spec", {})
    if kind is PROVISIONING_CLUSTER:
        obj["spec"]["rkeConfig"]["machinePools"][0]["autoscalingMaxSize"] = 7
    living.world.management.store.replace(kind, obj)


def comparable(obj: Obj) -> Obj:
    """Without what the server counts, and the numbers that a change is about."""
    kept = copy.deepcopy(obj)
    for key in ("resourceVersion", "generation", "managedFields"):
        kept["metadata"].pop(key, None)
    kept.pop("status", None)
    for pool in (kept.get("spec") or {}).get("rkeConfig", {}).get("machinePools", []):
        pool.pop("quantity", None)
        pool.pop("paused", None)
    return kept


def test_what_changes_something_has_read_it_by_id(living: Living, sent: list[tuple[str, str, int]]) -> None:
    everything(living)
    read: set[str] = set()
    changed = []
    for method, path, _ in sent:
        if method == "GET":
            read.add(path)
        elif method in ("PUT", "PATCH", "DELETE"):
            changed.append((method, path))
            assert path in read, f"{method} {path} without a GET of it before"
            read.discard(path)
    assert {method for method, _ in changed} == {"PATCH", "DELETE"}, "nothing is ever replaced as a whole"
    assert len({path.split("/")[2] for _, path in changed}) >= 4
    assert max(size for _, _, size in sent) < BODY_MAX


def test_what_the_bot_does_not_know_survives_every_change(living: Living) -> None:
    envelope = living.envelope(gpu_machines=2, zones="ab")
    rancher = living.rancher
    gpu = next(pool for pool in envelope.pools if pool.gpu)
    living.order(envelope)
    living.forward(600)
    oddly(living, PROVISIONING_CLUSTER, "train-a", fleetAgentDeploymentCustomization={"deep": [1, {"er": None}]})
    machine = next(name for name in stored(living, MACHINE) if "-gpu-" in name)
    oddly(living, MACHINE, machine, fieldOfTomorrow="x")
    before = comparable(stored(living, PROVISIONING_CLUSTER)["train-a"])
    machine_before = comparable(stored(living, MACHINE)[machine])
    view = rancher.observe("train-a", newer_than=0)
    assert view is not None
    for change in (
        lambda: rancher.size_pools(envelope, (replace(gpu, count=1),), REQUEST),
        lambda: rancher.size_pools(envelope, (gpu,), REQUEST),
        lambda: rancher.trim_pools("train-a", {"cp": 1, "wk": 1, "gpu": 1}),
        lambda: rancher.bind_role(view.management_id, "local://u-requester", "cluster-member", person="U1"),
        lambda: rancher.unbind(view.management_id, "U1"),
        lambda: rancher.let_tokens_through(view.management_id, may_change=True),
    ):
        change()
        assert comparable(stored(living, PROVISIONING_CLUSTER)["train-a"]) == before
    rancher.mark_machine(machine)
    marked = comparable(stored(living, MACHINE)[machine])
    assert marked["metadata"]["annotations"].pop("cluster.x-k8s.io/delete-machine") == "yes"
    assert marked == machine_before
    first = before["spec"]["rkeConfig"]["machinePools"][0]
    assert first["autoscalingMaxSize"] == 7 and first["dynamicSchemaSpec"], "nor what Rancher itself has put there"
    assert before["metadata"]["annotations"].items() >= ODD.items()


def test_a_machine_config_stays_as_it_is_to_the_byte(living: Living, sent: list[tuple[str, str, int]]) -> None:
    """Rancher replaces every machine of a pool whose configuration changes (rancher/rancher:
    pkg/controllers/provisioningv2/rke2/provisioningcluster/template.go)."""
    envelope = living.envelope(gpu_machines=1, zones="ab")
    living.order(envelope)
    living.forward(600)
    for name in stored(living, MACHINE_CONFIG):
        oddly(living, MACHINE_CONFIG, name)
    before = json.dumps(stored(living, MACHINE_CONFIG), sort_keys=True)
    view = living.rancher.observe("train-a", newer_than=0)
    assert view is not None
    living.order(envelope)
    living.order(replace(envelope, hours=envelope.hours + 24))
    living.rancher.bind_role(view.management_id, "local://u-lead", "gpu-cluster-user", person="U2")
    living.rancher.unbind(view.management_id, "")
    gpu = next(pool for pool in envelope.pools if pool.gpu)
    living.rancher.size_pools(envelope, (replace(gpu, count=0),), REQUEST)
    living.rancher.size_pools(envelope, (gpu,), REQUEST)
    living.forward(60)
    assert json.dumps(stored(living, MACHINE_CONFIG), sort_keys=True) == before
    assert not [call for call in sent if "amazonec2configs" in call[1] and call[0] in ("PUT", "PATCH", "DELETE")]


def test_a_change_that_is_too_long_is_not_sent(living: Living) -> None:
    envelope = living.envelope()
    labels = tuple((f"example.com/l{n}", "x" * 60) for n in range(14_000))
    long = replace(envelope, pools=(replace(envelope.pools[0], labels=labels), *envelope.pools[1:]))
    with pytest.raises(Permanent, match="bytes long; it takes less than 1048576"):
        living.rancher.ensure_cluster(long, REQUEST)
