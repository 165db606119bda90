"""python examples/live_transcription.py [SECONDS]: both speakers' words, while they speak.

Needs the extra `transcribe` (pip install '.[demo,transcribe]'), which brings the recogniser
Moonshine with a small English model; nothing is fetched when it runs. Each line says whose words
they are, when they were spoken, and how far the text lags behind the audio.

For each party the recogniser needs a processor for about a sixth of the time, in steps of up to a
second. None of that may be felt where audio is received, so the work is laid out like this:

    on_stream            takes frames at once, puts each into its track's `Ear`
    └─ Ear.run           one a track: takes all that waits, hands it to a worker thread
       └─ Engine.hear    in the thread: 16-bit samples in, lines out

An `Ear` that is waited for keeps BEHIND seconds of audio. When the recogniser is slower than the
speakers for longer than that, the oldest audio is left out, which is counted and said: the words of
now are worth more than those of then. What is left out, or was lost on the way, the recogniser gets
as silence, so that its clock and the stream's stay one.

It places a test call at itself. For the platform, put serve_until_signal in that place.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

import trio

from minivoice_ref import App, Frame, MediaStream, Timeouts
from minivoice_ref.rehearsal import open_rehearsal

BEHIND = 10.0  # seconds of audio that wait for the recogniser
STEP = 0.25  # seconds of audio that are worth a visit to a thread
LONGEST_SILENCE = 30.0  # seconds that are put in the place of what is missing
LAST_WORDS = Timeouts(finish=15)  # seconds for what still waits when a stream is over
LINES_AT_ONCE = 20  # after so many the recogniser begins anew, or it would carry the whole call
NAMES = {"inbound": "caller", "outbound": "agent", "mixed": "both"}

#: Worker threads for recognisers: as many as there are processors, whatever else needs threads.
THREADS = trio.CapacityLimiter(os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Line:
    """What a recogniser understood: from `begin` to `end`, in seconds of what it was given."""

    begin: float
    end: float
    text: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Words:
    """A line of one party. It comes again with more words until it is `complete`.

    `lag` is how many seconds of the party's audio had come after `end` when the text was there.
    """

    stream_id: str
    track: str
    line: Line
    lag: float

    def __str__(self) -> str:
        line = self.line
        mark = f"lag {self.lag:.1f} s" if self.line.complete else "..."
        return f"{line.begin:6.1f} s  {NAMES[self.track]:<6}  {line.text}  ({mark})"


class Engine(Protocol):
    """A recogniser of one party. Its methods take their time, and are called in a thread.

    They do not raise: a call must not suffer from a recogniser. What failed goes into `troubles`.
    """

    troubles: list[str]

    def hear(self, pcm: bytes, sample_rate: int) -> list[Line]:
        """Hear the next 16-bit samples; return the lines that are new or have changed."""

    def finish(self) -> list[Line]:
        """Return what is left when no more comes."""


class Moonshine:
    """The recogniser of the extra `transcribe`. Loading its model takes a second and 100 MB."""

    def __init__(self) -> None:
        # Imported here, so that who has an engine of their own needs no extra.
        library = import_module("moonshine_voice.transcriber")
        model = Path(library.__file__ or "").parent / "assets" / "tiny-en"
        options = {"return_audio_data": "false"}  # or each answer would have all audio so far
        self._transcriber = library.Transcriber(model, library.ModelArch.TINY, options=options)
        self._error: type[Exception] = library.MoonshineError
        self.troubles: list[str] = []
        self._begin(0.0)

    def _begin(self, at: float) -> None:
        """Begin anew, with what comes at *at* seconds."""
        self._began = self._heard = at
        self._latest: dict[int, Line] = {}
        self._changed: list[Line] = []
        self._stream = self._transcriber.create_stream(update_interval=1.0)
        self._stream.add_listener(self._note)
        self._stream.start()

    def _note(self, event: object) -> None:
        """Take what the recogniser says: of one of its lines, or that its last step failed."""
        if (error := getattr(event, "error", None)) is not None:
            self.troubles.append(str(error))
        if (told := getattr(event, "line", None)) is None or not (text := told.text.strip()):
            return
        begin = self._began + told.start_time
        line = Line(begin, begin + told.duration, text, told.is_complete)
        known = self._latest.get(told.line_id)
        if known is None or (known.text, known.complete) != (line.text, line.complete):
            self._latest[told.line_id] = line
            self._changed.append(line)

    def hear(self, pcm: bytes, sample_rate: int) -> list[Line]:
        """See `Engine`. A failure costs what was not understood yet; it begins anew behind it."""
        samples = [sample / 32768 for sample in array("h", pcm)]
        self._heard += len(samples) / sample_rate
        try:
            self._stream.add_audio(samples, sample_rate)
        except self._error as exc:
            self.troubles.append(str(exc))
            return self._begin_anew()
        lines, self._changed = self._changed, []
        whole = all(line.complete for line in self._latest.values())
        if whole and len(self._latest) >= LINES_AT_ONCE:
            lines += self._begin_anew()
        return lines

    def finish(self) -> list[Line]:
        """See `Engine`. Afterwards this one is ready for another party."""
        lines = self._end()
        self._begin(0.0)
        return lines

    def _begin_anew(self) -> list[Line]:
        """End, and begin again at once; return what was left."""
        lines, heard = self._end(), self._heard
        self._begin(heard)
        return lines

    def _end(self) -> list[Line]:
        """End; a line that the recogniser did not complete is as complete as it will be."""
        try:
            self._stream.stop()  # says in an event, as `_note` hears, if its last step fails
        except self._error as exc:
            self.troubles.append(str(exc))
        self._stream.close()
        told = [line for line in self._changed if line.complete]
        left = [line for line in self._latest.values() if not line.complete]
        return told + [replace(line, complete=True) for line in left]


class Ear:
    """One party's audio on its way to the recogniser. `put` never waits. Counts are samples.

    *on_line* gets each line, in the stream's time, with its lag. *say* is told of trouble.
    """

    def __init__(
        self,
        sample_rate: int,
        on_line: Callable[[Line, float], None],
        say: Callable[[str], None],
    ) -> None:
        self._rate = sample_rate
        self._on_line = on_line
        self._say = say
        self._queue: deque[Frame] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._finished = False
        self._next: int | None = None  # the position that the recogniser hears next
        self._first = 0  # the position at which its clock stood at zero
        self._newest = 0  # the position up to which audio has come
        self._lagging = False
        self.waiting = 0
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Take a frame, at the cost of the oldest where the recogniser is too slow."""
        self._queue.append(frame)
        self.waiting += frame.samples
        self._newest = max(self._newest, frame.position + frame.samples)
        while self.waiting > BEHIND * self._rate:
            self.dropped += self._take().samples
            if not self._lagging:
                self._lagging = True
                self._say(f"more than {BEHIND:g} s behind: the oldest audio is left out")
        if self.waiting >= STEP * self._rate:
            self._news.unpark_all()

    def finish(self) -> None:
        """Say that nothing more comes."""
        self._finished = True
        self._news.unpark_all()

    def _take(self) -> Frame:
        frame = self._queue.popleft()
        self.waiting -= frame.samples
        return frame

    async def run(self, engine: Engine) -> None:
        """Have all that comes heard, until `finish` was called. Cancelled, a step is finished."""
        while self._queue or not self._finished:
            if self.waiting < STEP * self._rate and not self._finished:
                await self._news.park()
                continue
            if self._lagging:
                self._lagging = False
                self._say(f"{self.dropped / self._rate:.1f} s have been left out so far")
            pcm = b"".join([self._in_place(self._take()) for _ in range(len(self._queue))])
            await self._tell(engine, partial(engine.hear, pcm, self._rate))
        await self._tell(engine, engine.finish)

    def _in_place(self, frame: Frame) -> bytes:
        """The samples of *frame*, behind silence for what is missing before it.

        A piece that came too late is left out: the recogniser has passed its place.
        """
        if self._next is None:
            self._next = self._first = frame.position
        gap = frame.position - self._next
        if gap < 0:
            return b""
        silence = min(gap, int(LONGEST_SILENCE * self._rate))
        self._first += gap - silence
        self._next = frame.position + frame.samples
        return bytes(2 * silence) + frame.pcm

    async def _tell(self, engine: Engine, work: Callable[[], Sequence[Line]]) -> None:
        """Do some of the work in a thread, and hand on what came of it."""
        lines = await trio.to_thread.run_sync(work, limiter=THREADS)
        while engine.troubles:
            self._say(f"the recogniser failed: {engine.troubles.pop(0)}")
        for line in lines:
            begin, end = (self._first / self._rate + at for at in (line.begin, line.end))
            lag = max(0.0, self._newest / self._rate - end)
            self._on_line(Line(begin, end, line.text, line.complete), lag)


