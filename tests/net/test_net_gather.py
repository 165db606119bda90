"""Streams that are read together: when, how far, and with the same outcome as one by one."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from net_parties import PING, PONG, TEXT, TIMEOUTS
from net_parties import a_request, close_frame, frame, read_head
from net_wire_cases import chunks_of, wire_bytes
from test_net_calls_counted import secured
from test_net_two_ways import EXACT, LIMIT, Outcome, end_of, outcome_of, split

from minivoice_ref.config import Limits
from minivoice_ref.net import tls_stream
from minivoice_ref.net.frame_reader import FrameReader
from minivoice_ref.net.frames import whole_frames
from minivoice_ref.net.gather import Gatherer, gathering, new_gatherer
from minivoice_ref.net.media_socket import MediaSocket, SocketClosed
from minivoice_ref.net.sockets import A_TURN
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.net.websocket import open_accepted
from minivoice_ref.protocol.media import WireMessage
from minivoice_ref.testing import memory_streams

SOON = 0.0005


# --- the gatherer itself: with real sockets, and a clock that stands still ---


@contextmanager
def pair() -> Generator[tuple[socket.socket, socket.socket], None, None]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


async def test_a_socket_is_read_each_time_it_has_something_until_enough_has_come() -> None:
    heard: list[bytes] = []

    def read() -> bool:
        heard.append(ours.recv(100))
        return len(heard) < 2

    with pair() as (ours, theirs), trio.fail_after(5):
        async with gathering([gatherer := Gatherer(SOON)]), trio.open_nursery() as nursery:
            nursery.start_soon(gatherer.serve, ours.fileno(), read)
            for word in (b"one", b"two"):
                await trio.testing.wait_all_tasks_blocked()
                theirs.send(word)
                while word not in heard:  # noqa: ASYNC110
                    await trio.lowlevel.checkpoint()
        theirs.send(b"unheard")
    assert heard == [b"one", b"two"]


async def test_what_comes_soon_after_waits_and_is_read_in_one_go(
    mock_clock: trio.testing.MockClock,
) -> None:
    heard: list[str] = []
    with pair() as (ours, theirs), pair() as (other, its_peer):

        def reader(name: str, end: socket.socket) -> Callable[[], bool]:
            def read() -> bool:
                heard.append(f"{name} {end.recv(100).decode()}")
                return True

            return read

        async with gathering([gatherer := Gatherer(0.01)]), trio.open_nursery() as nursery:
            nursery.start_soon(gatherer.serve, ours.fileno(), reader("a", ours))
            nursery.start_soon(gatherer.serve, other.fileno(), reader("b", other))
            await trio.testing.wait_all_tasks_blocked()
            theirs.send(b"1")
            await trio.testing.wait_all_tasks_blocked()
            assert heard == ["a 1"]
            for end in (theirs, its_peer, theirs):
                end.send(b"2")
                await trio.testing.wait_all_tasks_blocked()
            assert heard == ["a 1"]
            mock_clock.jump(0.01)
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(heard) == ["a 1", "a 22", "b 2"]
            nursery.cancel_scope.cancel()


async def test_others_have_their_turns_while_many_sockets_are_read() -> None:  # noqa: ASYNC910
    ends: list[tuple[socket.socket, socket.socket]] = []
    read_by_then: list[int] = []
    reads = 0

    def read() -> bool:
        nonlocal reads
        reads += 1
        return False

    async def count() -> None:  # noqa: ASYNC910
        while reads < 200:
            await trio.lowlevel.checkpoint()
            read_by_then.append(reads)

    try:
        ends += [socket.socketpair() for _ in range(200)]
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                gatherer = Gatherer(SOON)
                for ours, theirs in ends:
                    nursery.start_soon(gatherer.serve, ours.fileno(), read)
                    theirs.send(b"x")
                await trio.testing.wait_all_tasks_blocked()
                async with gathering([gatherer]):
                    await count()
    finally:
        for both in ends:
            both[0].close()
            both[1].close()
    assert any(0 < number < 200 for number in read_by_then)


async def test_others_have_a_turn_after_a_few_sockets_that_brought_much(
    mock_clock: trio.testing.MockClock,
) -> None:
    """Each read takes as long as a burst does; that there are few of them is no excuse."""
    order: list[str] = []

    def read() -> bool:
        order.append("read")
        mock_clock.jump(0.003)
        return False

    async def another(ends: ExitStack) -> None:
        async with trio.open_nursery() as nursery:
            gatherer = Gatherer(SOON)
            for _ in range(12):
                ours, theirs = ends.enter_context(pair())
                theirs.send(b"x")
                nursery.start_soon(gatherer.serve, ours.fileno(), read)
            await trio.testing.wait_all_tasks_blocked()
            async with gathering([gatherer]):
                while order.count("read") < 12:
                    await trio.lowlevel.checkpoint()
                    order.append("turn")

    with ExitStack() as ends:
        await another(ends)
    assert "read" in order and " ".join(["read"] * 5) not in " ".join(order)  # two turns at most


async def test_a_socket_that_is_released_meanwhile_is_not_read() -> None:
    """Each of the two releases the other; who comes second was ready, and is left alone."""
    reads: list[str] = []
    with pair() as (ours, theirs), pair() as (other, its_peer), trio.fail_after(5):
        gatherer = Gatherer(SOON)

        def reader(name: str, rival: socket.socket) -> Callable[[], bool]:
            def read() -> bool:
                reads.append(name)
                gatherer.release(rival.fileno())
                return False

            return read

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gatherer.serve, ours.fileno(), reader("a", other))
            nursery.start_soon(gatherer.serve, other.fileno(), reader("b", ours))
            theirs.send(b"x")
            its_peer.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
            async with gathering([gatherer]):
                while not reads:  # noqa: ASYNC110
                    await trio.lowlevel.checkpoint()
    assert len(reads) == 1


async def test_whoever_is_cancelled_is_served_no_more_and_may_come_again() -> None:
    with pair() as (ours, theirs), trio.fail_after(5):
        async with gathering([gatherer := Gatherer(SOON)]):
            with trio.CancelScope() as scope:
                scope.cancel()
                await gatherer.serve(ours.fileno(), lambda: False)
            assert scope.cancelled_caught
            gatherer.release(ours.fileno())  # nobody is there
            theirs.send(b"x")
            await gatherer.serve(ours.fileno(), lambda: False)


def test_it_is_for_linux_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(new_gatherer(SOON), Gatherer)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert new_gatherer(SOON) is None


# --- a socket that is poured out ---


@asynccontextmanager
async def connection(
    *, tls: bool, trailing: bytes = b"", **limits: int
) -> AsyncGenerator[tuple[MediaSocket, trio.abc.Stream], None]:
    """An accepted socket over TCP that is read by a gatherer, and the stream of its peer."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ours: trio.abc.Stream
    theirs: trio.abc.Stream
    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    theirs = await listener.accept()
    with trio.fail_after(20):
        async with listener, ours, theirs, gathering([gatherer := Gatherer(SOON)]):
            if tls:
                ours, theirs = await secured(ours, theirs)
            async with open_accepted(
                theirs,
                a_request(),
                trailing=trailing,
                limits=Limits(**limits),
                timeouts=TIMEOUTS,
                gatherer=gatherer,
            ) as accepted:
                await read_head(ours)
                yield accepted, ours


