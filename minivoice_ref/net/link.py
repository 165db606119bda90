"""The byte stream below a WebSocket, as its library may see it.

`websocket.py` says why a library must not have the stream itself. Knows nothing of frames.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.media_socket import ABNORMAL, Ending
from minivoice_ref.net.streams import eager_below

__all__ = ["Answer", "Link"]

Answer = Callable[[bytes], Awaitable[bytes]]
"""Makes the response that the library reads first of the request that it sent first."""


class Link(trio.abc.Stream):
    """A byte stream that is held back, sends atomically, and is not the library's own to close.

    Nothing is received through it before `opened` is set. With *answer*, what the library sends
    first is handed to it instead of the peer, and what the library reads first is its result.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        timeouts: Timeouts,
        answer: Answer | None,
    ) -> None:
        self._stream = stream
        self._eager = eager_below(stream)
        self._timeouts = timeouts
        self.ending = Ending()
        self._answer = answer
        self._request = b""
        self.opened = trio.Event()
        self.ended = trio.Event()  # nothing more comes through it

    def let_go(self) -> None:
        """Give the library nothing more to read, so that its reader ends."""
        self.ended.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, but what follows the handshake only once the socket is open."""
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return await answer(self._request)
        await self.opened.wait()
        self._refuse_if_ended()
        return await self._receive(max_bytes)

    def _refuse_if_ended(self) -> None:
        if self.ended.is_set():
            raise trio.ClosedResourceError("the library has closed this stream")

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send one frame whole within `timeouts.send`, even if cancelled; else break the stream."""
        if self._answer is not None:
            self._request += data
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(self._timeouts.send, shield=True) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            why = f"the peer did not take a frame within {self._timeouts.send:g} s"
            self.ending.note(ABNORMAL, why, by_peer=False)
            await trio.aclose_forcefully(self._stream)
            raise trio.BrokenResourceError(why)

    @property
    def can_send_now(self) -> bool:
        """Whether `send_eagerly` has what it needs."""
        return self._eager is not None

    async def send_eagerly(  # noqa: ASYNC910  # the point of it
        self, frames: bytes, lock: trio.StrictFIFOLock
    ) -> None:
        """Send frames as `send_all` does, but with no checkpoint if the system takes them at once.

        Nobody may hold *lock*, which all who send have to take if they are going to wait.
        """
        assert self._eager is not None
        if not self._eager.send_now(frames):
            async with lock:
                await self.send_all(b"")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer might take data at once."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Only `let_go`: the reader's task closes the byte stream."""
        self.let_go()
        await trio.lowlevel.checkpoint()
