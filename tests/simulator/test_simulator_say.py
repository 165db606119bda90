"""The words of a `say`: by a program where there is one, and never a reason for a call to fail.

The programs here are scripts of the test's own, in real time; the last test asks the real ones.
"""

from __future__ import annotations

import io
import math
import shutil
import struct
import wave
from pathlib import Path

import pytest
import trio
from simulator_lab import open_lab, start

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.protocol.audio import decode_mulaw, level
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.plan import CallPlan
from minivoice_ref.simulator.report import Moment
from minivoice_ref.simulator.say import spoken
from minivoice_ref.simulator.speech import SPEECH_PROGRAMS, Voice
from minivoice_ref.testing import MemoryNetwork

SAYS_IT = 'printf "%s" "$*" >> "$0.said"; cat >> "$0.read"; cat "$0.wav"'


def install(folder: Path, name: str, script: str, seconds: float = 0.3, rate: int = 8000) -> Path:
    """Install a speech program; with SAYS_IT it says a tone of so many *seconds*."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        count = round(rate * seconds)
        samples = (round(9000 * math.sin(2 * math.pi * 440 * n / rate)) for n in range(count))
        file.writeframes(struct.pack(f"<{count}h", *samples))
    program = folder / name
    program.with_suffix(".wav").write_bytes(content.getvalue())
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, the only one that is looked into beside those of every shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shell_tools = tmp_path / "tools"
    shell_tools.mkdir()
    for name in ("cat", "sleep"):
        (shell_tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{folder}:{shell_tools}")
    return folder


async def say(text: str, patience: float = 5.0) -> tuple[Voice | None, list[str]]:
    """What came of *text*, and the remarks."""
    moments: list[Moment] = []
    plan = CallPlan(answer_url="https://a.example.com", timeouts=Timeouts(speech=patience))
    context = CallContext(plan, MemoryNetwork().connect, moments.append)
    voice = await spoken(text, context)
    return voice, [moment.text for moment in moments]


async def test_the_words_are_those_of_the_program(programs: Path) -> None:
    program = install(programs, "flite", SAYS_IT)
    voice, remarks = await say("Good morning")
    assert voice is not None and (voice.name, len(voice.frames)) == ("flite", 15)
    assert level(decode_mulaw(voice.frames[5])).rms_dbfs > -20
    assert program.with_suffix(".said").read_text() == "-t Good morning -o /dev/stdout"
    assert remarks == []


async def test_a_program_may_take_the_text_on_its_standard_input(programs: Path) -> None:
    program = install(programs, "espeak-ng", SAYS_IT, rate=16000)
    voice, _ = await say("Grüß Gott \0 \ud800")
    assert voice is not None and (voice.name, len(voice.frames)) == ("espeak-ng", 15)
    assert program.with_suffix(".said").read_text() == "--stdin --stdout"
    assert program.with_suffix(".read").read_text() == "Grüß Gott   ?"


async def test_what_was_said_once_is_not_made_again(programs: Path) -> None:
    program = install(programs, "flite", SAYS_IT)
    first, _ = await say("again")
    second, _ = await say("again")
    assert first is second
    assert program.with_suffix(".said").read_text().count("-t") == 1


async def test_the_store_of_what_was_said_does_not_grow_for_ever(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minivoice_ref.simulator.say._MOST_STORED", 1)
    monkeypatch.setattr("minivoice_ref.simulator.say._stored", {})
    program = install(programs, "flite", SAYS_IT)
    for text in ("one", "two", "one"):
        await say(text)
    assert program.with_suffix(".said").read_text().count("-t") == 3


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (
            "echo no voice found >&2; exit 3",
            "flite did not say it: it ended with 3: no voice found",
        ),
        ("exit 4", "flite did not say it: it ended with 4"),
        ("echo hello", "not a WAV file"),
        ("exit 0", "not a WAV file"),
    ],
)
async def test_where_one_fails_the_next_one_says_it(programs: Path, script: str, why: str) -> None:
    install(programs, "flite", script)
    install(programs, "espeak-ng", SAYS_IT)
    voice, (remark,) = await say("hello")
    assert voice is not None and voice.name == "espeak-ng"
    assert why in remark


async def test_one_that_cannot_be_started_is_no_reason_to_fail(programs: Path) -> None:
    install(programs, "flite", SAYS_IT).write_text("#!/no/such/shell\n")
    voice, (remark,) = await say("hello")
    assert voice is None and "No such file" in remark


async def test_one_that_hangs_meets_a_deadline(programs: Path) -> None:
    install(programs, "flite", "exec sleep 60")
    with trio.fail_after(10):
        voice, remarks = await say("hello", patience=0.2)
    assert voice is None and remarks == ["the text was not said within 0.2 s"]


async def test_without_any_nothing_is_remarked(programs: Path) -> None:
    assert await say("hello") == (None, [])


async def test_the_agents_track_carries_the_words_for_as_long_as_they_take(
    programs: Path,
) -> None:
    install(programs, "flite", SAYS_IT, seconds=0.4)
    async with open_lab() as lab:
        lab.answer_with(start(), {"say": {"text": "Welcome"}})
        report = await lab.call(speak=0.1, speech_programs=tuple(SPEECH_PROGRAMS), keep_audio=True)
    assert report.passed
    assert report.actions[1].detail == (
        "the agent's track carried speech for 0.4 s, the words by flite"
    )
    heard = report.streams[0].audio["outbound"]
    frames = [heard[n : n + 160] for n in range(0, len(heard), 160)]
    assert sum(level(decode_mulaw(frame)).rms_dbfs > -20 for frame in frames[:23]) >= 18


def test_a_program_that_is_unknown_is_refused() -> None:
    with pytest.raises(ConfigError, match="'say' is unknown"):
        CallPlan(answer_url="https://a.example.com", speech_programs=("say",))


@pytest.mark.parametrize("name", SPEECH_PROGRAMS)
async def test_a_program_that_is_installed_here_says_more_words_longer(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    plan = CallPlan(answer_url="https://a.example.com", speech_programs=(name,))
    context = CallContext(plan, MemoryNetwork().connect, lambda moment: None)
    short = await spoken("Yes.", context)
    long = await spoken("Please press one. - Then wait, say, for a minute or two.", context)
    assert short is not None and long is not None
    assert 0.2 < short.seconds < 2 < long.seconds < 8
    assert level(decode_mulaw(b"".join(long.frames))).peak_dbfs > -20
