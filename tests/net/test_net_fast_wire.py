"""The fast way's own questions: who reads when, and what a cancelled receive leaves behind.

That it is otherwise no different from the simple way is `test_net_two_ways.py`'s business.
"""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from net_parties import (
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

from minivoice_ref.net.media_socket import SocketClosed


async def test_all_that_one_read_brought_comes_in_one_list(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"x") * 50)
        assert await socket.receive() == ["x"] * 50


async def test_what_came_with_the_handshake_comes_first_and_needs_no_further_read(
    autojump_clock: MockClock,
) -> None:
    early = frame(TEXT, b"1") + frame(PING, b"p") + frame(TEXT, b"2")
    async with accepted(trailing=early) as (socket, peer):
        assert await socket.receive() == ["1"]
        assert await socket.receive() == ["2"]
        assert await read_frame(peer) == (PONG, b"p")


async def test_the_library_hears_of_a_ping_when_the_messages_before_it_are_received(
    autojump_clock: MockClock,
) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"1") + frame(PING, b"p") + frame(TEXT, b"2"))
        assert await socket.receive() == ["1"]
        with trio.move_on_after(1) as patience:
            await read_frame(peer)
        assert patience.cancelled_caught
        assert await socket.receive() == ["2"]
        assert await read_frame(peer) == (PONG, b"p")


@pytest.mark.parametrize("seed", range(5))
async def test_however_often_a_receive_is_cancelled_nothing_is_lost_and_nothing_comes_twice(
    seed: int, autojump_clock: MockClock
) -> None:
    dice = random.Random(seed)
    numbers = [f"{number:04}" for number in range(300)]
    sent = b""
    for number in numbers:
        text = number.encode()
        sent += dice.choice(
            [
                frame(TEXT, text),
                frame(TEXT, text[:2], fin=False) + frame(PING) + frame(0, text[2:]),
                frame(PING, text) + frame(TEXT, text),
            ]
        )
    received: list[str | bytes] = []

    async with accepted() as (socket, peer), trio.open_nursery() as nursery:

        async def speak() -> None:
            rest = sent
            await trio.lowlevel.checkpoint()
            while rest:
                size = dice.randrange(1, 60)
                await peer.send_all(rest[:size])
                rest = rest[size:]

        async def listen() -> None:
            while True:
                await peer.receive_some()

        nursery.start_soon(speak)
        nursery.start_soon(listen)
        while len(received) < len(numbers):
            scope = trio.CancelScope()
            nursery.start_soon(_cancel_soon, scope, dice.randrange(4))
            with scope:
                received += await socket.receive()
        nursery.cancel_scope.cancel()
    assert received == numbers


async def _cancel_soon(scope: trio.CancelScope, turns: int) -> None:
    await trio.lowlevel.checkpoint()
    for _ in range(turns):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_receive_cut_short_while_the_library_waits_goes_on_where_it_was(
    autojump_clock: MockClock,
) -> None:
    """The library is held up by a Pong that the peer does not take."""
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"before") + frame(PING, b"p" * 100) + frame(TEXT, b"x"))
        assert await socket.receive() == ["before"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.send, "." * 70_000)  # more than fits
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(1) as patience:
                await socket.receive()
            assert patience.cancelled_caught
            assert await read_frame(peer) == (TEXT, b"." * 70_000)
            assert await socket.receive() == ["x"]
            assert await read_frame(peer) == (PONG, b"p" * 100)


@pytest.mark.parametrize("answers", [True, False])
async def test_another_task_may_close_while_one_receives(
    answers: bool, autojump_clock: MockClock
) -> None:
    """The one that receives is in the library's way, and steps aside with what it has read."""
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_closed, socket)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(socket.close, 1008, "policy")
            assert await read_close(peer) == 1008
            if answers:
                await peer.send_all(frame(TEXT, b"too late") + close_frame(1008))
            assert await read_all(peer) == b""
        assert socket.heard_goodbye == answers
        assert socket.close_code == 1008
    assert trio.current_time() == (0 if answers else TIMEOUTS.close)


async def test_a_close_is_answered_also_if_whoever_received_is_cancelled_while_we_close(
    autojump_clock: MockClock,
) -> None:
    scope = trio.CancelScope()
    async with accepted() as (socket, peer):

        async def receive() -> None:
            with scope:
                await until_closed(socket)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(socket.close, 1000)
            assert await read_close(peer) == 1000
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(close_frame(1000))
        assert scope.cancelled_caught
        assert socket.heard_goodbye
    assert trio.current_time() == 0


async def test_what_was_read_and_not_received_when_we_close_is_seen_by_the_library(
    autojump_clock: MockClock,
) -> None:
    """The peer's Close is among it: it must not be waited for in vain."""
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"stop") + frame(TEXT, b"more", fin=False) + frame(0)[:3])
        assert await socket.receive() == ["stop"]
        await peer.send_all(frame(0)[3:] + close_frame(1000))
        await socket.close()
        assert socket.heard_goodbye
        with pytest.raises(SocketClosed):
            await socket.receive()
    assert trio.current_time() == 0


async def test_a_stream_that_ends_within_a_frame_is_1006(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"torn")[:5])
        await peer.send_eof()
        closed = await until_closed(socket)
        assert (closed.code, closed.by_peer) == (1006, True)
        assert closed.reason == "the byte stream ended without a Close"
    assert trio.current_time() == 0


@pytest.mark.parametrize("turns", range(6))
async def test_a_receive_cut_short_at_the_end_of_the_stream_tells_the_end_the_next_time(
    turns: int, autojump_clock: MockClock
) -> None:
    async with accepted() as (socket, peer):
        await peer.send_eof()
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(_cancel_soon, scope, turns)
            with scope:
                await until_closed(socket)
        assert (await until_closed(socket)).code == 1006
    assert trio.current_time() == 0
