"""What a server that is about to stop has to know: who can be sent away, who must be waited for.

Read next: `front_door.py`, which says in what order it happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

__all__ = ["Drain"]


class Drain:
    """Whether the server is draining, and who need not be waited for then, and who must be."""

    def __init__(self) -> None:
        self.begun = False
        self.streams_ended = trio.Event()  # set once draining has begun and no stream is left
        self._waiting: dict[trio.CancelScope, bool] = {}  # for a request; true: for the first one
        self._streams = 0

    def begin(self) -> None:
        """Refuse what is new from now on, and end the waits for another request."""
        self.begun = True
        for scope, is_first in self._waiting.items():
            if not is_first:
                scope.cancel()
        self._look()

    @contextmanager
    def waiting(self, *, is_first: bool) -> Iterator[None]:
        """Mark a wait for a request. Nobody is asked for another one while we drain.

        Who is about to make the first one may have come for a call that goes on, so that wait ends
        when there are no streams any more.
        """
        with trio.CancelScope() as scope:
            if self.streams_ended.is_set() or (self.begun and not is_first):
                scope.cancel()
            self._waiting[scope] = is_first
            try:
                yield
            finally:
                del self._waiting[scope]

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Mark a stream, which draining waits for."""
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
            self._look()

    def _look(self) -> None:
        if self.begun and not self._streams:
            self.streams_ended.set()
            for scope in self._waiting:
                scope.cancel()
