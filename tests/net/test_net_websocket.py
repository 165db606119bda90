"""A MediaSocket and its peer: messages, every way to end, and every wait that is bounded.

The peer of an accepted socket is a rough byte stream, so that each test says which bytes it means.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http import Request
from minivoice_ref.net.media_socket import MediaSocket, PongTimeout, SocketClosed, goodbye_code
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.testing import living_tasks, memory_streams
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    TIMEOUTS,
    a_request,
    accepted,
    close_frame,
    frame,
    open_accepted,
    open_connected,
    open_house,
    read_all,
    read_close,
    read_exactly,
    read_frame,
    read_head,
    receive_in_all,
    rough_socket,
    until_closed,
)
from trio.testing import MockClock

# -- messages ----------------------------------------------------------------------------------


async def test_text_and_binary_messages_arrive_in_order(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, "é".encode()) + frame(BINARY, b"\x00\xff"))
        assert await receive_in_all(socket, 2) == ["é", b"\x00\xff"]
        await socket.send("text")
        await socket.send(b"binary")
        assert await read_frame(peer) == (TEXT, b"text")
        assert await read_frame(peer) == (BINARY, b"binary")


async def test_frames_split_at_every_byte_are_the_same_messages(
    autojump_clock: MockClock,
) -> None:
    data = (
        frame(TEXT, b"one")
        + frame(TEXT, b"tw", fin=False)
        + frame(PING, b"p")
        + frame(0, b"", fin=False)
        + frame(0, b"o")
        + frame(BINARY, bytes(200))
    )
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                await trio.lowlevel.checkpoint()
                for byte in data:
                    await peer.send_all(bytes([byte]))
                    await trio.sleep(0.001)

            nursery.start_soon(trickle)
            received = await receive_in_all(socket, 3)
        assert received == ["one", "two", bytes(200)]
        assert await read_frame(peer) == (PONG, b"p")


async def test_what_was_read_behind_the_handshake_comes_first(autojump_clock: MockClock) -> None:
    early = frame(TEXT, b"early") + frame(TEXT, b"torn")[:3]
    async with accepted(trailing=early) as (socket, peer):
        assert await socket.receive() == ["early"]
        await peer.send_all(frame(TEXT, b"torn")[3:])
        assert await socket.receive() == ["torn"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_of_exactly_the_limit_is_taken(
    opcode: int, autojump_clock: MockClock
) -> None:
    async with accepted(message=1000) as (socket, peer):
        await peer.send_all(frame(opcode, b"a" * 1000))
        [message] = await socket.receive()
        assert len(message) == 1000
        await peer.send_all(frame(opcode, b"a" * 600, fin=False) + frame(0, b"a" * 400))
        [message] = await socket.receive()
        assert len(message) == 1000


async def test_a_cancelled_receive_loses_no_message(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        with trio.move_on_after(1):
            await socket.receive()
        await peer.send_all(frame(TEXT, b"hello"))
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await socket.receive()
        assert await socket.receive() == ["hello"]


async def test_while_a_message_waits_unread_no_ping_is_answered(autojump_clock: MockClock) -> None:
    """Why somebody must always be receiving: what the docstring of MediaSocket warns of is so."""
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(PING, b"p"))
        with trio.move_on_after(60) as patience:
            await read_frame(peer)
        assert patience.cancelled_caught
        assert await receive_in_all(socket, 2) == ["1", "2"]
        async with receiving(socket):
            assert await read_frame(peer) == (PONG, b"p")


# -- endings -----------------------------------------------------------------------------------


async def _leave(socket: MediaSocket) -> None:
    await trio.lowlevel.checkpoint()


async def _fail(socket: MediaSocket) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("ours")


async def _blame(socket: MediaSocket) -> None:
    await trio.lowlevel.checkpoint()
    raise RemoteProtocolError("theirs", close_code=1003)


async def _close(socket: MediaSocket) -> None:
    await socket.close(1008, "policy")


LEAVING: dict[str, tuple[Callable[[MediaSocket], Awaitable[None]], int]] = {
    "returns": (_leave, 1000),
    "fails": (_fail, 1011),
    "blames the peer": (_blame, 1003),
    "closes": (_close, 1008),
}


@pytest.mark.parametrize(("leave", "code"), LEAVING.values(), ids=list(LEAVING))
@pytest.mark.parametrize(
    ("answers", "seconds"), [(True, 0.0), (False, TIMEOUTS.close)], ids=["answered", "unanswered"]
)
async def test_the_peer_hears_why_and_the_goodbye_is_bounded(
    leave: Callable[[MediaSocket], Awaitable[None]],
    code: int,
    answers: bool,
    seconds: float,
    autojump_clock: MockClock,
) -> None:
    ours, theirs = memory_streams()
    before = living_tasks()

    async def peer() -> None:
        await read_head(ours)
        assert await read_close(ours) == code
        if answers:
            await ours.send_all(close_frame(code))
        assert await read_all(ours) == b""

    error: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer)
        try:
            async with open_accepted(
                theirs, a_request(), limits=Limits(), timeouts=TIMEOUTS
            ) as socket:
                await leave(socket)
        except (ValueError, RemoteProtocolError) as exc:
            error = exc
        assert socket.end is not None
        assert (socket.close_code, socket.end.by_peer) == (code, False)
        assert socket.heard_goodbye == answers
        assert trio.current_time() == seconds
        assert isinstance(error, Exception) == (code in (1011, 1003))
    assert living_tasks() == before


async def test_an_outer_cancellation_is_heard_as_1001_at_once(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        network, url = house.network, "ws://media.example.com/stream/a"
        with trio.CancelScope() as scope:
            async with open_connected(
                url, connect=network.connect, limits=house.limits, timeouts=house.timeouts
            ) as socket:
                scope.cancel()
                await socket.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert house.site.ends == [(1001, True)]
        assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (close_frame(1000), 1000, ""),
        (close_frame(1001, "bye"), 1001, "bye"),
        (close_frame(4999), 4999, ""),
        (frame(CLOSE), 1005, ""),
    ],
)
async def test_a_close_of_the_peer_is_answered_and_told(
    sent: bytes, code: int, reason: str, autojump_clock: MockClock
) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"last") + sent + frame(TEXT, b"too late"))
        assert await socket.receive() == ["last"]
        closed = await until_closed(socket)
        assert (closed.code, closed.reason, closed.by_peer) == (code, reason, True)
        assert (socket.close_code, socket.close_reason) == (code, reason)
        assert socket.heard_goodbye
        assert (await read_frame(peer))[0] == CLOSE
        assert await read_all(peer) == b""  # the byte stream is closed before the block is left
        with pytest.raises(SocketClosed):
            await socket.send("nobody")
    assert trio.current_time() == 0


@pytest.mark.parametrize("how", ["eof", "close", "reset"])
async def test_a_peer_that_vanishes_is_1006(how: str, autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        match how:
            case "eof":
                await peer.send_eof()
            case "close":
                await peer.aclose()
            case "reset":
                peer.reset()
        closed = await until_closed(socket)
        assert (closed.code, closed.by_peer) == (1006, True)
        with pytest.raises(SocketClosed):
            await socket.send("nobody")
        with pytest.raises(SocketClosed):
            await socket.ping()
    assert trio.current_time() == 0


async def test_the_first_code_wins_and_all_wait_for_the_same_end(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.close, 1008, "first")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(socket.close, 1000, "second")
            await trio.sleep(1)
            assert await read_close(peer) == 1008
            await peer.send_all(close_frame(1008))
            assert await read_all(peer) == b""
        assert (socket.close_code, socket.close_reason) == (1008, "first")
        await socket.close(1011)
        assert trio.current_time() == 1
        with pytest.raises(SocketClosed):
            await socket.receive()


async def test_an_end_by_both_sides_at_once_is_an_end(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.close, 1000)
            nursery.start_soon(peer.send_all, close_frame(1001))
        assert socket.end is not None
        assert await read_close(peer) in (1000, 1001)
    assert trio.current_time() == 0


async def test_an_aborted_socket_says_no_goodbye(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_closed, socket)
            await trio.testing.wait_all_tasks_blocked()
            await socket.abort()
        assert await read_all(peer) == b""
        assert socket.end is not None
        assert (socket.close_code, socket.end.by_peer) == (1006, False)
        with pytest.raises(SocketClosed):
            await socket.ping()
    assert trio.current_time() == 0


async def test_an_abort_does_not_wait_for_messages_to_be_received(
    autojump_clock: MockClock,
) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"x") * 10)
        await trio.testing.wait_all_tasks_blocked()
        await socket.abort()
    assert trio.current_time() == 0


async def test_an_abort_works_while_we_are_being_cancelled(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await socket.abort()
        assert await read_all(peer) == b""
    assert socket.close_code == 1006


async def test_messages_that_nobody_received_do_not_keep_the_goodbye_waiting(
    autojump_clock: MockClock,
) -> None:
    async with accepted() as (socket, peer):
        await peer.send_all(frame(TEXT, b"x") * 10)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.close, 1000)
            assert await read_close(peer) == 1000
            await peer.send_all(close_frame(1000))
    assert trio.current_time() == 0


# -- sending -----------------------------------------------------------------------------------

BIG = "x" * 300_000  # more than any buffer on the way holds


async def test_a_cancelled_send_still_finishes_its_frame_or_breaks_the_stream(
    autojump_clock: MockClock,
) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(1):
                nursery.start_soon(trio.sleep, 3)
                await socket.send(BIG)
            assert trio.current_time() == TIMEOUTS.send  # the peer took nothing: given up
            assert socket.close_code == 1006
        with pytest.raises(trio.BrokenResourceError):
            await peer.send_all(b"x")


async def test_a_frame_in_flight_is_finished_before_the_goodbye(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()

    async def serve(task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with open_accepted(
                theirs, a_request(), limits=Limits(), timeouts=TIMEOUTS
            ) as socket:
                task_status.started(scope)
                await socket.send(BIG)
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        scope = await nursery.start(serve)
        await read_head(ours)
        await read_exactly(ours, 1000)  # the frame has begun
        await trio.sleep(1)
        scope.cancel()
        await trio.sleep(1)
        assert len(await read_exactly(ours, 10 + len(BIG) - 1000)) == 10 + len(BIG) - 1000
        assert await read_close(ours) == 1001
        await ours.send_all(close_frame(1001))
        assert await read_all(ours) == b""
    assert trio.current_time() == 2


async def test_two_senders_do_not_mix_their_frames(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:
            for letter in "abc":
                nursery.start_soon(socket.send, letter * 100_000)
            await trio.testing.wait_all_tasks_blocked()
            frames = [await read_frame(peer) for _ in range(3)]
        assert sorted(frames) == [(TEXT, letter * 100_000) for letter in (b"a", b"b", b"c")]


async def test_a_peer_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, _peer):
        with pytest.raises(SocketClosed) as closed:
            await socket.send(BIG)
        assert (closed.value.code, closed.value.by_peer) == (1006, False)
        assert "did not take a frame within 5 s" in closed.value.reason
        assert trio.current_time() == TIMEOUTS.send
        assert (await until_closed(socket)).code == 1006
    assert trio.current_time() == TIMEOUTS.send


async def test_the_goodbye_to_a_peer_that_takes_nothing_is_bounded(
    autojump_clock: MockClock,
) -> None:
    async with accepted() as (socket, _peer):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(SocketClosed):
                    await socket.send(BIG)

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await socket.close(1000)
            assert trio.current_time() == TIMEOUTS.close
    assert trio.current_time() == TIMEOUTS.close


async def test_a_peer_that_pings_and_never_reads_is_given_up(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer):
        async with trio.open_nursery() as nursery:

            async def ping_for_ever() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await peer.send_all(frame(PING, bytes(125)) * 100)

            nursery.start_soon(ping_for_ever)
            assert (await until_closed(socket)).code == 1006
    assert trio.current_time() == TIMEOUTS.send


# -- pings -------------------------------------------------------------------------------------


@asynccontextmanager
async def receiving(socket: MediaSocket) -> AsyncGenerator[None, None]:
    """Somebody receives while the block runs."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(until_closed, socket)
        yield
        nursery.cancel_scope.cancel()


