"""TLS for a client that sends little and often: a small record leaves without a turn of the loop.

`trio.SSLStream` gives other tasks a turn up to three times for each record that it sends: for its
lock, for its socket, for whoever sends next. Of a stream of audio, with its record every 20 ms,
that is most of the cost, and under load each turn takes as long as all other streams together need
for theirs. `EagerTls.send_now` offers the record to the system at once, which nearly always takes
it; what it does not take is sent the patient way. Measured by `benchmarks/pacing.py`.

The same promises as `trio.SSLStream(https_compatible=True)` in all that our clients use. One task
sends at a time and one receives. Over anything but a TCP socket `send_now` has nothing to offer the
record to, and only the patient way remains.

Knows nothing of what is said through it. Read next: `link.py`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TypeVar

import trio

__all__ = ["EagerTls"]

_Result = TypeVar("_Result")
_MOST = 65536


class EagerTls(trio.abc.Stream):
    """A client's TLS over *transport*, through two memory buffers. First `do_handshake`.

    A server that wants to renegotiate breaks it: TLS 1.3 has no such thing, and our contexts refuse
    it in 1.2.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, host: str) -> None:
        self.transport_stream = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # Records leave in the order in which they were made: the lock is fair, and whoever takes
        # bytes to be sent holds it, or sees that nobody does and does not wait.
        self._sending = trio.StrictFIFOLock()
        self._unsent = b""
        self._fault: ssl.SSLError | None = None
        self._closed = False

    async def do_handshake(self) -> None:
        """Finish the handshake; the caller brings the deadline. Raises BrokenResourceError."""
        await self._read(self._tls.do_handshake, replying=True)
        await self._flush()

    @property
    def can_send_now(self) -> bool:
        """Whether there is a TCP socket that can be offered bytes."""
        return isinstance(self.transport_stream, trio.SocketStream)

    def send_now(self, data: bytes) -> bool:
        """Take *data*; tell whether all of it is with the system now.

        If not, `send_all(b"")` has to follow, which sends the rest or raises what is wrong. Gives
        no other task a turn: whoever sends in a loop owes them one.
        """
        assert isinstance(self.transport_stream, trio.SocketStream)
        self._write(data)
        if self._sending.locked() or self._unsent or self._fault or self._closed:
            return False
        record = self._outgoing.read()
        try:
            sent = os.write(self.transport_stream.socket.fileno(), record)
        except OSError:  # it would block, or the connection broke: the patient way finds out
            sent = 0
        self._unsent = record[sent:]
        return not self._unsent

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what `send_now` left over, and *data*. If cancelled, the stream is unusable."""
        if data:
            self._write(data)
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the system might take data at once."""
        await self.transport_stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what has arrived; empty at the end, with or without TLS's own goodbye."""
        size = _MOST if max_bytes is None else max_bytes
        if size < 1:
            raise ValueError("max_bytes must be >= 1")
        await trio.lowlevel.checkpoint()
        try:
            return await self._read(lambda: self._tls.read(size))
        except trio.BrokenResourceError as exc:
            if isinstance(exc.__cause__, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
                return b""
            raise

    async def aclose(self) -> None:
        """Close, without TLS's own goodbye, as HTTP and WebSocket peers do."""
        self._closed = True
        await self.transport_stream.aclose()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        """Have *data* made into records; what goes wrong is raised by `_flush`."""
        try:
            self._tls.write(data)
        except ssl.SSLError as exc:
            self._fault = self._fault or exc

    async def _flush(self) -> None:
        """Send all records that were made."""
        async with self._sending:
            if self._closed:
                raise trio.ClosedResourceError("this stream is closed")
            if self._fault is not None:
                raise trio.BrokenResourceError from self._fault
            records, self._unsent = self._unsent + self._outgoing.read(), b""
            try:
                await self.transport_stream.send_all(records)
            except BaseException:  # an unknown part of it was sent
                self._fault = ssl.SSLError("a record was cut in half")
                raise

    async def _read(self, call: Callable[[], _Result], *, replying: bool = False) -> _Result:
        """Do *call* as soon as enough has arrived for it; *replying*: it has to answer the peer.

        After the handshake it never has to at once: a new key may wait until there is something to
        send (RFC 8446 section 4.6.3), and whoever reads must not wait for somebody who sends to a
        peer that waits to be read.
        """
        while True:  # noqa: ASYNC913  # receive_some has its checkpoint, a handshake has to wait
            try:
                return call()  # noqa: ASYNC910
            except ssl.SSLWantReadError:
                if replying:
                    await self._flush()
                received = await self.transport_stream.receive_some(_MOST)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            except ssl.SSLError as exc:
                raise trio.BrokenResourceError from exc
