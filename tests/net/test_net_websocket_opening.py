"""The opening handshake from both sides, and what a client does with a strange server."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import FetchError
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.testing import MemoryNetwork, living_tasks, memory_streams
from net_parties import both_ways  # noqa: F401  # each test runs both ways
from net_parties import (
    BINARY,
    CLOSE,
    TEXT,
    TIMEOUTS,
    a_request,
    close_frame,
    frame,
    open_accepted,
    open_connected,
    read_all,
    read_exactly,
    read_head,
    receive_in_all,
    until_closed,
)
from trio.testing import MockClock

# -- opening -----------------------------------------------------------------------------------


async def test_a_subprotocol_that_was_not_proposed_is_our_fault(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    with pytest.raises(LocalProtocolError):
        async with open_accepted(
            theirs, a_request(), subprotocol="x", limits=Limits(), timeouts=TIMEOUTS
        ):
            raise AssertionError("it opened")
    await theirs.aclose()
    assert await read_all(ours) == b""


async def test_a_peer_that_has_gone_before_it_was_accepted(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    await ours.aclose()
    with pytest.raises(SocketClosed):
        async with open_accepted(theirs, a_request(), limits=Limits(), timeouts=TIMEOUTS):
            raise AssertionError("it opened")


async def test_a_peer_that_does_not_take_the_handshake(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    await theirs.send_all(bytes(65536))  # now nothing more fits
    before = living_tasks()
    with pytest.raises(SocketClosed, match="did not take the handshake"):
        async with open_accepted(theirs, a_request(), limits=Limits(), timeouts=TIMEOUTS):
            raise AssertionError("it opened")
    assert trio.current_time() == TIMEOUTS.upgrade
    assert living_tasks() == before
    await ours.aclose()


def response_to(request: bytes, *, accept: str | None = None, **changes: str) -> bytes:
    """The 101 of a server to the client's *request*, with changed headers; empty leaves one out."""
    [key] = re.findall(rb"(?i)sec-websocket-key: *(\S+)", request)
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": base64.b64encode(digest).decode(),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode("latin-1")


Answer = Callable[[bytes], bytes | None]


@asynccontextmanager
async def answering(
    answer: Answer, *, then: Callable[[trio.abc.Stream], Awaitable[None]] | None = None
) -> AsyncGenerator[tuple[MemoryNetwork, list[bytes]], None]:
    """A server that answers one handshake as told, and the requests it heard."""
    network, heard = MemoryNetwork(), list[bytes]()
    listener = network.listener("server", 80)

    async def serve() -> None:
        async with await listener.accept() as stream:
            heard.append(await read_head(stream))
            if (data := answer(heard[0])) is None:
                await trio.sleep_forever()
            else:
                await stream.send_all(data)
            if then is not None:
                await then(stream)

    before = living_tasks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)  # noqa: ASYNC113  # the listener is open already
        yield network, heard
        nursery.cancel_scope.cancel()
    assert living_tasks() == before


def connected(network: MemoryNetwork, url: str = "ws://server/path?q=1", **more: Any) -> Any:
    return open_connected(
        url, connect=network.connect, limits=Limits(), timeouts=Timeouts(), **more
    )


async def _converse(stream: trio.abc.Stream) -> None:
    await stream.send_all(frame(TEXT, b"late", masked=False))
    await stream.receive_some()


async def test_a_client_sends_what_it_was_told_to(autojump_clock: MockClock) -> None:
    def answer(request: bytes) -> bytes:
        early = frame(TEXT, b"early", masked=False)
        return response_to(request, Sec_WebSocket_Protocol="two", X_Name="Jos\xe9") + early

    async with answering(answer, then=_converse) as (network, heard):
        headers = [("X-Token", "abc"), ("X-Name", "José")]
        async with connected(network, headers=headers, subprotocols=["one", "two"]) as socket:
            assert socket.subprotocol == "two"
            assert await receive_in_all(socket, 2) == ["early", "late"]
    [request] = heard
    assert request.startswith(b"GET /path?q=1 HTTP/1.1\r\n")
    lines = request.split(b"\r\n")
    assert b"Host: server" in lines
    assert b"X-Token: abc" in lines
    assert "X-Name: José".encode("latin-1") in lines
    assert b"Sec-WebSocket-Protocol: one, two" in lines