async def outcome_when_poured(  # noqa: ASYNC910
    pieces: list[bytes], trailing: bytes, tls: bool
) -> Outcome:
    """As `test_net_two_ways.converse`, over TCP."""
    outcome = Outcome()

    def take(messages: list[WireMessage]) -> bool:
        outcome.messages += messages
        return True

    async def speak(peer: trio.abc.Stream) -> None:  # noqa: ASYNC910
        try:
            for piece in pieces:
                await peer.send_all(piece)
                await trio.lowlevel.checkpoint()
            below = peer.transport_stream if isinstance(peer, TlsStream) else peer
            assert isinstance(below, trio.SocketStream)
            await below.send_eof()
        except trio.BrokenResourceError:
            pass

    async def listen(peer: trio.abc.Stream) -> None:  # noqa: ASYNC910
        try:
            async for data in peer:
                outcome.sent_to_peer += data
        except trio.BrokenResourceError:
            pass  # reset, after all that it was sent: it had said more after its goodbye

    async with trio.open_nursery() as nursery:
        async with connection(tls=tls, trailing=trailing, message=LIMIT) as (accepted, peer):
            nursery.start_soon(speak, peer)
            nursery.start_soon(listen, peer)
            try:
                await accepted.pour(take)
            except SocketClosed as exc:
                outcome.end = end_of(exc)
            await accepted.close()
            outcome.heard_goodbye = accepted.heard_goodbye
    return outcome


