"""The client's half: good answers, and servers that do everything a client must survive."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Target
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.testing import MemoryNetwork, living_tasks
from net_parties import open_house, read_head
from trio.testing import MockClock

Server = Callable[[trio.abc.Stream], Awaitable[None]]


@asynccontextmanager
async def serving(server: Server) -> AsyncGenerator[Callable[..., Awaitable[Response]], None]:
    """One connection to *server*, and a fetch that leads there; no task is left afterwards."""
    network = MemoryNetwork()
    listener = network.listener("server", 80)

    async def serve() -> None:
        async with await listener.accept() as stream:
            await server(stream)

    async def ask(method: str = "GET", url: str = "http://server/", **more: Any) -> Response:
        limits = Limits(response_body=1000)
        return await fetch(
            method, url, connect=network.connect, limits=limits, timeouts=Timeouts(), **more
        )

    before = living_tasks()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)  # noqa: ASYNC113  # the listener is open already
        yield ask
        nursery.cancel_scope.cancel()
    assert living_tasks() == before


def saying(data: bytes) -> Server:
    """A server that reads the head, says *data*, and closes."""

    async def server(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        if data:
            await stream.send_all(data)

    return server


async def test_a_request_reaches_our_own_server(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        response = await fetch(
            "POST",
            "http://media.example.com/a%20b?c=d",
            headers=[("Content-Type", "text/plain")],
            body=b"hello",
            connect=house.network.connect,
            limits=house.limits,
            timeouts=house.timeouts,
        )
        assert response.ok
        assert response.header("content-type") == "application/json"
        assert b'"/a b"' in response.body and b'"hello"' in response.body
        await house.assert_next_caller_is_served()


async def test_what_a_client_sends_is_plain_http(autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def server(stream: trio.abc.Stream) -> None:
        heard.append(await read_head(stream))
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(server) as ask:
        assert (await ask(url="http://server/é?q=ü#part", headers=[("X-Name", "é")])).status == 204
    lines = heard[0].split(b"\r\n")
    assert lines[0] == b"GET /%C3%A9?q=%C3%BC HTTP/1.1"
    assert {b"Host: server", b"Connection: close", b"X-Name: \xe9"} <= set(lines)


GOOD: dict[str, tuple[bytes, bytes]] = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
    "until it closes": (b"HTTP/1.1 200 OK\r\n\r\nhi", b"hi"),
    "http/1.0": (b"HTTP/1.0 200 OK\r\n\r\nhi", b"hi"),
    "after a 100": (b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    "with more behind it": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi there", b"hi"),
    "exactly the limit": (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1000, b"a" * 1000),
}


@pytest.mark.parametrize(("data", "body"), GOOD.values(), ids=list(GOOD))
async def test_a_response_is_read_however_its_end_is_marked(
    data: bytes, body: bytes, autojump_clock: MockClock
) -> None:
    async with serving(saying(data)) as ask:
        response = await ask()
        assert (response.status, response.body) == (200, body)


BAD: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "closed without a response"),
    "half a head": (b"HTTP/1.1 200 OK\r\nX:", "closed without a response"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "not HTTP/1.1"),
    "no http": (b"SSH-2.0-x\r\n\r\n", "not HTTP/1.1"),
    "a body too big": (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1001, "larger than 1000 bytes"),
    "an endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 50000, "not HTTP/1.1"),
    "a switch nobody proposed": (
        b"HTTP/1.1 101 \r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "not HTTP/1.1",
    ),
}


@pytest.mark.parametrize(("data", "why"), BAD.values(), ids=list(BAD))
async def test_a_response_that_is_none_is_an_error_of_its_step(
    data: bytes, why: str, autojump_clock: MockClock
) -> None:
    async with serving(saying(data)) as ask:
        with pytest.raises(FetchError, match=why) as failed:
            await ask()
        assert failed.value.step == "response"
    assert trio.current_time() == 0


async def test_a_server_that_says_nothing_has_a_deadline(autojump_clock: MockClock) -> None:
    async def silent(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with serving(silent) as ask:
        with pytest.raises(FetchError, match="no whole response within 10 s"):
            await ask()
    assert trio.current_time() == Timeouts().response


async def test_a_server_that_trickles_has_one_deadline_for_the_whole(
    autojump_clock: MockClock,
) -> None:
    async def trickle(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"a")
            await trio.sleep(1)

    with pytest.RaisesGroup(trio.BrokenResourceError):
        async with serving(trickle) as ask:
            with pytest.raises(FetchError, match="no whole response"):
                await ask()
            assert trio.current_time() == Timeouts().response
            await trio.sleep(2)  # until the server notices


async def test_a_server_that_takes_nothing_has_a_deadline(autojump_clock: MockClock) -> None:
    async def deaf(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with serving(deaf) as ask:
        with pytest.raises(FetchError, match="was not taken within 5 s") as failed:
            await ask("POST", body=bytes(200_000))
        assert failed.value.step == "send"


async def test_a_refusal_in_the_middle_of_the_body_is_heard(autojump_clock: MockClock) -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse) as ask:
        assert (await ask("POST", body=bytes(200_000))).status == 413


async def test_a_server_that_hangs_up_in_the_middle_of_the_body_is_named(
    autojump_clock: MockClock,
) -> None:
    async def hang_up(stream: trio.abc.Stream) -> None:
        await read_head(stream)

    async with serving(hang_up) as ask:
        with pytest.raises(FetchError, match="before the whole request was sent") as failed:
            await ask("POST", body=bytes(200_000))
        assert failed.value.step == "send"


async def test_a_reset_is_an_error_of_the_response(autojump_clock: MockClock) -> None:
    async def reset(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n")
        await trio.sleep(1)
        stream.reset()  # type: ignore[attr-defined]

    async with serving(reset) as ask:
        with pytest.raises(FetchError, match="the connection broke"):
            await ask()


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", [("X", "secret\r\nY: injected")]),
        ("GET", [("X secret", "y")]),
        ("GET", [("X", "secret€")]),
        ("GET secret", []),
    ],
)
async def test_what_http_cannot_carry_is_our_fault(
    method: str, headers: list[tuple[str, str]], autojump_clock: MockClock
) -> None:
    network = MemoryNetwork()
    network.listener("server", 80)
    with pytest.raises(LocalProtocolError) as failed:
        await fetch(
            method,
            "http://server/",
            headers=headers,
            connect=network.connect,
            limits=Limits(),
            timeouts=Timeouts(),
        )
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "x",
        "http://",
        "http://user:password@x/",
        "http://x:99999/",
        "http://[::1/",
        "http://é.example/",
        "http://a b/",
        "http://" + "a" * 300 + "/",
    ],
)
async def test_a_url_that_cannot_be_used_is_an_error_of_its_own_step(url: str) -> None:
    with pytest.raises(FetchError) as failed:
        await fetch(
            "GET", url, connect=MemoryNetwork().connect, limits=Limits(), timeouts=Timeouts()
        )
    assert failed.value.step == "url"
    assert "password@" not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://x", "x", 80, "x", "/"),
        ("https://x/", "x", 443, "x", "/"),
        ("https://x:8443/a?b", "x", 8443, "x:8443", "/a?b"),
        ("http://x:0/", "x", 0, "x:0", "/"),
        ("http://[::1]:80/", "::1", 80, "[::1]", "/"),
        ("http://[::1]:81/", "::1", 81, "[::1]:81", "/"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, authority: str, path: str) -> None:
    target = Target.of(url, "http", "https")
    assert (target.host, target.port, target.authority, target.path) == (
        host,
        port,
        authority,
        path,
    )


def test_an_error_tells_where_it_went_without_its_secrets() -> None:
    error = FetchError("send", "https://x/stream/secret-token?signature=hush", "why")
    assert "secret-token" not in str(error) and "hush" not in str(error)
    assert (error.step, error.reason) == ("send", "why")
