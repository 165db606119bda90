"""G.711 and 16-bit audio with what the standard library has: to hear, to write down, to measure.

A stream hands its audio on as it was sent; whoever wants samples asks `to_pcm`, so nothing is
decoded that nobody listens to. *PCM* here always means 16-bit signed little-endian samples of one
channel, as bytes.

The trick is to let C loops do the work. Decoding a G.711 byte is a table of 256; `bytes.translate`
applies one table for the low bytes of the samples and one for the high ones, and two slice
assignments interleave them. Encoding is a table of 65,536, one `map` over the samples. `audioop`,
which left Python in 3.13, is not used; the results are the same, bit for bit.

Facts: ITU-T G.711. Silence in mu-law is 0xFF and in A-law 0xD5, never 0x00, which is loud.

Knows nothing of streams or tracks. Read next: `timeline.py`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import mul

from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import Encoding, MediaFormat

__all__ = [
    "Level",
    "decode_alaw",
    "decode_mulaw",
    "encode_alaw",
    "encode_mulaw",
    "from_pcm",
    "level",
    "mix_down",
    "resample",
    "silence",
    "split_channels",
    "swap_l16",
    "to_pcm",
]

_FULL_SCALE = 32768
_FLOOR_DBFS = -100.0

# --- G.711: what one code means ---


def _mulaw_sample(code: int) -> int:
    """The sample of one mu-law code: sign, 3 bits of exponent, 4 of mantissa, all inverted."""
    exponent, mantissa = ~code >> 4 & 0x07, ~code & 0x0F
    magnitude = ((2 * mantissa + 33) << (exponent + 2)) - 132
    return magnitude if code & 0x80 else -magnitude


def _alaw_sample(code: int) -> int:
    """The sample of one A-law code: the same, with every second bit inverted and a linear start."""
    exponent, mantissa = (code ^ 0x55) >> 4 & 0x07, (code ^ 0x55) & 0x0F
    step = 2 * mantissa + (33 if exponent else 1)
    magnitude = step << (max(exponent, 1) + 2)
    return magnitude if code & 0x80 else -magnitude


def _mulaw_code(sample: int) -> int:
    """The mu-law code of one sample, of which the lowest two bits do not count."""
    value = sample >> 2
    magnitude = min(abs(value), 8158) + 33  # 33: the bias that makes every exponent's range alike
    exponent = magnitude.bit_length() - 6
    code = exponent << 4 | magnitude >> (exponent + 1) & 0x0F
    return ~code & (0xFF if value >= 0 else 0x7F)


def _alaw_code(sample: int) -> int:
    """The A-law code of one sample, of which the lowest three bits do not count."""
    value = sample >> 3
    magnitude = value if value >= 0 else ~value
    exponent = max(magnitude.bit_length() - 5, 0)
    code = exponent << 4 | magnitude >> max(exponent, 1) & 0x0F
    return code ^ (0xD5 if value >= 0 else 0x55)


def _decoder(sample_of: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Tables for `bytes.translate`: the low bytes and the high bytes of the 256 samples."""
    pcm = struct.pack("<256h", *map(sample_of, range(256)))
    return pcm[0::2], pcm[1::2]


_MULAW = _decoder(_mulaw_sample)
_ALAW = _decoder(_alaw_sample)


@cache
def _encoder(code_of: Callable[[int], int], ignored_bits: int) -> bytes:
    """The codes of all samples, by the sample read as unsigned. Made when first asked for: 5 ms."""
    step = 1 << ignored_bits
    in_order = (*range(0, 32768, step), *range(-32768, 0, step))
    return b"".join(bytes((code_of(sample),)) * step for sample in in_order)


def _decode(payload: bytes, tables: tuple[bytes, bytes]) -> bytes:
    pcm = bytearray(2 * len(payload))
    pcm[0::2] = payload.translate(tables[0])
    pcm[1::2] = payload.translate(tables[1])
    return bytes(pcm)