@settings(max_examples=80, deadline=None)
@given(data=wire_bytes(), cuts=chunks_of(), early=st.booleans(), tls=st.booleans())
# Whoever says more after its goodbye may find its connection reset.
@example(close_frame(1000) + frame(TEXT, b"more"), [8], False, False)
def test_the_same_bytes_have_the_same_outcome(
    data: bytes, cuts: list[int], early: bool, tls: bool
) -> None:
    """TCP may join the pieces. That tells only where a text is too big and no text as well: which
    of the two is found first depends on the pieces, the simple way, too.
    """
    pieces = split(data, cuts)
    trailing = pieces.pop(0) if early and pieces else b""
    poured = trio.run(outcome_when_poured, pieces, trailing, tls)
    simple = [
        outcome_of("simple", each, trailing) for each in (pieces, split(b"".join(pieces), []))
    ]
    for outcome in simple:
        outcome.seconds = poured.seconds  # not the same clock
    assert poured in simple


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pings between", ["a", "b"]),
        ("fragments", ["ab", "c"]),
        ("good ones", ["é" * 70, bytes(LIMIT)]),
    ],
)
async def test_messages_come_in_order_whatever_is_between(
    name: str, expected: list[WireMessage], tls: bool
) -> None:
    heard: list[WireMessage] = []

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return len(heard) < 3 * len(expected)

    async with connection(tls=tls, message=LIMIT) as (accepted, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.pour, take)
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_all(EXACT[name].removesuffix(close_frame(1000)))
        assert heard == expected * 3
        await accepted.abort()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_after_the_last_message_that_is_wanted_the_next_can_be_received(tls: bool) -> None:
    async with connection(tls=tls) as (accepted, peer):
        await peer.send_all(whole_frames(["one"], masked=True))
        await accepted.pour(lambda messages: messages != ["one"])
        await peer.send_all(whole_frames(["two"], masked=True))
        assert await accepted.receive() == ["two"]
        with trio.move_on_after(0):
            await accepted.pour(lambda messages: True)
        await peer.send_all(whole_frames(["three"], masked=True))
        assert await accepted.receive() == ["three"]
        await accepted.abort()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("first", [b"", frame(PING)], ids=["read by the gatherer", "by itself"])
async def test_what_the_taker_raises_is_raised_by_the_pouring_task(first: bytes, tls: bool) -> None:
    def take(messages: list[WireMessage]) -> bool:
        raise ValueError(messages)

    async with connection(tls=tls) as (accepted, peer):
        await peer.send_all(first + whole_frames(["one"], masked=True))
        with pytest.raises(ValueError, match="one"):
            await accepted.pour(take)
        await accepted.abort()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_what_fails_while_a_stream_is_read_is_raised_by_its_own_task(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads for all must not be ended by one of them."""

    def no_room(reader: FrameReader, data: bytes) -> None:
        raise MemoryError("no room")

    async with connection(tls=tls) as (accepted, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.pour, lambda messages: messages != ["one"])
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(whole_frames(["one"], masked=True))
        monkeypatch.setattr(FrameReader, "take", no_room)
        await peer.send_all(whole_frames(["two"], masked=True))
        with pytest.raises(MemoryError, match="no room"):
            await accepted.pour(lambda messages: True)
        await accepted.abort()


async def test_a_burst_behind_a_ping_is_whole_however_much_of_it_one_read_brings() -> None:
    """Of large records a read may bring more than is decrypted at once: the rest is not forgotten,
    and what arrives next is not taken for it.
    """
    heard: list[WireMessage] = []
    sent = [f"{number} {'x' * 500}" for number in range(600)]

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return len(heard) < len(sent)

    async with connection(tls=True) as (accepted, peer):
        assert isinstance(peer, TlsStream)
        for part in (frame(PING), whole_frames(sent, masked=True)):
            for place in range(0, len(part), 16384):
                peer._tls.write(part[place : place + 16384])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.transport_stream.send_all, peer._outgoing.read())
            await trio.testing.wait_all_tasks_blocked()
            await accepted.pour(take)
        assert heard == sent
        await accepted.abort()


async def test_what_was_left_of_a_read_is_taken_though_nothing_more_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[WireMessage] = []
    sent = [f"{number} {'x' * 100}" for number in range(50)]

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return len(heard) < len(sent)

    async with connection(tls=True) as (accepted, peer):
        monkeypatch.setattr(tls_stream, "MOST", 1000)  # that are decrypted at once
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.pour, take)
            await peer.send_all(whole_frames(sent, masked=True))
        assert heard == sent
        await accepted.abort()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_burst_comes_in_turns_that_an_application_can_take(tls: bool) -> None:
    turns: list[int] = []
    message = "x" * 300

    def take(messages: list[WireMessage]) -> bool:
        turns.append(len(whole_frames(messages, masked=True)))
        return sum(turns) < 180 * (len(message) + 8)

    async with connection(tls=tls) as (accepted, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.pour, take)
            await peer.send_all(frame(PING))
            assert await peer.receive_some() == frame(PONG, masked=False)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_all(whole_frames([message] * 180, masked=True))
        assert max(turns) <= A_TURN + len(message) + 8, turns
        await accepted.abort()


async def _broken_off(accepted: MediaSocket, peer: trio.abc.Stream) -> None:
    await accepted.abort()


async def _closed(accepted: MediaSocket, peer: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepted.close, 1001, "enough")
        assert b"enough" in bytes(await peer.receive_some())
        await peer.send_all(close_frame(1001))


async def _vanished(accepted: MediaSocket, peer: trio.abc.Stream) -> None:
    await peer.aclose()


async def _reset(accepted: MediaSocket, peer: trio.abc.Stream) -> None:
    lowest = peer.transport_stream if isinstance(peer, TlsStream) else peer
    assert isinstance(lowest, trio.SocketStream)
    lowest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await peer.aclose()


ENDINGS = {
    "abort": (_broken_off, 1006, False),
    "close": (_closed, 1001, False),
    "the peer is gone": (_vanished, 1006, True),
    "a reset": (_reset, 1006, True),
}


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=list(ENDINGS))
async def test_who_pours_hears_of_the_end_whoever_makes_it(
    ending: tuple[Callable[[MediaSocket, trio.abc.Stream], object], int, bool], tls: bool
) -> None:
    make, code, by_peer = ending
    heard: list[WireMessage] = []

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return True

    async def pour() -> None:
        with pytest.raises(SocketClosed) as raised:
            await accepted.pour(take)
        assert (raised.value.code, raised.value.by_peer) == (code, by_peer)

    async with connection(tls=tls) as (accepted, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour)
            await peer.send_all(whole_frames(["one"], masked=True))
            while not heard:  # noqa: ASYNC110
                await trio.lowlevel.checkpoint()
            await make(accepted, peer)  # type: ignore[misc]
    assert heard == ["one"]


async def test_a_record_that_comes_byte_by_byte_is_whole_with_its_last() -> None:
    """Whoever is told that there is something gets nothing of half a record, and no error."""
    heard: list[WireMessage] = []

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return len(heard) < 2

    async with connection(tls=True) as (accepted, peer):
        assert isinstance(peer, TlsStream)
        peer._tls.write(frame(TEXT, b"one"))
        record = peer._outgoing.read()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accepted.pour, take)
            await peer.transport_stream.send_all(record)  # the handshake's remains are read with it
            while not heard:  # noqa: ASYNC110
                await trio.lowlevel.checkpoint()
            peer._tls.write(frame(TEXT, b"two"))
            record = peer._outgoing.read()
            for place in range(len(record)):
                await trio.testing.wait_all_tasks_blocked()
                await peer.transport_stream.send_all(record[place : place + 1])
        assert heard == ["one", "two"]
        await accepted.abort()


async def test_half_a_record_is_nothing_yet() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    plain = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    accepted = await listener.accept()
    async with listener, plain, accepted:
        client, server = await secured(plain, accepted)
        assert isinstance(client, TlsStream) and isinstance(server, TlsStream)
        client._tls.write(b"hello")
        record = client._outgoing.read()
        assert server.receive_now() is None
        for piece, found in ((record[:9], None), (record[9:], b"hello")):
            await plain.send_all(piece)
            await trio.lowlevel.wait_readable(accepted.socket)
            assert server.receive_now() == found


async def test_where_there_is_no_socket_nothing_is_gathered() -> None:
    ours, theirs = memory_streams()
    heard: list[WireMessage] = []

    def take(messages: list[WireMessage]) -> bool:
        heard.extend(messages)
        return len(heard) < 2

    with trio.fail_after(5):
        async with open_accepted(
            theirs,
            a_request(),
            limits=Limits(),
            timeouts=TIMEOUTS,
            gatherer=Gatherer(SOON),
        ) as accepted:
            await read_head(ours)
            await ours.send_all(whole_frames(["one", "two"], masked=True))
            await accepted.pour(take)
            await accepted.abort()
    assert heard == ["one", "two"]
