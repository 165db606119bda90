"""Who meets at the door in the tests of this folder: a site that echoes, and rough clients."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net import websocket
from minivoice_ref.net.front_door import Admission, Door, serve_doors
from minivoice_ref.net.http import Request, Response, refuse_method
from minivoice_ref.net.upgrade import proposed_subprotocols
from minivoice_ref.net.media_socket import MediaSocket, SocketClosed
from minivoice_ref.testing import MemoryNetwork, MemoryStream, living_tasks, memory_streams

HOST, PORT = "media.example.com", 80
LIMITS, TIMEOUTS = Limits(), Timeouts()
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
HANDSHAKE = (
    "GET /stream/abc HTTP/1.1\r\nHost: media.example.com\r\nConnection: keep-alive, Upgrade\r\n"
    f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Way:
    """Which of the two ways to carry messages is being tested."""

    transport = "fast"


@pytest.fixture(params=["fast", "simple"], autouse=True)
def both_ways(request: pytest.FixtureRequest) -> None:
    """Run every test of a module that imports this twice."""
    Way.transport = request.param


def open_accepted(
    stream: trio.abc.Stream, request: Request, **more: Any
) -> AbstractAsyncContextManager[MediaSocket]:
    """`websocket.open_accepted`, the way that is being tested."""
    return websocket.open_accepted(stream, request, transport=Way.transport, **more)


def open_connected(url: str, **more: Any) -> AbstractAsyncContextManager[MediaSocket]:
    """`websocket.open_connected`, the way that is being tested."""
    return websocket.open_connected(url, transport=Way.transport, **more)


@dataclass
class EchoSite:
    """Answers with what was asked; echoes what a stream says; remembers what it was told to log."""

    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    ends: list[tuple[int, bool]] = field(default_factory=list)
    arrived: trio.Event = field(default_factory=trio.Event)

    async def handle_request(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if request.path == "/crash":
            raise RuntimeError("the site is broken")
        if request.path == "/slow":
            self.arrived.set()
            await trio.sleep(10)
        if request.path == "/json":
            request.expect_media_type("application/json")
            return Response.json(request.json())
        return refuse_method(request, ["GET", "POST"]) or Response.json(
            {"path": request.path, "body": request.body.decode("latin-1")}
        )

    async def admit(self, request: Request) -> Admission | Response:
        await trio.lowlevel.checkpoint()
        if request.path == "/crash":
            raise RuntimeError("the site is broken")
        if request.path == "/stream/wrong-subprotocol":
            return Admission(request, "never.proposed")
        if not request.path.startswith("/stream/"):
            return Response.problem(404)
        proposed = proposed_subprotocols(request)
        return Admission(request, proposed[0] if proposed else None, context=request.path)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        await trio.lowlevel.checkpoint()
        self.arrived.set()
        if admission.context == "/stream/crash":
            raise RuntimeError("the application is broken")
        try:
            while True:
                for message in await socket.receive():
                    await socket.send(message)
        except SocketClosed as exc:
            self.ends.append((exc.code, exc.by_peer))

    def note(self, kind: str, **fields: object) -> None:
        self.notes.append((kind, fields))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.notes]


@dataclass
class House:
    """A running server in memory."""

    network: MemoryNetwork
    site: EchoSite
    stop: trio.Event
    tasks: int  # alive while nobody is connected
    limits: Limits
    timeouts: Timeouts

    async def ask(self, data: bytes) -> bytes:
        """Send *data* on a new connection and return all that comes until the server closes it."""
        async with await self.network.connect(HOST, PORT, False) as stream:
            await stream.send_all(data)
            return await read_all(stream)

    async def assert_next_caller_is_served(self) -> None:
        """The living tasks are back to the baseline, and a new caller gets a good answer."""
        await trio.testing.wait_all_tasks_blocked()
        assert living_tasks() == self.tasks
        answer = await self.ask(b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        await trio.testing.wait_all_tasks_blocked()
        assert living_tasks() == self.tasks


@asynccontextmanager
async def open_house(**settings: Any) -> AsyncGenerator[House, None]:
    """Serve an EchoSite in memory; drain it when the block is left, and count the tasks."""
    limits = Limits(**settings.pop("limits", {}))
    timeouts = Timeouts(**settings.pop("timeouts", {}))
    network, site, stop = MemoryNetwork(**settings.pop("network", {})), EchoSite(), trio.Event()
    listener = network.listener(HOST, PORT)
    door = Door([listener], settings.pop("tls", None), site, transport=Way.transport)
    before = living_tasks()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_doors, [door], stop, limits=limits, timeouts=timeouts))
        await trio.testing.wait_all_tasks_blocked()
        yield House(network, site, stop, living_tasks(), limits, timeouts)
        stop.set()
    assert living_tasks() == before


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """All that *stream* still brings."""
    data = b""
    while more := await stream.receive_some():
        data += more
    return data


async def read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    """The next *size* bytes of *stream*."""
    data = b""
    await trio.lowlevel.checkpoint()
    while len(data) < size:
        more = await stream.receive_some(size - len(data))
        assert more, f"the stream ended behind {data!r}"
        data += more
    return data


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    """The head of the response that comes next, byte by byte, so that nothing behind it is read."""
    data = b""
    await trio.lowlevel.checkpoint()
    while not data.endswith(b"\r\n\r\n"):
        data += await read_exactly(stream, 1)
    return data


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """One frame as a client sends it; the mask is all zeros, which is allowed."""
    head = bytes([opcode | (0x80 if fin else 0)])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mask | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mask | 127]) + struct.pack("!Q", len(payload))
    return head + (bytes(4) if masked else b"") + payload


def close_frame(code: int, reason: str = "", *, masked: bool = True) -> bytes:
    """A Close frame."""
    return frame(CLOSE, struct.pack("!H", code) + reason.encode(), masked=masked)


async def read_frame(stream: trio.abc.ReceiveStream) -> tuple[int, bytes]:
    """The next unmasked frame: opcode and payload."""
    first, length = await read_exactly(stream, 2)
    assert first & 0x80 and not length & 0x80
    if length == 126:
        (length,) = struct.unpack("!H", await read_exactly(stream, 2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await read_exactly(stream, 8))
    return first & 0x0F, await read_exactly(stream, length)


async def read_close(stream: trio.abc.ReceiveStream) -> int:
    """The code of the Close frame that comes next."""
    opcode, payload = await read_frame(stream)
    assert opcode == CLOSE, (opcode, payload)
    return int(struct.unpack("!H", payload[:2])[0])


@asynccontextmanager
async def rough_socket(
    house: House, path: str = "/stream/abc", extra: str = ""
) -> AsyncGenerator[trio.abc.Stream, None]:
    """A byte stream on which the opening handshake is made; frames are the caller's business."""
    stream = await house.network.connect(HOST, PORT, False)
    async with stream:
        await stream.send_all((HANDSHAKE.replace("/stream/abc", path) + extra + "\r\n").encode())
        assert (await read_head(stream)).startswith(b"HTTP/1.1 101 ")
        yield stream


def a_request(*headers: tuple[str, str]) -> Request:
    return Request("GET", "/", "/", "", (("sec-websocket-key", KEY), *headers))


@asynccontextmanager
async def accepted(
    *, trailing: bytes = b"", **limits: int
) -> AsyncGenerator[tuple[MediaSocket, MemoryStream], None]:
    """An accepted socket and the byte stream of its peer; afterwards no task is left."""
    before = living_tasks()
    ours, theirs = memory_streams()
    async with open_accepted(
        theirs, a_request(), trailing=trailing, limits=Limits(**limits), timeouts=TIMEOUTS
    ) as socket:
        assert (await read_head(ours)).startswith(b"HTTP/1.1 101 ")
        yield socket, ours
    await ours.aclose()
    assert living_tasks() == before


async def receive_in_all(socket: MediaSocket, many: int) -> list[str | bytes]:
    """The next *many* messages, however many come at once."""
    messages: list[str | bytes] = []
    await trio.lowlevel.checkpoint()
    while len(messages) < many:
        messages += await socket.receive()
    return messages


async def until_closed(socket: MediaSocket) -> SocketClosed:
    """Receive until the end, and return it."""
    with pytest.raises(SocketClosed) as closed:
        while True:
            await socket.receive()
    return closed.value
