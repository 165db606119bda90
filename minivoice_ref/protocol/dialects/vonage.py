"""Vonage: `websocket:connected` with the content type and the application's own keys, then audio.

Both parties are mixed into one channel of 16-bit little-endian audio at 8, 16 or 24 kHz, exactly
20 ms a message. The greeting is the start at once. Nothing names the call except what the
application put into its keys, so the usual words are looked for there. No stop, no sequence.

Read next: `asterisk.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import Sign
from minivoice_ref.protocol.dialects.binary_family import (
    BinaryDialect,
    MonoEncoder,
    call_id_of,
    l16le,
)
from minivoice_ref.protocol.dialects.fields import (
    Misread,
    as_json,
    faulted,
    number,
    scalars,
    shown,
    text,
)
from minivoice_ref.protocol.dialects.formats import read_format
from minivoice_ref.protocol.media import (
    Digit,
    Started,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = ["VonageDialect", "VonageEncoder"]

_CONNECTED, _DTMF = "websocket:connected", "websocket:dtmf"
_OURS = frozenset({"event", "content-type"})


class VonageEncoder(MonoEncoder):
    """Writes the greeting; the call's id becomes the key `call_id`."""

    formats = l16le(8000, 16000, 24000)

    def _start(self, started: Started) -> list[WireMessage]:
        self._need_one_track(started)
        if started.format.encoding != "l16le":
            self._refuse(f"{started.format}: it is always l16le")
        greeting = {
            **started.custom,
            "event": _CONNECTED,
            "content-type": f"audio/l16;rate={started.format.sample_rate}",
        }
        if started.call_id:
            greeting["call_id"] = started.call_id
        return [as_json(greeting)]

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        duration = 100 if duration_ms is None else duration_ms
        return [as_json({"event": _DTMF, "digit": digit, "duration": duration})]


class VonageDialect(BinaryDialect, name="vonage"):
    """Reads the greeting, digits and audio."""

    encoder = VonageEncoder

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Nobody else says `websocket:` before an event."""
        event = None if document is None else document.get("event")
        if event == _CONNECTED:
            return Sign.START
        return Sign.POSSIBLE if event == _DTMF else Sign.NONE

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        event = None if document is None else document.get("event")
        if document is None or event not in (_CONNECTED, _DTMF):
            return [Unknown(message, f"event {shown(event)} is not known")]
        if event == _CONNECTED:
            return self._start(message, document)
        digit = text(document, "digit")
        if digit is None:
            raise Misread("dtmf: digit is missing")
        faults: list[str] = []
        pressed = Digit(digit, None, number(document, "duration", faults))
        return [pressed, *faulted(message, _DTMF, faults)]

    def _start(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        """A start is never refused: what it does not name, the settings do, or an earlier one."""
        content_type, fallback = document.get("content-type"), self._format
        named = read_format(content_type, {}, "rate", l16="l16le", fallback=fallback)
        self._carry(named.format, ("mixed",))
        keys = {name: value for name, value in document.items() if name not in _OURS}
        custom = scalars(keys)
        started = Started(
            dialect=self.name,
            format=self._format,
            tracks=self._tracks,
            call_id=call_id_of(keys),
            custom=custom,
            extra={name: value for name, value in keys.items() if name not in custom},
            assumed=named.assumed,
        )
        return [started, *named.told(message, "content-type")]
