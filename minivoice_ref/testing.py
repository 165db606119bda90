"""Tests without sockets, without threads and without waiting: for ours, and for those of yours.

Who embeds the receiver tests an application as a whole, with the real receiver, the real simulator
and its recorded speech between them. pytest-trio's `autojump_clock` makes the time virtual: nobody
waits for anything, and a minute of a call takes a second or so:

    async def test_each_party_is_heard(autojump_clock):
        async with open_memory_rehearsal(App(on_stream=on_stream)) as rehearsal:
            report = await rehearsal.call(speak=60)
        assert report.passed

Who has only the simulator in use, and a receiver of their own on Trio, gives it a listener of a
`MemoryNetwork`, and the simulator its `connect`:

    network = MemoryNetwork()
    nursery.start_soon(trio.serve_listeners, handle, [network.listener("app.example.com", 443)])
    report = await place_call(CallPlan(answer_url=...), connect=network.connect)

A connection in memory behaves as TCP does where it matters: bytes arrive in order, a full buffer
makes the sender wait, one direction can end before the other, a peer can vanish.

`pytest_plugin.py` has `open_memory_rehearsal` as a fixture. With sockets, TLS and real time there
is `rehearsal.py`.
"""

from __future__ import annotations

import functools
import operator
import ssl
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import trio
import trio.testing

from minivoice_ref.config import Config, Timeouts
from minivoice_ref.net.connect import ConnectFailed, open_tls
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.rehearsal import Rehearsal

__all__ = ["MemoryListener", "MemoryNetwork", "MemoryStream", "living_tasks", "memory_streams"]
__all__ += ["open_memory_rehearsal"]

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

_HOST = "receiver.test"

_BUFFER = 65536  # bytes on the way in one direction before the sender has to wait
_BACKLOG = 1024  # connections waiting to be accepted before the next one has to wait


class _Pipe:
    """One direction of a connection: at most `_BUFFER` bytes on the way; a sender waits if full."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._lot = trio.lowlevel.ParkingLot()
        self._sending = self._receiving = False
        self.ended = False  # by the sender: what is on the way still arrives
        self.broken = False  # by the receiver, or by a reset: nothing arrives any more

    def end(self) -> None:
        self.ended = True
        self._lot.unpark_all()

    def break_off(self) -> None:
        self.broken = True
        self._data.clear()
        self._lot.unpark_all()

    def check_idle(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")

    async def send(self, data: bytes, closed: Callable[[], bool]) -> None:
        self.check_idle()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if closed() or self.ended:
                    raise trio.ClosedResourceError("this stream is closed for sending")
                if self.broken:
                    raise trio.BrokenResourceError("the peer is gone")
                room = _BUFFER - len(self._data)
                self._data += data[:room]
                data = data[room:]
                self._lot.unpark_all()
                if not data:
                    return
                await self._lot.park()
        finally:
            self._sending = False

    async def receive(self, max_bytes: int | None, closed: Callable[[], bool]) -> bytes:
        size = _BUFFER if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving on this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while True:
                if closed():
                    raise trio.ClosedResourceError("this stream is closed")
                if self.broken:
                    raise trio.BrokenResourceError("the connection was reset")
                if self._data:
                    data = bytes(self._data[:size])
                    del self._data[:size]
                    self._lot.unpark_all()
                    return data
                if self.ended:
                    return b""
                await self._lot.park()
        finally:
            self._receiving = False

    async def wait_for_room(self, closed: Callable[[], bool]) -> None:
        self.check_idle()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            while not (closed() or self.ended or self.broken) and len(self._data) >= _BUFFER:
                await self._lot.park()
            if closed() or self.ended:
                raise trio.ClosedResourceError("this stream is closed for sending")
        finally:
            self._sending = False


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory. `peer` is the other end's name, for logs.

    What does not fit into the buffer waits: `send_all` returns when all is on its way, as in TCP.
    """

    def __init__(self, outgoing: _Pipe, incoming: _Pipe, peer: str) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._closed = False
        self.peer = peer

    def _is_closed(self) -> bool:
        return self._closed

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*. If cancelled, an unknown part of it was sent."""
        await self._outgoing.send(bytes(data), self._is_closed)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room in the buffer."""
        await self._outgoing.wait_for_room(self._is_closed)

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        self._outgoing.check_idle()
        self._outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what has arrived; empty when the peer has sent all it will."""
        return await self._incoming.receive(max_bytes, self._is_closed)

    async def aclose(self) -> None:
        """Close both directions; what was sent still arrives."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.break_off()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Break the connection as a crash does: both ends fail, what was on its way is lost."""
        self._outgoing.break_off()
        self._incoming.break_off()


