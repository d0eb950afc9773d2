"""What is left in AWS of clusters that are gone, with the button that ends it; and what came of a press."""

from __future__ import annotations

from bot.core.sweeping import ALREADY, ENDED, KEPT, LATER, REFUSED, Left, Listing, Result, Swept
from handlers.views.page import Bullets, Button, Buttons, Confirm, Header, Note, Page, Para, Part, Table
from handlers.views.spans import Line, code, line, who
from handlers.views.words import count, duration

COLUMNS = ("What", "Id", "Cluster", "Region", "Age", "$ an hour", "By the button")
_MOST_ROWS, _MOST_LINES = 60, 20
_POLICY = "manifests/iam/sweep.json"
_UNKNOWN = "unknown"
_WORDS = {ALREADY: "was gone already", KEPT: "stays", REFUSED: "AWS refused", LATER: "was not begun"}


def orphans_page(told: Listing) -> Page:
    """A table of what is left, with one button for what may go."""
    anew = line("The list has changed since that button was shown. Nothing was ended. ") if told.changed else ()
    silent = tuple(line(f"{region} could not be looked at: {why}") for region, why in told.silent)
    if not told.left:
        seen = [region for region in told.regions if region not in dict(told.silent)]
        nothing = line(*anew, f"Nothing is left in {', '.join(seen)}." if seen else "No region could be looked at.")
        return Page(nothing, (Para((nothing, *silent)),))
    said = line(*anew, f"{count(len(told.left), 'thing')} left in AWS of clusters that are gone{_cost(told.left)}.")
    rows = tuple(_row(one, told.at) for one in told.left[:_MOST_ROWS])
    parts: list[Part] = [Header("Left in AWS"), Para((said, *silent)), Table(COLUMNS, rows)]
    if len(told.left) > _MOST_ROWS:
        parts.append(Note(line("More: ", code("gpu-cluster orphans"), " on the command line lists all.")))
    if told.endable:
        parts.append(_button(told))
    parts.append(Note(line("Nothing is ended by itself. What the button does not take is for the AWS console.")))
    return Page(said, tuple(parts))


def swept_page(told: Swept) -> Page:
    """Who ended what, and why some of it stays; for everybody in the channel."""
    ended = sum(result.word == ENDED for result in told.results)
    said = line(who(told.by), f" has ended {ended} of {count(len(told.results), 'thing')} left in AWS.")
    rest = [_result(result) for result in told.results if result.word != ENDED]
    done = ", ".join(_id(result) for result in told.results if result.word == ENDED)
    parts: list[Part] = [Para((said,))]
    if done:
        parts.append(Para((line(f"Ended: {done}"),)))
    if rest:
        parts.append(Bullets(tuple(rest[:_MOST_LINES])))
    if told.denied:
        parts.append(
            Note(
                line(
                    "The bot's AWS identity may not end machines, which is optional: attach ",
                    code(_POLICY),
                    " to it (it ends only what carries our tag), then press again. Or end them in the AWS console.",
                )
            )
        )
    return Page(said, tuple(parts))


def _button(told: Listing) -> Buttons:
    number = len(told.endable)
    confirm = Confirm(
        f"End {'it' if number == 1 else f'these {number}'} for good?",
        f"{count(number, 'thing')}{_cost(told.endable)}. Each is looked up once more before it is ended.",
        "Terminate",
        "No",
    )
    label = f"Terminate {'this one' if number == 1 else f'these {number}'}"
    return Buttons(f"orphans-{told.digest}", (Button("end-orphans", label, told.digest, "danger", confirm),))


def _cost(left: tuple[Left, ...]) -> str:
    known = [one.hourly for one in left if one.hourly is not None]
    return f", ${sum(known):,.2f} an hour{' and something unknown' if len(known) < len(left) else ''}"


def _row(one: Left, now: float) -> tuple[str, ...]:
    thing = one.orphan.thing
    what = f"{thing.kind} {thing.detail}".strip()
    age = _UNKNOWN if thing.since is None else duration(max(0.0, now - thing.since))
    price = _UNKNOWN if one.hourly is None else f"{one.hourly:.3f}"
    whose = thing.cluster or thing.owner or thing.name or "–"
    return (what, thing.id.rpartition("/")[2], whose, one.region, age, price, one.orphan.kept or "yes")


def _result(result: Result) -> Line:
    word = _WORDS.get(result.word, "could not be ended")
    return line(f"{_id(result)} {word}{f': {result.detail}' if result.detail else ''}")


def _id(result: Result) -> str:
    region, kind, identity = result.key.split("/", 2)
    return f"{kind} {identity} ({region})"
