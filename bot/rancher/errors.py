"""Rancher's error answers, of which there are four shapes, as the core's errors.

Evidence: rancher/norman: httperror/handler/handler.go; rancher/apiserver: pkg/handlers/error.go; Kubernetes' `Status`;
rancher/rancher: pkg/clusterrouter/router.go (Go struct, plain text or nothing at all).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import requests

from bot.core.ports import Permanent, Refused, Temporary, WorldError

_MESSAGE_MAX = 600
"""Longest message kept, in characters: an ingress may answer with a whole page."""

_PYTHON_OBJECT = re.compile(r"^(<[^>]*>|\w+\(.*?\)): ")  # urllib3 begins its messages with the connection's repr
_MAY_PASS = frozenset({408, 409, 423, 425, 429})
_NOT_REACHED = (
    "Check RANCHER_URL, DNS and the network between the bot and Rancher; gpu-cluster doctor looks at all three."
)


@dataclass(frozen=True)
class ApiError:
    """What an error answer says. `code` is Kubernetes' reason or Rancher's word (AlreadyExists, NotFound, …), or ''."""

    status: int
    code: str
    message: str


def read_error(status: int, text: str, http_reason: str) -> ApiError:
    """Read any of the four shapes; an empty body leaves the HTTP reason."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return ApiError(status, "", _short(text) or http_reason or f"HTTP {status}")
    message = body.get("message") or body.get("Message") or http_reason
    return ApiError(status, _code(body), _short(_with_field(str(message), body)))


def world_error(error: ApiError) -> WorldError:
    """The error of the core that this answer is. 401 is one of a cluster's proxy, where Rancher gives it also for a
    cluster that is not there yet (rancher/rancher: pkg/api/steve/proxy/proxy.go)."""
    said = f"Rancher answered {error.status}: {error.message}"
    if error.status == 401:
        return Temporary(said, "The cluster is not ready for the bot yet, or the bot's token is no longer valid.")
    if error.status == 403:
        return Refused(said, "A Rancher administrator can give the bot's user the right it lacks.")
    if error.status in _MAY_PASS or error.status >= 500:
        return Temporary(said, "The bot tries again by itself.")
    if error.status == 404:
        return Permanent(
            said, "It may have been deleted in Rancher, or this Rancher is too old or too new for the bot."
        )
    if 300 <= error.status < 400:
        return Permanent(said, "RANCHER_URL must be the address that Rancher itself answers at, without a redirect.")
    return Permanent(said, "Rancher will not take this as it is: mend what its message names.")


def transport_error(error: requests.RequestException, url: str) -> WorldError:
    """No answer at all: refused, timed out, or not trusted."""
    if isinstance(error, requests.exceptions.SSLError):
        return Permanent(
            f"The TLS certificate of {url} is not trusted: {_root_cause(error)}",
            "Rancher with a private CA: point RANCHER_CA_BUNDLE to its certificate (PEM).",
        )
    if isinstance(error, requests.exceptions.Timeout):
        return Temporary(f"Rancher at {url} did not answer in time.", _NOT_REACHED)
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return Temporary(f"Rancher at {url} cannot be reached: {_root_cause(error)}", _NOT_REACHED)
    return Permanent(
        f"Rancher at {url} cannot be asked: {_root_cause(error)}", "RANCHER_URL must be an http(s) address."
    )


def _code(body: dict[str, Any]) -> str:
    code = body.get("code")
    if isinstance(code, str):
        return code
    nested = body.get("Code")
    if isinstance(nested, dict):
        return str(nested.get("Code", ""))
    return str(body.get("reason") or "")


def _with_field(message: str, body: dict[str, Any]) -> str:
    field = body.get("fieldName") or body.get("FieldName")
    return f"{message} ({field})" if field else message


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "…"


def _root_cause(error: BaseException) -> str:
    """The innermost reason, in its own words."""
    inner: Any = error
    while (deeper := getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)) is not None:
        if not isinstance(deeper, BaseException):
            break
        inner = deeper
    return _PYTHON_OBJECT.sub("", _short(str(inner)))