REFUSALS: dict[str, tuple[Answer, str]] = {
    "not found": (lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno.", "404: no."),
    "not found, with no word": (
        lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "404: no reason given",
    ),
    "plain success": (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200"),
    "a wrong accept": (lambda r: response_to(r, Sec_WebSocket_Accept="x"), "does not answer"),
    "no accept": (lambda r: response_to(r, Sec_WebSocket_Accept=""), "does not answer"),
    "another protocol": (lambda r: response_to(r, Upgrade="h2c"), "not a WebSocket"),
    "no connection": (lambda r: response_to(r, Connection="close"), "not a WebSocket"),
    "an extension": (
        lambda r: response_to(r, Sec_WebSocket_Extensions="permessage-deflate"),
        "extension",
    ),
    "a subprotocol": (lambda r: response_to(r, Sec_WebSocket_Protocol="x"), "subprotocol"),
    "no http": (lambda _: b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "response: it is not HTTP"),
    "an endless head": (lambda _: b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50000, "it is not HTTP"),
    "nothing": (lambda _: b"", "closed without a response"),
    "half a head": (lambda _: b"HTTP/1.1 10", "closed without a response"),
    "silence": (lambda _: None, "no WebSocket within 5 s"),
}


@pytest.mark.parametrize(("answer", "why"), REFUSALS.values(), ids=list(REFUSALS))
async def test_a_server_that_will_not_or_cannot_is_named(
    answer: Answer, why: str, autojump_clock: MockClock
) -> None:
    async with answering(answer) as (network, _):
        with pytest.raises(Exception, match=why) as refused:
            async with connected(network):
                raise AssertionError("it opened")
        assert type(refused.value).__name__ in ("UpgradeRefused", "FetchError")
        assert trio.current_time() == (5 if why.startswith("no WebSocket") else 0)


@pytest.mark.parametrize("extra", [1, 50])
async def test_an_informational_response_before_the_101_is_passed_over(
    extra: int, autojump_clock: MockClock
) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n" * extra
    async with answering(lambda r: early + response_to(r), then=_converse) as (network, _):
        async with connected(network) as socket:
            assert await socket.receive() == ["late"]


async def test_nobody_listens(autojump_clock: MockClock) -> None:
    with pytest.raises(FetchError) as failed:
        async with connected(MemoryNetwork(), "ws://server/stream/secret-token"):
            raise AssertionError("it opened")
    assert failed.value.step == "connect"
    assert "secret-token" not in str(failed.value)


async def test_a_header_that_http_cannot_carry_is_our_fault(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    listener = network.listener("server", 80)
    with pytest.raises(LocalProtocolError) as failed:
        async with connected(network, headers=[("X", "secret\r\nY: injected")]):
            raise AssertionError("it opened")
    assert "secret" not in str(failed.value)
    async with await listener.accept() as stream:
        assert await read_all(stream) == b""


async def test_a_server_that_hangs_up_at_once_is_named(autojump_clock: MockClock) -> None:
    ours, theirs = memory_streams()
    await theirs.aclose()

    async def connect(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    with pytest.raises(FetchError, match="the connection broke") as failed:
        async with open_connected("ws://x/", connect=connect, limits=Limits(), timeouts=TIMEOUTS):
            raise AssertionError("it opened")
    assert failed.value.step == "send"


async def test_a_cancelled_opening_closes_its_connection(autojump_clock: MockClock) -> None:
    async with answering(lambda _: None) as (network, _):
        with trio.move_on_after(1) as scope:
            async with connected(network):
                raise AssertionError("it opened")
        assert scope.cancelled_caught
        assert trio.current_time() == 1


@pytest.mark.parametrize("first", ["server", "client"])
async def test_a_client_does_not_wait_for_a_server_that_lingers_after_its_close(
    first: str, autojump_clock: MockClock
) -> None:
    async def linger(stream: trio.abc.Stream) -> None:
        if first == "client":
            await read_exactly(stream, 8)  # its Close
        await stream.send_all(close_frame(1000, masked=False))
        assert CLOSE | 0x80 in await read_all(stream) or first == "client"

    async with answering(response_to, then=linger) as (network, _):
        async with connected(network) as socket:
            if first == "server":
                await until_closed(socket)
        assert socket.close_code == 1000
        assert socket.heard_goodbye
        assert trio.current_time() == 0


async def test_a_server_that_breaks_the_protocol_is_told_by_a_client(
    autojump_clock: MockClock,
) -> None:
    codes: list[int] = []

    async def misbehave(stream: trio.abc.Stream) -> None:
        await stream.send_all(frame(3, masked=False) + frame(TEXT, b"ignored", masked=False))
        first, length, *_ = await read_exactly(stream, 6)
        assert (first, length & 0x80) == (0x88, 0x80)
        codes.append(1002)
        for _ in range(5):  # keeps talking; nothing of it is kept
            await stream.send_all(frame(BINARY, bytes(60000), masked=False))
            await trio.sleep(0.1)
        await trio.sleep_forever()

    async with answering(response_to, then=misbehave) as (network, _):
        async with connected(network) as socket:
            assert (await until_closed(socket)).code == 1002
            await trio.sleep(1)
            below = socket._wire._manners._below
            assert len(below._proto._frame_decoder.buffer) < 1000
        assert trio.current_time() == 1 + TIMEOUTS.close
    assert codes == [1002]
