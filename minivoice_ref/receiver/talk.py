"""Short messages between neighbours, for whoever watches: how consoles show each other's calls.

What is said here may get lost, and nobody ever waits for it: what must not get lost is in the
commons. Two ways, and whoever talks does not know which it is:

    worker_talk.py    datagrams between the processes of one machine (`--workers`)
    cluster_talk.py   Redis's channels, between as many machines as there are (`--cluster`)

A receiver without a console opens neither. This module holds the seam, and what waits to be sent.
Read next: `worker_talk.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

__all__ = ["Alone", "Hear", "Outbox", "Talk"]

_MOST_MESSAGES = 512  # for one addressee
_MOST_BYTES = 2 * 1024 * 1024

Hear: TypeAlias = Callable[[str, bytes], None]
"""Hears who says what."""


class Talk(Protocol):
    """The seam. `node` is who we are to the others."""

    node: str

    def send(self, message: bytes, to: str | None = None) -> bool:
        """Have a message sent to a neighbour, or to all of them, in the order of the sending.

        Never waits. False: there was no room for it, so it is dropped.
        """

    async def run(self, hear: Hear) -> None:
        """Send what is to be sent and call *hear* with what comes, for ever.

        Cancelled, it sends what waits, as far as that goes at once.
        """


class Alone(Talk):
    """The talk of a receiver that has nobody to talk to."""

    node = ""

    def send(self, message: bytes, to: str | None = None) -> bool:
        """Nobody hears it."""
        del message, to
        return True

    async def run(self, hear: Hear) -> None:
        """Nothing comes."""
        del hear
        await trio.sleep_forever()


class Outbox:
    """What waits to be sent: for each addressee 512 messages and 2 MiB at most."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[bytes]] = {}
        self._sizes: dict[str, int] = {}
        self._something = trio.Event()

    def put(self, to: str, message: bytes) -> bool:
        """Add a message where there is room for it."""
        waiting, size = self._waiting.get(to, ()), self._sizes.get(to, 0) + len(message)
        if len(waiting) >= _MOST_MESSAGES or size > _MOST_BYTES:
            return False
        self._waiting.setdefault(to, deque()).append(message)
        self._sizes[to] = size
        self._something.set()
        return True

    def addressees(self) -> list[str]:
        """For whom something waits."""
        return list(self._waiting)

    def first(self, to: str) -> bytes | None:
        """The message that is to be sent next; None where nothing waits."""
        waiting = self._waiting.get(to)
        return waiting[0] if waiting else None

    def sent(self, to: str) -> None:
        """Strike out the first message."""
        self._sizes[to] -= len(self._waiting[to].popleft())
        if not self._waiting[to]:
            self.clear(to)

    def clear(self, to: str) -> None:
        """Throw away what waits for somebody who is not there."""
        self._waiting.pop(to, None)
        self._sizes.pop(to, None)

    async def something(self) -> None:
        """Wait until there is something to send."""
        while not self._waiting:
            self._something = trio.Event()
            await self._something.wait()
        await trio.lowlevel.checkpoint()
