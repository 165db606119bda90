"""What the nodes of a cluster say to each other, by Redis's channels (pub/sub).

    {name}:talk          to all
    {name}:talk:NODE     to one

Who talks has connections of his own, so that nothing of the commons waits behind it. A Redis that
is slow fills the outbox, and what finds no room there is dropped; while it is away, all is.
Read next: `cluster.py`.
"""

from __future__ import annotations


import trio

from minivoice_ref.config import Config
from minivoice_ref.receiver.cluster_client import FAILURES, RedisLink
from minivoice_ref.receiver.talk import Hear, Outbox

__all__ = ["RedisTalk"]

_RETRY_AFTER = 1.0  # seconds between two sessions
_LAST_WORDS = 0.5  # seconds to send what waits at the end


class RedisTalk:
    """See `Talk`."""

    def __init__(self, config: Config, node: str) -> None:
        self.node = node
        self._redis = RedisLink(config)
        self._all = f"{self._redis.prefix}:talk"
        self._beat = config.timeouts.lease / 5
        self._outbox = Outbox()

    def send(self, message: bytes, to: str | None = None) -> bool:
        """Put a message into the outbox; see `Talk.send`."""
        channel = self._all if to is None else f"{self._all}:{to}"
        return self._outbox.put(channel, b"\0".join((self.node.encode(), message)))

    async def run(self, hear: Hear) -> None:
        """See `Talk.run`."""

        def take(message: bytes) -> None:
            sender, _, said = message.partition(b"\0")
            if sender != self.node.encode():
                hear(sender.decode(errors="replace"), said)

        try:
            while True:
                try:
                    async with self._redis.session(), trio.open_nursery() as nursery:
                        nursery.start_soon(self._send_all)
                        nursery.start_soon(self._see_that_it_is_there)
                        await self._redis.hear(take, self._all, f"{self._all}:{self.node}")
                        nursery.cancel_scope.cancel()  # the channels were closed
                except* FAILURES as group:
                    self._redis.fail_as(group)
                for channel in self._outbox.addressees():
                    self._outbox.clear(channel)
                await trio.sleep(_RETRY_AFTER)
        finally:
            await self._send_last_words()  # noqa: ASYNC102  # it is shielded, for a moment

    async def _send_last_words(self) -> None:
        """Send what waits, by a connection that nobody has cancelled."""
        with trio.move_on_after(_LAST_WORDS, shield=True):
            await trio.lowlevel.checkpoint()
            try:
                async with self._redis.session():
                    await self._send_what_waits()
            except* FAILURES:
                pass

    async def _send_all(self) -> None:
        while True:
            await self._outbox.something()
            await self._send_what_waits()

    async def _send_what_waits(self) -> None:
        await trio.lowlevel.checkpoint()
        for channel in self._outbox.addressees():
            while (message := self._outbox.first(channel)) is not None:
                await self._redis.publish(channel, message)
                self._outbox.sent(channel)

    async def _see_that_it_is_there(self) -> None:
        """Ask now and then, so that a connection that is dead is not listened to for ever."""
        while True:
            await self._redis.ping()
            await trio.sleep(self._beat)
