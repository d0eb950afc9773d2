"""A node with several GPUs: how fast they copy to one another, and that one bad GPU closes all."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bot.core.changes import Verify
from bot.core.records import ClusterState, Kind, RequestState
from bot.core.spec import GpuExpectation
from bot.core.story import Story
from bot.core.verification.verdict import Report, judge, judge_node, report_from_json, report_to_json
from bot.verify import table
from handlers.views.files import attachments
from handlers.views.outcome import outcome
from handlers.views.page import Page
from handlers.views.render import MOST_ROWS, render
from handlers.views.results import results
from tests.handlers.stories import plain_story

TWO = json.loads((Path(__file__).parents[1] / "probe/fixtures/h100x2-standard.json").read_text())
SENTENCE = "node-1 stays closed as a whole, although 1 of its 2 GPUs passed: the device plugin cannot hold one GPU back"


def pair(*, broken: bool = False, slow: float | None = None, nodes: int = 1) -> Report:
    found = []
    for number in range(1, nodes + 1):
        document: dict[str, Any] = json.loads(json.dumps(TWO))
        for gpu in document["gpus"]:
            gpu["uuid"] = f"{gpu['uuid']}-{number}"
        if broken:
            document["gpus"][1]["errors"] = ["it fell off the bus"]
        if slow is not None:
            document["peers"][1]["gbs"] = slow
        expect = GpuExpectation("p5.48xlarge", "H100", 2, 81920)
        found.append(judge_node(f"node-{number}", f"uid-{number}", json.dumps(document), expect))
    return judge(found, 2 * nodes)


def plain(page: Page) -> str:
    """Everything in its blocks as they are sent."""
    return json.dumps(render(page).blocks, ensure_ascii=False)


def story(report: Report, **changes: Any) -> Story:
    return dataclasses.replace(plain_story(""), state=RequestState.DONE, report=report, **changes)


def test_the_slowest_copy_of_each_gpu_and_node_is_shown_with_numbers() -> None:
    shown = plain(results(story(pair(slow=340.0))))
    assert "377 to GPU 1" in shown and "340 to GPU 0" in shown
    assert "GB/s to other GPUs" in shown and "°C" in shown
    assert "node-1: slowest copy between GPUs 1 → 0, 340 GB/s, 377 on a good pair" in shown
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(table(pair(slow=340.0)))
    assert "340 (377) →0" in console.export_text()


def test_copies_of_many_gpus_are_in_the_csv() -> None:
    (found,) = (a for a in attachments(story(pair(nodes=MOST_ROWS)), {}) if a.name.endswith(".csv"))
    rows = list(csv.DictReader(io.StringIO(found.content.decode())))
    assert {(row["slowest_copy_gbs"], row["slowest_copy_to"]) for row in rows} == {("376.9", "1"), ("377.0", "0")}


def test_copies_come_back_from_the_store_and_may_be_missing_there() -> None:
    report = pair()
    assert report_from_json(report_to_json(report)) == report
    older = json.loads(report_to_json(report))
    for gpu in older["nodes"][0]["gpus"]:
        del gpu["slowest_copy"]
    assert report_from_json(json.dumps(older)).gpus[0].slowest_copy is None


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.VERIFY])
def test_one_bad_gpu_closes_its_node_and_it_is_said_why(kind: Kind) -> None:
    change = Verify("") if kind == Kind.VERIFY else None
    told = story(
        pair(broken=True), kind=kind, change=change, cluster_state=ClusterState.DEGRADED, reason="a GPU is bad"
    )
    assert SENTENCE in plain(outcome(told))
    good = story(pair(), kind=kind, change=change, cluster_state=ClusterState.READY)
    assert "as a whole" not in plain(outcome(good))
