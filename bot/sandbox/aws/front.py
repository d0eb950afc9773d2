"""What stands in front of moto on the same port: it answers what moto lacks, refuses what it is told to refuse,
and lets the rest through. Who calls cannot tell the difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

from bot.sandbox.aws.announced import Announced
from bot.sandbox.aws.capacity import Capacity
from bot.sandbox.aws.pricing import Prices
from bot.sandbox.aws.quotas import Quotas
from bot.sandbox.aws.wire import Call, Reply, call_of, error_reply

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_THROTTLED = "Request limit exceeded."
_NO_REGION = "Credential should be scoped to a valid region."


@dataclass
class Rule:
    """Calls that are refused: `calls` a pattern (ec2:Run*), `where` parameters of the form that must be as given.

    Every `every`-th matching call is refused, `times` in all (None: for ever).
    """

    calls: str
    code: str
    message: str = ""
    status: int = 400
    where: Mapping[str, str] = field(default_factory=dict)
    every: int = 1
    times: int | None = None
    met: int = 0

    def refuses(self, call: Call) -> bool:
        """Whether this call is refused; counts it."""
        if not fnmatchcase(call.name, self.calls) or any(call.params.get(k) != v for k, v in self.where.items()):
            return False
        self.met += 1
        if self.met % self.every or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Front:
    """A WSGI application around moto's. `calls` counts what was asked, by IAM's names, whatever came of it."""

    def __init__(self, behind: Wsgi, regions: frozenset[str]) -> None:
        self.quotas, self.prices, self.capacity = Quotas(), Prices(), Capacity()
        self.announced = Announced()
        self.calls: Counter[str] = Counter()
        self.rules: list[Rule] = []
        self._behind, self._regions = behind, regions
        self._lock = Lock()

    def refuse(self, calls: str, code: str, message: str = "", **how: Any) -> None:
        """Refuse calls from now on; see `Rule`."""
        self.rules.append(Rule(calls, code, message, **how))

    def throttle(self, calls: str = "*", *, times: int | None = None) -> None:
        """As EC2 answers who asks too often (503 in EC2's protocol)."""
        self.refuse(calls, "RequestLimitExceeded", _THROTTLED, status=503, times=times)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        call = call_of(environ)
        reply = self._reply(call) if call is not None else None
        if reply is None:
            return self._behind(environ, start_response)
        start_response(
            f"{reply.status} .", [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
        )
        return [reply.body]

    def _reply(self, call: Call) -> Reply | None:
        with self._lock:
            self.calls[call.name] += 1
            for rule in self.rules:
                if rule.refuses(call):
                    return error_reply(call, rule.code, rule.message, rule.status)
        if call.region not in self._regions:
            return error_reply(call, "AuthFailure", _NO_REGION, 401)
        if call.service == "servicequotas":
            return self.quotas.answer(call)
        return self.prices.answer(call) or self.capacity.answer(call) or self.announced.answer(call)
