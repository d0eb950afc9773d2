"""From a line as Slack delivers it to what was meant. Pure: asks nobody.

create NAME --preset P --gpus N --hours H --reason "…" [--wait 48h]      also name=… gpus=…
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from bot.core.impossible import why_not
from bot.core.spec import Draft, Problem

# Phones put these where a keyboard has quotes and dashes. A ’ within a word is an apostrophe and stays.
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys("“”„‟", '"'))
_SINGLE_QUOTED = re.compile(r"(?<!\w)‘([^‘]*?)’(?!\w)")
_DASHES = re.compile(r"(?<!\S)[–—]+(?=[A-Za-z])")
_FIELDS = ("name", "preset", "gpus", "hours", "reason", "wait")
_OPTION = re.compile(r"(?P<dashes>-{0,2})(?P<key>[A-Za-z]+)(?P<given>=(?P<value>.*))?", re.DOTALL)


_OPEN_QUOTE = 'A quotation mark is open; close it, as in --reason "…". An apostrophe outside of quotes counts as one.'


@dataclass(frozen=True)
class Words:
    """A line taken apart: the command, what follows it, and what is wrong with the quoting ('' when nothing)."""

    verb: str
    rest: tuple[str, ...]
    trouble: str = ""


def unescape(text: str) -> str:
    """Slack's escaping undone; what looks like a mention afterwards is text, and is escaped wherever it is shown."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def split(text: str) -> Words:
    """Take a line apart. Quotes may be curly; an unbalanced one is named, and the first word is kept."""
    typed = unescape(text).strip()
    try:
        words = shlex.split(_typewritten(typed))
    except ValueError:
        trouble = _OPEN_QUOTE
        return Words(typed.split()[0].lower(), (), trouble)
    return Words(words[0].lower(), tuple(words[1:])) if words else Words("", ())


def _typewritten(text: str) -> str:
    """With the quotes and dashes that a shell knows."""
    return _DASHES.sub("--", _SINGLE_QUOTED.sub(r"'\1'", text.translate(_DOUBLE_QUOTES)))


def draft_of(words: tuple[str, ...]) -> Draft:
    """What the words after `create` say. Anything not understood is a problem of the draft, never lost silently."""
    said: dict[str, str] = {}
    problems: list[Problem] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        option = _OPTION.fullmatch(word)
        key = option["key"].lower() if option else ""
        if option and key in _FIELDS and option["given"]:
            said[key] = option["value"]
        elif option and key in _FIELDS and option["dashes"]:
            if not queue or (queue[0].startswith("--")):
                problems.append(Problem(key, f"--{key} needs a value after it."))
            else:
                said[key] = queue.pop(0)
        elif word.startswith("-") and (why := why_not(word)) is not None:
            problems.append(Problem("", why))
        elif word.startswith("-"):
            problems.append(Problem("", f"I do not know {word}; there is --{', --'.join(_FIELDS[1:])}."))
        elif "name" not in said:
            said["name"] = word
        else:
            problems.append(
                Problem("", f"I do not know what to do with “{word}”; a reason of several words needs quotes.")
            )
    name, preset, gpus, hours, reason, wait = (said.get(key, "") for key in _FIELDS)
    return Draft(name, preset, gpus, hours, reason, tuple(problems), wait)
