"""Streams into a server under test, as cheap as they can be: it is the server that is measured.

One thread, no event loop: the frames are ready (`script.py`), the moments are known, and a frame is
one system call. Over TLS each message is a record of its own, as platforms send them. How late the
client itself was, by its own clock, is counted beside: a measurement whose client was late says so.

    speak   real time: each stream says its two messages every 20 ms, at a moment of its own
    blast   saturated: each stream is kept full until all is said

Nothing is read but the end: a measurement is over before the first ping of any server.
Read next: `servers.py`.
"""

from __future__ import annotations

import base64
import os
import random
import re
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.figures import Histogram
from benchmarks.script import TICK, TRACKS, Script, stamp

__all__ = ["Connection", "Spoken", "blast", "close_all", "speak"]

_Result = TypeVar("_Result")

_PATIENCE = 10.0
_RECEIVED_AT_ONCE = 65536
_KEPT_FULL = 64  # messages that are made ready for a stream at once, when it is kept full
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_UPGRADE = (
    "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n"
)


class Connection:
    """One connection, with TLS where there is a context. Raises OSError where it fails."""

    def __init__(
        self, port: int, context: ssl.SSLContext | None, session: ssl.SSLSession | None = None
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._unsent = b""
        self.tls: ssl.SSLObject | None = None
        if context is not None:
            self.tls = context.wrap_bio(
                self._incoming, self._outgoing, server_hostname="127.0.0.1", session=session
            )
            self._patiently(self.tls.do_handshake)

    def upgrade(self, path: str) -> None:
        """Make it a WebSocket; after this it does not block. Raises ConnectionError if refused."""
        head = self.ask(_UPGRADE.format(path, base64.b64encode(os.urandom(16)).decode()).encode())
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ConnectionError(f"the upgrade was refused: {head!r}")
        self._socket.setblocking(False)

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the whole response."""
        self.write(request)
        self._socket.sendall(self._outgoing.read())
        answer = self.receive()
        while b"\r\n\r\n" not in answer:
            answer += self.receive()
        head, _, body = answer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        while length and len(body) < int(length[1]):
            body += self.receive()
        return head + b"\r\n\r\n" + body

    def receive(self) -> bytes:
        """Wait for bytes. Raises ConnectionError at the end."""
        if self.tls is not None:
            tls = self.tls
            data = self._patiently(lambda: tls.read(_RECEIVED_AT_ONCE))
        else:
            data = self._socket.recv(_RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """Have *data* leave with the next `flush`, as a record of its own."""
        if self.tls is not None:
            self.tls.write(data)
        else:
            self._outgoing.write(data)

    def flush(self) -> bool:
        """Offer all that was written to the system; tell whether it took it."""
        data = self._unsent + self._outgoing.read()
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        self._unsent = data[sent:]
        return not self._unsent

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    def wait_for_end(self) -> None:
        """Wait until the server has said goodbye, or closed. Raises OSError where it does not."""
        self._socket.settimeout(_PATIENCE)
        self._socket.sendall(self._unsent + self._outgoing.read())
        self._unsent = b""
        try:
            self.receive()
        except (ConnectionError, ssl.SSLError):
            pass

    def close(self) -> None:
        """Close, without a word."""
        self._socket.close()

    def _patiently(self, call: Callable[[], _Result]) -> _Result:
        while True:
            try:
                result = call()
            except ssl.SSLWantReadError:
                self._socket.sendall(self._outgoing.read())
                if received := self._socket.recv(_RECEIVED_AT_ONCE):
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
            else:
                return result


@dataclass(slots=True)
class Spoken:
    """What the client did in a measurement: messages, and how late they were by its own clock."""

    messages: int = 0
    lateness: Histogram = field(default_factory=Histogram)
    held_up: int = 0
    """Messages that the system did not take at once, since the server did not read."""


def speak(
    streams: Sequence[Connection],
    script: Script,
    *,
    warm_up: int,
    together: bool = False,
    on_warm: Callable[[], None],
) -> Spoken:
    """Say the whole script in real time; the first *warm_up* ticks of it are not counted.

    Calls *on_warm* when they are over. The two messages of a stream and tick leave one by one, or
    *together* in one system call. Each stream has its own moment within the 20 ms, by chance, the
    same in each measurement.
    """
    spoken, chance = Spoken(), random.Random(1)
    moments = sorted(chance.uniform(0, TICK) for _ in streams)
    began = time.monotonic() + 2 * TICK
    for tick, lines in enumerate(script.ticks):
        counted = tick >= warm_up
        _sleep_until(began + tick * TICK)
        if tick == warm_up:
            on_warm()
        for stream, moment in zip(streams, moments, strict=True):
            due = began + tick * TICK + moment
            _sleep_until(due)
            if counted:
                spoken.lateness.add(time.monotonic() - due)
            for line in lines:
                stream.write(stamp(line, time.monotonic() if counted else 0.0))
                if together and line is lines[0]:
                    continue
                if not stream.flush():
                    spoken.held_up += 1
            if counted:
                spoken.messages += len(lines)
    _sleep_until(began + len(script.ticks) * TICK)
    return spoken


def blast(streams: Sequence[Connection], script: Script) -> Spoken:
    """Say the whole script on each stream as fast as the server takes it.

    Raises TimeoutError where it takes nothing for ten seconds.
    """
    spoken, said = Spoken(), dict.fromkeys(streams, 0)
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_WRITE, stream)
        while selector.get_map():
            ready = [key.data for key, _ in selector.select(_PATIENCE)]
            if not ready:
                raise TimeoutError("the server does not read")
            for stream in ready:
                if not stream.flush():
                    continue
                lines = script.ticks[said[stream] : said[stream] + _KEPT_FULL // len(TRACKS)]
                for line in (line for pair in lines for line in pair):
                    stream.write(stamp(line, time.monotonic()))
                    spoken.messages += 1
                said[stream] += len(lines)
                if not lines:
                    selector.unregister(stream)
    return spoken


def close_all(streams: Sequence[Connection], script: Script) -> None:
    """End all streams properly. Raises OSError where the server does not close them."""
    for stream in streams:
        stream.write(script.closing)
        stream.flush()
    for stream in streams:
        stream.wait_for_end()
        stream.close()


def _sleep_until(moment: float) -> None:
    now = time.monotonic()
    if now < moment:
        time.sleep(moment - now)
