"""The client's first steps: a URL taken apart, a byte stream opened, and what can fail on the way.

Whoever makes requests or opens WebSockets is given a `Connector`, so that the same code runs over
real sockets (`TcpConnector`), in memory (`minivoice_ref.testing.MemoryNetwork`), or through faults.

Read next: `http_client.py`.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import gaierror
from urllib.parse import quote, urlsplit

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.tls import describe_tls_error
from minivoice_ref.net.tls_stream import TlsStream
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.redaction import redact_url

__all__ = [
    "ConnectFailed",
    "Connector",
    "FetchError",
    "Target",
    "TcpConnector",
    "connect_to",
    "open_tls",
]

Connector = Callable[[str, int, bool], Awaitable[trio.abc.Stream]]
"""Opens a byte stream to a host and a port, with TLS if the third argument is true.

It brings its own deadlines and raises ConnectFailed. The caller owns the stream.
"""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_MOMENT = 0.5  # seconds
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")


class ConnectFailed(MiniVoiceError):
    """No byte stream came about. `step` is `resolve`, `connect` or `tls`; `reason` says why."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"{step}: {reason}")
        self.step = step
        self.reason = reason


class FetchError(MiniVoiceError):
    """A request that we made did not get its response.

    `step` says how far it came: `url`, `resolve`, `connect`, `tls`, `send`, `response`. `url` is
    redacted. The other end's fault, or the network's, or the URL's; never the program's.
    """

    def __init__(self, step: str, url: str, reason: str) -> None:
        self.step = step
        self.url = redact_url(url)
        self.reason = reason
        super().__init__(f"{self.url}: {step}: {reason}")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart: where to connect, and what to ask for there."""

    url: str
    host: str
    port: int
    tls: bool
    path: str  # with the query, ready for the request line

    @classmethod
    def of(cls, url: str, *schemes: str) -> Target:
        """Take *url* apart. Raises FetchError (step `url`) if it cannot be used so."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise FetchError("url", url, f"it is not a URL: {exc}") from None
        host = parts.hostname or ""
        if parts.scheme not in schemes:
            raise FetchError("url", url, f"its scheme is not {' or '.join(schemes)}")
        if not _HOST.fullmatch(host):
            raise FetchError("url", url, "its host is missing or not a name in ASCII")
        if parts.username is not None or parts.password is not None:
            raise FetchError("url", url, "it contains a user or a password")
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        if parts.query:
            path += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        tls = parts.scheme in ("https", "wss")
        return cls(url, host, _PORTS[parts.scheme] if port is None else port, tls, path)

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class TcpConnector:
    """The Connector over real sockets.

    `timeouts.connect` for TCP, `timeouts.tls_handshake` for TLS; *context* checks certificates:
    `tls.client_context()` makes one.
    """

    def __init__(self, context: ssl.SSLContext, timeouts: Timeouts) -> None:
        self._context = context
        self._timeouts = timeouts

    async def __call__(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        """Open a byte stream. Raises ConnectFailed; if cancelled, nothing stays open."""
        stream = await self._open_tcp(host, port)
        return await open_tls(stream, self._context, host, self._timeouts) if tls else stream

    async def _open_tcp(self, host: str, port: int) -> trio.SocketStream:
        try:
            with trio.move_on_after(self._timeouts.connect):
                return await trio.open_tcp_stream(host, port)
        except gaierror as exc:
            raise ConnectFailed("resolve", exc.strerror or str(exc)) from exc
        except (OSError, UnicodeError) as exc:
            raise ConnectFailed("connect", _why(exc)) from exc
        step, lacking = "resolve", "answer from DNS"
        if await _is_resolved(host, port):
            step, lacking = "connect", "connection"
        raise ConnectFailed(step, f"no {lacking} within {self._timeouts.connect:g} s")


async def _is_resolved(host: str, port: int) -> bool:
    """Whether DNS answers about *host*: asked once more, in a moment, to say what it was."""
    found = False
    with trio.move_on_after(_MOMENT), suppress(OSError, UnicodeError):
        found = bool(await trio.socket.getaddrinfo(host, port))
    await trio.lowlevel.checkpoint()
    return found


def _why(error: BaseException) -> str:
    """The first system error behind *error*: Trio tries each address, and counts the failures.

    In the system's own words: Trio's name the address as Python writes it, and the URL is told.
    """
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    number = cause.errno if isinstance(cause, OSError) else None
    return str(cause) if number is None else os.strerror(number)


async def open_tls(
    stream: trio.abc.Stream, context: ssl.SSLContext, host: str, timeouts: Timeouts
) -> TlsStream:
    """Finish the client's TLS handshake within `timeouts.tls_handshake` seconds, the name checked.

    Raises ConnectFailed (step `tls`). Whenever it does not return, *stream* is closed.
    """
    secured = TlsStream(stream, context, host)
    try:
        await _shake_hands(secured, timeouts)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured


async def _shake_hands(secured: TlsStream, timeouts: Timeouts) -> None:
    try:
        with trio.fail_after(timeouts.tls_handshake):
            await secured.do_handshake()
    except trio.TooSlowError:
        late = f"no TLS handshake within {timeouts.tls_handshake:g} s"
        raise ConnectFailed("tls", late) from None
    except trio.BrokenResourceError as exc:
        raise ConnectFailed("tls", describe_tls_error(exc)) from exc


async def connect_to(target: Target, connect: Connector) -> trio.abc.Stream:
    """Open a byte stream to *target* by *connect*. Raises FetchError with the step that failed."""
    try:
        return await connect(target.host, target.port, target.tls)
    except ConnectFailed as exc:
        raise FetchError(exc.step, target.url, exc.reason) from exc
