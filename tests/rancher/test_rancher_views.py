"""Rancher's objects in the shapes of several versions, as the core's views."""

from __future__ import annotations

from typing import Any

import pytest

from bot.core.ports import AppView, RepoView
from bot.rancher.views import app_view, cluster_view, holds, machine_view, repo_failed, repo_view

DRIVER = "Error creating machine: error launching instance: InsufficientInstanceCapacity: We currently do not have it"
CREATE_ERROR = f"failed creating server [fleet-default/m] of kind (Amazonec2Machine): CreateError: {DRIVER}"


def conditions(**statuses: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": status} for kind, status in statuses.items()]


def provisioning(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "generation": 2, **metadata}, "status": status}


def test_a_cluster_of_which_nothing_is_known_yet() -> None:
    view = cluster_view({"metadata": {"name": "a"}}, None, ())
    assert (view.ready, view.updated, view.connected, view.management_id) == (False, None, None, "")
    assert (view.state, view.message, view.request_label, view.deleting) == ("", "", "", False)


def test_connected_stands_on_the_management_cluster() -> None:
    cluster = provisioning({"clusterName": "c-m-1", "conditions": conditions(Updated="True")})
    for status, expected in (("True", True), ("False", False), ("Unknown", False)):
        management = {"metadata": {"name": "c-m-1"}, "status": {"conditions": conditions(Connected=status)}}
        assert cluster_view(cluster, holds(management, "Connected"), ()).connected is expected


def test_connected_before_2_15_is_also_on_the_cluster_itself() -> None:
    cluster = provisioning({"clusterName": "c-m-1", "conditions": conditions(Connected="True")})
    assert cluster_view(cluster, None, ()).connected is True
    assert cluster_view(cluster, holds({"metadata": {"name": "c-m-1"}}, "Connected"), ()).connected is True


@pytest.mark.parametrize(("seen", "expected"), [(None, False), (1, False), (2, True), (3, True)])
def test_a_status_of_an_older_generation_is_not_observed(seen: int | None, expected: bool) -> None:
    assert cluster_view(provisioning({"observedGeneration": seen}), None, ()).observed is expected


def test_the_message_is_the_states_else_the_planners() -> None:
    waiting = {"type": "Updated", "status": "Unknown", "reason": "Waiting", "message": "configuring bootstrap node(s)"}
    cluster = provisioning({"conditions": [waiting]}, state={"name": "updating", "transitioning": True})
    view = cluster_view(cluster, None, ())
    assert (view.message, view.updated, view.transitioning) == ("configuring bootstrap node(s)", False, True)
    cluster["metadata"]["state"]["message"] = "waiting for infrastructure ready"
    assert cluster_view(cluster, None, ()).message == "waiting for infrastructure ready"


def capi(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "m", **metadata}, "spec": {}, "status": status}


@pytest.mark.parametrize(
    ("status", "created"),
    [
        ({}, False),
        ({"infrastructureReady": True}, True),
        ({"infrastructureReady": False}, False),
        ({"initialization": {}}, False),
        ({"initialization": {"infrastructureProvisioned": True}}, True),
        ({"initialization": {"infrastructureProvisioned": False}}, False),
    ],
)
def test_created_in_both_shapes(status: dict[str, Any], created: bool) -> None:
    assert machine_view(capi(status), None).created is created


