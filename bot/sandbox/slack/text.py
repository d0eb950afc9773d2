"""What Slack does to text that a person types before an app sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"(?P<url>https?://[^\s|]+)|@(?P<at>[\w][\w.-]*)|#(?P<hash>[\w][\w-]*)")
_BROADCASTS = frozenset({"channel", "here", "everyone"})


def escape(text: str) -> str:
    """Slack's escaping of the three characters that could start its own markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def typed_text(
    text: str,
    people: Mapping[str, str],
    groups: Mapping[str, str],
    channels: Mapping[str, str],
    *,
    labels: bool,
) -> str:
    """What an app receives for ``text`` typed in a client.

    ``people``, ``groups`` and ``channels`` map names to ids. With ``labels`` (slash commands with ``should_escape``)
    tokens carry the name, ``<@U1|name>``; in messages they do not. Unknown names stay as typed.
    """

    def token(match: re.Match[str]) -> str:
        if match["url"]:
            return f"<{match['url']}>"
        name = match["at"] or match["hash"]
        label = f"|{name}" if labels else ""
        if match["hash"]:
            return f"<#{channels[name]}|{name if labels else ''}>" if name in channels else match[0]
        if name in people:
            return f"<@{people[name]}{label}>"
        if name in groups:
            return f"<!subteam^{groups[name]}{f'|@{name}' if labels else ''}>"
        return f"<!{name}>" if name in _BROADCASTS else match[0]

    return _TOKEN.sub(token, escape(text))
