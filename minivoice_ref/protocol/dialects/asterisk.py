"""Asterisk chan_websocket: `MEDIA_START` as JSON or as plain text, audio in the channel's codec.

Which of the two forms is a setting of Asterisk's; plain text, which the simulator speaks under the
name `asterisk-text`, is `MEDIA_START key:value key:value`. Both are read by the one name.
Audio may come before it, and is then read in the format that it names once it has come. One channel
carries what the channel hears. Nothing names the call; `channel` is taken for it, an assumption.
Digits come as `DTMF_END`; flow control and the like are handed on as `Unknown`. No stop.

Read next: `minivoice.py`, which takes what nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from minivoice_ref.protocol.dialects.base import Sign
from minivoice_ref.protocol.dialects.binary_family import BinaryDialect, MonoEncoder
from minivoice_ref.protocol.dialects.fields import Misread, as_json, faulted, number, shown, text
from minivoice_ref.protocol.dialects.formats import NamedFormat, unknown_format
from minivoice_ref.protocol.media import (
    Digit,
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = ["AsteriskDialect", "AsteriskEncoder", "AsteriskTextEncoder"]

_START, _DTMF = "MEDIA_START", "DTMF_END"
_READ = frozenset({"event", "connection_id", "channel", "format"})
_RATES = {12: 12000, 16: 16000, 24: 24000, 32: 32000, 44: 44100, 48: 48000, 96: 96000, 192: 192000}
_FORMATS: Mapping[str, MediaFormat] = {
    "ulaw": MediaFormat("mulaw", 8000),
    "alaw": MediaFormat("alaw", 8000),
    "slin": MediaFormat("l16le", 8000),
} | {f"slin{name}": MediaFormat("l16le", rate) for name, rate in _RATES.items()}
_NAMES = {format: name for name, format in _FORMATS.items()}
_WRITTEN = "ulaw alaw slin slin12 slin16 slin24 slin32 slin48".split()


class AsteriskEncoder(MonoEncoder):
    """Writes control messages as JSON."""

    formats = tuple(_FORMATS[name] for name in _WRITTEN)

    def _start(self, started: Started) -> list[WireMessage]:
        self._need_one_track(started)
        if started.format not in _NAMES:
            self._refuse(f"{started.format}: the format has no name here")
        samples = round(started.format.sample_rate * self.frame_seconds)
        fields = {
            "connection_id": started.stream_id or "",
            "channel": started.call_id or "",
            "format": _NAMES[started.format],
            "optimal_frame_size": samples * started.format.bytes_per_sample,
            "ptime": round(self.frame_seconds * 1000),
        }
        return [self._control(_START, fields)]

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        return [self._control(_DTMF, {"digit": digit})]

    def _control(self, event: str, fields: Mapping[str, object]) -> str:
        return as_json({"event": event, **fields})


class AsteriskTextEncoder(AsteriskEncoder):
    """Writes control messages as plain text."""

    def _control(self, event: str, fields: Mapping[str, object]) -> str:
        if any(set(str(value)) & set(" \t\r\n") for value in fields.values()):
            self._refuse("a value with a space in it")
        return " ".join([event, *(f"{name}:{value}" for name, value in fields.items())])


class AsteriskDialect(BinaryDialect, name="asterisk"):
    """Reads both forms of control messages, and audio."""

    encoder = AsteriskEncoder
    other_encoders = MappingProxyType({"asterisk-text": AsteriskTextEncoder})
    subprotocols = ("media",)

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Nobody else shouts."""
        event = _fields(message, document).get("event")
        if event == _START:
            return Sign.START
        return Sign.POSSIBLE if event == _DTMF else Sign.NONE

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        fields = _fields(message, document)
        event = fields.get("event")
        if event == _START:
            return self._start(message, fields)
        if event != _DTMF:
            return [Unknown(message, f"event {shown(event)} is not known")]
        digit = text(fields, "digit")
        if digit is None:
            raise Misread("dtmf: digit is missing")
        faults: list[str] = []
        pressed = Digit(digit, None, number(fields, "duration_ms", faults))
        return [pressed, *faulted(message, _DTMF, faults)]

    def _start(self, message: WireMessage, fields: Mapping[str, object]) -> list[StreamEvent]:
        """A start is never refused: where it names no format, the settings do."""
        name = text(fields, "format")
        if name is None:
            faults = ("format is missing", f"{self._wire} is assumed")
            named = NamedFormat(self._format, faults, assumed=True)
        else:
            known = _FORMATS.get(name)
            named = NamedFormat(known) if known else unknown_format(name, self.settings.mono)
            self._carry(named.format, (self.settings.one_channel,))
        read = _READ - {"format"} if named.faults else _READ
        started = Started(
            dialect=self.name,
            format=self._format,
            tracks=self._tracks,
            stream_id=text(fields, "connection_id"),
            call_id=text(fields, "channel"),
            extra={name: value for name, value in fields.items() if name not in read},
            assumed=named.assumed,
        )
        return [started, *named.told(message, _START)]


def _fields(message: WireMessage, document: Mapping[str, object] | None) -> Mapping[str, object]:
    """The fields of a control message of either form; the event's name is one of them."""
    if document is not None or isinstance(message, bytes):
        return document or {}
    event, *words = message.split(maxsplit=50) or [""]
    pairs = (word.partition(":") for word in words)
    return {name: value for name, _, value in pairs} | {"event": event}
