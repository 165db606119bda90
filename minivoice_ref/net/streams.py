"""Byte streams: giving back what was read, closing so that the last words arrive, naming the peer.

Knows Trio and nothing of what the bytes mean. Read next: `tls.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.tls_stream import TlsStream

__all__ = ["ReplayStream", "Unwrapped", "aclose_politely", "eager_below", "linger", "peer_name"]


class ReplayStream(trio.abc.Stream):
    """A stream that first gives back bytes that somebody has already read from it.

    Everything else goes straight through; closing it closes the stream below.
    """

    def __init__(self, head: bytes, stream: trio.abc.Stream) -> None:
        self._head = head
        self.below = stream
        self.before_close: Callable[[], None] | None = None  # is told once, as long as it is open

    def give_back(self, data: bytes) -> None:
        """Put *data* in front of all that is still to be received."""
        self._head = data + self._head

    def take_back(self) -> bytes:
        """What was given back and has not been received; from now on all comes from below."""
        head, self._head = self._head, b""
        return head

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive at most *max_bytes*; what was given back comes first, unmixed with new bytes."""
        if not self._head or max_bytes == 0:
            return await self.below.receive_some(max_bytes)
        if max_bytes is not None and max_bytes < 0:
            raise ValueError("max_bytes must be >= 1")
        await trio.lowlevel.checkpoint()
        size = len(self._head) if max_bytes is None else max_bytes
        data, self._head = self._head[:size], self._head[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data* through the stream below."""
        await self.below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the stream below might take data at once."""
        await self.below.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below and forget what was not read."""
        self._head = b""
        if self.before_close is not None:
            self.before_close()
            self.before_close = None
        await self.below.aclose()


def eager_below(stream: trio.abc.Stream) -> TlsStream | None:
    """The stream below *stream* that can be offered bytes without waiting, if there is one."""
    while isinstance(stream, ReplayStream):
        stream = stream.below
    return stream if isinstance(stream, TlsStream) and stream.can_send_now else None


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more comes, then read and throw away until the peer is through as well.

    Closing a socket while unread bytes wait in it makes the system send a reset, which can destroy
    our last words before the peer has read them: the 413 to a body, the Close to a message too big.
    The caller brings the deadline, since a peer may send for ever. A broken stream ends it quietly.
    """
    try:
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()
        while await stream.receive_some():
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.lowlevel.checkpoint()


async def aclose_politely(stream: trio.abc.Stream, timeouts: Timeouts, *, unread: bool) -> None:
    """Close *stream* within `timeouts.close` seconds, whatever the peer does.

    *unread* says that the peer may still be sending what nobody will read: then `linger` first.
    If cancelled, the stream is closed at once.
    """
    if unread:
        with trio.move_on_after(timeouts.close):
            await linger(stream)
    with trio.move_on_after(timeouts.close):
        await stream.aclose()  # if cancelled it still closes: trio.abc.AsyncResource promises it


def peer_name(stream: trio.abc.Stream) -> str:
    """Name the other end for a log: `192.0.2.1:40000`, `[2001:db8::1]:40000`; empty if unknown."""
    if isinstance(stream, (trio.SSLStream, TlsStream)):
        return peer_name(stream.transport_stream)
    if not isinstance(stream, trio.SocketStream):
        return str(getattr(stream, "peer", ""))
    try:
        address = stream.socket.getpeername()
    except OSError:  # it has already gone
        return ""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Unwrapped:
    """`with Unwrapped():` around a nursery that is an implementation detail.

    A nursery wraps what its body raises into an exception group, also when the nursery only serves
    a helper task and the body is the user's. This takes one layer off again if there is a single
    exception in it, so that a `ValueError` leaves a context manager of ours as a `ValueError`.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            inner: BaseException = error.exceptions[0]
            context = inner.__context__
            try:
                raise inner
            finally:
                inner.__context__ = context  # else the group that holds it becomes its own cause
                # This frame is in the traceback of what it raises: what it holds would hold it.
                del error, inner, context, traceback
