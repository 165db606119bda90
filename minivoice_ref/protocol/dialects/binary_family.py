"""What the binary family shares: binary messages are audio, text is metadata or control.

There are no timestamps, so only the order of arrival places the audio. One channel is one track,
whose the metadata may say. Of two interleaved channels the first is the caller's (`inbound`), the
second the agent's (`outbound`): as the platforms in the field have it, and an assumption elsewhere.

Read next: `raw.py`, which has audio and nothing else; then `freeswitch.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from minivoice_ref.protocol.audio import split_channels
from minivoice_ref.protocol.dialects.base import (
    Dialect,
    DialectSettings,
    Encoder,
    Sign,
    WirePayload,
)
from minivoice_ref.protocol.dialects.fields import Misread, object_of, text
from minivoice_ref.protocol.media import (
    Media,
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = [
    "CALL_IDS",
    "BinaryDialect",
    "MonoEncoder",
    "StereoEncoder",
    "call_id_of",
    "interleave",
    "l16le",
    "layout",
    "mix_type",
]

CALL_IDS = ("call_id", "callId", "callSid", "call_uuid", "callUuid", "uuid", "conversation_uuid")
"""Where free-form metadata may name the call, the likeliest first."""

_BOTH: tuple[Track, ...] = ("inbound", "outbound")


def interleave(channels: Sequence[bytes], width: int) -> bytes:
    """Channels of equal length side by side: a sample of each in turn; *width* is its bytes."""
    step = width * len(channels)
    result = bytearray(len(channels[0]) * len(channels))
    for number, channel in enumerate(channels):
        for byte in range(width):
            result[number * width + byte :: step] = channel[byte::width]
    return bytes(result)


def mix_type(tracks: Sequence[Track]) -> str:
    """What such tracks are called in metadata: `mono`, the caller alone, `stereo` or `mixed`."""
    if len(tracks) > 1:
        return "stereo"
    return "mono" if tracks[0] == "inbound" else "mixed"


def layout(name: str | None) -> tuple[Track, ...]:
    """The tracks of a `mix_type`, one for each channel. Raises Misread for another word."""
    known: Mapping[str | None, tuple[Track, ...]]
    known = {"mono": ("inbound",), "mixed": ("mixed",), "stereo": _BOTH}
    if name not in known:
        raise Misread(f"mixType {name!r} is not known")
    return known[name]


def l16le(*rates: int) -> tuple[MediaFormat, ...]:
    """The usual encoding of the family at some sample rates."""
    return tuple(MediaFormat("l16le", rate, 1) for rate in rates)


class _BinaryEncoder(Encoder):
    """There is no stop, the socket just closes; and nothing tells the place of a piece of audio."""

    formats: ClassVar[tuple[MediaFormat, ...]] = l16le(8000)
    has_stop = False
    has_timestamps = False
    has_sequence = False


class MonoEncoder(_BinaryEncoder):
    """Writes audio of one channel, whoever is in it."""

    @classmethod
    def tracks_for(cls, wanted: tuple[Track, ...]) -> tuple[Track, ...]:
        """One channel."""
        return ("mixed",)

    def _need_one_track(self, started: Started) -> None:
        if len(started.tracks) != 1:
            self._refuse("more or less than one track in one channel")

    def _media(self, track: Track, payload: WirePayload, timestamp_ms: int) -> list[WireMessage]:
        return [payload]


class StereoEncoder(_BinaryEncoder):
    """Writes the caller's audio as one channel, both parties' as two.

    Of two tracks, a piece waits for the other track's at the same timestamp; when that is left out,
    silence takes its place, so nothing moves.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[Track, bytes] = {}
        self._waiting_at = 0

    @classmethod
    def tracks_for(cls, wanted: tuple[Track, ...]) -> tuple[Track, ...]:
        """Two channels for both; one for the caller. The agent alone has no name of its own."""
        return wanted if wanted in (_BOTH, ("inbound",)) else ("mixed",)

    def _need_layout(self, started: Started) -> None:
        if started.tracks not in (_BOTH, ("inbound",), ("mixed",)):
            self._refuse(f"the tracks {started.tracks}")
        if not started.format.encoding.startswith("l16le"):
            self._refuse(f"{started.format}: it is always l16le")

    def _media(self, track: Track, payload: WirePayload, timestamp_ms: int) -> list[WireMessage]:
        if self._tracks != frozenset(_BOTH):
            return [payload]
        messages: list[WireMessage] = []
        if self._waiting and (timestamp_ms != self._waiting_at or track in self._waiting):
            messages += self._side_by_side()
        assert isinstance(payload, bytes)
        self._waiting[track], self._waiting_at = payload, timestamp_ms
        return messages + (self._side_by_side() if len(self._waiting) == 2 else [])

    def _stop(self, started: Started) -> list[WireMessage]:
        return self._side_by_side()

    def _side_by_side(self) -> list[WireMessage]:
        """What waits as one message, silence where a track said nothing."""
        if not self._waiting:
            return []
        size = max(map(len, self._waiting.values()))
        channels = [self._waiting.get(track, b"").ljust(size, b"\0") for track in _BOTH]
        self._waiting = {}
        return [interleave(channels, 2)]


class BinaryDialect(Dialect):
    """Reads audio; a dialect of the family adds what its text messages mean.

    It says what a stream carries with `_carry` as soon as it knows; until then it is what the
    settings say.
    """

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        one: tuple[Track, ...] = (settings.one_channel,)
        self._carry(settings.mono, _BOTH if settings.format.channels == 2 else one)

    @classmethod
    def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Any binary message may be audio, unless it makes sense as something else."""
        if document is None and isinstance(message, bytes):
            return Sign.POSSIBLE if message else Sign.NONE
        return cls._sign_of_text(message, document)

    @classmethod
    @abstractmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Tell what metadata or control is to this dialect."""

    def decode(self, message: WireMessage) -> list[StreamEvent]:
        """Read one message; see `Dialect.decode`."""
        document = None
        if isinstance(message, str) or message.startswith(b"{"):
            document = object_of(message)
        if isinstance(message, bytes) and document is None:
            return self._audio(message)
        try:
            return self._text(message, document)
        except Misread as exc:
            return [Unknown(message, str(exc))]

    @abstractmethod
    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        """Read metadata or control. May raise Misread."""

    def assume(self) -> Started:
        """The start that never came, in the format of the settings."""
        return Started(self.name, self._format, self._tracks, assumed=True)

    def _carry(self, format: MediaFormat, tracks: tuple[Track, ...]) -> None:
        """From now on audio is *tracks* side by side, each in *format*, which is mono."""
        self._format, self._tracks = format, tracks
        self._wire = replace(format, channels=len(tracks))

    def _audio(self, message: bytes) -> list[StreamEvent]:
        """The audio of each track in one message; a torn rest of interleaved audio is named."""
        if not message:
            return [Unknown(message, "an empty message")]
        if len(self._tracks) == 1:
            return [Media(self._tracks[0], message, self._format)]
        pieces = zip(self._tracks, split_channels(message, self._wire), strict=True)
        events: list[StreamEvent] = [
            Media(track, payload, self._format) for track, payload in pieces if payload
        ]
        torn = len(message) % self._wire.bytes_per_sample
        if torn:
            events.append(Unknown(message, f"{torn} bytes after the last whole sample"))
        return events


def call_id_of(document: Mapping[str, object]) -> str | None:
    """The call's id in free-form metadata, where there is one."""
    return next(filter(None, (text(document, name) for name in CALL_IDS)), None)
