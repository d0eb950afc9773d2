"""A delete that hangs: the cloud credential is gone, or AWS refuses its keys. What helps is told, once."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bot.core.causes.stall import stall
from bot.core.records import ClusterState, RequestState
from tests.core.fakes import CREDENTIAL, starting
from tests.core.stage import Stage

NO_KEYS = (
    'Error removing host "train-a-gpu-0": unable to terminate instance: AuthFailure: AWS was not able to validate the '
    "provided access credentials\n\tstatus code: 401, request id: 1a2b"
)


@pytest.fixture
def ready(stage: Stage) -> Stage:
    """A cluster that is ready, whose removal Rancher does not get on with."""
    stage.finish(stage.running())
    stage.rancher.lingers = 10_000
    return stage


def told(stage: Stage, request_id: str) -> list[str]:
    with stage.store.reading() as tx:
        bodies = [json.loads(m.body) for m in tx.messages(request_id) if m.body]
    return [body["text"] for body in bodies if body.get("what") == "told"]


def test_a_removal_that_is_merely_slow_has_no_known_cause(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look(20, every=30.0)
    assert told(ready, deletion) == []
    assert "credential" not in ready.step(deletion, "remove_cluster").why


def test_a_credential_that_is_gone_is_told_once_with_what_helps(ready: Stage) -> None:
    create = ready.rancher.label
    ready.rancher.credentials.clear()
    deletion = ready.delete()
    ready.look(10, every=30.0)
    (line,) = told(ready, deletion)
    assert f"its cloud credential {CREDENTIAL} is gone" in line
    assert "They cost money until they are gone" in line
    assert "kubectl -n cattle-global-data create secret generic cc-test1" in line
    assert f"by their tag gpu-cluster/request = {create}" in line
    assert CREDENTIAL in ready.step(deletion, "remove_cluster").why


def test_it_is_also_what_is_said_of_a_step_that_is_late(ready: Stage) -> None:
    ready.rancher.credentials.clear()
    deletion = ready.delete()
    ready.look(32, every=30.0)
    late = stall(ready.step(deletion, "remove_cluster"))
    assert late is not None
    assert late.likely == "somebody deleted the cloud credential while the cluster used it"
    assert late.action.startswith("Make the Secret anew under the same name")
    assert not late.action.endswith("."), "the line puts the full stop"


def test_it_goes_on_once_the_credential_is_back(ready: Stage) -> None:
    ready.rancher.credentials.clear()
    deletion = ready.delete()
    ready.look(10, every=30.0)
    ready.rancher.credentials.add(CREDENTIAL)
    ready.look(2, every=30.0)
    assert told(ready, deletion)[1:] == ["Rancher goes on removing the machines"]
    ready.rancher.lingers = 0
    assert ready.finish(deletion).cluster_state == ClusterState.GONE


def test_the_bill_goes_on_until_it_is_gone(ready: Stage) -> None:
    ready.rancher.credentials.clear()
    deletion = ready.delete()
    ready.look()
    before = ready.desk.costs(ready.ask(), "train-a").accounts[0].spent
    story = ready.finish(deletion, every=60.0)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.DELETING)
    assert story.reason.endswith("is gone, or hidden from the bot. They cost money until they are gone.")
    assert story.remedy.endswith("Then /gpu-cluster delete train-a again.")
    ready.clock.forward(3600)
    after = ready.desk.costs(ready.ask(), "train-a").accounts[0].spent
    assert after - before == pytest.approx(0.3 * 2, rel=0.05), "three machines at $0.10, two hours"


def test_keys_that_aws_refuses_are_told_in_its_words(ready: Stage) -> None:
    deletion = ready.delete()
    ready.look()
    first, *others = ready.rancher.machines
    ready.rancher.machines = (dataclasses.replace(first, undeleted=NO_KEYS), *others)
    ready.look(3, every=30.0)
    (line,) = told(ready, deletion)
    assert "Rancher could not remove 1 of the machines: Rancher's cloud credential was refused (AuthFailure)" in line
    assert "Renew the keys of the cloud credential in Rancher." in line
    assert "force-machine-remove" in line and ".." not in line
    story = ready.finish(deletion, every=60.0)
    assert story.diagnosis == (
        f"{first.name}: AuthFailure: AWS was not able to validate the provided access credentials",
    )


def test_a_bot_that_starts_anew_does_not_tell_it_twice(ready: Stage) -> None:
    ready.rancher.credentials.clear()
    deletion = ready.delete()
    for _ in range(10):
        ready.engine = ready.new_engine()
        ready.look(every=30.0)
    assert len(told(ready, deletion)) == 1


def test_a_credential_that_goes_while_machines_are_made_is_the_cause_that_is_told(stage: Stage) -> None:
    """Rancher cannot even begin, and shows machines without a word."""
    request_id = stage.running()
    stage.engine.look_once()
    silent = dataclasses.replace(starting("gpu", 0), created=False, phase="Pending")
    stage.rancher.machines = (*(m for m in stage.rancher.machines if m.pool != "gpu"), silent)
    stage.rancher.credentials.clear()
    story = stage.finish(request_id, every=30.0)
    assert story.reason == (
        f"Rancher cannot start the machines of pool gpu: its cloud credential {CREDENTIAL} is gone, or hidden from "
        "the bot."
    )
    assert story.remedy.startswith("Make the Secret anew under the same name")
