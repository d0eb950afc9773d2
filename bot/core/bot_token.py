"""The bot's own token of Rancher: read from its source again and again, and remembered since when it is refused."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from bot.core.ports import Clock, Refused, TokenRefused, WorldError

log = logging.getLogger(__name__)

HOW_TO_MEND = "set RANCHER_TOKEN to it and start the bot again"
_SHAPE = "It looks like token-xxxxx:… or ext/…:…, on one line."


class BotToken:
    """Shared by everything that talks to Rancher, and safe to share between threads.

    `source` gives the token as it is now and may raise `WorldError`s; `mend` says, as the end of a sentence, how
    somebody gives the bot a new one. Moments are of `clock`'s world time.
    """

    def __init__(self, source: str | Callable[[], str], clock: Clock, *, mend: str = HOW_TO_MEND) -> None:
        self._source = source
        self._clock = clock
        self.mend = mend
        self._lock = threading.Lock()
        self._current = ""
        self._since: float | None = None

    @classmethod
    def of(cls, token: str | Callable[[], str] | BotToken, clock: Clock) -> BotToken:
        """That token, or one with that source."""
        return token if isinstance(token, BotToken) else cls(token, clock)

    def current(self) -> str:
        """The token. Raises `Refused` for what is none, and what the source raises, as long as there was none yet."""
        with self._lock:
            if not self._current:
                self._current = self._read()
            return self._current

    @property
    def name(self) -> str:
        """The token's name, which is no secret: what stands before its colon."""
        return self.current().partition(":")[0]

    @property
    def refused_since(self) -> float | None:
        """When Rancher began to refuse it; None while it does not."""
        return self._since

    def refresh(self) -> bool:
        """Read it again, and say whether it is another one now. What is no token, or cannot be read, changes nothing:
        somebody may be writing it at this moment."""
        try:
            fresh = self._read()
        except WorldError as error:
            log.warning("the bot's token could not be read again: %s", error.reason)
            return False
        with self._lock:
            changed, self._current = fresh != self._current, fresh
        if changed:
            log.info("the bot's token is now %s", fresh.partition(":")[0])
        return changed

    def replaced(self, used: str) -> bool:
        """Whether there is another one than `used`, which Rancher has just refused."""
        if self.current() == used:
            self.refresh()
        return self.current() != used

    def refused(self, used: str, said: str) -> TokenRefused:
        """Rancher refuses `used`, in these words: remembered, and the error that tells people."""
        with self._lock:
            if used == self._current and self._since is None:
                self._since = self._clock.now()
                log.error("Rancher refuses the bot's token %s: %s", used.partition(":")[0], said)
        return self._error(said)

    def accepted(self, used: str) -> None:
        """Rancher has taken `used`."""
        if self._since is None:
            return
        with self._lock:
            if used == self._current:
                self._since = None
                log.info("Rancher takes the bot's token %s", used.partition(":")[0])

    def refusal(self) -> TokenRefused | None:
        """The error that tells people, while it is refused."""
        return None if self._since is None else self._error("")

    def _error(self, said: str) -> TokenRefused:
        since = datetime.fromtimestamp(self._since or self._clock.now(), UTC)
        told = f" ({said})" if said else ""
        return TokenRefused(
            f"Rancher has not accepted the bot's token since {since:%Y-%m-%d %H:%M} UTC{told}.",
            f"Make a new token for the bot's user in Rancher (Account & API Keys; no cluster scope), and {self.mend}.",
        )

    def _read(self) -> str:
        token = (self._source() if callable(self._source) else self._source).strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            # Checked here because http.client would print a malformed token in its error.
            raise Refused("RANCHER_TOKEN is not a token.", _SHAPE)
        return token
