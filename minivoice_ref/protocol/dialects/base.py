"""What every wire format is to the rest: a `Dialect` to read it, an `Encoder` to write it.

The seam is meant to be narrow. A dialect is one file with one class of each kind. The class names
itself (`class TwilioDialect(Dialect, name="twilio")`), one line in `__init__.py` imports the file.

* `Dialect.sign` looks at a message without taking it: is it mine, does it begin a stream, end one?
* `Dialect.decode` takes it. One message may become no event (it waits in a reorder window), one, or
  several (stereo audio is two tracks). Whatever a peer sends, it does not raise: what it cannot
  understand it hands on as `Unknown`, whole, with the reason.
* `Encoder` is the other direction, for the simulator. It is as strict as the reader is tolerant: a
  misuse is ours and raises `LocalProtocolError` before anything leaves.

Nothing here knows sockets or clocks, nor which state a stream is in: that is `session.py`.
Read next: `json_family.py` and `twilio.py`, the dialect to copy from; then `detect.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import ClassVar, Literal, NoReturn, TypeAlias

from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import (
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    WireMessage,
)

__all__ = [
    "DIALECTS",
    "FALLBACK_FORMAT",
    "Dialect",
    "DialectSettings",
    "Encoder",
    "Sign",
    "WirePayload",
]

WirePayload: TypeAlias = str | bytes
"""Audio as it stands in a message: base64 text in the JSON family, the bytes in the binary one."""


class Sign(Enum):
    """What a dialect sees in a message that it only looks at."""

    NONE = "not of this dialect"
    POSSIBLE = "may be of this dialect"
    LIKELY = "may be of this dialect, and is written as its platform writes it"
    START = "begins a stream, and only this dialect begins one so"
    LIKELY_START = "begins a stream, unless another dialect knows for certain"
    STOP = "may be of this dialect, and ends a stream"


FALLBACK_FORMAT = MediaFormat("l16le", 8000, 1)
"""The format of a stream that names none, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class DialectSettings:
    """What a dialect takes for granted where the wire is silent: every field is an assumption.

    `format` is that of a stream that names none. `l16` is the byte order of what is only called
    "L16": RFC 2586 says big-endian, the platforms in the field mostly send little-endian; None
    leaves it to each dialect. `one_channel` is whose audio it is where there is one channel and no
    word about it. `reorder_window` is how many messages a dialect without a promised order waits
    for one that is late. `binary_audio` says that binary messages on a stream of the JSON family
    are audio, as long as no audio came the family's way.

    Raises LocalProtocolError for a format of more than two channels.
    """

    format: MediaFormat = FALLBACK_FORMAT
    l16: Literal["l16le", "l16be"] | None = None
    one_channel: Track = "mixed"
    reorder_window: int = 10
    binary_audio: bool = False

    def __post_init__(self) -> None:
        if self.format.channels not in (1, 2):
            raise LocalProtocolError(f"{self.format}: a stream has one channel or two")

    @property
    def mono(self) -> MediaFormat:
        """`format` with one channel: that of one track's audio."""
        return replace(self.format, channels=1)


DIALECTS: dict[str, type[Dialect]] = {}
"""Every dialect by its name, in the order in which they are asked: that of their imports."""


