"""The fast way to carry messages: whole data frames are read here, all else by the library.

An essay, since this is where the time of a live stream is spent. Of a stream of audio, 100 messages
a second, nearly each is one whole frame. Through the simple way such a frame passes the library's
reader task, wsproto's general machine, a channel and another task: some 60 µs, of which the message
itself needs a few. Measured by `benchmarks/receive.py`.

So here whoever receives reads the byte stream itself. There is no reader task between, no channel;
what one read delivered comes in one list:

    the byte stream
        |  one read a wake-up
    receive() -- FrameReader -- whole data frames ----------------------> messages
                     |                                                       ^
                     | odd: fragments, pings, a Close, a breach              | joined fragments
                     v                                                       |
                  _FedLink --> trio-websocket's reader --> _Collector (wsproto with manners)
                                       |
                                       v
                             pongs, the Close, 1002, 1007, 1009

What is odd is handed to the library when all messages before it have been received, and `receive`
waits until the library is through with it: the order stays, a peer that pings without end is slowed
down as before, and a Close is answered by who always answered it. The library does not know that
anything else ever came. Opening and sending are the simple way's.

Who reads when:

* Open: `receive`, and nobody while nobody receives. The simple way reads one message ahead; here
  the peer's next words wait in the system's buffer, which is all the same to it.
* We are closing, or the stream has ended: the library, as on the simple way, so that it sees the
  peer's Close, or the end, for itself. A `receive` that is waiting for bytes while another task
  closes leaves the reading to it as soon as it gets any, or is cancelled.
* The library is through, or was cancelled: nobody but `aclose_politely`.

What it costs. Text that is not UTF-8 is found when its frame is whole or the stream ends, not
within the frame; RFC 6455 section 8.1 leaves that open. There are two ways to receive, so a test
feeds both the same bytes and demands the same messages, the same end, the same words
(`tests/net/test_net_two_ways.py`), and both pass the same suite of RFC 6455.

Cancelled, `receive` loses nothing: between a read and the return of its messages it waits for
nobody but the library, and what it has by then stays in `_frames` for the next time.

Knows the library only by its byte stream. Read next: `front_door.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, ClassVar, NamedTuple, NoReturn

import trio
from wsproto.connection import Connection
from wsproto.events import Event, Message

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.frame_reader import FrameReader
from minivoice_ref.net.gather import Gatherer
from minivoice_ref.net.link import Answer, Link
from minivoice_ref.net.manners import Manners
from minivoice_ref.net.simple_wire import SimpleWire
from minivoice_ref.net.sockets import A_TURN, receive_now, receive_when_ready
from minivoice_ref.net.streams import ReplayStream
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.protocol.media import WireMessage

__all__ = ["FastWire"]


class _FedLink(Link):
    """Gives the library one piece after the other, until it is told to read by itself."""

    def __init__(self, stream: trio.abc.Stream, timeouts: Timeouts, answer: Answer | None) -> None:
        super().__init__(stream, timeouts, answer)
        self._piece = b""
        self._fed = trio.Event()
        self.through = trio.Event()  # the library has dealt with all that it was fed
        self.by_itself = False

    def feed(self, piece: bytes) -> None:
        """Let the library deal with *piece*, which is when `through` is set again."""
        self._piece = piece
        if not self.ended.is_set():
            self.through = trio.Event()
        self._fed.set()

    def leave_reading(self, rest: bytes) -> None:
        """Let the library read from now on, behind the *rest* of what was read already."""
        self._piece += rest
        self.by_itself = True
        self._fed.set()

    def let_go(self) -> None:
        super().let_go()
        self.through.set()
        self._fed.set()

    async def _receive(self, max_bytes: int | None) -> bytes | bytearray:
        await trio.lowlevel.checkpoint()
        while not self._piece and not self.by_itself:
            self.through.set()
            self._fed = trio.Event()
            await self._fed.wait()
            self._refuse_if_ended()
        piece, self._piece = self._piece[:max_bytes], self._piece[max_bytes:]
        return piece or await super()._receive(max_bytes)


class _Collector(Manners):
    """Keeps the messages that wsproto finds for `receive`; the library sees the rest."""

    def __init__(self, below: Connection, limit: int, link: Link, frames: FrameReader) -> None:
        super().__init__(below, limit, link)
        self._frames = frames
        self._parts: list[Any] = []  # of the message in progress: all text, or all bytes

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Message):
                self._collect(event)
            else:
                yield event

    def _collect(self, event: Message[Any]) -> None:
        """Join the fragments of a message. What comes while the socket closes is for nobody."""
        self._parts.append(event.data)
        if event.message_finished:
            message = type(event.data)().join(self._parts)
            self._parts = []
            if self._ending.end is None:
                self._frames.messages.append(message)


class _Gathered(NamedTuple):
    """Who reads for `pour`, from which socket, and how."""

    by: Gatherer
    socket: trio.socket.SocketType
    receive_now: Callable[[], bytes | None]
    tls: TlsStream | None = None

    @property
    def is_socket_all(self) -> bool:
        """Whether all that is there to be read is in the socket, which is what *by* looks at."""
        return self.tls is None or not self.tls.more


class FastWire(SimpleWire):
    """Messages over *stream*, read by whoever receives. *answer* is as in `Link`."""

    _link_class: ClassVar[type[Link]] = _FedLink
    link: _FedLink

    def __init__(
        self,
        stream: ReplayStream,
        limits: Limits,
        timeouts: Timeouts,
        answer: Answer | None = None,
    ) -> None:
        super().__init__(stream, limits, timeouts, answer)
        below = stream.below
        self._source: Callable[[], Awaitable[bytes | bytearray]]
        if isinstance(below, trio.SocketStream):
            self._source = partial(receive_when_ready, below, A_TURN)
        else:
            self._source = partial(below.receive_some, A_TURN)
        self._frames: FrameReader
        self._reading = False
        self._closing = False
        self._odd_is_fed = False
        self._gathered: _Gathered | None = None
        self._poured_out = False
        self._fault: Exception | None = None

    def gather(self, gatherer: Gatherer) -> None:
        """Have *gatherer* read what `pour` pours out, if there is a socket below."""
        below = self._stream.below
        if isinstance(below, TlsStream) and isinstance(below.transport_stream, trio.SocketStream):
            socket = below.transport_stream.socket
            self._gathered = _Gathered(gatherer, socket, below.receive_now, below)
        elif isinstance(below, trio.SocketStream):
            self._gathered = _Gathered(gatherer, below.socket, partial(receive_now, below))
        self._stream.before_close = self._stop_gathering

    def _new_manners(self, below: Connection) -> Manners:
        self._frames = FrameReader(self._limits.message, masked=not below.client)
        self._frames.take(self._stream.take_back())
        return _Collector(below, self._limits.message, self.link, self._frames)

    async def receive(self) -> list[WireMessage]:
        frames = self._frames
        if frames.messages:  # they came with the handshake
            await trio.lowlevel.checkpoint()
        while not frames.messages:
            data: bytes | bytearray = b""  # here, so that what was read last is held only once
            if frames.odd:
                await self._serve_odd()
                continue
            if self.ending.end is not None or self.link.by_itself:
                await self._raise_end()
            self._reading = True
            try:
                data = await self._source()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the library will find the same, and say so
            finally:
                self._reading = False
                if self._closing:
                    self._leave_reading(data)
            if not data:
                self._leave_reading()
            elif not self._closing:
                frames.take(data)
        messages, frames.messages = frames.messages, []
        return messages  # noqa: ASYNC910  # there is a checkpoint on each way to get some

    async def pour(self, take: Callable[[list[WireMessage]], bool]) -> None:  # noqa: ASYNC910
        """As `Wire.pour` says. What is out of the ordinary is left to `receive`."""
        self._poured_out = False
        while not self._poured_out:
            frames = self._frames
            odd = (
                frames.messages or frames.odd or self.ending.end is not None or self.link.by_itself
            )
            if self._gathered is None or odd or not self._gathered.is_socket_all:
                self._poured_out = not take(await self.receive())
                continue
            await self._gathered.by.serve(
                self._gathered.socket.fileno(), partial(self._take_what_is_there, take)
            )
            if (fault := self._fault) is not None:
                self._fault = None
                raise fault

    def _take_what_is_there(self, take: Callable[[list[WireMessage]], bool]) -> bool:
        """Read once and have all messages taken; True if more may come that way.

        The task that calls this reads for all streams, so nothing that goes wrong may end it.
        """
        assert self._gathered is not None
        frames = self._frames
        try:
            try:
                data = self._gathered.receive_now()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""  # the library will find the same, and say so
            if data is None:
                return True
            if not data:
                self._leave_reading()
                return False
            frames.take(data)
            if frames.messages:
                messages, frames.messages = frames.messages, []
                self._poured_out = not take(messages)
        except Exception as exc:  # `pour` raises it, in its task
            self._fault = exc
        done = self._poured_out or self._fault or frames.odd
        return not done and self._gathered.is_socket_all

    def _stop_gathering(self) -> None:
        """Let nothing more be read for `pour`; to be called while the socket is open."""
        if self._gathered is not None:
            self._gathered.by.release(self._gathered.socket.fileno())

    async def _serve_odd(self) -> None:
        """Have the library deal with what is odd; then find the messages behind it."""
        if not self._odd_is_fed:  # else by a receive that was cancelled while it waited
            self.link.feed(self._frames.odd)
            self._odd_is_fed = True
        await self.link.through.wait()
        self._odd_is_fed = False
        if self.ending.end is not None:
            self._frames.give_up()  # nothing behind it counts
        else:
            self._frames.go_on()

    def _leave_reading(self, data: bytes | bytearray = b"") -> None:
        """Let the library read from now on, behind *data* and what was not taken apart yet."""
        if self.link.by_itself:
            return
        if self._odd_is_fed:
            self._frames.odd = b""
        self._frames.messages.clear()
        self._stop_gathering()
        self.link.leave_reading(self._frames.give_up() + data)

    async def _raise_end(self) -> NoReturn:
        """Wait until the library knows how it ended, and raise that."""
        await trio.lowlevel.checkpoint()
        if self.ending.end is None:
            await self.link.ended.wait()
        raise self.ending.error()

    async def close(self, code: int, reason: str) -> None:
        self._closing = True
        if not self._reading:
            self._leave_reading()
        await super().close(code, reason)
