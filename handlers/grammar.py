"""From a line as Slack delivers it to what was meant. Pure: asks nobody.

create NAME --preset P --gpus N --hours H --reason "…" [--type T] [--zone Z] [--wait 48h]      also name=… gpus=…
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass

from bot.core.capacity.impossible import why_not
from bot.core.changes import Change, Extend, Replace, Scale, Share, Unshare, Verify
from bot.core.policy import Verb
from bot.core.spec import Draft, Invalid, Problem

# Phones put these where a keyboard has quotes and dashes. A ’ within a word is an apostrophe and stays.
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys("“”„‟", '"'))
_SINGLE_QUOTED = re.compile(r"(?<!\w)‘([^‘]*?)’(?!\w)")
_DASHES = re.compile(r"(?<!\S)[–—]+(?=[A-Za-z])")
# As Slack sends a mention, which its own escaping tells from typed text; the label may hold anything but ">".
_MENTION = re.compile(r"<@([UW][A-Z0-9]{1,30})(?:\|[^>]*)?>")
_UNQUOTED = re.compile(r"[\s'\"‘’“”„‟]")
"""What a person's name, as the label of a mention, must not hold: a quotation mark of theirs opens nothing here."""
_DRY_RUN = frozenset({"--dry-run", "--dryrun", "dry-run"})
_FIELDS = ("name", "preset", "gpus", "hours", "reason", "wait", "type", "zone")
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
    typed = unescape(_MENTION.sub(lambda mention: _UNQUOTED.sub("", mention[0]), text)).strip()
    try:
        words = shlex.split(_typewritten(typed))
    except ValueError:
        trouble = _OPEN_QUOTE
        return Words(typed.split()[0].lower(), (), trouble)
    return Words(words[0].lower(), tuple(words[1:])) if words else Words("", ())


def _typewritten(text: str) -> str:
    """With the quotes and dashes that a shell knows."""
    return _DASHES.sub("--", _SINGLE_QUOTED.sub(r"'\1'", text.translate(_DOUBLE_QUOTES)))


