"""The client's TLS: as `trio.SSLStream` where it waits, at once where the system lets it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme
from net_parties import read_exactly

from minivoice_ref.net.eager_tls import EagerTls
from minivoice_ref.net.streams import ReplayStream, eager_below
from minivoice_ref.testing import memory_streams

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
Pair = tuple[EagerTls, trio.SSLStream[trio.abc.Stream]]


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    return server, client


async def secured(contexts: Contexts, ours: trio.abc.Stream, theirs: trio.abc.Stream) -> Pair:
    """Both ends of a connection, after the handshake."""
    client = EagerTls(ours, contexts[1], "localhost")
    server = trio.SSLStream(theirs, contexts[0], server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    return client, server


async def in_memory(contexts: Contexts) -> Pair:
    return await secured(contexts, *memory_streams())


@asynccontextmanager
async def over_tcp(contexts: Contexts) -> AsyncGenerator[Pair, None]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    theirs = await listener.accept()
    pair = await secured(contexts, ours, theirs)
    async with listener, ours, theirs:
        yield pair


def tell(client: EagerTls, data: bytes) -> bool:
    """Send without waiting, in a function that cannot wait."""
    return client.send_now(data)


# --- the patient way ---


async def test_bytes_go_both_ways(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = await in_memory(contexts)
    await client.send_all(b"there")
    assert await read_exactly(server, 5) == b"there"
    await server.send_all(b"and back")
    assert await client.receive_some(3) == b"and"
    assert await client.receive_some() == b" back"
    await client.wait_send_all_might_not_block()


@pytest.mark.parametrize("polite", [True, False])
async def test_the_end_is_the_end_with_and_without_a_goodbye(
    contexts: Contexts, polite: bool, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = await in_memory(contexts)
    await server.send_all(b"last words")
    if polite:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.unwrap)  # says goodbye, and waits for ours in vain
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    await server.transport_stream.aclose()
    assert await client.receive_some() == b"last words"
    assert await client.receive_some() == b""


async def test_receiving_less_than_a_byte_is_an_error(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    client, _ = await in_memory(contexts)
    with pytest.raises(ValueError, match="max_bytes"):
        await client.receive_some(0)


async def test_garbage_between_the_records_breaks_it(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = await in_memory(contexts)
    await server.transport_stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError) as broken:
        await client.receive_some()
    assert isinstance(broken.value.__cause__, ssl.SSLError)


async def test_a_record_that_was_cut_in_half_ends_the_sending(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    client, _ = await in_memory(contexts)
    with trio.move_on_after(1) as patience:
        await client.send_all(bytes(1_000_000))  # nobody reads
    assert patience.cancelled_caught
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"more")


async def test_a_closed_stream_says_so(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    client, server = await in_memory(contexts)
    await client.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await client.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await client.receive_some()
    assert await server.receive_some() == b""


async def test_nothing_can_be_sent_before_the_handshake(
    contexts: Contexts, autojump_clock: trio.testing.MockClock
) -> None:
    ours, _ = memory_streams()
    client = EagerTls(ours, contexts[1], "localhost")
    with pytest.raises(trio.BrokenResourceError):
        await client.send_all(b"hello")


# --- at once ---


async def test_only_a_tcp_socket_can_be_offered_bytes(contexts: Contexts) -> None:
    client, server = await in_memory(contexts)
    assert not client.can_send_now
    assert eager_below(client) is None and eager_below(server) is None
    async with over_tcp(contexts) as (client, _):
        assert eager_below(ReplayStream(b"", ReplayStream(b"", client))) is client


async def test_what_the_system_takes_is_sent_at_once(contexts: Contexts) -> None:
    with trio.fail_after(10):
        async with over_tcp(contexts) as (client, server):
            assert tell(client, b"one") and tell(client, b"two")
            assert await read_exactly(server, 6) == b"onetwo"


async def test_what_the_system_does_not_take_follows_whole_and_in_order(
    contexts: Contexts,
) -> None:
    much = bytes(range(256)) * 65536  # 16 MiB, more than the buffers of the system
    with trio.fail_after(30):
        async with over_tcp(contexts) as (client, server):
            assert not tell(client, much)
            assert not tell(client, b" behind")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, b"")
                await trio.testing.wait_all_tasks_blocked()
                assert not tell(client, b" and further behind")  # somebody is sending
                await server.send_all(b"and whoever reads need not wait for that")
                assert await client.receive_some() == b"and whoever reads need not wait for that"
                nursery.start_soon(client.send_all, b"")
                expected = much + b" behind and further behind"
                received = bytearray()
                while len(received) < len(expected):
                    received += await server.receive_some()
                assert received == expected
            assert tell(client, b"at once again")
            assert await read_exactly(server, 13) == b"at once again"


async def test_a_peer_that_is_gone_is_found_out_by_whoever_waits(contexts: Contexts) -> None:
    with trio.fail_after(10):
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
