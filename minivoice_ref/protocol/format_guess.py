"""What is this audio? For bytes that nobody described: which coding, at which rate, is speech?

The coding is told by *predictability*. In speech each sample nearly follows from the few before it,
in noise it does not, and speech that is decoded in the wrong way is mostly noise. So the audio is
decoded in each of the four ways, and the way wins in which a linear predictor explains most. On
recorded speech that was right for excerpts of a fifth of a second already.

Two channels that lie interleaved are known by a sample that resembles the next but one more than
the next. The rate is harder: played at half its speed a voice is still a voice. Where the caller
knows how many bytes came in a second of real time, that settles it. Where not, three properties of
voices decide together: the pitch, the middle of the spectrum, and how little there is in its upper
half. Some seconds are needed for that, and a very deep voice at 8 kHz is much like a high one at
16 kHz; `sure` says whether it was clear.

Knows no dialect and no file. Read next: `capture_report.py`, which asks here.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

from minivoice_ref.protocol.audio import split_channels, to_pcm
from minivoice_ref.protocol.media import Encoding, MediaFormat

__all__ = ["ENOUGH", "FormatGuess", "guess_format"]

ENOUGH = 320_000
"""Bytes of audio that are looked at; more change nothing."""

_ENCODINGS: Mapping[Encoding, str] = {
    "mulaw": "mu-law",
    "alaw": "A-law",
    "l16le": "L16 little-endian",
    "l16be": "L16 big-endian",
}
_RATES = (8000, 16000)
_SILENCES: Mapping[bytes, str] = {
    b"\xff": "silence in mu-law",
    b"\xd5": "silence in A-law",
    b"\x00": "silence in L16 of either byte order",
}

_FRAME = 160  # samples that are predicted together
_MOST_FRAMES = 64
_ORDER = 8  # samples that each one is predicted from
_LEAST_GAIN = 4.0  # decibels; noise has next to none, speech 10 to 25
_CLEAR_GAIN = 3.0  # decibels before the next best
_QUIET = 100.0  # root mean square: -50 dBFS
_STEREO = 0.3  # by which the next but one sample must be more alike than the next

_SOUND = 512  # samples that are listened to together
_MOST_SOUNDS = 32
_MANY_SOUNDS = 20  # with fewer, nothing is certain
_LAGS = range(20, 301)  # of a voice's period: 53 to 400 Hz at 16 kHz, 27 to 400 Hz at 8 kHz
_VOICED = 0.5  # how alike two periods of a voice are at least
_NO_PITCH = 4.5  # the logarithm of a lag that speaks for neither rate
# Weights of the pitch's lag, of the spectrum's middle and of its upper half, and the limit between
# the rates: a logistic regression over four synthetic voices, each also higher and lower, coded in
# each way, as wide band and as a telephone has them.
_PITCH, _MIDDLE, _UPPER, _LIMIT = 9.0, -3.5, -0.30, 59.9
_CLEAR_RATE = 2.0
_FLOOR = -45.0  # decibels below which the upper half is empty
_TIMING = 0.06  # by which the bytes a second may be off


@dataclass(frozen=True, slots=True)
class FormatGuess:
    """The format that looks most like speech, None where none does; `reason` says why in words.

    `sure` is whether the evidence is clear. `gains` tells how well each coding could be predicted,
    in decibels.
    """

    format: MediaFormat | None
    sure: bool
    reason: str
    gains: Mapping[Encoding, float]

    def to_json(self) -> dict[str, object]:
        """The guess as a JSON object."""
        form = None if self.format is None else str(self.format)
        gains = {encoding: round(gain, 1) for encoding, gain in self.gains.items()}
        return {"format": form, "sure": self.sure, "reason": self.reason, "gains": gains}


def guess_format(audio: bytes, *, bytes_per_second: float | None = None) -> FormatGuess:
    """Tell which of mu-law, A-law and L16 at 8 or 16 kHz *audio* looks like.

    *bytes_per_second* is how fast it came, where it came in real time. Takes some tenths of a
    second; the first `ENOUGH` bytes are looked at. Never raises: where it is not speech, or too
    little, the guess is None and says so.
    """
    audio = audio[:ENOUGH]
    if audio and audio.count(audio[:1]) == len(audio):
        known = _SILENCES.get(audio[:1], "no sound in any coding")
        return FormatGuess(None, False, f"every byte is {audio[0]:02x}: {known}", {})
    if len(audio) < 4 * _FRAME:
        why = f"{len(audio)} bytes are too few to tell; {4 * _FRAME} are needed at least"
        return FormatGuess(None, False, why, {})
    heard = {one: _frames(to_pcm(audio, MediaFormat(one))) for one in _ENCODINGS}
    gains = {encoding: _gain(frames) for encoding, frames in heard.items()}
    best, second = sorted(gains, key=lambda one: -gains[one])[:2]
    best = _quiet_l16(audio) or best
    if _loudness(heard[best][0]) < _QUIET:
        why = f"as {_ENCODINGS[best]} it is all but silent; let somebody speak"
        return FormatGuess(None, False, why, gains)
    if gains[best] < _LEAST_GAIN:
        why = f"no coding makes speech of it: the best, {_ENCODINGS[best]}, is noise"
        return FormatGuess(None, False, why, gains)
    channels = 2 if _interleaved(heard[best]) else 1
    words = f"as {_ENCODINGS[best]} it can be predicted by {gains[best]:.0f} dB, as speech can"
    words += f"; the next best is {_ENCODINGS[second]} with {gains[second]:.0f} dB"
    if channels == 2:
        words += "; each sample is like the next but one: two channels"
    rate, clear, why = _rate(audio, MediaFormat(best, 8000, channels), bytes_per_second)
    sure = clear and gains[best] - gains[second] >= _CLEAR_GAIN
    return FormatGuess(MediaFormat(best, rate, channels), sure, f"{words}; {why}", gains)


# --- the coding: what can be predicted ---


def _frames(pcm: bytes) -> list[list[float]]:
    """The loudest frames: at most half of all, since the rest may be pauses."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    frames = _loudest(samples, _FRAME, _MOST_FRAMES)
    return frames[: max(1, len(samples) // _FRAME // 2)]


def _loudest(samples: Sequence[float], size: int, most: int) -> list[list[float]]:
    """The loudest stretches of *size* samples, the loudest first, that are no pauses."""
    starts = range(0, len(samples) - size + 1, size)
    found = sorted((_centred(samples[at : at + size]) for at in starts), key=_energy, reverse=True)[
        :most
    ]
    return [one for one in found if _energy(one) > _energy(found[0]) / 300 or one is found[0]]


def _centred(samples: Sequence[float]) -> list[float]:
    middle = sum(samples) / len(samples)
    return [sample - middle for sample in samples]


def _energy(samples: Sequence[float]) -> float:
    energy: float = sum(map(mul, samples, samples))
    return energy


def _loudness(samples: Sequence[float]) -> float:
    return math.sqrt(_energy(samples) / len(samples))


def _gain(frames: Sequence[Sequence[float]]) -> float:
    """How much of the frames a linear predictor explains, in decibels: the median of them."""
    return _median(list(map(_frame_gain, frames)))


def _frame_gain(frame: Sequence[float]) -> float:
    """Levinson and Durbin's recursion over the autocorrelation of a windowed frame."""
    windowed = list(map(mul, frame, _WINDOW))
    along = [sum(map(mul, windowed, windowed[lag:])) for lag in range(_ORDER + 1)]
    whole = left = along[0] * 1.0001 + 1.0
    weights: list[float] = []
    for lag in range(1, _ORDER + 1):
        explained = sum(map(mul, weights, along[lag - 1 : 0 : -1]))
        reflected = (along[lag] - explained) / left
        back = weights[::-1]
        weights = [a - reflected * b for a, b in zip(weights, back, strict=True)] + [reflected]
        left *= 1 - reflected * reflected
    return 10 * math.log10(whole / left)


def _quiet_l16(audio: bytes) -> Encoding | None:
    """L16, where every second byte is 00 or ff: the high bytes of samples near zero.

    As G.711 those would be loud and regular, and easily predicted.
    """
    even, odd = (part.count(0) + part.count(255) for part in (audio[0::2], audio[1::2]))
    most, half = max(even, odd), len(audio) // 2
    if most < 0.98 * half or min(even, odd) > 0.7 * half:
        return None
    return "l16le" if odd == most else "l16be"


def _interleaved(frames: Sequence[Sequence[float]]) -> bool:
    """Whether samples resemble the next but one more than the next, over all frames."""
    whole, next_one, next_but_one = (
        sum(sum(map(mul, frame, frame[lag:])) for frame in frames) for lag in range(3)
    )
    return next_but_one - next_one > _STEREO * whole


# --- the rate: how a voice sounds, or how fast it came ---


def _rate(audio: bytes, form: MediaFormat, speed: float | None) -> tuple[int, bool, str]:
    """Samples a second, whether that is clear, and why."""
    for rate in _RATES:
        needed = rate * form.bytes_per_sample
        if speed is not None and abs(speed - needed) < _TIMING * needed:
            return rate, True, f"{speed:.0f} bytes came a second: {rate} samples a second"
    track = max(split_channels(audio, form), key=lambda one: _energy(_samples(one, form)))
    sounds = _loudest(_samples(track, form), _SOUND, _MOST_SOUNDS)
    if not sounds:
        return 8000, False, "it is too short to hear its rate: 8000 is the usual one"
    lags = [lag for lag in map(_lag, sounds) if lag is not None]
    middles, uppers = zip(*map(_spectrum, sounds), strict=True)
    pitch = math.log(_median(lags)) if lags else _NO_PITCH
    middle, upper = math.log(_median(middles)), max(_FLOOR, _median(uppers))
    score = _PITCH * pitch + _MIDDLE * middle + _UPPER * upper - _LIMIT
    rate = 16000 if score > 0 else 8000
    heard = f"its voice has {rate / _median(lags):.0f} Hz" if lags else "it has no pitch"
    heard += f", and {upper:.0f} dB of it lie above {rate // 4} Hz: {rate} samples a second"
    clear = abs(score) > _CLEAR_RATE and len(sounds) >= _MANY_SOUNDS
    return rate, clear, heard if clear else f"{heard}, but that is not clear"


def _samples(payload: bytes, form: MediaFormat) -> tuple[int, ...]:
    pcm = to_pcm(payload, MediaFormat(form.encoding))
    return struct.unpack(f"<{len(pcm) // 2}h", pcm)


def _lag(sound: Sequence[float]) -> int | None:
    """The period of a voice in samples; None where there is none."""
    upto = [0.0, *accumulate(map(mul, sound, sound))]  # the energy of so many first samples
    likeness = []
    for lag in _LAGS:
        scale = math.sqrt(upto[-1 - lag] * (upto[-1] - upto[lag])) or 1.0
        likeness.append(sum(map(mul, sound, sound[lag:])) / scale)
    best = max(likeness)
    if best < _VOICED:
        return None
    # Two periods are as alike as one: the first peak that is nearly the best is meant.
    walled = [0.0, *likeness, 0.0]
    return next(
        lag
        for lag, before, here, after in zip(_LAGS, walled, likeness, walled[2:], strict=False)
        if here >= 0.85 * best and before <= here >= after
    )


def _spectrum(sound: Sequence[float]) -> tuple[float, float]:
    """Where half of the energy lies below (of half the rate), and how much is in the upper half."""
    powers = [abs(value) ** 2 for value in _fourier(list(map(mul, sound, _LONG_WINDOW)))]
    powers = powers[: _SOUND // 2]
    whole = sum(powers)
    upper = 10 * math.log10(sum(powers[_SOUND // 4 :]) / (whole or 1.0) + 1e-9)
    below = [*accumulate(powers)]
    at = bisect_left(below, whole / 2)
    within = (below[at] - whole / 2) / (powers[at] or 1.0)
    return max(1e-9, (at + 1 - within) / len(powers)), upper


def _fourier(values: Sequence[complex]) -> list[complex]:
    """The discrete Fourier transform of as many values as a power of two."""
    count = len(values)
    if count == 1:
        return list(values)
    even, odd = _fourier(values[0::2]), _fourier(values[1::2])
    turned = list(map(mul, odd, _TURNS[count]))
    return [a + b for a, b in zip(even, turned, strict=True)] + [
        a - b for a, b in zip(even, turned, strict=True)
    ]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _hann(size: int) -> list[float]:
    return [0.5 - 0.5 * math.cos(2 * math.pi * at / (size - 1)) for at in range(size)]


def _unit(angle: float) -> complex:
    return complex(math.cos(angle), math.sin(angle))


_WINDOW = _hann(_FRAME)
_LONG_WINDOW = _hann(_SOUND)
_TURNS = {
    size: [_unit(-2 * math.pi * at / size) for at in range(size // 2)]
    for size in (2 << power for power in range(_SOUND.bit_length() - 1))
}
