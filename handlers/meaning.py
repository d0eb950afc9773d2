"""From a line to what is wanted: the same words mean the same after the slash, in a thread and in private."""

from __future__ import annotations

from bot.core.policy import Verb
from handlers.grammar import ABOUT_ONE, CHANGES, SWITCH, draft_of, dry_run_of, split
from handlers.inbox import Gesture, Inbound

_ABOUT_ALL = frozenset({Verb.HELP, Verb.COST, Verb.ORPHANS})
"""Words that nothing has to follow; a cluster's name may."""
_PAGED = frozenset({Verb.COST, Verb.HISTORY})
"""Words that a page may follow instead of a name: of all clusters' costs, or in the thread of one."""


def heard(text: str, user: str, channel: str, *, thread_ts: str = "", response_url: str = "") -> Inbound:
    """What that person wants; a word that nobody has and a line that cannot be read are gestures, too."""
    said = split(text)
    word, rest = said.verb or Verb.HELP, said.rest

    def wants(gesture: Verb | Gesture, name: str = "", words: tuple[str, ...] = (), draft: bool = False) -> Inbound:
        return Inbound(
            gesture,
            user,
            channel,
            name=name,
            draft=draft_of(words) if draft else None,
            words=() if draft else words,
            thread_ts=thread_ts,
            response_url=response_url,
        )

    if said.trouble:
        return wants(Gesture.GARBLED, said.trouble)
    if word == Verb.CREATE:
        dry, rest = dry_run_of(rest)
        return wants(Gesture.DRY_RUN if dry else Verb.CREATE, words=rest, draft=True)
    if word in SWITCH:
        return wants(Verb(word), " ".join(rest))
    if word in CHANGES or word == Verb.LIST or (word in _PAGED and _is_page(rest)):
        return wants(Verb(word), words=rest)
    if word in ABOUT_ONE or word in _ABOUT_ALL:
        return wants(Verb(word), rest[0] if rest else "", rest[1:])
    return wants(Gesture.UNKNOWN, word)


def _is_page(rest: tuple[str, ...]) -> bool:
    """No cluster's name begins with a digit."""
    return len(rest) == 1 and rest[0].isdigit()
