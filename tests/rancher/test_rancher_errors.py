"""Error answers in all their shapes, retries, the token, TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Hands, Reply, Scripted

from bot.core.ports import ChartOrder, Permanent, Refused, Temporary, TokenRefused, WorldError
from bot.rancher import RancherAdapter
from bot.rancher.errors import ApiError, read_error

SETTING = "/v3/settings/rke2-default-version"
ME = Reply(200, {"data": [{"id": "u-bot", "me": True}]})

NORMAN = {"type": "error", "baseType": "error", "status": 422, "code": "MissingRequired", "message": "missing required field", "fieldName": "name"}  # fmt: skip  # noqa: E501
STEVE = {
    "type": "error",
    "links": {},
    "status": 409,
    "code": "Conflict",
    "message": "Operation cannot be fulfilled on x",
}
STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no such thing", "reason": "NotFound", "details": {}, "code": 404}  # fmt: skip  # noqa: E501
GO_STRUCT = {"Code": {"Code": "ClusterUnavailable", "Status": 503}, "Message": "cluster not provisioned", "Cause": None, "FieldName": ""}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (422, NORMAN, "MissingRequired", "missing required field (name)"),
        (409, STEVE, "Conflict", "Operation cannot be fulfilled on x"),
        (404, STATUS, "NotFound", "no such thing"),
        (503, GO_STRUCT, "ClusterUnavailable", "cluster not provisioned"),
        (500, "lost connection\nto cluster", "", "lost connection to cluster"),
        (401, "", "", "Unauthorized"),
        (502, "[1, 2]", "", "[1, 2]"),
    ],
)
def test_every_shape_is_read(status: int, body: object, code: str, message: str) -> None:
    text = Reply(status, body).bytes().decode()
    assert read_error(status, text, "Unauthorized") == ApiError(status, code, message)


def test_a_page_of_html_is_cut() -> None:
    assert len(read_error(502, "<html>" * 500, "").message) < 700


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Permanent),
        (400, Permanent),
        (401, TokenRefused),
        (403, Refused),
        (405, Permanent),
        (409, Temporary),
        (413, Permanent),
        (422, Permanent),
        (429, Temporary),
        (500, Temporary),
        (502, Temporary),
        (503, Temporary),
        (504, Temporary),
    ],
)
def test_what_an_answer_means(server: Scripted, rancher: RancherAdapter, status: int, kind: type[WorldError]) -> None:
    server.on(f"GET {SETTING}", Reply(status, {"message": "its own words"}, {"Location": "/login"}))
    with pytest.raises(WorldError) as raised:
        rancher.default_kubernetes()
    assert type(raised.value) is kind
    assert "its own words" in raised.value.reason
    assert str(status) in raised.value.reason
    assert raised.value.remedy


def test_an_empty_401_of_a_downstream_cluster_is_temporary(server: Scripted, rancher: RancherAdapter) -> None:
    server.on("GET /k8s/clusters/c-m-1/v1/catalog.cattle.io.apps/ns/rel", Reply(401, ""))
    with pytest.raises(Temporary):
        rancher.app("c-m-1", "ns", "rel")


def test_a_get_is_tried_again(server: Scripted, rancher: RancherAdapter) -> None:
    busy = Reply(429, {"message": "slow down"}, {"Retry-After": "0"})
    server.on(f"GET {SETTING}", Reply(503, ""), busy, Reply(200, {"value": "1.34.6+rke2r1"}))
    assert rancher.default_kubernetes() == "v1.34.6+rke2r1"
    assert len(server.calls(f"GET {SETTING}")) == 3


def test_a_post_is_sent_once(server: Scripted, rancher: RancherAdapter) -> None:
    server.on("POST /k8s/clusters/c-m-1/v1/catalog.cattle.io.clusterrepos/nvidia", Reply(503, "no available server"))
    with pytest.raises(Temporary, match="no available server"):
        rancher.install_chart("c-m-1", ChartOrder("nvidia", "gpu-operator", "v1", "rel", "ns", "", {}))
    assert len(server.asked) == 1


def test_a_body_over_rancher_s_limit_is_not_sent(server: Scripted, rancher: RancherAdapter) -> None:
    values = {"text": "x" * (1 << 20)}
    with pytest.raises(Permanent, match="bytes long"):
        rancher.install_chart("c-m-1", ChartOrder("nvidia", "gpu-operator", "v1", "rel", "ns", "", values))
    assert server.asked == []


def test_an_answer_that_is_not_rancher_s(server: Scripted, rancher: RancherAdapter) -> None:
    """A proxy's page, whatever its status, says nothing about what Rancher has."""
    server.on(f"GET {SETTING}", Reply(200, "<html>Welcome</html>"), Reply(404, "<html>Not here</html>"))
    for _ in range(2):
        with pytest.raises(Temporary, match="not Rancher's"):
            rancher.default_kubernetes()


