"""Frames that are wrong, or come at the wrong time: answered as RFC 6455 says, in bounded time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from minivoice_ref.testing import MemoryStream
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    TIMEOUTS,
    accepted,
    close_frame,
    frame,
    read_all,
    read_close,
    read_frame,
    until_closed,
)
from trio.testing import MockClock

# -- while closing -----------------------------------------------------------------------------

WHILE_CLOSING: dict[str, bytes] = {
    "a ping": frame(PING, b"p"),
    "a pong": frame(PONG),
    "text": frame(TEXT, b"x") * 3,
    "half a message": frame(TEXT, b"x", fin=False),
    "a message too big": frame(BINARY, bytes(3000)),
    "half a message too big": frame(BINARY, bytes(3000), fin=False),
    "text that is not utf-8": frame(TEXT, b"\xff"),
    "a frame of no known kind": frame(5, b""),
    "an unmasked frame": frame(TEXT, b"x", masked=False),
}


@pytest.mark.parametrize("sent", WHILE_CLOSING.values(), ids=list(WHILE_CLOSING))
@pytest.mark.parametrize("then", ["close", "eof", "silence"])
async def test_whatever_comes_while_we_are_closing_does_no_harm(
    sent: bytes, then: str, autojump_clock: MockClock
) -> None:
    async with accepted(message=2000) as (socket, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.close, 1000)
            assert await read_close(peer) == 1000
            await peer.send_all(sent)
            if then == "close":
                await peer.send_all(close_frame(1000))
            elif then == "eof":
                await peer.send_eof()
            assert await read_all(peer) == b""  # no Pong, no second Close
        assert socket.close_code == 1000
    assert trio.current_time() <= TIMEOUTS.close


# -- frames that are wrong ---------------------------------------------------------------------

WRONG: dict[str, tuple[bytes, int]] = {
    "an unmasked frame": (frame(TEXT, b"x", masked=False), 1002),
    "a reserved bit": (bytes([0xC1, 0x80]) + bytes(4), 1002),
    "an unknown data frame": (frame(3), 1002),
    "an unknown control frame": (frame(11), 1002),
    "a fragmented control frame": (frame(PING, b"", fin=False), 1002),
    "a control frame too long": (frame(PING, bytes(126)), 1002),
    "a length that is longer than it need be": (bytes([0x82, 0xFE, 0, 5]) + bytes(9), 1002),
    "a length beyond all bounds": (bytes([0x82, 0xFF]) + b"\xff" * 8 + bytes(4), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a message within a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
    "text that is not utf-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "text that ends within a character": (frame(TEXT, "é".encode()[:1]), 1007),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close code nobody may send": (close_frame(1006), 1002),
    "a close code out of range": (close_frame(999), 1002),
    "a close reason that is not utf-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    "a message too big": (frame(BINARY, bytes(2001)), 1009),
    "a message too big in pieces": (
        frame(TEXT, b"a" * 700, fin=False) + frame(0, b"a" * 1400),
        1009,
    ),
    "a message too big in bytes, not in characters": (frame(TEXT, "é".encode() * 1500), 1009),
    "the beginning of an endless message": (
        bytes([0x82, 0xFF, *bytes(5), 16, 0, 0]) + bytes(5000),
        1009,
    ),
}


@pytest.mark.parametrize(("sent", "code"), WRONG.values(), ids=list(WRONG))
@pytest.mark.parametrize("then", ["close", "eof", "silence", "flood"])
async def test_a_peer_that_breaks_the_protocol_is_told_and_both_sides_are_torn_down(
    sent: bytes, code: int, then: str, autojump_clock: MockClock
) -> None:
    async with accepted(message=2000) as (socket, peer):
        await peer.send_all(frame(TEXT, b"good") + sent)
        assert await socket.receive() == ["good"]
        closed = await until_closed(socket)
        assert (closed.code, closed.by_peer) == (code, False)
        assert await read_close(peer) == code
        async with trio.open_nursery() as nursery:
            if then == "flood":
                nursery.start_soon(_flood, peer)
            elif then == "close":
                await peer.send_all(close_frame(code))
                await peer.send_eof()
            elif then == "eof":
                await peer.send_eof()
            assert await read_all(peer) == b""
            nursery.cancel_scope.cancel()
    assert socket.close_code == code
    assert trio.current_time() == (0 if then in ("close", "eof") else TIMEOUTS.close)


async def _flood(peer: MemoryStream) -> None:
    await trio.lowlevel.checkpoint()
    with suppress(trio.BrokenResourceError):
        while True:
            await peer.send_all(frame(BINARY, bytes(50000)))
            await trio.sleep(0.01)


async def test_the_reason_for_the_log_is_ours_and_the_peer_hears_a_short_one(
    autojump_clock: MockClock,
) -> None:
    async with accepted(message=10) as (socket, peer):
        await peer.send_all(frame(TEXT, b"a" * 11))
        assert (await until_closed(socket)).reason == "a message of more than 10 bytes"
        assert await read_frame(peer) == (CLOSE, b"\x03\xf1message too big")


async def test_empty_fragments_are_not_collected(autojump_clock: MockClock) -> None:
    """A peer could send them for ever, and each would be kept until the message ends."""
    received: list[str | bytes] = []
    async with accepted() as (socket, peer):
        wire: Any = socket._wire

        async def receive() -> None:
            received.extend(await socket.receive())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await peer.send_all(frame(TEXT, b"a", fin=False) + frame(0, b"", fin=False) * 5000)
            await trio.testing.wait_all_tasks_blocked()
            simple, fast = wire._library._message_parts, getattr(wire._manners, "_parts", [])
            assert simple + fast == ["a"]
            await peer.send_all(frame(0, b"b"))
    assert received == ["ab"]
