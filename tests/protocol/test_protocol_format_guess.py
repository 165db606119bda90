"""Guessing a format from its sound: right for speech in every coding, modest about the rest."""

from __future__ import annotations

import random
import struct
from functools import cache
from pathlib import Path

import pytest

import minivoice_ref
from minivoice_ref.protocol.audio import from_pcm, resample
from minivoice_ref.protocol.format_guess import ENOUGH, guess_format
from minivoice_ref.protocol.media import Encoding, MediaFormat

VOICES = Path(minivoice_ref.__file__).parent / "simulator" / "voices"
ENCODINGS: tuple[Encoding, ...] = ("mulaw", "alaw", "l16le", "l16be")
# Where the packaged voices speak, in seconds.
SPEAKS = {"agent": 0.5, "caller": 3.8}


@cache
def speech(voice: str, rate: int) -> bytes:
    """Six seconds of a packaged voice, from its first word on."""
    pcm = (VOICES / f"{voice}.wav").read_bytes()[44:]
    start = 2 * int(8000 * SPEAKS[voice])
    return resample(pcm[start : start + 2 * 6 * 8000], 8000, rate)


def excerpt(voice: str, form: MediaFormat, seconds: float, start: float = 0.0) -> bytes:
    first, last = (2 * int(at * form.sample_rate) for at in (start, start + seconds))
    return from_pcm(speech(voice, form.sample_rate)[first:last], form)


@pytest.mark.parametrize("voice", SPEAKS)
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_speech_is_known_by_its_sound_alone(encoding: Encoding, rate: int, voice: str) -> None:
    form = MediaFormat(encoding, rate, 1)
    guess = guess_format(excerpt(voice, form, 6.0))
    assert guess.format == form, guess.reason
    assert f"{rate} samples a second" in guess.reason and "dB" in guess.reason


@pytest.mark.parametrize("voice", SPEAKS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_coding_is_known_from_a_third_of_a_second(encoding: Encoding, voice: str) -> None:
    for rate in (8000, 16000):
        form = MediaFormat(encoding, rate, 1)
        for start in (0.2, 0.7, 1.3):
            guess = guess_format(excerpt(voice, form, 0.35, start))
            assert guess.format is not None and guess.format.encoding == encoding, guess.reason


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_pace_settles_the_rate_of_an_excerpt(encoding: Encoding) -> None:
    for rate in (8000, 16000):
        form = MediaFormat(encoding, rate, 1)
        speed = 1.02 * rate * form.bytes_per_sample
        guess = guess_format(excerpt("caller", form, 0.5, 0.5), bytes_per_second=speed)
        assert guess.format == form and guess.sure, guess.reason
        assert "bytes came a second" in guess.reason


def test_a_pace_that_fits_no_rate_says_nothing() -> None:
    form = MediaFormat("mulaw", 8000, 1)
    guess = guess_format(excerpt("agent", form, 4.0), bytes_per_second=1_000_000.0)
    assert guess.format == form and "bytes came" not in guess.reason


@pytest.mark.parametrize("encoding", ["l16le", "l16be"])
def test_two_interleaved_channels_are_noticed(encoding: Encoding) -> None:
    form = MediaFormat(encoding, 8000, 1)
    left, right = excerpt("agent", form, 4.0), excerpt("caller", form, 4.0)
    mixed = b"".join(left[at : at + 2] + right[at : at + 2] for at in range(0, len(left), 2))
    guess = guess_format(mixed, bytes_per_second=32000)
    assert guess.format == MediaFormat(encoding, 8000, 2), guess.reason
    assert "two channels" in guess.reason


@pytest.mark.parametrize(
    ("audio", "why"),
    [
        (b"", "0 bytes are too few"),
        (b"\x01\x02" * 100, "too few"),
        (b"\xff" * 8000, "silence in mu-law"),
        (b"\xd5" * 8000, "silence in A-law"),
        (b"\x00" * 8000, "silence in L16"),
        (b"\x17" * 8000, "no sound"),
        (random.Random(1).randbytes(20000), "noise"),
    ],
)
def test_what_is_no_speech_is_not_guessed(audio: bytes, why: str) -> None:
    guess = guess_format(audio)
    assert guess.format is None and not guess.sure and why in guess.reason
    assert guess.to_json()["format"] is None


def test_a_whisper_below_hearing_is_not_guessed() -> None:
    quiet = struct.pack("<16000h", *(round(9 * ((at % 80) / 40 - 1)) for at in range(16000)))
    guess = guess_format(quiet)
    assert guess.format is None and "silent" in guess.reason


def test_a_moment_too_short_for_its_rate_takes_the_usual_one() -> None:
    guess = guess_format(excerpt("agent", MediaFormat("l16le", 16000, 1), 0.03, 1.3))
    assert guess.format == MediaFormat("l16le", 8000, 1) and not guess.sure
    assert "too short to hear its rate" in guess.reason


def test_sound_without_a_pitch_is_said_to_have_none() -> None:
    chance = random.Random(2)
    hiss = [chance.gauss(0, 3000) for _ in range(8004)]
    smooth = [sum(hiss[at : at + 4]) / 2 for at in range(8000)]
    guess = guess_format(struct.pack("<8000h", *map(round, smooth)))
    assert guess.format is not None and guess.format.encoding == "l16le"
    assert "it has no pitch" in guess.reason


def test_the_gains_say_how_the_codings_compare_and_more_audio_changes_nothing() -> None:
    audio = excerpt("agent", MediaFormat("l16be", 16000, 1), 2.0)
    guess = guess_format(audio, bytes_per_second=32000)
    document = guess.to_json()
    assert document["format"] == "l16be/16000/1" and document["reason"] == guess.reason
    assert max(guess.gains, key=lambda one: guess.gains[one]) == "l16be"
    enough = audio * (ENOUGH // len(audio) + 1)
    assert guess_format(enough, bytes_per_second=32000) == guess_format(
        enough[:ENOUGH], bytes_per_second=32000
    )
