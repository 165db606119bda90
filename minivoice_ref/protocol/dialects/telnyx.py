"""Telnyx media streaming: snake_case, numbers as text, and no promise of order.

Media may overtake each other; `sequence_number`, which counts all messages of the stream, puts them
back (`reorder.py`). Encodings are PCMU, PCMA and L16. That its L16 is big-endian, as RFC 2586 has
it, is an assumption with a setting; both orders go by that name when it is written. The start names
no tracks, so both are taken to be there. The platform's `error` messages are handed on as
`Unknown`, with what they say. The upgrade carries `x-telnyx-streaming-auth-token`.

Read next: `plivo.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign, WirePayload
from minivoice_ref.protocol.dialects.fields import (
    as_json,
    number,
    object_in,
    object_of,
    shown,
)
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.dialects.reorder import ReorderWindow
from minivoice_ref.protocol.media import (
    Encoding,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = ["TelnyxDialect", "TelnyxEncoder"]

_ENCODING_NAMES: Mapping[Encoding, str] = {
    "mulaw": "PCMU",
    "alaw": "PCMA",
    "l16be": "L16",
    "l16le": "L16",
}
_MESSAGE = '{"event":"%s","sequence_number":"%d","stream_id":%s,"%s":%s}'
_MEDIA = (
    '{"event":"media","sequence_number":"%d","stream_id":%s,'
    '"media":{"track":"%s","chunk":"%d","timestamp":"%d","payload":"%s"}}'
)


class TelnyxEncoder(JsonEncoder):
    """Writes the shape; `from`, `to` and `client_state` are taken from `Started.extra`."""

    formats = (
        MediaFormat("mulaw", 8000),
        MediaFormat("alaw", 8000),
        MediaFormat("l16be", 8000),
        MediaFormat("l16be", 16000),
        MediaFormat("l16le", 8000),
        MediaFormat("l16le", 16000),
    )

    def __init__(self) -> None:
        super().__init__()
        self._stream = ""  # the stream's id as JSON text

    def _connected(self) -> list[WireMessage]:
        return [as_json({"event": "connected", "version": "1.0.0"})]

    def _start(self, started: Started) -> list[WireMessage]:
        encoding = self._named(started.format, _ENCODING_NAMES)
        self._need_identity(started)
        self._need_parties(started)
        self._stream = as_json(started.stream_id)
        extra = started.extra
        body = {
            "user_id": started.account_id or "",
            "call_control_id": started.call_id,
            "call_session_id": extra.get("call_session_id", started.call_id),
            "from": extra.get("from", ""),
            "to": extra.get("to", ""),
            "client_state": extra.get("client_state", ""),
            "custom_parameters": dict(started.custom),
            "media_format": {
                "encoding": encoding,
                "sample_rate": started.format.sample_rate,
                "channels": 1,
            },
        }
        return [self._message("start", body)]

    def _media_text(
        self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
    ) -> str:
        return _MEDIA % (sequence, self._stream, track, chunk, timestamp_ms, payload)

    def _digit(self, digit: str, track: Track, duration_ms: int | None) -> list[WireMessage]:
        return [self._message("dtmf", {"digit": digit})]

    def _mark(self, name: str) -> list[WireMessage]:
        return [self._message("mark", {"name": name})]

    def _stop(self, started: Started) -> list[WireMessage]:
        body = {"user_id": started.account_id or "", "call_control_id": started.call_id}
        return [self._message("stop", body)]

    def _message(self, event: str, body: Mapping[str, object]) -> str:
        return _MESSAGE % (event, self._next(), self._stream, event, as_json(body))


class TelnyxDialect(JsonDialect, name="telnyx"):
    """Reads the shape and puts it in order."""

    encoder = TelnyxEncoder
    l16: ClassVar[Literal["l16le", "l16be"]] = "l16be"
    names = Names(
        sequence="sequence_number",
        stream_id="stream_id",
        call_id="call_control_id",
        account_id="user_id",
        format="media_format",
        sample_rate="sample_rate",
        custom="custom_parameters",
    )

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._window = ReorderWindow(settings.reorder_window)

    @classmethod
    def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
        """A `start` with `call_control_id` is this shape's."""
        return Sign.START if "call_control_id" in body else Sign.POSSIBLE

    def decode(self, message: WireMessage) -> list[StreamEvent]:
        """Read one message: it, and what waited for it; nothing where it must wait itself."""
        events = super().decode(message)
        event = events[0]
        if type(event) is Media:
            return events if event.sequence is None else self._window.put(event.sequence, events)
        document = object_of(message) or {}
        sequence = number(document, "sequence_number", [])
        if isinstance(event, Unknown):
            events = [_error(message, document)] if document.get("event") == "error" else events
        if isinstance(event, Stopped):
            return self._window.flush() + events
        return events if sequence is None else self._window.put(sequence, events)

    def flush(self) -> list[StreamEvent]:
        """Give out what still waits for earlier messages."""
        return self._window.flush()


def _error(message: WireMessage, document: Mapping[str, object]) -> Unknown:
    """What the platform complains of."""
    payload = object_in(document, "payload")
    said = " ".join(shown(payload.get(name)) for name in ("code", "title", "detail"))
    return Unknown(message, f"the platform reports an error: {said}")
