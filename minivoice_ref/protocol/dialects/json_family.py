"""What the JSON family shares: one object a text message, base64 audio, the same few events.

Half the field follows one pattern: `connected`, `start` with ids and a format, then `media`, `dtmf`
and `mark` in any mix, `stop`. The platforms differ in how they spell the fields (`Names`), in
whether numbers are text, in what they leave out. So the reader is one, told the spelling, with a
few seams for what is truly different; only the writers are each their own, because they must hit
their platform's form exactly.

Knows the messages and nothing of the order in which a stream may send them: that is `session.py`.
Read next: `twilio.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from binascii import b2a_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from minivoice_ref.protocol.audio import split_channels
from minivoice_ref.protocol.dialects.base import (
    Dialect,
    DialectSettings,
    Encoder,
    Sign,
    WirePayload,
)
from minivoice_ref.protocol.dialects.fields import (
    Misread,
    Positions,
    audio,
    faulted,
    number,
    object_in,
    object_of,
    parameters,
    shown,
    text,
    track_named,
    tracks_named,
)
from minivoice_ref.protocol.dialects.formats import NamedFormat, read_format
from minivoice_ref.protocol.dialects.media_shape import MediaShape, learn_shape
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
    Encoding,
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = ["JsonDialect", "JsonEncoder", "Names"]

_LESSONS = 3  # messages of a stream that its form is learned from: a platform has one form

_EVENTS = ("connected", "start", "media", "dtmf", "mark", "stop")
_STREAM_IDS = ("streamSid", "stream_id", "streamId", "stream_sid")


@dataclass(frozen=True, slots=True)
class Names:
    """How a platform spells the fields of its messages.

    `body` is the object of a start message that the ids stand in; empty where they stand beside
    `event` itself.
    """

    event: str = "event"
    body: str = "start"
    sequence: str = "sequenceNumber"
    stream_id: str = "streamId"
    call_id: str = "callId"
    account_id: str = "accountId"
    tracks: str = "tracks"
    format: str = "mediaFormat"
    sample_rate: str = "sampleRate"
    custom: str = "customParameters"


class JsonEncoder(Encoder):
    """Writes messages of the family: counts them, and the pieces of each track."""

    def __init__(self) -> None:
        super().__init__()
        self._sequence = 0
        self._chunks: dict[Track, int] = {}

    def prepare(self, payload: bytes) -> str:
        """Audio as base64 text."""
        super().prepare(payload)
        return b2a_base64(payload, newline=False).decode("ascii")

    def _media(self, track: Track, payload: WirePayload, timestamp_ms: int) -> list[WireMessage]:
        self._sequence = sequence = self._sequence + 1
        chunk = self._chunks[track] = self._chunks.get(track, 0) + 1
        return [self._media_text(track, sequence, chunk, timestamp_ms, payload)]

    @abstractmethod
    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        """One media message; *payload* is base64 text."""

    def _next(self) -> int:
        """The running number of the next message."""
        self._sequence += 1
        return self._sequence

    def _named(self, format: MediaFormat, names: Mapping[Encoding, str]) -> str:
        """The platform's name of an encoding; those that it has none for are refused."""
        if format.encoding not in names:
            self._refuse(f"{format}: the encoding has no name here")
        return names[format.encoding]

    def _need_identity(self, started: Started) -> None:
        if not started.stream_id or not started.call_id:
            self._refuse("a start without a stream id and a call id")

    def _need_parties(self, started: Started) -> None:
        if not started.tracks or "mixed" in started.tracks:
            self._refuse(f"the tracks {started.tracks}")


