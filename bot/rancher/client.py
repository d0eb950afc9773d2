"""HTTP to Rancher: one session, time-outs, few retries where they are safe, errors of the core."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from bot.core.bot_token import BotToken
from bot.core.ports import Permanent, Temporary
from bot.rancher.errors import ApiError, read_error, transport_error, world_error

Json = dict[str, Any]
Param = str | int | tuple[str, ...]

CONNECT_S, READ_S = 5.0, 15.0
"""Time-outs in real seconds."""

BODY_MAX = 1 << 20
"""Rancher's setting public-api-body-limit is 1Mi (rancher/rancher: pkg/settings/setting.go)."""

PAGE = 500
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"

# A read that timed out is not tried again here: that would use up the time of a whole look.
_RETRIES = Retry(
    total=2,
    connect=1,
    read=0,
    redirect=0,
    status=2,
    allowed_methods=frozenset({"GET", "HEAD"}),
    status_forcelist=frozenset({429, 502, 503, 504}),
    backoff_factor=0.1,
    backoff_jitter=0.1,
    retry_after_max=2,
    raise_on_status=False,
)

_NEEDS_TOKEN = ("/v1/", "/v3/")
"""Where an answer shows that the token was taken; others answer everybody, or ask another server."""

_RANCHER_S_WORD = frozenset({401, 403, 404})
"""Refusals that are believed, and remembered, only from Rancher itself."""

_PAGE_OF_HTML = re.compile(r"\s*<(!doctype|html|head|body|\?xml)", re.IGNORECASE)

_NOT_RANCHER = "The answer is not Rancher's: it is no JSON object."
_ITS_ADDRESS = "RANCHER_URL must be the address of Rancher itself."


@dataclass(frozen=True)
class Answer:
    """An answer that the caller wants to see: a success, or one of the refusals it said it would accept."""

    status: int
    text: str
    error: ApiError | None

    def json(self) -> Json:
        """The body as a JSON object; raises `Temporary` when it is something else: a proxy's page, a login page."""
        try:
            body = json.loads(self.text)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Temporary(_NOT_RANCHER, _ITS_ADDRESS)
        return body


class _Bearer(requests.auth.AuthBase):
    """Set as `auth`, so that requests does not look for credentials in a .netrc file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class RancherClient:
    """Requests to one Rancher. Safe to share between threads. The token is read again after a 401, and never logged."""

    def __init__(self, url: str, token: BotToken, *, ca_bundle: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._verify: bool | str = ca_bundle or True
        self._session = requests.Session()
        self._session.headers.update(
            {"User-Agent": f"gpu-cluster/{version('gpu-cluster')}", "Accept": "application/json"}
        )
        # Rancher also takes a cookie for a login; the token alone shall say who we are.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        http = HTTPAdapter(pool_connections=1, pool_maxsize=32, max_retries=_RETRIES)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, http)

    def get(self, path: str, params: Mapping[str, Param] | None = None) -> Json:
        """GET of a JSON object; raises `WorldError`s."""
        return self.ask("GET", path, params=params).json()

    def find(self, path: str) -> Json | None:
        """GET by id; None on 404."""
        answer = self.ask("GET", path, accept=(404,))
        return None if answer.status == 404 else answer.json()

    def list(self, path: str, *exclude: str, page: int = PAGE) -> Iterator[Json]:
        """Every item of a Steve collection, page by page, without the fields named in `exclude`.

        A type that Rancher does not know is `Temporary`: Cluster API's arrive by a chart, minutes after an upgrade.
        """
        params: dict[str, Param] = {"limit": page, **({"exclude": exclude} if exclude else {})}
        while True:
            answer = self.ask("GET", path, params=params, accept=(404,))
            if answer.status == 404:
                raise Temporary(
                    f"Rancher does not know {path} yet.", "Is the Amazon EC2 node driver active in Rancher?"
                )
            found = answer.json()
            yield from found.get("data") or []
            if not found.get("continue"):
                return
            params["continue"] = found["continue"]

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Param] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """One request; statuses in `accept` come back as an answer, all other refusals are raised as `WorldError`s."""
        data = None if body is None else json.dumps(body).encode()
        if data is not None and len(data) >= BODY_MAX:
            raise Permanent(
                f"The request to Rancher would be {len(data)} bytes long; it takes less than {BODY_MAX}.",
                "Shorten the chart's values or the cloud-init of the preset.",
            )
        headers = {"Content-Type": content_type} if data is not None else {}
        used = self._token.current()
        response = self._send(method, path, params, data, headers, used)
        if response.status_code == 401 and self._token.replaced(used):
            used = self._token.current()
            response = self._send(method, path, params, data, headers, used)
        downstream = path.startswith("/k8s/clusters/")
        text = response.text  # decoded anew each time it is asked for
        if (response.ok or response.status_code in _RANCHER_S_WORD) and _PAGE_OF_HTML.match(text):
            # A proxy's own page says nothing about what Rancher has, and nothing was changed.
            raise Temporary(_NOT_RANCHER, _ITS_ADDRESS)
        if 200 <= response.status_code < 300:
            if path.startswith(_NEEDS_TOKEN) and text.lstrip().startswith("{"):
                self._token.accepted(used)
            return Answer(response.status_code, text, None)
        error = read_error(response.status_code, text, response.reason)
        if response.status_code in accept:
            return Answer(response.status_code, text, error)
        if response.status_code == 401 and not downstream:
            raise self._token.refused(used, f"it answered 401: {error.message}")
        # Below a cluster 401 may also mean the cluster.
        raise (self._token.refusal() if response.status_code == 401 else None) or world_error(error)

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, Param] | None,
        data: bytes | None,
        headers: dict[str, str],
        token: str,
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.url + path,
                params=params,
                data=data,
                headers=headers,
                auth=_Bearer(token),
                timeout=(CONNECT_S, READ_S),
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise transport_error(error, self.url) from error
        except OSError as error:  # requests' own word for a bundle that is not there
            raise Permanent(
                f"RANCHER_CA_BUNDLE cannot be read: {self._verify}", "It must be the path of a PEM file."
            ) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()
