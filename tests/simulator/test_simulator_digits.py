"""Telephone keys: each has its two frequencies, and is pressed when it is its turn."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import pytest

from minivoice_ref.protocol.audio import decode_mulaw
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.digits import KEYS, Press, key_ticks, presses, tone
from minivoice_ref.simulator.speech import SILENCE, CallAudio, Voice

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
ASSUMED = Assumptions()


def strength(samples: tuple[int, ...], frequency: int) -> float:
    """How much of *frequency* there is, as a part of all (Goertzel's sum, written plainly)."""
    turn = 2 * math.pi * frequency / 8000
    cosine = sum(sample * math.cos(turn * n) for n, sample in enumerate(samples))
    sine = sum(sample * math.sin(turn * n) for n, sample in enumerate(samples))
    energy = sum(sample * sample for sample in samples)
    return 2 * (cosine * cosine + sine * sine) / (len(samples) * energy)


def key_in(audio: bytes) -> str:
    """The key whose tones are most of *audio*, as a telephone exchange tells it."""
    pcm = decode_mulaw(audio)
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    low = max(ROWS, key=lambda frequency: strength(samples, frequency))
    high = max(COLUMNS, key=lambda frequency: strength(samples, frequency))
    assert strength(samples, low) > 0.4 and strength(samples, high) > 0.4
    return next(key for key, pair in KEYS.items() if pair == (low, high))


@pytest.mark.parametrize("key", "0123456789*#ABCD")
def test_each_key_sounds_as_its_two_frequencies(key: str) -> None:
    voice = tone(key, 5)
    assert len(voice.frames) == 5
    assert key_in(b"".join(voice.frames)) == key


def test_there_are_sixteen_keys_and_each_sounds_different() -> None:
    assert sorted(KEYS) == sorted("0123456789*#ABCD")
    assert len({tone(key, 2).frames for key in KEYS}) == 16


@pytest.mark.parametrize(
    ("digits", "pressed", "seconds"),
    [
        ("1", [Press("1", 0.0)], 0.1),
        ("11", [Press("1", 0.0), Press("1", 0.2)], 0.3),
        ("1w2", [Press("1", 0.0), Press("2", 0.7)], 0.8),
        ("W#", [Press("#", 1.0)], 1.1),
        ("*,", [Press("*", 0.0)], 2.2),
        ("wW,", [], 3.5),
    ],
)
def test_keys_are_pressed_one_after_the_other_and_pauses_take_their_time(
    digits: str, pressed: list[Press], seconds: float
) -> None:
    found, took = presses(digits, ASSUMED)
    assert [press.key for press in found] == [press.key for press in pressed]
    assert [press.after for press in found] == pytest.approx([press.after for press in pressed])
    assert took == pytest.approx(seconds)


def test_how_long_keys_and_pauses_are_is_a_setting() -> None:
    assumed = replace(ASSUMED, digit_seconds=0.2, digit_gap=0.3, pause_comma=5.0)
    assert key_ticks(assumed) == 10
    found, took = presses("1,2", assumed)
    assert [press.after for press in found] == pytest.approx([0.0, 5.5])
    assert took == pytest.approx(5.7)


# --- in the audio of a call ---


def numbered(name: str, first: int) -> Voice:
    return Voice(name, tuple(bytes([n]) * 160 for n in range(first, first + 100)))


def heard(audio: CallAudio, ticks: range) -> list[tuple[int, int]]:
    return [(audio.frame("inbound", n)[0], audio.frame("outbound", n)[0]) for n in ticks]


def test_a_tone_covers_its_track_and_no_other() -> None:
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    audio.cover("outbound", Voice("tone", (b"\0" * 160,) * 2), 3)
    assert heard(audio, range(6)) == [(1, 101), (2, 102), (3, 103), (4, 0), (5, 0), (6, 106)]


def test_a_tone_waits_for_the_end_of_the_one_before() -> None:
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    audio.cover("inbound", Voice("one", (b"\0" * 160,) * 2), 1)
    audio.cover("inbound", Voice("other", (b"\xee" * 160,)), 1)
    assert [one for one, _ in heard(audio, range(5))] == [1, 0, 0, 0xEE, 5]


def test_a_silenced_track_carries_nothing_whatever_goes_on() -> None:
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    audio.cover("inbound", Voice("one", (b"\0" * 160,) * 9), 0)
    audio.silence(["inbound"], 2)
    audio.silence(["outbound"], 4)
    audio.silence([], 5)
    assert heard(audio, range(6)) == [
        (0, 101),
        (0, 102),
        (255, 103),
        (255, 104),
        (0, 255),
        (0, 106),
    ]
    assert audio.frame("inbound", 2) == SILENCE


def test_silence_from_the_first_tick_on_can_be_taken_back_at_once() -> None:
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    audio.silence(["inbound"], 0)
    audio.silence(["outbound"], 0)
    assert heard(audio, range(1)) == [(1, 255)]


def test_while_somebody_listens_neither_party_speaks_and_the_conversation_waits() -> None:
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    audio.listen(2)
    audio.go_on(4)
    assert heard(audio, range(5)) == [(1, 101), (2, 102), (255, 255), (255, 255), (3, 103)]


def test_what_one_stream_has_heard_another_hears_the_same() -> None:
    """A change for a tick that has been taken begins with the next one."""
    audio = CallAudio(numbered("caller", 1), numbered("agent", 101))
    before = heard(audio, range(6))
    audio.silence(["inbound"], 5)
    audio.listen(4)
    audio.cover("outbound", Voice("tone", (b"\0" * 160,)), 3)
    assert heard(audio, range(6)) == before
    assert heard(audio, range(6, 8)) == [(255, 0), (255, 255)]
