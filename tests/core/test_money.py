"""What costs money or is believed wrongly: nodes that went away, pools that buy on, answers that were lost."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from bot.core import plan
from bot.core.ports import (
    AppView,
    Busy,
    ChartOrder,
    Instance,
    JobView,
    MachineView,
    Permanent,
    Refused,
    Temporary,
    WorldError,
)
from bot.core.records import ClusterState, RequestState, StepState
from bot.core.spec import LABEL_CLUSTER, LABEL_REQUEST
from bot.core.verification.verdict import DEGRADED, FAILED, VERIFIED
from tests.core.fakes import joined, probe_log, refused, starting
from tests.core.stage import DRAFT, Stage

AWAY = Temporary("503 Service Unavailable")
NO_RIGHT = Refused("403: clusterrepos is forbidden.", "Give the bot's account the role Cluster Owner.")
CODES = ("InsufficientInstanceCapacity: none here", "VcpuLimitExceeded: 0", "RequestLimitExceeded: slow down")


def until_cluster(stage: Stage, gpus: int = 1, *machines: MachineView) -> str:
    """A create whose cluster object is there; the next look finds these GPU machines, when any are given."""
    request_id = stage.running(dataclasses.replace(DRAFT, gpus=str(gpus)))
    real = stage.rancher.ensure_cluster

    def ordered(*order: object) -> None:
        real(*order)  # type: ignore[arg-type]
        if machines:
            show(stage, "gpu", *machines)

    stage.rancher.ensure_cluster = ordered  # type: ignore[method-assign, assignment]
    stage.engine.look_once()
    assert stage.rancher.label
    return request_id


def show(stage: Stage, pool: str, *machines: MachineView) -> None:
    """Rancher now has these machines in the pool."""
    stage.rancher.machines = (*(m for m in stage.rancher.machines if m.pool != pool), *machines)


def until(stage: Stage, request_id: str, step: str, state: StepState = StepState.RUNNING) -> None:
    """Look until the step has come so far; the request must not end before."""
    while stage.step(request_id, step).state != state:
        assert stage.request(request_id).finished_at is None, stage.story(request_id).reason
        stage.look()


# --- the gate -------------------------------------------------------------------------------------------------


def go_when_measured(stage: Stage, changes: dict[str, dict[str, object]]) -> None:
    """Change nodes when their last probe has been read: the gate is the first to find them so."""
    real, read = stage.kube.job, set[str]()

    def job(namespace: str, name: str) -> JobView | None:
        found = real(namespace, name)
        read.update({name} if found is not None else ())
        if len(read) == sum(m.pool == "gpu" for m in stage.rancher.machines):
            stage.kube.changes.update(changes)
        return found

    stage.kube.job = job  # type: ignore[method-assign]


GONE = pytest.mark.parametrize("change", [{"ready": False}], ids=["not ready"])
"""A replaced machine is another node: `verify` itself counts the old one out."""


@GONE
def test_a_node_that_passed_and_is_away_is_waited_for(stage: Stage, change: dict[str, object]) -> None:
    request_id = until_cluster(stage, 2)
    go_when_measured(stage, {"node-gpu-1": change})
    until(stage, request_id, "gate")
    stage.look(3)
    assert "node-gpu-1 passed, but is not there or not Ready now" in stage.step(request_id, "gate").why
    assert stage.kube.opened == [], "nothing is opened while the verdict is open"
    stage.kube.changes.clear()
    assert stage.finish(request_id).cluster_state == ClusterState.READY
    assert stage.kube.opened == ["node-gpu-0", "node-gpu-1"]


@GONE
def test_the_only_node_that_stays_away_fails_it(stage: Stage, change: dict[str, object]) -> None:
    request_id = until_cluster(stage)
    go_when_measured(stage, {"node-gpu-0": change})
    story = stage.finish(request_id)
    assert (story.state, story.cluster_state) == (RequestState.FAILED, ClusterState.FAILED)
    assert "went away after they had passed: node-gpu-0: it passed, and has gone since" in story.reason
    assert story.report is not None
    assert (story.report.verdict, story.report.good) == (FAILED, 0), "judged again"
    assert stage.kube.opened == []
    assert stage.step(request_id, "gate").observed_s > plan.clocks("gate@1").give_up_s


@GONE
def test_one_of_two_that_stays_away_is_degraded_and_the_other_is_opened(
    stage: Stage, change: dict[str, object]
) -> None:
    request_id = until_cluster(stage, 2)
    go_when_measured(stage, {"node-gpu-1": change})
    story = stage.finish(request_id)
    assert (story.state, story.cluster_state) == (RequestState.DONE, ClusterState.DEGRADED)
    assert stage.cluster(request_id).verdict == DEGRADED
    assert story.reason == "node-gpu-1: it passed, and has gone since"
    assert story.report is not None
    assert (story.report.verdict, story.report.good, story.report.expected) == (DEGRADED, 1, 2)
    assert [(n.node, n.verdict) for n in story.report.nodes] == [
        ("node-gpu-0", VERIFIED),
        ("node-gpu-1", FAILED),
    ]
    assert stage.kube.opened == ["node-gpu-0"]


def test_a_node_that_failed_and_went_is_not_said_to_have_passed(stage: Stage) -> None:
    request_id = until_cluster(stage, 3)
    stage.kube.results["node-gpu-2"] = JobView("failed", "", "", probe_log(ok=False, at="c"))
    go_when_measured(stage, {"node-gpu-1": {"ready": False}, "node-gpu-2": {"ready": False}})
    story = stage.finish(request_id)
    assert story.cluster_state == ClusterState.DEGRADED
    assert story.report is not None
    said = "\n".join(story.report.reasons)
    assert "node-gpu-1: it passed, and has gone since" in said
    assert "node-gpu-2 GPU 0: vector_add failed" in said
    assert "node-gpu-2: it passed" not in said


# --- a create that fails buys no more -------------------------------------------------------------------------

HELD = pytest.mark.parametrize(
    ("machines", "held"),
    [
        ((refused("gpu", 0, CODES[0]),), [("gpu", True)]),
        ((joined("gpu", 0), refused("gpu", 1, CODES[0])), [("gpu", False)]),
        ((joined("gpu", 0), starting("gpu", 1), refused("gpu", 2, CODES[0])), [("gpu", False)]),
    ],
    ids=["none created", "one of two", "one has not joined"],
)


@HELD
def test_a_pool_that_is_short_is_held_before_the_failure_is_told(
    stage: Stage, machines: tuple[MachineView, ...], held: list[tuple[str, bool]]
) -> None:
    stage.rancher.charts = ()
    told = watch_holds(stage)
    request_id = until_cluster(stage, 2, *machines)
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "gpu-operator" in story.reason
    assert stage.rancher.held == held
    assert told == [RequestState.RUNNING]


def watch_holds(stage: Stage) -> list[RequestState]:
    """What everybody could read of the newest request whenever a pool was held."""
    real, told = stage.rancher.trim_pools, list[RequestState]()

    def trim_pools(name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        with stage.store.reading() as tx:
            cluster = tx.living_cluster(name)
            assert cluster is not None
            told.append(tx.requests_of(cluster.id)[-1].state)
        return real(name, most)

    stage.rancher.trim_pools = trim_pools  # type: ignore[method-assign]
    return told


def fail_holds(stage: Stage, error: WorldError) -> None:
    """Rancher shows everything, but does not hold a pool."""

    def trim_pools(name: str, most: Mapping[str, int]) -> tuple[str, ...]:
        raise error

    stage.rancher.trim_pools = trim_pools  # type: ignore[method-assign]


def test_a_failure_waits_for_a_rancher_that_is_away(stage: Stage) -> None:
    stage.rancher.charts = ()
    real = stage.rancher.trim_pools
    fail_holds(stage, AWAY)
    request_id = until_cluster(stage, 1, refused("gpu", 0, CODES[0]))
    stage.look(20, every=60.0)
    assert stage.story(request_id).state == RequestState.RUNNING
    assert "Before this ends its machine pools are stopped: 503" in stage.step(request_id, "catalog").why
    stage.rancher.trim_pools = real  # type: ignore[method-assign]
    assert stage.finish(request_id).state == RequestState.FAILED
    assert stage.rancher.held == [("gpu", True)]


def test_a_pool_that_cannot_ever_be_held_is_told_with_the_failure(stage: Stage) -> None:
    """Waiting for what will not come would hide both."""
    stage.rancher.charts = ()
    fail_holds(stage, Permanent("The cluster has no machine pool gpu.", "It was changed in Rancher."))
    request_id = until_cluster(stage, 1, starting("gpu", 0))
    story = stage.finish(request_id, within_s=600.0)
    assert story.state == RequestState.FAILED
    assert "gpu-operator" in story.reason
    assert "has no machine pool gpu" in "\n".join(story.diagnosis)
    assert "may go on buying" in story.remedy


def test_nothing_is_held_where_every_machine_had_joined(stage: Stage) -> None:
    stage.rancher.charts = ()
    assert stage.finish(until_cluster(stage, 2)).state == RequestState.FAILED
    assert stage.rancher.held == []


def test_nothing_is_held_after_the_machines_were_complete_once(stage: Stage) -> None:
    request_id = until_cluster(stage, 2)
    stage.kube.view = None
    until(stage, request_id, "policy_ready")
    show(stage, "gpu", joined("gpu", 0), starting("gpu", 2))
    assert stage.finish(request_id, every=20.0).state == RequestState.FAILED
    assert stage.rancher.held == []


def test_an_error_that_is_final_stops_the_pools_too(stage: Stage) -> None:
    def ensure_repo(*_: object) -> None:
        raise Permanent("422: the repo's address is malformed", "Mend it.")

    stage.rancher.ensure_repo = ensure_repo  # type: ignore[method-assign, assignment]
    story = stage.finish(until_cluster(stage, 1, refused("gpu", 0, CODES[0])))
    assert (story.reason, story.remedy) == ("422: the repo's address is malformed", "Mend it.")
    assert stage.rancher.held == [("gpu", True)]


def test_a_mistake_of_ours_stops_the_pools_too(stage: Stage) -> None:
    def ensure_repo(*_: object) -> None:
        raise KeyError("metadata")

    stage.rancher.ensure_repo = ensure_repo  # type: ignore[method-assign, assignment]
    story = stage.finish(until_cluster(stage, 1, refused("gpu", 0, CODES[0])))
    assert story.reason == "Something in the bot broke."
    assert stage.rancher.held == [("gpu", True)]


def test_a_create_that_fails_before_its_order_holds_nothing(stage: Stage) -> None:
    request_id = stage.running()
    stage.cloud.withdrawn = ("g4dn.xlarge",)
    assert stage.finish(request_id).state == RequestState.FAILED
    assert (stage.rancher.held, stage.rancher.observed) == ([], [])


# --- not allowed, not there, not yet --------------------------------------------------------------------------


def test_a_right_that_is_missing_is_waited_for_and_then_named_with_its_remedy(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.kube.trouble = NO_RIGHT
    stage.look(4, every=20.0)
    waiting = stage.step(request_id, "control_plane")
    assert (waiting.state, waiting.errors) == (StepState.RUNNING, 0)
    assert waiting.why == f"{NO_RIGHT.reason} {NO_RIGHT.remedy}"
    story = stage.finish(request_id, every=20.0)
    assert (story.state, story.reason, story.remedy) == (
        RequestState.FAILED,
        NO_RIGHT.reason,
        NO_RIGHT.remedy,
    )
    given_up, clocks = stage.step(request_id, "control_plane").observed_s, plan.clocks("control_plane@1")
    assert clocks.give_up_s < given_up <= clocks.give_up_s + 60


def test_a_right_that_is_given_in_time_costs_nothing(stage: Stage) -> None:
    request_id = until_cluster(stage)
    stage.rancher.trouble = NO_RIGHT
    stage.look(20, every=20.0)
    assert stage.story(request_id).state == RequestState.RUNNING
    stage.rancher.trouble = None
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def until_policy(stage: Stage) -> str:
    """A create whose operator is installed and works on."""
    request_id = until_cluster(stage)
    stage.kube.view = None
    until(stage, request_id, "policy_ready")
    return request_id


def test_a_cluster_that_does_not_answer_and_is_gone_from_rancher_has_disappeared(stage: Stage) -> None:
    request_id = until_policy(stage)
    stage.kube.trouble = AWAY
    stage.rancher.label, stage.cloud.left = "", ()
    while stage.step(request_id, "policy_ready").errors < 4:
        stage.look(every=1.0)
        assert stage.request(request_id).finished_at is None, "an outage may pass"
    story = stage.finish(request_id)
    assert story.state == RequestState.FAILED
    assert "The cluster train-a has disappeared from Rancher" in story.reason
    assert "EC2" in story.remedy


def test_a_cluster_that_does_not_answer_and_is_being_removed_has_disappeared(stage: Stage) -> None:
    request_id = until_policy(stage)
    stage.kube.trouble = AWAY
    stage.rancher.deleting, stage.rancher.lingers = True, 999
    assert "Somebody deletes the cluster in Rancher" in stage.finish(request_id).reason


def test_a_cluster_that_does_not_answer_and_is_there_is_waited_for(stage: Stage) -> None:
    request_id = until_policy(stage)
    stage.kube.trouble = AWAY
    stage.look(60, every=60.0)
    assert stage.step(request_id, "policy_ready").errors > 30
    stage.kube.trouble, stage.kube.view = None, stage.kube.READY
    assert stage.finish(request_id).cluster_state == ClusterState.READY


def test_a_rancher_that_does_not_answer_either_proves_nothing(stage: Stage) -> None:
    request_id = until_policy(stage)
    stage.rancher.label = ""
    for error in (AWAY, NO_RIGHT):
        stage.kube.trouble, stage.rancher.trouble = AWAY, error
        stage.look(10, every=30.0)
        assert stage.story(request_id).state == RequestState.RUNNING


def test_the_clock_goes_on_while_rancher_says_not_yet(stage: Stage) -> None:
    request_id = until_cluster(stage)

    def ensure_repo(*_: object) -> None:
        raise Busy("Rancher is removing the old repo")

    stage.rancher.ensure_repo = ensure_repo  # type: ignore[method-assign, assignment]
    stage.look(4, every=20.0)
    catalog = stage.step(request_id, "catalog")
    assert (catalog.errors, catalog.why) == (0, "Rancher is removing the old repo")
    assert catalog.observed_s == 40
    story = stage.finish(request_id, every=20.0)
    assert story.state == RequestState.FAILED
    assert "Rancher is removing the old repo" in story.reason
    clocks = plan.clocks("catalog@1")
    assert clocks.give_up_s < stage.step(request_id, "catalog").observed_s <= clocks.give_up_s + 60


# --- Helm's answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("helm_seconds", [0.0, 90.0])
def test_an_answer_of_helm_that_is_lost_starts_it_once(stage: Stage, helm_seconds: float) -> None:
    stage.rancher.helm_seconds = helm_seconds
    real = stage.rancher.install_chart

    def lost(management_id: str, order: ChartOrder) -> str:
        real(management_id, order)
        raise Temporary("Rancher did not answer in 15 s.")

    stage.rancher.install_chart = lost  # type: ignore[method-assign]
    request_id = until_cluster(stage)
    while not stage.rancher.orders:
        stage.look()
    story = stage.finish(request_id)
    assert story.cluster_state == ClusterState.READY
    assert stage.rancher.made["helm operation"] == 1
    assert stage.step(request_id, "operator").errors == 0, "the world could be seen"


def test_an_order_that_never_reached_helm_is_given_again_after_a_while(stage: Stage) -> None:
    real, tries = stage.rancher.install_chart, list[float]()

    def lost_once(management_id: str, order: ChartOrder) -> str:
        tries.append(stage.clock.now())
        if len(tries) == 1:
            raise AWAY
        return real(management_id, order)

    stage.rancher.install_chart = lost_once  # type: ignore[method-assign]
    assert stage.finish(until_cluster(stage)).cluster_state == ClusterState.READY
    assert len(tries) == 2
    assert tries[1] - tries[0] > 100


def test_a_helm_that_fails_after_its_answer_was_lost_is_told_without_a_log(stage: Stage) -> None:
    def lost(management_id: str, order: ChartOrder) -> str:
        stage.rancher.release = AppView("failed", order.version, 1)
        raise AWAY

    stage.rancher.install_chart = lost  # type: ignore[method-assign]
    story = stage.finish(until_cluster(stage))
    assert (story.reason, story.diagnosis) == ("Helm could not install the GPU Operator.", ())


# --- EC2's word, and the delete -------------------------------------------------------------------------------

LEFT = (Instance("i-0abc", "train-a-gpu-1", "g4dn.xlarge", "running", "us-east-1a"),)


def test_machines_of_another_bots_cluster_of_that_name_do_not_count(stage: Stage) -> None:
    stage.finish(stage.running())
    deletion = stage.delete()
    until(stage, deletion, "remove_cluster")
    stage.cloud.left, stage.cloud.owner = LEFT, "r-another-bots"
    asked = watch_instances(stage)
    assert stage.finish(deletion).cluster_state == ClusterState.GONE
    assert stage.cloud.instances(LABEL_CLUSTER, "train-a") == LEFT, "they are there, under the same name"
    assert {tag for tag, _ in asked[:-1]} == {LABEL_REQUEST}


def watch_instances(stage: Stage) -> list[tuple[str, str]]:
    real, asked = stage.cloud.instances, list[tuple[str, str]]()

    def instances(tag: str, value: str) -> tuple[Instance, ...]:
        asked.append((tag, value))
        return real(tag, value)

    stage.cloud.instances = instances  # type: ignore[method-assign]
    return asked


def test_machines_of_the_create_count_though_the_delete_asks(stage: Stage) -> None:
    create = stage.running()
    stage.finish(create)
    deletion = stage.delete()
    until(stage, deletion, "remove_cluster", StepState.RUNNING)
    stage.cloud.left, stage.cloud.owner = LEFT, create
    asked = watch_instances(stage)
    stage.look(6)
    assert "i-0abc" in stage.step(deletion, "no_instances").why
    assert (LABEL_REQUEST, create) in asked


def superseded(stage: Stage) -> str:
    """A delete that cut a create short before Rancher had the cluster."""
    stage.running()
    return stage.delete()


def test_after_a_create_cut_short_a_second_absence_counts_only_after_half_a_minute(stage: Stage) -> None:
    """Real seconds: an order is on its way in real time, however fast the world's clock runs."""
    deletion = superseded(stage)
    stage.engine.look_once()
    first = stage.clock.real()
    while (now := stage.clock.real()) < first + 30:
        assert stage.step(deletion, "remove_cluster").state == StepState.RUNNING, f"{now - first} s"
        stage.clock.world += 600
        stage.clock.wall += 6
        stage.engine.look_once()
    assert stage.step(deletion, "remove_cluster").state == StepState.DONE
    assert stage.clock.real() - first == 30
    assert stage.finish(deletion).cluster_state == ClusterState.GONE