def decode_mulaw(payload: bytes) -> bytes:
    """PCM of mu-law codes."""
    return _decode(payload, _MULAW)


def decode_alaw(payload: bytes) -> bytes:
    """PCM of A-law codes."""
    return _decode(payload, _ALAW)


def encode_mulaw(pcm: bytes) -> bytes:
    """The nearest mu-law codes of PCM."""
    codes = _encoder(_mulaw_code, 2)
    return bytes(map(codes.__getitem__, struct.unpack(f"<{len(pcm) // 2}H", _whole(pcm))))


def encode_alaw(pcm: bytes) -> bytes:
    """The nearest A-law codes of PCM."""
    codes = _encoder(_alaw_code, 3)
    return bytes(map(codes.__getitem__, struct.unpack(f"<{len(pcm) // 2}H", _whole(pcm))))


# --- any encoding ---


def swap_l16(payload: bytes) -> bytes:
    """16-bit audio in the other byte order; a torn last sample is left out."""
    swapped = bytearray(len(payload) & ~1)
    swapped[0::2] = payload[1::2]
    swapped[1::2] = payload[0 : len(swapped) : 2]
    return bytes(swapped)


def _whole(pcm: bytes) -> bytes:
    """*pcm* without the torn last sample that an odd length means (the sender's fault)."""
    return pcm[:-1] if len(pcm) & 1 else pcm


_TO_PCM: Mapping[Encoding, Callable[[bytes], bytes]] = {
    "mulaw": decode_mulaw,
    "alaw": decode_alaw,
    "l16le": _whole,
    "l16be": swap_l16,
}
_FROM_PCM: Mapping[Encoding, Callable[[bytes], bytes]] = {
    "mulaw": encode_mulaw,
    "alaw": encode_alaw,
    "l16le": _whole,
    "l16be": swap_l16,
}
_SILENCE: Mapping[Encoding, bytes] = {
    "mulaw": b"\xff",
    "alaw": b"\xd5",
    "l16le": b"\0\0",
    "l16be": b"\0\0",
}


def to_pcm(payload: bytes, format: MediaFormat) -> bytes:
    """PCM of one track's audio.

    Raises LocalProtocolError for a format of several channels, or of an unknown encoding.
    """
    _need_one_channel(format)
    return _TO_PCM[format.encoding](payload)


def from_pcm(pcm: bytes, format: MediaFormat) -> bytes:
    """One track's audio in *format*. Raises LocalProtocolError as `to_pcm` does."""
    _need_one_channel(format)
    return _FROM_PCM[format.encoding](pcm)


def silence(format: MediaFormat, samples: int) -> bytes:
    """*samples* samples of silence in all channels of *format*.

    Raises LocalProtocolError for an unknown encoding.
    """
    _need_readable(format)
    return _SILENCE[format.encoding] * (samples * format.channels)


