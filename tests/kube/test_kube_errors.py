"""What the proxy and the API server answer when they do not answer."""

from __future__ import annotations

import socket

import pytest
from scripted import Hands, Reply, Scripted

from bot.core.ports import Permanent, Refused, Temporary, WorldError
from bot.kube import KubeCluster

BASE = "/k8s/clusters/c-m-1"
VERSION = f"GET {BASE}/version/"
STATUS = {"kind": "Status", "status": "Failure", "message": "its own words", "reason": "Whatever", "code": 422}
GO_STRUCT = {"Code": {"Code": "ClusterUnavailable", "Status": 503}, "Message": "cluster not provisioned"}


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(400, STATUS), Permanent, "its own words"),
        (Reply(401, ""), Temporary, "Unauthorized"),
        (Reply(403, STATUS), Refused, "its own words"),
        (Reply(404, "404 page not found\n"), Permanent, "404 page not found"),
        (Reply(409, STATUS), Temporary, "its own words"),
        (Reply(422, STATUS), Permanent, "its own words"),
        (Reply(429, STATUS, {"Retry-After": "60"}), Temporary, "its own words"),
        (Reply(500, "unable to create impersonator account: busy"), Temporary, "impersonator account"),
        (Reply(502, ""), Temporary, "Bad Gateway"),
        (Reply(503, GO_STRUCT), Temporary, "cluster not provisioned"),
        (Reply(504, STATUS), Temporary, "its own words"),
        (Reply(200, "<html>Welcome</html>"), Temporary, "no JSON object"),
    ],
)
def test_what_an_answer_means(
    server: Scripted, kube: KubeCluster, reply: Reply, kind: type[WorldError], words: str
) -> None:
    server.on(VERSION, reply)
    with pytest.raises(WorldError) as raised:
        kube.version()
    assert type(raised.value) is kind
    assert words in raised.value.reason
    assert raised.value.remedy
    assert len(server.asked) == 1, "the engine decides when to try again, not the client"


def test_nobody_listens(hands: Hands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    kube = KubeCluster(f"http://127.0.0.1:{port}", "t", "c-m-1", clock=hands)
    with pytest.raises(Temporary, match="cannot be reached: Failed to establish a new connection"):
        kube.version()
    kube.close()


def test_the_token_is_read_again_after_a_401(server: Scripted, hands: Hands) -> None:
    tokens = iter(["token-a:old", "token-a:new\n", "token-a:new\n"])
    kube = KubeCluster(server.url + "/", lambda: next(tokens), "c-m-1", clock=hands)
    server.on(VERSION, Reply(401, ""), Reply(200, {"gitVersion": "v1.34.6+rke2r1"}), Reply(401, ""))
    assert kube.version() == "v1.34.6+rke2r1"
    with pytest.raises(Temporary):
        kube.version()
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == ["Bearer token-a:old", "Bearer token-a:new", "Bearer token-a:new"]
    assert server.asked[0].headers["User-Agent"].startswith("gpu-cluster/")
    kube.close()


def test_a_malformed_token_is_refused_and_not_shown(server: Scripted, hands: Hands) -> None:
    with pytest.raises(Refused, match=r"^RANCHER_TOKEN is not a token\.$"):
        KubeCluster(server.url, "two words", "c-m-1", clock=hands)


def test_tls_that_cannot_be_trusted_is_permanent(server: Scripted, hands: Hands) -> None:
    kube = KubeCluster(server.url.replace("http:", "https:"), "t", "c-m-1", ca_bundle="/nowhere.pem", clock=hands)
    with pytest.raises(Permanent, match="No such file") as raised:
        kube.version()
    assert "RANCHER_CA_BUNDLE" in raised.value.remedy
    kube.close()