def test_an_order_that_comes_late_is_removed_and_the_half_minute_starts_again(stage: Stage) -> None:
    create = stage.running()
    deletion = stage.delete()
    stage.look(4)
    stage.rancher.label = stage.cloud.owner = create
    stage.rancher.lingers = 2
    stage.look(2, every=30.0)
    stage.look()
    assert stage.rancher.label == ""
    seen_at = stage.clock.real()
    until(stage, deletion, "remove_cluster", StepState.DONE)
    assert stage.clock.real() - seen_at >= 25
    assert stage.finish(deletion).cluster_state == ClusterState.GONE


def test_after_a_create_that_had_ended_two_looks_are_enough(stage: Stage) -> None:
    stage.finish(stage.running())
    deletion = stage.delete()
    stage.look(2, every=6.0)
    assert stage.step(deletion, "remove_cluster").state == StepState.DONE


# --- the checks before the start ------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [("rancher",), ("cloud",), ("rancher", "cloud")])
def test_checks_that_nobody_answers_are_not_passed(stage: Stage, silent: tuple[str, ...]) -> None:
    request_id = stage.running()
    for name in silent:
        getattr(stage, name).trouble = AWAY
    stage.look(30, every=60.0)
    step = stage.step(request_id, "preflight")
    assert step.state == StepState.RUNNING
    assert step.errors > 10, "an outage, not an answer"
    assert "503" in step.why
    assert not stage.rancher.made
    stage.outage(None)
    assert stage.finish(request_id).cluster_state == ClusterState.READY


