"""The workspace on a port: Web API, Socket Mode, response URLs, uploads and the page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

from bot.sandbox.slack import files, page, responses, webapi
from bot.sandbox.slack.errors import SlackError
from bot.sandbox.slack.workspace import Workspace

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes(workspace: Workspace) -> list[web.RouteDef]:
    """Everything to mount at the root of a server; whoever mounts it closes the workspace at shutdown."""

    def here(handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            workspace.base_url = workspace.base_url or str(request.url.origin())
            return await handler(request)

        return handle

    async def api(request: web.Request) -> web.StreamResponse:
        return await webapi.call(workspace, request)

    async def respond(request: web.Request) -> web.StreamResponse:
        return await responses.respond(workspace, request)

    async def upload(request: web.Request) -> web.StreamResponse:
        try:
            files.receive(workspace, request.match_info["file"], await request.read())
        except SlackError as error:
            return web.Response(status=400, text=error.code)
        return web.Response(text="OK")

    async def calls(request: web.Request) -> web.StreamResponse:
        return web.json_response(dict(workspace.calls))

    return [
        web.post("/api/{method}", here(api)),
        web.get("/link", workspace.socket_mode.handler),
        web.post("/response/{token}", here(respond)),
        web.post("/upload/{file}", here(upload)),
        web.get("/sandbox/slack/calls", calls),
        *page.routes(workspace),
    ]


def make_app(workspace: Workspace) -> web.Application:
    """An application that serves the workspace and closes it at shutdown."""

    async def close(_: web.Application) -> None:
        await workspace.close()

    app = web.Application(client_max_size=32 * 1024 * 1024)
    app.add_routes(routes(workspace))
    app.on_shutdown.append(close)
    return app


class SlackServer:
    """The workspace listening on loopback. ``async with SlackServer(workspace) as server`` starts and stops it."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._runner = web.AppRunner(make_app(workspace), shutdown_timeout=1.0)

    async def start(self, port: int = 0) -> str:
        """Listen on ``port`` (0: any free one) and return the page's address."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host, bound = self._runner.addresses[0][:2]
        self.workspace.base_url = f"http://{host}:{bound}"
        return self.workspace.base_url

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        """The base URL for Slack clients."""
        return f"{self.workspace.base_url}/api/"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
