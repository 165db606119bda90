"""python examples/embedded.py [CERT KEY [PORT]]: the receiver inside a Trio program of your own.

The server is one task of your nursery, beside whatever else your program does: here, saying once a
second how the calls are. They share what they know as tasks of one program do, without locks. The
server lives as long as you let it: here until the first call has ended, which the program learns
from the webhook, as a program of yours would.

What the server logs goes where your program's logging sends it: it is all below the logger
`minivoice_ref`, a name for each of the three logs.

Without a certificate it makes one and places a test call at itself, which is one more task of the
same nursery. `minivoice-ref cert certs` makes one to keep; then call from another terminal:

    minivoice-ref call --ca certs/ca.pem --answer-url https://localhost:8443/answer \\
        --webhook-url https://localhost:8443/webhooks
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

import trio

from minivoice_ref import (
    Answer,
    AnswerRequest,
    App,
    CallEvent,
    Config,
    MediaStream,
    Timeouts,
    Urls,
    serve,
    start_stream,
)
from minivoice_ref.certificates import make_certificates
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.simulator.call import CallPlan, place_call

log = logging.getLogger("switchboard")


class Switchboard:
    """What this program knows: how each call is, how loud each track was."""

    def __init__(self) -> None:
        self.calls: dict[str, str] = {}
        self.loudest: dict[str, int] = {}
        self.call_ended = trio.Event()

    async def on_answer(self, request: AnswerRequest) -> Answer:
        """Stream the caller only: the narrowest track that solves the problem."""
        return Answer(start_stream(request.stream_url(), track="inbound"))

    async def on_stream(self, stream: MediaStream) -> None:
        """Look at every frame of 16-bit samples as it comes."""
        async for frame in stream:
            peak = max(map(abs, memoryview(frame.pcm).cast("h")), default=0)
            self.loudest[frame.track] = max(peak, self.loudest.get(frame.track, 0))

    async def on_event(self, event: CallEvent) -> None:
        """Note how the call is."""
        log.info("%s: %s", event.call.id, event.event)
        self.calls[event.call.id] = event.event
        if event.ends_call:
            self.call_ended.set()

    async def report(self) -> None:
        """Say how the calls are, once a second, until the first one has ended."""
        while not self.call_ended.is_set():
            log.info("calls: %s, loudest sample of each track: %s", self.calls, self.loudest)
            with trio.move_on_after(1):
                await self.call_ended.wait()


async def rehearse(urls: Urls, ca: Path) -> None:
    """Place a test call at ourselves."""
    plan = CallPlan(answer_url=urls.answer, webhook_url=urls.webhooks, speak=6)
    connect = TcpConnector(client_context(ca), Timeouts())
    log.info("%s", await place_call(plan, connect=connect))


async def main(cert: Path, key: Path, port: int, ca: Path | None = None) -> None:
    """Run all of it in one nursery; it is over when the last of its tasks is."""
    switchboard = Switchboard()
    app = App(switchboard.on_answer, switchboard.on_stream, switchboard.on_event)
    config = Config(listen=f"127.0.0.1:{port}", tls_cert=cert, tls_key=key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(switchboard.report)
        server = await nursery.start(serve, app, config)
        print(f"answer_url {server.urls.answer}", flush=True)
        if ca is not None:
            nursery.start_soon(rehearse, server.urls, ca)
        await switchboard.call_ended.wait()
        server.stop()  # drains: the nursery ends when the last call has
    print(f"loudest sample of each track: {switchboard.loudest}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    if sys.argv[1:]:
        trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), int((sys.argv[3:] or ["8443"])[0]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            made = make_certificates(Path(folder))
            trio.run(main, made.cert, made.key, 0, made.ca)
