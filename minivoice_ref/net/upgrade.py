"""The opening handshake of a WebSocket: what a good request and a good response look like.

Pure. The peer's heads were read by h11 and are judged here; what the WebSocket library reads
afterwards are the plain heads made here, never the peer's own (see the essay in `websocket.py`).

Facts: RFC 6455 section 4. No extension is ever agreed on: the audio is compressed already, and what
is not decompressed cannot be a bomb.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence

from minivoice_ref.net.http_messages import Headers, Request, Response, tokens
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.redaction import excerpt

__all__ = [
    "UpgradeRefused",
    "check_response",
    "is_upgrade",
    "key_of",
    "plain_request",
    "plain_response",
    "proposed_subprotocols",
    "refuse_upgrade",
    "request_headers",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY = re.compile(rb"\r\nSec-WebSocket-Key: *([^\r]+)\r\n", re.IGNORECASE)
_QUOTED = 200  # characters of a refusal's body that an error quotes


class UpgradeRefused(MiniVoiceError):
    """A server did not accept our WebSocket: `status` is its answer, `reason` why, for a log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the WebSocket was refused with status {status}: {reason}")
        self.status = status
        self.reason = reason


def is_upgrade(request: Request) -> bool:
    """Whether the request asks for a WebSocket, be it ever so badly."""
    return "websocket" in [token.lower() for token in tokens(request.header("upgrade"))]


def refuse_upgrade(request: Request) -> Response | None:
    """The refusal that a bad opening handshake deserves (400, 426), or None for a good one."""
    connection = [token.lower() for token in tokens(request.header("connection"))]
    if request.header("sec-websocket-version") != "13":
        return Response.problem(
            426, "WebSocket version 13 is needed", (("Sec-WebSocket-Version", "13"),)
        )
    if request.method != "GET" or request.http_version != "1.1":
        why = "a WebSocket begins with GET in HTTP/1.1"
    elif "upgrade" not in connection:
        why = "Connection: Upgrade is missing; a proxy in front may have dropped it"
    elif not _is_key(request.header("sec-websocket-key", "") or ""):
        why = "Sec-WebSocket-Key is not 16 bytes in base64"
    elif request.header("transfer-encoding") or request.header("content-length", "0") != "0":
        why = "a WebSocket's request has no body"
    else:
        return None
    return Response.problem(400, why)


def proposed_subprotocols(request: Request) -> list[str]:
    """The subprotocols that the client proposes, best first."""
    return tokens(request.header("sec-websocket-protocol"))


def request_headers(key: str, subprotocols: Sequence[str]) -> Headers:
    """The headers that turn a client's GET into a WebSocket's opening handshake."""
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key),
    ]
    if subprotocols:
        headers.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    return tuple(headers)


def key_of(request: bytes) -> str:
    """The key in the handshake that a client's library made."""
    found = _KEY.search(request)
    assert found is not None, "the library sends whole requests"
    return found[1].decode("ascii")


def check_response(response: Response, key: str, subprotocols: Sequence[str]) -> str | None:
    """The subprotocol of a good 101. UpgradeRefused: another status, or no answer to *key*."""
    if response.status != 101:
        quoted = excerpt(response.body.decode("utf-8", "replace").strip(), _QUOTED)
        raise UpgradeRefused(response.status, quoted or "no reason given")
    upgrade = (response.header("upgrade") or "").lower()
    connection = [token.lower() for token in tokens(response.header("connection"))]
    if upgrade != "websocket" or "upgrade" not in connection:
        raise UpgradeRefused(101, "it switched to something that is not a WebSocket")
    if response.header("sec-websocket-accept") != _accept_token(key):
        raise UpgradeRefused(101, "its Sec-WebSocket-Accept does not answer our key")
    if response.header("sec-websocket-extensions"):
        raise UpgradeRefused(101, "it turned on an extension that we did not offer")
    subprotocol = response.header("sec-websocket-protocol")
    if subprotocol is not None and subprotocol not in subprotocols:
        raise UpgradeRefused(101, "it chose a subprotocol that we did not propose")
    return subprotocol


def plain_request(request: Request, subprotocol: str | None) -> bytes:
    """A good handshake with the key of *request*, all else left out, for the server's library."""
    key = request.header("sec-websocket-key") or ""
    lines = request_headers(key, [subprotocol] if subprotocol is not None else [])
    return _head("GET / HTTP/1.1", (("Host", "localhost"), *lines))


def plain_response(key: str, subprotocol: str | None) -> bytes:
    """A good 101 to *key*, for the client's library."""
    lines = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Accept", _accept_token(key)),
    ]
    if subprotocol is not None:
        lines.append(("Sec-WebSocket-Protocol", subprotocol))
    return _head("HTTP/1.1 101 Switching Protocols", lines)


def _head(first: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _accept_token(key: str) -> str:
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID).digest()).decode("ascii")


def _is_key(key: str) -> bool:
    try:
        return len(binascii.a2b_base64(key.encode("latin-1"), strict_mode=True)) == 16
    except binascii.Error:
        return False
