"""A removal that cannot go on, as each Rancher shows it: without the credential, and with keys that AWS refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from living import REQUEST, Living
from test_rancher_whole_life import connected, look

from bot.sandbox.world.kube.kinds import INFRA_MACHINE
from bot.sandbox.world.rancher.release import PLAYED

CREDENTIAL = "cattle-global-data:cc-sandbox"


class Removal:
    """A cluster that is being removed, and its machines in EC2."""

    def __init__(self, living: Living) -> None:
        self.living = living
        living.order(living.envelope())
        self.tag = f"tag:kubernetes.io/cluster/{connected(living).management_id}"
        assert len(self.running()) == 3
        living.rancher.delete_cluster("train-a", (REQUEST,))

    def running(self) -> list[str]:
        state = {"Name": "instance-state-name", "Values": ["running"]}
        found = self.living.ec2.describe_instances(Filters=[{"Name": self.tag, "Values": ["owned"]}, state])
        return [instance["InstanceId"] for one in found["Reservations"] for instance in one["Instances"]]


@pytest.fixture
def begin(make_living: Callable[..., Living]) -> Iterator[Callable[..., Removal]]:
    """Removals, whose machines end with the test."""
    begun: list[Removal] = []

    def begin(*faults: str, **plot: str) -> Removal:
        begun.append(Removal(make_living(*faults, **plot)))
        return begun[-1]

    yield begin
    for removal in begun:
        if left := removal.running():
            removal.living.ec2.terminate_instances(InstanceIds=left)


@pytest.mark.parametrize("version", PLAYED)
def test_without_the_credential_nothing_is_said_and_nothing_goes(begin: Callable[..., Removal], version: str) -> None:
    removal = begin("credential-deleted", version=version)
    living = removal.living
    living.forward(3000)
    view = look(living)
    assert (view.deleting, view.state) == (True, "removing")
    assert view.message.startswith("waiting for machine [train-a-")
    assert [machine.undeleted for machine in view.machines] == [""] * 3
    assert len(removal.running()) == 3
    assert not living.rancher.has_credential(CREDENTIAL)
    living.world.management.credentials[CREDENTIAL] = "us-east-1"
    living.forward(400)
    assert living.rancher.observe("train-a", newer_than=living.hand.real()) is None
    assert removal.running() == []


@pytest.mark.parametrize("version", PLAYED)
def test_keys_that_are_refused_are_aws_s_own_words_on_the_machine(begin: Callable[..., Removal], version: str) -> None:
    living = begin("credential-refused", version=version).living
    living.forward(400)
    view = look(living)
    assert view.message.startswith("error deleting machine [train-a-")
    assert view.message.endswith("machine must be deleted manually")
    for machine in view.machines:
        assert "AuthFailure: AWS was not able to validate" in machine.undeleted
        assert machine.failure == "", "it is no refusal of a creation"
    assert living.rancher.has_credential(CREDENTIAL), "it is there; what is in it is worth nothing"


def test_what_is_forced_out_of_rancher_stays_in_ec2(begin: Callable[..., Removal]) -> None:
    removal = begin("credential-refused")
    living = removal.living
    living.forward(400)
    local = living.world.management.store
    for infra in local.all(INFRA_MACHINE, "fleet-default"):
        local.edit(
            INFRA_MACHINE,
            infra["metadata"]["name"],
            "fleet-default",
            lambda m: m["metadata"].update(annotations={"provisioning.cattle.io/force-machine-remove": "true"}),
        )
    living.forward(300)
    assert living.rancher.observe("train-a", newer_than=living.hand.real()) is None
    assert len(removal.running()) == 3


def test_without_the_credential_no_machine_is_begun_and_none_says_why(living: Living) -> None:
    living.order(living.envelope())
    region = living.world.management.credentials.pop(CREDENTIAL)
    living.forward(1200)
    view = look(living)
    assert len(view.machines) == 3
    assert not any(machine.created or machine.failure for machine in view.machines)
    living.world.management.credentials[CREDENTIAL] = region
    living.forward(60)
    assert all(machine.created for machine in look(living).machines)
