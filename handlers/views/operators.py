"""What those must know who run the bot, whoever's clusters it makes."""

from __future__ import annotations

import json
from typing import Any

from bot.core.token_watch import EXPIRING, MENDED, REFUSED
from handlers.views.page import Page, Para
from handlers.views.spans import line, moment


def operators(body: str) -> Page:
    """The message. Raises ValueError or KeyError for a body that is none."""
    facts: dict[str, Any] = json.loads(body)
    again = line(
        "Whoever runs the bot makes a new one as its user in Rancher (Account & API Keys; no cluster scope), and "
        f"{facts['mend']}."
    )
    match facts["what"]:
        case str(what) if what == EXPIRING:
            said = line("The bot's Rancher token ends ", moment(float(facts["ends"])), "; then it can do nothing more.")
            return Page(said, (Para((said, again)),))
        case str(what) if what == REFUSED:
            said = line("Rancher has not accepted the bot's token since ", moment(float(facts["since"])), ".")
            waits = line("What is being made waits until then, and so does every delete; what runs costs money.")
            return Page(said, (Para((said, again, waits)),))
        case str(what) if what == MENDED:
            said = line("Rancher takes the bot's token again; the work goes on.")
            return Page(said, (Para((said,)),))
        case other:
            raise ValueError(f"there is no message {other} to operators")