class Transcription:
    """The application: the words of every stream go to *on_words* as soon as they are known."""

    def __init__(
        self,
        on_words: Callable[[Words], None],
        new_engine: Callable[[], Engine] = Moonshine,
    ) -> None:
        self._on_words = on_words
        self._new_engine = new_engine
        self._idle: list[Engine] = []

    async def prepare(self, parties: int) -> None:
        """Load recognisers, so that the first calls need not wait for them."""
        for _ in range(parties):
            self._idle.append(await self._load())

    async def _load(self) -> Engine:
        return await trio.to_thread.run_sync(self._new_engine, limiter=THREADS)

    async def on_stream(self, stream: MediaStream) -> None:
        """Transcribe one stream, each track for itself."""
        ears: dict[str, Ear] = {}
        async with trio.open_nursery() as nursery:
            async for frame in stream:
                if not frame.format.readable:
                    continue
                if frame.track not in ears:
                    ears[frame.track] = self._new_ear(stream, frame)
                    nursery.start_soon(self._listen, ears[frame.track])
                ears[frame.track].put(frame)
            for ear in ears.values():
                ear.finish()

    def _new_ear(self, stream: MediaStream, frame: Frame) -> Ear:
        def on_line(line: Line, lag: float) -> None:
            self._on_words(Words(stream.id, frame.track, line, lag))

        def say(trouble: str) -> None:
            print(f"{stream.call_id}, {NAMES[frame.track]}: {trouble}", flush=True)

        return Ear(frame.format.sample_rate, on_line, say)

    async def _listen(self, ear: Ear) -> None:
        """Lend an ear a recogniser, for as long as the party speaks."""
        engine = self._idle.pop() if self._idle else await self._load()
        await ear.run(engine)
        self._idle.append(engine)


def show(words: Words) -> None:
    """Print a line; on a terminal, one that is not complete is drawn over by the next."""
    draws = sys.stdout.isatty()
    clear, end = ("\x1b[2K", "\n" if words.line.complete else "\r") if draws else ("", "\n")
    print(f"{clear}{words}", end=end, flush=True)


async def main(speak: float) -> None:
    """Serve, and have one test call placed."""
    transcription = Transcription(show)
    await transcription.prepare(2)
    app = App(on_stream=transcription.on_stream)
    async with open_rehearsal(app, timeouts=LAST_WORDS) as rehearsal:
        print(await rehearsal.call(speak=speak))


if __name__ == "__main__":
    trio.run(main, float((sys.argv[1:] or ["21"])[0]))  # the packaged conversation lasts 21 s