def memory_streams(
    one: str = "192.0.2.1:40000", other: str = "192.0.2.2:443"
) -> tuple[MemoryStream, MemoryStream]:
    """Make the two ends of a connection in memory, named *one* and *other*."""
    there, back = _Pipe(), _Pipe()
    return MemoryStream(there, back, peer=other), MemoryStream(back, there, peer=one)


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts the connections that a MemoryNetwork makes to one address.

    Those not yet accepted wait in a queue of `_BACKLOG`; whoever comes when it is full waits.
    """

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](_BACKLOG)

    async def accept(self) -> trio.abc.Stream:
        """Wait for the next connection."""
        return await self._receive.receive()

    async def connected(self, stream: trio.abc.Stream) -> None:
        """Hand in the server's end of a connection. Raises BrokenResourceError once closed."""
        await self._send.send(stream)

    async def aclose(self) -> None:
        """Stop listening; connections not yet accepted are broken."""
        self._receive.close()
        await trio.lowlevel.checkpoint()


class MemoryNetwork:
    """Addresses in memory. Its `connect` is a Connector, its listeners are for doors.

    With *client_context* a connection that asks for TLS gets it, the real one, over memory.
    Without, TLS is only pretended: `wss` reaches a plain door.
    """

    def __init__(self, client_context: ssl.SSLContext | None = None) -> None:
        self._context = client_context
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._clients = 0

    def listener(self, host: str, port: int) -> MemoryListener:
        """Listen at an address; a listener that was there before is replaced."""
        listener = self._listeners[host, port] = MemoryListener()
        return listener

    async def listen(self, host: str, port: int) -> list[trio.abc.Listener[trio.abc.Stream]]:
        """Listen at an address as a receiver does: what `serve` takes in the place of sockets."""
        await trio.lowlevel.checkpoint()
        return [self.listener(host, port)]

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        """Open a connection. Raises ConnectFailed where nobody listens."""
        self._clients += 1
        name = f"192.0.2.1:{40000 + self._clients % 20000}"
        ours, theirs = memory_streams(name, f"{host}:{port}")
        try:
            await self._listeners[host, port].connected(theirs)
        except (KeyError, trio.BrokenResourceError):
            raise ConnectFailed("connect", f"nobody listens at {host}:{port}") from None
        if tls and self._context is not None:
            return await open_tls(ours, self._context, host, Timeouts())
        return ours


def living_tasks() -> int:
    """How many tasks are alive, for tests that nothing is left behind."""
    return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def open_memory_rehearsal(app: App, **settings: Any) -> AsyncGenerator[Rehearsal, None]:
    """Serve *app* in memory for a block, and place test calls at it: see `rehearsal.Rehearsal`.

    *settings* are fields of `Config`; without `data`, what the receiver keeps is gone afterwards.
    What it does to the disk it does at once, in no thread. TLS is only pretended; all else is as
    in earnest. An `on_event` that takes each webhook at once has taken all when the block ends; for
    a slow one the test waits in the block.

    An AssertionError that one of the application's functions raises fails the call as any other of
    its exceptions does, and is raised anew at the end of the block: so `on_stream` may assert.
    Raises as `serve` does. Without a virtual clock it runs in real time.
    """
    network, failed = MemoryNetwork(), list[AssertionError]()

    zero = time.time() - trio.current_time()

    def clock() -> float:
        return zero + trio.current_time()

    with tempfile.TemporaryDirectory(prefix="minivoice-") as name:
        given = {
            "listen": f"{_HOST}:443",
            "plain": True,
            "insecure": True,
            "public_url": f"https://{_HOST}",
            "data": Path(name) / "data",
        }
        config = Config(**{**given, **settings})
        usual = {
            "answer_url": f"https://{_HOST}/answer",
            "webhook_url": f"https://{_HOST}/webhooks",
            "webhook_secret": config.webhook_secret,
            "speech_programs": (),  # which would take real time; the packaged voice speaks instead
        }
        run = functools.partial(serve, listen=network.listen, disk=InlineDisk, clock=clock)
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(run, _telling(app, failed), config)
            try:
                yield Rehearsal(server, network.connect, usual, clock)
            except AssertionError as exc:
                failed.append(exc)
            await trio.testing.wait_all_tasks_blocked()
            server.stop()
    if len(failed) > 1:
        raise ExceptionGroup("assertions that failed", failed)
    if failed:
        raise failed[0]


def _telling(app: App, failed: list[AssertionError]) -> App:
    """Return *app*, whose functions note in *failed* the assertions that fail in them."""

    def telling(
        function: Callable[[_Given], Awaitable[_Result]],
    ) -> Callable[[_Given], Awaitable[_Result]]:
        @functools.wraps(function)
        async def run(given: _Given) -> _Result:
            try:
                return await function(given)
            except AssertionError as exc:
                failed.append(exc)
                raise

        return run

    return App(telling(app.on_answer), telling(app.on_stream), telling(app.on_event))
