"""What does the console cost? A receiver with live calls, without viewers and with some.

The receiver and its console are real, and so are the viewers' WebSockets; a viewer is a browser's
side of the feed that reads and does nothing else, in a process and on a core of its own. The calls
are not: their frames are handed to the console 50 times a second and track, where a stream's
receiving task hands them over, so that what is measured is the console and not the receiving. The
cost is the processor time a second with viewers less that without, in percent of a core.

    python -m benchmarks.console --calls 100 --viewers 10 --seconds 10
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.machine import describe_machine, two_cores
from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.console import Console, open_console
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import SocketClosed, open_connected
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.media_stream import Frame
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.receiver.shared import Shared

_SETTLE = 1.5  # seconds before a measurement begins
_FORMAT = MediaFormat("mulaw", 8000, 1)
_TRACKS: tuple[Track, ...] = ("inbound", "outbound")
_LOOKS: dict[str, Callable[[int], dict[str, object]]] = {
    "the list": lambda number: {"calls": True},
    "the logs": lambda number: {"logs": True},
    "the same call": lambda number: {"call": "call_0"},
    "a call each": lambda number: {"call": f"call_{number}"},
    "a call each, listening": lambda number: {"call": f"call_{number}", "listen": True},
}


class SpokenStream:
    """An open stream whose frames are made here; see `receiver.annex.LiveStream`."""

    def __init__(self, number: int) -> None:
        self.id = f"stream_{number}"
        self.take: Callable[[Frame], None] | None = None
        sound = random.Random(number).randbytes(16000)
        self._frames = [sound[at : at + 160] for at in range(0, 16000, 160)]

    def tap(self, take: Callable[[Frame], None] | None) -> None:
        """Have *take* called with each frame."""
        self.take = take

    def state(self) -> dict[str, Any]:
        """Sums of the usual shape."""
        names = "first end expected received lost repeated late reordered silence discarded jumps"
        sums = {"frames": 1, "seconds": 1.0, **dict.fromkeys(names.split(), 1)}
        return {"messages": 1, "bytes": 1, "tracks": {track: sums for track in _TRACKS}, "gaps": 0}

    def speak(self, tick: int) -> None:
        """Hand over 20 ms of both tracks."""
        payload = self._frames[tick % len(self._frames)]
        for track in _TRACKS:
            frame = Frame(track, tick * 160, payload, _FORMAT)
            if self.take is not None:
                self.take(frame)


def main() -> int:
    """Measure and print; or be the viewers of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--view", nargs=2, metavar=("HOST:PORT", "WHAT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    theirs, ours = two_cores()
    if arguments.view is not None:
        os.sched_setaffinity(0, {theirs})
        host, what = arguments.view
        trio.run(_view_all, host, what, arguments.viewers)
        return 0
    os.sched_setaffinity(0, {ours})
    figures = trio.run(_measure, arguments)
    print(json.dumps({"machine": describe_machine(), "figures": figures}, indent=2))
    return 0


async def _measure(arguments: argparse.Namespace) -> dict[str, float]:
    consoles: list[tuple[Console, Shared]] = []

    def annex(shared: Shared, stop: trio.Event) -> Console:
        consoles.append((open_console(shared, stop), shared))
        return consoles[-1][0]

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as data:
        config = Config(
            listen="127.0.0.1:0",
            plain=True,
            data=Path(data),
            console=True,
            console_listen="127.0.0.1:0",
        )
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(partial(serve, App(), config, annex=annex))
            assert server.urls.console is not None
            host = server.urls.console.removeprefix("http://").partition("/")[0]
            nursery.start_soon(_speak, *consoles[0], arguments.calls)
            idle = await _load(arguments.seconds)
            figures["no viewer, the calls of this program"] = idle
            for what in _LOOKS:
                command = [sys.executable, "-m", "benchmarks.console", "--view", host, what]
                command += ["--viewers", str(arguments.viewers)]
                viewers = await trio.lowlevel.open_process(command)
                while consoles[0][0].feed.viewers < arguments.viewers:  # noqa: ASYNC110
                    await trio.sleep(0.1)
                figures[what] = await _load(arguments.seconds) - idle
                viewers.terminate()
                await viewers.wait()
            nursery.cancel_scope.cancel()
    return {what: round(percent, 1) for what, percent in figures.items()}


async def _speak(console: Console, shared: Shared, calls: int) -> None:
    """Let so many calls go on, for ever: their frames, and the lines of their logs."""
    streams = [SpokenStream(number) for number in range(calls)]
    note = shared.journal.note
    for number, stream in enumerate(streams):
        ids: dict[str, Any] = {"call_id": f"call_{number}", "stream_id": stream.id}
        action = {"type": "start_stream", "track": "both", "stream_url": "wss://example.com/x"}
        note(
            "answers", "answered", call_id=ids["call_id"], answer_id=f"a{number}", actions=[action]
        )
        note("streams", "open", peer="192.0.2.1:1", path="/stream/x", headers=[], **ids)
        note("streams", "started", dialect="twilio", format="mulaw/8000/1", **ids)
        for track in _TRACKS:
            note("streams", "first_media", track=track, position=0, bytes=160, **ids)
        console.opened(stream)  # type: ignore[arg-type]  # as much of one as the console uses
    began = trio.current_time()
    tick = 0
    while True:
        for number, stream in enumerate(streams):
            stream.speak(tick)
            if (tick + number) % 250 == 0:
                state = stream.state()
                note("streams", "progress", call_id=f"call_{number}", stream_id=stream.id, **state)
        tick += 1
        await trio.sleep_until(began + tick * 0.02)


async def _load(seconds: float) -> float:
    """Percent of a core that this process uses."""
    await trio.sleep(_SETTLE)
    before, began = time.process_time(), trio.current_time()
    await trio.sleep(seconds)
    return 100 * (time.process_time() - before) / (trio.current_time() - began)


async def _view_all(host: str, what: str, viewers: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(viewers):
            nursery.start_soon(_view, host, _LOOKS[what](number))


async def _view(host: str, wants: dict[str, object]) -> None:
    """Be a browser that looks at something."""
    async with open_connected(
        f"ws://{host}/console/feed",
        connect=TcpConnector(client_context(), Timeouts()),
        headers=(("Origin", f"http://{host}"),),
        limits=Limits(message=64 * 1024 * 1024),
        timeouts=Timeouts(),
    ) as socket:
        await socket.send(json.dumps({"do": "look", **wants}))
        try:
            while True:
                await socket.receive()
        except SocketClosed:
            pass


if __name__ == "__main__":
    sys.exit(main())
