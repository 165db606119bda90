"""What a media stream says, whatever wire format said it.

A dialect turns messages into these events and back; a `MediaSession` hands them on. Nothing here
knows JSON, sockets or clocks.

Units: a *position* is a count of samples (per channel) from the start of the stream; a *timestamp*
is the platform's own, in milliseconds; durations are seconds; payload sizes are bytes.

Facts: MiniVoice documents no wire format, only that a stream carries the track `inbound` (the
caller), `outbound` (the agent) or `both`. `mixed` is ours: both parties in one channel, which the
binary formats of related platforms know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

__all__ = [
    "Connected",
    "Digit",
    "Encoding",
    "Mark",
    "Media",
    "MediaFormat",
    "Started",
    "Stopped",
    "StreamEvent",
    "Track",
    "Unknown",
    "WireMessage",
]

Track: TypeAlias = Literal["inbound", "outbound", "mixed"]
Encoding: TypeAlias = Literal["mulaw", "alaw", "l16le", "l16be", "unknown"]
"""How samples are coded. `unknown` is a codec that the peer named and that we cannot read."""

WireMessage: TypeAlias = str | bytes
"""One WebSocket message: text or binary."""

_BYTES_PER_SAMPLE: Mapping[Encoding, int] = {"mulaw": 1, "alaw": 1, "l16le": 2, "l16be": 2}


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """How audio is coded: encoding, samples a second, channels interleaved in one payload.

    Of an unknown encoding nobody can tell how many samples some bytes are.
    """

    encoding: Encoding = "mulaw"
    sample_rate: int = 8000
    channels: int = 1
    bytes_per_sample: int = field(init=False, repr=False, compare=False)
    """Bytes of one sample of all channels together; 1 where the encoding is unknown."""
    readable: bool = field(init=False, repr=False, compare=False)
    """Whether the encoding is known, so that there are samples to count and to hear."""

    def __post_init__(self) -> None:
        width = _BYTES_PER_SAMPLE.get(self.encoding, 1) * self.channels
        object.__setattr__(self, "bytes_per_sample", width)
        object.__setattr__(self, "readable", self.encoding != "unknown")

    def samples(self, size: int) -> int:
        """Whole samples (per channel) in *size* bytes; a torn last one is not counted.

        None at all where the encoding is unknown.
        """
        if self.encoding == "unknown":
            return 0
        return size // self.bytes_per_sample

    def seconds(self, samples: int) -> float:
        """The duration of *samples* samples."""
        return samples / self.sample_rate

    def __str__(self) -> str:
        return f"{self.encoding}/{self.sample_rate}/{self.channels}"


@dataclass(frozen=True, slots=True)
class Connected:
    """The platform greeted before it named the stream (`connected` of the JSON family)."""

    protocol: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The stream begins: who, which tracks, which format.

    `format` has one channel: a dialect splits what is interleaved before anybody sees it. A track
    may differ from it (`Media.format` counts). `assumed` says that no start message came, or one
    that left out, or misspelled, the encoding or the sample rate, so that this part of the format
    is the fallback setting's: a guess. `extra` keeps every field that the dialect did not need, or
    could not read.
    """

    dialect: str
    format: MediaFormat
    tracks: tuple[Track, ...]
    stream_id: str | None = None
    call_id: str | None = None
    account_id: str | None = None
    custom: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    assumed: bool = False


class Media(NamedTuple):
    """One piece of audio of one track, as it was sent.

    `payload` is mono in `format`. `position` is where its first sample belongs, from the platform's
    timestamp; None where the wire has none, so that only the order of arrival can place it. It is
    negative where the platform counts in Unix time and this audio is older than what came first, as
    the second track may be; by as much as the platform says. `sequence` is the platform's running
    number over the stream, None where there is none.
    """

    # A tuple, because it is made in a third of the time, and one is made for each message.
    track: Track
    payload: bytes
    format: MediaFormat
    position: int | None = None
    sequence: int | None = None
    chunk: int | None = None

    @property
    def samples(self) -> int:
        """Whole samples in the payload."""
        return self.format.samples(len(self.payload))

    @property
    def torn(self) -> int:
        """Bytes after the last whole sample: the sender's fault, left out of `samples`."""
        return len(self.payload) % self.format.bytes_per_sample


@dataclass(frozen=True, slots=True)
class Digit:
    """A DTMF key was pressed; `track` is None where the wire does not say by whom."""

    digit: str
    track: Track | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The platform echoes or sends a named mark."""

    name: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The platform says that the stream is over; the socket is normally closed next."""

    reason: str | None = None
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message that no dialect understood, whole. The receiver counts and logs it."""

    message: WireMessage
    why: str


StreamEvent: TypeAlias = Connected | Started | Media | Digit | Mark | Stopped | Unknown
