"""What the streams of a measurement say: the same frames to every server, made beforehand.

A stream carries both tracks in Twilio's shape, one message for 20 ms of a track, each a masked
WebSocket frame. All streams say the same at the same tick, so a frame is made once and sent many
times. Only the first nine bytes of its audio differ: there the client writes when it sent it, by
the machine's monotonic clock, and the server under test, which shares that clock, reads how long
the frame took. Zero says that the frame is not to be counted.

It must not know sockets. Read next: `streams.py`.
"""

from __future__ import annotations

import struct
from binascii import b2a_base64
from dataclasses import dataclass
from typing import TypeAlias

from minivoice_ref.net.frames import whole_frames
from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.dialects.detect import encoder_named
from minivoice_ref.protocol.media import MediaFormat, Started
from minivoice_ref.simulator.speech import TICK, packaged_voice

__all__ = ["TICK", "TICKS_A_SECOND", "TRACKS", "Script", "Unstamped", "stamp", "write_script"]

TICKS_A_SECOND = round(1 / TICK)
TRACKS = ("inbound", "outbound")

Unstamped: TypeAlias = tuple[bytes, int, bytes]
"""A frame without its stamp: what comes before it, the mask that lies over it, what comes after."""

_STAMP = struct.Struct(">d")
_STAMP_BYTES = 9  # eight of a number and one more: twelve characters of base64, none of it padding
_STAMP_CHARACTERS = 12
_HEADER = 8  # of a masked frame of 126 to 65,535 bytes (RFC 6455 section 5.2)
_STREAM_ID = f"MZ{0:032}"
_CALL_ID = "CA{:032}"


@dataclass(frozen=True, slots=True)
class Script:
    """All that a stream says: `opening(number)`, then `ticks` one by one, then `closing`."""

    ticks: list[tuple[Unstamped, Unstamped]]
    closing: bytes

    @staticmethod
    def opening(number: int) -> bytes:
        """What the *number*-th stream says first: the greeting and the start."""
        encoder, started = _start(number)
        return whole_frames([*encoder.connected(), *encoder.start(started)], masked=True)

    @staticmethod
    def call_id(number: int) -> str:
        """The id of the call of the *number*-th stream."""
        return _CALL_ID.format(number)


def write_script(ticks: int) -> Script:
    """A script of *ticks* times 20 ms of two voices."""
    encoder, started = _start(0)
    encoder.connected()
    encoder.start(started)
    voices = packaged_voice("caller"), packaged_voice("agent")
    lines = []
    for tick in range(ticks):
        inbound, outbound = [
            _unstamped(encoder, track, voice.frame(tick), round(tick * TICK * 1000))
            for track, voice in zip(TRACKS, voices, strict=True)
        ]
        lines.append((inbound, outbound))
    goodbye = b"\x88\x82" + bytes(4) + b"\x03\xe8"  # a Close with 1000 (RFC 6455 section 5.5.1)
    return Script(lines, whole_frames(encoder.stop(), masked=True) + goodbye)


def stamp(line: Unstamped, seconds: float) -> bytes:
    """The frame *line* as sent at *seconds* of the monotonic clock."""
    before, mask, after = line
    text = b2a_base64(_STAMP.pack(seconds) + b"\xff", newline=False)
    return before + (int.from_bytes(text) ^ mask).to_bytes(_STAMP_CHARACTERS) + after


def _start(number: int) -> tuple[Encoder, Started]:
    started = Started(
        dialect="twilio",
        format=MediaFormat("mulaw", 8000, 1),
        tracks=("inbound", "outbound"),
        stream_id=_STREAM_ID,
        call_id=_CALL_ID.format(number),
        account_id="benchmark",
    )
    return encoder_named("twilio"), started


def _unstamped(encoder: Encoder, track: str, audio: bytes, timestamp_ms: int) -> Unstamped:
    prepared = encoder.prepare(bytes(_STAMP_BYTES) + audio[_STAMP_BYTES:])
    assert isinstance(prepared, str)
    text = encoder.media_prepared(track, prepared, timestamp_ms)[0]  # type: ignore[arg-type]
    assert isinstance(text, str) and len(text) > 125
    at = text.index(prepared)
    frame = whole_frames([text], masked=True)
    mask = (frame[_HEADER - 4 : _HEADER] * 4)[at % 4 :][:_STAMP_CHARACTERS]
    begin = _HEADER + at
    return frame[:begin], int.from_bytes(mask), frame[begin + _STAMP_CHARACTERS :]