def test_headers(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {SETTING}", Reply(200, {"value": ""}))
    assert rancher.default_kubernetes() == ""
    (asked,) = server.asked
    assert asked.headers["Authorization"] == "Bearer token-bot:secret"
    assert asked.headers["Accept"] == "application/json"
    assert asked.headers["User-Agent"].startswith("gpu-cluster/")


def test_the_token_is_read_again_once_after_a_401(server: Scripted, hands: Hands) -> None:
    tokens = iter(["token-a:old", "token-a:new\n"])
    adapter = RancherAdapter(server.url, lambda: next(tokens), clock=hands)
    server.on(f"GET {SETTING}", Reply(401, ""), Reply(200, {"value": "v1.34.6+rke2r1"}))
    assert adapter.default_kubernetes() == "v1.34.6+rke2r1"
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer token-a:old", "Bearer token-a:new"]
    adapter.close()


def test_the_same_token_is_not_tried_twice(server: Scripted, rancher: RancherAdapter) -> None:
    server.on(f"GET {SETTING}", Reply(401, ""))
    with pytest.raises(TokenRefused):
        rancher.default_kubernetes()
    assert len(server.asked) == 1


@pytest.mark.parametrize("token", ["", " \n", "two words", "token:ü", "token:a\nb"])
def test_a_malformed_token_is_refused_and_not_shown(server: Scripted, hands: Hands, token: str) -> None:
    adapter = RancherAdapter(server.url, token, clock=hands)
    with pytest.raises(Refused, match=r"^RANCHER_TOKEN is not a token\.$"):
        adapter.default_kubernetes()
    assert server.asked == []
    adapter.close()


def test_nobody_listens(hands: Hands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    adapter = RancherAdapter(f"http://127.0.0.1:{port}", "t", clock=hands)
    with pytest.raises(Temporary, match="Connection refused") as raised:
        adapter.default_kubernetes()
    assert "RANCHER_URL" in raised.value.remedy
    adapter.close()


def test_an_address_that_is_none(hands: Hands) -> None:
    adapter = RancherAdapter("rancher.example", "t", clock=hands)
    with pytest.raises(Permanent, match="cannot be asked"):
        adapter.default_kubernetes()
    adapter.close()


def test_a_connection_that_breaks_off_is_temporary(hands: Hands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        adapter = RancherAdapter(f"http://127.0.0.1:{listener.getsockname()[1]}", "t", clock=hands)
        with pytest.raises(Temporary, match="cannot be reached"):
            adapter.default_kubernetes()
        thread.join()
        adapter.close()


@pytest.fixture
def tls(server: Scripted, tmp_path: Path) -> Iterator[tuple[Scripted, Path]]:
    """The stand-in behind a certificate that only its own file vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.secure(context)
    yield server, certificate


def test_a_private_ca_needs_its_bundle(tls: tuple[Scripted, Path], hands: Hands) -> None:
    server, certificate = tls
    server.on(f"GET {SETTING}", Reply(200, {"value": "v1.34.6+rke2r1"}))
    stranger = RancherAdapter(server.url, "t", clock=hands)
    with pytest.raises(Permanent, match="certificate") as raised:
        stranger.default_kubernetes()
    assert "RANCHER_CA_BUNDLE" in raised.value.remedy
    friend = RancherAdapter(server.url, "t", clock=hands, ca_bundle=str(certificate))
    assert friend.default_kubernetes() == "v1.34.6+rke2r1"
    nowhere = RancherAdapter(server.url, "t", clock=hands, ca_bundle=str(certificate) + ".missing")
    with pytest.raises(Permanent, match="RANCHER_CA_BUNDLE"):
        nowhere.default_kubernetes()
    for adapter in (stranger, friend, nowhere):
        adapter.close()
