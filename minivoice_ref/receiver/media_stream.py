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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio

from minivoice_ref.protocol.audio import to_pcm
from minivoice_ref.protocol.media import Digit, Mark, MediaFormat, Started, Track, Unknown
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.receiver.endings import ABORTED, CLOSED_BY_APPLICATION, Ending

__all__ = ["Frame", "HandOver", "MediaStream", "StreamItem", "StreamItems"]

_MOST_OTHERS = 64  # digits, marks and unknown messages that wait


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of audio of one track, mono, at its place.

    `position` is where its first sample belongs, in samples from the start of the stream. A piece
    that the platform sent late has a position before that of its predecessor. What the platform
    sent twice is handed over once.
    """

    track: Track
    position: int
    payload: bytes = field(repr=False)
    format: MediaFormat
    _pcm: list[bytes] = field(default_factory=list, init=False, repr=False, compare=False)

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
        """The audio as 16-bit little-endian samples, decoded when it is first asked for."""
        if not self._pcm:
            self._pcm.append(to_pcm(self.payload, self.format))
        return self._pcm[0]


StreamItem: TypeAlias = Frame | Digit | Mark | Unknown
"""What a stream hands over: audio, and what else came between."""

_Waiting: TypeAlias = tuple[int, int, StreamItem]
"""An item in the queue: its turn among all, its samples, itself."""


class HandOver:
    """The queue between the receiving task and the application. All but `get` is synchronous.

    When a track has *seconds* waiting, the oldest frames of that track are dropped to make room,
    and
    *on_lag* is called with True; it is called with False when the application has taken all that
    waited. A single frame longer than that is kept. Of other items, 64 wait at most, and the oldest
    are dropped and counted as well.
    """

    def __init__(self, seconds: float, on_lag: Callable[[bool], None]) -> None:
        self._seconds = seconds
        self._on_lag = on_lag
        self._tracks: dict[Track, deque[_Waiting]] = {}
        self._others: deque[_Waiting] = deque()
        self._samples: dict[Track, int] = {}
        self._turn = 0
        self._takers = trio.lowlevel.ParkingLot()
        self._finished = False
        self._unwanted = False
        self.lagging = False
        self.dropped: dict[Track, int] = {}
        self.dropped_others = 0

    def put(self, item: StreamItem) -> None:
        """Add an item, at the cost of the oldest where there is no room."""
        if self._unwanted:
            return
        self._turn += 1
        if isinstance(item, Frame):
            self._put_frame(item)
        else:
            self._others.append((self._turn, 0, item))
            if len(self._others) > _MOST_OTHERS:
                self._others.popleft()
                self.dropped_others += 1
        self._takers.unpark_all()

    def _put_frame(self, frame: Frame) -> None:
        track, room = frame.track, self._seconds * frame.format.sample_rate
        waiting = self._tracks.setdefault(track, deque())
        waiting.append((self._turn, frame.samples, frame))
        samples = self._samples.get(track, 0) + frame.samples
        while samples > room and len(waiting) > 1:
            lost = waiting.popleft()[1]
            samples -= lost
            self.dropped[track] = self.dropped.get(track, 0) + lost
            if not self.lagging:
                self.lagging = True
                self._on_lag(True)
        self._samples[track] = samples

    def waiting(self) -> dict[Track, int]:
        """The samples that wait, of each track."""
        return dict(self._samples)

    def finish(self) -> None:
        """Say that nothing more comes. What waits can still be taken."""
        self._finished = True
        self._takers.unpark_all()

    def discard(self) -> None:
        """Say that nobody takes anything any more: what waits and what comes is let go."""
        self._unwanted = True
        self._tracks.clear()
        self._samples.clear()
        self._others.clear()
        self.lagging = False

    async def get(self) -> StreamItem:
        """Take the oldest item, waiting for one where there is none.

        Cancelled, nothing is taken. Raises trio.EndOfChannel when all is taken and no more comes.
        """
        await trio.lowlevel.checkpoint()
        while (queue := self._oldest()) is None:
            if self._finished:
                raise trio.EndOfChannel
            await self._takers.park()
        _, samples, item = queue.popleft()
        if isinstance(item, Frame):
            self._samples[item.track] -= samples
        if self.lagging and self._oldest() is None:
            self.lagging = False
            self._on_lag(False)
        return item

    def _oldest(self) -> deque[_Waiting] | None:
        """The queue whose head has waited longest."""
        queues = [queue for queue in (*self._tracks.values(), self._others) if queue]
        return min(queues, key=lambda queue: queue[0][0], default=None)


class StreamItems:
    """Iterates over everything that a stream hands over."""

    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over

    def __aiter__(self) -> StreamItems:
        return self

    async def __anext__(self) -> StreamItem:
        try:
            return await self._hand_over.get()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


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

    async def __anext__(self) -> Frame:
        """The next frame; digits, marks and unknown messages before it are passed over."""
        while True:
            try:
                item = await self._hand_over.get()
            except trio.EndOfChannel:
                raise StopAsyncIteration from None
            if isinstance(item, Frame):
                return item

    def events(self) -> StreamItems:
        """Iterate over frames, digits, marks and unknown messages as they came."""
        return StreamItems(self._hand_over)

    def close(self) -> None:
        """Ask that the stream be closed, with 1000. What waits can still be taken."""
        self._end(CLOSED_BY_APPLICATION)

    def abort(self) -> None:
        """Ask that the connection be broken without a goodbye: the platform sees 1006."""
        self._end(ABORTED)
