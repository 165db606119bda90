"""How a WebSocket is accepted and opened, and what its library is protected from.

An essay, since this is the hardest file. trio-websocket is a sound implementation of RFC 6455 with
habits that a server on the open internet cannot afford. Each was measured, has a test, and is met
at one place of this file.

1. **Its opening handshake trusts the peer.** A Host header that is no ASCII, a request it will not
   have, a strange response to its own request: the exception leaves through its nursery, or a task
   waits for ever. So every head, of a request (`front_door.py`) or of a response (here), is read
   and judged first by h11, within limits. The library then reads a head that *we* wrote, through a
   stream that gives it that head and holds back what follows until the socket is open.
2. **Its reader dies with whoever opened it.** An outer cancellation takes the reader along, and
   then the closing handshake cannot finish: the peer sees 1006 where it should hear 1001. So the
   reader's task shields itself once it is open. It has an owner, and the owner cancels it last.
3. **A cancelled send cuts a frame in half**, and everything behind it, the Close too, is swallowed
   as its payload. So `Link.send_all` is atomic: shielded, with a deadline of its own, and if that
   passes the byte stream is broken. Pongs and Closes go the same way.
4. **It closes the byte stream too early or never**: at once after a broken protocol, so that a
   reset can destroy the Close; not at all after a message that is too big. So `Link.aclose` only
   ends the reading. The reader's task closes the byte stream, when it is through and has lingered.
5. **It answers a Ping while it is closing**, which its own protocol object forbids: another
   exception through the nursery. It says nothing to a peer that breaks the protocol. Empty
   fragments may pile up without end. So `_Manners` stands between the two.
6. **A ping waits for ever if the socket ends.** So each has a scope that the end cancels.

Who is alive when, for an accepted socket (an opened one is the same):

    open_accepted
    └─ nursery
       ├─ the body of the caller's `async with`    leaves by return, exception or cancellation
       │    └─ close(code)                         shielded, `timeouts.close`: the goodbye
       └─ _PlainWire.read                          until the library's reader is through
          └─ trio-websocket's reader               shielded once open; cancelled last, by close()

Only this module imports trio-websocket and wsproto. Read next: `front_door.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection
from wsproto import WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Message, Pong

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Connector, FetchError, Target, connect_to
from minivoice_ref.net.frames import whole_frames
from minivoice_ref.net.http_client import upgrade
from minivoice_ref.net.http_messages import Request
from minivoice_ref.net.link import Answer, Link
from minivoice_ref.net.media_socket import ABNORMAL, BREACHES, End, MediaSocket, PongTimeout
from minivoice_ref.net.media_socket import SocketClosed, goodbye_code
from minivoice_ref.net.streams import ReplayStream, Unwrapped, aclose_politely
from minivoice_ref.net.upgrade import UpgradeRefused, check_response, key_of, plain_request
from minivoice_ref.net.upgrade import plain_response, proposed_subprotocols, request_headers
from minivoice_ref.protocol.errors import LocalProtocolError, MiniVoiceError
from minivoice_ref.protocol.media import WireMessage

__all__ = [
    "MediaSocket",
    "PongTimeout",
    "SocketClosed",
    "UpgradeRefused",
    "open_accepted",
    "open_connected",
]

_Opening = Callable[[trio.Nursery], Awaitable[WebSocketConnection]]


@asynccontextmanager
async def open_accepted(
    stream: trio.abc.Stream,
    request: Request,
    *,
    trailing: bytes = b"",
    subprotocol: str | None = None,
    limits: Limits,
    timeouts: Timeouts,
) -> AsyncGenerator[MediaSocket, None]:
    """Accept the good upgrade *request* (`upgrade.refuse_upgrade`) and hold its socket for a block.

    *trailing* is what was read behind the request's head. The socket is closed when the block is
    left: 1000 normally, 1001 by cancellation, a RemoteProtocolError's own code, 1011 by another
    exception; within `timeouts.close` seconds, and *stream* with it. Raises LocalProtocolError if
    *subprotocol* was not proposed, before anything is sent, and SocketClosed if the peer has gone.
    """
    if subprotocol is not None and subprotocol not in proposed_subprotocols(request):
        raise LocalProtocolError(f"the subprotocol {subprotocol!r} was not proposed by the client")
    wire = _PlainWire(ReplayStream(trailing, stream), limits, timeouts)
    head = plain_request(request, subprotocol)

    async def accept(nursery: trio.Nursery) -> WebSocketConnection:
        proposal = await trio_websocket.wrap_server_stream(
            nursery,
            ReplayStream(head, wire.link),
            max_message_size=limits.message,
            receive_buffer_size=None,
        )
        return await proposal.accept(subprotocol=subprotocol)

    gone = SocketClosed(End(ABNORMAL, "the peer did not take the handshake", by_peer=True))
    async with _supervised(wire, accept, gone, timeouts) as socket:
        yield socket


@asynccontextmanager
async def open_connected(
    url: str,
    *,
    connect: Connector,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    limits: Limits,
    timeouts: Timeouts,
) -> AsyncGenerator[MediaSocket, None]:
    """Open a WebSocket at a ws or wss URL for a block, which ends as `open_accepted`'s does.

    Raises FetchError where no answer came (it names the step), and UpgradeRefused with the status
    where the answer was no. The opening handshake has `timeouts.upgrade` seconds.
    """
    target = Target.of(url, "ws", "wss")
    stream = ReplayStream(b"", await connect_to(target, connect))

    async def answer(request: bytes) -> bytes:
        # The library's request stays in the house; its key goes out in ours.
        key = key_of(request)
        lines = [*headers, *request_headers(key, subprotocols)]
        response, trailing = await upgrade(stream, target, lines, limits)
        chosen = check_response(response, key, subprotocols)
        stream.give_back(trailing)
        return plain_response(key, chosen)

    wire = _PlainWire(stream, limits, timeouts, answer)

    async def propose(nursery: trio.Nursery) -> WebSocketConnection:
        return await trio_websocket.wrap_client_stream(
            nursery,
            wire.link,  # type: ignore[arg-type]  # any stream will do, says its documentation
            "localhost",
            "/",
            subprotocols=subprotocols,
            max_message_size=limits.message,
            receive_buffer_size=None,
        )

    late = FetchError("response", url, f"no WebSocket within {timeouts.upgrade:g} s")
    async with _supervised(wire, propose, late, timeouts) as socket:
        yield socket


@asynccontextmanager
async def _supervised(
    wire: _PlainWire, opening: _Opening, late: MiniVoiceError, timeouts: Timeouts
) -> AsyncGenerator[MediaSocket, None]:
    """Run the reader around a block; say goodbye when the block is left, then end the reader."""
    with Unwrapped():
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(timeouts.upgrade):
                    await nursery.start(wire.read, opening)
            except (trio.TooSlowError, ConnectionClosed):
                raise late from None
            socket = MediaSocket(wire, timeouts)
            try:
                yield socket
            except BaseException as exc:
                await socket.close(goodbye_code(exc))  # noqa: ASYNC102  # shields itself
                raise
            await socket.close()


class _Manners:
    """wsproto's connection as trio-websocket may see it: sends never fail, breaches are answered.

    After the peer broke the protocol, or sent a message too big, `state` says that the peer is
    closing: this makes the library send the Close event that `events` gave it. What comes later
    from that peer is dropped unread.
    """

    def __init__(self, below: WSConnection, limit: int, link: Link) -> None:
        self._below = below
        self._limit = limit
        self._link = link
        self._ending = link.ending
        self._size = 0  # bytes of the message in progress
        self._answering = False
        self.broken = False  # the peer broke the protocol and was told so

    @property
    def client(self) -> bool:
        return self._below.client

    @property
    def state(self) -> ConnectionState:
        return ConnectionState.REMOTE_CLOSING if self._answering else self._below.state

    def send(self, event: Event) -> bytes:
        """The bytes to send for *event*: none for what may not follow a Close."""
        state = self._below.state
        if isinstance(event, Pong) and state is not ConnectionState.OPEN:
            return b""
        if isinstance(event, CloseConnection):
            self._answering = False
            if state is ConnectionState.OPEN:
                vanished = event.code == ABNORMAL
                reason = "the byte stream ended without a Close" if vanished else event.reason or ""
                self._ending.note(int(event.code), reason, by_peer=vanished)
        return self._below.send(event)

    def receive_data(self, data: bytes) -> None:
        if not self.broken:
            self._below.receive_data(data)

    def events(self) -> Iterator[Event]:
        """What arrived, up to the end of the connection or the first breach of the protocol."""
        for event in () if self.broken else self._below.events():
            if isinstance(event, CloseConnection):
                if self._below.state is ConnectionState.OPEN:  # wsproto's verdict, not the peer's
                    yield self._break(int(event.code), event.reason or "")
                    return
                self._ending.heard_goodbye = True
                self._ending.note(int(event.code), event.reason or "", by_peer=True)
                yield event
                # Both have said it. RFC 6455 section 7.1.1 would have a client wait for the server
                # to close TCP; one that lingers to be heard waits for the client as well.
                self._link.let_go()
                return
            if isinstance(event, Message):
                if self._is_too_big(event):
                    yield self._break(1009, f"a message of more than {self._limit} bytes")
                    return
                if not event.data and not event.message_finished:
                    continue  # the library would keep it, and a peer could send such for ever
            yield event

    def _is_too_big(self, event: Message[Any]) -> bool:
        data = event.data
        size = len(data.encode() if isinstance(data, str) and not data.isascii() else data)
        total = self._size + size
        self._size = 0 if event.message_finished else total
        return total > self._limit

    def _break(self, code: int, why: str) -> CloseConnection:
        self._ending.note(code, why, by_peer=False)
        self.broken = True
        if self._below.state is ConnectionState.OPEN:
            self._answering = True
        return CloseConnection(code=code, reason=BREACHES.get(code, "protocol error"))


class _PlainWire:
    """The plain way: messages through trio-websocket's own queue, one at a time. A `Wire`."""

    def __init__(
        self,
        stream: trio.abc.Stream,
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
        self._manners: _Manners
        self.link = Link(stream, timeouts, answer)
        self.ending = self.link.ending

    async def read(
        self, opening: _Opening, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Open, report, own the library's reader until it is through, close the byte stream."""
        try:
            with self._reader, Unwrapped():
                async with trio.open_nursery() as nursery:
                    self._library = await opening(nursery)
                    below = self._library._wsproto
                    self._manners = _Manners(below, self._limits.message, self.link)
                    self._library._wsproto = self._manners  # type: ignore[assignment]
                    self._reader.shield = True
                    self.link.opened.set()
                    task_status.started()
                await aclose_politely(self._stream, self._timeouts, unread=self._manners.broken)
        finally:
            self._gone.set()  # first: the next line may raise Cancelled, with the stream closed
            await trio.aclose_forcefully(self._stream)

    @property
    def subprotocol(self) -> str | None:
        return self._library.subprotocol

    async def receive(self) -> list[WireMessage]:
        try:
            return [await self._library.get_message()]
        except ConnectionClosed:
            raise self.ending.error() from None

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
