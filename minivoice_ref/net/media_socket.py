"""MediaSocket: all that the rest of the program knows of a WebSocket.

The policy is here: deadlines, the goodbye, who is told which code. How frames are read and written
is the business of a `Wire` below it. There are two, a simple one and a fast one (`simple_wire.py`,
`fast_wire.py`), and nothing above this module knows which it has.

Read next: `websocket.py`.

Facts: close codes are those of RFC 6455 section 7.4.1. A peer's Close without a code is 1005, a
byte stream that ended without a Close is 1006; neither is ever sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.errors import MiniVoiceError, RemoteProtocolError
from minivoice_ref.protocol.media import WireMessage

__all__ = [
    "ABNORMAL",
    "BREACHES",
    "GOING_AWAY",
    "INTERNAL_ERROR",
    "NORMAL",
    "End",
    "Ending",
    "MediaSocket",
    "PongTimeout",
    "SocketClosed",
    "Wire",
    "goodbye_code",
]

NORMAL, GOING_AWAY, ABNORMAL, INTERNAL_ERROR = 1000, 1001, 1006, 1011

BREACHES = {1002: "protocol error", 1007: "text that is not UTF-8", 1009: "message too big"}
"""What a peer that breaks the protocol is told with the code; the log is told what it did."""


@dataclass(frozen=True, slots=True)
class End:
    """How a WebSocket ended: the first Close that either side sent, or 1006 where there was none.

    `reason` is for the log. `by_peer` says who began it.
    """

    code: int
    reason: str
    by_peer: bool


class SocketClosed(MiniVoiceError):
    """The WebSocket is over, by a Close of either side or because the byte stream broke."""

    def __init__(self, end: End) -> None:
        self.code = end.code
        self.reason = end.reason
        self.by_peer = end.by_peer
        who = "the peer" if end.by_peer else "us"
        super().__init__(f"closed by {who} with {end.code}" + f": {end.reason}" * bool(end.reason))


class Ending:
    """How the socket ended. The first who says so is right; whoever waits for a pong is woken."""

    def __init__(self) -> None:
        self.end: End | None = None
        self.heard_goodbye = False  # the peer sent a Close, first or as an answer
        self.waiting: set[trio.CancelScope] = set()

    def note(self, code: int, reason: str, *, by_peer: bool) -> None:
        """Remember how it ended, unless that is known already."""
        self.end = self.end or End(code, reason, by_peer)
        for scope in self.waiting:
            scope.cancel()

    def error(self) -> SocketClosed:
        """What to raise to whoever uses the socket after its end."""
        return SocketClosed(self.end or End(ABNORMAL, "", by_peer=True))


class PongTimeout(MiniVoiceError):
    """The peer did not answer a ping in time: it, or the way to it, is dead."""


class Wire(Protocol):
    """What carries the messages of one open WebSocket. The seam below MediaSocket.

    An implementation reads all the time while somebody receives, answers pings, checks the peer's
    frames, sends a Close itself (1002, 1007, 1009) when they break the protocol, and closes the
    byte stream when it is done.
    """

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both sides agreed on."""

    @property
    def ending(self) -> Ending:
        """How it ended, once it has."""

    async def receive(self) -> list[WireMessage]:
        """Wait for messages; all that one read delivered, at least one. Raises SocketClosed."""

    async def pour(self, take: Callable[[list[WireMessage]], bool]) -> None:
        """Have *take* called with all that comes, as `receive` has it, until it returns False.

        Raises SocketClosed at the end, and what *take* raises.
        """

    async def send(self, message: WireMessage) -> None:
        """Send one frame whole, or break the stream and raise SocketClosed. Has a deadline."""

    async def send_together(self, messages: Sequence[WireMessage]) -> None:
        """Send a frame for each message as `send` does, in one write where that can be done."""

    async def ping(self) -> None:
        """Send a ping and wait for its pong. Raises SocketClosed if the socket ends meanwhile."""

    async def close(self, code: int, reason: str) -> None:
        """Send a Close unless one was sent, wait for the peer's and for the byte stream's end."""

    async def abort(self, reason: str) -> None:
        """Break the byte stream at once and wait until the reader is gone. Never fails."""


