"""What does the console cost? A receiver with live calls, without viewers and with some.

The receiver and its console are real, and so are the viewers' WebSockets; a viewer is a browser's
side of the feed that reads and does nothing else, in a process and on a core of its own. The calls
are not: their frames are handed to the console 50 times a second and track, where a stream's
receiving task hands them over, so that what is measured is the console and not the receiving. A
call a second ends, and another one begins.

The cost is the processor time a second with viewers less that without, in percent of a core. The
longest step is how long any one task kept the event loop for itself, in processor time: the longest
that a stream could have had to wait. `late` is by how much a frame's turn did come late, other
programs of the machine included. The last viewers do what they can to be a burden: they ask for
everything ten times a second, and read none of it.

    python -m benchmarks.console --calls 100 --viewers 10
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from benchmarks.figures import Histogram, spread
from benchmarks.machine import two_cores
from benchmarks.table import Column, new_parser, print_table, write_results
from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.console import Console, open_console
from minivoice_ref.console.feed import encode
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_connected
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.media_stream import Frame
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.receiver.shared import Shared

_SETTLE = 1.5  # seconds before a measurement begins; no more than it lasts
_FORMAT = MediaFormat("mulaw", 8000, 1)
_TRACKS: tuple[Track, ...] = ("inbound", "outbound")
_NOTHING = "nothing: no viewer"
_BURDEN = "everything ten times a second, unread"
_LOOKS: dict[str, Callable[[int], dict[str, object]]] = {
    "the list": lambda number: {"calls": True},
    "the logs": lambda number: {"logs": True},
    "the same call": lambda number: {"call": "call_0"},
    "a call each": lambda number: {"call": f"call_{number}"},
    "a call each, listening": lambda number: {"call": f"call_{number}", "listen": True},
    _BURDEN: lambda number: {"calls": True, "logs": True, "call": f"call_{number}", "listen": True},
}
_COLUMNS: tuple[Column, ...] = (
    ("viewers look at", -40),
    ("% of a core", 16),
    ("longest step ms", 18),
    ("late p99 ms", 18),
)


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


def note_call(note: Callable[..., None], number: int) -> None:
    """Note the lines with which a call begins, up to its first media."""
    ids: dict[str, Any] = {"call_id": f"call_{number}", "stream_id": f"stream_{number}"}
    action = {"type": "start_stream", "track": "both", "stream_url": "wss://example.com/x"}
    note("answers", "answered", call_id=ids["call_id"], answer_id=f"a{number}", actions=[action])
    note("streams", "open", peer="192.0.2.1:1", path="/stream/x", headers=[], **ids)
    note("streams", "started", dialect="twilio", format="mulaw/8000/1", **ids)
    for track in _TRACKS:
        note("streams", "first_media", track=track, position=0, bytes=160, **ids)


class _Calls:
    """Calls that go on for ever at a console, one of them giving way to another each second."""

    def __init__(self, console: Console, shared: Shared, calls: int) -> None:
        self._console = console
        self._note = shared.journal.note
        self._next = 0
        self._streams: list[SpokenStream] = []
        self.late = Histogram()
        for _ in range(calls):
            self._begin()

    async def run(self) -> None:
        """Speak, for ever."""
        began = trio.current_time()
        tick = 0
        while True:
            for number, stream in enumerate(self._streams):
                stream.speak(tick)
                if (tick + number) % 250 == 0:
                    self._note("streams", "progress", **self._ids(stream), **stream.state())
            if tick % 50 == 49:
                self._replace()
            tick += 1
            await trio.sleep_until(began + tick * 0.02)
            self.late.add(trio.current_time() - began - tick * 0.02)

    def _begin(self) -> None:
        stream = SpokenStream(self._next)
        note_call(self._note, self._next)
        self._next += 1
        self._streams.append(stream)
        self._console.opened(stream)  # type: ignore[arg-type]  # as much as the console uses

    def _replace(self) -> None:
        """End the older half's last call; the first ones are those that viewers look at."""
        stream = self._streams.pop(len(self._streams) // 2)
        ids = self._ids(stream)
        self._note("streams", "disconnected", how="stopped", by="us", close_code=1000, **ids)
        self._note("streams", "account", **ids, **stream.state())
        self._note("webhooks", "accepted", event="call.completed", call_id=ids["call_id"])
        self._console.closed(stream)  # type: ignore[arg-type]
        self._begin()

    def _ids(self, stream: SpokenStream) -> dict[str, Any]:
        return {"call_id": stream.id.replace("stream", "call"), "stream_id": stream.id}


class _Steps(trio.abc.Instrument):
    """Finds the longest step of any task, in seconds of this thread's processor time."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._began = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Remember when a task goes on."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note for how long it went on."""
        self.longest = max(self.longest, time.thread_time() - self._began)


def main() -> int:
    """Measure and print; or be the viewers of a measurement."""
    parser = new_parser("console", __doc__, seconds=5, repeat=3)
    parser.add_argument("--calls", type=int, default=100, help="how many go on (default 100)")
    parser.add_argument("--viewers", type=int, default=10, help="how many look on (default 10)")
    parser.add_argument("--view", nargs=2, metavar=("HOST:PORT", "WHAT"), help=argparse.SUPPRESS)
    how = parser.parse_args()
    theirs, ours = two_cores()
    if how.view is not None:
        os.sched_setaffinity(0, {theirs})
        host, what = how.view
        trio.run(_view_all, host, what, how.viewers)
        return 0
    os.sched_setaffinity(0, {ours})
    runs = trio.run(_measure, how)
    print_table(_COLUMNS, [_row(what, runs) for what in (_NOTHING, *_LOOKS)])
    del how.view
    write_results(how.output, how, runs=runs)
    return 0


def _row(what: str, runs: list[dict[str, Any]]) -> list[object]:
    own = [run for run in runs if run["looking_at"] == what]
    names = ("percent_of_a_core", "longest_step_ms", "late_p99_ms")
    return [what, *(spread([run[name] for run in own]) for name in names)]


async def _measure(how: argparse.Namespace) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    consoles: list[tuple[Console, Shared]] = []

    def annex(shared: Shared, stop: trio.Event) -> Console:
        consoles.append((open_console(shared, stop), shared))
        return consoles[-1][0]

    with _settings() as config:
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(partial(serve, App(), config, annex=annex))
            assert server.urls.console is not None
            host = server.urls.console.removeprefix("http://").partition("/")[0]
            console, shared = consoles[0]
            calls = _Calls(console, shared, how.calls)
            nursery.start_soon(calls.run)
            for _ in range(how.repeat):
                idle = await _load(how.seconds, calls)
                runs.append({"looking_at": _NOTHING, **idle})
                for what in _LOOKS:
                    found = await _load_of_viewers(host, what, console, calls, how)
                    found["percent_of_a_core"] -= idle["percent_of_a_core"]
                    runs.append({"looking_at": what, **found})
            nursery.cancel_scope.cancel()
    for run in runs:
        run["percent_of_a_core"] = round(run["percent_of_a_core"], 2)
    return runs


@contextmanager
def _settings() -> Iterator[Config]:
    with tempfile.TemporaryDirectory() as data:
        yield Config(
            listen="127.0.0.1:0",
            plain=True,
            public_url="https://media.example.com",
            data=Path(data),
            console=True,
            console_listen="127.0.0.1:0",
            console_token="a token of the benchmark",
        )


async def _load_of_viewers(
    host: str, what: str, console: Console, calls: _Calls, how: argparse.Namespace
) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.console", "--view", host, what]
    viewers = await trio.lowlevel.open_process([*command, "--viewers", str(how.viewers)])
    while console.feed.viewers < how.viewers:  # noqa: ASYNC110
        await trio.sleep(0.1)
    found = await _load(how.seconds, calls)
    viewers.terminate()
    await viewers.wait()
    while console.feed.viewers:  # noqa: ASYNC110
        await trio.sleep(0.1)
    return found


async def _load(seconds: float, calls: _Calls) -> dict[str, Any]:
    """How much of a core this process uses, and how late the frames' turns come meanwhile."""
    await trio.sleep(min(_SETTLE, seconds))
    steps = _Steps()
    trio.lowlevel.add_instrument(steps)
    calls.late = Histogram()
    before, began = time.process_time(), trio.current_time()
    await trio.sleep(seconds)
    used, lasted = time.process_time() - before, trio.current_time() - began
    trio.lowlevel.remove_instrument(steps)
    return {
        "percent_of_a_core": 100 * used / lasted,
        "longest_step_ms": round(1000 * steps.longest, 2),
        "late_p99_ms": calls.late.percentile(99),
    }


async def _view_all(host: str, what: str, viewers: int) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(viewers):
            nursery.start_soon(_view, host, what, _LOOKS[what](number))


async def _view(host: str, what: str, wants: dict[str, object]) -> None:
    """Be a browser that looks at something."""
    async with open_connected(
        f"ws://{host}/console/feed",
        connect=TcpConnector(client_context(), Timeouts()),
        headers=(("Authorization", "Bearer a token of the benchmark"),),
        limits=Limits(message=64 * 1024 * 1024),
        timeouts=Timeouts(),
    ) as socket:
        try:
            await (_burden if what == _BURDEN else _read)(socket, encode({"do": "look", **wants}))
        except SocketClosed:
            pass


async def _read(socket: MediaSocket, look: str) -> None:
    await socket.send(look)
    while True:
        await socket.receive()


async def _burden(socket: MediaSocket, look: str) -> None:
    while True:
        await socket.send(look)
        await trio.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
