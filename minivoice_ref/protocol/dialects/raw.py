"""No dialect at all: every binary message is audio, and nothing says what of.

The last resort for a stream without metadata. The format is that of the settings; with one channel
both parties are taken to be in it (`mixed`, unless a setting says otherwise).

Read next: `detect.py`, which comes to this when nobody else knows the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from minivoice_ref.protocol.dialects.base import FALLBACK_FORMAT, Sign
from minivoice_ref.protocol.dialects.binary_family import BinaryDialect, MonoEncoder, l16le
from minivoice_ref.protocol.media import (
    MediaFormat,
    Started,
    StreamEvent,
    Unknown,
    WireMessage,
)

__all__ = ["RawDialect", "RawEncoder"]


class RawEncoder(MonoEncoder):
    """Writes bare audio: no start, no stop, no digits, one track."""

    formats: ClassVar[tuple[MediaFormat, ...]] = (
        FALLBACK_FORMAT,
        *l16le(16000, 24000, 48000),
        *(MediaFormat("l16be", rate, 1) for rate in (8000, 16000, 24000, 48000)),
        *(MediaFormat(encoding, 8000, 1) for encoding in ("mulaw", "alaw")),
    )

    def _start(self, started: Started) -> list[WireMessage]:
        self._need_one_track(started)
        return []


class RawDialect(BinaryDialect, name="raw"):
    """Reads bare audio in the format of the settings."""

    encoder = RawEncoder
    has_start = False

    @classmethod
    def _sign_of_text(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        return Sign.NONE

    def _text(
        self, message: WireMessage, document: Mapping[str, object] | None
    ) -> list[StreamEvent]:
        return [Unknown(message, "text on a stream of bare audio")]
