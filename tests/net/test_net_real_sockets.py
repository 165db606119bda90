"""The whole of net/ once over real sockets and real TLS. Real time, so few and short."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import ConnectFailed, TcpConnector
from minivoice_ref.net.front_door import Door, serve_doors
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.net.tls import client_context, server_context
from minivoice_ref.testing import living_tasks
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import EchoSite, Way, open_connected, read_all, read_head

LIMITS, TIMEOUTS = Limits(), Timeouts()


@dataclass
class Server:
    port: int
    plain_port: int
    site: EchoSite
    stop: trio.Event
    connect: TcpConnector
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("real-tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    both = folder / "both.pem"
    return server_context(both, both), client_context(Path(folder / "ca.pem"))


@asynccontextmanager
async def serving(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> AsyncGenerator[Server, None]:
    before = living_tasks()
    site, stop = EchoSite(), trio.Event()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    plain = await trio.open_tcp_listeners(0, host="127.0.0.1")
    doors = [
        Door(listeners, contexts[0], site, transport=Way.transport),
        Door(plain, None, site, transport=Way.transport),
    ]
    ports = [found[0].socket.getsockname()[1] for found in (listeners, plain)]
    connector = TcpConnector(contexts[1], TIMEOUTS)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_doors, doors, stop, limits=LIMITS, timeouts=TIMEOUTS))
            yield Server(ports[0], ports[1], site, stop, connector, contexts[1])
            stop.set()
    assert living_tasks() == before


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def test_requests_over_tls_with_a_checked_certificate(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        response = await fetch(
            "POST",
            f"https://localhost:{server.port}/a",
            body=bytes(60000),
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        )
        assert response.ok
        for host, why in (("127.0.0.1", "not trusted"), ("localhost", "not trusted")):
            stranger = TcpConnector(client_context(), TIMEOUTS)
            with pytest.raises(FetchError, match=why):
                await fetch(
                    "GET",
                    f"https://{host}:{server.port}/a",
                    connect=stranger,
                    limits=LIMITS,
                    timeouts=TIMEOUTS,
                )


async def test_a_stream_over_tls_and_its_goodbye(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        async with open_connected(
            f"wss://localhost:{server.port}/stream/a",
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        ) as socket:
            for size in (0, 1, 125, 126, 60000):
                await socket.send(bytes(size))
                assert await socket.receive() == [bytes(size)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.receive)
                assert 0 < await socket.ping() < 5
                nursery.cancel_scope.cancel()
        async with open_connected(
            f"ws://127.0.0.1:{server.plain_port}/stream/a",
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        ) as socket:
            await socket.send("plain")
            assert await socket.receive() == ["plain"]
    assert server.site.ends == [(1000, True)] * 2
    assert server.site.notes == []


async def test_a_message_too_big_is_heard_as_1009_through_a_real_reset(
    contexts: Contexts,
) -> None:
    """With unread bytes in the socket a hasty close would destroy the Close frame on its way."""
    async with serving(contexts) as server:
        for url in (
            f"wss://localhost:{server.port}/stream/a",
            f"ws://127.0.0.1:{server.plain_port}/stream/a",
        ):
            async with open_connected(
                url, connect=server.connect, limits=LIMITS, timeouts=TIMEOUTS
            ) as socket:
                await socket.send(bytes(2_000_000))
                with pytest.raises(SocketClosed) as closed:
                    await socket.receive()
                assert (closed.value.code, closed.value.by_peer) == (1009, True)


async def test_a_413_is_heard_by_a_client_that_sends_on(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        for url in (f"https://localhost:{server.port}/", f"http://127.0.0.1:{server.plain_port}/"):
            response = await fetch(
                "POST",
                url,
                body=bytes(2_000_000),
                connect=server.connect,
                limits=LIMITS,
                timeouts=TIMEOUTS,
            )
            assert response.status == 413


async def test_each_door_turns_away_what_belongs_to_the_other(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_all(stream)
        with pytest.raises(ConnectFailed) as failed:
            await server.connect("localhost", server.plain_port, True)
        assert failed.value.step == "tls"
        kinds = sorted(server.site.kinds)
        assert kinds == ["refused", "tls_failed"]
        assert "plain HTTP" in str(dict(server.site.notes)["tls_failed"]["why"])
        assert "TLS" in str(dict(server.site.notes)["refused"]["why"])


async def test_a_peer_that_resets_the_connection_harms_nobody(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        for sent in (
            b"",
            b"GET / HT",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", server.plain_port)
            await stream.send_all(sent)
            linger = struct.pack("ii", 1, 0)  # close with a reset
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
            await stream.aclose()
        async with await trio.open_tcp_stream("127.0.0.1", server.plain_port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await read_head(stream)).startswith(b"HTTP/1.1 200 ")


async def test_a_drained_server_ends_streams_with_1001(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        grace = Timeouts(grace=0.1)
        doors = [Door(await trio.open_tcp_listeners(0, host="127.0.0.1"), None, server.site)]
        port = doors[0].listeners[0].socket.getsockname()[1]  # type: ignore[attr-defined]
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_doors, doors, stop, limits=LIMITS, timeouts=grace))
            async with open_connected(
                f"ws://127.0.0.1:{port}/stream/a",
                connect=server.connect,
                limits=LIMITS,
                timeouts=TIMEOUTS,
            ) as socket:
                stop.set()
                with pytest.raises(SocketClosed) as closed:
                    await socket.receive()
                assert closed.value.code == 1001


async def test_a_connection_that_does_not_come_about_says_at_which_step(
    contexts: Contexts,
) -> None:
    connect = TcpConnector(contexts[1], TIMEOUTS)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(ConnectFailed) as failed:
        await connect("127.0.0.1", port, False)
    assert failed.value.step == "connect"
    with pytest.raises(ConnectFailed) as failed:
        await connect("no-such-host.invalid", 443, True)
    assert failed.value.step == "resolve"


class SilentDns(trio.abc.HostnameResolver):
    """Answers nothing."""

    async def getaddrinfo(self, *_: object, **__: object) -> Any:
        await trio.sleep_forever()

    async def getnameinfo(self, *_: object, **__: object) -> Any:
        await trio.sleep_forever()


async def test_dns_that_does_not_answer_is_given_up_and_named(contexts: Contexts) -> None:
    connect = TcpConnector(contexts[1], Timeouts(connect=0.2))
    trio.socket.set_custom_hostname_resolver(SilentDns())
    try:
        with trio.fail_after(2), pytest.raises(ConnectFailed, match="no answer from DNS") as failed:
            await connect("media.example.com", 443, True)
    finally:
        trio.socket.set_custom_hostname_resolver(None)
    assert failed.value.step == "resolve"


async def test_a_connection_that_takes_too_long_is_given_up(contexts: Contexts) -> None:
    """A listener whose backlog is full does not answer at all."""
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        host, port = sock.getsockname()
        connect = TcpConnector(contexts[1], Timeouts(connect=0.2))
        streams: list[trio.abc.Stream] = []
        with pytest.raises(ConnectFailed, match="no connection within 0.2 s"):
            for _ in range(10):
                streams.append(await connect(host, port, False))
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize("scheme", ["wss", "ws"])
async def test_messages_sent_together_arrive_one_by_one_and_in_order(
    contexts: Contexts, scheme: str
) -> None:
    async with serving(contexts) as server:
        host = f"localhost:{server.port}" if scheme == "wss" else f"127.0.0.1:{server.plain_port}"
        async with open_connected(
            f"{scheme}://{host}/stream/a",
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        ) as socket:
            batches: list[list[str | bytes]] = [["one", b"two"], [], ["three", "v" * 60000]]
            for messages in batches:
                await socket.send_together(messages)
                echoed: list[str | bytes] = []
                while len(echoed) < len(messages):
                    echoed += await socket.receive()
                assert echoed == messages
    assert server.site.ends == [(1000, True)]


async def test_who_sends_together_waits_for_a_receiver_that_does_not_read(
    contexts: Contexts,
) -> None:
    """Two senders, one that waits and one that would not: no frame is torn, none overtakes."""
    async with serving(contexts) as server:
        async with open_connected(
            f"wss://localhost:{server.port}/stream/a",
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        ) as socket:
            sent: dict[str, list[str]] = {"a": [], "b": []}

            async def send(name: str) -> None:
                for number in range(120):
                    message = f"{name}{number:06}" + "." * 60000
                    await (socket.send_together([message]) if name == "a" else socket.send(message))
                    sent[name].append(message)

            echoed: list[str | bytes] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, "a")
                nursery.start_soon(send, "b")
                await trio.sleep(0.2)  # what is echoed piles up, so that both have to wait
                while len(echoed) < 240:
                    echoed += await socket.receive()
            for name, messages in sent.items():
                assert [text for text in echoed if str(text).startswith(name)] == messages


async def test_sending_together_on_a_socket_that_ended_says_how(contexts: Contexts) -> None:
    async with serving(contexts) as server:
        async with open_connected(
            f"wss://localhost:{server.port}/stream/a",
            connect=server.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
        ) as socket:
            await socket.close(1000)
            with pytest.raises(SocketClosed) as closed:
                await socket.send_together(["too late"])
            assert closed.value.code == 1000


async def test_a_peer_that_takes_nothing_more_is_given_up_by_who_sends_together(
    contexts: Contexts,
) -> None:
    impatient = Timeouts(send=0.3, close=0.3)
    async with serving(contexts) as server:
        with pytest.raises(SocketClosed) as closed:
            async with open_connected(
                f"wss://localhost:{server.port}/stream/a",
                connect=server.connect,
                limits=LIMITS,
                timeouts=impatient,
            ) as socket:
                while True:  # and never receives, so that the echo blocks as well
                    await socket.send_together(["x" * 60000])
                    await trio.lowlevel.checkpoint()
        assert closed.value.code == 1006
        server.stop.set()
