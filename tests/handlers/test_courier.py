"""Kubeconfigs: into one person's direct messages, gone after a quarter of an hour, revoked when they have to end."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.core import credentials
from bot.core.desk import Ask, Desk
from bot.core.ports import Permanent, Temporary
from bot.core.records import ClusterRow, ClusterState, CredentialRow, CredentialState, Kind, RequestRow, RequestState
from bot.core.steps.base import Outside
from bot.sandbox.slack import ThreadedSlack, Workspace
from bot.store import SqliteStore
from handlers.calls import make_clients
from handlers.courier import LEASE_S, PEOPLE_EVERY_S, Courier
from handlers.directory import CACHE_S, SlackDirectory
from tests.core.fakes import MID, FakeCloud, FakeKube, FakeRancher
from tests.handlers.harness import CHANNEL, REQUESTER, MovableClock, catalogue

DIRECT = f"D{REQUESTER[1:]}"


class Round:
    """A courier whose looks are made by hand, on a store with one cluster that is ready."""

    def __init__(self, slack: ThreadedSlack, clock: MovableClock, store: SqliteStore) -> None:
        self.slack, self.clock, self.store = slack, clock, store
        self.rancher = FakeRancher(FakeCloud(), clock)  # type: ignore[arg-type]
        self.kube = FakeKube(self.rancher)
        self.clients = make_clients(slack.workspace.bot_token, slack.api_url)
        self.directory = SlackDirectory(self.clients.asking, "T0SANDBOX", clock)
        self.desk = Desk(store=store, clock=clock, catalogue=catalogue(), directory=self.directory)
        self.courier = self.new_courier()
        now = clock.now()
        cluster = ClusterRow(
            "k-1", "train-a", "default", "default", REQUESTER, CHANNEL, ClusterState.READY, now, management_id=MID,
            ready_at=now, expires_at=now + 86400,
        )  # fmt: skip
        request = RequestRow(
            "r-1", "k-1", Kind.CREATE, RequestState.DONE, REQUESTER, "default", "default", CHANNEL, "{}", now, now
        )
        with store.transaction() as tx:
            tx.add(cluster)
            tx.add(request)

    def new_courier(self) -> Courier:
        """As after a restart."""
        return Courier(
            store=self.store, clock=self.clock, desk=self.desk, directory=self.directory,
            outside=lambda _: Outside(self.rancher, FakeCloud(), lambda _: self.kube, "https://rancher.test"),
            clients=self.clients,
        )  # fmt: skip

    def asks(self, key: str = "one") -> None:
        self.desk.ask_kubeconfig(Ask(REQUESTER, CHANNEL, key), "train-a")

    def row(self, key: int = -1) -> CredentialRow:
        with self.store.reading() as tx:
            ids = [row.detail for row in tx.audit_trail("r-1") if row.action == "asked for a kubeconfig"]
            found = tx.credential("t-" + ids[key].rpartition("person-")[2])
        assert found is not None
        return found

    @property
    def files(self) -> list[bytes]:
        return [file.content or b"" for file in self.slack.workspace.files.values() if file.shared]

    @property
    def trail(self) -> list[tuple[str, str]]:
        with self.store.reading() as tx:
            return [(row.action, row.detail.partition(": ")[2]) for row in tx.audit_trail("r-1")]

    def later(self, seconds: float) -> None:
        self.clock.world_shift += seconds
        self.courier.look()


@pytest.fixture
def slack(clock: MovableClock) -> Iterator[ThreadedSlack]:
    with ThreadedSlack(Workspace(world_clock=clock.now, real_clock=clock.real)) as slack:
        yield slack


@pytest.fixture
def round_(slack: ThreadedSlack, clock: MovableClock, tmp_path: Path) -> Round:
    return Round(slack, clock, SqliteStore(tmp_path / "bot.db"))


def test_a_kubeconfig_comes_by_direct_message_and_its_file_goes(
    round_: Round, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    round_.asks()
    round_.courier.look()
    (content,) = round_.files
    config = json.loads(content)
    token = config["users"][0]["user"]["token"]
    assert config["clusters"][0]["cluster"]["server"] == f"https://rancher.test/k8s/clusters/{MID}"
    told = next(e for e in round_.slack.workspace.events if e.kind == "file")
    assert told.channel == DIRECT and "I delete this file in 15 min" in told.text
    row = round_.row()
    assert row.state == CredentialState.HANDED and row.file_id and row.expires_at is not None
    assert token not in caplog.text
    assert not any(token.encode() in file.read_bytes() for file in tmp_path.iterdir()), "the store holds no token"

    round_.courier = round_.new_courier()  # after a crash: the lease runs out
    round_.clock.real_shift += LEASE_S
    round_.later(credentials.FILE_S - 5)
    assert round_.files
    round_.later(10)
    assert not round_.files and round_.row().file_id == "" and round_.kube.accounts, "the token works on"
    round_.later(8 * 3600)
    round_.courier.look()
    assert round_.row().state == CredentialState.ENDED and not round_.kube.accounts
    assert [action for action, _ in round_.trail] == [
        "asked for a kubeconfig",
        "gave a kubeconfig",
        "deleted a kubeconfig's file",
        "revoked a kubeconfig",
    ]
    assert round_.trail[-1][1] == "its time is over"


def test_a_newer_one_ends_the_older(round_: Round) -> None:
    round_.asks("one")
    round_.courier.look()
    round_.asks("two")
    round_.courier.look()
    assert [round_.row(key).state for key in (0, 1)] == [CredentialState.ENDED, CredentialState.HANDED]
    assert list(round_.kube.accounts) == [round_.row(1).account] and len(round_.files) == 1


def test_who_is_deactivated_keeps_nothing(round_: Round) -> None:
    round_.asks()
    round_.courier.look()
    workspace = round_.slack.workspace
    workspace.users[REQUESTER] = dataclasses.replace(workspace.users[REQUESTER], deleted=True)
    round_.clock.real_shift += max(PEOPLE_EVERY_S, CACHE_S) + 1
    round_.courier.look()
    round_.courier.look()
    assert round_.row().state == CredentialState.ENDED and not round_.kube.accounts and not round_.files
    assert round_.trail[-1] == ("revoked a kubeconfig", "no full member of the workspace any more")


def test_what_rancher_does_not_let_through_is_told(round_: Round) -> None:
    round_.rancher.tokens = Permanent("JWT Authentication is switched off.", "Whoever keeps Rancher can switch it on.")
    round_.asks()
    round_.courier.look()
    round_.courier.look()
    told = next(e for e in round_.slack.workspace.events if e.kind == "message" and e.channel == DIRECT)
    assert "No kubeconfig for train-a: JWT Authentication is switched off." in told.text
    assert "can switch it on" in json.dumps(told.blocks)
    assert round_.row().state == CredentialState.ENDED and not round_.files


def test_an_outage_is_waited_for_and_then_told(round_: Round) -> None:
    round_.kube.trouble = Temporary("no answer")
    round_.asks()
    round_.courier.look()
    assert round_.row().state == CredentialState.WANTED
    round_.kube.trouble = None
    round_.later(credentials.AGAIN_S + 1)
    assert round_.row().state == CredentialState.HANDED

    round_.kube.trouble = Temporary("no answer")
    round_.asks("again")
    round_.later(credentials.TRY_S + 1)
    assert any("No kubeconfig for train-a: no answer" in e.text for e in round_.slack.workspace.events)
    assert round_.row().state == CredentialState.ENDING, "revoked as soon as the cluster answers"


def test_a_file_that_nobody_confirmed_is_replaced(round_: Round) -> None:
    """Slack's id is stored before the file can be seen: what was interrupted is taken back, and done again."""
    round_.slack.workspace.missing_scopes.add("files:write")
    round_.asks()
    round_.courier.look()
    assert round_.row().state == CredentialState.WANTED and not round_.files
    round_.slack.workspace.missing_scopes.clear()
    stray = round_.clients.posting.files_getUploadURLExternal(filename="x", length=3)["file_id"]
    row = round_.row()
    with round_.store.transaction() as tx:
        tx.change(row, file_id=str(stray))
    round_.later(credentials.AGAIN_S + 1)
    assert round_.row().state == CredentialState.HANDED and round_.row().file_id != stray
    assert stray not in round_.slack.workspace.files


def test_a_cluster_that_is_gone_has_taken_its_accounts_along(round_: Round) -> None:
    round_.asks()
    round_.courier.look()
    round_.kube.trouble = Temporary("no answer")
    row = round_.row()
    with round_.store.transaction() as tx:
        credentials.end(tx, row, "the cluster is being deleted", round_.clock.now())
    round_.courier.look()
    assert round_.row().state == CredentialState.ENDING and not round_.files, "the file goes at once"
    with round_.store.transaction() as tx:
        tx.change(tx.cluster("k-1"), state=ClusterState.GONE)
    round_.later(credentials.AGAIN_S + 1)
    assert round_.row().state == CredentialState.ENDED


def test_only_one_process_hands_over(round_: Round) -> None:
    other = round_.new_courier()
    round_.asks("one")
    round_.courier.look()
    round_.asks("two")
    other.look()
    assert round_.row().state == CredentialState.WANTED, "the first holds the lease"
    assert len(round_.files) == 1