class JsonDialect(Dialect):
    """Reads messages of the family: numbers as text or not, fields missing or added.

    A dialect says its `names` and which start is its own; `l16` is the byte order of what is only
    called "L16", and `nameless` that its media never say a track. `numbers` is how its platform
    writes the running number, and `media_name_stream` whether audio names its stream: no reader
    insists on either, but where the start is missing they tell whose audio it is.
    """

    names: ClassVar[Names] = Names()
    numbers: ClassVar[type[str] | type[int]] = str
    media_name_stream: ClassVar[bool] = True
    l16: ClassVar[Literal["l16le", "l16be"]] = "l16le"
    nameless: ClassVar[bool] = False

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._format = settings.mono
        self._positions = Positions(self._format.sample_rate)
        # The track which a message may leave unsaid:
        self._only_track: Track | None = settings.one_channel if self.nameless else None
        self._event_name, self._sequence_name = self.names.event, self.names.sequence
        self._binary = settings.binary_audio
        self._channels = 1
        self._shape: MediaShape | None = None  # of its media messages, once there was one
        self._lessons = _LESSONS

    @classmethod
    def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """A start is known by its ids; the rest may be that of kin, unless an id says whose."""
        if document is None or document.get(cls.names.event) not in _EVENTS:
            return Sign.NONE
        event = document[cls.names.event]
        if event == "start":
            return cls._sign_of_start(document, object_in(document, cls.names.body))
        if cls.names.stream_id not in document and any(name in document for name in _STREAM_IDS):
            return Sign.NONE
        if event == "stop":
            return Sign.STOP
        own_numbers = type(document.get(cls.names.sequence)) is cls.numbers
        names_stream = cls.names.stream_id in document
        own = event == "media" and own_numbers and names_stream is cls.media_name_stream
        return Sign.LIKELY if own else Sign.POSSIBLE

    @classmethod
    @abstractmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """Tell what a start message is to this dialect."""

    def decode(self, message: WireMessage) -> list[StreamEvent]:
        """Read one message; see `Dialect.decode`."""
        if self._shape is not None and type(message) is str:
            media = self._shape.read(message, self._format, self._positions)
            if media is not None:
                return [media]
        document = object_of(message)
        if document is None:
            return self._not_json(message)
        event = document.get(self._event_name)
        try:
            if event == "media":
                return self._media(message, document)
            if event == "start":
                return self._start(message, document)
            if type(event) is not str or event not in _READERS:
                return [Unknown(message, f"{self._event_name} {shown(event)} is not known")]
            faults: list[str] = []
            read = _READERS[event](self.names, object_in(document, event), document, faults)
            return [read, *faulted(message, event, faults)]
        except Misread as exc:
            return [Unknown(message, f"{event}: {exc}")]

    def assume(self) -> Started:
        """The start that never came: both tracks, in the format of the settings."""
        return Started(self.name, self._format, self._default_tracks(), assumed=True)

    def _default_tracks(self) -> tuple[Track, ...]:
        return (self.settings.one_channel,) if self.nameless else ("inbound", "outbound")

    def _not_json(self, message: WireMessage) -> list[StreamEvent]:
        """Audio, where the settings allow it and the peer has not shown that it knows better."""
        if not self._binary or not message or isinstance(message, str):
            return [Unknown(message, "not a JSON object")]
        if self._channels == 1:
            track = self._only_track or self.settings.one_channel
            return [Media(track, message, self._format)]
        wire = MediaFormat(self._format.encoding, self._format.sample_rate, 2)
        if len(message) % wire.bytes_per_sample:
            return [Unknown(message, f"no whole samples of {wire}")]
        left, right = split_channels(message, wire)
        return [Media("inbound", left, self._format), Media("outbound", right, self._format)]

    def _media(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        """A number that cannot be read costs no audio: it is as if it were not there, and told."""
        media = document.get("media")
        if type(media) is not dict:
            raise Misread("the object media is missing")
        track = track_named(media.get("track"))
        if track is None:
            if "track" in media or self._only_track is None:
                raise Misread(f"track {shown(media.get('track'))} is not known")
            track = self._only_track
        payload = audio(media, "payload")
        self._binary = False
        faults: list[str] = []
        timestamp = number(media, "timestamp", faults)
        event = Media(
            track,
            payload,
            self._format,
            None if timestamp is None else self._positions.at(timestamp),
            number(document, self._sequence_name, faults),
            number(media, "chunk", faults),
        )
        if faults:
            return [event, *faulted(message, "media", faults)]
        if self._lessons and type(message) is str:
            self._lessons -= 1
            self._shape = learn_shape(message, self._event_name, self._sequence_name)
        return [event]

    def _start(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        """A start is never refused: what it does not name, the settings do, or an earlier start."""
        names = self.names
        body = object_in(document, names.body) if names.body else document
        named = self._format_of(body)
        tracks = self._tracks_of(body) or self._default_tracks()
        if named.format.sample_rate != self._format.sample_rate:
            self._positions = Positions(named.format.sample_rate)
        self._format = named.format
        self._only_track = tracks[0] if len(tracks) == 1 else None
        custom = names.custom
        started = Started(
            dialect=self.name,
            format=named.format,
            tracks=tracks,
            stream_id=text(body, names.stream_id) or text(document, names.stream_id),
            call_id=text(body, names.call_id),
            account_id=text(body, names.account_id),
            custom=parameters(body[custom] if custom in body else document.get(custom)),
            extra=self._unread(document, body, named),
            assumed=named.assumed,
        )
        return [started, *named.told(message, f"start: {names.format}")]

    def _format_of(self, body: Mapping[str, object]) -> NamedFormat:
        """The format that a start names."""
        fields = object_in(body, self.names.format)
        named = self._read_format(fields, self._format)
        two = fields.get("channels") in (2, "2") and named.format.readable
        self._channels = 2 if two else 1
        return named

    def _read_format(self, fields: Mapping[str, object], fallback: MediaFormat) -> NamedFormat:
        return read_format(
            fields.get("encoding"),
            fields,
            self.names.sample_rate,
            l16=self.settings.l16 or self.l16,
            fallback=fallback,
        )

    def _tracks_of(self, body: Mapping[str, object]) -> tuple[Track, ...]:
        """The tracks that a start names; none where it does not."""
        return tracks_named(body.get(self.names.tracks))

    def _unread(
        self, document: Mapping[str, object], body: Mapping[str, object], named: NamedFormat
    ) -> dict[str, object]:
        """The fields of a start that nobody needed, or could read."""
        names = self.names
        of_message = {names.event, names.sequence, names.stream_id, names.custom, names.body}
        of_body = {names.stream_id, names.call_id, names.account_id, names.custom}
        of_body |= {names.tracks, names.format}
        of_body -= {names.format} if named.faults else set()
        if body is document:
            return {n: value for n, value in document.items() if n not in of_message | of_body}
        unread = {n: value for n, value in document.items() if n not in of_message}
        return unread | {n: value for n, value in body.items() if n not in of_body}


_Object: TypeAlias = Mapping[str, object]


def _connected(names: Names, body: _Object, document: _Object, faults: list[str]) -> StreamEvent:
    return Connected(text(document, "protocol") or "", text(document, "version") or "")


def _dtmf(names: Names, body: _Object, document: _Object, faults: list[str]) -> StreamEvent:
    digit = text(body, "digit")
    if digit is None:
        raise Misread("digit is missing")
    return Digit(digit, track_named(body.get("track")), number(body, "duration", faults))


def _mark(names: Names, body: _Object, document: _Object, faults: list[str]) -> StreamEvent:
    name = text(body, "name")
    if name is None:
        raise Misread("name is missing")
    return Mark(name)


def _stop(names: Names, body: _Object, document: _Object, faults: list[str]) -> StreamEvent:
    places = (body, document, object_in(document, names.body))
    call_ids = (text(place, names.call_id) for place in places)
    return Stopped(text(body, "reason"), next(filter(None, call_ids), None))


_READERS: Mapping[str, Callable[[Names, _Object, _Object, list[str]], StreamEvent]] = {
    "connected": _connected,
    "dtmf": _dtmf,
    "mark": _mark,
    "stop": _stop,
}
