"""The page over real HTTP: its files, what each role sees, gestures, and the live stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from bot.sandbox.slack import SlackServer, Workspace
from bot.sandbox.slack.messages import Message

Visit = Callable[[Workspace, aiohttp.ClientSession], Awaitable[None]]


def visit(check: Visit) -> None:
    """Run ``check`` with a browser-like session on a fresh workspace nobody has connected a bot to."""

    async def play() -> None:
        workspace = Workspace(world_clock=lambda: 1_800_000_000.0, retry_seconds=())
        async with SlackServer(workspace) as server, aiohttp.ClientSession(server.workspace.base_url) as web:
            await check(workspace, web)

    asyncio.run(play())


async def state(web: aiohttp.ClientSession, user: str) -> Any:
    async with web.get("/sandbox/slack/state", params={"as": user}) as answer:
        assert answer.status == 200
        return await answer.json()


async def act(web: aiohttp.ClientSession, **gesture: Any) -> Any:
    async with web.post("/sandbox/slack/act", json=gesture) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def test_the_page_and_everything_it_loads() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        async with web.get("/") as answer:
            page = await answer.text()
            assert answer.content_type == "text/html"
        for name in ("page.css", "page.js", "blocks.js", "mrkdwn.js"):
            async with web.get(f"/sandbox/slack/page/{name}") as answer:
                script = await answer.text()
                assert answer.status == 200
            assert "innerHTML" not in script
            assert name in page or f"./{name}" in script or name in ("blocks.js", "mrkdwn.js")
        assert "https://" not in page
        async with web.get("/sandbox/slack/page/workspace.py") as answer:
            assert answer.status == 404

    visit(check)


def test_each_role_sees_its_own() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        await workspace.say("U0LEAD", "C0GPU", "hello @requester")
        workspace.post(Message("C0GPU", workspace.next_ts(), "U0BOT", "psst", ephemeral_to="U0LEAD"))
        mine, theirs = await state(web, "U0LEAD"), await state(web, "U0BYSTANDER")
        assert [m["text"] for m in mine["messages"]["C0GPU"]] == ["hello <@U0REQUESTER>", "psst"]
        assert [m["text"] for m in theirs["messages"]["C0GPU"]] == ["hello <@U0REQUESTER>"]
        assert [c["id"] for c in mine["channels"] if c["im"]] == ["D0LEAD"]
        assert [role["name"] for role in mine["roles"]] == ["requester", "lead", "second-lead", "bystander"]
        assert mine["clock"]["world"] == 1_800_000_000.0
        async with web.get("/sandbox/slack/state", params={"as": "U0BOT"}) as answer:
            assert answer.status == 400

    visit(check)


def test_the_composer_tells_commands_mentions_and_talk_apart() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        async def say(text: str, **more: str) -> Any:
            return await act(web, **{"as": "U0LEAD", "do": "say", "channel": "C0GPU", "text": text, **more})

        assert await say("good morning") == {"ok": True, "error": None}
        assert (await say("/gpu-cluster list"))["error"] == "dispatch_failed"
        assert (await say("@gpu-cluster status"))["error"] == "dispatch_failed"
        assert (await say("hello", channel="D0LEAD"))["error"] == "dispatch_failed"
        assert (await say("hello", channel="D0REQUESTER"))["refused"] is True
        await say("/dance")
        ts = next(m.ts for m in workspace.messages.values())
        assert (await say("/gpu-cluster list", thread_ts=ts))["error"] == "not_supported_in_threads"
        said = [event.text for event in workspace.events if event.kind in ("message", "command", "ephemeral")]
        assert "/dance is not a valid command." in said
        assert "/gpu-cluster is not supported in threads. Sorry!" in said
        assert "<@U0BOT> status" in said

    visit(check)


def test_refused_gestures_and_forged_forms() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        gesture = {"as": "U0LEAD", "do": "click", "channel": "C0GPU", "ts": "1.2", "action_id": "approve"}
        refused = await act(web, **gesture)
        assert (refused["ok"], refused["refused"]) == (False, True)
        async with web.post("/sandbox/slack/act", data=gesture) as answer:
            assert answer.status == 415, "another site's form cannot act here"
        async with web.post("/sandbox/slack/act", json={"as": "U0LEAD", "do": "dance"}) as answer:
            assert answer.status == 400

    visit(check)


def test_the_stream_tells_of_changes_and_of_the_clock() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        async with asyncio.timeout(5), web.get("/sandbox/slack/stream") as stream:
            assert stream.content_type == "text/event-stream"
            await workspace.say("U0LEAD", "C0GPU", "hello")
            assert await stream.content.readuntil(b"\n\n") == b"event: change\ndata: message\n\n"
            clock = (await stream.content.readuntil(b"\n\n")).decode()
            assert json.loads(clock.removeprefix("event: clock\ndata: "))["world"] == 1_800_000_000.0

    visit(check)


def test_an_open_page_does_not_hold_up_the_end() -> None:
    async def play() -> None:
        workspace = Workspace()
        async with (
            SlackServer(workspace) as server,
            aiohttp.ClientSession(workspace.base_url) as web,
            web.get("/sandbox/slack/stream") as stream,
        ):
            await server.stop()
            assert await stream.content.read() == b"", "the stream ends properly, it is not cut"

    asyncio.run(play())


def test_files_are_for_those_in_the_channel() -> None:
    async def check(workspace: Workspace, web: aiohttp.ClientSession) -> None:
        headers = {"Authorization": f"Bearer {workspace.bot_token}"}

        async def api(method: str, **arguments: Any) -> Any:
            async with web.post(f"/api/{method}", json=arguments, headers=headers) as answer:
                return await answer.json()

        async with web.post(
            "/api/files.getUploadURLExternal", data={"filename": "a.csv", "length": 3}, headers=headers
        ) as got:
            ticket = await got.json()
        async with web.post(ticket["upload_url"], data=b"abc") as answer:
            assert answer.status == 200
        dm = (await api("conversations.open", users="U0LEAD"))["channel"]["id"]
        await api("files.completeUploadExternal", files=[{"id": ticket["file_id"]}], channel_id=dm)
        path = f"/sandbox/slack/file/{ticket['file_id']}"
        async with web.get(path, params={"as": "U0LEAD"}) as answer:
            assert await answer.read() == b"abc"
        async with web.get(path, params={"as": "U0BYSTANDER"}) as answer:
            assert answer.status == 404

    visit(check)
