"""The action list: run in order, each action with its documented effect and a line of its own."""

from __future__ import annotations

import pytest
import trio.testing
from simulator_lab import HOST, STREAM_URL, Document, dashes, failing, open_lab, start

from minivoice_ref.protocol.actions import STREAM_ACTION_ACCEPTED
from minivoice_ref.simulator.report import STEPS, CallReport, Sums
from minivoice_ref.simulator.speech import packaged_voice

Clock = trio.testing.MockClock

STOP: Document = {"type": "stop_stream"}
OTHER_URL = f"wss://{HOST}/other"


def outcomes(report: CallReport) -> list[tuple[str, str]]:
    return [(result.type, result.outcome) for result in report.actions]


def ends(report: CallReport) -> list[int]:
    """The frames of the inbound or only track of each stream: how long each lasted."""
    return [next(iter(stream.sent.values())).frames for stream in report.streams]


@pytest.mark.documents("stream-ends")
async def test_stop_stream_ends_the_stream_and_the_call_goes_on(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), STOP)
        report = await lab.call(speak=2.0)
    assert report.verdict == "pass"
    assert report.streams[0].sent["inbound"] == Sums(100, 16000)
    assert [result.detail for result in report.actions] == [STREAM_ACTION_ACCEPTED] * 2
    closed = next(m.at for m in lab.moments if m.text.startswith("stopped and closed"))
    hung_up = next(m.at for m in lab.moments if m.text == "the caller hangs up")
    assert closed == pytest.approx(2.0, abs=0.03)
    assert hung_up == pytest.approx(4.0, abs=0.03)


async def test_the_keyed_form_does_the_same(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with({"start_stream": {"stream_url": STREAM_URL}}, {"stop_stream": {}})
        report = await lab.call()
    assert report.verdict == "pass"
    assert outcomes(report) == [("start_stream", "accepted"), ("stop_stream", "accepted")]


@pytest.mark.parametrize(
    ("stop", "frames"),
    [
        ({}, [50, 50, 50]),
        ({"stream_url": STREAM_URL}, [50, 50, 100]),
        ({"track": "inbound"}, [50, 100, 100]),
        ({"stream_url": STREAM_URL, "track": "both"}, [100, 50, 100]),
        ({"stream_url": OTHER_URL, "track": "inbound"}, [100, 100, 100]),
    ],
    ids=["nothing given", "by url", "by track", "by both", "no match"],
)
@pytest.mark.documents("stop-matches")
async def test_stop_stream_matches_by_url_and_by_track_each_only_where_given(
    autojump_clock: Clock, stop: Document, frames: list[int]
) -> None:
    async with open_lab() as lab:
        lab.answer_with(
            start(track="inbound"), start(track="both"), start(OTHER_URL, "outbound"), STOP | stop
        )
        report = await lab.call()
    assert report.verdict == "pass"
    assert ends(report) == frames
    missed = "; no open stream matches it" if frames == [100] * 3 else ""
    assert report.actions[3].detail == STREAM_ACTION_ACCEPTED + missed


async def test_a_stream_is_stopped_once(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), STOP, STOP)
        report = await lab.call()
    assert report.verdict == "pass"
    assert report.actions[2].detail.endswith("no open stream matches it")
    assert lab.heard[0].events().count("stop") == 1


async def test_a_stream_that_has_failed_is_not_there_to_be_stopped(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start("wss://nobody.example.com/stream"), STOP)
        report = await lab.call()
    assert report.actions[1].detail.endswith("no open stream matches it")
    assert failing(report) == ["receiver_accepted", "media_flowed", "stream_closed"]


async def test_say_takes_the_time_of_its_text_on_the_agents_track(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"say": {"text": "one two three four five"}})
        report = await lab.call(speak=1.0, keep_audio=True)
    assert report.actions[1].detail == "the agent's track carried speech for 2 s"
    audio = report.streams[0].audio
    assert report.streams[0].sent["inbound"] == Sums(150, 24000)
    spoken = packaged_voice("agent").without_pauses(100).frames
    assert audio["outbound"][: 100 * 160] == b"".join(spoken)
    assert audio["inbound"][: 100 * 160] == b"\xff" * 16000
    assert audio["outbound"][100 * 160 :] == b"".join(packaged_voice("agent").frames[:50])


@pytest.mark.parametrize(
    ("action", "detail"),
    [
        ({"say": {"text": "one two three four five"}}, "speech for 1.49 of 2 s"),
        ({"send_digits": {"digits": "1wW2", "pause_before_ms": 200}}, "track: 1.49 of 2 s"),
    ],
    ids=["say", "send_digits"],
)
async def test_what_a_hang_up_cuts_short_says_how_much_of_it_was_heard(
    autojump_clock: Clock, action: Document, detail: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), action)
        report = await lab.call(hang_up_after=1.5)
        whole = await lab.call(hang_up_after=2.5)
    assert report.actions[1].detail.endswith(f"{detail} (the caller hung up)")
    assert whole.actions[1].detail.endswith(" 2 s")
    assert report.passed and report.streams[0].sent["outbound"].frames == 75


@pytest.mark.parametrize(
    "action",
    [
        {"transfer": {"destination": "+15551230003"}},
        {"bridge": {"destination": "+15551230003"}},
        {"conference": {"room": "lobby"}},
    ],
    ids=lambda action: next(iter(action)),
)
async def test_what_ends_the_list_leaves_the_rest_unrun(
    autojump_clock: Clock, action: Document
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), action, STOP, {"hold": {}})
        report = await lab.call()
    name = next(iter(action))
    assert report.verdict == "pass"
    assert ends(report) == [50]
    assert [result.outcome for result in report.actions] == ["accepted"] * 2 + ["skipped"] * 2
    assert [result.detail for result in report.actions[2:]] == [f"not run after {name}"] * 2


@pytest.mark.documents("stream-begins")
async def test_an_empty_list_is_a_call_without_a_stream(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with()
        report = await lab.call()
    assert report.passed and dashes(report) == list(STEPS[1:5])
    assert "–     url_is_wss         the answer started no stream" in str(report)
    assert [event for event, _ in lab.events()][-1] == "call.completed"
