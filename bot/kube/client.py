"""The official Kubernetes client behind one function: time-outs, plain JSON back, errors of the core.

Answers are read as JSON rather than as the client's models: it validates what it reads, so one odd object of somebody
else's would make a whole list fail, and reading is ten times slower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import pydantic
import urllib3
from kubernetes import client
from kubernetes.stream import ws_client

from bot.core.ports import Permanent, Refused, Temporary, WorldError
from bot.kube.access import Access, Remedies

Json = dict[str, Any]

TIMEOUT_S = 10.0
"""For one request, in real seconds. Rancher's proxy may wait 15 s for a cluster's tunnel; a look has only 20."""

PAGE = 500
_MESSAGE_MAX = 600
_PYTHON_OBJECT = re.compile(r"^(<[^>]*>|\w+\(.*?\)): ")  # urllib3 begins its messages with the connection's repr


class ApiError(Exception):
    """An answer other than 2xx. `reason` is Kubernetes' own word (NotFound, AlreadyExists, …), '' from a proxy."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message

    def world_error(self, access: Access) -> WorldError:
        """The core's error. 500 is temporary: Rancher gives it while it makes its impersonation account there
        (rancher/rancher: pkg/api/steve/proxy/proxy.go)."""
        said = f"The cluster's API answered {self.status}: {self.message}"
        remedies = access.remedies
        if self.status == 401:
            return access.unauthorized(said)
        if self.status == 403:
            return Refused(said, remedies.forbidden)
        if self.status in (408, 409, 410, 429) or self.status >= 500:
            return Temporary(said, "The bot tries again by itself.")
        return Permanent(said, "The cluster will not take this as it is: mend what its message names.")


class KubeClient:
    """One downstream cluster. Safe to share between threads. The token is read again after a 401, and never logged."""

    def __init__(self, access: Access) -> None:
        self._access, self._remedies, config = access, access.remedies, access.configuration
        # Set here because the constructor takes no False: 429 and 5xx come back at once, the engine has its own clock.
        config.retries = False
        self._api = client.ApiClient(config)
        self._api.user_agent = f"gpu-cluster/{version('gpu-cluster')}"
        self.core = client.CoreV1Api(self._api)
        self.batch = client.BatchV1Api(self._api)
        self.rbac = client.RbacAuthorizationV1Api(self._api)
        self.storage = client.StorageV1Api(self._api)
        self.node = client.NodeV1Api(self._api)
        self.custom = client.CustomObjectsApi(self._api)
        self.versions = client.VersionApi(self._api)

    def text(self, method: Callable[..., Any], *args: Any, expect: tuple[int, ...] = (), **kwargs: Any) -> str:
        """Call a method of one of the APIs, and return the body.

        Raises the core's errors, and `ApiError` for statuses in `expect`.
        """
        status, http_reason, text = self._send(method, args, kwargs)
        if status == 401 and self._access.renew():
            status, http_reason, text = self._send(method, args, kwargs)
        if 200 <= status < 300:
            return text
        error = _read_error(status, text, http_reason)
        raise error if status in expect else error.world_error(self._access)

    def json(self, method: Callable[..., Any], *args: Any, expect: tuple[int, ...] = (), **kwargs: Any) -> Json:
        """Like `text`, for a JSON object."""
        text = self.text(method, *args, expect=expect, **kwargs)
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Temporary("The answer is not the cluster's: it is no JSON object.", self._remedies.not_json)
        return body

    def find(self, method: Callable[..., Any], *args: Any) -> Json | None:
        """Like `json`; None on 404."""
        try:
            return self.json(method, *args, expect=(404,))
        except ApiError:
            return None

    def list(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Json]:
        """Every item of a list, page by page."""
        while True:
            page = self.json(method, *args, limit=PAGE, **kwargs)
            yield from page.get("items") or []
            kwargs["_continue"] = (page.get("metadata") or {}).get("continue")
            if not kwargs["_continue"]:
                return

    def execute(self, namespace: str, pod: str, container: str, command: tuple[str, ...]) -> str:
        """What a command prints inside a running container, standard output only; raises the core's errors.

        Over a websocket of its own: the client's `stream` would bend the shared ApiClient meanwhile.
        """
        asked = [("command", part) for part in command]
        asked += [("container", container), ("stdout", "true"), ("stderr", "false")]
        url = f"{self._access.configuration.host}/api/v1/namespaces/{namespace}/pods/{pod}/exec"
        headers = {"authorization": self._access.configuration.get_api_key_with_prefix("BearerToken") or ""}
        try:
            socket = ws_client.websocket_call(  # type: ignore[no-untyped-call]
                self._access.configuration, "GET", url, query_params=asked, headers=headers, _preload_content=False
            )
            try:
                socket.run_forever(timeout=TIMEOUT_S)
                ended, code = not socket.is_open(), socket.returncode
                said = str(socket.read_stdout(timeout=0) or "")
            finally:
                socket.sock.shutdown()  # `close` leaves it open where the other side has closed already
        except Exception as error:  # the client lets through whatever a websocket can raise
            reason = error.reason if isinstance(error, client.ApiException) else error
            raise Temporary(f"{command[0]} could not be run in {pod}: {_short(str(reason))}") from error
        if not ended or code:
            raise Temporary(f"{command[0]} in {pod} {f'ended with exit code {code}' if ended else 'did not end'}.")
        return said

    def close(self) -> None:
        """Close the pooled connections."""
        self._api.close()  # type: ignore[no-untyped-call]

    def _send(self, method: Callable[..., Any], args: tuple[Any, ...], kwargs: Json) -> tuple[int, str, str]:
        try:
            response = method(*args, _request_timeout=TIMEOUT_S, _preload_content=False, **kwargs)
            return response.status, response.reason or "", response.data.decode(errors="replace")
        except pydantic.ValidationError as error:
            raise Permanent(f"The Kubernetes client refuses the request: {_short(str(error))}") from error
        except client.ApiException as error:
            if isinstance(error.__context__, urllib3.exceptions.SSLError):
                raise _transport_error(error.__context__, self._remedies) from error
            return error.status or 0, str(error.reason or ""), str(error.body or "")
        except urllib3.exceptions.HTTPError as error:
            raise _transport_error(error, self._remedies) from error


def _read_error(status: int, text: str, http_reason: str) -> ApiError:
    """A Kubernetes Status, the Go struct of Rancher's proxy, plain text (a CRD that is not installed), or nothing."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(status, "", _short(text) or http_reason or f"HTTP {status}")
    message = body.get("message") or body.get("Message") or http_reason
    return ApiError(status, str(body.get("reason") or ""), _short(str(message)))


def _transport_error(error: urllib3.exceptions.HTTPError, remedies: Remedies) -> WorldError:
    if isinstance(error, urllib3.exceptions.SSLError):
        return Permanent(
            f"The server's TLS certificate is not trusted: {_short(str(error))}",
            remedies.not_trusted,
        )
    remedy = remedies.unreachable
    refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # which urllib3 counts among the time-outs
    if isinstance(error, urllib3.exceptions.TimeoutError) and not refused:
        return Temporary("The cluster's API did not answer in time.", remedy)
    return Temporary(f"The cluster's API cannot be reached: {_PYTHON_OBJECT.sub('', _short(str(error)))}", remedy)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "…"
