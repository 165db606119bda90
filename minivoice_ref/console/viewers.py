"""One browser that looks on, and the little that may wait for it.

A browser that is slow, or dead, must cost nobody anything. So what waits for it is bounded, to 64
messages and 1 MiB; when it is full, all of it is thrown away, and once the browser takes something
again it gets the present state in one piece instead of the past in many. Audio that did not get
through is over. Answers to the browser's own commands wait apart. A browser that takes nothing for
`timeouts.send` seconds is given up by its socket.

The messages are made once and shared: a queue holds references.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.media import WireMessage

__all__ = ["Viewer", "Wants"]

_MOST_MESSAGES = 64
_MOST_REPLIES = 256
_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wants:
    """What a browser has in front of it: the list, the logs, one call by any of its ids."""

    calls: bool = False
    logs: bool = False
    call: str | None = None
    listen: bool = False


class Viewer:
    """One browser. *peer* is its address, for the log."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.wants = Wants()
        self.missed = 0  # messages that were thrown away
        self._replies: deque[WireMessage] = deque(maxlen=_MOST_REPLIES)
        self._waiting: deque[WireMessage] = deque()
        self._size = 0
        self._stale = False
        self._something = trio.Event()

    def want(self, wants: Wants) -> None:
        """Look at something else: what waits is of no use any more, the present state is."""
        self.wants = wants
        self.refresh()

    def refresh(self) -> None:
        """Let the whole present state be sent next."""
        self._throw_away()
        self._stale = True
        self._something.set()

    def put(self, message: WireMessage) -> None:
        """Have a message sent, at the cost of all that waits where there is no room."""
        if self._stale:
            return  # the state that will be sent is newer
        self._waiting.append(message)
        self._size += len(message)
        if len(self._waiting) > _MOST_MESSAGES or self._size > _MOST_BYTES:
            self.missed += len(self._waiting)
            self.refresh()
        self._something.set()

    def reply(self, message: WireMessage) -> None:
        """Have an answer to a command sent; of 256 that wait the oldest gives way."""
        self._replies.append(message)
        self._something.set()

    async def send_all(
        self, socket: MediaSocket, state: Callable[[Viewer], Iterable[WireMessage]]
    ) -> None:
        """Send what comes, for ever; *state* makes the whole present state. Raises SocketClosed."""
        while True:
            await self._something.wait()
            self._something = trio.Event()
            if self._stale:
                messages = list(state(self))  # nothing is put meanwhile: it would come twice
                self._stale = False
                for message in messages:
                    await socket.send(message)
            while self._replies:
                await socket.send(self._replies.popleft())
            while self._waiting:
                message = self._waiting.popleft()
                self._size -= len(message)
                await socket.send(message)

    def _throw_away(self) -> None:
        self._waiting.clear()
        self._size = 0
