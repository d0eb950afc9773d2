"""Add-ons, and the two ways of the operator: what the plan holds and what the steps do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bot.core.plan import plan_for
from bot.core.ports import AppView, JobView, Permanent, RepoView, Store
from bot.core.records import Kind, RequestState
from bot.core.spec import Preset, envelope_from_json
from bot.core.steps.addons import repo_name
from bot.core.wiring import Addon, Network
from bot.store.sqlite import SqliteStore
from tests.core.fakes import MID
from tests.core.stage import CATALOGUE, Stage

EBS = Addon("ebs", "https://charts.test/ebs", "aws-ebs-csi-driver", "2.53.0", "kube-system", '{"a":1}')
LOGS = Addon("logs", "https://charts.test/logs", "loki", "6.0.0", "logging")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return SqliteStore(tmp_path / "store.db")


def staged(
    store: Store, *addons: Addon, everywhere: bool = False, network: Network | None = None, **preset: Any
) -> Stage:
    starter: Preset = dataclasses.replace(CATALOGUE.presets["starter"], addons=addons, **preset)
    policy = dataclasses.replace(CATALOGUE.policy, catalog_everywhere=everywhere)
    catalogue = dataclasses.replace(
        CATALOGUE, presets={"starter": starter}, policy=policy, network=network or CATALOGUE.network
    )
    stage = Stage(store, catalogue=catalogue)
    stage.rancher.others = {"aws-ebs-csi-driver": ("2.53.0", "2.40.0"), "loki": ("6.0.0",)}
    return stage


def test_they_are_in_the_envelope_and_come_with_the_cluster(store: Store) -> None:
    stage = staged(store, EBS, LOGS)
    request = stage.running()
    assert envelope_from_json(stage.request(request).envelope).addons == (EBS, LOGS)
    assert stage.finish(request).state == RequestState.DONE
    assert stage.rancher.repos["charts-test-ebs"] == "https://charts.test/ebs"
    ebs, logs = (order for order in stage.rancher.orders if order.release != "gpu-operator")
    assert (ebs.repo, ebs.chart, ebs.version, ebs.namespace) == (
        "charts-test-ebs", "aws-ebs-csi-driver", "2.53.0", "kube-system",
    )  # fmt: skip
    assert (ebs.values, ebs.project) == ({"a": 1}, "")
    assert (logs.release, logs.project) == ("logs", f"{MID}:p-system")
    assert stage.kube.namespaces["logging"] is False, "no more rights than the chart was given"
    assert stage.step(request, "addons").why == ""


def test_another_version_of_an_add_on_is_another_envelope(store: Store) -> None:
    first = envelope_from_json(stage_envelope(staged(store, EBS)))
    assert dataclasses.replace(first, addons=(dataclasses.replace(EBS, version="2.40.0"),)).digest() != first.digest()


def stage_envelope(stage: Stage) -> str:
    return stage.request(stage.awaiting().request_id).envelope


@pytest.mark.parametrize(
    ("addon", "said"),
    [
        (dataclasses.replace(EBS, version="9.9.9"), "has no aws-ebs-csi-driver 9.9.9"),
        (dataclasses.replace(EBS, chart="nothing"), "It has: none."),
    ],
)
def test_one_that_cannot_be_had_is_said_and_the_gpus_are_handed_out(store: Store, addon: Addon, said: str) -> None:
    stage = staged(store, addon, LOGS)
    request = stage.running()
    assert stage.finish(request).state == RequestState.DONE
    why = stage.step(request, "addons").why
    assert why.startswith("add-on ebs is not installed: ")
    assert said in why
    assert [order.release for order in stage.rancher.orders if order.release == "logs"] == ["logs"], "the next one is"


def test_one_that_helm_could_not_install_is_said_in_helm_s_words(store: Store) -> None:
    stage = staged(store, EBS)
    stage.rancher.apps["ebs"] = AppView("failed", "2.53.0", 1)
    request = stage.running()
    assert stage.finish(request).state == RequestState.DONE
    assert "add-on ebs is not installed: Helm failed." in stage.step(request, "addons").why


def test_a_repository_that_does_not_come_is_borne_when_its_time_is_over(store: Store) -> None:
    stage = staged(store, EBS)
    ensure = stage.rancher.ensure_repo
    stage.rancher.ensure_repo = lambda mid, name, *rest: (  # type: ignore[method-assign]
        RepoView(False, "no such host", "") if name != "nvidia" else ensure(mid, name, *rest)
    )
    request = stage.running()
    assert stage.finish(request).state == RequestState.DONE
    assert stage.step(request, "addons").why == "add-on ebs is not installed: ebs: no such host"


def test_an_add_on_is_started_once_though_its_answer_is_lost(store: Store) -> None:
    stage = staged(store, EBS)
    stage.rancher.crash_after_install = False
    request = stage.running()
    stage.finish(request)
    assert [order.release for order in stage.rancher.orders].count("ebs") == 1


def test_repos_are_named_after_their_address_and_shared() -> None:
    assert repo_name(EBS) == "charts-test-ebs"
    assert repo_name(dataclasses.replace(EBS, repo="https://helm.ngc.nvidia.com/nvidia/")) == "nvidia"
    assert len(repo_name(dataclasses.replace(EBS, repo="https://a.b/" + "c" * 90))) <= 60


# --- the operator's two ways ---------------------------------------------------------------------------------------


def kinds(stage: Stage) -> dict[str, tuple[str, ...]]:
    envelope = envelope_from_json(stage_envelope(stage))
    return {planned.kind: planned.after for planned in plan_for(Kind.CREATE, envelope)}


def test_what_is_not_wanted_is_not_in_the_plan(store: Store) -> None:
    plain = kinds(staged(store))
    assert "addons@1" not in plain
    assert plain["operator@1"] == ("catalog@1",)


def test_by_manifest_there_is_no_repo_unless_everywhere(store: Store) -> None:
    assert "catalog@1" not in kinds(staged(store, operator_by="manifest"))
    assert kinds(staged(store, operator_by="manifest"))["operator@1"] == ("control_plane@1",)


def test_everywhere_means_a_repo_in_clusters_by_manifest_too(store: Store) -> None:
    assert "catalog@1" in kinds(staged(store, operator_by="manifest", everywhere=True))


def test_by_manifest_the_release_is_observed_and_nothing_installed(store: Store) -> None:
    stage = staged(store, operator_by="manifest")
    request = stage.running()
    stage.look(3)
    assert stage.whys(request)["operator@1"] == "the cluster has not begun to install the chart from its manifest"
    stage.kube.results["helm"] = JobView("", "ImagePullBackOff", "no such host", "")
    stage.kube.job = lambda _, name: (  # type: ignore[method-assign]
        stage.kube.results["helm"] if name.startswith("helm-") else type(stage.kube).job(stage.kube, "", name)
    )
    stage.look(2)
    assert "(ImagePullBackOff: no such host)" in stage.whys(request)["operator@1"]
    stage.rancher.release = AppView("deployed", "v26.7.0", 1)
    assert stage.finish(request).state == RequestState.DONE
    assert stage.rancher.orders == []
    assert stage.rancher.repos == {}


def test_by_manifest_a_job_that_failed_ends_it_with_helm_s_words(store: Store) -> None:
    stage = staged(store, operator_by="manifest")
    stage.kube.job = lambda *_: JobView("failed", "BackoffLimitExceeded", "", "Error: no such chart")  # type: ignore[method-assign]
    told = stage.finish(stage.running())
    assert told.state == RequestState.FAILED
    assert "helm-controller could not install the GPU Operator" in told.reason
    assert told.diagnosis == ("Error: no such chart",)


def test_a_chart_mirror_is_where_the_repo_points(store: Store) -> None:
    stage = staged(store, network=Network(chart_mirror="https://mirror.test/nvidia"))
    assert stage.finish(stage.running()).state == RequestState.DONE
    assert stage.rancher.repos == {"nvidia": "https://mirror.test/nvidia"}


def test_a_refusal_of_the_install_is_said(store: Store) -> None:
    stage = staged(store, EBS)
    install = stage.rancher.install_chart

    def refuse(mid: str, order: Any) -> str:
        if order.release == "ebs":
            raise Permanent("422: charts is required", "Look at the values.")
        return install(mid, order)

    stage.rancher.install_chart = refuse  # type: ignore[method-assign]
    request = stage.running()
    assert stage.finish(request).state == RequestState.DONE
    assert stage.step(request, "addons").why == (
        "add-on ebs is not installed: 422: charts is required Look at the values."
    )
