"""What looks like a secret: it must not stand in an envelope, which people see and export, nor in shown logs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_KEY = re.compile(
    r"(.*-)?(pass(word|wd|phrase)?|token|secret|api-?key|access-?key(-?id)?|secret-?(access-?)?key|session-?token"
    r"|private-?key|ssh-?key-?contents|auth|bearer|credentials?|client-?secret|docker-?config-?json)",
)
_BLOT = "…"
# A private key; RKE2's join token (K10…::server:…), Rancher's API keys, JSON web tokens, AWS key ids, Slack's and NGC's
# tokens; a password in a URL. Each with what stands in its place.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _BLOT),
    (re.compile(r"\bK10[0-9a-f]{16,}::\S+"), _BLOT),
    (re.compile(r"\b(token-[\w-]+|kubeconfig-[\w-]+|ext/[\w.-]+):[a-z0-9]{16,}"), rf"\1:{_BLOT}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), _BLOT),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), _BLOT),
    (re.compile(r"\b(?:xox[a-z]-|xapp-|nvapi-)[\w-]{8,}"), _BLOT),
    (re.compile(r"(\w+://)[^/\s:@]+:[^/\s@]+@"), rf"\1{_BLOT}@"),
)
_NAMED = (
    r"[\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|authorization|credential)[\w.-]*"
)
_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}")
_ASSIGNED = re.compile(rf"(?i)(\"?{_NAMED}\"?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;}}\"']+)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

HIDDEN = "REDACTED"


def looks_secret(key: str, value: Any) -> bool:
    """Whether a text under that key is one that nobody should read. Names of Secrets are none."""
    if not isinstance(value, str) or not value:
        return False
    plain = re.sub(r"[_.]", "-", _CAMEL.sub("-", key).lower())
    return _KEY.fullmatch(plain) is not None or in_text(value)


def in_text(text: str) -> bool:
    """Whether a text holds a key of a known shape, or a password in a URL."""
    if any(shape.search(text) for shape, _ in _SHAPES):
        return True
    return any(has_password(word) for word in text.split() if "://" in word)


def has_password(url: str) -> bool:
    """Whether a URL names somebody who logs in."""
    try:
        return "@" in urlsplit(url.strip("\"',;()")).netloc
    except ValueError:
        return False


def secrets_in(value: Any, path: str = "") -> Iterator[str]:
    """The paths of what looks secret, such as spec.rkeConfig.machineGlobalConfig.token."""
    if isinstance(value, Mapping):
        named = str(value.get("name") or "") if set(value) == {"name", "value"} else ""
        for key, inner in value.items():
            where = f"{path}.{key}" if path else str(key)
            if looks_secret(named if named and key == "value" else str(key), inner):
                yield where
            else:
                yield from secrets_in(inner, where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from secrets_in(inner, f"{path}[{index}]")
    elif isinstance(value, str) and in_text(value):
        yield path


def without_secrets(value: Any) -> Any:
    """The same with what looks secret taken out."""
    if isinstance(value, Mapping):
        named = str(value.get("name") or "") if set(value) == {"name", "value"} else ""
        return {
            key: HIDDEN
            if looks_secret(named if named and key == "value" else str(key), inner)
            else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return HIDDEN if isinstance(value, str) and in_text(value) else value


def blot(text: str) -> str:
    """A text of another program without anything that looks like a credential. It rather blots a word too many."""
    # Headers, before the assignments take their first word only.
    for pattern, instead in (_SHAPES[0], (_HEADER, rf"\1 {_BLOT}"), *_SHAPES[1:], (_ASSIGNED, rf"\1{_BLOT}")):
        text = pattern.sub(instead, text)
    return text
