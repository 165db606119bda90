"""What is heard on the call: the two voices, frame by frame.

Audio belongs to the *call*, not to the streams: `CallAudio` says what is heard on a track at a tick
of the call's clock, and every stream of the call takes it from there. So two streams of one call
carry the same sound at the same moment, and whatever changes the sound (speech, keys, hold, mute)
is done once, here.

A *tick* is 20 ms: 160 samples at 8000 a second, coded as mu-law, which is what a telephone call
has. The first tick after the call was answered is number 0.

It must not know sockets, dialects or clocks: whoever asks says what time it is. Read next:
`sender.py`, which carries the frames, and `executors.py`, which speaks.
"""

from __future__ import annotations

import bisect
import functools
import importlib.resources
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from minivoice_ref.protocol.audio import encode_mulaw, resample
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.simulator.wav import read_wav

__all__ = [
    "FRAME_SAMPLES",
    "SAMPLE_RATE",
    "SILENCE",
    "SPEECH_PROGRAMS",
    "TICK",
    "CallAudio",
    "CallTrack",
    "Role",
    "SpeechError",
    "Voice",
    "load_voice",
    "packaged_voice",
    "read_voice",
    "ticks_to_say",
]

CallTrack: TypeAlias = Literal["inbound", "outbound"]
Role: TypeAlias = Literal["caller", "agent"]

SAMPLE_RATE = 8000
FRAME_SAMPLES = 160
TICK = FRAME_SAMPLES / SAMPLE_RATE
"""Seconds of one frame, and between two."""

SILENCE = b"\xff" * FRAME_SAMPLES
"""A frame of mu-law silence; zeros would be a loud click."""

SPEECH_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "flite": ("-t", "TEXT", "-o", "/dev/stdout"),
    "espeak-ng": ("--stdin", "--stdout"),
}
"""The speech programs that are known, and how each is told to write a WAV file of the text.

`TEXT` stands for the text, which comes on standard input as well. From there flite would take it
too, but then writes its file piece by piece, which a pipe cannot hold.
"""

_SECONDS_A_WORD = 0.4
_LARGEST_FILE = 64 * 1024 * 1024


class SpeechError(MiniVoiceError):
    """A file of speech cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Recorded speech as frames of mu-law, coded once and shared by every call that uses it."""

    name: str
    frames: tuple[bytes, ...]

    @classmethod
    def from_pcm(cls, name: str, pcm: bytes) -> Voice:
        """A voice of 16-bit little-endian samples, 8000 a second; silence fills the last frame.

        Raises ValueError for no samples at all.
        """
        if not pcm:
            raise ValueError("a voice needs at least one sample")
        coded = encode_mulaw(pcm)
        starts = range(0, len(coded), FRAME_SAMPLES)
        return cls(
            name,
            tuple(coded[at : at + FRAME_SAMPLES].ljust(FRAME_SAMPLES, b"\xff") for at in starts),
        )

    @property
    def seconds(self) -> float:
        """How long it lasts until it begins again."""
        return len(self.frames) * TICK

    def frame(self, tick: int) -> bytes:
        """The frame at *tick*, counted from 0; the speech begins again when it is over."""
        return self.frames[tick % len(self.frames)]

    def without_pauses(self, ticks: int) -> Voice:
        """Speech of *ticks* frames without the silent ones, repeated or cut as needed."""
        spoken = [frame for frame in self.frames if frame != SILENCE] or [SILENCE]
        return Voice(self.name, tuple(itertools.islice(itertools.cycle(spoken), ticks)))


_QUIET = Voice("silence", (SILENCE,))


def load_voice(path: Path) -> Voice:
    """The voice in a WAV file of any rate, width and number of channels.

    Reads and resamples the whole file, which takes a moment: call it before the event loop runs, or
    in a thread. Raises SpeechError where it cannot be read and BadWav where it cannot be used.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SpeechError(f"{path} cannot be used: it is larger than {_LARGEST_FILE >> 20} MiB")
        content = path.read_bytes()
    except OSError as exc:
        raise SpeechError(f"{path} cannot be read: {exc.strerror}") from None
    return read_voice(content, str(path))


@functools.cache
def packaged_voice(role: Role) -> Voice:
    """One side of the packaged conversation; where it comes from says `voices/README.txt`."""
    source = importlib.resources.files("minivoice_ref.simulator") / "voices" / f"{role}.wav"
    return read_voice(source.read_bytes(), f"the packaged voice of the {role}")


def read_voice(content: bytes, name: str) -> Voice:
    """The voice in the *content* of a WAV file, which errors call *name*. Raises BadWav.

    Resamples what is not at 8000 samples a second, which takes a moment: not for the event loop.
    """
    wav = read_wav(content, name)
    pcm = wav.pcm if wav.rate == SAMPLE_RATE else resample(wav.pcm, wav.rate, SAMPLE_RATE)
    return Voice.from_pcm(name, pcm)


def ticks_to_say(text: str) -> int:
    """How many ticks *text* takes at 150 words a minute; at least half a second."""
    return max(25, round(len(text.split()) * _SECONDS_A_WORD / TICK))


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the call, from the tick `start` to the next one's.

    In the conversation `position` is where the parties are at `start`. In an interlude it is where
    they wait; `sounds` is what is heard once on each track in the meantime, and then silence.
    """

    start: int
    position: int
    sounds: Mapping[CallTrack, Voice] | None = None

    def position_at(self, tick: int) -> int:
        """Where in the conversation the parties are."""
        return self.position + (tick - self.start if self.sounds is None else 0)


