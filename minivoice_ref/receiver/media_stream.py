"""A media stream as the application sees it: frames, in order, from a queue that cannot grow.

The receiving task puts frames in, `on_stream` takes them out. The queue holds so many *seconds of
audio* of each track (the limit `hand_over`), because seconds are what lag is felt in. When a
track's share is full, its oldest audio is dropped and counted: a listener that fell behind wants
to hear what is said now, and the platform must never wait for it (its documentation: process or
forward media quickly; what a slow consumer leaves lying, the platform throws away).

This module knows neither sockets nor logs. Read next: `intake.py`, which fills the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from minivoice_ref.protocol.audio import to_pcm
from minivoice_ref.protocol.media import Digit, Mark, MediaFormat, Started, Track, Unknown
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.receiver.endings import ABORTED, CLOSED_BY_APPLICATION, Ending

__all__ = ["Frame", "HandOver", "MediaStream", "StreamItem", "StreamItems"]

_MOST_OTHERS = 64  # digits, marks and unknown messages that wait
_MOST_PIECES = 4096  # eight times what both tracks bring in five seconds, in pieces of 20 ms
_AT_A_STRETCH = 64  # items taken between two turns of the others: more than a read brings of audio


@dataclass(slots=True)
class Frame:
    """A piece of audio of one track, mono, at its place. To be read and not changed: others see it.

    `position` is where its first sample belongs, in samples from the start of the stream. A piece
    that the platform sent late has a position before that of its predecessor. What the platform
    sent twice is handed over once. Where the platform named a codec that nobody here can read
    (`format.readable` is false), the payload is as it was sent and there are no samples.
    """

    # Not frozen: that would cost most of a microsecond, and one is made for each message.
    track: Track
    position: int
    payload: bytes = field(repr=False)
    format: MediaFormat
    _pcm: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def samples(self) -> int:
        """Whole samples in the payload."""
        return self.format.samples(len(self.payload))

    @property
    def seconds(self) -> float:
        """How long the frame lasts."""
        return self.format.seconds(self.samples)

    @property
    def pcm(self) -> bytes:
        """The audio as 16-bit little-endian samples, decoded when it is first asked for.

        Empty where the codec is unknown.
        """
        if self._pcm is None:
            self._pcm = to_pcm(self.payload, self.format) if self.format.readable else b""
        return self._pcm


StreamItem: TypeAlias = Frame | Digit | Mark | Unknown
"""What a stream hands over: audio, and what else came between."""

_Waiting: TypeAlias = tuple[Track | None, int, StreamItem]
"""An item in the queue: whose share it takes, how much of it, itself. Audio takes samples of its
track's share; whatever else there is takes one of a share that they have together."""


