"""The workspace on an event loop in a thread of its own, for tests and benches that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from bot.sandbox.slack.events import Event
from bot.sandbox.slack.server import SlackServer
from bot.sandbox.slack.workspace import Workspace

T = TypeVar("T")


class ThreadedSlack:
    """``with ThreadedSlack(workspace) as slack: slack.do(workspace.slash(...))``.

    The workspace belongs to the loop's thread: act through :meth:`do`; reading its state is fine.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox-slack", daemon=True)
        self._server = SlackServer(workspace)

    @property
    def api_url(self) -> str:
        """The base URL for Slack clients."""
        return f"{self.workspace.base_url}/api/"

    def do(self, work: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        """Run ``work`` on the workspace's loop and return its result; TimeoutError after ``timeout`` seconds."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def wait_for(self, predicate: Callable[[Event], bool], timeout: float = 5.0, since: int = 0) -> Event:
        """:meth:`Workspace.wait_for` from another thread."""
        return self.do(self.workspace.wait_for(predicate, timeout, since), timeout + 1)

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self._server.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
