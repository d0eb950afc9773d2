"""Who people are, when Slack can say, when it cannot, and how often it is asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.core.ports import Temporary
from bot.sandbox.slack import ThreadedSlack
from handlers.calls import make_clients
from handlers.directory import SlackDirectory
from tests.handlers.harness import MovableClock


@pytest.fixture
def directory(slack: ThreadedSlack, clock: MovableClock) -> SlackDirectory:
    client = make_clients(slack.workspace.bot_token, slack.api_url).asking
    return SlackDirectory(client, "T0SANDBOX", clock)


@pytest.mark.parametrize(
    ("user", "member"),
    [
        ("U0REQUESTER", True),
        ("U0GUEST", False),
        ("U0GONE", False),
        ("U0FOREIGN", False),
        ("U0BOT", False),
        ("U0NOBODY", False),
    ],
)
def test_who_is_a_member(directory: SlackDirectory, user: str, member: bool) -> None:
    assert directory.person(user).member is member


def test_a_minute_long_nothing_is_asked_again(
    directory: SlackDirectory, slack: ThreadedSlack, clock: MovableClock
) -> None:
    for _ in range(3):
        assert "U0LEAD" in directory.group("S0LEADS")
        directory.person("U0LEAD")
    assert (slack.workspace.calls["usergroups.users.list"], slack.workspace.calls["users.info"]) == (1, 1)
    clock.real_shift += 61
    directory.group("S0LEADS")
    assert slack.workspace.calls["usergroups.users.list"] == 2


def test_a_forced_look_up_happens_once_in_three_seconds(
    directory: SlackDirectory, slack: ThreadedSlack, clock: MovableClock
) -> None:
    directory.group("S0LEADS")
    clock.real_shift += 4
    for _ in range(5):
        directory.group("S0LEADS", fresh=True)
    assert slack.workspace.calls["usergroups.users.list"] == 2


def test_many_at_once_ask_once(directory: SlackDirectory, slack: ThreadedSlack) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: directory.group("S0LEADS"), range(16)))
    assert slack.workspace.calls["usergroups.users.list"] == 1


def test_without_an_answer_nobody_is_anything(directory: SlackDirectory, slack: ThreadedSlack) -> None:
    slack.workspace.inject("users.info", status=500)
    with pytest.raises(Temporary, match="could not tell who you are"):
        directory.person("U0LEAD")
    slack.workspace.inject("usergroups.users.list", status=429)
    with pytest.raises(Temporary, match=r"could not tell who is a lead \(ratelimited\)"):
        directory.group("S0LEADS")
    with pytest.raises(Temporary, match="no_such_subteam"):
        directory.group("S0NONE")
    assert directory.person("U0LEAD").member


def test_an_invitation_is_noticed_soon(directory: SlackDirectory, slack: ThreadedSlack, clock: MovableClock) -> None:
    assert directory.is_in("C0GPU") and not directory.is_in("C0OTHER") and not directory.is_in("C0NONE")
    channel = slack.workspace.channels["C0OTHER"]
    joined = type(channel)(channel.id, channel.name, channel.members | {"U0BOT"})
    slack.workspace.channels["C0OTHER"] = joined
    clock.real_shift += 4
    assert directory.is_in("C0OTHER")
