"""The bot's own token: taken over from its file without a restart, and people told in time and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from living import REQUEST, Living
from scripted import Hands, Reply, Scripted

from bot.core.bot_token import BotToken
from bot.core.ports import Refused, Temporary, TokenRefused
from bot.kube import KubeCluster
from bot.rancher import RancherAdapter

EXT, NORMAN = ("ext/bot-1:first", "ext/bot-2:second"), ("token-bot1:first", "token-bot2:second")


@pytest.mark.parametrize(("version", "keys"), [("2.15", EXT), ("2.13", EXT), ("2.15", NORMAN), ("2.11", NORMAN)])
def test_a_token_is_changed_while_a_cluster_is_made(
    make_living: Callable[..., Living], tmp_path: Path, version: str, keys: tuple[str, str]
) -> None:
    """The old one is taken back between two looks: all that comes after uses the new one, and nobody notices."""
    first, second = keys
    living = make_living(version=version, token=first)
    file = tmp_path / "token"
    file.write_text(first + "\n")
    token = BotToken(file.read_text, living.hand, mend="put it into the file")
    rancher = RancherAdapter(living.url, token, clock=living.hand)
    envelope, gateway = living.envelope(), living.world.gateway
    for pool in envelope.pools[:1]:
        rancher.ensure_machine_config(envelope, pool, REQUEST)

    gateway.tokens.issue(second, days=30)
    file.write_text(second)
    gateway.tokens.revoke(first)
    for pool in envelope.pools[1:]:
        rancher.ensure_machine_config(envelope, pool, REQUEST)
    rancher.ensure_cluster(envelope, REQUEST)
    living.forward(600)
    view = rancher.observe("train-a", newer_than=living.hand.real())
    assert view is not None and view.connected
    assert rancher.about().token_expires_at == pytest.approx(living.clock.now() - 600 + 30 * 86400, abs=60)
    assert token.refused_since is None

    # The cluster's own client, which was made with the second, meets a third.
    kube = KubeCluster(living.url, token, view.management_id, clock=living.hand, nodes_s=0.0)
    there = len(kube.nodes())
    third = second.replace("second", "third")
    gateway.tokens.issue(third)
    file.write_text(third)
    gateway.tokens.revoke(second)
    assert len(kube.nodes()) == there > 0
    living.forward(5)
    assert rancher.observe("train-a", newer_than=living.hand.real()) is not None
    rancher.close()
    kube.close()


def test_while_it_is_refused_everything_says_since_when_and_what_to_do(living: Living, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(living.token)
    token = BotToken(file.read_text, living.hand, mend=f"put it into {file}")
    rancher = RancherAdapter(living.url, token, clock=living.hand)
    living.order(living.envelope())
    living.forward(600)
    view = rancher.observe("train-a", newer_than=0)
    assert view is not None
    kube = KubeCluster(living.url, token, view.management_id, clock=living.hand)
    living.forward(90 * 86400)
    began = living.clock.now()
    with pytest.raises(TokenRefused) as first:
        rancher.observe("train-a", newer_than=living.hand.real())
    assert token.refused_since == pytest.approx(began, abs=5)
    living.forward(86400)
    for ask in (lambda: rancher.delete_cluster("train-a", (REQUEST,)), kube.nodes, lambda: rancher.app("c", "n", "r")):
        with pytest.raises(TokenRefused) as later:
            ask()
        assert first.value.reason.partition(" (")[0] in later.value.reason
        assert str(file) in later.value.remedy
        assert "secret" not in later.value.reason + later.value.remedy
    file.write_text("token-new:secret")
    living.world.gateway.tokens.issue("token-new:secret")
    assert kube.nodes()
    rancher.delete_cluster("train-a", (REQUEST,))
    assert token.refused_since is None
    rancher.close()
    kube.close()


def test_half_a_token_in_the_file_changes_nothing(hands: Hands) -> None:
    source = iter(["token-a:1", "", "two words", "token-b:2"])
    token = BotToken(lambda: next(source), hands)
    assert (token.current(), token.refresh(), token.refresh()) == ("token-a:1", False, False)
    assert (token.current(), token.refresh(), token.current()) == ("token-a:1", True, "token-b:2")


def test_a_file_that_cannot_be_read_now_is_read_later(hands: Hands) -> None:
    answers: list[str | Temporary] = ["token-a:1", Temporary("the file is gone"), "token-b:2"]

    def source() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Temporary):
            raise answer
        return answer

    token = BotToken(source, hands)
    assert not token.replaced(token.current())
    assert token.replaced("token-a:1")
    assert token.current() == "token-b:2"


def test_a_token_that_never_was_one_is_no_outage(hands: Hands) -> None:
    with pytest.raises(Refused, match="is not a token"):
        BotToken("two words", hands).current()


def test_a_page_that_says_200_is_no_proof(server: Scripted, hands: Hands) -> None:
    token = BotToken("token-a:1", hands)
    rancher = RancherAdapter(server.url, token, clock=hands)
    server.on("GET /v3/settings/rke2-default-version", Reply(401, ""), Reply(200, "<html>log in</html>"), Reply(200))
    with pytest.raises(TokenRefused):
        rancher.default_kubernetes()
    with pytest.raises(Temporary, match="not Rancher's"):
        rancher.default_kubernetes()
    assert token.refused_since is not None
    rancher.default_kubernetes()
    assert token.refused_since is None
    rancher.close()
