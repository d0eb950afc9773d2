"""An AWS account to look at, and an HTTP server that says what no account can be made to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pytest

from bot.aws.cloud import Ec2Cloud
from bot.sandbox.aws import AwsStandIn


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """The environment of an AWS tool with keys and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "example")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/nowhere")
        yield patch


@pytest.fixture(scope="module")
def account(environment: pytest.MonkeyPatch, aws_account: tuple[AwsStandIn, str]) -> AwsStandIn:
    stand_in, endpoint = aws_account
    environment.setenv("AWS_ENDPOINT_URL", endpoint)
    return stand_in


@pytest.fixture(scope="module")
def cloud(account: AwsStandIn) -> Ec2Cloud:
    return Ec2Cloud(account.region)


@dataclass
class Says:
    """Answers each request with the next of `answers` (status, body), the last one for ever."""

    answers: list[tuple[int, str]]
    asked: list[dict[str, str]] = field(default_factory=list)

    def next(self, form: dict[str, str]) -> tuple[int, str]:
        self.asked.append(form)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def aws_says(monkeypatch: pytest.MonkeyPatch, environment: pytest.MonkeyPatch) -> Iterator[Callable[..., Says]]:
    """Start an endpoint that says just this; clients made afterwards talk to it."""
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: tuple[int, str]) -> Says:
        says = Says(list(answers))
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(says))
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        return says

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def _handler(says: Says) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: values[0] for key, values in parse_qs(sent).items()}
            status, body = says.next({**form, "User-Agent": self.headers["User-Agent"]})
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1" if body.startswith("{") else "text/xml")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler
