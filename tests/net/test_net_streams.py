"""Byte streams: given back, lingering, named; and the memory streams that other tests run on."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import ConnectFailed
from minivoice_ref.net.link import Link
from minivoice_ref.net.streams import (
    ReplayStream,
    Unwrapped,
    aclose_politely,
    linger,
    peer_name,
)
from minivoice_ref.testing import MemoryNetwork, MemoryStream, memory_streams
from trio.testing import MockClock


async def test_what_was_read_is_given_back_first_and_unmixed(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    stream = ReplayStream(b"head", theirs)
    await ours.send_all(b"rest")
    assert await stream.receive_some(3) == b"hea"
    stream.give_back(b"<")
    assert await stream.receive_some() == b"<d"
    assert await stream.receive_some() == b"rest"
    await stream.wait_send_all_might_not_block()
    with pytest.raises(ValueError, match="max_bytes"):
        await ReplayStream(b"head", theirs).receive_some(-1)


async def test_a_cancelled_replay_loses_nothing(autojump_clock: MockClock) -> None:
    _ours, theirs = memory_streams()
    stream = ReplayStream(b"head", theirs)
    with trio.CancelScope() as scope:
        scope.cancel()
        await stream.receive_some()
    assert await stream.receive_some() == b"head"


async def test_a_replaying_stream_keeps_trios_contract() -> None:
    async def make() -> tuple[ReplayStream, ReplayStream]:
        await trio.lowlevel.checkpoint()
        one, other = memory_streams()
        return ReplayStream(b"", one), ReplayStream(b"", other)

    await trio.testing.check_two_way_stream(make, None)


async def test_a_memory_stream_keeps_trios_contract() -> None:
    async def make() -> tuple[MemoryStream, MemoryStream]:
        await trio.lowlevel.checkpoint()
        return memory_streams()

    async def make_clogged() -> tuple[MemoryStream, MemoryStream]:
        one, other = memory_streams()
        await one.send_all(bytes(65536))
        await other.send_all(bytes(65536))
        return one, other

    await trio.testing.check_half_closeable_stream(make, make_clogged)


async def test_a_link_waits_for_room_as_the_stream_below_does(autojump_clock: MockClock) -> None:
    _ours, theirs = memory_streams()
    link = Link(theirs, Timeouts(), None)
    await link.wait_send_all_might_not_block()
    await theirs.send_all(bytes(65536))
    with trio.move_on_after(1) as patience:
        await link.wait_send_all_might_not_block()
    assert patience.cancelled_caught


async def test_a_reset_breaks_both_ends(autojump_clock: MockClock) -> None:
    one, other = memory_streams()
    await one.send_all(b"lost")
    one.reset()
    for stream in (one, other):
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_a_memory_network_connects_only_to_who_listens(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = network.listener("a", 1)
    client = await network.connect("a", 1, False)
    server = await listener.accept()
    assert peer_name(server).startswith("192.0.2.1:")
    assert peer_name(client) == "a:1"
    await listener.aclose()
    for host in ("a", "b"):
        with pytest.raises(ConnectFailed, match=f"nobody listens at {host}:1"):
            await network.connect(host, 1, False)


async def test_lingering_ends_with_the_peer_or_with_the_stream(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger, theirs)
        assert await ours.receive_some() == b""  # it says first that nothing more comes
        await ours.send_all(b"unread")
        await trio.sleep(1)
        await ours.aclose()
    assert trio.current_time() == 1
    await linger(theirs)
    theirs.reset()
    await linger(theirs)
    await theirs.aclose()
    await linger(theirs)


@pytest.mark.parametrize(("unread", "seconds"), [(False, 0.0), (True, Timeouts().close)])
async def test_a_polite_close_is_bounded(
    unread: bool, seconds: float, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_streams()
    await aclose_politely(theirs, Timeouts(), unread=unread)
    assert trio.current_time() == seconds
    assert await ours.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError):
        await ours.send_all(b"x")


async def test_a_stream_that_does_not_close_is_closed_at_the_deadline(
    autojump_clock: MockClock,
) -> None:
    class Reluctant(MemoryStream):
        async def aclose(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                closed.append(True)

    closed: list[bool] = []
    one, _other = memory_streams()
    stream = Reluctant(one._outgoing, one._incoming, peer="")
    await aclose_politely(stream, Timeouts(), unread=False)
    assert closed == [True]
    assert trio.current_time() == Timeouts().close


async def test_peers_are_named_as_people_write_addresses() -> None:
    for host, shape in (("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")):
        try:
            [listener] = await trio.open_tcp_listeners(0, host=host)
        except OSError:  # a machine without IPv6
            continue
        async with listener, await trio.testing.open_stream_to_socket_listener(listener) as client:
            async with await listener.accept() as server:
                assert isinstance(client, trio.SocketStream)
                assert peer_name(server) == shape.format(client.socket.getsockname()[1])
            assert peer_name(server) == ""
    name = "\0minivoice-ref-test-of-peer-names"  # in no folder: Linux only
    with trio.socket.socket(trio.socket.AF_UNIX) as sock, suppress(OSError):
        await sock.bind(name)
        sock.listen(1)
        async with await trio.open_unix_socket(name) as client:
            assert "minivoice-ref-test" in peer_name(client)
    one, other = trio.socket.socketpair()
    async with trio.SocketStream(one) as stream:
        assert peer_name(stream) == ""
    other.close()
    assert peer_name(trio.testing.memory_stream_pair()[0]) == ""


def test_one_layer_of_a_group_is_taken_off() -> None:
    inner = ExceptionGroup("inner", [ValueError(1), ValueError(2)])
    inner.__context__ = context = KeyError("before")
    group = pytest.RaisesGroup(ValueError, ValueError)
    with group as raised, Unwrapped():
        raise ExceptionGroup("outer", [inner])
    assert raised.value is inner
    assert inner.__context__ is context
    with pytest.RaisesGroup(ValueError, ValueError), Unwrapped():
        raise inner
    with pytest.raises(KeyError), Unwrapped():
        raise KeyError("bare")
    with Unwrapped():
        pass
