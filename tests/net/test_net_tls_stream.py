"""TLS through memory: Trio's contract, the same as `trio.SSLStream`, and at once where it can."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from net_parties import read_all, read_exactly
from trio.testing import MockClock

from minivoice_ref.net import tls_stream
from minivoice_ref.net.streams import ReplayStream, eager_below
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.testing import memory_streams

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
Pair = tuple[Any, Any]
"""The two ends of a connection after the handshake: the client's, the server's."""


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


def _our_client(contexts: Contexts, stream: trio.abc.Stream) -> TlsStream:
    return TlsStream(stream, contexts[1], "localhost")


def _our_server(contexts: Contexts, stream: trio.abc.Stream) -> TlsStream:
    return TlsStream(stream, contexts[0], server_side=True)


def _trios_client(contexts: Contexts, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream]:
    return trio.SSLStream(stream, contexts[1], server_hostname="localhost", https_compatible=True)


def _trios_server(contexts: Contexts, stream: trio.abc.Stream) -> trio.SSLStream[trio.abc.Stream]:
    return trio.SSLStream(stream, contexts[0], server_side=True, https_compatible=True)


Ends = tuple[Callable[[Contexts, trio.abc.Stream], Any], Callable[[Contexts, trio.abc.Stream], Any]]
OURS: Ends = (_our_client, _our_server)
MIXED: dict[str, Ends] = {
    "our client": (_our_client, _trios_server),
    "our server": (_trios_client, _our_server),
    "both ours": OURS,
}


async def secured(
    contexts: Contexts, ours: trio.abc.Stream, theirs: trio.abc.Stream, ends: Ends = OURS
) -> Pair:
    client, server = ends[0](contexts, ours), ends[1](contexts, theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


async def in_memory(contexts: Contexts, ends: Ends = OURS) -> Pair:
    return await secured(contexts, *memory_streams(), ends)


@asynccontextmanager
async def over_tcp(contexts: Contexts) -> AsyncGenerator[Pair, None]:
    """Both ends over a real socket, within ten seconds."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    theirs = await listener.accept()
    with trio.fail_after(10):
        pair = await secured(contexts, ours, theirs)
        async with listener, ours, theirs:
            yield pair


def tell(client: TlsStream, data: bytes) -> bool:
    """Send without waiting, in a function that cannot wait."""
    return client.send_now(data)


# --- Trio's contract ---


async def test_trios_contract_is_kept_over_memory(contexts: Contexts) -> None:
    async def make() -> Pair:
        return await in_memory(contexts)

    async def make_clogged() -> Pair:
        return await secured(contexts, *trio.testing.lockstep_stream_pair())

    await trio.testing.check_two_way_stream(make, make_clogged)


async def test_trios_contract_is_kept_over_sockets(contexts: Contexts) -> None:
    async def make() -> Pair:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
            return await secured(contexts, ours, await listener.accept())

    with trio.fail_after(20):
        await trio.testing.check_two_way_stream(make, None)


async def test_a_closed_stream_says_so_though_something_was_left_to_read(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts)
    await client.send_all(b"abcdef")
    assert await server.receive_some(2) == b"ab"
    await server.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await server.receive_some()


# --- the patient way ---


@pytest.mark.parametrize("ends", MIXED.values(), ids=list(MIXED))
async def test_bytes_go_both_ways(
    contexts: Contexts, ends: Ends, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts, ends)
    for one, other in ((client, server), (server, client)):
        await one.send_all(b"there")
        assert await read_exactly(other, 5) == b"there"
        await other.send_all(b"and back")
        assert await one.receive_some(3) == b"and"
        assert await one.receive_some() == b" back"
        await one.wait_send_all_might_not_block()


@pytest.mark.parametrize("ends", MIXED.values(), ids=list(MIXED))
@pytest.mark.parametrize("polite", [True, False])
async def test_the_end_is_the_end_with_and_without_a_goodbye(
    contexts: Contexts, ends: Ends, polite: bool, autojump_clock: MockClock
) -> None:
    for one, other in (await in_memory(contexts, ends), (await in_memory(contexts, ends))[::-1]):
        await one.send_all(b"last words")
        if polite and isinstance(one, trio.SSLStream):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.unwrap)  # says goodbye, and waits for ours in vain
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        await one.transport_stream.aclose()
        assert await read_all(other) == b"last words"
        if isinstance(other, TlsStream):  # Trio's own says so only once
            assert await other.receive_some() == b""