@dataclass(frozen=True, slots=True)
class _Overlay:
    """Ticks `start` to `end` of one track, on which a tone is heard and nothing else."""

    start: int
    end: int
    voice: Voice


class CallAudio:
    """What is heard on both tracks of one call at each tick.

    Normally that is the conversation of the two parties. An interlude interrupts it: it is held
    where it was and goes on afterwards. The tone of a key covers what is on its track. A track that
    is silenced carries nothing at all, whatever else goes on.

    What somebody has heard does not change any more: a change for a tick that a stream has already
    taken begins with the next one, so that all streams of a call hear the same.
    """

    def __init__(self, caller: Voice, agent: Voice, begins: float = 0.0) -> None:
        """Two voices that begin to speak *begins* seconds after the call began."""
        self._begins = begins
        self._parties: dict[CallTrack, Voice] = {"inbound": caller, "outbound": agent}
        self._sections = [_Section(0, 0)]
        self._overlays: dict[CallTrack, list[_Overlay]] = {"inbound": [], "outbound": []}
        self._silences: list[tuple[int, frozenset[CallTrack]]] = [(0, frozenset())]
        self._unheard = 0  # the first tick that nobody has taken yet
        self._undisturbed = True  # nothing but conversation so far: the usual case, and the cheap

    def tick_at(self, elapsed: float) -> int:
        """The tick nearest to *elapsed* seconds after the call began."""
        return max(0, round((elapsed - self._begins) / TICK))

    def say(self, text: str, tick: int) -> int:
        """Have the agent's track carry speech from *tick* on while the caller listens.

        Returns how many ticks it takes, which is what *text* needs. The sound is that of the
        agent's voice, not the words: see `speak`.
        """
        return self.speak(self._parties["outbound"].without_pauses(ticks_to_say(text)), tick)

    def speak(self, voice: Voice, tick: int) -> int:
        """Have the agent's track carry *voice* once from *tick* on while the caller listens.

        Returns how many ticks it takes.
        """
        begun = self._begin(tick, {"outbound": voice})
        self._begin(begun + len(voice.frames), None)
        return len(voice.frames)

    def listen(self, tick: int) -> None:
        """Let neither party speak from *tick* on, until `go_on`."""
        self._begin(tick, {})

    def go_on(self, tick: int) -> None:
        """End what interrupts the conversation."""
        self._begin(tick, None)

    def cover(self, track: CallTrack, voice: Voice, tick: int) -> None:
        """Have *track* carry *voice* once from *tick* on, or behind an earlier one not yet over."""
        overlays = self._overlays[track]
        start = max(tick, self._unheard, overlays[-1].end if overlays else 0)
        overlays.append(_Overlay(start, start + len(voice.frames), voice))
        self._undisturbed = False

    def silence(self, tracks: Iterable[CallTrack], tick: int) -> None:
        """Have just these *tracks* carry nothing from *tick* on."""
        tick = max(tick, self._unheard)
        while self._silences and self._silences[-1][0] >= tick:
            self._silences.pop()
        self._silences.append((tick, frozenset(tracks)))
        self._undisturbed = False

    def frame(self, track: CallTrack, tick: int) -> bytes:
        """The 160 bytes of mu-law that *track* carries at *tick*; the same each time."""
        if tick >= self._unheard:
            self._unheard = tick + 1
        if self._undisturbed:
            return self._parties[track].frame(tick)
        voice, offset = self._source(track, tick)
        return voice.frame(offset)

    def surrounded(self, track: CallTrack, tick: int) -> tuple[bytes, bytes, bytes]:
        """The frame that *track* carries at *tick* between its neighbours in the same speech.

        For who resamples. The speech is a circle: its last frame stands before its first.
        """
        frame = self.frame(track, tick)
        voice, offset = self._source(track, tick)
        return voice.frame(offset - 1), frame, voice.frame(offset + 1)

    def _source(self, track: CallTrack, tick: int) -> tuple[Voice, int]:
        """The voice that *track* carries at *tick*, and which frame of it."""
        silenced = bisect.bisect_right(self._silences, tick, key=lambda entry: entry[0]) - 1
        if silenced >= 0 and track in self._silences[silenced][1]:
            return _QUIET, 0
        overlays = self._overlays[track]
        covered = bisect.bisect_right(overlays, tick, key=lambda overlay: overlay.start) - 1
        if covered >= 0 and tick < overlays[covered].end:
            return overlays[covered].voice, tick - overlays[covered].start
        section = self._section_at(tick)
        if section.sounds is None:
            return self._parties[track], section.position_at(tick)
        voice = section.sounds.get(track)
        offset = tick - section.start
        return (voice, offset) if voice and offset < len(voice.frames) else (_QUIET, 0)

    def _section_at(self, tick: int) -> _Section:
        found = bisect.bisect_right(self._sections, tick, key=lambda section: section.start) - 1
        return self._sections[max(found, 0)]

    def _begin(self, tick: int, sounds: Mapping[CallTrack, Voice] | None) -> int:
        """Begin a section in the place of all that were to begin from then on; return its tick."""
        tick = max(tick, self._unheard)
        position = self._section_at(tick).position_at(tick)
        while self._sections and self._sections[-1].start >= tick:
            self._sections.pop()
        self._sections.append(_Section(tick, position, sounds))
        self._undisturbed = False
        return tick
