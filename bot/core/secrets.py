"""Where something looks like a secret: such values must not stand in an envelope, which people see and export."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_KEY = re.compile(
    r"(.*[-_.])?(pass(word|wd|phrase)?|token|secret|api-?key|access-?key(-?id)?|secret-?(access-?)?key|session-?token"
    r"|private-?key|ssh-?key-?contents|auth|bearer|credentials?|client-?secret|docker-?config-?json)",
)
_VALUE = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bxox[abp]-|\btoken-\w+:\w{20,}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

HIDDEN = "REDACTED"


def looks_secret(key: str, value: Any) -> bool:
    """Whether a text under that key is one that nobody should read. Names of Secrets are none."""
    if not isinstance(value, str) or not value:
        return False
    return _KEY.fullmatch(_CAMEL.sub("-", key).lower()) is not None or in_text(value)


def in_text(text: str) -> bool:
    """Whether a text holds a key of a known shape, or a password in a URL."""
    if _VALUE.search(text):
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
