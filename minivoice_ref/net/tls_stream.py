"""TLS through two memory buffers, for both sides: little to do for each of many small records.

`trio.SSLStream` is right everywhere, and made for few large pieces. Of a stream of audio, with its
record every 20 ms, it is most of the cost: it tries to read before it waits, and gives other tasks
a turn up to three times for each record that it sends. Here one read of the socket brings all
records that have arrived, and `receive_some` hands out all that is in them. To send, `send_now`
offers a record to the system at once, which nearly always takes it; what it does not take is sent
the patient way.

                      receive_some                          send_now, send_all
                           ^                                        |
            bytes   SSLObject.read                           SSLObject.write
                           |                                        v
            records   _incoming (BIO)                        _outgoing (BIO) -> _unsent
                           ^                                        |
                    one read a wake-up                   one write, or a patient one

The promises are those of `trio.SSLStream(https_compatible=True)`: a goodbye of TLS is neither sent
nor waited for, and the end of the bytes below is the end. Beyond them:

* What we hold is bounded: one read of ciphertext, 64 KiB of what is being sent, and what a peer has
  TLS itself answer while it is read from (new keys, RFC 8446 section 4.6.3; a refusal). Such
  answers are offered to the system. Those that it does not take wait until something is sent; when
  they come to 64 KiB, the peer means harm, and the stream is broken.
* Renegotiation is refused by the contexts of `tls.py`; in TLS 1.3 there is none.

One task sends at a time and one receives; a second gets BusyResourceError. Over anything but a TCP
socket `send_now` has nothing to offer its record to, and only the patient way remains.

Knows nothing of what is said through it. Read next: `tls.py`, which makes its contexts.
"""

from __future__ import annotations

import operator
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

import trio

from minivoice_ref.net.sockets import MOST, offer, receive_now, receive_when_ready

__all__ = ["TlsStream"]

_PIECE = 4096


