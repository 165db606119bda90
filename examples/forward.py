"""python examples/forward.py [ws://HOST:PORT]: hand the audio on to a WebSocket service.

Most who receive a stream do not listen to it themselves: a recogniser's server does. Such a server
is elsewhere, is restarted, is slow; the call goes on meanwhile, at 50 frames a second. So each
track has a way of its own to the service, with

- a queue of QUEUE seconds. When it is full, the oldest audio is dropped and counted: a recogniser
  that comes back wants to hear what is said now;
- a connection that is made anew when it breaks, after a pause that grows, and grows by chance too,
  so that a thousand streams do not all knock at once at a server that has just come back;
- deadlines for whatever the service is waited for. `open_connected`, the simulator's way to open a
  WebSocket, keeps them; and whatever comes back, its exceptions are of one kind, so that a server
  in trouble cannot end the stream.

What is said on the connection is what the Vosk server (github.com/alphacep/vosk-server) takes: a
text message with the sample rate, then 16-bit samples as binary messages, then {"eof": 1}; it
answers with {"partial": ...} and {"text": ...}. Change `greet`, `_use` and `_hear` for another.

Without an address it forwards to a service of its own, which breaks off once and is gone for a
moment, and places a test call at itself. For the platform, put serve_until_signal in that place.
"""

from __future__ import annotations

import json
import random
import sys
from collections import deque
from collections.abc import Callable
from functools import partial

import trio
from trio_websocket import WebSocketRequest, serve_websocket

from minivoice_ref import App, Frame, Limits, MediaStream, MiniVoiceError, Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.media_socket import MediaSocket, SocketClosed
from minivoice_ref.net.tls import client_context
from minivoice_ref.net.websocket import open_connected
from minivoice_ref.rehearsal import open_rehearsal

QUEUE = 5.0  # seconds of audio
DEADLINES = Timeouts(connect=5, upgrade=5, send=5, close=1)
CONNECT = TcpConnector(client_context(), DEADLINES)  # for wss it trusts the system's authorities
LAST_WORDS = 4.0  # seconds for what waits when the stream is over; `timeouts.finish` allows 5
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds between two attempts to connect


class Way:
    """The way of one track to the service. `put` may be called at any time, and never waits.

    All counts are samples: `sent` was taken by the connection, `dropped` was not, because the queue
    was full or because the stream was over. What was on its way when a connection broke may be
    lost with it; the service would have to acknowledge what it heard for us to know.
    """

    def __init__(
        self,
        url: str,
        sample_rate: int,
        on_result: Callable[[str], None],
    ) -> None:
        self._url = url
        self._sample_rate = sample_rate
        self._on_result = on_result
        self._queue: deque[Frame] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._finished = False
        self._pause = FIRST_PAUSE
        self.waiting = 0
        self.sent = 0
        self.dropped = 0
        self.connections = 0
        self.failures: list[str] = []  # the latest eight, for people

    def put(self, frame: Frame) -> None:
        """Send *frame* when its turn comes."""
        self._queue.append(frame)
        self.waiting += frame.samples
        while self.waiting > QUEUE * self._sample_rate:
            self.dropped += self._take().samples
        self._news.unpark_all()

    def finish(self) -> None:
        """Say that nothing more comes."""
        self._finished = True
        self._news.unpark_all()

    def give_up(self) -> None:
        """Count what waits as dropped."""
        while self._queue:
            self.dropped += self._take().samples

    def _take(self) -> Frame:
        frame = self._queue.popleft()
        self.waiting -= frame.samples
        return frame

    async def run(self) -> None:
        """Connect, send, and connect again, until `finish` was called and all is sent."""
        while self._queue or not self._finished:
            try:
                async with open_connected(
                    self._url, connect=CONNECT, limits=Limits(), timeouts=DEADLINES
                ) as socket:
                    self.connections += 1
                    await self._use(socket)
                    return
            except* MiniVoiceError as group:  # whatever the service does comes as one of these
                self._note(group)
            await trio.sleep(self._pause * random.uniform(0.5, 1.0))
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _note(self, group: BaseExceptionGroup[BaseException]) -> None:
        alone: BaseException = group
        while isinstance(alone, BaseExceptionGroup):
            alone = alone.exceptions[0]
        self.failures = [*self.failures[-7:], str(alone)]

    async def _use(self, socket: MediaSocket) -> None:
        """Send all there is, and hear what the service says to it."""
        async with trio.open_nursery() as nursery:
            heard_all = trio.Event()
            nursery.start_soon(self._hear, socket, heard_all)
            await socket.send(greet(self._sample_rate))
            await self._send(socket)
            await socket.send(json.dumps({"eof": 1}))
            await heard_all.wait()

    async def _send(self, socket: MediaSocket) -> None:
        while self._queue or not self._finished:
            if not self._queue:
                await self._news.park()
                continue
            frame = self._take()
            try:
                await socket.send(frame.pcm)
            except BaseException:
                self.dropped += frame.samples
                raise
            self.sent += frame.samples
            self._pause = FIRST_PAUSE  # it is well: the next time, try again at once

    async def _hear(self, socket: MediaSocket, heard_all: trio.Event) -> None:
        """Take the results. The service closes when it has heard {"eof": 1}, and not before."""
        try:
            while True:
                for message in await socket.receive():
                    if isinstance(message, str):
                        self._on_result(message)
        except SocketClosed:
            if self._queue or not self._finished:
                raise
            heard_all.set()


