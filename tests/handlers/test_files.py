"""What was measured, as files: what is in them, that they come once, and that nothing waits for them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image

from bot.core import lifecycle
from bot.core.records import MessageKind, MessageRow
from bot.core.spec import GpuExpectation
from bot.core.story import Story
from bot.core.verification.gpu_models import MODELS
from bot.core.verification.measuring import keep
from bot.core.verification.probe_document import pack
from bot.core.verification.verdict import FAILED, GpuResult, Report, judge, judge_node, report_to_json
from bot.sandbox.slack.blocks import check_blocks
from handlers.publisher import LEASE, LEASE_S, UPLOAD_TRIES
from handlers.sender import NO_UPLOAD_S
from handlers.views.files import Attachment, attachments
from handlers.views.picture import MOST_GPUS, draw
from handlers.views.render import render
from handlers.views.results import results
from tests.handlers.harness import CHANNEL, Bot, all_text
from tests.handlers.stories import plain_story, stories
from tests.handlers.test_publisher import approved, outcome_of

REAL: dict[str, Any] = json.loads((Path(__file__).parent.parent / "probe/fixtures/h100-standard.json").read_text())


def document(gpus: int, **changes: Any) -> str:
    found = [{**REAL["gpus"][0], "index": i, "uuid": f"GPU-{i}", **changes} for i in range(gpus)]
    return json.dumps({**REAL, "gpus": found})


def report(gpus: int = 1, **changes: Any) -> Report:
    expect = GpuExpectation("p5.48xlarge", "", gpus, 0)
    return judge([judge_node("n1", "uid-1", document(gpus, **changes), expect)], gpus)


def measured(bot: Bot, request_id: str, found: Report, log: str = "") -> None:
    """What the engine writes when every node has been measured."""
    facts: dict[str, str] = {"report": report_to_json(found)}
    keep(facts, found.nodes[0])
    if log:
        facts["document:uid-1"] = pack(log)
    with bot.store.transaction() as tx:
        (row,) = (row for row in tx.steps(request_id) if row.kind == "verify@1")
        tx.change(row, facts=json.dumps(facts))
        request = tx.request(request_id)
        assert request is not None
        lifecycle.post(tx, request, MessageKind.RESULTS, bot.clock.now())
        lifecycle.post(tx, request, MessageKind.FILES, bot.clock.now(), urgent=False)
        lifecycle.post(tx, request, MessageKind.OUTCOME, bot.clock.now())
    bot.publisher.wake()


def files_row(bot: Bot, request_id: str) -> MessageRow:
    (row,) = (row for row in bot.messages(request_id) if row.kind == MessageKind.FILES)
    return row


def uploads(bot: Bot) -> dict[str, bytes | None]:
    return {file.name: file.content for file in bot.workspace.files.values() if file.shared}


def settled(bot: Bot, request_id: str, *, seconds: float = 0.0) -> MessageRow:
    """The row when it is sent or given up; at each look so many real seconds have passed."""
    for _ in range(400):
        bot.clock.real_shift += seconds
        row = files_row(bot, request_id)
        if row.sent_rev == row.wanted_rev or row.failed:
            return row
        bot.publisher.wake()
        time.sleep(0.02)
    raise AssertionError(row)


def test_documents_and_picture_come_once_into_the_thread(bot: Bot) -> None:
    request_id, card = approved(bot)
    log = document(1)
    measured(bot, request_id, report(), log)
    assert settled(bot, request_id).failed == ""
    found = uploads(bot)
    assert set(found) == {"train-a-measurements.json", "train-a-gpus.png"}
    whole = json.loads(found["train-a-measurements.json"] or b"")
    assert whole["documents"] == {"n1": json.loads(log)}, "word for word"
    assert (whole["report"]["verdict"], whole["request"]) == ("verified", request_id)
    events = [event for event in bot.workspace.events if event.kind == "file"]
    assert len({event.ts for event in events}) == 1, "one message"
    assert {event.thread_ts for event in events} == {card.ts}
    (picture,) = (f for f in bot.workspace.files.values() if f.name.endswith(".png"))
    assert "Bars for 1 GPU of train-a" in picture.alt
    for _ in range(3):
        bot.publisher.look()
    assert len([event for event in bot.workspace.events if event.kind == "file"]) == 2


def test_whoever_comes_after_a_crash_waits_no_longer_for_an_upload_that_is_over(bot: Bot) -> None:
    request_id, _ = approved(bot)
    measured(bot, request_id, report(), document(1))
    settled(bot, request_id)
    later = bot.clock.real() + LEASE_S + 1
    with bot.store.transaction() as tx:
        assert tx.take_lease(LEASE, "another", real=later, seconds=0.0)


def test_without_the_scope_the_table_comes_and_the_log_says_why(bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
    bot.workspace.missing_scopes.add("files:write")
    request_id, _ = approved(bot)
    with caplog.at_level(logging.ERROR):
        measured(bot, request_id, report(), document(1))
        assert settled(bot, request_id).failed == "missing_scope"
    assert "missing_scope; give the app the scope files:write" in caplog.text
    assert "NVIDIA H100" in all_text(bot.shown("1 of 1 GPU verified"))
    outcome_of(bot)
    assert uploads(bot) == {}


def test_nothing_waits_for_an_upload_that_does_not_work(bot: Bot) -> None:
    bot.workspace.inject("files.getUploadURLExternal", UPLOAD_TRIES - 1, status=503)
    request_id, _ = approved(bot)
    measured(bot, request_id, report(), document(1))
    outcome_of(bot)
    assert settled(bot, request_id, seconds=NO_UPLOAD_S).failed == ""
    assert len(uploads(bot)) == 2


def test_an_upload_is_given_up_in_the_end(bot: Bot) -> None:
    bot.workspace.inject("files.completeUploadExternal", 1000, status=503)
    request_id, _ = approved(bot)
    measured(bot, request_id, report(), document(1))
    assert settled(bot, request_id, seconds=NO_UPLOAD_S).failed == f"no upload in {UPLOAD_TRIES} tries"
    assert bot.workspace.calls["files.completeUploadExternal"] == UPLOAD_TRIES


# --- what is in them ------------------------------------------------------------------------------------------


def told(found: Report) -> Story:
    story = plain_story("try it")
    return dataclasses.replace(story, cluster="train-a", report=found)


def named(files: tuple[Attachment, ...], end: str) -> Attachment:
    (found,) = (file for file in files if file.name.endswith(end))
    return found


def test_a_table_that_is_cut_off_has_a_csv_beside_it_with_the_worst_first() -> None:
    found = report(150)
    node = found.nodes[0]
    bad = dataclasses.replace(node.gpus[140], verdict=FAILED, reasons=("=cmd|' /C calc'!A0",), name="=H100")
    gpus = tuple(bad if gpu.index == 140 else gpu for gpu in node.gpus)
    story = told(dataclasses.replace(found, good=149, nodes=(dataclasses.replace(node, gpus=gpus),)))
    page = results(story)
    (table,) = (b for b in render(page).blocks if b["type"] == "table")
    assert len(table["rows"]) == 100
    assert table["rows"][1][0]["text"] == "n1/140"
    assert "The worst 99 of 150 rows; all are in the CSV below." in str(page)
    rows = list(csv.DictReader(io.StringIO(named(attachments(story, {}), ".csv").content.decode())))
    assert len(rows) == 150
    assert (rows[0]["index"], rows[0]["verdict"], rows[0]["model"]) == ("140", "failed", "'=H100")
    assert rows[0]["reasons"].startswith("'="), "no formula for a spreadsheet"
    assert float(rows[0]["device"]) == pytest.approx(3016, rel=0.01)
    assert float(rows[0]["device_expected"]) == 3016.0


def test_a_thousand_rows_fit_in_both_renderings() -> None:
    rendered = render(results(told(report(1_000))))
    for blocks in (rendered.blocks, rendered.plain_blocks):
        assert check_blocks(list(blocks), "message") == []
    assert "of 1,000 rows" in str(rendered.blocks)


def colours(png: bytes) -> set[tuple[int, ...]]:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return {colour for _, colour in image.getcolors(1 << 20) or [] if isinstance(colour, tuple)}


def test_the_picture_shows_good_and_bad_and_what_is_unrated() -> None:
    good, bad, unrated = (43, 122, 75), (179, 38, 30), (142, 163, 181)
    slow = {**REAL["gpus"][0]["bandwidth_gbs"], "device": 2000.0}
    assert good in colours(draw("a", report()))
    assert not {bad, unrated} & colours(draw("a", report()))
    assert bad in colours(draw("a", report(bandwidth_gbs=slow)))
    assert unrated in colours(draw("a", report(name="Tesla T4")))


def test_the_picture_stays_of_a_size_to_look_at() -> None:
    image = Image.open(io.BytesIO(draw("a", report(60))))
    assert image.height < 2 * (MOST_GPUS + 6) * 34
    assert len(draw("a", report(MOST_GPUS))) < 400_000


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_model_has_its_picture(model: Any) -> None:
    name = model.pattern.replace("\\b", "").replace("$", "")
    gpu: GpuResult = report(name=f"NVIDIA {name}").gpus[0]
    assert draw("a", report(name=f"NVIDIA {name}")).startswith(b"\x89PNG")
    assert gpu.performance in ("good", "unrated", "low", "bad")


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(stories())
def test_whatever_was_measured_files_can_be_made_of_it(story: Story) -> None:
    for file in attachments(story, {}):
        assert file.content
    assert (attachments(story, {}) == ()) == (story.report is None)


def test_files_row_is_for_the_thread(bot: Bot) -> None:
    """A channel that is closed keeps files, too, until it is open again."""
    request_id, _ = approved(bot)
    channels = bot.workspace.channels
    open_to_us = channels[CHANNEL]
    channels[CHANNEL] = dataclasses.replace(open_to_us, members=open_to_us.members - {"U0BOT"})
    measured(bot, request_id, report(), document(1))
    time.sleep(0.3)
    assert files_row(bot, request_id).sent_rev == 0
    channels[CHANNEL] = open_to_us
    bot.clock.real_shift += 301
    assert settled(bot, request_id).failed == ""
