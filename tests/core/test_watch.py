"""A cluster in use under watch: what its owner is told, when, how often; and what nobody must be told."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.core.changes import Scale, Verify
from bot.core.cloud import Announcement
from bot.core.conflict import Conflict
from bot.core.costs import ledger
from bot.core.in_use import troubles
from bot.core.in_use.announced import Announced
from bot.core.ports import JobView, Refused, Temporary
from bot.core.records import ClusterState, Kind, MessageKind, RequestRow
from bot.core.spec import LABEL_REQUEST, Draft
from tests.core.fakes import joined, probe_log
from tests.core.stage import DRAFT, LEAD, REQUESTER, Stage

TWO = Draft("train-a", "starter", "2", "8", "a trial")


@pytest.fixture
def pair(stage: Stage) -> Stage:
    """With one cluster of two GPU machines, both verified."""
    assert stage.finish(stage.running(TWO)).cluster_state == ClusterState.READY
    stage.look(2, every=45)
    return stage


def notices(stage: Stage) -> list[dict[str, str]]:
    with stage.store.reading() as tx:
        (cluster,) = tx.clusters(living=False)
        rows = [m for r in tx.requests_of(cluster.id) for m in tx.messages(r.id) if m.kind == MessageKind.TROUBLE]
    return [json.loads(row.body) for row in sorted(rows, key=lambda row: row.created_at)]


def kinds(stage: Stage) -> list[str]:
    return [("over " if notice["over"] else "") + notice["kind"] for notice in notices(stage)]


def requests(stage: Stage, kind: Kind) -> list[RequestRow]:
    with stage.store.reading() as tx:
        (cluster,) = tx.clusters(living=False)
        return [request for request in tx.requests_of(cluster.id) if request.kind == kind]


def state(stage: Stage) -> ClusterState:
    with stage.store.reading() as tx:
        (cluster,) = tx.clusters(living=False)
    return cluster.state


def until_told(stage: Stage, most_s: float) -> float:
    """World seconds until something is told; fails the test after `most_s`."""
    began, before = stage.clock.now(), len(notices(stage))
    while len(notices(stage)) == before:
        assert stage.clock.now() - began <= most_s, "nobody was told"
        stage.look(every=5)
    return stage.clock.now() - began


def without_gpu_machine(stage: Stage) -> None:
    stage.rancher.machines = tuple(m for m in stage.rancher.machines if m.name != "gpu-1")


def test_all_well_is_not_spoken_of_and_costs_one_read_in_thirty_seconds(pair: Stage) -> None:
    asked, began = pair.kube.asked_nodes, pair.clock.now()
    pair.look(120, every=5)
    assert notices(pair) == []
    assert pair.kube.asked_nodes - asked <= (pair.clock.now() - began) / 30


def test_a_machine_that_is_gone_is_told_within_two_minutes_once_and_told_when_it_is_back(pair: Stage) -> None:
    kept = pair.rancher.machines
    without_gpu_machine(pair)
    assert until_told(pair, 120) <= 120
    pair.look(60, every=45)
    assert kinds(pair) == ["machine-gone"]
    assert notices(pair)[0]["owner"] == REQUESTER
    pair.rancher.machines = kept
    pair.look(6, every=45)
    assert kinds(pair) == ["machine-gone", "over machine-gone"]


def test_a_node_not_ready_is_told_after_five_minutes_not_before(pair: Stage) -> None:
    pair.kube.changes["node-gpu-0"] = {"ready": False}
    took = until_told(pair, 420)
    assert 300 <= took <= 420
    pair.kube.changes.clear()
    pair.look(6, every=45)
    assert kinds(pair) == ["not-ready", "over not-ready"]


def test_a_node_that_restarts_is_no_trouble(pair: Stage) -> None:
    pair.kube.changes["node-gpu-0"] = {"ready": False}
    pair.look(5, every=45)
    pair.kube.changes.clear()
    pair.look(20, every=45)
    assert notices(pair) == []


def test_fewer_gpus_to_hand_out_than_were_verified(pair: Stage) -> None:
    pair.kube.changes["node-gpu-1"] = {"gpus": 0}
    assert until_told(pair, 180) <= 180
    assert notices(pair)[0]["detail"] == "node-gpu-1 hands out 0 of its 1 GPUs"


def test_a_notice_of_aws_is_told_at_the_next_look(pair: Stage) -> None:
    taints = next(n for n in pair.kube.nodes() if n.name == "node-gpu-0").taints
    notice = ("aws-node-termination-handler/spot-itn", "", "NoSchedule")
    pair.kube.changes["node-gpu-0"] = {"taints": (*taints, notice)}
    assert until_told(pair, 60) <= 60
    assert kinds(pair) == ["notice"]


SPOT = Announcement("i-1", "node-gpu-0", "train-a", "marked-for-termination")


def test_what_ec2_announces_is_told_at_the_next_look_and_over_when_it_is(pair: Stage) -> None:
    pair.cloud.announced = (SPOT,)
    assert until_told(pair, 60) <= 60
    assert kinds(pair) == ["notice"]
    assert "node-gpu-0: AWS takes this spot machine back within two minutes" in notices(pair)[0]["detail"]
    pair.cloud.announced = ()
    pair.look(4, every=45)
    assert kinds(pair) == ["notice", "over notice"]


def test_an_event_says_when_and_finds_the_node_of_an_existing_cluster_by_its_id(pair: Stage) -> None:
    node = next(n for n in pair.kube.nodes() if n.name == "node-gpu-1")
    pair.kube.changes["node-gpu-1"] = {"provider_id": "aws:///us-east-1a/i-2"}
    pair.cloud.announced = (
        Announcement("i-2", "worker-7", "", "instance-retirement", 1_800_000_000.0),
        Announcement("i-3", "node-gpu-0", "another-cluster", "marked-for-termination"),
    )
    until_told(pair, 60)
    pair.look(4, every=45)
    (told,) = notices(pair)
    assert told["detail"].startswith(f"{node.name}: AWS retires this machine, not before 2027-01-15")


RESTART = Announcement("i-1", "node-gpu-0", "train-a", "instance-reboot", 1_900_000_000.0, "instance-event-1")


def with_taint(stage: Stage, key: str, value: str = "") -> None:
    taints = next(n for n in stage.kube.nodes() if n.name == "node-gpu-0").taints
    stage.kube.changes["node-gpu-0"] = {"taints": (*taints, (key, value, "NoSchedule"))}


def test_each_kind_of_notice_on_a_machine_is_told_once_whatever_was_told_before(pair: Stage) -> None:
    with_taint(pair, "aws-node-termination-handler/rebalance-recommendation")
    until_told(pair, 60)
    pair.cloud.announced = (RESTART,)
    until_told(pair, 60)
    pair.cloud.announced = (SPOT, RESTART)
    until_told(pair, 60)
    pair.engine = pair.new_engine()
    pair.look(6, every=45)
    likely, restart, taken = (notice["detail"] for notice in notices(pair))
    assert "is likely to go" in likely
    assert "AWS will restart this machine, not before 2030-03-17" in restart
    assert "AWS takes this spot machine back" in taken
    pair.cloud.announced = (RESTART,)
    pair.look(4, every=45)
    assert kinds(pair) == ["notice"] * 3 + ["over notice"]
    assert notices(pair)[-1]["detail"] == taken


def test_an_event_that_is_put_off_is_told_again_and_two_of_one_kind_are_two(pair: Stage) -> None:
    pair.cloud.announced = (RESTART,)
    until_told(pair, 60)
    pair.cloud.announced = (dataclasses.replace(RESTART, due_at=1_900_086_400.0),)
    until_told(pair, 60)
    pair.cloud.announced = (*pair.cloud.announced, dataclasses.replace(RESTART, event="instance-event-2"))
    until_told(pair, 60)
    pair.look(6, every=45)
    said = [notice["detail"].partition("not before ")[2][:10] for notice in notices(pair)]
    assert said == ["2030-03-17", "2030-03-18", "2030-03-17"]
    assert kinds(pair) == ["notice"] * 3


def test_a_taint_and_ec2s_word_for_one_event_are_told_once(pair: Stage) -> None:
    with_taint(pair, "aws-node-termination-handler/scheduled-maintenance", "instance-event-1")
    until_told(pair, 60)
    pair.cloud.announced = (RESTART,)
    pair.look(6, every=45)
    assert kinds(pair) == ["notice"]
    pair.cloud.announced = (dataclasses.replace(RESTART, due_at=1_900_086_400.0),)
    until_told(pair, 60)
    assert kinds(pair) == ["notice"] * 2


@pytest.mark.parametrize("told", ["as EC2 said it", "as the taint said it"])
def test_what_an_older_release_has_told_is_not_told_again(pair: Stage, told: str) -> None:
    """It stored one notice a node, without the event."""
    detail = "node-gpu-0: AWS takes this spot machine back within two minutes"
    node = next(n for n in pair.kube.nodes() if n.name == "node-gpu-0")
    with pair.store.transaction() as tx:
        (cluster,) = tx.clusters(living=False)
        detail = f"{detail} (i-1: marked-for-termination)" if told.startswith("as EC2") else detail
        troubles.begin_and_tell(tx, cluster, troubles.NOTICE, node.uid, detail, pair.clock.now())
    pair.cloud.announced = (SPOT, RESTART)
    pair.look(6, every=45)
    first, restart = notices(pair)
    assert (first["detail"], restart["over"]) == (detail, False)
    assert "AWS will restart" in restart["detail"]


def test_a_machine_that_aws_took_is_told_so(pair: Stage) -> None:
    pair.cloud.announced = (dataclasses.replace(SPOT, name="node-gpu-1", code="instance-terminated-no-capacity"),)
    without_gpu_machine(pair)
    until_told(pair, 120)
    assert kinds(pair) == ["machine-gone"]
    assert "AWS has taken it (instance-terminated-no-capacity)" in notices(pair)[0]["detail"]


def test_ec2_is_asked_once_a_look_and_silence_ends_no_notice(pair: Stage) -> None:
    pair.cloud.announced = (SPOT,)
    until_told(pair, 60)
    asked, began = pair.cloud.asked_announced, pair.clock.now()
    pair.cloud.trouble = Temporary("AWS cannot be reached")
    pair.look(120, every=5)
    assert kinds(pair) == ["notice"]
    assert pair.cloud.asked_announced - asked <= (pair.clock.now() - began) / 30


def test_without_the_right_to_ask_the_rest_is_watched(pair: Stage) -> None:
    pair.cloud.trouble = Refused("AWS answered ec2:DescribeInstanceStatus with UnauthorizedOperation")
    pair.kube.changes["node-gpu-1"] = {"gpus": 0}
    until_told(pair, 180)
    assert kinds(pair) == ["short"]


def test_all_clusters_of_a_region_share_one_question(stage: Stage) -> None:
    shared, cloud = Announced(), stage.cloud
    cloud.announced = (SPOT,)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shared.of(cloud, stage.clock), range(8)))
    assert answers == [(SPOT,)] * 8
    assert cloud.asked_announced == 1
    stage.clock.forward(45)
    shared.of(cloud, stage.clock)
    assert cloud.asked_announced == 2


def test_no_answer_for_an_hour_is_one_trouble_and_never_gone_nodes(pair: Stage) -> None:
    pair.kube.trouble = Temporary("502 from the proxy")
    pair.look(40, every=90)
    assert kinds(pair) == ["unreachable"]
    pair.kube.trouble = None
    pair.look(6, every=45)
    assert kinds(pair) == ["unreachable", "over unreachable"]


def test_rancher_down_for_a_day_tells_nobody_anything(pair: Stage) -> None:
    pair.outage(Temporary("no available server"))
    pair.look(144, every=600)
    pair.outage(None)
    pair.look(20, every=45)
    assert notices(pair) == []


def test_what_was_not_seen_for_a_while_counts_anew(pair: Stage) -> None:
    pair.kube.changes["node-gpu-0"] = {"ready": False}
    pair.look(2, every=45)
    pair.outage(Temporary("no available server"))
    pair.look(20, every=45)
    pair.outage(None)
    assert until_told(pair, 420) >= 300


def test_a_cluster_deleted_behind_our_back_is_told_after_five_minutes(pair: Stage) -> None:
    pair.rancher.label, pair.rancher.machines, pair.cloud.left = "", (), ()
    assert until_told(pair, 400) >= 300
    pair.look(40, every=45)
    assert kinds(pair) == ["cluster-gone"]
    assert "EC2 no machine of it" in notices(pair)[0]["detail"]


def test_missing_is_not_gone_while_ec2_has_its_machines(pair: Stage) -> None:
    label, pair.rancher.label = pair.rancher.label, ""
    spent = bill(pair)
    assert until_told(pair, 400) >= 300
    assert kinds(pair) == ["unseen"]
    assert "EC2 still has 4 of its machines" in notices(pair)[0]["detail"]
    pair.look(10, every=45)
    assert bill(pair) > spent, "the billing clock goes on"
    pair.rancher.label = label
    pair.look(4, every=45)
    assert kinds(pair) == ["unseen", "over unseen"]
    pair.rancher.label, pair.cloud.left = "", ()
    until_told(pair, 400)
    assert kinds(pair)[2:] == ["cluster-gone"]


def test_shown_again_within_five_minutes_is_no_trouble(pair: Stage) -> None:
    label = pair.rancher.label
    for _ in range(4):
        pair.rancher.label = ""
        pair.look(5, every=45)
        pair.rancher.label = label
        pair.look(2, every=45)
    assert kinds(pair) == []


def test_nothing_is_concluded_while_ec2_cannot_be_asked(pair: Stage) -> None:
    pair.rancher.label, pair.cloud.left = "", ()
    pair.cloud.trouble = Temporary("AWS does not answer")
    pair.look(20, every=45)
    assert kinds(pair) == []
    pair.cloud.trouble = None
    until_told(pair, 400)
    assert kinds(pair) == ["cluster-gone"]


def bill(stage: Stage) -> float:
    with stage.store.reading() as tx:
        (account,) = ledger.accounts(tx, stage.clock.now())
    assert account.spent is not None
    return account.spent


def test_a_restart_forgets_nothing_and_repeats_nothing(pair: Stage) -> None:
    without_gpu_machine(pair)
    until_told(pair, 120)
    pair.engine = pair.new_engine()
    pair.look(10, every=45)
    assert kinds(pair) == ["machine-gone"]


def test_two_processes_look_once(pair: Stage) -> None:
    pair.look(1, every=45)
    asked = pair.kube.asked_nodes
    pair.new_engine().look_once()
    pair.engine.look_once()
    assert pair.kube.asked_nodes - asked == 1


def test_a_new_node_passes_the_gate(pair: Stage) -> None:
    without_gpu_machine(pair)
    until_told(pair, 120)
    pair.rancher.machines = (*pair.rancher.machines, joined("gpu", 7))
    pair.look(12, every=20)
    (asked,) = requests(pair, Kind.VERIFY)
    assert json.loads(asked.spec) == {"level": "", "why": "new"}
    assert "node-gpu-7" in pair.kube.opened
    assert kinds(pair) == ["machine-gone", "over machine-gone"]
    assert pair.story(asked.id).report is not None
    assert state(pair) == ClusterState.READY


def test_an_upgrade_of_rancher_that_replaces_every_machine_is_borne(pair: Stage) -> None:
    """A driver field that changes its default makes Rancher roll the pool (rancher 37184): a new machine joins, then an
    old one goes. New names are no trouble, and each is measured before it takes work."""
    for old, new in (("gpu-0", 7), ("gpu-1", 8)):
        pair.rancher.machines = (*pair.rancher.machines, joined("gpu", new))
        pair.look(12, every=20)
        assert f"node-gpu-{new}" in pair.kube.opened
        pair.rancher.machines = tuple(m for m in pair.rancher.machines if m.name != old)
        pair.look(12, every=20)
    assert [json.loads(asked.spec)["why"] for asked in requests(pair, Kind.VERIFY)] == ["new", "new"]
    assert {kind for kind in kinds(pair) if not kind.startswith("over ")} <= {"machine-gone"}
    assert state(pair) == ClusterState.READY
    assert pair.rancher.sized == [], "the bot changes no pool for it"


def test_a_roll_that_is_slow_says_only_that_a_machine_is_gone_and_takes_it_back(pair: Stage) -> None:
    kept = tuple(m for m in pair.rancher.machines if m.name != "gpu-0")
    pair.rancher.machines = kept
    pair.look(12, every=20)
    pair.rancher.machines = (*kept, joined("gpu", 7))
    pair.look(12, every=20)
    assert kinds(pair) == ["machine-gone", "over machine-gone"]
    assert "node-gpu-7" in pair.kube.opened


def test_a_new_node_that_fails_stays_closed(pair: Stage) -> None:
    without_gpu_machine(pair)
    pair.kube.results["node-gpu-7"] = JobView("succeeded", "", "", probe_log(ok=False, at="seven"))
    pair.rancher.machines = (*pair.rancher.machines, joined("gpu", 7))
    pair.look(30, every=20)
    assert "node-gpu-7" not in pair.kube.opened
    assert len(requests(pair, Kind.VERIFY)) == 1, "what is known to be bad is not measured again and again"


def test_a_node_that_joined_without_the_taint_is_closed_measured_and_opened(pair: Stage) -> None:
    pair.kube.opened.append("node-gpu-7")
    without_gpu_machine(pair)
    pair.rancher.machines = (*pair.rancher.machines, joined("gpu", 7))
    pair.look(1, every=45)
    assert pair.kube.closed == ["node-gpu-7"]
    pair.look(12, every=20)
    assert "unchecked" in kinds(pair)
    assert pair.kube.opened[-1] == "node-gpu-7"


def test_a_taint_taken_off_by_hand_from_a_bad_node_goes_back(stage: Stage) -> None:
    stage.kube.results["node-gpu-1"] = JobView("succeeded", "", "", probe_log(ok=False, at="bad"))
    stage.finish(stage.running(TWO))
    stage.look(2, every=45)
    stage.kube.opened.append("node-gpu-1")
    stage.look(3, every=45)
    assert stage.kube.closed == ["node-gpu-1"]
    assert kinds(stage) == ["unchecked"]


# --- measured again ---------------------------------------------------------------------------------------------


def verify(stage: Stage, level: str = "") -> str:
    return stage.desk.ask_change(stage.ask(), DRAFT.name, Verify(level)).request_id


def slower(at: str) -> JobView:
    head, _, text = probe_log(at=at).rpartition("\n")
    document = json.loads(text)
    for gpu in document["gpus"]:
        gpu["bandwidth_gbs"] = {**gpu["bandwidth_gbs"], "device": gpu["bandwidth_gbs"]["device"] * 0.8}
    return JobView("succeeded", "", "", f"{head}\n{json.dumps(document)}")


def jobs_of(stage: Stage, request_id: str) -> list[str]:
    return [name for name, order in stage.kube.orders.items() if order.labels[LABEL_REQUEST] == request_id]


def test_a_cancelled_verify_gives_its_gpus_back(pair: Stage) -> None:
    for node in ("node-gpu-0", "node-gpu-1"):
        pair.kube.results[node] = JobView("", "", "", "")
    request_id = verify(pair)
    pair.look(2)
    assert len(jobs_of(pair, request_id)) == 2
    pair.desk.cancel(pair.ask(), DRAFT.name)
    pair.look(2, every=45)
    assert jobs_of(pair, request_id) == []


def test_jobs_of_a_node_that_failed_are_kept_until_all_is_measured_anew(pair: Stage) -> None:
    pair.kube.results["node-gpu-0"] = JobView("succeeded", "", "", probe_log(ok=False, at="a"))
    first = verify(pair)
    pair.finish(first)
    pair.look(20, every=45)
    assert len(jobs_of(pair, first)) == 2, "the fake keeps those of nodes that passed"
    second = verify(pair)
    pair.finish(second)
    pair.look(2, every=45)
    assert jobs_of(pair, first) == []
    assert jobs_of(pair, second)


def test_verify_needs_nobody_and_ends_with_a_verdict(pair: Stage) -> None:
    story = pair.finish(verify(pair, "quick"))
    assert story.report is not None and (story.report.verdict, story.report.good) == ("verified", 2)
    assert any("--level" in order.arguments and "quick" in order.arguments for order in pair.kube.orders.values())
    assert len(pair.kube.removed) == 2, "Jobs of what passed are tidied away"


def test_busy_gpus_are_not_touched_and_not_waited_for(pair: Stage) -> None:
    pair.kube.in_use = {"node-gpu-0": 1}
    before = len(pair.kube.orders)
    story = pair.finish(verify(pair), within_s=120)
    assert story.report is not None and story.report.unmeasured == 1
    assert len(pair.kube.orders) == before + 1
    assert state(pair) == ClusterState.READY and pair.kube.closed == []


def test_a_gpu_that_fails_later_closes_its_node_and_is_told_with_what_to_do(pair: Stage) -> None:
    pair.kube.results["node-gpu-1"] = JobView("succeeded", "", "", probe_log(ok=False, at="node-gpu-1"))
    pair.finish(verify(pair))
    assert pair.kube.closed == ["node-gpu-1"]
    assert kinds(pair) == ["failed-check"]
    assert state(pair) == ClusterState.DEGRADED
    pair.finish(verify(pair))
    assert kinds(pair) == ["failed-check"], "once a trouble"
    pair.kube.results.clear()
    pair.finish(verify(pair))
    assert kinds(pair) == ["failed-check", "over failed-check"]
    assert state(pair) == ClusterState.READY


def test_drift_is_named_per_gpu_against_its_own_first_day(pair: Stage) -> None:
    pair.kube.results["node-gpu-1"] = slower("node-gpu-1")
    story = pair.finish(verify(pair))
    (notice,) = notices(pair)
    assert notice["kind"] == "drift"
    assert "node-gpu-1 GPU 0: memory bandwidth" in notice["detail"] and "20% below its first day" in notice["detail"]
    assert state(pair) == ClusterState.READY and pair.kube.closed == []
    assert any("below its first day" in line for line in story.diagnosis)


def test_another_level_is_not_compared(pair: Stage) -> None:
    pair.kube.results["node-gpu-1"] = slower("node-gpu-1")
    pair.finish(verify(pair, "burn"))
    assert notices(pair) == []


def test_a_gpu_is_known_by_its_uuid_when_its_node_has_another_name(pair: Stage) -> None:
    without_gpu_machine(pair)
    pair.kube.results["node-gpu-9"] = slower("node-gpu-1")
    pair.rancher.machines = (*pair.rancher.machines, joined("gpu", 9))
    pair.look(12, every=20)
    assert "drift" in kinds(pair)


def for_long(stage: Stage) -> None:
    """Its hours are not over while time is let pass."""
    with stage.store.transaction() as tx:
        (cluster,) = tx.clusters()
        tx.change(cluster, expires_at=stage.clock.now() + 1e6, due_at=None)


def test_on_a_schedule_and_silent_when_all_is_well(pair: Stage) -> None:
    for_long(pair)
    pair.look(40, every=3600)
    asked = requests(pair, Kind.VERIFY)
    assert asked and all(json.loads(request.spec)["why"] == "scheduled" for request in asked)
    with pair.store.reading() as tx:
        assert [m.kind for request in asked for m in tx.messages(request.id)] == []


def test_never_when_the_schedule_says_so(stage: Stage) -> None:
    policy = dataclasses.replace(stage.catalogue.policy, verify_every_hours=0)
    stage.catalogue = dataclasses.replace(stage.catalogue, policy=policy)
    stage.engine = stage.new_engine()
    stage.finish(stage.running())
    for_long(stage)
    stage.look(40, every=3600)
    assert requests(stage, Kind.VERIFY) == []


def test_a_cluster_that_never_answers_does_not_hold_the_slot_for_ever(pair: Stage) -> None:
    request_id = verify(pair)
    pair.kube.trouble = Temporary("502 from the proxy")
    story = pair.finish(request_id, within_s=2400, every=20)
    assert "did not answer for 30 minutes" in story.reason


def test_what_cannot_be_measured_is_refused_with_the_reason(stage: Stage) -> None:
    stage.running()
    with pytest.raises(Conflict, match="only a cluster in use"):
        verify(stage)


def test_an_unknown_level_and_two_at_once(pair: Stage) -> None:
    with pytest.raises(Exception, match="is no level; there are: quick, standard, burn"):
        verify(pair, "thorough")
    verify(pair)
    with pytest.raises(Conflict, match="one change at a time"):
        verify(pair)


def test_the_lead_is_not_needed(pair: Stage) -> None:
    request_id = verify(pair)
    assert pair.request(request_id).decided_by == "policy" != LEAD


@pytest.mark.parametrize("gpus", [3, 1])
def test_a_scale_is_no_trouble_and_its_nodes_are_known(pair: Stage, gpus: int) -> None:
    asked = pair.desk.ask_change(pair.ask(REQUESTER), DRAFT.name, Scale("gpu", gpus))
    pair.look()
    pair.desk.decide(LEAD, asked.request_id, approve=True)
    pair.finish(asked.request_id)
    pair.look(8, every=45)
    assert notices(pair) == [] and pair.kube.closed == [] and requests(pair, Kind.VERIFY) == []
    assert state(pair) == ClusterState.READY