async def test_a_ping_measures_the_round_trip(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer), receiving(socket):
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                opcode, payload = await read_frame(peer)
                assert opcode == PING
                await trio.sleep(0.25)
                await peer.send_all(frame(PONG, b"other") + frame(PONG, payload))

            nursery.start_soon(answer)
            assert await socket.ping() == pytest.approx(0.25)


async def test_a_ping_without_a_pong_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, _peer), receiving(socket):
        with pytest.raises(PongTimeout):
            await socket.ping()
        assert trio.current_time() == TIMEOUTS.pong
        assert socket.end is None


@pytest.mark.parametrize("how", ["close", "eof", "breach", "our close", "our abort"])
async def test_a_ping_wakes_when_the_socket_ends(how: str, autojump_clock: MockClock) -> None:
    async with accepted() as (socket, peer), receiving(socket):
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                with pytest.raises(SocketClosed):
                    await socket.ping()
                assert trio.current_time() == 1

            nursery.start_soon(ping)
            await trio.sleep(1)
            match how:
                case "close":
                    await peer.send_all(close_frame(1000))
                case "eof":
                    await peer.send_eof()
                case "breach":
                    await peer.send_all(frame(3))
                case "our close":
                    await socket.close()
                case "our abort":
                    await socket.abort()


async def test_a_ping_can_be_cancelled(autojump_clock: MockClock) -> None:
    async with accepted() as (socket, _peer), receiving(socket):
        with trio.move_on_after(1) as scope:
            await socket.ping()
        assert scope.cancelled_caught


