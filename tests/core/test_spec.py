"""What people type, checked; and the envelope, whose digest is what a lead approves."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.core.spec import (
    Check,
    Draft,
    Envelope,
    GpuExpectation,
    Invalid,
    Pool,
    Preflight,
    Problem,
    Taint,
    check_draft,
    checks_from_json,
    envelope_from_json,
    name_problem,
    spec_from_json,
    to_json,
)
from tests.core.stage import CATALOGUE, DRAFT

TEAM = CATALOGUE.teams["default"]
TEXT = st.text(max_size=12)
TAINTS = st.builds(Taint, TEXT, TEXT, TEXT)
POOLS = st.builds(
    Pool,
    name=TEXT,
    instance_type=TEXT,
    count=st.integers(0, 99),
    control_plane=st.booleans(),
    worker=st.booleans(),
    gpu=st.booleans(),
    root_gib=st.integers(8, 999),
    zone=TEXT,
    subnet=TEXT,
    ami=TEXT,
    labels=st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple),
    taints=st.lists(TAINTS, max_size=2).map(tuple),
)
ENVELOPES = st.builds(
    Envelope,
    **{field.name: TEXT for field in dataclasses.fields(Envelope) if field.type == "str"},
    pools=st.lists(POOLS, min_size=1, max_size=3).map(tuple),
    gpu=st.builds(GpuExpectation, TEXT, TEXT, st.integers(0, 16), st.integers(0, 10**6)),
    gpus=st.integers(0, 1024),
    hours=st.integers(0, 999),
    max_price_per_hour=st.none() | st.floats(0, 1e4, allow_nan=False),
)


def problems(**changes: Any) -> dict[str, str]:
    """What is wrong with the good draft once these fields are changed, by field."""
    with pytest.raises(Invalid) as invalid:
        check_draft(dataclasses.replace(DRAFT, **changes), TEAM, CATALOGUE)
    return {problem.field: problem.message for problem in invalid.value.problems}


def test_a_good_draft_becomes_a_spec() -> None:
    spec = check_draft(dataclasses.replace(DRAFT, hours="8h", reason="  <!channel> & co  "), TEAM, CATALOGUE)
    assert (spec.name, spec.gpus, spec.hours, spec.reason) == ("train-a", 1, 8, "<!channel> & co")
    assert (spec.team, spec.target) == ("default", "default")
    assert spec_from_json(to_json(spec)) == spec


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("preset", "", "No preset was chosen. Choose one of: starter."),
        ("preset", "startr", "no preset “startr”"),
        ("preset", "STARTER", "no preset “STARTER”"),
        ("gpus", "", "a whole number from 1 to 64"),
        ("gpus", "0", "a whole number from 1 to 64"),
        ("gpus", "-1", "a whole number from 1 to 64"),
        ("gpus", "65", "a whole number from 1 to 64"),
        ("gpus", "10000", "a whole number from 1 to 64"),
        ("gpus", "10,000", "“10,000” will not do"),
        ("gpus", "1.5", "a whole number"),
        ("gpus", "1e1", "a whole number"),
        ("gpus", "²", "a whole number"),
        ("gpus", "٣", "a whole number"),
        ("gpus", "9" * 5000, "a whole number"),
        ("gpus", "eight", "a whole number"),
        ("hours", "0", "a whole number from 1 to 72"),
        ("hours", "73", "a whole number from 1 to 72"),
        ("hours", "h", "a whole number from 1 to 72"),
        ("hours", "8hh", "a whole number"),
        ("hours", "1d", "a whole number"),
        ("reason", "", "Say what it is for"),
        ("reason", " \n\t", "Say what it is for"),
        ("reason", "x" * 301, "301 characters long; 300 at most"),
        ("name", "", "2 to 30 characters"),
    ],
)
def test_bad_input_names_its_field_and_what_would_do(field: str, value: str, says: str) -> None:
    found = problems(**{field: value})
    assert list(found) == [field]
    assert says in found[field]


def test_all_problems_come_at_once() -> None:
    with pytest.raises(Invalid) as invalid:
        check_draft(Draft(problems=(Problem("line", "--gpu is not known"),)), TEAM, CATALOGUE)
    assert [p.field for p in invalid.value.problems] == ["line", "name", "preset", "gpus", "hours", "reason"]


def test_a_preset_may_allow_fewer_hours_than_the_policy() -> None:
    short = dataclasses.replace(CATALOGUE.presets["starter"], max_hours=4)
    catalogue = dataclasses.replace(CATALOGUE, presets={"starter": short})
    with pytest.raises(Invalid, match="from 1 to 4"):
        check_draft(DRAFT, TEAM, catalogue)


def test_a_team_sees_its_own_presets_only() -> None:
    with pytest.raises(Invalid, match="no preset “starter” for team default"):
        check_draft(DRAFT, dataclasses.replace(TEAM, presets=("other",)), CATALOGUE)


@pytest.mark.parametrize("name", ["ab", "train-a", "a0", "a" * 30, "a--b", "c-abcdef", "c-abcd", "locals"])
def test_names_that_will_do(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "a", "A", "Train", "1a", "-a", "a-", "a_b", "a.b", "a b", "a" * 31, "ab\n", "é-a", "a/b", "<!channel>"],
)
def test_names_that_rancher_or_a_host_name_would_refuse(name: str) -> None:
    assert "2 to 30 characters" in str(name_problem(name))


@pytest.mark.parametrize("name", ["local", "c-abcde", "c-00000"])
def test_names_that_rancher_keeps_for_itself(name: str) -> None:
    assert "keeps for itself" in str(name_problem(name))


@given(st.text(max_size=40))
def test_no_name_passes_that_is_no_dns_label(name: str) -> None:
    if name_problem(name) is None:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
        assert name[0].isalpha()
        assert name[-1] != "-"
        assert 2 <= len(name) <= 30


@given(ENVELOPES)
def test_the_digest_is_stable_under_a_round_trip_through_the_store(envelope: Envelope) -> None:
    again = envelope_from_json(to_json(envelope))
    assert again == envelope
    assert again.digest() == envelope.digest()


def changed(value: Any, draw: st.DataObject) -> Any:
    """The value with one thing in it changed."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case None:
            return 1.0
        case tuple():
            place = draw.draw(st.integers(-1, len(value) - 1), "place")
            if place >= 0:
                return (*value[:place], changed(value[place], draw), *value[place + 1 :])
            return (*value, *value[:1]) if value else (Taint("k", "v"),)
        case _:
            field = draw.draw(st.sampled_from(dataclasses.fields(value)), "field").name
            return dataclasses.replace(value, **{field: changed(getattr(value, field), draw)})


