"""One track of a capture: its account, how fast and how evenly it came, where it has gaps.

Knows one track and no messages. Read next: `format_guess.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from minivoice_ref.protocol.format_guess import ENOUGH, FormatGuess, guess_format
from minivoice_ref.protocol.media import Media, MediaFormat, Track
from minivoice_ref.protocol.timeline import Timeline

__all__ = ["OnAudio", "Sample", "TrackReport"]

OnAudio: TypeAlias = Callable[[Track, int, bytes, MediaFormat], None]
"""Takes a piece of audio that has its place: track, position in samples, payload, format."""

_MAP = 64  # columns of the gap map
_LEAST_SECONDS = 1.0  # in which bytes must have come before they are counted by the second


class TrackReport:
    """One track: its account, and how evenly it came.

    `jitter` is in seconds: by how much the time between the arrival of two pieces differed from the
    time between their positions, on average; `worst` at the most. Without positions, of audio in an
    unknown codec, nobody can tell; and of no such audio is there an account.
    """

    def __init__(self, format: MediaFormat, jump_seconds: float) -> None:
        self.format = format
        self.timeline = Timeline(format.sample_rate, jump_seconds)
        self.frames = 0
        self.bytes = 0
        self.first_at = self.last_at = 0.0
        self.worst = 0.0
        self._deviations = 0.0
        self._last_size = 0
        self._last_position: int | None = None

    def add(self, at: float, media: Media, on_audio: OnAudio | None) -> None:
        """Take a piece of audio that came *at* so many seconds."""
        samples: int | None = self._last_size if self.format.readable else None
        if media.position is not None and self._last_position is not None:
            samples = media.position - self._last_position
        if not self.frames:
            self.first_at = at
        elif samples is not None:
            due = self.format.seconds(samples)
            deviation = abs(at - self.last_at - due)
            self._deviations += deviation
            self.worst = max(self.worst, deviation)
        self.last_at, self._last_size = at, media.samples
        self._last_position = media.position
        self.frames += 1
        self.bytes += len(media.payload)
        placement = self.timeline.place(media.position, media.samples, at)
        if on_audio is not None:
            width = media.format.bytes_per_sample
            for offset, position, length in placement.pieces:
                payload = media.payload[offset * width : (offset + length) * width]
                on_audio(media.track, position, payload, media.format)

    @property
    def jitter(self) -> float:
        """The mean deviation."""
        return self._deviations / max(1, self.frames - 1)

    @property
    def frames_per_second(self) -> float | None:
        """How many pieces came in a second; None where too few came to say."""
        return _per_second(self.frames, self.last_at - self.first_at)

    @property
    def gap_map(self) -> str:
        """The track as a line of `#` (audio), `.` (missing) and `-` (some of both)."""
        account = self.timeline.account
        if not account.expected:
            return ""
        missing = [0] * _MAP
        step = account.expected / _MAP
        for start, end in self.timeline.holes:
            low, high = (start - account.first) / step, (end - account.first) / step
            for column in range(int(low), min(int(high), _MAP - 1) + 1):
                part = min(high, column + 1) - max(low, column)
                missing[column] += round(1000 * max(0.0, part))
        return "".join("#" if not lack else "." if lack > 990 else "-" for lack in missing)

    def to_json(self) -> dict[str, Any]:
        """The track as a JSON object; positions and sums in samples, times in seconds."""
        rate, account = self.frames_per_second, self.timeline.account
        return {
            "format": str(self.format),
            "frames": self.frames,
            "bytes": self.bytes,
            "first_at": round(self.first_at, 6),
            "last_at": round(self.last_at, 6),
            "frames_per_second": None if rate is None else round(rate, 2),
            "jitter": round(self.jitter, 6),
            "worst_deviation": round(self.worst, 6),
            "account": account.to_json() if self.format.readable else None,
            "gaps": [
                {"position": start, "samples": end - start} for start, end in self.timeline.holes
            ],
            "map": self.gap_map,
        }


class Sample:
    """Audio to guess a format from, and how fast it came; at most `ENOUGH` bytes are kept."""

    def __init__(self, at: float) -> None:
        self._audio = bytearray()
        self._bytes = 0
        self._first_at = self._last_at = at
        self._last_size = 0

    def add(self, at: float, audio: bytes) -> None:
        """Take audio that came *at* so many seconds."""
        self._bytes += len(audio)
        self._last_at, self._last_size = at, len(audio)
        if len(self._audio) < ENOUGH and audio.count(audio[:1]) < len(audio):
            self._audio += audio  # not digital silence, of which one piece is like the other

    def guess(self) -> FormatGuess:
        """Tell what the audio looks like."""
        speed = _per_second(self._bytes - self._last_size, self._last_at - self._first_at)
        return guess_format(bytes(self._audio), bytes_per_second=speed)


def _per_second(count: float, seconds: float) -> float | None:
    """How many of *count* there were a second, the first of which has none before it."""
    return None if seconds < _LEAST_SECONDS or count < 2 else count / seconds
