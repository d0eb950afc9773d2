"""No secret in the log: tokens of Slack and Rancher, addresses that answer for us, and triggers are blotted out."""

from __future__ import annotations

import logging
import re

_SECRETS = (
    (re.compile(r"xox[a-z]-[\w-]+|xapp-[\w-]+|xoxe\.[\w.-]+"), "xox…"),
    (re.compile(r"https://hooks\.slack[\w-]*\.com/\S+?(?=[\s'\"\\,}]|$)"), "(response_url)"),
    (re.compile(r"(response_url['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+"), r"\1…"),
    (re.compile(r"(trigger_id['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+"), r"\1…"),
    (re.compile(r"(v0=)[0-9a-f]{64}"), r"\1…"),
    (re.compile(r"\b(token-[\w-]+|kubeconfig-[\w-]+|ext/[\w.-]+):[a-z0-9]{16,}"), r"\1:…"),
)
_ANSWERS = "slack_sdk.webhook"
"""The logger of slack_sdk that writes, at DEBUG, the response_url which it posts to, whatever host that has."""
_ADDRESS = re.compile(r"https?://[^\s'\",}]+")
_TRACE = logging.Formatter()


def redact(text: str) -> str:
    """The text without secrets."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


class Redaction(logging.Filter):
    """A filter for handlers: message, arguments and trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.getMessage()
        if record.name.startswith(_ANSWERS):
            told = _ADDRESS.sub("(response_url)", told)
        record.msg, record.args = redact(told), None
        if record.exc_info:
            # Formatters use the text where there is one.
            record.exc_text = redact(_TRACE.formatException(record.exc_info))
        return True


def install_redaction() -> None:
    """Put the filter on every handler of the root logger, once; call it after logging is set up."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(present, Redaction) for present in handler.filters):
            handler.addFilter(Redaction())
