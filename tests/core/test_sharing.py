"""Who gets in: the requester, the team's group, those it is shared with; and how that ends."""

from __future__ import annotations

import dataclasses
import json

import pytest

from bot.core import plan
from bot.core.changes import Share, Unshare
from bot.core.desk import Conflict, Desk
from bot.core.plan import Planned
from bot.core.policy import Denied
from bot.core.ports import Permanent, Temporary
from bot.core.records import ClusterRow, CredentialRow, CredentialState, RequestState
from bot.core.spec import AccessPolicy
from tests.core.stage import BYSTANDER, CATALOGUE, DRAFT, GUEST, LEAD, REQUESTER, SECOND_LEAD, Stage

NAME = DRAFT.name
TEAM = CATALOGUE.teams["default"]


def cluster(stage: Stage) -> ClusterRow:
    with stage.store.reading() as tx:
        found = tx.living_cluster(NAME)
    assert found is not None
    return found


def changed(stage: Stage, change: Share | Unshare, user: str = REQUESTER) -> RequestState:
    asked = stage.desk.ask_change(stage.ask(user), NAME, change)
    assert asked.state == RequestState.APPROVED, "nobody has to approve it"
    return stage.finish(asked.request_id).state


def credential(stage: Stage, person: str) -> CredentialRow | None:
    mine = cluster(stage).id
    with stage.store.reading() as tx:
        rows = [row for row in tx.credentials(mine) if row.person == person]
    return rows[-1] if rows else None


def desk(stage: Stage, access: AccessPolicy) -> Desk:
    catalogue = dataclasses.replace(stage.catalogue, access=access)
    return Desk(store=stage.store, clock=stage.clock, catalogue=catalogue, directory=stage.directory)


# --- the step -------------------------------------------------------------------------------------------------


def test_the_requester_and_the_teams_group_get_the_shipped_role(stage: Stage) -> None:
    team = dataclasses.replace(TEAM, rancher_group="okta_group://ml")
    stage.catalogue = dataclasses.replace(CATALOGUE, teams={"default": team})
    stage.engine = stage.new_engine()
    story = stage.finish(stage.running())
    assert stage.rancher.bound == [("local://u-abcde", "gpu-cluster-user"), ("okta_group://ml", "gpu-cluster-user")]
    assert story.access is not None
    assert (story.access.group, story.access.role) == ("okta_group://ml", "gpu-cluster-user")


def test_without_the_shipped_role_it_is_ranchers_own(stage: Stage) -> None:
    stage.rancher.roles = frozenset({"cluster-member"})
    story = stage.finish(stage.running())
    assert stage.rancher.bound == [("local://u-abcde", "cluster-member")]
    assert story.access is not None and story.access.role == "cluster-member"


def test_a_plan_of_the_first_release_still_runs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tuple(Planned("access@1", p.after) if p.kind == "access@2" else p for p in plan.plan_for("create"))  # type: ignore[arg-type]
    asked = stage.awaiting()
    with stage.store.transaction() as tx:
        request = tx.request(asked.request_id)
        assert request is not None
        tx.change(request, plan=plan.freeze(old))
    stage.approve(asked.request_id)
    story = stage.finish(asked.request_id)
    assert story.state == RequestState.DONE
    assert stage.rancher.bound == [("local://u-abcde", "cluster-member")]
    assert story.access is not None and story.access.tokens == ""


# --- share and unshare ----------------------------------------------------------------------------------------


def test_share_binds_the_other_and_unshare_takes_it_back(ready: Stage) -> None:
    ready.principals[BYSTANDER] = "local://u-by"
    assert changed(ready, Share(BYSTANDER)) == RequestState.DONE
    assert ready.rancher.persons[BYSTANDER] == "local://u-by"
    assert cluster(ready).shared_with == {BYSTANDER}

    ready.engine = ready.new_engine()  # a restart in between
    assert changed(ready, Unshare(BYSTANDER), LEAD) == RequestState.DONE
    assert BYSTANDER not in ready.rancher.persons and ready.rancher.unbound == [BYSTANDER]
    assert cluster(ready).shared_with == frozenset()


def test_the_status_stays_that_of_the_cluster(ready: Stage) -> None:
    changed(ready, Share(BYSTANDER))
    assert ready.desk.story_of(ready.ask(), NAME).kind == "create"


def test_every_share_is_audited(ready: Stage) -> None:
    asked = ready.desk.ask_change(ready.ask(), NAME, Share(BYSTANDER))
    ready.finish(asked.request_id)
    trail = [(row.actor, row.action, row.detail) for row in ready.audit(asked.request_id)]
    assert (REQUESTER, "asked to share", f'{NAME} {{"person": "{BYSTANDER}"}}') in trail
    assert any(actor == "policy" and action == "approved" for actor, action, _ in trail)


def test_shared_with_somebody_whom_rancher_does_not_know(ready: Stage) -> None:
    asked = ready.desk.ask_change(ready.ask(), NAME, Share(BYSTANDER))
    story = ready.finish(asked.request_id)
    assert story.access is not None and (story.access.bound_to, story.access.tokens) == ("", "rancher")
    assert cluster(ready).shared_with == {BYSTANDER}, "the right to a kubeconfig"


