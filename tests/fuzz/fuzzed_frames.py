"""What must hold of a WebSocket's frames: the same as the reference, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Sequence

import trio
import trio.testing
from fuzzed_http import pieces_of
from reference_frames import WAITING, Reading, read_frames
from trio.testing import MockClock

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http import Request
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.net.websocket import MediaSocket, open_accepted
from minivoice_ref.testing import MemoryStream, memory_streams

LIMIT = 300  # bytes of a message
TRANSPORTS = ("fast", "simple")
_REQUEST = Request("GET", "/", "/", "", (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),))


def check_frames(data: bytes, cuts: Sequence[int], transport: str) -> None:
    """Messages, pongs and the end are those of the reference, whichever way reads them."""
    expected = read_frames(data, LIMIT)

    async def check() -> None:
        heard, end, said = await _converse(pieces_of(data, cuts), transport)
        assert heard == expected.messages, (heard, expected)
        assert end.code in expected.codes, (end.code, expected)
        if end.code == expected.code and not expected.earlier:
            assert end.by_peer == expected.by_peer
        assert_proper(said, expected, end)

    trio.run(check, clock=MockClock(autojump_threshold=0))


async def _converse(
    pieces: Sequence[bytes], transport: str
) -> tuple[list[str | bytes], SocketClosed, bytes]:
    """Send the pieces one by one; return what was received, how it ended, what was answered."""
    ours, theirs = memory_streams()
    heard: list[str | bytes] = []
    ends: list[SocketClosed] = []

    async def receive(socket: MediaSocket) -> None:
        await trio.lowlevel.checkpoint()
        try:
            while True:
                heard.extend(await socket.receive())
        except SocketClosed as exc:
            ends.append(exc)

    async def speak() -> None:
        await trio.lowlevel.checkpoint()
        try:
            for piece in pieces:
                await ours.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            await ours.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    answered = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, ours, answered)
        async with open_accepted(
            theirs,
            _REQUEST,
            limits=Limits(message=LIMIT),
            timeouts=Timeouts(),
            transport=transport,
        ) as socket:
            async with trio.open_nursery() as inner:
                inner.start_soon(speak)
                await receive(socket)
    head, _, said = bytes(answered).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return heard, ends[0], said


async def _listen(stream: MemoryStream, answered: bytearray) -> None:
    try:
        while data := await stream.receive_some():
            answered += data
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.lowlevel.checkpoint()


def assert_proper(said: bytes, expected: Reading, end: SocketClosed) -> None:
    """What we said are whole, unmasked pongs, in order, and at most one Close behind them."""
    pongs: list[bytes] = []
    closes: list[bytes] = []
    while said:
        first, size = said[0], said[1]
        assert first in (0x8A, 0x88) and size < 126 and not closes, said
        payload, said = said[2 : 2 + size], said[2 + size :]
        (pongs if first == 0x8A else closes).append(payload)
    assert pongs == expected.pings[: len(pongs)]
    if end.code != WAITING:
        assert len(closes) == 1
        code = int.from_bytes(closes[0][:2]) if closes[0] else 1005
        assert code == end.code, (code, end.code)
        closes[0][2:].decode("utf-8")
