"""The server's half of HTTP/1.1: h11 on a Trio stream, bounded everywhere.

h11 reads the grammar and keeps the state. It leaves to its user what this module is about:

* **sizes**: h11 bounds an unfinished head only; here every head (431) and body (413) has a limit;
* **time**: head, body, idle connection, response to be taken: each has a deadline;
* **one meaning**: where two readers could disagree about where a message ends (a length beside
  Transfer-Encoding, a length given twice, bare line feeds, folded headers), it is refused with 400
  and the connection closes. A proxy in front and we never see two different requests;
* **the last word**: a refusal leaves the request half read, so the connection lingers for a moment
  before it closes, lest a reset destroys the answer (`streams.linger`).

One `HttpConnection` is used by one task, in this order for each request:
`wait_for_request`, `read_head`, `read_body`, `respond`; and `refuse` wherever a RemoteProtocolError
came out. It knows nothing of routes or calls, and never closes the stream: its owner does.

Read next: `http_client.py` for the other half, `front_door.py` for the loop around this.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import urlsplit

import h11
import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http_messages import (
    Headers,
    Request,
    Response,
    decode_path,
    header_value,
    reason_phrase,
    refuse_method,
    tokens,
)
from minivoice_ref.protocol.errors import MiniVoiceError, RemoteProtocolError

__all__ = [
    "ConnectionLost",
    "Headers",
    "HttpConnection",
    "Request",
    "Response",
    "header_value",
    "refuse_method",
    "tokens",
]

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\n[ \t]")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%-]*(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")


class ConnectionLost(MiniVoiceError):
    """The peer went away in the middle of a request. Nobody is left to be answered."""


class HttpConnection:
    """One connection's requests, one after the other.

    The first head's deadline begins now. *peer* is only passed on to the requests.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, limits: Limits, timeouts: Timeouts, peer: str = ""
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._timeouts = timeouts
        self._peer = peer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.request_head)
        self._head_deadline = trio.current_time() + timeouts.request_head
        self._received = bytearray()  # of the head that is being read, with what came behind it
        self._tail = b""  # the last read, with four bytes before it
        self._method = ""
        self._eof = False
        self._served = 0

    @property
    def trailing(self) -> bytes:
        """The bytes behind the last head, for whoever takes over after an upgrade."""
        return self._h11.trailing_data[0]

    async def wait_for_request(self) -> bool:
        """Wait until the peer begins a request; False if it left or idled too long.

        Waits `timeouts.request_head` seconds for the first request and `timeouts.keep_alive` for a
        later one. May be cancelled; nothing is lost, the connection can then be closed.
        """
        self._received = bytearray(self.trailing)
        if not self._received:
            if self._served:
                idle = trio.current_time() + self._timeouts.keep_alive
            else:
                idle = self._head_deadline
            with trio.move_on_at(idle):
                await self._receive()
            if not self._received:
                return False
        await trio.lowlevel.checkpoint()
        if self._served:
            self._head_deadline = trio.current_time() + self._timeouts.request_head
        return True

    async def read_head(self) -> Request:
        """Read one request up to its body, the whole of it by the deadline `timeouts.request_head`.

        Raises RemoteProtocolError with the status to refuse it with (400, 408, 431, 501), and
        ConnectionLost. If cancelled, the connection can only be closed.
        """
        try:
            with trio.fail_at(self._head_deadline):
                event = await self._next_event()
        except trio.TooSlowError:
            raise RemoteProtocolError(
                f"the head took longer than {self._timeouts.request_head:g} s", status=408
            ) from None
        assert isinstance(event, h11.Request), "wait_for_request has seen a byte of it"
        self._served += 1
        self._method = event.method.decode("ascii")
        unread = self.trailing
        head = bytes(self._received[: len(self._received) - len(unread)])
        if len(head) > self._limits.request_head:
            raise RemoteProtocolError(f"a head of {len(head)} bytes", status=431)
        request = _to_request(event, self._peer)
        _check_framing(head, request)
        return request

    async def read_body(self, request: Request) -> Request:
        """Read the body of *request*: `limits.request_body` bytes, `timeouts.request_body` seconds.

        A peer that said `Expect: 100-continue` is told to go on, now that somebody wants the body.
        Raises RemoteProtocolError (400, 408, 413) and ConnectionLost.
        """
        limit = self._limits.request_body
        if int(request.header("content-length") or 0) > limit:
            raise RemoteProtocolError(
                f"a body of more than {limit} bytes was announced", status=413
            )
        body = bytearray()
        try:
            with trio.fail_after(self._timeouts.request_body):
                while isinstance(event := await self._next_event(), h11.Data):
                    body += event.data
                    if len(body) > limit:
                        raise RemoteProtocolError(f"a body of more than {limit} bytes", status=413)
            self._check_end(request, event)
        except trio.TooSlowError:
            raise RemoteProtocolError(
                f"the body took longer than {self._timeouts.request_body:g} s", status=408
            ) from None
        return replace(request, body=bytes(body))

    def _check_end(self, request: Request, event: object) -> None:
        """Raise RemoteProtocolError if another reader could see a chunked body end elsewhere.

        h11 takes a bare line feed for the end of a trailer. RFC 9112 section 7.1.2 lets a server
        do without trailers, and nobody needs them here.
        """
        if request.header("transfer-encoding") is None:
            return
        read = self._tail[: len(self._tail) - len(self.trailing)]
        has_trailers = isinstance(event, h11.EndOfMessage) and bool(event.headers)
        if has_trailers or not read.endswith(b"\r\n\r\n"):
            raise RemoteProtocolError("a chunked body ends with more than an empty line")

    async def respond(self, response: Response, *, last: bool = False) -> bool:
        """Answer the request just read; True if another may follow on this connection.

        *last* says that none shall. So do the count of requests (`limits.requests`), HTTP/1.0,
        the peer's own `Connection: close`. The body is left out where HTTP wants none (HEAD, 204,
        304). Raises ConnectionLost if the peer does not take it within `timeouts.send` seconds. If
        cancelled, the connection can only be closed.
        """
        last = last or self._served >= self._limits.requests
        headers = [*response.headers, ("Date", formatdate(usegmt=True))]
        if response.status not in (204, 304):
            headers.append(("Content-Length", str(len(response.body))))
        if last:
            headers.append(("Connection", "close"))
        data = self._encode(
            h11.Response(
                status_code=response.status,
                headers=[
                    (name.encode("latin-1"), value.encode("latin-1")) for name, value in headers
                ],
                reason=reason_phrase(response.status).encode(),
            )
        )
        if response.body and self._method != "HEAD" and response.status not in (204, 304):
            data += self._encode(h11.Data(data=response.body))
        data += self._encode(h11.EndOfMessage())
        await self._send(data)
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self._method = ""
        return True

    async def refuse(self, response: Response) -> None:
        """Send *response* as the last one if none was begun; a peer that has gone is not told.

        The owner closes the stream afterwards, lingering: the request may be half read.
        """
        await trio.lowlevel.checkpoint()
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            with suppress(ConnectionLost):
                await self.respond(response, last=True)

    async def _next_event(self) -> h11.Event | type[h11.PAUSED]:
        await trio.lowlevel.checkpoint()
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as exc:
                if self._eof:
                    raise ConnectionLost("the peer left in the middle of a request") from exc
                # Behind the colon h11 quotes what it read, and that may be a secret.
                what = str(exc).partition(":")[0]
                if self._received.startswith(b"\x16\x03"):
                    what = "TLS was spoken to a plain port"
                raise RemoteProtocolError(what, status=exc.error_status_hint) from None
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]  # h11's sentinels do not narrow
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(
                    self._encode(h11.InformationalResponse(status_code=100, headers=[]))
                )
            await self._receive()

    async def _receive(self) -> None:
        """Feed h11 with what the stream has next. A broken stream is one that has ended."""
        data = b""
        await trio.lowlevel.checkpoint_if_cancelled()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = bytes(await self._stream.receive_some())
        self._eof = not data
        if self._h11.their_state is h11.IDLE:
            self._received += data
        self._tail = self._tail[-4:] + data
        self._h11.receive_data(data)

    def _encode(self, event: h11.Event) -> bytes:
        return self._h11.send(event) or b""

    async def _send(self, data: bytes) -> None:
        try:
            with trio.fail_after(self._timeouts.send):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise ConnectionLost(
                f"the peer did not take a response within {self._timeouts.send:g} s"
            ) from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise ConnectionLost("the peer left before it had its response") from exc


