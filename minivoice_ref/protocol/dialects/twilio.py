"""The JSON shape of Twilio Media Streams, protocol 1.0.0: what the simulator speaks by default.

One JSON object a text message, told apart by `event`: `connected`, `start`, then `media`, `dtmf`
and `mark` in any mix, `stop`. Audio is base64. `sequenceNumber`, `chunk` and `timestamp` are text
that holds a number, and `timestamp` counts milliseconds from the start of the stream. A loss before
the WebSocket shows as a jump of `timestamp`, never as a hole in `sequenceNumber`. Whether `chunk`
counts per track or per stream is open: written per track here, and never relied on when read.

MiniVoice documents no wire format. That it speaks this one is an assumption of ours, made
executable by the simulator; so the reader takes much more than Twilio sends.

This is the dialect to copy from. Read next: `signalwire.py`, its nearest kin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minivoice_ref.protocol.dialects.base import Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import as_json
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.media import Encoding, Started, Track, WireMessage

__all__ = ["UUID", "TwilioDialect", "TwilioEncoder"]

_ENCODING_NAMES: Mapping[Encoding, str] = {
    "mulaw": "audio/x-mulaw",
    "alaw": "audio/x-alaw",
    "l16le": "audio/x-L16",
}
_MESSAGE = '{"event":"%s","sequenceNumber":"%d","streamSid":%s,"%s":%s}'
_MEDIA = (
    '{"event":"media","sequenceNumber":"%d","streamSid":%s,'
    '"media":{"track":"%s","chunk":"%d","timestamp":"%d","payload":"%s"}}'
)

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The form of an id of which it can be told that it is not Twilio's."""


class TwilioEncoder(JsonEncoder):
    """Writes the shape exactly as Twilio documents it: numbers as text, ids where they belong."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = ""  # the stream's id as JSON text

    @classmethod
    def stream_id(cls, digits: str) -> str:
        """`MZ` and the digits."""
        return f"MZ{digits}"

    def _connected(self) -> list[WireMessage]:
        return [as_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})]

    def _start(self, started: Started) -> list[WireMessage]:
        encoding = self._named(started.format, _ENCODING_NAMES)
        self._need_identity(started)
        self._need_parties(started)
        self._stream = as_json(started.stream_id)
        body: dict[str, object] = {
            "accountSid": started.account_id or "",
            "streamSid": started.stream_id,
            "callSid": started.call_id,
            "tracks": list(started.tracks),
            "mediaFormat": {
                "encoding": encoding,
                "sampleRate": started.format.sample_rate,
                "channels": 1,
            },
            "customParameters": dict(started.custom),
        }
        return [self._message("start", body)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (sequence, self._stream, track, chunk, timestamp_ms, payload)

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        return [self._message("dtmf", {"track": f"{track}_track", "digit": digit})]

    def _mark(self, name: str) -> list[WireMessage]:
        return [self._message("mark", {"name": name})]

    def _stop(self, started: Started) -> list[WireMessage]:
        body = {"accountSid": started.account_id or "", "callSid": started.call_id}
        return [self._message("stop", body)]

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        return _MESSAGE % (event, self._next(), self._stream, event, as_json(body))


class TwilioDialect(JsonDialect, name="twilio"):
    """Reads the shape, and the codecs of its kin."""

    encoder = TwilioEncoder
    names = Names(stream_id="streamSid", call_id="callSid", account_id="accountSid")

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A `start` with `streamSid` or `callSid` is this shape's, if perhaps SignalWire's."""
        if "streamSid" not in document and not {"streamSid", "callSid"} & body.keys():
            return Sign.POSSIBLE
        stream_id = body.get("streamSid")
        is_uuid = isinstance(stream_id, str) and UUID.fullmatch(stream_id)
        return Sign.LIKELY_START if is_uuid else Sign.START
