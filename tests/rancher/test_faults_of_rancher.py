"""What is not Rancher's word is not believed: login pages, answers cut short, types that are not there yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from living import REQUEST, Living
from scripted import Reply, Scripted
from test_rancher_requests import ENVELOPE, ONE

from bot.core.ports import Foreign, Temporary
from bot.rancher import RancherAdapter

LOGIN = "\n<!DOCTYPE html><html><body>Log in</body></html>"
CUT = '{"data": [{"id": "fleet-default/tr'
CONFIGS = "/v1/rke-machine-config.cattle.io.amazonec2configs"
BINDINGS = "/v3/clusterroletemplatebindings"

#: What is asked, and the calls that answer strangely.
ASKED: list[tuple[Callable[[RancherAdapter], object], tuple[str, ...]]] = [
    (lambda r: r.ensure_machine_config(ENVELOPE, ENVELOPE.pools[0], "r-1"), (f"POST {CONFIGS}",)),
    (lambda r: r.size_pools(ENVELOPE, ENVELOPE.pools[:1], "r-1"), (f"GET {ONE}",)),
    (lambda r: r.delete_cluster("train-a", ("r-1",)), (f"GET {ONE}",)),
    (lambda r: r.observe("train-a", newer_than=0), ("GET /v1/provisioning.cattle.io.clusters/fleet-default",)),
    (lambda r: r.bind_role("c-m-1", "local://u-1", "cluster-member"), (f"GET {BINDINGS}",)),
    (lambda r: r.app("c-m-1", "ns", "rel"), ("GET /k8s/clusters/c-m-1/v1/catalog.cattle.io.apps/ns/rel",)),
    (lambda r: r.about(), ("GET /rancherversion",)),
]


@pytest.mark.parametrize("strange", [Reply(200, LOGIN), Reply(201, LOGIN), Reply(200, CUT), Reply(200, "")])
@pytest.mark.parametrize(("ask", "calls"), ASKED)
def test_an_answer_that_is_no_rancher_s_is_an_outage(
    server: Scripted,
    rancher: RancherAdapter,
    ask: Callable[[RancherAdapter], object],
    calls: tuple[str, ...],
    strange: Reply,
) -> None:
    for call in calls:
        server.on(call, strange)
    with pytest.raises(Temporary, match="not Rancher's"):
        ask(rancher)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_proxy_s_refusal_is_none_of_rancher_s(server: Scripted, rancher: RancherAdapter, status: int) -> None:
    """Or a credential would be missing, a cluster gone, the token expired."""
    for path in ("/v3/cloudcredentials/cattle-global-data:cc-1", "/v1/management.cattle.io.clusters/c-m-1"):
        server.on(f"GET {path}", Reply(status, LOGIN))
    with pytest.raises(Temporary, match="not Rancher's"):
        rancher.has_credential("cattle-global-data:cc-1")
    with pytest.raises(Temporary, match="not Rancher's"):
        rancher.management_cluster_gone("c-m-1")


def test_a_delete_that_a_login_page_answers_was_not_heard(server: Scripted, rancher: RancherAdapter) -> None:
    there = {"metadata": {"name": "train-a", "labels": {"gpu-cluster/request": "r-1"}}}
    server.on(f"GET {ONE}", Reply(200, there))
    server.on(f"DELETE {ONE}", Reply(200, LOGIN), Reply(200, there))
    with pytest.raises(Temporary):
        rancher.delete_cluster("train-a", ("r-1",))
    rancher.delete_cluster("train-a", ("r-1",))


@pytest.mark.parametrize("path", [CONFIGS, "/v1/provisioning.cattle.io.clusters"])
def test_a_type_that_is_404_for_minutes_after_an_upgrade_is_waited_for(
    server: Scripted, rancher: RancherAdapter, path: str
) -> None:
    body = {"type": "error", "status": 404, "code": "NotFound", "message": "schema not found"}
    server.on(f"POST {path}", Reply(404, body))
    with pytest.raises(Temporary, match="does not know"):
        if path == CONFIGS:
            rancher.ensure_machine_config(ENVELOPE, ENVELOPE.pools[0], "r-1")
        else:
            rancher.ensure_cluster(ENVELOPE, "r-1")


def test_a_post_that_timed_out_and_was_heard_is_found_again(living: Living) -> None:
    living.order(living.envelope())
    living.order(living.envelope())
    assert living.world.call_counts()["management"]["POST /v1/provisioning.cattle.io.clusters"] == 2
    with pytest.raises(Foreign):
        living.order(living.envelope(), "r-other")
    assert living.rancher.observe("train-a", newer_than=0) is not None
    assert REQUEST


def test_every_row_of_the_table_names_tests_that_there_are() -> None:
    root = Path(__file__).parent.parent
    table = (root.parent / "docs" / "rancher.md").read_text()
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", table)
    assert len(named) >= 30
    files = {path.stem: path.read_text() for path in root.rglob("test_*.py")}
    missing = [f"{file}.{test}" for file, test in named if f"def {test}(" not in files.get(file, "")]
    assert missing == []
