"""A Slack of some years ago, as far as it matters: it refuses block types it does not know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


class OlderSlack:
    """`accepted` holds what was taken, a method (or `response_url`) and its arguments each, in order."""

    def __init__(self, *unknown: str) -> None:
        self.unknown = set(unknown)
        self.accepted: list[tuple[str, dict[str, Any]]] = []
        self.refused = 0
        self.url = ""

    def answer(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if {block["type"] for block in arguments.get("blocks", ())} & self.unknown:
            self.refused += 1
            return {"ok": False, "error": "invalid_blocks"}
        self.accepted.append((method, arguments))
        return {"ok": True, "ts": f"1700000000.{len(self.accepted):06d}", "channel": arguments.get("channel", "")}


@contextmanager
def older_slack(*unknown: str) -> Iterator[OlderSlack]:
    """Listening on loopback; `url` is its base, Web API below /api/."""
    slack = OlderSlack(*unknown)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            is_json = "json" in self.headers.get("Content-Type", "")
            arguments = json.loads(raw) if is_json else {k: v[0] for k, v in parse_qs(raw).items()}
            told = slack.answer(self.path.rpartition("/")[2], arguments)
            api = self.path.startswith("/api/")
            body = (json.dumps(told) if api else told.get("error", "ok")).encode()
            self.send_response(200 if api or told["ok"] else 400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        slack.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield slack
        finally:
            server.shutdown()
            thread.join()
