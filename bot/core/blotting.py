"""No secret in what is shown of other programs' logs: what looks like a credential is blotted out, whole."""

from __future__ import annotations

import re

_BLOT = "…"
_KEYS = (
    r"[\w.-]*(?:password|passwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|authorization|credential)[\w.-]*"
)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), _BLOT),
    # Headers, before the assignments below take their first word only.
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {_BLOT}"),
    # RKE2's join token (K10…::server:…), Rancher's API keys, JSON web tokens, AWS key ids, Slack's and NGC's tokens.
    (re.compile(r"\bK10[0-9a-f]{16,}::\S+"), _BLOT),
    (re.compile(r"\b(token-[\w-]+|kubeconfig-[\w-]+|ext/[\w.-]+):[a-z0-9]{16,}"), rf"\1:{_BLOT}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), _BLOT),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"), _BLOT),
    (re.compile(r"\b(?:xox[a-z]-|xapp-|nvapi-)[\w-]{8,}"), _BLOT),
    (re.compile(r"(\w+://)[^/\s:@]+:[^/\s@]+@"), rf"\1{_BLOT}@"),
    (re.compile(rf"(?i)(\"?{_KEYS}\"?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;}}\"']+)"), rf"\1{_BLOT}"),
)


def blot(text: str) -> str:
    """The text without anything that looks like a credential. It rather blots a word too many."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text
