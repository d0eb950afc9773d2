"""The modals beside the form: why somebody denies, and everything there is to say about a request."""

from __future__ import annotations

from typing import Any

from bot.core.spec import REASON_MAX
from bot.core.story import Story
from handlers.views.page import Note, Page, Para
from handlers.views.render import Block, in_view
from handlers.views.request import budget_words, checked, decided, request
from handlers.views.spans import Line, line
from handlers.views.words import clean, clip

DENY, DETAILS = "deny_form", "details"
REASON = "reason"
_MOST_BLOCKS = 100


def deny_form(cluster: str, metadata: str) -> dict[str, Any]:
    """Asks for the reason. `metadata` (at most 3,000 characters) comes back with it."""
    told = f"Deny {cluster}" if cluster else "Deny this request"
    note = line(f"{told}: this ends the request. Its requester is told your reason, and can ask again.")
    reason: Block = {
        "type": "input",
        "block_id": REASON,
        "label": _text("Why", 2_000),
        "hint": _text("Say what would have to change, so that the next request can be approved.", 2_000),
        "element": {
            "type": "plain_text_input",
            "action_id": REASON,
            "multiline": True,
            "max_length": REASON_MAX,
            "focus_on_load": True,
        },
    }
    return {
        "type": "modal",
        "callback_id": DENY,
        "private_metadata": metadata,
        "title": _text("Deny a request", 24),
        "submit": _text("Deny", 24),
        "close": _text("Not now", 24),
        "blocks": [*in_view(Page(note, (Para((note,)),))), reason],
    }


def loading() -> dict[str, Any]:
    """What stands there until the facts are read: a trigger does not wait for them."""
    return _window(Page(line(""), (Note(line("One moment …")),)))


def details(story: Story) -> dict[str, Any]:
    """The request with every check, every decision and the whole envelope."""
    page = request(story, buttons=False, checks=False)
    more = Page(page.text, (*page.parts, *checked(story), *budget_words(story), *decided(story)))
    return _window(more)


def told(page: Page) -> dict[str, Any]:
    """An answer in the window that was opened for more."""
    return _window(page)


def _window(page: Page) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": DETAILS,
        "title": _text("GPU cluster", 24),
        "close": _text("Close", 24),
        "blocks": in_view(page)[:_MOST_BLOCKS] or in_view(Page(line(""), (Note(line("Nothing to show.")),))),
    }


def _text(text: str, limit: int) -> Block:
    return {"type": "plain_text", "text": clip(clean(text), limit) or "–", "emoji": False}


__all__ = ["DENY", "DETAILS", "REASON", "Line", "deny_form", "details", "loading", "told"]