# --- machines -------------------------------------------------------------------------------------------------


def test_a_plain_pool_that_is_short_fails_it_though_gpu_machines_are_there(stage: Stage) -> None:
    request_id = until_cluster(stage, 2, joined("gpu", 0))
    show(stage, "wk", starting("wk", 0, "waiting for agent"))
    stage.kube.view = None
    story = stage.finish(request_id, every=20.0)
    assert story.state == RequestState.FAILED
    assert "pool wk" in story.reason
    assert (stage.rancher.sizes["wk"], stage.rancher.sizes["gpu"]) == (1, 1), "none of them buys on"


def test_a_plain_machine_is_waited_for_where_a_refused_gpu_pool_is_partly_there(stage: Stage) -> None:
    request_id = until_cluster(stage, 2, joined("gpu", 0))
    show(stage, "wk", starting("wk", 0))
    for number in range(3):
        show(stage, "gpu", joined("gpu", 0), refused("gpu", number, CODES[0]))
        stage.look(2)
    stage.look(2)
    assert stage.rancher.held == [("gpu", False)]
    assert stage.step(request_id, "machines").state == StepState.RUNNING
    show(stage, "wk", joined("wk", 0))
    assert stage.finish(request_id).cluster_state == ClusterState.DEGRADED


def test_a_pool_refused_for_good_stops_the_others_that_are_short(stage: Stage) -> None:
    request_id = until_cluster(stage, 1, starting("gpu", 0))
    stage.rancher.connected = False
    for number in range(3):
        show(stage, "cp", refused("cp", number, CODES[1]))
        stage.look(2)
    story = stage.story(request_id)
    assert story.state == RequestState.FAILED
    assert "refused to start a t3.large 3 times" in story.reason
    assert stage.rancher.held == [("cp", True)]
    assert stage.rancher.sizes["gpu"] == 1, "the machine that runs is all that is wanted"


def test_three_refusals_for_three_reasons_are_not_three_for_one(stage: Stage) -> None:
    request_id = until_cluster(stage)
    for number, words in enumerate(CODES):
        show(stage, "gpu", refused("gpu", number, words))
        stage.look(2)
    assert stage.story(request_id).state == RequestState.RUNNING
    assert stage.rancher.held == []
    for number in (3, 4):
        show(stage, "gpu", refused("gpu", number, CODES[1]))
        stage.look(2)
    story = stage.finish(request_id, within_s=60.0)
    assert story.state == RequestState.FAILED
    assert "3 times: VcpuLimitExceeded" in story.reason
    assert stage.rancher.held == [("gpu", True)]
