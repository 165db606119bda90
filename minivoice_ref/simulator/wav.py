"""WAV files of any rate, width and number of channels, as 16-bit mono samples.

The standard library's `wave` knows whole numbers only, and which headers it accepts depends on the
version of Python. What people have on their disks is more: floating point from audio editors,
`WAVE_FORMAT_EXTENSIBLE` from recorders, G.711 from telephone systems, and headers whose sizes were
never filled in because the writer wrote to a pipe. So the few chunks that matter are read here.

It must not know calls or streams, nor resample: `speech.py`, which is next to read, does that.

Fact: RIFF/WAVE, "Multimedia Programming Interface and Data Specifications 1.0", chunks `fmt ` and
`data`; the codes of formats (1 PCM, 3 IEEE float, 6 A-law, 7 mu-law, 0xFFFE extensible) as in the
registry of RFC 2361 and the Windows headers.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from minivoice_ref.protocol.audio import decode_alaw, decode_mulaw, mix_down
from minivoice_ref.protocol.errors import MiniVoiceError

__all__ = ["BadWav", "Wav", "read_wav"]

_PCM, _FLOAT, _ALAW, _MULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_WIDTHS = {_PCM: (1, 2, 3, 4), _FLOAT: (4, 8), _ALAW: (1,), _MULAW: (1,)}
_RATES = range(1000, 384001)
_MOST_CHANNELS = 32


class BadWav(MiniVoiceError):
    """A WAV file cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Wav:
    """What a WAV file holds: 16-bit little-endian samples of one channel, `rate` a second."""

    rate: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class _Layout:
    """The `fmt ` chunk: how one block (a sample of every channel) is laid out; `width` in bytes."""

    code: int
    channels: int
    rate: int
    width: int


def read_wav(content: bytes, name: str) -> Wav:
    """Read the whole WAV file *content*; several channels are mixed into one.

    *name* is what the errors call it. Samples wider than 16 bits are cut to 16. Takes time in
    proportion to the file: not for the event loop. Raises BadWav where the content is not a WAV
    file, is of a kind that is not read here, or holds no audio.
    """
    layout: _Layout | None = None
    try:
        for kind, chunk in _chunks(content):
            if kind == b"fmt ":
                layout = _read_layout(chunk)
            elif kind == b"data":
                if layout is None:
                    raise BadWav("its audio comes before the description of its format")
                return Wav(layout.rate, _read_samples(chunk, layout))
        raise BadWav("it has no audio (no `data` chunk)")
    except BadWav as exc:
        raise BadWav(f"{name} cannot be used: {exc}") from None


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a RIFF/WAVE file; one that claims more than there is ends with the file."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise BadWav("it is not a WAV file (no RIFF/WAVE header)")
    view, position = memoryview(content), 12
    while position + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, position)
        if kind == b"data" and size == 0:
            size = len(content)  # written to a pipe: the size was never filled in
        yield kind, view[position + 8 : position + 8 + size]
        position += 8 + size + (size & 1)


def _read_layout(chunk: memoryview) -> _Layout:
    if len(chunk) < 16:
        raise BadWav("the description of its format is cut short")
    code, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        (code,) = struct.unpack_from("<H", chunk, 24)
    if rate not in _RATES:
        raise BadWav(f"{rate} samples a second; {_RATES[0]} to {_RATES[-1]} are read")
    if not 1 <= channels <= _MOST_CHANNELS:
        raise BadWav(f"{channels} channels; 1 to {_MOST_CHANNELS} are read")
    # What a sample takes in the file, which is more than its bits for say 12 or 20 bits.
    width, rest = divmod(block, channels)
    if rest or width not in _WIDTHS.get(code, ()):
        raise BadWav(
            f"format {code} with {bits} bits a sample; read are PCM of 8 to 32 bits,"
            " floating point of 32 or 64, A-law and mu-law"
        )
    return _Layout(code, channels, rate, width)


def _read_samples(data: memoryview, layout: _Layout) -> bytes:
    whole = len(data) - len(data) % (layout.width * layout.channels)
    if not whole:
        raise BadWav("it holds no audio (0 samples)")
    pcm = _to_16_bit(bytes(data[:whole]), layout)
    return pcm if layout.channels == 1 else mix_down(pcm, layout.channels)


def _to_16_bit(data: bytes, layout: _Layout) -> bytes:
    """Samples of any kind as 16-bit little-endian ones, channels still interleaved."""
    width = layout.width
    if layout.code == _MULAW:
        return decode_mulaw(data)
    if layout.code == _ALAW:
        return decode_alaw(data)
    if layout.code == _FLOAT:
        return _from_floats(data, "f" if width == 4 else "d")
    if width == 1:  # unsigned, 128 is silence
        data = bytes((byte - 128) & 0xFF for byte in data)
    samples = bytearray(2 * (len(data) // width))
    samples[1::2] = data[width - 1 :: width]
    if width > 1:
        samples[0::2] = data[width - 2 :: width]
    return bytes(samples)


def _from_floats(data: bytes, typecode: str) -> bytes:
    values = struct.unpack(f"<{len(data) // struct.calcsize(typecode)}{typecode}", data)
    samples = [
        round(max(-1.0, min(1.0, value)) * 32767) if math.isfinite(value) else 0 for value in values
    ]
    return struct.pack(f"<{len(samples)}h", *samples)