def split_channels(payload: bytes, format: MediaFormat) -> list[bytes]:
    """The channels that stand interleaved in *payload*, each in the same encoding.

    A torn last sample is left out, except of one channel, which is handed back as it came.
    """
    if format.channels == 1:
        return [payload]
    size, step = format.bytes_per_sample // format.channels, format.bytes_per_sample
    whole = len(payload) - len(payload) % step
    channels = []
    for channel in range(format.channels):
        mono = bytearray(whole // format.channels)
        for byte in range(size):
            mono[byte::size] = payload[channel * size + byte : whole : step]
        channels.append(bytes(mono))
    return channels


def mix_down(pcm: bytes, channels: int) -> bytes:
    """One channel of PCM from *channels* interleaved ones: their mean."""
    size = len(pcm) // (2 * channels) * channels
    samples = struct.unpack(f"<{size}h", pcm[: 2 * size])
    sums = map(sum, zip(*(samples[n::channels] for n in range(channels)), strict=True))
    return struct.pack(f"<{size // channels}h", *(total // channels for total in sums))


def _need_one_channel(format: MediaFormat) -> None:
    _need_readable(format)
    if format.channels != 1:
        raise LocalProtocolError(f"{format}: split the channels first")


def _need_readable(format: MediaFormat) -> None:
    if not format.readable:
        raise LocalProtocolError(f"{format}: nobody can tell the samples of an unknown encoding")


# --- how loud ---


@dataclass(frozen=True, slots=True)
class Level:
    """How loud: decibels below the loudest sample there can be (0.0), at least -100.0.

    By this measure a sine that fills the range has a `rms_dbfs` of -3.0.
    """

    rms_dbfs: float
    peak_dbfs: float


def level(pcm: bytes) -> Level:
    """How loud PCM is; no audio is as loud as silence."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", _whole(pcm))
    if not samples:
        return Level(_FLOOR_DBFS, _FLOOR_DBFS)
    rms = math.sqrt(sum(map(mul, samples, samples)) / len(samples))
    return Level(_dbfs(rms), _dbfs(max(max(samples), -min(samples))))


def _dbfs(amplitude: float) -> float:
    if amplitude == 0:
        return _FLOOR_DBFS
    return max(20 * math.log10(amplitude / _FULL_SCALE), _FLOOR_DBFS)


# --- another sample rate ---

_REACH = 24  # zero crossings of the sinc on each side: more is sharper and slower
_KAISER_BETA = 6.0  # of its window: about 60 dB of suppression
_PASS = 0.925  # of the lower rate's half: where the slope, which is 600 Hz wide at 8 kHz, begins


def resample(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    """PCM at another sample rate: the same sound, as far as the lower of the two can carry it.

    A windowed sinc: images and aliases are 50 dB down or more, the range up to 85 % of the lower
    rate's half is untouched. Costs some microseconds a sample: for files, not for the hot path.
    Raises LocalProtocolError for a rate below 1.
    """
    if from_rate < 1 or to_rate < 1:
        raise LocalProtocolError(f"cannot resample from {from_rate} to {to_rate} samples a second")
    pcm = _whole(pcm)
    if from_rate == to_rate or not pcm:
        return pcm
    divisor = math.gcd(from_rate, to_rate)
    up, down = to_rate // divisor, from_rate // divisor
    reach = math.ceil(_REACH * max(1.0, down / up))
    padding = (0.0,) * reach
    samples = (*padding, *map(float, struct.unpack(f"<{len(pcm) // 2}h", pcm)), *padding)
    kernels: dict[int, Sequence[float]] = {}
    count = (len(pcm) // 2 * up + down - 1) // down
    result = []
    for index in range(count):
        # The new sample stands `phase / up` of an old sample after the old sample number `whole`.
        whole, phase = divmod(index * down, up)
        kernel = kernels.get(phase)
        if kernel is None:
            kernel = kernels[phase] = _kernel(phase / up, reach, min(1.0, up / down))
        value = round(sum(map(mul, kernel, samples[whole + 1 : whole + 1 + 2 * reach])))
        result.append(max(-_FULL_SCALE, min(_FULL_SCALE - 1, value)))
    return struct.pack(f"<{count}h", *result)


@lru_cache(maxsize=1024)
def _kernel(fraction: float, reach: int, bandwidth: float) -> Sequence[float]:
    """Weights of the old samples around a point *fraction* after one of them; their sum is one."""
    cut = bandwidth * _PASS
    weights = []
    for tap in range(1 - reach, reach + 1):
        distance = tap - fraction
        angle = math.pi * cut * distance
        window = _bessel(_KAISER_BETA * math.sqrt(max(0.0, 1 - (distance / reach) ** 2)))
        weights.append(window * (math.sin(angle) / angle if angle else 1.0))
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def _bessel(x: float) -> float:
    """The modified Bessel function of the first kind of order zero, for x up to 20 or so."""
    total = term = 1.0
    for k in range(1, 40):
        term *= (x / (2 * k)) ** 2
        total += term
    return total
