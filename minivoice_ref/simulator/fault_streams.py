"""Byte streams that misbehave, below a WebSocket and inside TLS.

They see what the WebSocket library writes: first the whole head of the upgrade, then whole frames
(`net/link.py` promises it). So frames can be taken apart here, or joined by others, without the
library's knowledge, which would not do such things.

Facts: RFC 6455 section 5.2 for the form of a frame, 5.3 for masks, 5.4 for fragments, 5.5.2 for
pings. Read next: `fault_connection.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import trio

from minivoice_ref.net.frames import lay_mask

__all__ = ["FrameStream", "MuteStream", "SlowStream", "fragments", "frame", "pings"]

_CONTINUATION, _PING = 0, 9
_PIECES = 20


class _Through(trio.abc.Stream):
    """Everything but what is sent goes straight through."""

    def __init__(self, below: trio.abc.Stream) -> None:
        self.below = below

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the stream below might take data at once."""
        await self.below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive from the stream below."""
        return await self.below.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close the stream below."""
        await self.below.aclose()


class SlowStream(_Through):
    """Takes *seconds* to send what is sent first, a piece at a time."""

    def __init__(self, below: trio.abc.Stream, seconds: float) -> None:
        super().__init__(below)
        self._seconds = seconds
        self._begun = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, the first of all in pieces."""
        if self._begun:
            return await self.below.send_all(data)
        self._begun = True
        await trio.lowlevel.checkpoint()
        size = -(-len(data) // _PIECES)
        try:
            for start in range(0, len(data), size):
                await self.below.send_all(data[start : start + size])
                await trio.sleep(self._seconds / _PIECES)
        except trio.BrokenResourceError:
            pass  # the peer has lost its patience, and may have said so: that is read next


class MuteStream(_Through):
    """Can fall mute: then nothing is sent, nothing is heard, and closing it closes nothing."""

    def __init__(self, below: trio.abc.Stream) -> None:
        super().__init__(below)
        self._mute = self._closed = False

    def mute(self) -> None:
        """Fall mute. Whoever is receiving must be cancelled; `outlast` then ends the stream."""
        self._mute = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, or let it vanish."""
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self._mute:
            return await trio.lowlevel.checkpoint()
        await self.below.send_all(data)

    async def aclose(self) -> None:
        """Close the stream below, unless it is mute."""
        self._closed = True
        if self._mute:
            return await trio.lowlevel.checkpoint()
        await self.below.aclose()

    async def outlast(self, seconds: float) -> bool:
        """Wait, at most *seconds*, for the peer to end the connection, then end it here.

        Returns whether the peer did. What it says meanwhile goes unheard.
        """
        try:
            with trio.move_on_after(seconds) as patience:
                try:
                    while await self.below.receive_some():
                        pass
                except trio.BrokenResourceError:
                    await trio.lowlevel.checkpoint()
            return not patience.cancelled_caught
        finally:
            await trio.aclose_forcefully(self.below)


Rewrite = Callable[[int, bytes], Iterator[bytes]]
"""Makes of a frame, its first byte and its payload, the frames that are sent in its place."""


class FrameStream(_Through):
    """Sends other frames in the place of those that it is given, each with a send of its own."""

    def __init__(self, below: trio.abc.Stream, rewrite: Rewrite) -> None:
        super().__init__(below)
        self._rewrite = rewrite
        self._upgraded = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*: the head of the upgrade as it is, then whole frames, rewritten."""
        if not self._upgraded:
            self._upgraded = True
            return await self.below.send_all(data)
        await trio.lowlevel.checkpoint()
        for first, payload in _frames(bytes(data)):
            for rewritten in self._rewrite(first, payload):
                await self.below.send_all(rewritten)


def fragments(number: int) -> Rewrite:
    """Cut each message into at most *number* fragments, none of them empty."""

    def rewrite(first: int, payload: bytes) -> Iterator[bytes]:
        final, opcode = first & 0x80, first & 0x0F
        if opcode & 0x08 or len(payload) < 2:  # a control frame is never fragmented
            yield frame(first, payload)
            return
        size = -(-len(payload) // number)
        for start in range(0, len(payload), size):
            last = final if start + size >= len(payload) else 0
            yield frame(last | (_CONTINUATION if start else opcode), payload[start : start + size])

    return rewrite


def pings(number: int) -> Rewrite:
    """Send *number* pings before each frame of a message."""

    def rewrite(first: int, payload: bytes) -> Iterator[bytes]:
        if not first & 0x08:
            yield b"".join(frame(0x80 | _PING, b"flood %d" % ping) for ping in range(number))
        yield frame(first, payload)

    return rewrite


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame: *first* is its first byte (final, opcode); masked as a client must."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    return head + mask + lay_mask(payload, mask)


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The masked frames in *data*: first byte, payload."""
    place = 0
    while place < len(data):
        first, size = data[place], data[place + 1] & 0x7F
        place += 2
        extended = {126: 2, 127: 8}.get(size, 0)
        if extended:
            size = int.from_bytes(data[place : place + extended], "big")
        mask = data[place + extended : place + extended + 4]
        place += extended + 4
        yield first, lay_mask(data[place : place + size], mask)
        place += size
