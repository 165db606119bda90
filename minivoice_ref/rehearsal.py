"""Test calls at an application of yours, both ends in one program: real sockets, real TLS.

    async with open_rehearsal(App(on_stream=on_stream)) as rehearsal:
        report = await rehearsal.call(speak=10)

The receiver gets a certificate made on the spot (the extra `demo`), the simulator trusts it, and
time is real: what you see is what you would see with a telephone in the hand. For the platform
itself, run the same `App` with `serve_until_signal` and the settings of its machine.

It knows of the two sides only what an embedding program knows. For tests that should take no time
and no sockets there is `testing.open_memory_rehearsal`. Read next: `receiver/server.py`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from minivoice_ref.certificates import make_certificates
from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.net.connect import Connector, TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.report import CallReport, Moment

__all__ = ["Rehearsal", "open_rehearsal"]

_VISITORS = 200  # connections at once, which any process may have


def _ignore(_: Moment) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A running receiver, and how to place test calls at it.

    Whoever opens it says what is usual for a call, and which clock tells the Unix seconds.
    """

    server: Server
    _connect: Connector = field(repr=False)
    _usual: Mapping[str, Any] = field(repr=False)
    _clock: Callable[[], float] = field(default=time.time, repr=False)

    async def call(self, *, observe: Callable[[Moment], None] = _ignore, **plan: Any) -> CallReport:
        """Place one test call and report what came of it; *plan* has the fields of `CallPlan`.

        Several may run at once. Raises ConfigError where the plan cannot work. See `place_call`.
        """
        return await place_call(
            CallPlan(**{**self._usual, **plan}),
            connect=self._connect,
            observe=observe,
            clock=self._clock,
        )


@asynccontextmanager
async def open_rehearsal(app: App, **settings: Any) -> AsyncGenerator[Rehearsal, None]:
    """Serve *app* for a block: on a port of its own of this machine, drained when the block ends.

    *settings* are fields of `Config`; without `data`, what the receiver keeps is gone afterwards.
    Raises MiniVoiceError without the extra `demo`, and as `serve` does.
    """
    with tempfile.TemporaryDirectory(prefix="minivoice-") as name:
        files = await trio.to_thread.run_sync(make_certificates, Path(name))
        given: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "tls_cert": files.cert,
            "tls_key": files.key,
            "data": Path(name) / "data",
            "limits": Limits(connections=_VISITORS),
        }
        config = Config(**(given | settings))
        connect = TcpConnector(client_context(files.ca), Timeouts())
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(serve, app, config)
            usual = {
                "answer_url": server.urls.answer,
                "webhook_url": server.urls.webhooks,
                "webhook_secret": config.webhook_secret,
            }
            yield Rehearsal(server, connect, usual)
            server.stop()
