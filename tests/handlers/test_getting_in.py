"""How the last message says to get in, case by case; and how share, unshare and kubeconfig are typed."""

from __future__ import annotations

import dataclasses

import pytest

from bot.core.changes import Share, Unshare
from bot.core.records import Kind, RequestState
from bot.core.spec import Invalid
from bot.core.story import Access, Story
from handlers.grammar import change_of, split
from handlers.views.outcome import outcome
from handlers.views.render import render
from tests.handlers.harness import CHANNEL, LEAD, REQUESTER, Bot
from tests.handlers.stories import plain_story

ACCESS = Access("https://r.example", "c-m-1", "local://u-a", "gpu-cluster-user", "", "", "rancher")


def told(**access: str) -> str:
    """The last message of a create that is done, as blocks."""
    story = dataclasses.replace(
        plain_story("try it"), state=RequestState.DONE, access=dataclasses.replace(ACCESS, **access)
    )
    return str(render(outcome(story)).blocks)


def test_by_ones_own_account() -> None:
    said = told()
    assert "your account has the role gpu-cluster-user there" in said and "not in this Rancher" not in said
    assert "download the KubeConfig from that page" in said


def test_by_ones_own_account_with_less() -> None:
    assert "the role gpu-cluster-user, which allows more, is not in this Rancher" in told(role="cluster-member")


def test_by_the_teams_group() -> None:
    assert "and so have members of okta_group://ml" in told(group="okta_group://ml")
    said = told(bound_to="", group="okta_group://ml")
    assert "members of okta_group://ml have the role gpu-cluster-user there" in said and "your account" not in said


@pytest.mark.parametrize("tokens", ["rancher", "cluster"])
def test_by_a_token(tokens: str) -> None:
    said = told(bound_to="", role="", tokens=tokens)
    assert "/gpu-cluster kubeconfig train-a" in said and "set KUBECONFIG to your file" in said
    assert "dashboard" not in said, "a page that cannot be opened is not linked"


@pytest.mark.parametrize("tokens", ["off", ""])
def test_by_a_person(tokens: str) -> None:
    assert "whoever keeps Rancher adds you under Cluster Members" in told(bound_to="", role="", tokens=tokens)


def test_the_end_of_a_share_names_the_person_and_the_way() -> None:
    story: Story = dataclasses.replace(
        plain_story("x"), kind=Kind.SHARE, spec=None, change=Share("U0BYSTANDER"), state=RequestState.DONE,
        access=dataclasses.replace(ACCESS, bound_to="", role=""),
    )  # fmt: skip
    page = render(outcome(story))
    assert "<@U0BYSTANDER>" in page.text and "/gpu-cluster kubeconfig train-a" in str(page.blocks)


@pytest.mark.parametrize(
    ("line", "in_thread", "name", "change"),
    [
        ("share train-a <@U0BY|by>", False, "train-a", Share("U0BY")),
        ("share train-a <@U0BY|o'brien (he)>", False, "train-a", Share("U0BY")),
        ("share <@W0BY>", True, "", Share("W0BY")),
        ("unshare train-a <@U0BY>", False, "train-a", Unshare("U0BY")),
    ],
)
def test_mentions_are_read(line: str, in_thread: bool, name: str, change: Share | Unshare) -> None:
    words = split(line)
    assert change_of(words.verb, words.rest, in_thread=in_thread) == (name, change)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("share train-a", "Type it like this: /gpu-cluster share NAME @someone"),
        ("share train-a bob", "“bob” is nobody I can find"),
        ("share train-a @bob", "choose the person from the list"),
        ("share train-a <!subteam^S0LEADS|@leads>", "A group is nobody"),
        ("unshare train-a <@U1> <@U2>", "Type it like this: /gpu-cluster unshare NAME @someone"),
    ],
)
def test_what_is_no_person(line: str, says: str) -> None:
    words = split(line)
    with pytest.raises(Invalid, match=says.replace("?", r"\?")):
        change_of(words.verb, words.rest, in_thread=False)


def test_typed_in_slack(bot: Bot) -> None:
    bot.asks()
    since = bot.now
    bot.types(REQUESTER, "share train-a @bystander")
    bot.told(REQUESTER, "there is something to share once it is ready", since)
    bot.types(REQUESTER, "share train-a @guest")
    bot.told(REQUESTER, "is a guest, a bot, deactivated", since)
    bot.types(LEAD, "share train-a @lead")
    bot.told(LEAD, "You cannot share a cluster with yourself", since)
    bot.types(REQUESTER, "kubeconfig train-a")
    bot.told(REQUESTER, "there is a kubeconfig once it is ready", since)
    bot.types(REQUESTER, "kubeconfig")
    bot.told(REQUESTER, "Which cluster?", since)
    bot.types(REQUESTER, "enable ml-lab", CHANNEL)
    bot.told(REQUESTER, "is not on the list of clusters that may be enabled", since)
