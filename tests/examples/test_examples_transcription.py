"""live_transcription.py and agent_assist.py: the words, how late they are, and what they mean.

The recogniser itself comes with the extra `transcribe`; without it, its tests are skipped. Their
calls end in a pause of the conversation: where a call ends just as a party begins to speak, or the
machine is busy, the recogniser (0.0.73) may fail in its last step, which has tests of its own here.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from examples_lab import load, run

from benchmarks.transcription import errors, said, spoken
from minivoice_ref import App, Frame, MediaFormat
from minivoice_ref.rehearsal import open_rehearsal
from minivoice_ref.simulator.speech import packaged_voice

live_transcription = load("live_transcription")
agent_assist = load("agent_assist")
Line = live_transcription.Line
Words = live_transcription.Words

#: What the recogniser itself writes of a failing step, which the example says in its own words.
OF_THE_LIBRARY = r"Thread \d+:[\w.-]+:\d+:"

needs_moonshine = pytest.mark.skipif(
    importlib.util.find_spec("moonshine_voice") is None,
    reason="the extra `transcribe` is not installed",
)


@needs_moonshine
@pytest.mark.documents("use-transcription")
def test_it_runs_and_the_words_are_those_that_were_said(tmp_path: Path) -> None:
    told = run("live_transcription.py", "8.6", cwd=tmp_path, remarks=OF_THE_LIBRARY)
    whole = re.findall(r"s  (caller|agent) +(.+)  \(lag [\d.]+ s\)", told)
    for party, beginning in (("agent", 10), ("caller", 12)):
        wanted = said()[party][:beginning]
        got = [word for who, text in whole if who == party for word in spoken(text)]
        assert errors(wanted, got[:beginning]) <= 2, told
    assert "(...)" in told, "words are shown before the line is complete"
    assert "left out" not in told and "PASS" in told


@needs_moonshine
@pytest.mark.documents("use-agent-assist")
def test_the_agent_is_told_of_the_delay_and_of_the_order(tmp_path: Path) -> None:
    """A busy machine's recogniser may mishear a word, so one of the two is enough."""
    told = run("agent_assist.py", "15.1", cwd=tmp_path, remarks=OF_THE_LIBRARY)
    late = told.count("********  Late delivery: offer a replacement.  (heard from the caller)")
    orders = re.findall(r"\*{8}  Order (\d+): look it up\.  \(heard from the caller\)", told)
    assert late <= 1 and len(orders) <= 1 and (late or orders == ["4715"]), told


@needs_moonshine
def test_the_recogniser_of_a_long_call_begins_anew_and_keeps_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_transcription, "LINES_AT_ONCE", 2)
    engine, lines = live_transcription.Moonshine(), []
    pcm = b"".join(
        Frame("inbound", 0, frame, MediaFormat()).pcm for frame in packaged_voice("agent").frames
    )
    for at in range(0, len(pcm), 32000):  # 2 s
        lines += engine.hear(pcm[at : at + 32000], 8000)
    lines += engine.finish()
    begins = [line.begin for line in lines if line.complete]
    assert len(begins) == 3 and begins == sorted(begins)
    assert begins[0] == pytest.approx(0.4, abs=0.6) and begins[-1] == pytest.approx(15.3, abs=0.8)


class FailingStream:
    """The library's stream as it fails: in `add_audio` by an exception, in `stop` by an event."""

    def __init__(self) -> None:
        self.listen: Any = None

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def add_listener(self, listener: Any) -> None:
        self.listen = listener

    def add_audio(self, samples: Sequence[float], sample_rate: int) -> None:
        told = SimpleNamespace(line_id=1, text="half a", start_time=0.0, duration=1.0)
        told.is_complete = False
        self.listen(SimpleNamespace(line=told))
        if len(samples) > 10:
            raise LookupError("no audio")

    def stop(self) -> None:
        self.listen(SimpleNamespace(line=None, error=LookupError("no last step")))


def failing_engine() -> Any:
    """The example's engine over a library that fails."""
    engine = live_transcription.Moonshine.__new__(live_transcription.Moonshine)
    engine._transcriber = SimpleNamespace(create_stream=lambda update_interval: FailingStream())
    engine._error, engine.troubles = LookupError, []
    engine._begin(0.0)
    return engine


def test_a_recogniser_that_fails_at_the_end_is_said_to_and_keeps_what_it_understood() -> None:
    engine = failing_engine()
    assert engine.hear(bytes(16), 8) == [Line(0.0, 1.0, "half a", False)]
    assert engine.finish() == [Line(0.0, 1.0, "half a", True)]
    assert engine.troubles == ["no last step"]


async def test_a_recogniser_that_fails_in_mid_call_begins_anew() -> None:
    told, engine = Told(), failing_engine()
    ear = told.new_ear()
    ear.put(frame(0))
    await hear_all(ear, engine)
    assert told.said == [
        "the recogniser failed: no audio",
        "the recogniser failed: no last step",
        "the recogniser failed: no last step",
    ]
    assert [line.text for line, _ in told.lines] == ["half a"]


class Scripted:
    """A recogniser that says one line for each visit: how many samples it got."""

    def __init__(self) -> None:
        self.troubles: list[str] = []
        self.heard: list[bytes] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def hear(self, pcm: bytes, sample_rate: int) -> Sequence[Any]:
        assert self.may_go_on.wait(10)
        self.heard.append(pcm)
        samples = sum(map(len, self.heard)) // 2
        return [Line(0.0, samples / sample_rate, str(samples), True)]

    def finish(self) -> Sequence[Any]:
        return [Line(0.0, 0.0, "end", True)]


