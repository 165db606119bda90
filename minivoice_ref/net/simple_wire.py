"""The simple way to carry messages: all through trio-websocket, one at a time. A `Wire`.

Learn this one first. `fast_wire.py` is the same with a shorter way for most of what is received;
everything else, sending, pings, the closing, it inherits from here.

Knows the library, and nothing of handshakes. Read next: `websocket.py`, which says what the library
has to be protected from, and then `fast_wire.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto.connection import Connection

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.frames import whole_frames
from minivoice_ref.net.link import Answer, Link
from minivoice_ref.net.manners import Manners
from minivoice_ref.net.media_socket import ABNORMAL
from minivoice_ref.net.streams import ReplayStream, Unwrapped, aclose_politely
from minivoice_ref.protocol.media import WireMessage

__all__ = ["Opening", "SimpleWire"]

Opening = Callable[[trio.Nursery], Awaitable[WebSocketConnection]]
"""Does the opening handshake through a wire's `link`, with the library's reader in the nursery."""


class SimpleWire:
    """Messages over *stream*, by the library's own queue. *answer* is as in `Link`."""

    _link_class: ClassVar[type[Link]] = Link

    def __init__(
        self,
        stream: ReplayStream,
        limits: Limits,
        timeouts: Timeouts,
        answer: Answer | None = None,
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._timeouts = timeouts
        self._reader = trio.CancelScope()
        self._gone = trio.Event()
        self._library: WebSocketConnection
        self._manners: Manners
        self.link = self._link_class(stream, timeouts, answer)
        self.ending = self.link.ending

    async def read(
        self, opening: Opening, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Open, report, own the library's reader until it is through, close the byte stream."""
        try:
            with self._reader, Unwrapped():
                async with trio.open_nursery() as nursery:
                    self._library = await opening(nursery)
                    # Without wsproto's handshake: it would keep some kilobytes that nobody needs.
                    connection = self._library._wsproto.connection
                    assert connection is not None, "the handshake is done"
                    self._manners = self._new_manners(connection)
                    self._library._wsproto = self._manners  # type: ignore[assignment]
                    self._reader.shield = True
                    self.link.opened.set()
                    task_status.started()
                self.link.let_go()
                await aclose_politely(self._stream, self._timeouts, unread=self._manners.broken)
        finally:
            self.link.let_go()
            self._gone.set()  # first: the next line may raise Cancelled, with the stream closed
            await trio.aclose_forcefully(self._stream)

    def _new_manners(self, below: Connection) -> Manners:
        """What stands between the library and wsproto; called when the handshake is done."""
        return Manners(below, self._limits.message, self.link)

    @property
    def subprotocol(self) -> str | None:
        return self._library.subprotocol

    async def receive(self) -> list[WireMessage]:
        try:
            return [await self._library.get_message()]
        except ConnectionClosed:
            raise self.ending.error() from None

    async def pour(self, take: Callable[[list[WireMessage]], bool]) -> None:
        while take(await self.receive()):  # noqa: ASYNC913  # `receive` is a checkpoint
            pass

    async def send(self, message: WireMessage) -> None:
        try:
            await self._library.send_message(message)
        except ConnectionClosed:
            raise self.ending.error() from None

    async def send_together(self, messages: Sequence[WireMessage]) -> None:  # noqa: ASYNC910
        lock = self._library._stream_lock
        if lock.locked() or not self.link.can_send_now:
            for message in messages:
                await self.send(message)
        elif self.ending.end is not None:
            raise self.ending.error()
        else:
            frames = whole_frames(messages, masked=self._manners.client)
            try:
                await self.link.send_eagerly(frames, lock)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raise self.ending.error() from None

    async def ping(self) -> None:
        with trio.CancelScope() as scope:
            self.ending.waiting.add(scope)
            try:
                await self._library.ping()
            except ConnectionClosed:
                raise self.ending.error() from None
            finally:
                self.ending.waiting.discard(scope)
        if scope.cancelled_caught:
            raise self.ending.error()

    async def close(self, code: int, reason: str) -> None:
        await self._library.aclose(code, reason)
        await self._gone.wait()

    async def abort(self, reason: str) -> None:
        self.ending.note(ABNORMAL, reason, by_peer=False)
        self._reader.cancel()
        with trio.move_on_after(self._timeouts.close, shield=True):  # nothing here takes time
            await trio.aclose_forcefully(self._stream)
            await self._gone.wait()
