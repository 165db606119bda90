"""The client's half of HTTP/1.1: one request, one response, one connection; and upgrades.

For the simulator, which asks an `answer_url` and delivers webhooks. No redirects are followed, no
cookies kept, no compression asked for. Everything that a server could do to a client is bounded:
head, body, and the time of each step. Knows nothing of calls. Read next: `media_socket.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import h11
import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Connector, FetchError, Target, connect_to
from minivoice_ref.net.http_messages import Headers, Response
from minivoice_ref.protocol.errors import LocalProtocolError

__all__ = ["FetchError", "fetch", "upgrade"]


async def fetch(
    method: str,
    url: str,
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    connect: Connector,
    timeouts: Timeouts,
    limits: Limits,
) -> Response:
    """Make one HTTP request and return its whole response, whatever its status.

    Deadlines: the connector's own, `timeouts.send` for the request, `timeouts.response` for the
    whole response, of which at most `limits.response_body` bytes of body are taken. Raises
    FetchError, which names the step, and LocalProtocolError for a header that HTTP cannot carry. If
    cancelled, the connection is closed.
    """
    target = Target.of(url, "http", "https")
    stream = await connect_to(target, connect)
    async with stream:
        return await _exchange(stream, target, method, headers, body, timeouts, limits)


async def upgrade(
    stream: trio.abc.Stream, target: Target, headers: Sequence[tuple[str, str]], limits: Limits
) -> tuple[Response, bytes]:
    """Ask for an upgrade; return the response to it, and what came behind its head.

    *headers* propose the upgrade. Of a refusal the body is read too, at most `limits.response_body`
    bytes. The caller brings the deadline. Raises FetchError and LocalProtocolError.
    """
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.request_head)
    data = _encode(parser, target, "GET", headers, None)
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError as exc:
        raise FetchError("send", target.url, "the connection broke") from exc
    response = await _read_response(stream, parser, target, limits)
    return response, parser.trailing_data[0]


async def _exchange(
    stream: trio.abc.Stream,
    target: Target,
    method: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
    timeouts: Timeouts,
    limits: Limits,
) -> Response:
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.request_head)
    data = _encode(parser, target, method, [*headers, ("Connection", "close")], body)
    left = False
    try:
        with trio.fail_after(timeouts.send):
            await stream.send_all(data)
    except trio.TooSlowError:
        late = f"the request was not taken within {timeouts.send:g} s"
        raise FetchError("send", target.url, late) from None
    except trio.BrokenResourceError:
        left = True  # but perhaps not without a word: a server may refuse a body half way
    try:
        with trio.fail_after(timeouts.response):
            return await _read_response(stream, parser, target, limits)
    except trio.TooSlowError:
        late = f"no whole response within {timeouts.response:g} s"
        raise FetchError("response", target.url, late) from None
    except FetchError:
        if left:
            why = "the connection broke before the whole request was sent"
            raise FetchError("send", target.url, why) from None
        raise


def _encode(
    parser: h11.Connection,
    target: Target,
    method: str,
    headers: Sequence[tuple[str, str]],
    body: bytes | None,
) -> bytes:
    """The bytes of a request. Raises LocalProtocolError for what cannot be said in HTTP."""
    lines = [("Host", target.authority), *headers]
    if body is not None:
        lines.append(("Content-Length", str(len(body))))
    try:
        request = h11.Request(
            method=method,
            target=target.path,
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in lines],
        )
        data = parser.send(request) or b""
        data += parser.send(h11.Data(data=body or b"")) or b""
        return data + (parser.send(h11.EndOfMessage()) or b"")
    except (h11.LocalProtocolError, UnicodeEncodeError) as exc:
        # Not the exception's own words: they quote the header, and that may be a secret.
        raise LocalProtocolError("a method or header that HTTP cannot carry") from exc


async def _read_response(
    stream: trio.abc.Stream, parser: h11.Connection, target: Target, limits: Limits
) -> Response:
    head: h11.Response | None = None
    body = bytearray()
    while True:
        event = await _next_event(stream, parser, target)
        if isinstance(event, h11.InformationalResponse):
            if event.status_code == 101:
                return Response(101, b"", _decode(event))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > limits.response_body:
                big = f"its body is larger than {limits.response_body} bytes"
                raise FetchError("response", target.url, big)
        else:
            assert head is not None, "h11 ends a message that has begun"
            return Response(head.status_code, bytes(body), _decode(head))


async def _next_event(
    stream: trio.abc.Stream, parser: h11.Connection, target: Target
) -> h11.Event | type[h11.PAUSED]:
    await trio.lowlevel.checkpoint()
    try:
        while (event := parser.next_event()) is h11.NEED_DATA:
            data = bytes(await stream.receive_some())
            if not data and parser.their_state in (h11.IDLE, h11.SEND_RESPONSE):
                raise FetchError("response", target.url, "the connection closed without a response")
            parser.receive_data(data)
    except h11.RemoteProtocolError as exc:
        bad = f"it is not HTTP/1.1: {str(exc).partition(':')[0]}"
        raise FetchError("response", target.url, bad) from None
    except trio.BrokenResourceError as exc:
        raise FetchError("response", target.url, "the connection broke") from exc
    return event  # type: ignore[return-value]  # h11's sentinels do not narrow


def _decode(event: h11.Response | h11.InformationalResponse) -> Headers:
    return tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers)
