"""Telephone keys: how each sounds, and when which is pressed.

Facts: ITU-T Q.23, the two frequencies of each key; Q.24, that 40 ms of tone must be recognised.
MiniVoice documentation, actions: the keys `0-9 * # A-D` and the pauses `w W ,`. How long a tone and
a pause are is not documented: see `assumptions.py`.

It must not know calls. Read next: `speech.py`, which puts the tones where they are heard.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.speech import FRAME_SAMPLES, SAMPLE_RATE, TICK, Voice

__all__ = ["KEYS", "Press", "key_ticks", "pauses", "presses", "tone"]

_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
_KEYPAD = ("123A", "456B", "789C", "*0#D")
_AMPLITUDE = 8000  # of each of the two tones: together still half of what 16 bits hold

KEYS: Mapping[str, tuple[int, int]] = {
    key: (low, high)
    for low, row in zip(_ROWS, _KEYPAD, strict=True)
    for high, key in zip(_COLUMNS, row, strict=True)
}
"""The two frequencies of each key, in hertz."""


@dataclass(frozen=True, slots=True)
class Press:
    """A key, `after` seconds from the beginning."""

    key: str
    after: float


@functools.cache
def tone(key: str, ticks: int) -> Voice:
    """The sound of *key* for *ticks* frames."""
    low, high = (2 * math.pi * frequency / SAMPLE_RATE for frequency in KEYS[key])
    samples = [
        round(_AMPLITUDE * (math.sin(low * n) + math.sin(high * n)))
        for n in range(ticks * FRAME_SAMPLES)
    ]
    return Voice.from_pcm(f"the key {key}", struct.pack(f"<{len(samples)}h", *samples))


def key_ticks(assumptions: Assumptions) -> int:
    """How many frames the tone of a key takes."""
    return max(1, round(assumptions.digit_seconds / TICK))


def pauses(assumptions: Assumptions) -> Mapping[str, float]:
    """The seconds of each pause."""
    return {"w": assumptions.pause_w, "W": assumptions.pause_W, ",": assumptions.pause_comma}


def presses(digits: str, assumptions: Assumptions) -> tuple[list[Press], float]:
    """When each key of *digits* is pressed, and the seconds until the last tone or pause is over.

    Between two tones there is a gap, so that the same key twice is heard as two.
    """
    pressed: list[Press] = []
    seconds = 0.0
    silent = pauses(assumptions)
    for sign in digits:
        if sign in silent:
            seconds += silent[sign]
            continue
        pressed.append(Press(sign, seconds))
        seconds += key_ticks(assumptions) * TICK + assumptions.digit_gap
    if digits and digits[-1] not in silent:
        seconds -= assumptions.digit_gap
    return pressed, seconds