class Dialect(ABC):
    """Reads one wire format; one instance a stream, so it may remember what it has read.

    `has_start` says whether its streams name themselves, so that it is worth waiting for.
    `subprotocols` are those that its platform proposes on the upgrade and wants to see selected.
    `encoder` writes it; `other_encoders` write its other forms, by the names that those go by.
    """

    name: ClassVar[str]
    encoder: ClassVar[type[Encoder]]
    other_encoders: ClassVar[Mapping[str, type[Encoder]]] = MappingProxyType({})
    has_start: ClassVar[bool] = True
    subprotocols: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, name: str = "") -> None:
        """Enter the dialect in the table under *name*; without one it stays out of it."""
        if name:
            cls.name = name
            DIALECTS[name] = cls

    def __init__(self, settings: DialectSettings) -> None:
        self.settings = settings

    @classmethod
    @abstractmethod
    def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Tell what *message* is to this dialect, taking nothing.

        *document* is the message as a JSON object, None where it is none. `Sign.START` and
        `Sign.LIKELY_START` are promises: `decode` of the same message contains a `Started`.
        """

    @abstractmethod
    def decode(self, message: WireMessage) -> list[StreamEvent]:
        """Read one message: what it says, in order; a `Stopped` comes last.

        Never raises because of the message, and does not keep silent about it.
        """

    @abstractmethod
    def assume(self) -> Started:
        """The start of a stream whose own start never came, in the format of the settings."""

    def flush(self) -> list[StreamEvent]:
        """Give out what is still held back to be put in order; the stream is over."""
        return []


class Encoder(ABC):
    """Writes one wire format; one instance a stream: `start`, then the rest, then `stop`.

    Each method returns the messages to send, in order: none where the format has no such message.
    Each raises LocalProtocolError where the order or a value is not what the format allows.

    What a sender must know beforehand stands in the class. `formats` are those that the platform is
    known to send each track in, the usual one first; `start` takes what else the wire can name.
    `frame_seconds` is how much of it goes into one message. `tracks_for` tells in which tracks the
    audio goes. `subprotocols` are to be proposed on the upgrade. `has_stop` says whether there is a
    message for the end, or the connection just closes. `has_timestamps` and `has_sequence` say what
    a receiver can tell the place of audio from: with neither, only from its arrival, so that it
    cannot know of audio that was lost, sent twice or overtaken.
    """

    formats: ClassVar[tuple[MediaFormat, ...]] = (MediaFormat("mulaw", 8000, 1),)
    frame_seconds: ClassVar[float] = 0.02
    subprotocols: ClassVar[tuple[str, ...]] = ()
    has_stop: ClassVar[bool] = True
    has_timestamps: ClassVar[bool] = True
    has_sequence: ClassVar[bool] = True

    @classmethod
    def tracks_for(cls, wanted: tuple[Track, ...]) -> tuple[Track, ...]:
        """The tracks to start with, and to give audio of, for a stream that is to carry *wanted*.

        `mixed` among them means that the sender must mix the wanted tracks into one.
        """
        return wanted

    @classmethod
    def stream_id(cls, digits: str) -> str:
        """A stream's id as the platform writes it, of 32 hexadecimal *digits*."""
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))

    def __init__(self) -> None:
        self._started: Started | None = None
        self._stopped = False
        self._tracks: frozenset[Track] = frozenset()  # those that may speak now

    def connected(self) -> list[WireMessage]:
        """Greet, before anything else is said."""
        if self._started is not None:
            self._refuse("connected after the start")
        return self._connected()

    def start(self, started: Started) -> list[WireMessage]:
        """Name the stream: its ids, its tracks, its format."""
        if self._started is not None:
            self._refuse("a second start")
        if started.format.channels != 1:
            self._refuse(f"{started.format}: a track has one channel")
        messages = self._start(started)
        self._started, self._tracks = started, frozenset(started.tracks)
        return messages

    def prepare(self, payload: bytes) -> WirePayload:
        """Bring audio into its form on the wire, once; the result may be sent many times.

        For a sender that plays the same audio to many streams: see `media_prepared`.
        """
        if not payload:
            self._refuse("no audio")
        return payload

    def media(self, track: Track, payload: bytes, timestamp_ms: int) -> list[WireMessage]:
        """Say one piece of audio; *timestamp_ms* is milliseconds from the start of the stream."""
        return self.media_prepared(track, self.prepare(payload), timestamp_ms)

    def media_prepared(
        self, track: Track, payload: WirePayload, timestamp_ms: int
    ) -> list[WireMessage]:
        """Say one piece of audio that `prepare` of the same dialect has made ready."""
        if track not in self._tracks:
            self._refuse(f"audio of the track {track!r}, which is not open")
        if timestamp_ms < 0:
            self._refuse(f"a timestamp of {timestamp_ms} ms")
        return self._media(track, payload, timestamp_ms)

    def digit(
        self, digit: str, track: Track = "inbound", duration_ms: int | None = None
    ) -> list[WireMessage]:
        """Say that a DTMF key was pressed: one of `0-9 * # A-D`."""
        self._need_start("a digit")
        if len(digit) != 1 or digit not in "0123456789*#ABCD":
            self._refuse(f"{digit!r} as a digit")
        return self._digit(digit, track, duration_ms)

    def mark(self, name: str) -> list[WireMessage]:
        """Say a named mark."""
        self._need_start("a mark")
        return self._mark(name)

    def stop(self) -> list[WireMessage]:
        """Say that the stream is over; nothing may follow."""
        started = self._need_start("a stop")
        self._stopped, self._tracks = True, frozenset()
        return self._stop(started)

    def _need_start(self, what: str) -> Started:
        if self._started is None:
            self._refuse(f"{what} before the start")
        if self._stopped:
            self._refuse(f"{what} after the stop")
        return self._started

    def _refuse(self, what: str) -> NoReturn:
        raise LocalProtocolError(f"{type(self).__name__} cannot send {what}")

    def _connected(self) -> list[WireMessage]:
        return []

    @abstractmethod
    def _start(self, started: Started) -> list[WireMessage]:
        """The messages that name the stream."""

    @abstractmethod
    def _media(self, track: Track, payload: WirePayload, timestamp_ms: int) -> list[WireMessage]:
        """The messages that carry one piece of audio."""

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        return []

    def _mark(self, name: str) -> list[WireMessage]:
        return []

    def _stop(self, started: Started) -> list[WireMessage]:
        return []
