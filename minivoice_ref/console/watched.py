"""What is computed of one stream, and only while somebody looks at it.

Three degrees of attention, each with its price for a frame:

    a glance   the list of calls shows how loud each is: the latest frame is remembered, no more
    a look     one call is open in a browser: a peak for each 20 ms, the jitter, the rate
    an ear     somebody listens: the samples as well

A stream that nobody looks at has no tap and costs nothing. However many look, each is done once:
what comes out is taken by the feed, which sends the same bytes to all.

What waits to be taken is bounded: the feed takes it twenty times a second; should it not, peaks of
more than a minute and audio of more than a second push out the oldest.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import trio

from minivoice_ref.console.peaks import peak_of
from minivoice_ref.protocol.media import MediaFormat, Track
from minivoice_ref.receiver.media_stream import Frame
from minivoice_ref.receiver.annex import LiveStream

__all__ = ["BINS_A_SECOND", "Attention", "WatchedStream"]

BINS_A_SECOND = 50
_MOST_BINS = 3000  # of a track that wait to be taken: a minute
_MOST_CHUNKS = 128  # of audio that wait to be taken
_CHUNK = struct.Struct("<BxHId")  # track, samples, rate, seconds from the stream's start
_TRACKS: Mapping[Track, int] = {"inbound": 0, "outbound": 1, "mixed": 2}
_MOST_SAMPLES = 0xFFFF


class Attention(IntEnum):
    """How closely a stream is watched."""

    NONE = 0
    GLANCE = 1
    LOOK = 2
    EAR = 3


class _TrackState:
    """One track while somebody looks."""

    def __init__(self, format: MediaFormat) -> None:
        self.format = format
        self.per_bin = max(1, format.sample_rate // BINS_A_SECOND)
        self.bins: dict[int, int] = {}
        self.frames = 0
        self.arrived = 0.0
        self.position: int | None = None
        self.jitter = 0.0
        self.rate: float | None = None
        self._counted = 0
        self._counted_at: float | None = None

    def count(self, now: float) -> None:
        """Find out how many frames a second come, over a second at least."""
        if self._counted_at is None or now - self._counted_at >= 1:
            if self._counted_at is not None:
                self.rate = round((self.frames - self._counted) / (now - self._counted_at), 1)
            self._counted, self._counted_at = self.frames, now

    def take(self, frame: Frame, now: float) -> None:
        """Note when a frame came and how loud it is."""
        if self.position is not None:
            # RFC 3550 section 6.4.1: how far apart two frames came, against how far apart they are.
            apart = (frame.position - self.position) / self.format.sample_rate
            self.jitter += (abs(now - self.arrived - apart) - self.jitter) / 16
        self.arrived, self.position = now, frame.position
        self.frames += 1
        number, inside = divmod(frame.position, self.per_bin)
        width = self.format.bytes_per_sample
        start, payload = 0, frame.payload
        while start < len(payload):
            end = start + (self.per_bin - inside) * width
            self._put(number, peak_of(payload[start:end], self.format))
            number, inside, start = number + 1, 0, end

    def _put(self, number: int, peak: int) -> None:
        if peak >= self.bins.get(number, -1):
            self.bins[number] = peak
        if len(self.bins) > _MOST_BINS:
            del self.bins[next(iter(self.bins))]


class WatchedStream:
    """A live stream and what its watchers see. Begins unwatched; see `watch`."""

    def __init__(self, stream: LiveStream) -> None:
        self.id = stream.id
        self._stream = stream
        self.attention = Attention.NONE
        self._latest: dict[Track, Frame] = {}
        self._tracks: dict[Track, _TrackState] = {}
        self._audio: deque[bytes] = deque(maxlen=_MOST_CHUNKS)

    def watch(self, attention: Attention) -> None:
        """Watch more or less closely from now on."""
        if attention == self.attention:
            return
        if attention < Attention.LOOK:
            self._tracks.clear()
        if attention < Attention.EAR:
            self._audio.clear()
        self.attention = attention
        taps = {Attention.NONE: None, Attention.GLANCE: self._glance}
        self._stream.tap(taps.get(attention, self._look))

    def _glance(self, frame: Frame) -> None:
        self._latest[frame.track] = frame

    def _look(self, frame: Frame) -> None:
        self._latest[frame.track] = frame
        state = self._tracks.get(frame.track)
        if state is None or state.format != frame.format:
            state = self._tracks[frame.track] = _TrackState(frame.format)
        state.take(frame, trio.current_time())
        if self.attention is Attention.EAR and frame.format.readable:
            seconds = frame.position / frame.format.sample_rate
            samples = min(frame.samples, _MOST_SAMPLES)
            head = _CHUNK.pack(_TRACKS[frame.track], samples, frame.format.sample_rate, seconds)
            self._audio.append(head + frame.pcm[: 2 * samples])

    def levels(self) -> dict[str, int]:
        """How loud the latest frame of each track is; what was told is forgotten."""
        latest, self._latest = self._latest, {}
        return {track: peak_of(frame.payload, frame.format) for track, frame in latest.items()}

    def take_peaks(self) -> dict[str, list[list[int]]]:
        """The new peaks of each track, in runs: the first one's number, then the peaks."""
        return {track: runs for track, state in self._tracks.items() if (runs := _runs(state))}

    def take_audio(self) -> bytes:
        """The new audio: chunks, each a head and 16-bit little-endian samples, mono."""
        audio = b"".join(self._audio)
        self._audio.clear()
        return audio

    def state(self) -> dict[str, Any]:
        """The sums so far, what waits for `on_stream`, and of each track how it comes in."""
        coming = {}
        for track, state in self._tracks.items():
            state.count(trio.current_time())
            coming[track] = {
                "jitter_ms": round(state.jitter * 1000, 2),
                "rate": state.rate,
                "sample_rate": state.format.sample_rate,
            }
        return {"id": self.id, "coming": coming, **self._stream.state()}


def _runs(state: _TrackState) -> list[list[int]]:
    """Take the bins of a track that wait: [first, peak, peak, ...] for each run of neighbours."""
    bins, state.bins = state.bins, {}
    runs: list[list[int]] = []
    following = None
    for number in sorted(bins):
        if number != following:
            runs.append([number])
        runs[-1].append(bins[number])
        following = number + 1
    return runs
