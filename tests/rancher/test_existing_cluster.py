"""The survey of a cluster that was there before us, through both adapters; what it asks for is then done there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from living import Living

from bot.core.operator_values import operator_values
from bot.core.ports import ChartOrder
from bot.core.spec import Catalogue, EnablePolicy, Envelope, Image, Policy, Taint
from bot.core.survey import survey

CATALOGUE = Catalogue({}, {}, {}, Policy(), Image("python@sha256:" + "0" * 64), enable=EnablePolicy({"ml-lab": "ml"}))


@pytest.fixture
def lab(living: Living) -> Iterator[Living]:
    living.world.management.import_cluster("ml-lab")
    living.forward(1)
    yield living


def found(lab: Living) -> Envelope:
    view = lab.rancher.observe("ml-lab", newer_than=lab.hand.real())
    assert view is not None and view.connected and view.request_label == ""
    kube = lab.kube(view.management_id)
    preflight = survey("ml-lab", "ml", "default", lab.rancher, kube, view, CATALOGUE)
    assert preflight.envelope is not None, preflight.checks
    return preflight.envelope


def test_the_survey_and_what_follows(lab: Living) -> None:
    before = lab.world.call_counts()
    envelope = found(lab)
    after = lab.world.call_counts()
    asked = {call for counts in ("management", "downstream") for call in after[counts].keys() - before[counts].keys()}
    assert all(call.startswith("GET ") for call in asked), "a survey changes nothing"
    existing = envelope.existing
    assert existing is not None and existing.nodes == (("ml-lab-gpu", None),)
    assert existing.taints == (Taint("dedicated", "ml"),) and not existing.adopted

    mid, kube = existing.management_id, lab.kube(existing.management_id)
    repo = "https://helm.ngc.nvidia.com/nvidia"
    lab.rancher.ensure_repo(mid, "nvidia", repo, "r-1")
    lab.forward(60)
    project = lab.rancher.system_project(mid)
    assert project and envelope.operator in lab.rancher.chart_versions(mid, "nvidia", "gpu-operator")
    kube.ensure_namespace("gpu-operator", project=project, privileged=True, labels={})
    values = operator_values(envelope)
    lab.rancher.install_chart(
        mid, ChartOrder("nvidia", "gpu-operator", envelope.operator, "gpu-operator", "gpu-operator", project, values)
    )
    lab.forward(900)
    (node,) = [node for node in kube.nodes() if node.name == "ml-lab-gpu"]
    assert node.gpus == 1, "the operator tolerates the owners' taint"
    policy = kube.policy()
    assert policy is not None and policy.reason == "Reconciled"

    again = found(lab)
    assert again.existing == dataclasses.replace(existing, nodes=(("ml-lab-gpu", 1),), adopted=True)
    assert (again.operator, again.gpus) == (envelope.operator, 1)


def test_releases_and_classes(lab: Living) -> None:
    mid = found(lab).existing.management_id  # type: ignore[union-attr]
    assert lab.rancher.releases(mid) == () and lab.kube(mid).device_classes() == ()
