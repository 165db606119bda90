"""One system call at a time on a TCP socket: a stream's promises, without its first try."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from minivoice_ref.net.sockets import offer, receive_when_ready

Pair = tuple[trio.SocketStream, trio.SocketStream]


@asynccontextmanager
async def connection() -> AsyncGenerator[Pair, None]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(10):
        async with listener:
            ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            theirs = await listener.accept()
        async with ours, theirs:
            yield ours, theirs


async def test_all_that_has_arrived_is_received_at_once_and_then_the_end() -> None:
    async with connection() as (ours, theirs):
        assert offer(theirs, b"one") == 3
        await theirs.send_all(b"two")
        assert await receive_when_ready(ours) == b"onetwo"
        await theirs.aclose()
        assert await receive_when_ready(ours) == b""


async def test_a_cancelled_wait_has_received_nothing() -> None:
    async with connection() as (ours, theirs):
        with trio.CancelScope() as scope:
            scope.cancel()
            await theirs.send_all(b"x")
        with trio.CancelScope() as scope:
            scope.cancel()
            await receive_when_ready(ours)
        assert scope.cancelled_caught
        await theirs.send_all(b"y")
        assert (await receive_when_ready(ours)).endswith(b"y")


async def test_a_socket_that_was_woken_for_nothing_waits_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connection() as (ours, theirs):
        waits = 0
        wait_readable = trio.lowlevel.wait_readable

        async def wake_too_early(descriptor: int) -> None:
            nonlocal waits
            waits += 1
            if waits == 1:
                return await trio.lowlevel.checkpoint()
            await theirs.send_all(b"now")
            await wait_readable(descriptor)

        monkeypatch.setattr(trio.lowlevel, "wait_readable", wake_too_early)
        assert await receive_when_ready(ours) == b"now"
        assert waits == 2


async def test_a_peer_that_breaks_the_connection_is_an_error() -> None:
    async with connection() as (ours, theirs):
        theirs.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await receive_when_ready(ours)


async def test_a_socket_that_is_closed_meanwhile_is_an_error() -> None:
    async with connection() as (ours, _):
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await receive_when_ready(ours)

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await receive_when_ready(ours)
        assert offer(ours, b"x") == 0


async def test_a_socket_that_is_closed_between_the_wake_up_and_the_read_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its number may be another connection's by then: nothing must be read from that one."""
    async with connection() as (ours, theirs), connection() as (other, its_peer):

        async def close(descriptor: int) -> None:
            await trio.lowlevel.checkpoint()
            ours.socket.close()

        await theirs.send_all(b"x")
        await its_peer.send_all(b"y")
        monkeypatch.setattr(trio.lowlevel, "wait_readable", close)
        with pytest.raises(trio.ClosedResourceError):
            await receive_when_ready(ours)
        monkeypatch.undo()
        assert await receive_when_ready(other) == b"y"


async def test_what_the_system_does_not_take_is_told() -> None:
    async with connection() as (ours, _):
        taken = 0
        while sent := offer(ours, bytes(100_000)):
            taken += sent
        assert taken > 0