# -- who closes first --------------------------------------------------------------------------

Ending = Callable[[MediaSocket], Awaitable[None]]


ENDINGS: dict[str, tuple[Ending, int]] = {
    "return": (_leave, 1000),
    "close": (_close, 1008),
    "abort": (MediaSocket.abort, 1006),
    "fail": (_fail, 1011),
}


@pytest.mark.parametrize(("end", "code"), ENDINGS.values(), ids=list(ENDINGS))
@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("gap", [0.0, 1.0])
async def test_whoever_ends_it_the_other_side_knows_how(
    end: Ending, code: int, who: str, gap: float, autojump_clock: MockClock
) -> None:
    client, server = memory_streams()
    before = living_tasks()
    seen: dict[str, MediaSocket] = {}
    limits, timeouts = Limits(), Timeouts()

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return client

    async def use(role: str, socket: MediaSocket) -> None:
        seen[role] = socket
        await trio.sleep(gap)
        if role == who:
            await end(socket)
        else:
            await until_closed(socket)

    async def serve() -> None:
        [key] = re.findall(rb"(?i)sec-websocket-key: *(\S+)", await read_head(server))
        request = Request("GET", "/", "/", "", (("sec-websocket-key", key.decode()),))
        with suppress(ValueError):  # of _fail
            async with open_accepted(server, request, limits=limits, timeouts=timeouts) as socket:
                await use("server", socket)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with suppress(ValueError):
            async with open_connected(
                "ws://x/", connect=connect, limits=limits, timeouts=timeouts
            ) as socket:
                await use("client", socket)
    other = {"client": "server", "server": "client"}[who]
    assert seen[who].end is not None and seen[other].end is not None
    assert (seen[who].close_code, seen[other].close_code) == (code, code)
    assert trio.current_time() == gap
    assert living_tasks() == before


