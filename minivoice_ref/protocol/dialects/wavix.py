"""Wavix: a flat start, and audio whose format is not on the wire.

The ids stand beside `event`; `channel` says `inbound`, `outbound` or `both`. The audio is 16-bit
little-endian at 24 kHz, 960 bytes a message of 20 ms: known from the platform alone, and therefore
not changed by the setting for streams without a format. Numbers are numbers, which is how its audio
is told from that of Telnyx where the start is missing.

Two ids beside `event` are little to know a platform by, and a rate of 24 kHz is much to conclude
from them. So a start without `channel` and `event_time`, which this platform always sends, is left
to `minivoice.py`, and its format to the settings.

Read next: `exotel.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import Positions, as_json, tracks_named
from minivoice_ref.protocol.dialects.formats import NamedFormat
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.media import MediaFormat, Started, Track, WireMessage

__all__ = ["WavixDialect", "WavixEncoder"]

_FORMAT = MediaFormat("l16le", 24000, 1)
_START_NAMES = frozenset("stream_id call_id channel event_time".split())
_FORMAT_NAMES = frozenset(
    "media_format mediaFormat format encoding codec sample_rate sampleRate rate".split()
)
_MEDIA = (
    '{"event":"media","stream_id":%s,"sequence_number":%d,'
    '"media":{"payload":"%s","track":"%s","timestamp":%d,"chunk":%d}}'
)


class WavixEncoder(JsonEncoder):
    """Writes the shape; `event_time` is taken from `Started.extra`. No digits and marks here."""

    formats: ClassVar[tuple[MediaFormat, ...]] = (_FORMAT,)

    def __init__(self) -> None:
        super().__init__()
        self._stream = ""  # the stream's id as JSON text

    def _start(self, started: Started) -> list[WireMessage]:
        if started.format != _FORMAT:
            self._refuse(f"{started.format}: it is always {_FORMAT}")
        self._need_identity(started)
        self._need_parties(started)
        self._stream = as_json(started.stream_id)
        message = {
            "event": "start",
            "event_time": started.extra.get("event_time", ""),
            "call_id": started.call_id,
            "stream_id": started.stream_id,
            "channel": "both" if len(started.tracks) > 1 else started.tracks[0],
            "sequence_number": self._next(),
        }
        return [as_json(message)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (self._stream, sequence, payload, track, timestamp_ms, chunk)

    def _stop(self, started: Started) -> list[WireMessage]:
        message = {
            "event": "stop",
            "call_id": started.call_id,
            "stream_id": started.stream_id,
            "sequence_number": self._next(),
        }
        return [as_json(message)]


class WavixDialect(JsonDialect, name="wavix"):
    """Reads the shape."""

    encoder = WavixEncoder
    numbers = int
    names = Names(
        body="",
        sequence="sequence_number",
        stream_id="stream_id",
        call_id="call_id",
        account_id="account_id",
        tracks="channel",
        format="media_format",
        custom="custom_parameters",
    )

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._format, self._positions = _FORMAT, Positions(_FORMAT.sample_rate)

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A flat `start` with all this is of this shape, unless it names a format."""
        flat = _START_NAMES <= document.keys() and "start" not in document
        return Sign.START if flat and _FORMAT_NAMES.isdisjoint(document) else Sign.POSSIBLE

    def _format_of(self, body: Mapping[str, object]) -> NamedFormat:
        return NamedFormat(_FORMAT)

    def _tracks_of(self, body: Mapping[str, object]) -> tuple[Track, ...]:
        return tracks_named([body.get("channel")])
