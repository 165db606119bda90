"""What the tests of this folder share: receivers in processes of their own, and their callers."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Connector, TcpConnector
from minivoice_ref.net.http import Response
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_connected
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started

PROGRAM = Path(__file__).with_name("reliability_program.py")
Tell: TypeAlias = Callable[[str], None]
"""The fixture `tell_figure`: a test tells what it has measured, for the table of the README."""

FRAME = bytes([0xFF]) * 160  # 20 ms of silence in mu-law
LIMITS, TIMEOUTS = Limits(), Timeouts()


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def event(call: int | str, name: str = "call.completed") -> bytes:
    """The body of a webhook."""
    document = {
        "event": name,
        "created_at": "2026-05-29T12:10:00Z",
        "call": {"id": f"call_{call}", "status": name.rpartition(".")[2]},
    }
    return json.dumps(document).encode()


class Receiver:
    """A receiver in a process, and what MiniVoice does to it."""

    def __init__(
        self, process: trio.Process, urls: dict[str, str], data: Path, connect: Connector
    ) -> None:
        self.process = process
        self.urls = urls
        self.data = data
        self.connect = connect

    async def request(
        self, method: str, url: str, body: bytes | None = None, timeouts: Timeouts = TIMEOUTS
    ) -> Response:
        """Make one request with a JSON body, on a connection of its own."""
        return await fetch(
            method,
            url,
            headers=[("Content-Type", "application/json")],
            body=body,
            connect=self.connect,
            timeouts=timeouts,
            limits=LIMITS,
        )

    async def health(self) -> tuple[int, dict[str, Any]]:
        """What /health says."""
        response = await self.request("GET", self.urls["health"])
        return response.status, json.loads(response.body)

    async def deliver(self, body: bytes) -> int:
        """Deliver a webhook."""
        return (await self.request("POST", self.urls["webhooks"], body)).status

    async def stream_url(self, call_id: str) -> str:
        """Ask for an answer and return the URL of its stream, which a plain door calls wss."""
        asked = json.dumps({"call_id": call_id}).encode()
        response = await self.request("POST", self.urls["answer"], asked)
        assert response.status == 200, response
        url: str = json.loads(response.body)["actions"][0]["stream_url"]
        return url if self.urls["base"].startswith("https") else url.replace("wss", "ws", 1)

    @asynccontextmanager
    async def stream(
        self, call_id: str, url: str | None = None, transport: str = "simple"
    ) -> AsyncIterator[Caller]:
        """Open a stream. By the *transport* `fast` nothing is read, nor answered, unasked."""
        async with open_connected(
            url or await self.stream_url(call_id),
            connect=self.connect,
            limits=LIMITS,
            timeouts=TIMEOUTS,
            transport=transport,
        ) as ws:
            yield Caller(ws, call_id)

    def lines(self, log: str, what: str | None = None) -> list[dict[str, Any]]:
        """The lines of a log so far."""
        path = self.data / f"{log}.jsonl"
        texts = path.read_text().splitlines() if path.exists() else []
        lines = [json.loads(text) for text in texts if text.endswith("}")]
        return [line for line in lines if what in (None, line["what"])]

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait for something that the process does to its files."""
        await trio.lowlevel.checkpoint()
        with trio.fail_after(seconds):
            while not condition():  # noqa: ASYNC110
                await trio.sleep(0.05)
            await trio.lowlevel.checkpoint()

    def open_files(self) -> int:
        """How many descriptors the process has."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def tasks(self, asked: signal.Signals = signal.SIGUSR1) -> int:
        """How many tasks the process has."""
        told = self.data / "tasks"
        told.unlink(missing_ok=True)
        self.process.send_signal(asked)
        await self.until(lambda: told.exists() and told.read_text().endswith("\n"))
        return int(told.read_text())

    async def short_of_memory(self) -> None:
        """Make memory short, or give it back."""
        await self.tasks(signal.SIGUSR2)

    def threads(self) -> int:
        """How many threads the process has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


class Caller:
    """One stream in Twilio's shape."""

    def __init__(self, ws: MediaSocket, call_id: str) -> None:
        self.socket = ws
        self.call_id = call_id
        self._encoder = TwilioEncoder()

    async def start(self) -> None:
        """Greet and start."""
        await trio.lowlevel.checkpoint()
        format = MediaFormat("mulaw", 8000, 1)
        started = Started("twilio", format, ("inbound",), stream_id="MZ1", call_id=self.call_id)
        for message in [*self._encoder.connected(), *self._encoder.start(started)]:
            await self.socket.send(message)

    async def speak(self, frames: int, first: int = 0) -> None:
        """Send so many frames at once."""
        await trio.lowlevel.checkpoint()
        for number in range(first, first + frames):
            for message in self._encoder.media("inbound", FRAME, number * 20):
                await self.socket.send(message)

    async def stop(self) -> None:
        """Say that the stream is over."""
        await trio.lowlevel.checkpoint()
        for message in self._encoder.stop():
            await self.socket.send(message)

    @contextmanager
    def until_closed(self) -> Iterator[None]:
        """Leave the block quietly when the stream is closed."""
        with suppress(SocketClosed):
            yield

    async def close_code(self) -> int:
        """Wait for the end."""
        await trio.lowlevel.checkpoint()
        try:
            while True:
                await self.socket.receive()
        except SocketClosed as exc:
            return exc.code


@asynccontextmanager
async def running(
    data: Path,
    application: str = "listen",
    *,
    preexec: Callable[[], None] | None = None,
    ca: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Receiver]:
    """Run a receiver in a process for a block; kill it at the end if it is still there."""
    given = {"listen": "127.0.0.1:0", "data": str(data), **settings}
    given.setdefault("plain", "tls_cert" not in given)
    command = [sys.executable, str(PROGRAM), json.dumps(given), application]
    connect = TcpConnector(client_context(ca), TIMEOUTS)
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, stdout=-1, check=False, preexec_fn=preexec)
        process: trio.Process = await nursery.start(start, command)
        assert process.stdout is not None
        try:
            with trio.fail_after(90):
                line = b""
                while not line.endswith(b"\n"):
                    received = await process.stdout.receive_some()
                    assert received, "the receiver did not start"
                    line += received
            yield Receiver(process, json.loads(line), data, connect)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
