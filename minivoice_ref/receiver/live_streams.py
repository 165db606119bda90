"""How many streams this process has: in all, of each call, with each token.

A token ties a stream to a call and is good until it expires. So a stream that broke may be opened
again with it, which is logged; but it carries two live streams at most, because the platform may
open one socket for each track, and a third is somebody else. Both numbers are assumptions
(`limits.streams_per_token`, `token_lifetime`).

A place is taken before the upgrade, so that who comes too late reads an HTTP status, and given back
when the connection is over. What the neighbours have of the same call or token only the commons
know. This module knows neither sockets nor logs. Read next: `routes.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from minivoice_ref.config import Limits
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.receiver.calls import Subject, new_stream_id

__all__ = ["LiveStreams", "Place", "TooMany"]


class TooMany(RemoteProtocolError):
    """One more stream would be over a limit: `limit` is its name in `Limits`."""

    def __init__(self, limit: str, most: int, status: int) -> None:
        super().__init__(f"there are {most} streams already ({limit})", status=status)
        self.limit = limit


@dataclass(slots=True)
class _Use:
    """What became of a token. `opened` counts its streams so far, `live` those that go on."""

    expires_at: float
    opened: int = 0
    live: int = 0


class Place:
    """A stream's place. `nth` says how many streams its token has opened by now, itself included.

    Without a token that is 1.
    """

    def __init__(self, streams: LiveStreams, subject: Subject, use: _Use | None) -> None:
        self.stream_id = new_stream_id()
        self.subject = subject
        self.nth = 1 if use is None else use.opened
        self._streams = streams
        self._use = use

    def release(self) -> None:
        """Give the place back; once."""
        self._streams._leave(self.subject, self._use)


class LiveStreams:
    """Counts streams. Tokens are remembered until they expire, at most `limits.calls` of them."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all = 0
        self._of_call: Counter[str] = Counter()
        self._uses: dict[str, _Use] = {}

    def __len__(self) -> int:
        return self._all

    def enter(self, subject: Subject, token: str | None, expires_at: float, now: float) -> Place:
        """Take a place for a stream. Raises TooMany. *expires_at* and *now* are Unix seconds."""
        limits = self._limits
        if self._all >= limits.streams:
            raise TooMany("streams", limits.streams, 503)
        if self._of_call[str(subject)] >= limits.streams_per_call:
            raise TooMany("streams_per_call", limits.streams_per_call, 429)
        use = None if token is None else self._use_of(token, expires_at, now)
        if use is not None:
            if use.live >= limits.streams_per_token:
                raise TooMany("streams_per_token", limits.streams_per_token, 429)
            use.opened += 1
            use.live += 1
        self._all += 1
        if subject != Subject():
            self._of_call[str(subject)] += 1
        return Place(self, subject, use)

    def _leave(self, subject: Subject, use: _Use | None) -> None:
        self._all -= 1
        if use is not None:
            use.live -= 1
        self._of_call[str(subject)] -= 1
        if self._of_call[str(subject)] <= 0:
            del self._of_call[str(subject)]

    def _use_of(self, token: str, expires_at: float, now: float) -> _Use:
        use = self._uses.get(token)
        if use is None:
            self._forget_some(now)
            use = self._uses[token] = _Use(expires_at)
        return use

    def _forget_some(self, now: float) -> None:
        """Forget the oldest token that has expired; where it is full, one that has not."""
        for token, use in list(self._uses.items())[:2]:
            if use.live:
                self._uses[token] = self._uses.pop(token)  # to the end, until its turn comes again
            elif now >= use.expires_at or len(self._uses) >= self._limits.calls:
                del self._uses[token]
