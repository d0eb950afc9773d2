"""Whatever the facts: Slack's limits hold in both renderings, and nobody's text becomes markup."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.core.checks.preview import Preview
from bot.core.costs.ledger import Account, Committed
from bot.core.desk import Conflict, Costs, Own
from bot.core.policy import Denied, Verb
from bot.core.ports import Temporary
from bot.core.records import ClusterState, RequestState
from bot.core.spec import Check, Choices, Draft, Invalid, Policy, PoolSpec, Preflight, Preset, Problem, Team
from bot.core.story import Story
from bot.sandbox.slack.blocks import check_blocks, check_metadata, check_view
from handlers.grammar import draft_of, split
from handlers.views import answers
from handlers.views.costs import costs
from handlers.views.form import create_form, field_errors
from handlers.views.help import Rights, help_page
from handlers.views.home import home
from handlers.views.line import StoryLine, story_line
from handlers.views.listing import listing
from handlers.views.modals import deny_form, details, loading
from handlers.views.outcome import metadata, outcome
from handlers.views.page import Page
from handlers.views.preview import preview
from handlers.views.reminder import reminder
from handlers.views.render import Rendered, render
from handlers.views.request import request
from handlers.views.results import results
from handlers.views.retype import create_line
from handlers.views.status import status
from handlers.views.words import clean
from tests.handlers.stories import AT, CHECKS, ENVELOPES, SPECS, TEXT, USER, largest, plain_story, stories

# Every token that may stand in mrkdwn: ours. Ids as the pages were given them.
_OURS = re.compile(
    r"<@[UW][A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>|<#[CDG][A-Z0-9]+>"
    r"|<!date\^\d+\^\{date_short_pretty\} \{time\}\|[-: \dUTC]+>"
    r"|<https?://[^\s<>|]+\|[^<>|]*>"
)
slowly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def mrkdwn_texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        if value.get("type") == "mrkdwn":
            return [value["text"]]
        return [text for inner in value.values() for text in mrkdwn_texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in mrkdwn_texts(inner)]
    return []


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def must_be_fit(rendered: Rendered) -> None:
    assert 0 < len(rendered.text) <= 4_000
    for blocks in (rendered.blocks, rendered.plain_blocks):
        assert check_blocks(list(blocks), "message") == []
        assert not any(block["type"] == "markdown" for block in blocks)
        for text in [rendered.text, *mrkdwn_texts(blocks)]:
            left = _OURS.sub("", text)
            assert "<" not in left and ">" not in left, text
            assert re.search(r"&(?!amp;|lt;|gt;)", left) is None, text
        for text in [rendered.text, *strings(blocks)]:
            assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)
            text.encode()
    json.dumps([rendered.blocks, rendered.plain_blocks])


def fit(page: Page) -> None:
    must_be_fit(render(page))


@slowly
@given(stories(), st.booleans(), st.lists(USER, max_size=30).map(tuple))
def test_a_request(story: Story, buttons: bool, approvers: tuple[str, ...]) -> None:
    rendered = render(request(story, buttons=buttons, approvers=approvers))
    must_be_fit(rendered)
    for blocks in (rendered.blocks, rendered.plain_blocks):
        wanted = buttons and story.state == "awaiting_approval"
        actions = [e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]]
        assert actions == (["approve", "deny", "details"] if wanted else [])
    must_be_fit(render(request(story, buttons=buttons, moves=True, approvers=approvers, silent=True)))
    assert check_view(details(story)) == []


@slowly
@given(stories())
def test_an_outcome_a_status_and_results(story: Story) -> None:
    fit(outcome(story))
    fit(status(story))
    told = metadata(story)
    assert check_metadata({"event_type": "gpu_cluster_outcome", "event_payload": told}) is None
    if story.report is not None:
        fit(results(story))


@pytest.mark.parametrize("text", ["x" * 5_000, "<" * 5_000, "𝔘" * 5_000, "line\n" * 1_000, "`*_~" * 1_000])
@pytest.mark.parametrize("state", ["awaiting_approval", "running", "failed", "done"])
def test_everything_at_its_largest(text: str, state: str) -> None:
    story = largest(text, RequestState(state))
    for page in (
        request(story, buttons=True, approvers=("U0LEAD",) * 50),
        outcome(story),
        status(story),
        results(story),
        listing([story] * 200),
    ):
        fit(page)
    assert check_view(details(story)) == []
    own = Own(Team("default"), Committed(1.0, 2.0, None, True), (story,), (dataclasses.replace(story, request_id="o"),))
    assert check_view(home(own)) == []


PREVIEWS = st.builds(
    Preview,
    SPECS,
    st.builds(Preflight, CHECKS.map(tuple), st.none() | ENVELOPES),
    st.none()
    | st.builds(Committed, st.floats(0, 1e7), st.floats(0, 1e7), st.none() | st.floats(1, 1e7), st.booleans()),
    st.integers(0, 2),
    st.booleans(),
    st.lists(USER, max_size=12).map(tuple),
    TEXT,
)


@slowly
@given(PREVIEWS, TEXT)
def test_a_preview_alone_and_in_the_form(shown: Preview, text: str) -> None:
    policy = Policy(no_approval_below=5.0, two_approvals_above=500.0)
    fit(preview(shown, policy))
    presets = {"starter": Preset("starter", text, ())}
    assert check_view(create_form(Draft(text, "starter"), (), presets, policy, "{}", shown=shown)) == []


@slowly
@given(st.lists(stories(), max_size=4), st.sampled_from([1, 5]), TEXT)
def test_the_home_tab_and_the_windows(some: list[Story], times: int, text: str) -> None:
    held = Committed(1.0, 2.0, 3.0, False)
    alike = [dataclasses.replace(s, request_id=f"r-{n}") for n, s in enumerate(some * times)]
    other = [dataclasses.replace(s, request_id=f"o-{n}") for n, s in enumerate(some * times)]
    assert check_view(home(Own(Team(text), held, tuple(alike), tuple(other)))) == []
    assert check_view(loading()) == check_view(deny_form(text, "{}")) == []
    for story in some:
        fit(reminder(story, '{"stage": "half"}', ()))
        fit(reminder(story, '{"stage": "leads"}', ("S0LEADS", "U0LEAD")))


def test_a_long_list_has_pages() -> None:
    one = largest("x", RequestState.DONE)
    many = [dataclasses.replace(one, cluster=f"c-{number}") for number in range(200)]
    first, last, beyond = (json.dumps(render(listing(many, page)).blocks) for page in (1, 3, 9))
    assert "200 clusters" in first and '"c-98"' in first and '"c-99"' not in first
    assert "/gpu-cluster list 2" in first and "more row" not in first
    assert '"c-199"' in last and "list 4" not in last and beyond == last


@slowly
@given(st.lists(stories(), max_size=4), st.sampled_from([1, 40]))
def test_a_listing(some: list[Story], times: int) -> None:
    fit(listing(some * times))


AMOUNT = st.none() | st.floats(0, 1e7)
ACCOUNTS = st.builds(
    Account, TEXT, USER, TEXT, st.sampled_from(ClusterState), st.floats(0, 9e3), AMOUNT, AMOUNT, AMOUNT, st.booleans()
)
COMMITTED = st.builds(Committed, st.floats(0, 1e7), st.floats(0, 1e7), st.none() | st.floats(1, 1e7), st.booleans())


@slowly
@given(
    st.lists(ACCOUNTS, max_size=4).map(tuple),
    st.sampled_from([1, 40]),
    st.lists(st.tuples(TEXT, COMMITTED), max_size=3).map(tuple),
)
def test_costs(accounts: tuple[Account, ...], times: int, teams: tuple[tuple[str, Committed], ...]) -> None:
    fit(costs(Costs(accounts * times, teams)))


def test_costs_say_what_is_not_known_and_what_is_left() -> None:
    bills = (
        Account("train-a", "U0REQ", "ml", ClusterState.READY, 2.0, 10.0, 1.5, 20.0, True),
        Account("train-b", "U0REQ", "ml", ClusterState.FAILED, 1.0, None, None, None, True),
    )
    page = costs(Costs(bills, (("ml", Committed(10.0, 20.0, 100.0, unknown=True)),)))
    text = "".join(strings(list(render(page).blocks)))
    assert ": at least $10.00 spent this month, $20.00 promised" in text
    assert "; $70.00 of $100.00 left." in text
    assert ": $10.00 and something unknown, of it $1.50 and something unknown for GPUs nobody could use" in text


def test_costs_of_very_many_clusters_have_pages_the_newest_first() -> None:
    bills = tuple(
        Account(f"c-{number}", "U0REQ", "ml", ClusterState.GONE, 1.0, 2.0, 0.0, 0.0, True) for number in range(200)
    )
    first, last, beyond = (json.dumps(render(costs(Costs(bills, ()), page)).blocks) for page in (1, 3, 9))
    assert '"c-199"' in first and '"c-100"' not in first and "more row" not in first
    assert "/gpu-cluster cost 2" in first and "$400.00" in first
    assert '"c-0"' in last and "cost 4" not in last and "$400.00" in last and beyond == last


def test_a_card_of_several_machines_says_that_they_have_no_fast_network() -> None:
    story = largest("x", RequestState.AWAITING_APPROVAL)
    assert story.envelope is not None
    gpu = next(pool for pool in story.envelope.pools if pool.gpu)
    for count, said in ((1, False), (2, True)):
        envelope = dataclasses.replace(story.envelope, pools=(dataclasses.replace(gpu, count=count),))
        text = str(render(request(dataclasses.replace(story, envelope=envelope), buttons=True)).blocks)
        assert ("no EFA between nodes" in text) == said


@slowly
@given(TEXT, st.sampled_from(["done", "stalled", "error"]), TEXT, AT)
def test_a_line(step: str, what: Any, text: str, at: float) -> None:
    fit(story_line(StoryLine(step, what, text, at)))


DRAFTS = st.builds(
    Draft,
    TEXT,
    TEXT | st.just("starter"),
    TEXT | st.just("8"),
    TEXT,
    TEXT,
    st.lists(st.builds(Problem, st.sampled_from(["", "name", "gpus", "type", "other"]), TEXT), max_size=4).map(tuple),
    st.just(""),
    TEXT | st.sampled_from(["", "g6.xlarge", "g5.xlarge"]),
    TEXT | st.sampled_from(["", "a", "c"]),
)


@slowly
@given(DRAFTS, TEXT)
def test_the_form(draft: Draft, description: str) -> None:
    gpu = PoolSpec("gpu", "g6.xlarge", gpu=True, alternatives=("g5.xlarge", "x" * 200))
    presets = {"starter": Preset("starter", description, (gpu,)), "other" * 40: Preset("o", "", ())}
    choices = Choices(("a", "b"), 8, 1)
    assert check_view(create_form(draft, draft.problems, presets, Policy(), "{}", choices=choices)) == []
    view = create_form(draft, draft.problems, presets, Policy(), "{}")
    assert check_view(view) == []
    assert check_view(create_form(draft, draft.problems, presets, Policy(), "{}", note=description)) == []
    assert all(0 < len(text) <= 2_000 or not text for text in field_errors(draft.problems, {}).values())


@slowly
@given(TEXT, TEXT, DRAFTS, st.lists(USER, max_size=20).map(tuple))
def test_the_answers(text: str, more: str, draft: Draft, people: tuple[str, ...]) -> None:
    for page in (
        answers.denied(Denied(Verb.APPROVE, text, people)),
        answers.conflict(Conflict(text, more), draft),
        answers.invalid(Invalid(*draft.problems, Problem("name", text)), draft),
        answers.unavailable(Temporary(text, more)),
        answers.unknown(text),
        answers.bad_line(text),
        answers.elsewhere(("C0GPU", text)),
        answers.not_invited(text),
        answers.form_late(draft),
        answers.got_it(text),
        answers.incident("i-01234567"),
        help_page(Rights((text, more), (text,), text, people, people), {text: Preset("x", more, ())}),
    ):
        fit(page)


@slowly
@given(TEXT)
def test_what_was_typed_is_read_whole(text: str) -> None:
    """In rich text nothing is replaced: what a person reads is what was typed, less what cannot be seen."""
    (quote,) = [
        e
        for b in render(request(plain_story(text), buttons=False)).blocks
        if b["type"] == "rich_text"
        for e in b["elements"]
        if e["type"] == "rich_text_quote"
    ] or [{"elements": []}]
    shown = "".join(e["text"] for e in quote["elements"])
    visible = [c for c in text if c.isascii() and c.isalnum()]
    assert len(text) > 3_000 or [c for c in shown if c.isascii() and c.isalnum()] == visible


@slowly
@given(st.text(max_size=60))
def test_the_line_to_type_again_says_the_same(reason: str) -> None:
    typed = create_line(Draft("train-a", "starter", "1", "8", reason)).removeprefix("/gpu-cluster ")
    again = draft_of(split(typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")).rest)
    expected = clean(reason).replace("\n", " ")
    if not set(expected) & set("“”„‟‘’–—"):
        assert again == Draft("train-a", "starter", "1", "8", expected)


def test_a_request_that_is_checked_again_says_what_has_not_answered_and_for_how_long() -> None:
    unsure = Check("AWS account", "unknown", "could not check: no answer within 10 s", passing=True)
    first = dataclasses.replace(largest("x", RequestState.CHECKING), checks=())
    assert "Checking with Rancher and AWS" in json.dumps(render(request(first, buttons=True)).blocks)
    again = json.dumps(render(request(dataclasses.replace(first, checks=(unsure,)), buttons=True)).blocks)
    assert "AWS account: no answer within 10 s" in again
    assert "It is asked again by itself, for ten minutes at most" in again


def test_a_card_folds_what_is_well_and_details_have_it_all() -> None:
    well = tuple(Check(f"check {number}", "ok", f"fine {number}") for number in range(14))
    warned = Check("image", "ok", "ami-1 is deprecated", "Move to a newer image before it is gone.")
    unsure = Check("quota", "unknown", "could not check: no answer within 10 s")
    story = dataclasses.replace(largest("x", RequestState.AWAITING_APPROVAL), checks=(*well, warned, unsure))
    told = json.dumps(render(request(story, buttons=True)).blocks, ensure_ascii=False)
    assert "14 checks ok" in told and "fine 3" not in told
    assert "newer image" in told and "no answer within 10 s" in told and "could not check: no" not in told
    whole = json.dumps(details(story), ensure_ascii=False)
    assert all(check.detail in whole for check in well)
