"""The receivers that are abused: whole ones, `serve()`, in memory or on real sockets.

Everything that a stranger could reach is turned on: signed webhooks, tokens, recordings,
captures, the console.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from abuse_parts import CONSOLE_TOKEN, HOST, SECRET, TOKEN_KEY

from minivoice_ref.certificates import Certificates
from minivoice_ref.console import open_console
from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.net.connect import Connector
from minivoice_ref.net.http_client import fetch
from minivoice_ref.net.websocket import SocketClosed, open_connected
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import InlineDisk, OpenDisk, ThreadDisk
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.server import Listen, Server, listen_tcp, serve
from minivoice_ref.testing import MemoryNetwork

WALL = 1_780_000_000.0  # what the wall's clock says when the virtual one says 0
OUR_FAULTS = {"MV-509", "MV-701", "MV-702"}  # what no peer may cause
_LOGS = ("answers", "streams", "webhooks")


class Ground:
    """A running receiver, and the way to it for who behaves."""

    def __init__(
        self, server: Server, config: Config, connect: Connector, clock: Callable[[], float]
    ) -> None:
        self.server = server
        self.config = config
        self.clock = clock
        self._connect = connect
        self._callers = 0
        self._read = dict.fromkeys(_LOGS, 0)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that were bound."""
        host, _, port = self.server.urls.base.partition("//")[2].rpartition(":")
        return host, int(port)

    def news(self, *, again: bool = False) -> list[dict[str, Any]]:
        """The lines of the three logs since this was last asked, or all of them *again*."""
        news: list[dict[str, Any]] = []
        for log in _LOGS:
            path = self.config.data / f"{log}.jsonl"
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            news += map(json.loads, lines[0 if again else self._read[log] :])
            self._read[log] = len(lines)
        return news

    async def serve_next_caller(self) -> None:
        """A call with all that belongs to one: answer, stream, webhook, and a look at health."""
        self._callers += 1
        call_id, urls = f"call_next_{self._callers}", self.server.urls
        answer = await self._ask("POST", urls.answer, {"call": {"id": call_id}})
        url = answer["actions"][0]["stream_url"]
        await self._stream(url if self.config.tls_cert else url.replace("wss:", "ws:"), call_id)
        event = {
            "event": "call.completed",
            "created_at": "2026-05-29T12:10:00Z",
            "call": {"id": call_id, "status": "completed"},
        }
        assert (await self._ask("POST", urls.webhooks, event))["accepted"]
        health = await self._ask("GET", urls.health, None)
        assert health["status"] == "ok", health

    async def _ask(self, method: str, url: str, document: object) -> Any:
        body = None if document is None else json.dumps(document).encode()
        headers = [("Content-Type", "application/json"), ("Connection", "close")]
        if body is not None:
            timestamp = str(int(self.clock()))
            signature = sign_webhook(SECRET, timestamp, body)
            headers += [(TIMESTAMP_HEADER, timestamp), (SIGNATURE_HEADER, signature)]
        response = await fetch(
            method,
            url,
            headers=headers,
            body=body,
            connect=self._connect,
            timeouts=Timeouts(),
            limits=Limits(),
        )
        assert response.status == 200, response
        return json.loads(response.body)

    async def _stream(self, url: str, call_id: str) -> None:
        encoder, mulaw = TwilioEncoder(), MediaFormat("mulaw", 8000, 1)
        started = Started("twilio", mulaw, ("inbound",), "MZ2", call_id, "AC1")
        messages = [
            *encoder.connected(),
            *encoder.start(started),
            *encoder.media("inbound", bytes(160), 0),
            *encoder.stop(),
        ]
        async with open_connected(
            url, connect=self._connect, limits=Limits(), timeouts=Timeouts()
        ) as socket:
            for message in messages:
                await socket.send(message)
            try:
                while True:
                    await socket.receive()
            except SocketClosed as exc:
                assert exc.code == 1000, exc


async def _listen_to(stream: MediaStream) -> None:
    async for frame in stream:
        assert frame.pcm and frame.samples > 0


async def _hear_of(event: CallEvent) -> None:
    await trio.lowlevel.checkpoint()
    assert event.call.id


APP = App(on_stream=_listen_to, on_event=_hear_of)


def settings(data: Path, timeouts: Timeouts, **more: Any) -> Config:
    """A receiver with everything on."""
    return Config(
        data=data,
        timeouts=timeouts,
        webhook_secret=SECRET,
        token_key=TOKEN_KEY,
        # The application never lags, whoever runs first; a burst of 2,000 messages is allowed.
        limits=Limits(hand_over=20.0, message_rate=200),
        insecure=True,
        record=True,
        capture=True,
        console=True,
        console_token=CONSOLE_TOKEN,
        **more,
    )


@asynccontextmanager
async def _serving(
    config: Config,
    connect: Connector,
    clock: Callable[[], float],
    *,
    listen: Listen = listen_tcp,
    disk: OpenDisk = ThreadDisk,
) -> AsyncIterator[Ground]:
    """Run a receiver for a block, then drain it."""

    async def run(task_status: trio.TaskStatus[Server]) -> None:  # noqa: ASYNC114, ASYNC128
        await serve(
            APP,
            config,
            listen=listen,
            disk=disk,
            clock=clock,
            annex=open_console,
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        server = await nursery.start(run)
        yield Ground(server, config, connect, clock)
        server.stop()


@asynccontextmanager
async def open_on_sockets(
    data: Path,
    certificates: Certificates | None,
    connect: Connector,
    timeouts: Timeouts,
    **more: Any,
) -> AsyncIterator[Ground]:
    """A receiver on a real port, in real time; over TLS where there are *certificates*."""
    config = settings(
        data,
        timeouts,
        listen="127.0.0.1:0",
        plain=certificates is None,
        tls_cert=certificates and certificates.cert,
        tls_key=certificates and certificates.key,
        **more,
    )
    async with _serving(config, connect, time.time) as ground:
        yield ground


@asynccontextmanager
async def open_in_memory(
    data: Path,
    certificates: Certificates | None,
    context: ssl.SSLContext | None,
    **more: Any,
) -> AsyncIterator[tuple[Ground, MemoryNetwork]]:
    """A receiver in memory, in virtual time; over TLS where there are *certificates*."""
    network = MemoryNetwork(context)
    host = HOST if certificates is None else "localhost"
    config = settings(
        data,
        Timeouts(silence=40.0),
        listen=f"{host}:443",
        plain=certificates is None,
        tls_cert=certificates and certificates.cert,
        tls_key=certificates and certificates.key,
        **more,
    )

    async def listen(host: str, port: int) -> list[trio.abc.Listener[trio.abc.Stream]]:
        await trio.lowlevel.checkpoint()
        return [network.listener(host, port)]

    def clock() -> float:
        return WALL + trio.current_time()

    async with _serving(config, network.connect, clock, listen=listen, disk=InlineDisk) as ground:
        yield ground, network