def _to_request(event: h11.Request, peer: str) -> Request:
    """h11's request as ours. Raises RemoteProtocolError (400) for a target that is not a path."""
    target = event.target.decode("ascii")
    path, _, query = target.partition("#")[0].partition("?")
    if not path.startswith(
        "/"
    ):  # RFC 9112 section 3.2.2: the absolute form must be understood, too
        try:
            parts = urlsplit(target)
        except ValueError:
            raise RemoteProtocolError("the target is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RemoteProtocolError("the target is neither a path nor an http URL")
        path, query = parts.path or "/", parts.query
    return Request(
        method=event.method.decode("ascii"),
        target=target,
        path=decode_path(path),
        query=query,
        headers=tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers),
        peer=peer,
        http_version=event.http_version.decode("ascii"),
    )


def _check_framing(head: bytes, request: Request) -> None:
    """Raise RemoteProtocolError if another reader could understand *head* otherwise than h11 did.

    RFC 9112 sections 2.2, 5.2 and 6.3 leave a choice between mending and refusing: we refuse.
    """
    if _BARE_LINE_FEED.search(head):
        raise RemoteProtocolError("a line of the head ends without a carriage return")
    if _FOLDED.search(head):
        raise RemoteProtocolError("a header is folded over several lines")
    if request.http_version not in ("1.0", "1.1"):
        raise RemoteProtocolError(f"HTTP/{request.http_version} is not spoken here", status=505)
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        raise RemoteProtocolError("the length is given twice")
    encoding = request.header("transfer-encoding")
    if encoding is not None and lengths:
        raise RemoteProtocolError("both Content-Length and Transfer-Encoding are given")
    if encoding is not None and request.http_version != "1.1":
        raise RemoteProtocolError("Transfer-Encoding before HTTP/1.1")
    if not _HOST.fullmatch(request.header("host") or ""):
        raise RemoteProtocolError("the Host header is not a host")
    expect = request.header("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise RemoteProtocolError("an expectation other than 100-continue", status=417)
