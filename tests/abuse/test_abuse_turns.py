"""Floods of small frames: while they are dealt with, all other calls have their turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from abuse_parts import KEY, frame
from trio.testing import MockClock

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http import Request
from minivoice_ref.net.media_socket import MediaSocket, SocketClosed
from minivoice_ref.net.websocket import open_accepted
from minivoice_ref.testing import MemoryStream, memory_streams

_REQUEST = Request("GET", "/", "/", "", (("sec-websocket-key", KEY),))
_FLOOD = 65536  # bytes, what one read may bring
_EACH = 2048  # bytes that may pass between two turns of another task
FLOODS = {
    "Pongs": frame(10),
    "fragments": frame(2, b"a", fin=False) + frame(0, b"b"),
    "messages": frame(2, b"a"),
}


@asynccontextmanager
async def flooded(
    ours: MemoryStream, theirs: MemoryStream, transport: str, flood: bytes
) -> AsyncIterator[MediaSocket]:
    """A socket whose peer sends a flood and then nothing, and reads all the while."""

    async def listen() -> None:
        await trio.lowlevel.checkpoint()
        with suppress(trio.BrokenResourceError):
            while await ours.receive_some():
                pass

    async def speak() -> None:
        await trio.lowlevel.checkpoint()
        with suppress(trio.BrokenResourceError):
            await ours.send_all(flood)
            await ours.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async with open_accepted(
            theirs, _REQUEST, limits=Limits(), timeouts=Timeouts(), transport=transport
        ) as socket:
            nursery.start_soon(speak)
            yield socket
        await ours.aclose()


async def turns_during(transport: str, flood: bytes, *, closing: bool) -> int:
    """How often another task had its turn until the flood was dealt with."""
    turns = 0

    async def another_call() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    ours, theirs = memory_streams()
    async with trio.open_nursery() as others:
        async with flooded(ours, theirs, transport, flood) as socket:
            others.start_soon(another_call)
            with suppress(SocketClosed):
                if closing:
                    await socket.close(1008, "enough")
                while True:
                    await socket.receive()
        others.cancel_scope.cancel()
    return turns


@pytest.mark.parametrize("transport", ["fast", "simple"])
@pytest.mark.parametrize("what", ["Pongs", "fragments"])
async def test_a_flood_of_what_the_library_reads_leaves_the_others_their_turns(
    what: str, transport: str, autojump_clock: MockClock
) -> None:
    flood = FLOODS[what] * (_FLOOD // len(FLOODS[what]))
    assert await turns_during(transport, flood, closing=False) >= len(flood) // _EACH


@pytest.mark.parametrize("transport", ["fast", "simple"])
@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_behind_our_close_leaves_the_others_their_turns(
    what: str, transport: str, autojump_clock: MockClock
) -> None:
    flood = FLOODS[what] * (_FLOOD // len(FLOODS[what]))
    assert await turns_during(transport, flood, closing=True) >= len(flood) // _EACH


@pytest.mark.parametrize("transport", ["fast", "simple"])
async def test_who_sends_on_and_on_behind_our_close_is_not_read_for_long(
    transport: str, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    flood = FLOODS["messages"] * 1_000_000
    turns = await turns_during(transport, flood, closing=True)
    assert turns < 1000, "all of seven megabytes was taken apart"
    assert trio.current_time() == began
