"""Putting messages back in order by their running number, as far as a small window reaches.

A message whose number is the next one passes. One that is ahead waits for those it overtook, until
they have come or too many wait: then the missing ones are given up. One that is behind passes at
once, since nothing is gained by holding it; `timeline.py` will find its place.

Knows no clock: what waits when nothing more comes is given out by `flush`. The window bounds what
is held, so the audio is never late by more than as many messages.
"""

from __future__ import annotations

from minivoice_ref.protocol.media import StreamEvent

__all__ = ["ReorderWindow"]


class ReorderWindow:
    """Holds at most *size* messages of one stream; when it is full, the earliest ones are let go.

    A message is the events that it was read as. The first that comes counts as in order.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._next: int | None = None
        self._held: dict[int, list[StreamEvent]] = {}

    def put(self, number: int, events: list[StreamEvent]) -> list[StreamEvent]:
        """Take the message *number*: the events that are in order now."""
        if self._next is None or number == self._next:
            self._next = number + 1
            return self._follow(events) if self._held else events
        if number < self._next or number in self._held:
            return events
        self._held[number] = events
        if len(self._held) <= self._size:
            return []
        self._next = min(self._held)
        return self._follow([])

    def flush(self) -> list[StreamEvent]:
        """Give out what is held, in order; what follows the last of it is next."""
        events: list[StreamEvent] = []
        for number in sorted(self._held):
            events += self._held[number]
            self._next = number + 1
        self._held.clear()
        return events

    def _follow(self, events: list[StreamEvent]) -> list[StreamEvent]:
        """*events* and those held that follow without a hole."""
        assert self._next is not None
        while self._next in self._held:
            events = events + self._held.pop(self._next)
            self._next += 1
        return events
