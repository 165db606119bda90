"""The cheapest receiver there can be: it answers, accepts, and throws away.

Knows just enough HTTP to answer an answer_url with one start_stream and to accept a WebSocket, and
just enough of RFC 6455 to see a Close that comes as a TLS record of its own. What it costs is what
the system and OpenSSL cost, so that whoever sends into it is measured, not it.

    python -m benchmarks.sink CERT KEY [CORE]

prints its port and serves until it is killed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import selectors
import socket
import ssl
import sys

__all__ = ["main"]

_HANDSHAKE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CLOSE = 0x88
_NORMAL_CLOSE = b"\x88\x02\x03\xe8"


def main(argv: list[str]) -> None:
    """Serve with the certificate and the key of *argv*, on the core it names, if any."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(argv[0], argv[1])
    if len(argv) > 2:
        os.sched_setaffinity(0, {int(argv[2])})
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    print(port, flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                _accept(listener, context, port, selector)
            else:
                _discard(key.fileobj, selector)


def _accept(
    listener: socket.socket,
    context: ssl.SSLContext,
    port: int,
    selector: selectors.BaseSelector,
) -> None:
    """Take one connection; answer its request, or accept its WebSocket and listen to it."""
    plain, _ = listener.accept()
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        secured = context.wrap_socket(plain, server_side=True)
        request = _read_request(secured)
        found = _KEY.search(request)
        if found is None:
            secured.sendall(_answer(port))
            secured.close()
            return
        accept = base64.b64encode(hashlib.sha1(found[1] + _GUID).digest())
        secured.sendall(_HANDSHAKE + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    except OSError:
        plain.close()
        return
    secured.setblocking(False)
    selector.register(secured, selectors.EVENT_READ)


def _read_request(secured: ssl.SSLSocket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += secured.recv(65536)
    found = _LENGTH.search(request)
    whole = request.index(b"\r\n\r\n") + 4 + (int(found[1]) if found else 0)
    while len(request) < whole:
        request += secured.recv(65536)
    return request


def _answer(port: int) -> bytes:
    action = {"type": "start_stream", "stream_url": f"wss://127.0.0.1:{port}/", "track": "both"}
    body = json.dumps({"actions": [action]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def _discard(secured: object, selector: selectors.BaseSelector) -> None:
    assert isinstance(secured, ssl.SSLSocket)
    try:
        data = secured.recv(65536)
        while data and secured.pending():
            data = secured.recv(65536)
        if data and data[0] != _CLOSE:
            return
        if data:
            secured.send(_NORMAL_CLOSE)
    except ssl.SSLWantReadError:
        return
    except OSError:
        pass
    selector.unregister(secured)
    secured.close()


if __name__ == "__main__":
    main(sys.argv[1:])