def dry_run_of(words: tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
    """Whether the words after `create` ask for a dry run, and the words without that."""
    rest = tuple(word for word in words if word.lower() not in _DRY_RUN)
    return len(rest) < len(words), rest


def change_of(verb: Verb, words: tuple[str, ...], *, in_thread: bool) -> tuple[str, Change]:
    """The cluster's name ('' for the thread's own) and the change. Raises `Invalid`.

    share NAME @someone     unshare NAME @someone       in a thread: share @someone
    extend NAME 4h          in a thread: extend 4h
    scale NAME gpu 4        in a thread: scale gpu 4; the only GPU pool may be left out: scale NAME 4
    verify NAME [--level quick|standard|burn]
    replace NAME [NODE]
    """
    if verb == Verb.VERIFY:
        return _verify(words, in_thread=in_thread)
    if verb == Verb.REPLACE:
        if len(words) > 2 or not (words or in_thread):
            raise _mistyped(verb)
        return (words[0] if words else ""), Replace(words[1] if len(words) > 1 else "")
    if verb == Verb.SCALE:
        return _scale(words, in_thread=in_thread)
    joined = words if len(words) < 2 or words[-1].lower() not in ("h", "hour", "hours") else (*words[:-1],)
    name, rest = _name_first(joined, 1, in_thread=in_thread)
    if len(rest) != 1:
        raise _mistyped(verb)
    match verb:
        case Verb.SHARE:
            return name, Share(_person(rest[0]))
        case Verb.UNSHARE:
            return name, Unshare(_person(rest[0]))
        case _:
            return name, Extend(_hours(rest[0]))


USAGE = {
    verb: f"/gpu-cluster {verb} NAME {values}"
    for verb, values in (
        (Verb.EXTEND, "4h"),
        (Verb.SHARE, "@someone"),
        (Verb.UNSHARE, "@someone"),
        (Verb.VERIFY, "--level quick"),
        (Verb.REPLACE, "[NODE]"),
        (Verb.SCALE, "POOL 4"),
    )
}
"""How each change is typed."""

CHANGES = frozenset(USAGE)

ABOUT_ONE = frozenset(
    {
        Verb.STATUS,
        Verb.WHY,
        Verb.LOGS,
        Verb.EXPORT,
        Verb.DELETE,
        Verb.KUBECONFIG,
        Verb.ENABLE,
        Verb.CANCEL,
        Verb.RETRY,
        Verb.KEEP,
        Verb.HISTORY,
    }
)
"""Words that a cluster's name follows."""

SWITCH = frozenset({Verb.STOP_CREATES, Verb.ALLOW_CREATES})


def page_of(words: tuple[str, ...]) -> int:
    """The page of a list, of costs or of a history, 1 where none was said. Raises `Invalid`."""
    text = words[0] if words else "1"
    if len(words) < 2 and text.isascii() and text.isdigit() and len(text) < 5:
        return int(text)
    raise Invalid(Problem("page", f"“{' '.join(words)}” is no page; type a number, as in list 2."))


def _mistyped(verb: Verb) -> Invalid:
    return Invalid(Problem("", f"Type it like this: {USAGE[verb]}"))


def _scale(words: tuple[str, ...], *, in_thread: bool) -> tuple[str, Change]:
    """The number is last; before it a name, a pool, both, or in a thread none."""
    *before, number = words or ("",)
    if (not before and not in_thread) or len(before) > 2 or not number:
        raise _mistyped(Verb.SCALE)
    if not (number.isascii() and number.isdigit() and len(number) < 6):
        raise Invalid(Problem("count", f"“{number}” is no whole number; {USAGE[Verb.SCALE]} makes pool POOL that big."))
    if in_thread and len(before) < 2:
        return "", Scale("".join(before), int(number))
    return before[0], Scale("".join(before[1:]), int(number))


def _name_first(words: tuple[str, ...], values: int, *, in_thread: bool) -> tuple[str, tuple[str, ...]]:
    """In a thread the name may be left out: then there are only so many values."""
    if in_thread and len(words) <= values:
        return "", words
    return (words[0], words[1:]) if words else ("", ())


def _person(text: str) -> str:
    """The Slack id in a mention."""
    if (found := _MENTION.fullmatch(text)) is not None:
        return found[1]
    if text.startswith("<!"):
        raise Invalid(Problem("person", "A group is nobody; share with one person at a time."))
    raise Invalid(
        Problem(
            "person", f"“{text}” is nobody I can find: type @ and choose the person from the list that Slack shows."
        )
    )


def _verify(words: tuple[str, ...], *, in_thread: bool) -> tuple[str, Change]:
    """The level as --level L or --level=L, before or behind the name."""
    rest, level = [word.replace("--level=", "--level ", 1) for word in words], ""
    queue = " ".join(rest).split()
    names: list[str] = []
    while queue:
        word = queue.pop(0)
        if word == "--level" and queue:
            level = queue.pop(0)
        else:
            names.append(word)
    if len(names) > 1 or not (names or in_thread) or any(name.startswith("-") for name in names):
        raise _mistyped(Verb.VERIFY)
    return (names[0] if names else ""), Verify(level.lower())


def _hours(text: str) -> int:
    digits = text.lower().removesuffix("h")
    if digits.isascii() and digits.isdigit() and len(digits) < 5 and int(digits) > 0:
        return int(digits)
    raise Invalid(Problem("hours", f"“{text}” is no number of hours; type it like 4h."))


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
            problems.append(Problem("", f"I do not know {word}{_meant(word)}; there is --{', --'.join(_FIELDS[1:])}."))
        elif "name" not in said:
            said["name"] = word
        else:
            problems.append(
                Problem("", f"I do not know what to do with “{word}”; a reason of several words needs quotes.")
            )
    name, preset, gpus, hours, reason, wait, kind, zone = (said.get(key, "") for key in _FIELDS)
    return Draft(name, preset, gpus, hours, reason, tuple(problems), wait, kind, zone)


def _meant(word: str) -> str:
    """The nearest option, for a slip of the finger."""
    close = difflib.get_close_matches(word.lstrip("-").partition("=")[0].lower(), [*_FIELDS, "dry-run"], n=1)
    return f" (did you mean --{close[0]}?)" if close else ""