# -- small things ------------------------------------------------------------------------------


async def _catch_cancelled() -> BaseException:
    caught: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            caught.append(exc)
            raise
    return caught[0]


async def test_the_goodbye_says_whose_fault_it_was() -> None:
    cancelled = await _catch_cancelled()
    ours, theirs = ValueError(), RemoteProtocolError("x", close_code=1007)
    cases: Sequence[tuple[BaseException | None, int]] = [
        (None, 1000),
        (cancelled, 1001),
        (KeyboardInterrupt(), 1001),
        (ours, 1011),
        (theirs, 1007),
        (BaseExceptionGroup("", [cancelled, cancelled]), 1001),
        (BaseExceptionGroup("", [cancelled, ours]), 1011),
        (BaseExceptionGroup("", [cancelled, ExceptionGroup("", [theirs])]), 1007),
    ]
    for error, code in cases:
        assert goodbye_code(error) == code, error


async def test_an_exception_leaves_the_block_as_it_was_raised(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        url = "ws://media.example.com/stream/a"
        with pytest.raises(ZeroDivisionError) as raised:
            async with open_connected(
                url, connect=house.network.connect, limits=house.limits, timeouts=house.timeouts
            ):
                raise ZeroDivisionError from KeyError("cause")
        assert isinstance(raised.value.__cause__, KeyError)
        assert raised.value.__context__ is None


async def test_a_stranger_who_pings_while_the_server_closes_harms_nobody(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        async with rough_socket(house) as stream:
            house.stop.set()
            assert await read_close(stream) == 1001
            await stream.send_all(frame(PING, b"x") + frame(9) + close_frame(1001))
            assert await read_all(stream) == b""
        assert house.site.kinds == []