@pytest.mark.parametrize(
    ("user", "change", "error", "says"),
    [
        (REQUESTER, Share(REQUESTER), Conflict, "with yourself"),
        (LEAD, Share(REQUESTER), Conflict, "own cluster"),
        (REQUESTER, Share(GUEST), Conflict, "a guest, a bot, deactivated"),
        (REQUESTER, Unshare(BYSTANDER), Conflict, "is not shared with"),
        (BYSTANDER, Share(SECOND_LEAD), Denied, "Only who asked for the cluster and leads"),
        (GUEST, Share(BYSTANDER), Denied, "cannot use this bot"),
    ],
)
def test_what_cannot_be_shared(
    ready: Stage, user: str, change: Share | Unshare, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ready.desk.ask_change(ready.ask(user), NAME, change)


def test_twice_and_too_early(stage: Stage) -> None:
    running = stage.running()
    with pytest.raises(Conflict, match="there is something to share once it is ready"):
        stage.desk.ask_change(stage.ask(), NAME, Share(BYSTANDER))
    stage.finish(running)
    changed(stage, Share(BYSTANDER))
    with pytest.raises(Conflict, match="already"):
        stage.desk.ask_change(stage.ask(), NAME, Share(BYSTANDER))


def test_a_share_that_rancher_refuses_fails_and_shares_nothing(ready: Stage) -> None:
    ready.principals[BYSTANDER] = "local://u-by"
    asked = ready.desk.ask_change(ready.ask(), NAME, Share(BYSTANDER))
    ready.rancher.trouble = Permanent("Rancher: role template not found.")
    story = ready.finish(asked.request_id)
    assert (story.state, story.reason) == (RequestState.FAILED, "Rancher: role template not found.")
    assert cluster(ready).shared_with == frozenset() and cluster(ready).state == "ready"


def test_unshare_waits_for_a_cluster_that_does_not_answer(ready: Stage) -> None:
    changed(ready, Share(BYSTANDER))
    asked = ready.desk.ask_change(ready.ask(), NAME, Unshare(BYSTANDER))
    ready.kube.trouble = Temporary("no answer")
    ready.look(5)
    assert ready.story(asked.request_id).state == RequestState.RUNNING and cluster(ready).shared_with == {BYSTANDER}
    ready.kube.trouble = None
    assert ready.finish(asked.request_id).state == RequestState.DONE


# --- kubeconfigs: the desk's part -----------------------------------------------------------------------------


def test_a_kubeconfig_is_written_down_once_for_each_gesture(ready: Stage) -> None:
    changed(ready, Share(BYSTANDER))
    ask = ready.ask(BYSTANDER, key="once")
    ready.desk.ask_kubeconfig(ask, NAME)
    ready.desk.ask_kubeconfig(ask, NAME)
    first = credential(ready, BYSTANDER)
    assert first is not None and first.state == CredentialState.WANTED and first.account.startswith("person-")
    ready.desk.ask_kubeconfig(ready.ask(BYSTANDER), NAME)
    mine = cluster(ready).id
    with ready.store.reading() as tx:
        older, newer = tx.credentials(mine)
    assert (older.state, older.why) == (CredentialState.ENDING, "a newer one was asked for")
    assert newer.state == CredentialState.WANTED


def test_unshare_and_delete_end_what_was_given(ready: Stage) -> None:
    changed(ready, Share(BYSTANDER))
    ready.desk.ask_kubeconfig(ready.ask(BYSTANDER), NAME)
    ready.kube.accounts["person-x"] = BYSTANDER
    changed(ready, Unshare(BYSTANDER))
    row = credential(ready, BYSTANDER)
    assert row is not None and (row.state, row.why) == (CredentialState.ENDING, f"no longer shared, by <@{REQUESTER}>")
    assert ready.kube.accounts == {}, "gone from the cluster before it is told"

    ready.desk.ask_kubeconfig(ready.ask(LEAD), NAME)
    ready.delete()
    ready.look()
    row = credential(ready, LEAD)
    assert row is not None and (row.state, row.why) == (CredentialState.ENDING, "the cluster is being deleted")


def test_who_gets_no_kubeconfig(ready: Stage) -> None:
    known = AccessPolicy(principals={REQUESTER: "local://u-abcde"})
    with pytest.raises(Conflict, match="Rancher knows you as local://u-abcde"):
        desk(ready, known).ask_kubeconfig(ready.ask(), NAME)
    with pytest.raises(Conflict, match="gives no kubeconfigs"):
        desk(ready, AccessPolicy(tokens="off")).ask_kubeconfig(ready.ask(), NAME)
    with pytest.raises(Denied, match="Only members and leads of team default"):
        ready.desk.ask_kubeconfig(ready.ask(BYSTANDER), NAME)
    with pytest.raises(Conflict, match="There is no cluster"):
        ready.desk.ask_kubeconfig(ready.ask(), "nobody")


def test_no_kubeconfig_of_what_is_not_ready(stage: Stage) -> None:
    stage.running()
    with pytest.raises(Conflict, match="there is a kubeconfig once it is ready"):
        stage.desk.ask_kubeconfig(stage.ask(), NAME)


def test_plans_and_changes_are_stored_as_json(ready: Stage) -> None:
    asked = ready.desk.ask_change(ready.ask(), NAME, Share(BYSTANDER))
    row = ready.request(asked.request_id)
    assert json.loads(row.spec) == {"person": BYSTANDER}
    assert json.loads(row.plan) == [{"kind": "share@1", "after": []}]
