"""python examples/embedded.py CERT KEY [PORT]: the receiver inside a Trio program of your own.

`minivoice-ref cert certs` makes the two files. Then, from another terminal:

    minivoice-ref call --ca certs/ca.pem --answer-url https://localhost:8443/answer \\
        --webhook-url https://localhost:8443/webhooks

The server is one task of your nursery, beside whatever else your program does: here, saying once a
second how the calls are. They share what they know as tasks of one program do, without locks. The
server lives as long as you let it: here until the first call has ended, which the program learns
from the webhook, as a program of yours would.

What the server logs goes where your program's logging sends it: it is all below the logger
`minivoice_ref`, a name for each of the three logs.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import trio

from minivoice_ref import (
    Answer,
    AnswerRequest,
    App,
    CallEvent,
    Config,
    MediaStream,
    serve,
    start_stream,
)

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


async def main(cert: Path, key: Path, port: int) -> None:
    switchboard = Switchboard()
    app = App(switchboard.on_answer, switchboard.on_stream, switchboard.on_event)
    config = Config(listen=f"127.0.0.1:{port}", tls_cert=cert, tls_key=key)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(switchboard.report)
        server = await nursery.start(serve, app, config)
        print(f"answer_url {server.urls.answer}", flush=True)
        await switchboard.call_ended.wait()
        server.stop()  # drains: the nursery ends when the last call has
    print(f"loudest sample of each track: {switchboard.loudest}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), int((sys.argv[3:] or ["8443"])[0]))
