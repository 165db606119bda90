"""What the cluster's tests share: receivers in processes, a Redis of their own, and a platform.

Everything is real: processes, sockets, redis-server, haproxy. Every wait has a deadline.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_connected
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started, Track

PROGRAM = Path(__file__).with_name("cluster_program.py")
TOKEN_KEY = "the token key of the tests"
CONNECT = TcpConnector(client_context(None), Timeouts())

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


def free_port() -> int:
    """A port that nobody listens at, with room above it for the bus of a Redis Cluster."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = int(taken.getsockname()[1])
        if port < 55000:
            return port


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.02)
        await trio.lowlevel.checkpoint()


class RedisServer:
    """A redis-server of the tests' own, with an append-only file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--dir", str(self._folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command += ["--bind", "127.0.0.1", "--logfile", str(self._folder / "log"), *self._options]
        self._process = subprocess.Popen(command)
        for _ in range(200):
            if self.cli("PING") == "PONG":
                return
        raise AssertionError("redis-server does not answer")

    def kill(self) -> None:
        """End it as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Its connections stay while the block runs, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def cli(self, *words: str) -> str:
        """Have a command done; what it printed."""
        command = ["redis-cli", "-p", str(self.port), "--raw", *words]
        done = subprocess.run(command, capture_output=True, check=False)
        return done.stdout.decode(errors="replace").strip()


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A redis-server while the block runs."""
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class Caller:
    """One media stream as the platform opens it."""

    def __init__(self, socket: MediaSocket) -> None:
        self.socket = socket
        self._encoder = TwilioEncoder()

    async def start(self, call_id: str, codec: str = "audio/x-mulaw") -> None:
        """Greet and start; then the stream waits for its end, which may be there already."""
        mulaw = MediaFormat("mulaw", 8000, 1)
        tracks: tuple[Track, ...] = ("inbound", "outbound")
        started = Started("twilio", mulaw, tracks, stream_id="MZ1", call_id=call_id)
        await trio.lowlevel.checkpoint()
        with suppress(SocketClosed):  # `close_code` tells why
            for message in (*self._encoder.connected(), *self._encoder.start(started)):
                assert isinstance(message, str)
                await self.socket.send(message.replace("audio/x-mulaw", codec))

    async def say(self, track: Track, payload: bytes, at: int) -> None:
        """Send a piece of audio, which belongs *at* so many milliseconds."""
        await trio.lowlevel.checkpoint()
        for message in self._encoder.media(track, payload, at):
            await self.socket.send(message)

    async def stop(self) -> int:
        """Stop; the code that the platform sees."""
        for message in self._encoder.stop():
            await self.socket.send(message)
        return await self.close_code()

    async def frame(self, number: int, payload: bytes) -> None:
        """Send the *number*-th 20 ms of the caller's voice."""
        for message in self._encoder.media("inbound", payload, number * 20):
            await self.socket.send(message)
        await trio.lowlevel.checkpoint()

    async def close_code(self) -> int:
        """Wait for the end and return the code that the platform sees."""
        await trio.lowlevel.checkpoint()
        try:
            while True:
                await self.socket.receive()
        except SocketClosed as exc:
            return exc.code