@given(ENVELOPES, st.data())
def test_the_digest_differs_when_any_one_thing_differs(envelope: Envelope, data: st.DataObject) -> None:
    assert changed(envelope, data).digest() != envelope.digest()


@given(ENVELOPES)
def test_the_order_of_pools_is_part_of_what_is_approved(envelope: Envelope) -> None:
    turned = dataclasses.replace(envelope, pools=envelope.pools[::-1])
    assert (turned.digest() == envelope.digest()) == (turned.pools == envelope.pools)


def test_checks_survive_the_store() -> None:
    checks = (Check("AWS account", "ok", "123"), Check("zone", "no", "none", "choose"))
    assert checks_from_json("[" + ",".join(map(to_json, checks)) + "]") == checks
    assert checks_from_json("") == ()
    assert Preflight(checks).refusals == checks[1:]


def test_the_team_is_that_of_the_person_then_of_the_channel() -> None:
    by_person = dataclasses.replace(TEAM, name="a", leads=("UA",), members=("UB",), channels=())
    by_channel = dataclasses.replace(TEAM, name="b", leads=(), members=(), channels=("CB",))
    catalogue = dataclasses.replace(CATALOGUE, teams={"b": by_channel, "a": by_person})
    asked = [catalogue.team_of(user, "CB").name for user in ("UA", "UB", "UC")]
    assert asked == ["a", "a", "b"]
    assert catalogue.team_of("UC", "CX").name == "b"
    assert CATALOGUE.team_of("UC", "CX").name == "default"
