"""HTTP mode: signed requests that slack_bolt itself verifies, the challenge first, three seconds to answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from slack_bolt import Ack, App, BoltRequest
from slack_sdk import WebClient

from bot.sandbox.slack import Delivery, SlackServer, Workspace

SECRET = "signing-secret"


def bolt_app(api_url: str, signing_secret: str, received: list[dict[str, Any]]) -> App:
    client = WebClient("xoxb-sandbox-0000", base_url=api_url)
    app = App(client=client, signing_secret=signing_secret, token_verification_enabled=False)

    def on_command(ack: Ack, body: dict[str, Any]) -> None:
        received.append(body)
        ack("on it")

    def on_click(ack: Ack, body: dict[str, Any]) -> None:
        received.append(body)
        ack()

    def on_mention(body: dict[str, Any]) -> None:
        received.append(body)

    app.command("/gpu-cluster")(on_command)
    app.action("approve")(on_click)
    app.event("app_mention")(on_mention)
    return app


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """A request URL answered by ``handler``."""
    app = web.Application()
    app.router.add_post("/slack/events", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def bolt_behind(
    signing_secret: str, received: list[dict[str, Any]]
) -> AsyncIterator[tuple[Workspace, list[str]]]:
    """A workspace in HTTP mode with a real Bolt app at its request URL, and the bodies it was sent."""
    bodies: list[str] = []
    apps: list[App] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.text()
        bodies.append(body)
        bolt_request = BoltRequest(body=body, headers=dict(request.headers))
        answer = await asyncio.to_thread(apps[0].dispatch, bolt_request)
        return web.Response(
            status=answer.status, text=answer.body, content_type=answer.first_headers()["content-type"].split(";")[0]
        )

    async with serving(handle) as url:
        workspace = Workspace(request_url=url, signing_secret=SECRET, retry_seconds=(0.0, 0.0, 0.0))
        async with SlackServer(workspace) as server:
            apps.append(bolt_app(server.api_url, signing_secret, received))
            yield workspace, bodies


def test_bolt_accepts_our_signatures() -> None:
    received: list[dict[str, Any]] = []

    async def play() -> list[Delivery]:
        async with bolt_behind(SECRET, received) as (workspace, bodies):
            button = {"type": "button", "text": {"type": "plain_text", "text": "Go"}, "action_id": "approve"}
            card = await asyncio.to_thread(
                WebClient("xoxb-sandbox-0000", base_url=f"{workspace.base_url}/api/").chat_postMessage,
                channel="C0GPU",
                text="card",
                blocks=[{"type": "actions", "elements": [button]}],
            )
            deliveries = [
                await workspace.slash("U0LEAD", "C0GPU", "list & more"),
                await workspace.click("U0LEAD", "C0GPU", card["ts"], "approve"),
                await workspace.mention("U0LEAD", "C0GPU", "status"),
            ]
            assert json.loads(bodies[0])["type"] == "url_verification"
            assert len(bodies) == 4
            assert workspace.calls["apps.connections.open"] == 0
            return deliveries

    command, click, mention = asyncio.run(play())
    assert (command.acked, command.payload) == (True, {"text": "on it"})
    assert click.acked and mention.acked
    assert received[0]["text"] == "list &amp; more"
    assert received[1]["actions"][0]["action_id"] == "approve"
    assert received[2]["event"]["text"] == "<@U0BOT> status"


def test_another_secret_is_refused() -> None:
    async def play() -> Delivery:
        async with bolt_behind("another-secret", []) as (workspace, _):
            return await workspace.slash("U0LEAD", "C0GPU", "list")

    delivery = asyncio.run(play())
    assert (delivery.acked, delivery.error) == (False, "http_error_401")


def test_a_request_url_has_to_answer_the_challenge() -> None:
    async def wrong(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def play() -> Delivery:
        async with serving(wrong) as url:
            workspace = Workspace(request_url=url, signing_secret=SECRET)
            async with SlackServer(workspace):
                return await workspace.slash("U0LEAD", "C0GPU", "list")

    assert asyncio.run(play()).error == "url_verification_failed"


def test_slow_failing_and_absent_answers() -> None:
    seen: list[str | None] = []

    async def slow_after_challenge(request: web.Request) -> web.Response:
        body = await request.text()
        if "url_verification" in body:
            return web.json_response({"challenge": json.loads(body)["challenge"]})
        seen.append(request.headers.get("X-Slack-Retry-Num"))
        if "slow" in body:
            await asyncio.sleep(1.0)
        return web.Response(status=500)

    async def play() -> list[Delivery]:
        async with serving(slow_after_challenge) as url:
            workspace = Workspace(
                request_url=url, signing_secret=SECRET, ack_seconds=0.5, retry_seconds=(0.0, 0.0, 0.0)
            )
            async with SlackServer(workspace):
                return [
                    await workspace.slash("U0LEAD", "C0GPU", "slow"),
                    await workspace.mention("U0LEAD", "C0GPU", "status"),
                ]

    async def nobody() -> Delivery:
        workspace = Workspace(request_url="http://127.0.0.1:9/", signing_secret=SECRET)
        async with SlackServer(workspace):
            return await workspace.slash("U0LEAD", "C0GPU", "list")

    slow, failing = asyncio.run(play())
    assert (slow.error, failing.error) == ("operation_timeout", "http_error_500")
    assert seen == [None, None, "1", "2", "3"]
    assert asyncio.run(nobody()).error == "dispatch_failed"
