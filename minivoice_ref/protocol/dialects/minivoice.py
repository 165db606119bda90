"""MiniVoice: whatever it turns out to be. The tolerant reader, and the receiver's default.

MiniVoice documents no wire format. To receive `minivoice` (or `auto`) means that the messages tell
the dialect: any of the others by its shape, and this one where a stream begins in none of their
shapes but begins all the same. So here names may be spelled in any way (`streamSid`, `stream_id`,
`stream-id`), stand at any depth, and numbers may be numbers or text; audio may be base64 in JSON or
binary messages; what nobody needed is kept in `Started.extra`. What is sent under this name is
Twilio's shape: our assumption made executable.

The price of tolerance is certainty: this reader is asked last. The others are exact, and win.

Read next: `detect.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign
from minivoice_ref.protocol.dialects.binary_family import BinaryDialect, l16le, layout
from minivoice_ref.protocol.dialects.fields import (
    Misread,
    Positions,
    audio,
    faulted,
    number,
    parameters,
    shown,
    text,
    track_named,
    tracks_named,
)
from minivoice_ref.protocol.dialects.formats import NamedFormat, read_format
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
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

__all__ = ["MiniVoiceDialect", "MiniVoiceEncoder"]

_DEEPEST = 4

# Every name below is in lower case, without `_` and `-`.
_EVENT_KEYS = ("event", "eventtype", "type")
_KINDS: Mapping[str, str] = {
    "connected": "connected",
    "start": "start",
    "started": "start",
    "media": "media",
    "audio": "media",
    "dtmf": "dtmf",
    "digit": "dtmf",
    "mark": "mark",
    "stop": "stop",
    "stopped": "stop",
}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "stream id": ("streamsid", "streamid", "streamuuid"),
    "call id": ("callsid", "callid", "calluuid", "callcontrolid"),
    "account id": ("accountsid", "accountid", "customerid", "userid"),
    "custom": ("customparameters", "custom", "parameters", "variables"),
    "encoding": ("encoding", "codec", "contenttype", "format"),
    "rate": ("samplerate", "rate"),
    "mix": ("mixtype",),
    "channels": ("channels",),
    "tracks": ("tracks", "track", "channel"),
    "track": ("track", "channel", "direction"),
    "payload": ("payload", "audio", "data", "media"),
    "timestamp": ("timestamp", "timestampms", "ts"),
    "sequence": ("sequencenumber", "sequence", "seq"),
    "chunk": ("chunk",),
    "digit": ("digit", "digits", "dtmf"),
    "duration": ("duration", "durationms"),
    "name": ("name", "mark"),
    "reason": ("reason",),
    "protocol": ("protocol",),
    "version": ("version",),
}
_OF_START = ("stream id", "call id", "account id", "custom", "encoding", "rate", "tracks")
_PARTIES: Mapping[object, Track] = {"caller": "inbound", "agent": "outbound"}


class MiniVoiceEncoder(TwilioEncoder):
    """Writes Twilio's shape, with any codec that it has a name for: nothing is documented."""

    formats: ClassVar[tuple[MediaFormat, ...]] = (
        *TwilioEncoder.formats,
        MediaFormat("alaw", 8000),
        *l16le(8000, 16000, 24000),
    )


