"""Exotel: Twilio's shape in snake_case, one channel without a track, long messages.

Every number is text, the sample rate included. Audio is 16-bit little-endian, about 100 ms a
message. Nothing says whose audio it is: `DialectSettings.one_channel` does.

Read next: `bandwidth.py`, the last and oddest of the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from minivoice_ref.protocol.dialects.base import Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import as_json
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.media import Encoding, MediaFormat, Started, Track, WireMessage

__all__ = ["ExotelDialect", "ExotelEncoder"]

_ENCODING_NAMES: Mapping[Encoding, str] = {"l16le": "audio/x-raw"}
_MESSAGE = '{"event":"%s","sequence_number":"%d","stream_sid":%s,"%s":%s}'
_MEDIA = (
    '{"event":"media","sequence_number":"%d","stream_sid":%s,'
    '"media":{"chunk":"%d","timestamp":"%d","payload":"%s"}}'
)


class ExotelEncoder(JsonEncoder):
    """Writes the shape; `from` and `to` are taken from `Started.extra`."""

    formats: ClassVar[tuple[MediaFormat, ...]] = (MediaFormat("l16le", 8000, 1),)
    frame_seconds = 0.1

    def __init__(self) -> None:
        super().__init__()
        self._stream = ""  # the stream's id as JSON text

    @classmethod
    def tracks_for(cls, wanted: tuple[Track, ...]) -> tuple[Track, ...]:
        """One channel, whoever is in it."""
        return ("mixed",)

    @classmethod
    def stream_id(cls, digits: str) -> str:
        """The digits alone."""
        return digits

    def _connected(self) -> list[WireMessage]:
        return [as_json({"event": "connected"})]

    def _start(self, started: Started) -> list[WireMessage]:
        encoding = self._named(started.format, _ENCODING_NAMES)
        self._need_identity(started)
        if len(started.tracks) != 1:
            self._refuse("more or less than one track")
        self._stream = as_json(started.stream_id)
        body = {
            "stream_sid": started.stream_id,
            "call_sid": started.call_id,
            "account_sid": started.account_id or "",
            "from": started.extra.get("from", ""),
            "to": started.extra.get("to", ""),
            "custom_parameters": dict(started.custom),
            "media_format": {"encoding": encoding, "sample_rate": str(started.format.sample_rate)},
        }
        return [self._message("start", body)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (sequence, self._stream, chunk, timestamp_ms, payload)

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        body = {"digit": digit}
        if duration_ms is not None:
            body["duration"] = str(duration_ms)
        return [self._message("dtmf", body)]

    def _mark(self, name: str) -> list[WireMessage]:
        return [self._message("mark", {"name": name})]

    def _stop(self, started: Started) -> list[WireMessage]:
        body = {"call_sid": started.call_id, "account_sid": started.account_id or ""}
        return [self._message("stop", body)]

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        return _MESSAGE % (event, self._next(), self._stream, event, as_json(body))


class ExotelDialect(JsonDialect, name="exotel"):
    """Reads the shape."""

    encoder = ExotelEncoder
    nameless = True
    names = Names(
        sequence="sequence_number",
        stream_id="stream_sid",
        call_id="call_sid",
        account_id="account_sid",
        format="media_format",
        sample_rate="sample_rate",
        custom="custom_parameters",
    )

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A `start` with `stream_sid` is this shape's."""
        own = "stream_sid" in document or "stream_sid" in body
        return Sign.START if own else Sign.POSSIBLE
