"""Lines as Slack delivers them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.core.spec import Draft
from handlers.grammar import draft_of, split


@pytest.mark.parametrize(
    ("typed", "draft"),
    [
        ("create", Draft()),
        ("create a", Draft("a")),
        ("create a b", Draft("a")),
        ("create name=a gpus=8", Draft("a", gpus="8")),
        ("create --name a --gpus=8 -hours 3", Draft("a", gpus="8", hours="3")),
        ('create a --reason "R&amp;D &lt;!channel&gt;"', Draft("a", reason="R&D <!channel>")),
        ("create a —gpus 8 –hours 2", Draft("a", gpus="8", hours="2")),
        ("create a --reason “don’t – stop”", Draft("a", reason="don’t – stop")),
        ("create a --reason ‘two words’", Draft("a", reason="two words")),
        ("create a --reason=", Draft("a")),
        ("CREATE a --GPUS 8", Draft("a", gpus="8")),
    ],
)
def test_what_is_meant(typed: str, draft: Draft) -> None:
    found = draft_of(split(typed).rest)
    assert (found.name, found.preset, found.gpus, found.hours, found.reason) == (
        draft.name, draft.preset, draft.gpus, draft.hours, draft.reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ("create a b", "", "“b”"),
        ("create a --gups 3", "", "--gups"),
        ("create a --gpus", "gpus", "needs a value"),
        ("create a --gpus --hours 3", "gpus", "needs a value"),
    ],
)
def test_what_is_not_understood_is_a_problem(typed: str, field: str, said: str) -> None:
    problems = draft_of(split(typed).rest).problems
    assert any(p.field == field and said in p.message for p in problems)


@pytest.mark.parametrize("typed", ["create a --reason don't", 'create a --reason "oh', 'create "'])
def test_an_open_quote_is_named(typed: str) -> None:
    words = split(typed)
    assert words.verb == "create" and "quotation mark is open" in words.trouble


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_line_breaks_the_parser(text: str) -> None:
    words = split(text)
    assert words.trouble or isinstance(draft_of(words.rest), Draft)


@pytest.mark.parametrize("word", ["--efa", "--placement-group=a", "--capacity-reservation", "--capacity-block"])
def test_what_ranchers_driver_cannot_do_is_said(word: str) -> None:
    (problem,) = draft_of(("a", word)).problems
    assert "Rancher's EC2 driver has no option" in problem.message
