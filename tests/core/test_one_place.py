"""Where GPU machines stand in several pools, what looks at the first only is refused: it might buy too many."""

from __future__ import annotations

import json

import pytest

from bot.core import lifecycle
from bot.core.changes import Replace, Scale
from bot.core.conflict import Conflict
from bot.core.kinds import rules_of
from bot.core.places import moved
from tests.core.stage import DRAFT, Stage


def elsewhere(stage: Stage, request_id: str) -> None:
    """As after the second place's turn."""
    with stage.store.transaction() as tx:
        row = next(row for row in tx.steps(request_id) if row.kind.startswith("machines@"))
        facts = json.loads(row.facts)
        placing = json.loads(facts["placing"]) | {"place": 1}
        tx.change(row, facts=json.dumps(facts | {"placing": json.dumps(placing)}))


def home(stage: Stage) -> str:
    with stage.store.reading() as tx:
        cluster = tx.living_cluster(DRAFT.name)
        assert cluster is not None
        return tx.requests_of(cluster.id)[0].id


@pytest.mark.parametrize("change", [Scale("gpu", 2), Replace()])
def test_scale_and_replace(ready: Stage, change: Scale | Replace) -> None:
    elsewhere(ready, home(ready))
    with pytest.raises(Conflict, match="stand in other places than the first"):
        ready.desk.ask_change(ready.ask(), DRAFT.name, change)


def test_retry(stage: Stage) -> None:
    request_id = stage.running()
    stage.look(4)
    with stage.store.transaction() as tx:
        request = tx.request(request_id)
        assert request is not None
        failed = lifecycle.fail(tx, request, reason="r", remedy="m", diagnosis=(), incident="i-1", at=stage.clock.now())
        rules_of(failed.kind).failed(tx, failed, "r", stage.clock.now())
    elsewhere(stage, request_id)
    with pytest.raises(Conflict, match="stand in other places than the first"):
        stage.desk.retry(stage.ask(), DRAFT.name)


def test_one_place_is_no_obstacle() -> None:
    assert not moved({})
    assert not moved({"placing": json.dumps({"place": 0})})