async def test_what_one_read_brought_is_received_at_once(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts)
    for _ in range(20):
        await client.send_all(b"record" * 50)
    assert await server.receive_some() == b"record" * 1000


async def test_bytes_that_came_with_the_handshake_are_not_waited_for(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    ours, theirs = memory_streams()
    client, server = _our_client(contexts, ours), _our_server(contexts, theirs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await client.do_handshake()
        await client.send_all(b"in the same packet")
    assert await server.receive_some() == b"in the same packet"


async def test_a_cancelled_receive_loses_nothing(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts)
    with trio.move_on_after(1):
        await server.receive_some()
    await client.send_all(b"abcdef")
    for expected in (b"ab", b"cd"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive_some(2)
        assert await server.receive_some(2) == expected
    assert await server.receive_some() == b"ef"


async def test_a_large_record_and_small_ones_come_whole_however_they_are_split(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    ours, between = memory_streams()
    theirs, beyond = memory_streams()
    sent = bytes(range(256)) * 100

    async def trickle() -> None:
        while data := await between.receive_some(997):
            await beyond.send_all(data)
            await trio.testing.wait_all_tasks_blocked()

    async def back() -> None:
        while data := await beyond.receive_some():
            await between.send_all(data)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle)
        nursery.start_soon(back)
        client, server = await secured(contexts, ours, theirs)
        nursery.start_soon(client.send_all, sent)
        assert await read_exactly(server, len(sent)) == sent
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("words", [b"", b"good words"])
async def test_garbage_between_the_records_breaks_it_behind_what_was_good(
    contexts: Contexts, words: bytes, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts)
    if words:
        await server.send_all(words)
    await server.transport_stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    if words:
        assert await client.receive_some() == words
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError) as broken:
            await client.receive_some()
        assert isinstance(broken.value.__cause__, ssl.SSLError)


async def test_a_record_that_was_cut_in_half_ends_the_sending(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    client, _ = await in_memory(contexts)
    with trio.move_on_after(1) as patience:
        await client.send_all(bytes(1_000_000))  # nobody reads
    assert patience.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"more")


async def test_a_second_sender_is_refused_before_it_can_disturb_the_first(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    client, server = await in_memory(contexts)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, bytes(200_000))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await client.send_all(b"second")
        assert await read_exactly(server, 200_000) == bytes(200_000)
    await client.send_all(b"third")
    assert await read_exactly(server, 5) == b"third"


async def test_a_peer_that_makes_us_answer_without_end_is_given_up(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """Where the answers of TLS itself cannot leave, they wait; but not all there may be."""
    monkeypatch.setattr(tls_stream, "MOST", 1000)
    client, server = await in_memory(contexts)
    await server.send_all(b"the tickets are on their way")
    server._outgoing.write(bytes(1000))  # as many new keys would
    await client.send_all(b"words")
    assert await server.receive_some() == b"words"
    server._outgoing.write(b"!")
    with pytest.raises(trio.BrokenResourceError, match="without end"):
        await server.receive_some()


async def test_a_closed_stream_says_so(contexts: Contexts, autojump_clock: MockClock) -> None:
    client, server = await in_memory(contexts)
    await client.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await client.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await client.receive_some()
    assert await server.receive_some() == b""


async def test_nothing_can_be_sent_before_the_handshake(
    contexts: Contexts, autojump_clock: MockClock
) -> None:
    ours, _ = memory_streams()
    client = TlsStream(ours, contexts[1], "localhost")
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"hello")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_may_resume_its_session(
    contexts: Contexts, version: ssl.TLSVersion, autojump_clock: MockClock
) -> None:
    """Nothing turns tickets off: a new stream of a known client costs no new key exchange."""
    server, client = contexts
    session: ssl.SSLSession | None = None
    client.minimum_version = client.maximum_version = version
    try:
        for known in (False, True):
            there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client.wrap_bio(back, there, server_hostname="localhost", session=session)
            ours, theirs = memory_streams()
            async with trio.open_nursery() as nursery:
                accepted = TlsStream(theirs, server, server_side=True)
                nursery.start_soon(accepted.do_handshake)
                await _shake_hands(tls, there, back, ours)
            await accepted.send_all(b"x")
            while (data := _read(tls)) is None:
                back.write(await ours.receive_some())
            assert data == b"x"
            assert tls.session_reused == known
            session = tls.session
    finally:
        client.minimum_version = ssl.TLSVersion.TLSv1_2
        client.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


async def _shake_hands(
    tls: ssl.SSLObject, there: ssl.MemoryBIO, back: ssl.MemoryBIO, stream: trio.abc.Stream
) -> None:
    """A client's handshake by hand, since Trio's client cannot be given a session."""
    await trio.lowlevel.checkpoint()
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            await stream.send_all(there.read())
            back.write(await stream.receive_some())
    await stream.send_all(there.read())


def _read(tls: ssl.SSLObject) -> bytes | None:
    try:
        return tls.read(1)
    except ssl.SSLWantReadError:
        return None


# --- at once ---


async def test_only_a_tcp_socket_can_be_offered_bytes(contexts: Contexts) -> None:
    client, server = await in_memory(contexts)
    assert not client.can_send_now
    assert eager_below(client) is None and eager_below(server) is None
    async with over_tcp(contexts) as (client, _):
        assert eager_below(ReplayStream(b"", ReplayStream(b"", client))) is client


async def test_what_the_system_takes_is_sent_at_once(contexts: Contexts) -> None:
    async with over_tcp(contexts) as (client, server):
        assert tell(client, b"one") and tell(client, b"") and tell(client, b"two")
        assert await read_exactly(server, 6) == b"onetwo"


async def test_what_was_left_of_the_last_read_comes_before_what_has_arrived_since(
    contexts: Contexts,
) -> None:
    async with over_tcp(contexts) as (client, server):
        sent = bytes(range(256)) * 60  # more than OpenSSL is given at once
        await client.send_all(sent)
        received = await server.receive_some(5)
        await client.send_all(b"since then")
        assert server.more
        await trio.lowlevel.wait_readable(server.transport_stream.socket)
        received += server.receive_now()
        assert received == sent and server.receive_now() == b"since then"
        assert not server.more and server.receive_now() is None


async def test_what_tls_itself_answers_leaves_while_we_only_read(contexts: Contexts) -> None:
    """Here the tickets that a server has for its client, which has not asked for anything."""
    async with over_tcp(contexts) as (client, server):
        assert server._outgoing.pending or server._tls.version() != "TLSv1.3"
        await client.send_all(b"hello")
        assert await server.receive_some() == b"hello"
        assert not server._outgoing.pending and not server._unsent


async def test_what_the_system_does_not_take_follows_whole_and_in_order(
    contexts: Contexts,
) -> None:
    much = bytes(range(256)) * 65536  # 16 MiB, more than the buffers of the system
    async with over_tcp(contexts) as (client, server):
        assert not tell(client, much)
        assert not tell(client, b" behind")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b" and further behind")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                tell(client, b"somebody is sending")
            await server.send_all(b"and whoever reads need not wait for that")
            assert await client.receive_some() == b"and whoever reads need not wait for that"
            expected = much + b" behind and further behind"
            received = bytearray()
            while len(received) < len(expected):
                received += await server.receive_some()
            assert received == expected
        assert tell(client, b"at once again")
        assert await read_exactly(server, 13) == b"at once again"


async def test_a_peer_that_is_gone_is_found_out_by_whoever_waits(contexts: Contexts) -> None:
    async with over_tcp(contexts) as (client, server):
        await trio.aclose_forcefully(server)
        with pytest.raises(trio.BrokenResourceError):
            while True:
                if not tell(client, b"hello"):
                    await client.send_all(b"")
                await trio.lowlevel.checkpoint()


async def test_a_closed_stream_takes_nothing(contexts: Contexts) -> None:
    async with over_tcp(contexts) as (client, _):
        await client.aclose()
        assert not tell(client, b"hello")
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"")
