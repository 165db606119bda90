"""jambonz `listen`: the call's attributes as JSON first, then 16-bit audio.

The attributes (`callSid`, `from`, `to`, `sampleRate`, `mixType` and the application's own) stand at
the top level. `mixType` is `mono`, which is the caller alone, `stereo` or `mixed`. The platform
proposes the subprotocol `audio.jambonz.org`, its older module `audio.drachtio.org`, and does not go
on where it is not selected. Digits come as text where the application asked for them. No stop.

Read next: `vonage.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import Sign
from minivoice_ref.protocol.dialects.binary_family import (
    BinaryDialect,
    StereoEncoder,
    l16le,
    layout,
    mix_type,
)
from minivoice_ref.protocol.dialects.fields import (
    Misread,
    as_json,
    faulted,
    number,
    object_in,
    scalars,
    text,
)
from minivoice_ref.protocol.dialects.formats import read_format
from minivoice_ref.protocol.media import Digit, Started, StreamEvent, Track, Unknown, WireMessage

__all__ = ["JambonzDialect", "JambonzEncoder"]

_READ = frozenset({"callSid", "accountSid", "sampleRate", "mixType", "metadata"})


class JambonzEncoder(StereoEncoder):
    """Writes the attributes; `from` and `to` are taken from `Started.extra`."""

    formats = l16le(8000, 16000, 24000, 32000, 48000, 64000)
    subprotocols = ("audio.jambonz.org",)

    def _start(self, started: Started) -> list[WireMessage]:
        self._need_layout(started)
        if not started.call_id:
            self._refuse("a start without a call id")
        attributes = {
            "callSid": started.call_id,
            "accountSid": started.account_id or "",
            "from": started.extra.get("from", ""),
            "to": started.extra.get("to", ""),
            "sampleRate": started.format.sample_rate,
            "mixType": mix_type(started.tracks),
            "metadata": dict(started.custom),
        }
        return [as_json(attributes)]

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        message = {"event": "dtmf", "dtmf": digit}
        if duration_ms is not None:
            message["duration"] = str(duration_ms)
        return [as_json(message)]


class JambonzDialect(BinaryDialect, name="jambonz"):
    """Reads the attributes, digits and audio."""

    encoder = JambonzEncoder
    subprotocols = ("audio.jambonz.org", "audio.drachtio.org")

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        """Attributes with `callSid` and a word on the audio; nothing else says both at the top."""
        if document is None or "event" in document:
            digit = document is not None and type(document.get("dtmf")) in (str, int)
            return Sign.POSSIBLE if digit else Sign.NONE
        own = "callSid" in document and ("sampleRate" in document or "mixType" in document)
        return Sign.START if own else Sign.NONE

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        if document is None:
            return [Unknown(message, "not a JSON object")]
        if document.get("event") == "dtmf":
            digit = text(document, "dtmf")
            if digit is None:
                raise Misread("dtmf: digit is missing")
            faults: list[str] = []
            event = Digit(digit, None, number(document, "duration", faults))
            return [event, *faulted(message, "dtmf", faults)]
        if "event" in document or "callSid" not in document:
            return [Unknown(message, "neither the call's attributes nor a digit")]
        return self._start(message, document)

    def _start(self, message: WireMessage, document: Mapping[str, object]) -> list[StreamEvent]:
        """A start is never refused: what it does not name, the settings do, or an earlier one."""
        fallback = self._format
        named = read_format("L16", document, "sampleRate", l16="l16le", fallback=fallback)
        faults, tracks = list(named.faults), self._tracks
        try:
            tracks = layout(text(document, "mixType"))
        except Misread as exc:
            faults += [str(exc), f"{' and '.join(tracks)} is assumed"]
        self._carry(named.format, tracks)
        started = Started(
            dialect=self.name,
            format=self._format,
            tracks=self._tracks,
            call_id=text(document, "callSid"),
            account_id=text(document, "accountSid"),
            custom=scalars(object_in(document, "metadata")),
            extra={name: value for name, value in document.items() if name not in _READ},
            assumed=bool(faults),
        )
        return [started, *faulted(message, "attributes", faults)]
