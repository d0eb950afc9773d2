"""Troubles and verify as they are typed and said."""

from __future__ import annotations

import pytest

from bot.core.changes import Replace, Verify
from bot.core.in_use import troubles
from bot.core.in_use.troubles import Notice
from bot.core.spec import Invalid
from handlers.grammar import change_of
from handlers.views.page import Buttons, Page
from handlers.views.render import render
from handlers.views.trouble import degraded_buttons, trouble

KINDS = sorted({*troubles.OF_A_NODE, troubles.UNCHECKED, troubles.UNREACHABLE, troubles.CLUSTER_GONE, troubles.UNSEEN})


def notice(kind: str, *, over: bool = False) -> Notice:
    return Notice("t-1", kind, "node-1 <!channel>", "train-a", "k-1", "U0OWNER", over)


def buttons(page: Page) -> list[tuple[str, str]]:
    return [(b.action_id, b.value) for part in page.parts if isinstance(part, Buttons) for b in part.buttons]


@pytest.mark.parametrize("kind", KINDS)
def test_each_trouble_mentions_the_owner_and_notifies_nobody_else(kind: str) -> None:
    page = trouble(notice(kind))
    text = render(page).text
    assert "<@U0OWNER>" in text and "<!channel>" not in text
    ids = [action for action, _ in buttons(page)]
    assert ("replace" in ids) == (kind in troubles.OF_A_NODE)
    assert all(value == "k-1.t-1" for _, value in buttons(page))
    assert buttons(trouble(notice(kind, over=True))) == []


def test_a_degraded_cluster_can_be_accepted_replaced_or_cleaned_up() -> None:
    assert [(b.action_id, b.value) for b in degraded_buttons("k-1").buttons] == [
        ("accept", "k-1."),
        ("replace", "k-1."),
        ("delete", "k-1."),
    ]


@pytest.mark.parametrize(
    ("words", "in_thread", "said"),
    [
        (("train-a",), False, ("train-a", Verify())),
        (("train-a", "--level", "Burn"), False, ("train-a", Verify("burn"))),
        (("--level=quick", "train-a"), False, ("train-a", Verify("quick"))),
        ((), True, ("", Verify())),
        (("--level", "quick"), True, ("", Verify("quick"))),
    ],
)
def test_verify_as_it_is_typed(words: tuple[str, ...], in_thread: bool, said: tuple[str, Verify]) -> None:
    assert change_of("verify", words, in_thread=in_thread) == said


@pytest.mark.parametrize("words", [(), ("a1", "b1"), ("train-a", "--level"), ("train-a", "--lvl", "x")])
def test_verify_mistyped(words: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="Type it like this"):
        change_of("verify", words, in_thread=False)


def test_replace_as_it_is_typed() -> None:
    assert change_of("replace", ("train-a", "node-1"), in_thread=False) == ("train-a", Replace("node-1"))
    assert change_of("replace", (), in_thread=True) == ("", Replace())