def frame(position: int, samples: int = 800, byte: bytes = b"\1") -> Frame:
    return Frame("inbound", position, byte * (2 * samples), MediaFormat("l16le"))


class Told:
    """What an ear hands on."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, float]] = []
        self.said: list[str] = []

    def new_ear(self) -> Any:
        return live_transcription.Ear(8000, self.on_line, self.said.append)

    def on_line(self, line: Any, lag: float) -> None:
        self.lines.append((line, lag))


async def hear_all(ear: Any, engine: Scripted) -> None:
    with trio.fail_after(10):
        ear.finish()
        await ear.run(engine)


async def test_a_slow_recogniser_loses_the_oldest_audio_which_is_said_and_counted() -> None:
    told, engine = Told(), Scripted()
    ear = told.new_ear()
    for number in range(150):  # 15 s
        ear.put(frame(800 * number))
    assert (ear.waiting, ear.dropped) == (80_000, 40_000)
    assert told.said == ["more than 10 s behind: the oldest audio is left out"]
    await hear_all(ear, engine)
    assert told.said[1:] == ["5.0 s have been left out so far"]
    assert [line.text for line, _ in told.lines] == ["80000", "end"]
    assert told.lines[0][0].begin == 5.0, "the line is where it was spoken"


async def test_the_lag_is_what_came_while_the_recogniser_was_busy() -> None:
    told, engine = Told(), Scripted()
    ear = told.new_ear()
    engine.may_go_on.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ear.run, engine)
        for number in range(5):  # 0.5 s
            ear.put(frame(800 * number))
        await trio.testing.wait_all_tasks_blocked()
        for number in range(5, 25):
            ear.put(frame(800 * number))
        engine.may_go_on.set()
        ear.finish()
    assert [lag for _, lag in told.lines[:2]] == [2.0, 0.0]


async def test_what_was_lost_is_silence_and_what_is_late_is_left_out() -> None:
    told, engine = Told(), Scripted()
    ear = told.new_ear()
    for position in (8000, 8800, 10_400, 9600, 11_200):
        ear.put(frame(position))
    await hear_all(ear, engine)
    sound, silence = b"\1" * 1600, bytes(1600)
    assert engine.heard == [sound + sound + silence + sound + sound]
    assert told.lines[0][0].begin == 1.0


async def test_a_leap_of_the_clock_is_no_hour_of_silence() -> None:
    told, engine = Told(), Scripted()
    ear = told.new_ear()
    ear.put(frame(0))
    ear.put(frame(8000 * 3600))
    await hear_all(ear, engine)
    assert sum(map(len, engine.heard)) == 2 * (800 + 8000 * 30 + 800)


async def test_each_track_has_a_recogniser_which_is_used_again_for_the_next_call() -> None:
    words: list[Any] = []
    made: list[Scripted] = []

    def new_engine() -> Scripted:
        made.append(Scripted())
        return made[-1]

    transcription = live_transcription.Transcription(words.append, new_engine)
    await transcription.prepare(1)
    async with open_rehearsal(App(on_stream=transcription.on_stream)) as rehearsal:
        for _ in range(2):
            report = await rehearsal.call(speak=0.6)
            assert report.passed
    assert len(made) == 2
    assert {word.track for word in words} == {"inbound", "outbound"}
    assert len({word.stream_id for word in words}) == 2
    assert sum(word.line.text == "end" for word in words) == 4


def heard(track: str, text: str, *, complete: bool = True) -> Any:
    return Words("stream_1", track, Line(0.0, 1.0, text, complete), 0.5)


@pytest.mark.parametrize(
    ("track", "text", "hints"),
    [
        ("inbound", "It never came.", ["Late delivery: offer a replacement."]),
        ("outbound", "It never came.", []),
        ("inbound", "The number is four, seven, one five.", ["Order 4715: look it up."]),
        ("inbound", "My order number is 4 7 15, thank you", ["Order 4715: look it up."]),
        ("inbound", "Yes, the number is 4715.", ["Order 4715: look it up."]),
        ("inbound", "The number is four, seventy what?", ["Order 4: look it up."]),
        ("inbound", "I will complain", ["The caller says complain: ask a supervisor to listen."]),
        ("inbound", "I want my money back; I never arrived", None),
        ("outbound", "On Friday, then.", ["You gave a date: note it with the order."]),
        ("mixed", "refund", []),
    ],
)
def test_a_line_calls_for_its_hints(track: str, text: str, hints: list[str] | None) -> None:
    found = agent_assist.hints_in(heard(track, text))
    assert found == hints if hints is not None else len(found) == 2


def test_half_a_number_is_not_looked_up_and_half_a_complaint_is_noticed() -> None:
    assert agent_assist.hints_in(heard("inbound", "the number is four", complete=False)) == []
    assert agent_assist.hints_in(heard("inbound", "a refund", complete=False))


def test_a_hint_is_shown_once_in_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    assistant = agent_assist.Assistant(lambda hint, words: shown.append(hint))
    assistant._shown["stream_1"] = set()
    for complete in (False, False, True):
        assistant.on_words(heard("inbound", "a refund", complete=complete))
    assert len(shown) == 1
    assert capsys.readouterr().out == "   0.0 s  caller  a refund  (lag 0.5 s)\n"


def test_the_word_error_rate_counts_substitutions_omissions_and_additions() -> None:
    wanted = "the cat sat on the mat".split()
    for got, mistakes in (
        ("the cat sat on the mat", 0),
        ("the cat sat on a mat", 1),
        ("the cat on the mat", 1),
        ("the fat cat sat on the mat", 1),
        ("", 6),
    ):
        assert errors(wanted, got.split()) == mistakes
    assert {party: len(words) for party, words in said().items()} == {"caller": 26, "agent": 30}
