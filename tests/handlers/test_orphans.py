"""`orphans` in Slack: a list for leads, a button that is bound to it, and what came of it for everybody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.orphans import GONE, NEVER_OURS, Orphan, Thing
from bot.core.ports import Refused
from bot.core.records import ClusterRow, ClusterState
from bot.core.sweeping import ALREADY, ENDED, FAILED, KEPT, LATER, REFUSED, Left, Listing, Result, Swept
from bot.sandbox.slack import Event
from handlers.views.orphans import orphans_page, swept_page
from tests.handlers.harness import BYSTANDER, CHANNEL, LEAD, Bot, all_text
from tests.handlers.stories import TEXT
from tests.handlers.test_views import fit

KINDS = ("machine", "volume", "interface", "address", "spot request", "key pair", "load balancer")
THINGS = st.builds(
    Thing, kind=st.sampled_from(KINDS), id=TEXT, name=TEXT, cluster=TEXT, owner=TEXT, detail=TEXT, ours=st.booleans(),
    since=st.none() | st.floats(0, 2e9),
)  # fmt: skip
LEFT = st.builds(
    Left, orphan=st.builds(Orphan, THINGS, st.sampled_from([GONE, NEVER_OURS])), region=st.just("eu-west-1"),
    hourly=st.none() | st.floats(0, 99),
)  # fmt: skip
RESULTS = st.builds(
    Result, key=TEXT.map(lambda text: f"eu-west-1/machine/{text}"), detail=TEXT,
    word=st.sampled_from([ENDED, ALREADY, KEPT, REFUSED, FAILED, LATER]),
)  # fmt: skip


@settings(max_examples=12, deadline=None)
@given(st.lists(LEFT, max_size=70), st.lists(st.tuples(TEXT, TEXT), max_size=3), st.booleans())
def test_any_list_fits(left, silent, changed) -> None:
    fit(orphans_page(Listing(tuple(left), tuple(silent), ("eu-west-1",), 1.8e9, changed)))


@settings(max_examples=12, deadline=None)
@given(st.lists(RESULTS, max_size=25))
def test_any_end_fits(results) -> None:
    fit(swept_page(Swept("U0LEAD", tuple(results))))


@pytest.fixture
def left(bot: Bot) -> Bot:
    """Two machines and a claim's volume of a cluster that has been gone for hours."""
    now = bot.clock.now()
    with bot.store.transaction() as tx:
        tx.add(ClusterRow("k-old", "old", "default", "default", "U1", CHANNEL, ClusterState.GONE, now - 9e4,
                          gone_at=now - 9e3, management_id="c-m-old"))  # fmt: skip
    bot.sweeps.left = [
        Thing("machine", "i-1", cluster="old", ours=True, detail="g4dn.xlarge", type="g4dn.xlarge", since=now - 7200),
        Thing("machine", "i-2", cluster="old", ours=True, detail="g4dn.xlarge", type="g4dn.xlarge"),
        Thing("volume", "vol-1", owner="c-m-old", gib=8),
    ]
    return bot


def shown(bot: Bot, since: int = 0) -> Event:
    return bot.told(LEAD, "left in AWS of clusters", since)


def test_a_lead_lists_presses_and_everybody_is_told(left: Bot) -> None:
    left.types(LEAD, "orphans")
    card = shown(left)
    for text in ("3 things left", "g4dn.xlarge", "i-1", "2 h", "Terminate these 2", "people's data"):
        assert text in all_text(card)
    assert left.sweeps.ended == []
    left.clicks(LEAD, "end-orphans", card)
    told = left.shown("has ended 2 of 2 things")
    assert "i-1" in all_text(told)
    assert sorted(left.sweeps.ended) == ["i-1", "i-2"]
    since = left.now
    left.clicks(LEAD, "end-orphans", card)
    assert "The list has changed" in all_text(left.told(LEAD, "Nothing was ended", since))


def test_a_second_delivery_of_a_press_is_the_same_press(left: Bot) -> None:
    left.types(LEAD, "orphans")
    left.clicks(LEAD, "end-orphans", shown(left), duplicate=True)
    left.shown("has ended 2 of 2 things")
    assert sorted(left.sweeps.ended) == ["i-1", "i-2"]


def test_nobody_else_may(left: Bot) -> None:
    left.types(BYSTANDER, "orphans")
    left.told(BYSTANDER, "Only a lead can do that")


def test_a_list_that_changed_is_shown_with_a_button_of_its_own(left: Bot) -> None:
    left.types(LEAD, "orphans")
    card, since = shown(left), left.now
    left.sweeps.left.pop(0)
    left.clicks(LEAD, "end-orphans", card)
    anew = left.told(LEAD, "The list has changed", since)
    assert left.sweeps.ended == []
    left.clicks(LEAD, "end-orphans", anew)
    left.shown("has ended 1 of 1 thing")
    assert left.sweeps.ended == ["i-2"]


def test_without_the_optional_policy_it_says_what_to_attach(left: Bot) -> None:
    left.sweeps.refuses = Refused("UnauthorizedOperation: You are not authorized to perform this operation.")
    left.types(LEAD, "orphans")
    left.clicks(LEAD, "end-orphans", shown(left))
    told = all_text(left.shown("has ended 0 of 2 things"))
    assert "manifests/iam/sweep.json" in told
    assert "UnauthorizedOperation" in told


def test_nothing_left_is_said(bot: Bot) -> None:
    bot.types(LEAD, "orphans")
    bot.told(LEAD, "Nothing is left in eu-west-1.")
