"""What the HTTP side of an API server needs to know about the server behind it."""

from __future__ import annotations

from typing import Protocol

from bot.sandbox.world.kube.kinds import Kind
from bot.sandbox.world.kube.objects import Obj, ObjectStore


class ApiHost(Protocol):
    """An API server: its objects, and what it does to a request before an object is stored."""

    store: ObjectStore
    git_version: str

    def admit(self, kind: Kind, obj: Obj, namespace: str) -> Obj:
        """The object as it will be stored: validated, defaulted. Raises ApiError."""

    def update(self, kind: Kind, old: Obj, new: Obj) -> Obj:
        """A changed object as it will be stored. Raises ApiError."""

    def pod_log(self, pod: Obj, container: str) -> str:
        """What a container has printed. Raises ApiError while it is waiting to start."""

    def token(self, service_account: Obj, seconds: int) -> str:
        """A bearer token for a service account."""

    def execute(self, pod: Obj, container: str, command: tuple[str, ...]) -> tuple[str, int]:
        """Run a command in a running container: its output and exit code."""