class HandOver:
    """The queue between the receiving task and the application. All but `next_*` is synchronous.

    When a track has *seconds* waiting, the oldest frames of that track are dropped to make room,
    and *on_lag* is called with True; it is called with False when the application has taken all
    that waited. A single frame longer than that is kept. However short the frames are, 4096 wait at
    most, or a peer that sends them by the sample would fill the memory. Of other items, among them
    frames of which nobody knows how long they are, 64 wait at most, and the oldest are dropped and
    counted as well.
    """

    def __init__(self, seconds: float, on_lag: Callable[[bool], None]) -> None:
        self._seconds = seconds
        self._on_lag = on_lag
        self._waiting: deque[_Waiting] = deque()
        self._samples: dict[Track, int] = {}
        self._others = 0
        self._takers: list[trio.lowlevel.Task] = []  # who waits for something
        self._at_a_stretch = 0
        self._finished = False
        self._unwanted = False
        self.lagging = False
        self.dropped: dict[Track, int] = {}
        self.dropped_others = 0

    def put(self, item: StreamItem) -> None:
        """Add an item, at the cost of the oldest where there is no room."""
        if type(item) is Frame and item.format.readable:
            self.put_audio(item, item.samples)
        elif not self._unwanted:
            self._waiting.append((None, 1, item))
            self._others += 1
            if self._others > _MOST_OTHERS:
                self._others -= self._drop_oldest(None)
                self.dropped_others += 1
            self._wake()

    def put_audio(self, frame: Frame, samples: int) -> None:
        """Add a frame of so many samples, as `put` does: for who has counted them already."""
        if self._unwanted:
            return
        track = frame.track
        self._waiting.append((track, samples, frame))
        samples += self._samples.get(track, 0)
        self._samples[track] = samples
        if samples > (room := self._seconds * frame.format.sample_rate):
            self._drop_audio(track, room)
        if len(self._waiting) > _MOST_PIECES:
            self._drop_first_piece()
        if self._takers:
            self._wake()

    def _wake(self) -> None:
        """Wake all who wait. A parking lot would do the same, at three times the cost."""
        for task in self._takers:
            trio.lowlevel.reschedule(task)
        self._takers.clear()

    def _drop_audio(self, track: Track, room: float) -> None:
        """Drop the oldest frames of *track* until what waits fits, or the newest is alone."""
        while self._samples[track] > room and (lost := self._drop_oldest(track)):
            self._note_dropped(track, lost)

    def _drop_first_piece(self) -> None:
        """Drop the oldest frame of all."""
        for place, (owner, size, _) in enumerate(self._waiting):
            if owner is not None:
                del self._waiting[place]
                return self._note_dropped(owner, size)

    def _note_dropped(self, track: Track, samples: int) -> None:
        self._samples[track] -= samples
        self.dropped[track] = self.dropped.get(track, 0) + samples
        if not self.lagging:
            self.lagging = True
            self._on_lag(True)

    def _drop_oldest(self, share: Track | None) -> int:
        """Drop the oldest item of one share, unless it is the newest of all; return its size."""
        for place, (owner, size, _) in enumerate(self._waiting):
            if owner == share and place < len(self._waiting) - 1:
                del self._waiting[place]  # near the left end, where that costs nothing
                return size
        return 0

    def waiting(self) -> dict[Track, int]:
        """The samples that wait, of each track."""
        return dict(self._samples)

    @property
    def pieces(self) -> int:
        """How many items wait."""
        return len(self._waiting)

    def take(self, most: int) -> list[tuple[StreamItem, int]]:
        """Take what waits, the oldest *most* items of it, each with what it takes of its share.

        That is the samples of a frame, as it was put. Does not wait: for who comes by himself.
        """
        taken: list[tuple[StreamItem, int]] = []
        while self._waiting and len(taken) < most:
            share, size, item = self._waiting.popleft()
            if share is None:
                self._others -= size
            else:
                self._samples[share] -= size
            taken.append((item, size))
        if self.lagging and not self._waiting:
            self.lagging = False
            self._on_lag(False)
        return taken

    def finish(self) -> None:
        """Say that nothing more comes. What waits can still be taken."""
        self._finished = True
        self._wake()

    def discard(self) -> None:
        """Say that nobody takes anything any more: what waits and what comes is let go."""
        self._unwanted = True
        self._waiting.clear()
        self._samples.clear()
        self._others = 0
        self.lagging = False

    async def next_item(self) -> StreamItem:  # noqa: ASYNC910  # see below
        """Take the oldest item, waiting for one where there is none.

        Cancelled, nothing is taken. Raises StopAsyncIteration when all is taken and no more comes:
        this is the step of a loop.
        """
        # A turn of the loop costs more than all else that is done for a frame. So who finds several
        # items here takes some at a stretch; that it may be cancelled is seen each time.
        if self._waiting and self._at_a_stretch < _AT_A_STRETCH:
            self._at_a_stretch += 1
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._at_a_stretch = 0
            await self._wait()
        share, size, item = self._waiting.popleft()
        if share is None:
            self._others -= size
        else:
            self._samples[share] -= size
        if self.lagging and not self._waiting:
            self.lagging = False
            self._on_lag(False)
        return item

    async def next_frame(self) -> Frame:  # noqa: ASYNC910  # as above
        """Take the oldest frame as `next_item` does, and what waits before it."""
        while True:
            item = await self.next_item()
            if type(item) is Frame:
                return item

    async def _wait(self) -> None:  # noqa: ASYNC910  # it waits, gives a turn, or raises
        """Give the others a turn; return as soon as something waits. Raises StopAsyncIteration."""
        if self._waiting or self._finished:
            await trio.lowlevel.checkpoint()
        while not self._waiting:  # noqa: ASYNC913  # waiting is a checkpoint
            if self._finished:
                raise StopAsyncIteration
            task = trio.lowlevel.current_task()
            self._takers.append(task)

            def abort(_: object, task: trio.lowlevel.Task = task) -> trio.lowlevel.Abort:
                self._takers.remove(task)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)


class StreamItems:
    """Iterates over everything that a stream hands over."""

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over

    def __aiter__(self) -> StreamItems:
        return self

    def __anext__(self) -> Awaitable[StreamItem]:
        return self._hand_over.next_item()


class MediaStream:
    """One media stream, handed to `on_stream` when it has started.

    Iterate over it for its frames, or over `events()` for all it brings; either ends when the
    stream has ended and all that waited is taken. Each item is handed over once, whichever way.
    """

    def __init__(
        self,
        stream_id: str,
        call_id: str | None,
        started: Started,
        hand_over: HandOver,
        *,
        accounts: Callable[[], Mapping[Track, Account]],
        end: Callable[[Ending], None],
    ) -> None:
        self.id = stream_id
        self.call_id = call_id
        self.started = started
        self._hand_over = hand_over
        self._accounts = accounts
        self._end = end

    def __repr__(self) -> str:
        return f"<MediaStream {self.id} of call {self.call_id!r}>"

    @property
    def account(self) -> Mapping[Track, Account]:
        """What came and what was lost so far, for each track that was heard."""
        return self._accounts()

    @property
    def dropped(self) -> Mapping[Track, int]:
        """Samples that were dropped before the application took them, of each track."""
        return dict(self._hand_over.dropped)

    def __aiter__(self) -> MediaStream:
        return self

    def __anext__(self) -> Awaitable[Frame]:
        """The next frame; digits, marks and unknown messages before it are passed over."""
        return self._hand_over.next_frame()

    def events(self) -> StreamItems:
        """Iterate over frames, digits, marks and unknown messages as they came."""
        return StreamItems(self._hand_over)

    def close(self) -> None:
        """Ask that the stream be closed, with 1000. What waits can still be taken."""
        self._end(CLOSED_BY_APPLICATION)

    def abort(self) -> None:
        """Ask that the connection be broken without a goodbye: the platform sees 1006."""
        self._end(ABORTED)