@pytest.mark.parametrize(
    ("machine", "infrastructure", "failure"),
    [
        ({}, None, ""),
        ({}, {}, ""),
        ({}, {"failureReason": "CreateError", "failureMessage": DRIVER}, DRIVER),
        (
            {},
            {
                "conditions": [
                    {"type": "CreateJob", "status": "False", "reason": "CreateError", "message": CREATE_ERROR}
                ]
            },
            CREATE_ERROR,
        ),
        ({}, {"conditions": [{"type": "Ready", "status": "False", "message": CREATE_ERROR}]}, CREATE_ERROR),
        ({}, {"conditions": [{"type": "Ready", "status": "False", "message": "creating server [x]"}]}, ""),
        ({"failureMessage": DRIVER}, {}, DRIVER),
        ({"deprecated": {"v1beta1": {"failureMessage": DRIVER}}}, None, DRIVER),
        (
            {
                "deprecated": {
                    "v1beta1": {
                        "conditions": [
                            {
                                "type": "InfrastructureReady",
                                "status": "False",
                                "reason": "CreateError",
                                "message": CREATE_ERROR,
                            }
                        ]
                    }
                }
            },
            None,
            CREATE_ERROR,
        ),
    ],
)
def test_the_driver_s_words_are_found_wherever_they_are(
    machine: dict[str, Any], infrastructure: dict[str, Any] | None, failure: str
) -> None:
    ec2 = None if infrastructure is None else {"metadata": {"name": "m"}, "status": infrastructure}
    assert machine_view(capi(machine), ec2).failure == failure


@pytest.mark.parametrize(
    "infrastructure",
    [
        {"failureReason": "DeleteError", "failureMessage": "AuthFailure: no"},
        {
            "conditions": [
                {"type": "DeleteJob", "status": "False", "reason": "DeleteError", "message": "AuthFailure: no"}
            ]
        },
    ],
)
def test_a_removal_that_failed_is_no_failed_creation(infrastructure: dict[str, Any]) -> None:
    for machine, ec2 in (({}, {"metadata": {"name": "m"}, "status": infrastructure}), (infrastructure, None)):
        view = machine_view(capi(machine), ec2)
        assert (view.failure, view.undeleted) == ("", "AuthFailure: no")


def test_a_machine_s_message_is_the_state_s_else_that_of_the_first_condition_not_true() -> None:
    waiting = {"type": "Ready", "status": "False", "message": "waiting for agent to check in"}
    status = {"phase": "Provisioning", "conditions": [{"type": "A", "status": "True", "message": "fine"}, waiting]}
    assert machine_view(capi(status), None).message == "waiting for agent to check in"
    assert machine_view(capi(status, state={"message": "own"}), None).message == "own"
    assert machine_view(capi({"nodeRef": {"name": "n"}, "phase": "Running"}), None).node == "n"


def repo(status: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "nvidia", "generation": 2, "labels": {"gpu-cluster/request": "r-1"}}, "status": status}


DOWNLOADED = {
    "observedGeneration": 2,
    "indexConfigMapName": "nvidia-index",
    "conditions": conditions(Downloaded="True"),
}
BROKEN = {"observedGeneration": 2, "conditions": [{"type": "Downloaded", "status": "False", "message": "no route"}]}


@pytest.mark.parametrize(
    ("status", "view", "failed"),
    [
        ({}, RepoView(False, "", "r-1"), False),
        (DOWNLOADED, RepoView(True, "", "r-1"), False),
        ({**DOWNLOADED, "conditions": conditions(OCIDownloaded="True")}, RepoView(True, "", "r-1"), False),
        ({**DOWNLOADED, "observedGeneration": 1}, RepoView(False, "", "r-1"), False),
        ({**DOWNLOADED, "indexConfigMapName": ""}, RepoView(False, "", "r-1"), False),
        (BROKEN, RepoView(False, "no route", "r-1"), True),
        ({**BROKEN, "observedGeneration": 1}, RepoView(False, "no route", "r-1"), False),
    ],
)
def test_a_repo_is_ready_when_its_index_is_that_of_the_present_spec(
    status: dict[str, Any], view: RepoView, failed: bool
) -> None:
    assert repo_view(repo(status)) == view
    assert repo_failed(repo(status)) is failed


def test_an_app() -> None:
    chart = {"metadata": {"version": "v26.7.0"}}
    deployed = {"spec": {"info": {"status": "deployed"}, "version": 3, "chart": chart}}
    assert app_view(deployed) == AppView("deployed", "v26.7.0", 3)
    assert app_view({"status": {"summary": {"state": "pending-install"}}}) == AppView("pending-install", "", 0)
