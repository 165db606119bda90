"""What is heard on a call: the packaged conversation, files of one's own, and `say`."""

from __future__ import annotations

import importlib.resources
import math
import os
import struct
import wave
from pathlib import Path

import pytest

from minivoice_ref.protocol.audio import decode_mulaw, encode_mulaw, level
from minivoice_ref.simulator.speech import (
    FRAME_SAMPLES,
    SILENCE,
    TICK,
    CallAudio,
    Role,
    SpeechError,
    Voice,
    load_voice,
    packaged_voice,
    ticks_to_say,
)
from minivoice_ref.simulator.wav import BadWav


def sentences() -> list[tuple[float, float, str, str]]:
    """The lines of words.txt: from, to, who, text."""
    path = importlib.resources.files("minivoice_ref.simulator") / "voices" / "words.txt"
    rows = [line.split("\t") for line in path.read_text("utf-8").splitlines()]
    return [(float(start), float(end), who, text) for start, end, who, text in rows]


def tone(rate: int, seconds: float, hertz: float = 440.0) -> list[int]:
    return [
        round(10000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(int(rate * seconds))
    ]


def write_wav(path: Path, rate: int, samples: list[int]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return path


def numbered(name: str, count: int, first: int) -> Voice:
    """A voice whose frames can be told apart."""
    return Voice(name, tuple(bytes([first + n]) * FRAME_SAMPLES for n in range(count)))


def test_the_packaged_conversation_has_two_voices_of_equal_length() -> None:
    caller, agent = packaged_voice("caller"), packaged_voice("agent")
    assert len(caller.frames) == len(agent.frames) == 1050
    assert caller.seconds == pytest.approx(21.0)
    assert caller.frames != agent.frames
    assert packaged_voice("caller") is caller


def test_each_of_the_packaged_voices_is_silent_while_the_other_speaks() -> None:
    caller, agent = packaged_voice("caller"), packaged_voice("agent")
    for tick in range(1050):
        assert SILENCE in (caller.frame(tick), agent.frame(tick))


def test_the_packaged_words_stand_where_the_packaged_voices_speak() -> None:
    spoken: dict[str, set[int]] = {"caller": set(), "agent": set()}
    for start, end, who, text in sentences():
        assert text and end > start
        spoken[who] |= set(range(math.floor(start / TICK) - 1, math.ceil(end / TICK) + 1))
    roles: tuple[Role, Role] = ("caller", "agent")
    for role in roles:
        voice = packaged_voice(role)
        heard = {tick for tick, frame in enumerate(voice.frames) if frame != SILENCE}
        assert heard <= spoken[role]
        assert len(heard) > 0.9 * len(spoken[role])


@pytest.mark.parametrize("role", ["caller", "agent"])
def test_the_packaged_voices_have_a_sensible_level(role: Role) -> None:
    spoken = b"".join(frame for frame in packaged_voice(role).frames if frame != SILENCE)
    measured = level(decode_mulaw(spoken))
    assert -22 < measured.rms_dbfs < -19
    assert -9 < measured.peak_dbfs < -5


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_a_file_of_any_rate_is_heard_at_8000_samples_a_second(tmp_path: Path, rate: int) -> None:
    voice = load_voice(write_wav(tmp_path / "tone.wav", rate, tone(rate, 0.5)))
    assert len(voice.frames) == 25
    pcm = decode_mulaw(b"".join(voice.frames))
    heard = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    crossings = sum(1 for a, b in zip(heard, heard[1:], strict=False) if (a < 0) != (b < 0))
    assert crossings / 2 / 0.5 == pytest.approx(440, abs=6)
    assert level(pcm).peak_dbfs == pytest.approx(20 * math.log10(10000 / 32768), abs=0.7)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match=r"nobody\.wav cannot be read: No such file"):
        load_voice(tmp_path / "nobody.wav")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.wav"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 65 * 1024 * 1024)
    with pytest.raises(SpeechError, match="larger than 64 MiB"):
        load_voice(path)


def test_a_file_that_is_no_wav_is_named(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"ID3 and so on")
    with pytest.raises(BadWav, match=r"song\.wav cannot be used: it is not a WAV file"):
        load_voice(path)


def test_a_voice_fills_its_last_frame_with_silence_and_not_with_zeros() -> None:
    pcm = struct.pack("<200h", *[1000] * 200)
    voice = Voice.from_pcm("short", pcm)
    assert voice.frames[0] == encode_mulaw(pcm[:320])
    assert voice.frames[1] == encode_mulaw(pcm[320:]) + b"\xff" * 120
    assert voice.seconds == pytest.approx(0.04)


def test_a_voice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Voice.from_pcm("nobody", b"")


def test_a_voice_begins_again_when_it_is_over() -> None:
    voice = numbered("counting", 3, first=1)
    assert [voice.frame(n)[0] for n in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_speech_without_pauses_repeats_what_is_spoken_for_as_long_as_needed() -> None:
    voice = Voice("halting", (SILENCE, b"a" * 160, SILENCE, b"b" * 160))
    assert voice.without_pauses(5).frames == tuple(bytes([c]) * 160 for c in b"ababa")
    assert Voice("mute", (SILENCE,)).without_pauses(2).frames == (SILENCE, SILENCE)


@pytest.mark.parametrize(("words", "seconds"), [(0, 0.5), (1, 0.5), (10, 4.0), (150, 60.0)])
def test_text_takes_its_time_at_150_words_a_minute(words: int, seconds: float) -> None:
    assert ticks_to_say("word " * words) * TICK == pytest.approx(seconds)


def test_the_clock_of_the_audio_begins_when_the_parties_do() -> None:
    audio = CallAudio(numbered("c", 3, 1), numbered("a", 3, 1), begins=1.5)
    assert [audio.tick_at(at) for at in (0.0, 1.5, 1.519, 1.54, 2.5)] == [0, 0, 1, 2, 50]


def test_while_the_agent_says_something_the_caller_listens_and_the_conversation_waits() -> None:
    caller, agent = numbered("caller", 100, first=1), numbered("agent", 100, first=101)
    audio = CallAudio(caller, agent)
    assert audio.say("one", tick=10) == 25
    assert audio.say("two", tick=50) == 25
    heard = [(audio.frame("inbound", n)[0], audio.frame("outbound", n)[0]) for n in range(80)]
    assert heard[:10] == [(1 + n, 101 + n) for n in range(10)]
    assert heard[10:35] == [(0xFF, 101 + n) for n in range(25)]
    assert heard[35:50] == [(11 + n, 111 + n) for n in range(15)]
    assert heard[50:75] == [(0xFF, 101 + n) for n in range(25)]
    assert heard[75:80] == [(26 + n, 126 + n) for n in range(5)]