class MiniVoiceDialect(BinaryDialect, name="minivoice"):
    """Reads any message whose event and fields go by a name that somebody uses."""

    encoder: ClassVar[type[MiniVoiceEncoder]] = MiniVoiceEncoder

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._positions = Positions(self._format.sample_rate)
        self._named_tracks: tuple[Track, ...] = ("inbound", "outbound")
        self._speaks_json = False

    @classmethod
    def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Bare audio is others' business; it is read here after a start, or not at all."""
        return Sign.NONE if document is None else cls._sign_of_text(message, document)

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """What calls itself a start is one, unless another dialect knows better."""
        signs = {"start": Sign.LIKELY_START, "stop": Sign.STOP, None: Sign.NONE}
        return signs.get(_kind(document), Sign.POSSIBLE)

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        kind = _kind(document)
        if document is None or kind is None:
            return [Unknown(message, "no event that is known by any name")]
        found = _spread(document)
        if kind == "media":
            return self._media(message, found)
        if kind == "start":
            return self._start(message, found)
        faults: list[str] = []
        return [_small(kind, found, faults), *faulted(message, kind, faults)]

    def assume(self) -> Started:
        """The start that never came, in the format of the settings."""
        return Started(self.name, self._format, self._named_tracks, assumed=True)

    def _audio(self, message: bytes) -> list[StreamEvent]:
        """A stream's audio comes one way: once it has come as text, binary messages are not it."""
        if self._speaks_json:
            return [Unknown(message, "binary on a stream whose audio is text")]
        return super()._audio(message)

    def _media(self, message: WireMessage, found: Mapping[str, object]) -> list[StreamEvent]:
        named = _one(found, "track")
        track = track_named(named) or (_PARTIES.get(named) if type(named) is str else None)
        if track is None and named is not None:
            raise Misread(f"media: track {shown(named)} is not known")
        if track is None:
            only = len(self._named_tracks) == 1
            track = self._named_tracks[0] if only else self.settings.one_channel
        payload = audio({"payload": _one(found, "payload")}, "payload")
        self._speaks_json = True
        faults: list[str] = []
        timestamp = _count(found, "timestamp", faults)
        event = Media(
            track,
            payload,
            self._format,
            None if timestamp is None else self._positions.at(timestamp),
            _count(found, "sequence", faults),
            _count(found, "chunk", faults),
        )
        return [event, *faulted(message, "media", faults)]

    def _start(self, message: WireMessage, found: Mapping[str, object]) -> list[StreamEvent]:
        """A start is never refused: what it does not name, the settings do, or an earlier start."""
        named = self._read_format(found)
        self._named_tracks = _read_tracks(found) or ("inbound", "outbound")
        if named.format.sample_rate != self._format.sample_rate:
            self._positions = Positions(named.format.sample_rate)
        self._carry(named.format, self._read_layout(found, named.format))
        needed = {name for word in _OF_START for name in _WORDS[word]} | {*_EVENT_KEYS}
        needed -= {*_WORDS["encoding"], *_WORDS["rate"]} if named.faults else set()
        started = Started(
            dialect=self.name,
            format=named.format,
            tracks=self._named_tracks,
            stream_id=_word(found, "stream id"),
            call_id=_word(found, "call id"),
            account_id=_word(found, "account id"),
            custom=parameters(_one(found, "custom")),
            extra={name: value for name, value in found.items() if name not in needed},
            assumed=named.assumed,
        )
        return [started, *named.told(message, "start")]

    def _read_format(self, found: Mapping[str, object]) -> NamedFormat:
        return read_format(
            _one(found, "encoding"),
            {"rate": _one(found, "rate")},
            "rate",
            l16=self.settings.l16 or "l16le",
            fallback=self._format,
        )

    def _read_layout(self, found: Mapping[str, object], format: MediaFormat) -> tuple[Track, ...]:
        """The tracks that lie side by side in a binary message; of an unknown codec, one."""
        only = len(self._named_tracks) == 1
        one = self._named_tracks if only else (self.settings.one_channel,)
        if not format.readable:
            return one
        if _one(found, "mix") in ("mono", "stereo", "mixed"):
            return layout(_word(found, "mix"))
        return ("inbound", "outbound") if _one(found, "channels") in (2, "2") else one


def _kind(document: Mapping[str, object] | None) -> str | None:
    """What kind of message this is, by whatever name; None where no name is known.

    Several keys may say it: only those count whose word is known, the likeliest first.
    """
    kinds: dict[str, str] = {}
    for name, value in (document or {}).items():
        key = _plain(name)
        if key in _EVENT_KEYS and isinstance(value, str):
            event = _plain(value[:40].rpartition(":")[2].rpartition(".")[2])
            kind = _KINDS.get(event.removeprefix("stream"))
            if kind is not None:
                kinds.setdefault(key, kind)
    return next((kinds[key] for key in _EVENT_KEYS if key in kinds), None)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def _spread(document: Mapping[str, object]) -> dict[str, object]:
    """All fields of a message by their plain names, those of inner objects too; the outer win.

    The objects that hold the customer's own parameters are left whole.
    """
    found: dict[str, object] = {}
    level: list[Mapping[str, object]] = [document]
    for _ in range(_DEEPEST):
        inner: list[Mapping[str, object]] = []
        for fields in level:
            for name, value in fields.items():
                plain = _plain(name)
                if isinstance(value, dict) and plain not in _WORDS["custom"]:
                    inner.append(value)
                else:
                    found.setdefault(plain, value)
        level = inner
    return found


def _one(found: Mapping[str, object], word: str) -> object:
    """The first field there is of those that *word* may be called."""
    values = (found[name] for name in _WORDS[word] if name in found)
    return next((value for value in values if value is not None), None)


def _word(found: Mapping[str, object], word: str) -> str | None:
    return text({word: _one(found, word)}, word)


def _count(found: Mapping[str, object], word: str, faults: list[str]) -> int | None:
    return number({word: _one(found, word)}, word, faults)


def _read_tracks(found: Mapping[str, object]) -> tuple[Track, ...]:
    named = _one(found, "tracks")
    return tracks_named(named if isinstance(named, list) else [named])


def _small(kind: str, found: Mapping[str, object], faults: list[str]) -> StreamEvent:
    """A message that is neither audio nor a start."""
    if kind == "connected":
        return Connected(_word(found, "protocol") or "", _word(found, "version") or "")
    if kind == "stop":
        return Stopped(_word(found, "reason"), _word(found, "call id"))
    said = _word(found, "digit" if kind == "dtmf" else "name")
    if said is None:
        raise Misread(f"{kind}: it says nothing")
    if kind == "mark":
        return Mark(said)
    return Digit(said, track_named(_one(found, "track")), _count(found, "duration", faults))