class MediaSocket:
    """One WebSocket, accepted or opened: messages in, messages out, and a proper end.

    One task receives; any task may send, ping or close. Somebody must be receiving all the time:
    while a message waits unread nothing else is read, no ping answered and no Close seen.
    """

    def __init__(self, wire: Wire, timeouts: Timeouts) -> None:
        self._wire = wire
        self._timeouts = timeouts

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both sides agreed on; None without one."""
        return self._wire.subprotocol

    @property
    def end(self) -> End | None:
        """How it ended; None while it is open."""
        return self._wire.ending.end

    @property
    def close_code(self) -> int | None:
        """The code it ended with, for the log; None while it is open."""
        return self.end.code if self.end else None

    @property
    def close_reason(self) -> str:
        """The reason it ended with, for the log: the peer's words or ours; empty while open."""
        return self.end.reason if self.end else ""

    @property
    def heard_goodbye(self) -> bool:
        """Whether the peer sent a Close, first or as an answer; else it may have vanished."""
        return self._wire.ending.heard_goodbye

    async def receive(self) -> list[WireMessage]:
        """Wait for messages and return all that one read delivered, in order, at least one.

        Text is str, binary is bytes, each at most `limits.message` bytes. Raises SocketClosed at
        the end, after all messages that came before it. If cancelled, no message is lost.
        """
        return await self._wire.receive()

    async def pour(self, take: Callable[[list[WireMessage]], bool]) -> None:
        """Have *take* called with the messages of each read, until it returns False.

        The same as a loop over `receive`, and cheaper: the reads of many sockets may be made in one
        go, and *take* is then called by another task. So it must be quick, and may not wait. Raises
        SocketClosed at the end, and what *take* raises. If cancelled, no message is lost.
        """
        await self._wire.pour(take)

    async def send(self, message: WireMessage) -> None:
        """Send one message: whole, or not at all, or the socket is broken.

        A frame that has begun is finished within `timeouts.send` seconds even if the caller is
        cancelled meanwhile; half a frame would turn everything behind it into garbage. A peer that
        does not take it in time is given up. Raises SocketClosed.
        """
        await self._wire.send(message)

    async def send_together(self, messages: Sequence[WireMessage]) -> None:
        """Send several messages in order, as `send` would, but in one piece and without waiting.

        For who sends often: where the system takes them at once, no other task gets a turn; a loop
        around it needs a checkpoint of its own. Raises SocketClosed.
        """
        await self._wire.send_together(messages)

    async def ping(self) -> float:
        """Ping the peer and return the round trip in seconds.

        Raises PongTimeout after `timeouts.pong` seconds, and SocketClosed as soon as the socket
        ends. May be cancelled.
        """
        began = trio.current_time()
        with trio.move_on_after(self._timeouts.pong) as patience:
            await self._wire.ping()
        if patience.cancelled_caught:
            raise PongTimeout(f"no answer to a ping within {self._timeouts.pong:g} s")
        return trio.current_time() - began

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, wait for the peer's, close the byte stream: all within `timeouts.close`.

        Shielded, so that a peer hears why also when we are being cancelled. Never fails; may be
        called again and from several tasks: the first code wins, all wait for the same end.
        Messages that were not received are dropped.
        """
        with trio.move_on_after(self._timeouts.close, shield=True):
            await self._wire.close(code, reason)
        await self._wire.abort("the peer did not finish the closing handshake")

    async def abort(self) -> None:
        """Break the byte stream with no goodbye, at once: the peer sees 1006."""
        await self._wire.abort("given up here without a goodbye")


def goodbye_code(error: BaseException | None) -> int:
    """The close code for a peer whose socket's block is left with *error*.

    1000 for none, 1001 for a cancellation, the error's own for a RemoteProtocolError, 1011 for
    everything else. An exception group counts as its first member that is not a cancellation.
    """
    if error is None:
        return NORMAL
    while isinstance(error, BaseExceptionGroup):
        _, rest = error.split(trio.Cancelled)
        error = rest.exceptions[0] if rest else error.exceptions[0]
    if isinstance(error, RemoteProtocolError):
        return error.close_code
    return INTERNAL_ERROR if isinstance(error, Exception) else GOING_AWAY
