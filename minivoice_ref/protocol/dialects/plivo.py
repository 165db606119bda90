"""Plivo audio streams: camelCase, numbers as numbers, neither a greeting nor a stop.

The socket just closes at the end. `timestamp` is text: Unix milliseconds in one source, counted
from the start of the stream in another; `fields.Positions` tells by the magnitude. The customer's
own parameters come as `extra_headers`, a text such as `k=v;k2=v2`. Audio is mu-law at 8 kHz or
16-bit little-endian at 8 or 16.

Read next: `wavix.py`, whose start is flat.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import as_json
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.media import Encoding, MediaFormat, Started, Track, WireMessage

__all__ = ["PlivoDialect", "PlivoEncoder"]

_ENCODING_NAMES: Mapping[Encoding, str] = {"mulaw": "audio/x-mulaw", "l16le": "audio/x-l16"}
_DTMF = (
    '{"event":"dtmf","sequenceNumber":%d,"streamId":%s,'
    '"dtmf":{"track":"%s","digit":"%s","timestamp":"%d"}}'
)
_MEDIA = (
    '{"event":"media","sequenceNumber":%d,"streamId":%s,'
    '"media":{"track":"%s","timestamp":"%d","chunk":%d,"payload":"%s"}}'
)


class PlivoEncoder(JsonEncoder):
    """Writes the shape; a mark has no message here, and the end is only the socket's."""

    formats = (MediaFormat("mulaw", 8000), MediaFormat("l16le", 8000), MediaFormat("l16le", 16000))
    has_stop = False

    def __init__(self) -> None:
        super().__init__()
        self._stream = ""  # the stream's id as JSON text
        self._timestamp = 0  # of the latest audio: a digit has one too

    def _start(self, started: Started) -> list[WireMessage]:
        encoding = self._named(started.format, _ENCODING_NAMES)
        self._need_identity(started)
        self._need_parties(started)
        if any(set(";=") & set(name) or ";" in value for name, value in started.custom.items()):
            self._refuse("custom parameters with a semicolon in them, or = in a name")
        self._stream = as_json(started.stream_id)
        message = {
            "event": "start",
            "sequenceNumber": self._next(),
            "start": {
                "callId": started.call_id,
                "streamId": started.stream_id,
                "accountId": started.account_id or "",
                "tracks": list(started.tracks),
                "mediaFormat": {"encoding": encoding, "sampleRate": started.format.sample_rate},
            },
            "extra_headers": ";".join(f"{name}={value}" for name, value in started.custom.items()),
        }
        return [as_json(message)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        self._timestamp = timestamp_ms
        return _MEDIA % (sequence, self._stream, track, timestamp_ms, chunk, payload)

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        return [_DTMF % (self._next(), self._stream, track, digit, self._timestamp)]


class PlivoDialect(JsonDialect, name="plivo"):
    """Reads the shape."""

    encoder = PlivoEncoder
    numbers = int
    names = Names(custom="extra_headers")

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A `start` with `streamId` and `callId` is this shape's."""
        return Sign.START if {"streamId", "callId"} <= body.keys() else Sign.POSSIBLE
