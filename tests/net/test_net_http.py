"""HttpConnection by itself. How it looks from outside is in test_net_front_door.py."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http import ConnectionLost, HttpConnection, Request, Response
from minivoice_ref.testing import MemoryStream, memory_streams
from net_parties import read_all, read_head
from trio.testing import MockClock

GET = b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"


def a_connection() -> tuple[HttpConnection, MemoryStream, MemoryStream]:
    """A server's connection, its byte stream, and the client's end of it."""
    ours, theirs = memory_streams()
    http = HttpConnection(theirs, limits=Limits(), timeouts=Timeouts(), peer="a:1")
    return http, theirs, ours


async def ask(http: HttpConnection, client: MemoryStream, data: bytes = GET) -> Request:
    await client.send_all(data)
    assert await http.wait_for_request()
    return await http.read_body(await http.read_head())


async def test_a_request_is_told_whole(autojump_clock: MockClock) -> None:
    http, _, client = a_connection()
    body = (
        b"POST http://y/p%20q?b=c#d HTTP/1.1\r\nHost: x\r\nX: \xe9\r\nContent-Length: 2\r\n\r\nhi"
    )
    request = await ask(http, client, body)
    assert (request.method, request.path, request.query) == ("POST", "/p q", "b=c")
    assert (request.body, request.peer, request.http_version) == (b"hi", "a:1", "1.1")
    assert request.header("x") == "é"
    assert http.trailing == b""


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_has_none_and_no_length(
    status: int, autojump_clock: MockClock
) -> None:
    http, stream, client = a_connection()
    await ask(http, client)
    assert await http.respond(Response(status, b"left out"))
    await stream.aclose()
    answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length" not in answer.lower()


async def test_a_response_carries_the_time_and_the_length(autojump_clock: MockClock) -> None:
    http, _, client = a_connection()
    await ask(http, client)
    await http.respond(Response.text("é", headers=(("X", "y"),)))
    head = await read_head(client)
    assert b"\r\nContent-Length: 2\r\n" in head
    assert b"\r\nX: y\r\n" in head
    assert b"GMT\r\n" in head.partition(b"\r\nDate: ")[2]


async def test_a_header_with_a_line_break_is_never_sent(autojump_clock: MockClock) -> None:
    http, stream, client = a_connection()
    await ask(http, client)
    with pytest.raises(Exception, match="Illegal header value"):
        await http.respond(Response(200, b"", (("X", "a\r\nSet-Cookie: b"),)))
    await http.refuse(Response.problem(500))  # the state is as it was
    await stream.aclose()
    answer = await read_all(client)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"Set-Cookie" not in answer


async def test_a_refusal_after_a_response_says_nothing(autojump_clock: MockClock) -> None:
    http, stream, client = a_connection()
    await ask(http, client)
    await http.respond(Response(200), last=True)
    await http.refuse(Response.problem(500))
    await stream.aclose()
    assert (await read_all(client)).count(b"HTTP/1.1") == 1


async def test_a_refusal_to_a_peer_that_has_gone_is_no_error(autojump_clock: MockClock) -> None:
    http, _, client = a_connection()
    await ask(http, client)
    await client.aclose()
    await http.refuse(Response.problem(500))
    http, _, client = a_connection()
    await ask(http, client)
    client.reset()
    with pytest.raises(ConnectionLost):
        await http.respond(Response(200))


async def test_waiting_for_a_request_may_be_cancelled(autojump_clock: MockClock) -> None:
    http, _, client = a_connection()
    with trio.move_on_after(1) as scope:
        await http.wait_for_request()
    assert scope.cancelled_caught
    assert (await ask(http, client)).path == "/a"