class Node:
    """A receiver in processes of its own: one, or a parent with its workers."""

    def __init__(self, name: str, process: trio.Process, base: str, data: Path) -> None:
        self.name = name
        self.process = process
        self.base = base
        self.data = data

    async def request(
        self, method: str, path: str, body: bytes | None = None, *headers: tuple[str, str]
    ) -> Response:
        """Make one HTTP request, on a connection of its own."""
        return await fetch(
            method,
            f"{self.base}{path}",
            headers=(("Content-Type", "application/json"), *headers),
            body=body,
            connect=CONNECT,
            timeouts=Timeouts(),
            limits=Limits(),
        )

    async def deliver(self, event: str, call_id: str) -> int:
        """Deliver a webhook; its status."""
        return (await self.request("POST", "/webhooks", webhook(event, call_id))).status

    async def accepted(self, event: str, call_id: str) -> None:
        """Deliver a webhook until it is accepted, as the platform does."""
        await trio.lowlevel.checkpoint()
        while True:
            with suppress(FetchError):  # who died has taken the connection with it
                if await self.deliver(event, call_id) == 200:
                    return
            await trio.sleep(0.1)

    async def hears_of(self, others: int) -> None:
        """Wait until it has heard of so many others."""
        while len((await self.health())["others"]) < others:  # noqa: ASYNC110  # as above
            await trio.sleep(0.1)
        await trio.lowlevel.checkpoint()

    async def health(self) -> dict[str, Any]:
        """What /health says."""
        document = json.loads((await self.request("GET", "/health")).body)
        assert isinstance(document, dict)
        return document

    async def stream_url(self, call_id: str) -> str:
        """The URL of an answer, at this node."""
        body = json.dumps({"call": {"id": call_id}}).encode()
        response = await self.request("POST", "/answer", body)
        url = str(json.loads(response.body)["actions"][0]["stream_url"])
        return f"ws{self.base.removeprefix('http')}/stream{url.partition('/stream')[2]}"

    @asynccontextmanager
    async def stream(
        self, call_id: str, url: str | None = None, *, codec: str = "audio/x-mulaw"
    ) -> AsyncIterator[Caller]:
        """A media stream of a call at this node, started."""
        async with open_connected(
            url or await self.stream_url(call_id),
            connect=CONNECT,
            limits=Limits(),
            timeouts=Timeouts(),
        ) as opened:
            caller = Caller(opened)
            await caller.start(call_id, codec)
            yield caller

    def lines(self, log: str, what: str) -> list[dict[str, Any]]:
        """The lines of a log so far."""
        path = self.data / f"{log}.jsonl"
        text = path.read_text() if path.exists() else ""
        # The last line may be half written just now.
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1:] == "\n"]
        return [line for line in lines if line["what"] == what]


class Lab:
    """Several nodes, and what all of them handled."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self._environ = environ
        self._handled = folder / "handled"

    @asynccontextmanager
    async def node(self, name: str, *prefix: str, **environ: str) -> AsyncIterator[Node]:
        """A node while the block runs; *prefix* goes before its command."""
        data = self.folder / name
        environ = {
            **os.environ,
            "NODE": name,
            "HANDLED": str(self._handled),
            "MINIVOICE_LISTEN": "127.0.0.1:0",
            "MINIVOICE_PLAIN": "1",
            "MINIVOICE_DATA": str(data),
            "MINIVOICE_NOTES": str(self.folder),  # what is killed leaves nothing in the memory
            "MINIVOICE_TOKEN_KEY": TOKEN_KEY,
            "MINIVOICE_TIMEOUTS_LINGER": "0.05",
            "MINIVOICE_TIMEOUTS_GRACE": "2",
            **self._environ,
            **environ,
        }
        command = [*prefix, sys.executable, str(PROGRAM)]
        async with trio.open_nursery() as nursery:
            start = partial(trio.run_process, stdout=subprocess.PIPE, check=False, env=environ)
            process: trio.Process = await nursery.start(start, command)
            try:
                yield Node(name, process, await _first_line(process), data)
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                with trio.move_on_after(15, shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()

    def let_go(self) -> None:
        """Have what is `held-` handled."""
        self._handled.with_name("handled.go").touch()

    def told(self, what: str) -> Counter[tuple[str, str]]:
        """How often each event was begun, or handled, anywhere: by call and name."""
        return Counter((call, event) for _, call, event in self.by_node(what))

    def by_node(self, what: str) -> list[tuple[str, str, str]]:
        """Where each event was begun or handled: pid, call, name."""
        text = self._handled.read_text() if self._handled.exists() else ""
        words = [line.split() for line in text.splitlines()]
        return [(pid, call, event) for kind, _, pid, call, event in words if kind == what]


async def _first_line(process: trio.Process) -> str:
    assert process.stdout is not None
    line = b""
    with trio.fail_after(60):
        await trio.lowlevel.checkpoint()
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some()
            assert more, "the receiver ended before its doors were open"
            line += more
    return line.decode().strip()


def webhook(event: str, call_id: str) -> bytes:
    """The body of a webhook in the documented envelope."""
    return json.dumps(
        {
            "event": event,
            "created_at": "2026-05-29T12:10:00Z",
            "call": {"id": call_id, "status": event.rpartition(".")[2], "direction": "inbound"},
            "variables": {},
            "data": {},
        }
    ).encode()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]