def greet(sample_rate: int) -> str:
    """The first message."""
    return json.dumps({"config": {"sample_rate": sample_rate}})


class Forward:
    """The application: each track of each stream goes its own way to the service."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def on_stream(self, stream: MediaStream) -> None:
        """Hand the stream on, and say at the end what became of its audio."""
        ways: dict[str, Way] = {}
        try:
            async with trio.open_nursery() as nursery:
                async for frame in stream:
                    if not frame.format.readable:
                        continue
                    if frame.track not in ways:
                        said = partial(self._said, frame.track)
                        ways[frame.track] = Way(self._url, frame.format.sample_rate, said)
                        nursery.start_soon(ways[frame.track].run)
                    ways[frame.track].put(frame)
                for way in ways.values():
                    way.finish()
                nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS
        finally:
            for track, way in ways.items():
                way.give_up()
                print(
                    f"{track}: {way.sent} samples sent, {way.dropped} dropped,"
                    f" {way.connections} connections, failures: {way.failures}",
                    flush=True,
                )

    def _said(self, track: str, result: str) -> None:
        """What a program of yours does with a result stands here; it must not wait."""
        print(f"{track}: {result[:200]!r}", flush=True)


class MoodyService:
    """Counts seconds instead of understanding; breaks off the first connection, and then rests."""

    def __init__(self) -> None:
        self._moods = deque([2.0])  # seconds of audio that a connection is borne with
        self._rests_until = 0.0

    async def __call__(self, request: WebSocketRequest) -> None:
        """Serve one connection."""
        if trio.current_time() < self._rests_until:
            return await request.reject(503)
        socket = await request.accept()
        patience = self._moods.popleft() if self._moods else float("inf")
        rate = json.loads(await socket.get_message())["config"]["sample_rate"]
        seconds = 0.0
        while isinstance(message := await socket.get_message(), bytes):
            before, seconds = seconds, seconds + len(message) / 2 / rate
            if int(seconds) > int(before):
                await socket.send_message(json.dumps({"partial": f"{int(seconds)} s of sound"}))
            if seconds > patience:
                self._rests_until = trio.current_time() + 1
                return await socket.aclose(1011)
        await socket.send_message(json.dumps({"text": f"{seconds:.2f} s of sound"}))


async def main(url: str | None) -> None:
    """Serve, and have one test call placed."""
    async with trio.open_nursery() as nursery:
        if url is None:
            serve = partial(serve_websocket, MoodyService(), "127.0.0.1", 0, None)
            service = await nursery.start(serve)
            url = f"ws://127.0.0.1:{service.port}"
        async with open_rehearsal(App(on_stream=Forward(url).on_stream)) as rehearsal:
            print(await rehearsal.call(speak=5))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if sys.argv[1:] else None)
