"""How fast the messages of one stream may come.

A hundred a second are both tracks in pieces of 20 ms. What a network held up comes all at once, so
ten seconds' worth may come in one burst; whoever goes on faster than that costs the other streams
their turns. Asked once for all messages of a read.

Read next: `stream.py`.
"""

from __future__ import annotations

__all__ = ["Pace"]

_BURST = 10.0  # seconds' worth


class Pace:
    """Allows *rate* messages a second. *now* is Trio's time, in seconds, here and below."""

    def __init__(self, rate: int, now: float) -> None:
        self._rate = rate
        self._room = rate * _BURST
        self._seen = now

    def allows(self, messages: int, now: float) -> bool:
        """Count so many messages; false if they are too many."""
        room = self._room + (now - self._seen) * self._rate
        self._room = min(room, self._rate * _BURST) - messages
        self._seen = now
        return self._room >= 0
