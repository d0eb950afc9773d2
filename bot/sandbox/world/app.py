"""The world over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from aiohttp import web

from bot.sandbox.world.kube.api import Call, Exec, Reply, Watch
from bot.sandbox.world.kube.objects import Change, ObjectStore
from bot.sandbox.world.world import World

_BODY_LIMIT = 1024**2  # setting public-api-body-limit
_WATCH_SECONDS = 1800.0


def make_app(world: World) -> web.Application:
    """Rancher on every path, and the sandbox's own below ``/sandbox``; time passes while it runs."""
    app = web.Application(client_max_size=_BODY_LIMIT)
    watching: set[asyncio.Queue[Change | None]] = set()

    async def run(_: web.Application) -> AsyncIterator[None]:
        world.start()
        yield
        await world.stop()

    async def end_watches(_: web.Application) -> None:
        for queue in watching:
            queue.put_nowait(None)

    async def calls(_: web.Request) -> web.Response:
        return web.json_response(world.call_counts())

    async def state(_: web.Request) -> web.Response:
        world.advance()
        return web.json_response(world.describe())

    async def rancher(request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            exclude=tuple(request.query.getall("exclude", ())),
            command=tuple(request.query.getall("command", ())),
            content_type=request.headers.get("Content-Type", ""),
            body=await request.read(),
            now=world.engine.now,
        )
        answer = world.handle(call, request.headers.get("Authorization", ""))
        if isinstance(answer, Reply):
            return _response(answer)
        if isinstance(answer, Exec):
            return await _execute(request, answer)
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        watching.add(queue)
        try:
            return await _stream(request, answer, queue)
        finally:
            watching.discard(queue)

    app.cleanup_ctx.append(run)
    app.on_shutdown.append(end_watches)
    app.router.add_get("/sandbox/rancher/calls", calls)
    app.router.add_get("/sandbox/world", state)
    app.router.add_route("*", "/{path:.*}", rancher)
    return app


def _response(reply: Reply) -> web.Response:
    body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
    return web.Response(status=reply.status, text=body, content_type=reply.content_type)


async def _execute(request: web.Request, done: Exec) -> web.StreamResponse:
    """What a command printed (channel 1) and how it ended (channel 3), as kubectl exec gets it
    (kubernetes/kubernetes: staging/src/k8s.io/apimachinery/pkg/util/remotecommand)."""
    socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
    if not socket.can_prepare(request):
        return web.Response(status=400, text="Upgrade request required")
    await socket.prepare(request)
    status: dict[str, object] = {"metadata": {}, "status": "Success"}
    if done.exit_code:
        causes = [{"reason": "ExitCode", "message": str(done.exit_code)}]
        status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}
    await socket.send_bytes(b"\x01" + done.output.encode())
    await socket.send_bytes(b"\x03" + json.dumps(status).encode())
    await socket.close()
    return socket


async def _stream(request: web.Request, watch: Watch, queue: asyncio.Queue[Change | None]) -> web.StreamResponse:
    """Serve a watch until its time is over, the client leaves or a None comes through the queue."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    unsubscribe = watch.store.subscribe(queue.put_nowait)
    end = time.monotonic() + float(watch.query.get("timeoutSeconds") or _WATCH_SECONDS)
    try:
        await response.prepare(request)
        for change in _backlog(watch, watch.store):
            await _send(response, change)
        while (left := end - time.monotonic()) > 0:
            news = await asyncio.wait_for(queue.get(), left)
            if news is None:
                break
            if watch.sees(news):
                await _send(response, news)
    except (TimeoutError, ConnectionError):
        pass  # the watch's own end
    finally:
        unsubscribe()
    return response


def _backlog(watch: Watch, store: ObjectStore) -> list[Change]:
    """What the client has not seen: changes after its revision, or everything that is there."""
    if watch.revision is not None:
        return [c for c in store.history if c.revision > watch.revision and watch.sees(c)]
    present = [Change("ADDED", watch.kind, obj, store.revision) for obj in store.all(watch.kind)]
    return [change for change in present if watch.sees(change)]


async def _send(response: web.StreamResponse, change: Change) -> None:
    line = json.dumps({"type": change.type, "object": change.obj})
    await response.write(line.encode() + b"\n")