class TlsStream(trio.abc.Stream):
    """TLS over *transport*, as a server if *server_side*; *host* is the name a client checks.

    First `do_handshake`. May be cancelled where it receives: nothing is lost. Cancelled while it
    sends, half a record may be on its way, and it can only be closed.
    """

    def __init__(
        self,
        transport: trio.abc.Stream,
        context: ssl.SSLContext,
        host: str | None = None,
        *,
        server_side: bool = False,
    ) -> None:
        self.transport_stream = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=host
        )
        self._receive: Callable[[], Awaitable[bytes | bytearray]]
        if isinstance(transport, trio.SocketStream):
            self._receive = partial(receive_when_ready, transport)
        else:
            self._receive = partial(transport.receive_some, MOST)
        self._arrived: bytes | bytearray = b""  # what OpenSSL was not given yet
        self.more = True  # something of what was read may be left; behind the handshake, too
        self._garbled: ssl.SSLError | None = None  # why nothing can be received any more
        self._unsent = b""
        self._sending = False
        self._fault: ssl.SSLError | None = None  # why nothing can be sent any more
        self._closed = False

    async def do_handshake(self) -> None:  # noqa: ASYNC910  # no handshake without waiting
        """Finish the handshake; the caller brings the deadline. Raises BrokenResourceError."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._flush()
                self._take_in(await self._read_below())
            except ssl.SSLError as exc:
                raise trio.BrokenResourceError from exc
        # In TLS 1.3 a server's last words are tickets for later sessions, which a client that has
        # not begun to read would not take: they go out with the first bytes that we send.
        if not self._tls.server_side or self._tls.version() != "TLSv1.3":
            await self._flush()

    # --- receiving ---

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what has arrived; empty at the end, with or without TLS's own goodbye.

        Without *max_bytes* all that one read of the socket brought, at most 64 KiB.
        """
        size = MOST if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be >= 1")
        data = None
        if self.more and not self._closed:
            await trio.lowlevel.checkpoint()
            data = self._decrypt(size)
        while data is None:
            self._take_in(await self._read_below())
            data = self._decrypt(size)
        return data  # noqa: ASYNC910  # one of the two was a checkpoint

    def receive_now(self) -> bytes | None:
        """What has arrived, without waiting; empty at the end, None where no record is whole yet.

        For whoever knows that the TCP socket below has something to read, and that nobody receives.
        While there is `more`, of what was read before, the socket need not say so again. Raises as
        `receive_some` does.
        """
        assert isinstance(self.transport_stream, trio.SocketStream)
        if self.more and (data := self._decrypt(MOST)) is not None:
            return data
        if self._outgoing.pending:
            self._answer()
        arrived = receive_now(self.transport_stream)
        if arrived is None:
            return None
        self._take_in(arrived)
        return self._decrypt(MOST)

    def _read_below(self) -> Awaitable[bytes | bytearray]:
        """Read once from the stream below."""
        if self._closed:
            return self._refuse_as_closed()
        if self._outgoing.pending:
            self._answer()
        return self._receive()

    async def _refuse_as_closed(self) -> NoReturn:
        await trio.lowlevel.checkpoint()
        raise trio.ClosedResourceError("this stream is closed")

    def _take_in(self, arrived: bytes | bytearray) -> None:
        """Give OpenSSL what was read; of much of it, the beginning."""
        if not arrived:
            self._incoming.write_eof()
        elif len(arrived) <= _PIECE:
            self._incoming.write(arrived)
        else:
            self._arrived = arrived
            self._pass_on()

    def _answer(self) -> None:
        """Offer the system what TLS wants to have said, unless somebody is sending and will."""
        if self.can_send_now and not self._sending:
            self._unsent = self._unsent or self._outgoing.read()
            self._offer()
        if self._outgoing.pending > MOST:
            raise trio.BrokenResourceError("the peer has us answer without end")

    def _pass_on(self) -> None:
        """Give OpenSSL the next of what was read.

        In pieces, since its buffer never shrinks: one burst must not cost 64 KiB for good.
        """
        self._incoming.write(self._arrived[:_PIECE])
        self._arrived = self._arrived[_PIECE:]

    def _decrypt(self, size: int) -> bytes | None:
        """At most *size* bytes of what was read; empty at the end, None if no record is whole."""
        found: list[bytes] = []
        self.more = True
        read, incoming = self._tls.read, self._incoming
        while size and self._garbled is None:
            try:
                data = read(size)
            except ssl.SSLWantReadError:
                if self._arrived:
                    self._pass_on()
                    continue
                self.more = False
                break
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
                return b"".join(found)
            except ssl.SSLError as exc:
                self._garbled = exc  # OpenSSL would say it only once
                break
            if not data:
                return b"".join(found)
            found.append(data)
            size -= len(data)
            if size and not (incoming.pending or self._arrived):
                self.more = False
                break
        if self._garbled is not None and not found:
            raise trio.BrokenResourceError from self._garbled
        if len(found) == 1:
            return found[0]
        return b"".join(found) if found else None

    # --- sending ---

    @property
    def can_send_now(self) -> bool:
        """Whether there is a TCP socket that can be offered bytes."""
        return isinstance(self.transport_stream, trio.SocketStream)

    def send_now(self, data: bytes) -> bool:
        """Take *data*; tell whether all of it is with the system now.

        If not, `send_all(b"")` has to follow, which sends the rest or raises what is wrong. Gives
        no other task a turn: whoever sends in a loop owes them one.
        """
        self._refuse_if_sending()
        self._encrypt(data)
        self._offer()
        return not (self._unsent or self._fault)

    def _offer(self) -> None:
        """Offer the system what was not sent. Of a stream that is closed it takes nothing."""
        assert isinstance(self.transport_stream, trio.SocketStream)
        if self._fault is None:
            self._unsent = self._unsent[offer(self.transport_stream, self._unsent) :]

    async def send_all(  # noqa: ASYNC910  # _flush is a checkpoint
        self, data: bytes | bytearray | memoryview
    ) -> None:
        """Send what `send_now` left over, and *data*."""
        self._refuse_if_sending()
        self._sending = True
        try:
            for start in range(0, len(data) or 1, MOST):
                self._encrypt(data[start : start + MOST])
                await self._flush()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the system might take data at once."""
        await self.transport_stream.wait_send_all_might_not_block()

    def _refuse_if_sending(self) -> None:
        """Before anything is encrypted: records must leave in the order in which they were made."""
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")

    def _encrypt(self, data: bytes | bytearray | memoryview) -> None:
        """Have *data* made into records; what goes wrong is raised by `_flush`."""
        try:
            if data:  # to OpenSSL no bytes are the end
                self._tls.write(data)
        except ssl.SSLError as exc:
            self._fault = self._fault or exc
        self._unsent += self._outgoing.read()

    async def _flush(self) -> None:
        """Send all records that were made."""
        if self._closed:
            await self._refuse_as_closed()
        if self._fault is not None:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError from self._fault
        records, self._unsent = self._unsent + self._outgoing.read(), b""
        try:
            await self.transport_stream.send_all(records)
        except BaseException:  # an unknown part of it was sent
            self._fault = ssl.SSLError("a record was cut in half")
            raise

    async def aclose(self) -> None:
        """Close, without TLS's own goodbye, as HTTP and WebSocket peers do."""
        self._closed = True
        await self.transport_stream.aclose()
