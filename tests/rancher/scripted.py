"""A listening stand-in that answers by script and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """`body` is sent as it is when it is text, else as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def bytes(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


Answer = Reply | Callable[[Asked], Reply]


class Scripted:
    """Answers "METHOD /path" with the replies given for it, in turn, the last one for ever; 404 for all else."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[str, list[Answer]] = defaultdict(list)
        self._lock = threading.Lock()
        self._scheme = "http://127.0.0.1"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}:{self._server.server_port}"

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on; the handshake happens in the thread of the connection."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._scheme = "https://localhost"

    def on(self, call: str, *answers: Answer) -> None:
        """Answer `call` ("GET /v3/users") with these, instead of what was said before."""
        self._script[call] = list(answers)

    def calls(self, call: str) -> list[Asked]:
        return [asked for asked in self.asked if f"{asked.method} {asked.path}" == call]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            script = self._script.get(f"{asked.method} {asked.path}", [])
            answer = script.pop(0) if len(script) > 1 else script[0] if script else Reply(404, "404 page not found\n")
        return answer(asked) if callable(answer) else answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are written one after the other

            def _serve(self) -> None:
                url = urlsplit(self.path)
                query = {key: ",".join(values) for key, values in parse_qs(url.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                reply = scripted.answer(Asked(self.command, url.path, query, dict(self.headers), body))
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.bytes())))
                self.end_headers()
                self.wfile.write(reply.bytes())

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


@dataclass
class Hands:
    """A clock moved by hand; real time too, so that what is newer than what can be said exactly."""

    world: float = 1_795_600_000.0
    wall: float = 1_795_600_000.0

    def now(self) -> float:
        return self.world

    def real(self) -> float:
        self.wall += 0.001  # no two moments are the same
        return self.wall

    def real_seconds(self, world_seconds: float) -> float:
        return world_seconds
