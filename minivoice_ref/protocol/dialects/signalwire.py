"""SignalWire: Twilio's shape, protocol 0.2.0, with small differences.

Ids are UUIDs, which is how a start is told from Twilio's: a stream whose id is none is taken for
Twilio's, and read the same but for the name. `media` and `stop` do not name the stream again, which
tells the audio of a stream whose start is missing; `stop` is bare, `dtmf` has a duration in
milliseconds, and the audio may be 16-bit at 16 or 24 kHz as well. The upgrade carries
`Authorization: Bearer`.

Read next: `telnyx.py`, whose messages come in any order.
"""

from __future__ import annotations

from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import Encoder, Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import as_json
from minivoice_ref.protocol.dialects.twilio import UUID, TwilioDialect, TwilioEncoder
from minivoice_ref.protocol.media import MediaFormat, Started, Track, WireMessage

__all__ = ["SignalWireDialect", "SignalWireEncoder"]

_MEDIA = (
    '{"event":"media","sequenceNumber":"%d",'
    '"media":{"track":"%s","chunk":"%d","timestamp":"%d","payload":"%s"}}'
)


class SignalWireEncoder(TwilioEncoder):
    """Writes what differs from Twilio's shape."""

    formats = (*TwilioEncoder.formats, MediaFormat("l16le", 16000), MediaFormat("l16le", 24000))

    @classmethod
    def stream_id(cls, digits: str) -> str:
        """A UUID."""
        return Encoder.stream_id(digits)

    def _connected(self) -> list[WireMessage]:
        return [as_json({"event": "connected", "protocol": "Call", "version": "0.2.0"})]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (sequence, track, chunk, timestamp_ms, payload)

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        body: dict[str, object] = {"track": f"{track}_track", "digit": digit}
        if duration_ms is not None:
            body["duration"] = duration_ms
        return [self._message("dtmf", body)]

    def _stop(self, started: Started) -> list[WireMessage]:
        return [as_json({"event": "stop", "sequenceNumber": str(self._next())})]


class SignalWireDialect(TwilioDialect, name="signalwire"):
    """Reads the shape; only the start is told from Twilio's."""

    encoder = SignalWireEncoder
    media_name_stream = False

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A start of Twilio's shape whose stream has a UUID."""
        sign = super()._sign_of_start(document, body)
        if sign is Sign.START:
            return Sign.LIKELY_START
        stream_id = body.get("streamSid")
        is_uuid = isinstance(stream_id, str) and UUID.fullmatch(stream_id)
        return Sign.START if is_uuid else sign
