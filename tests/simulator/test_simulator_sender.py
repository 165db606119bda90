"""Streams: paced by the clock, closed properly, failing in every way without harm to the call."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from simulator_lab import (
    ANSWER_URL,
    HOST,
    STREAM_URL,
    WEBHOOK_URL,
    Behaviour,
    Heard,
    Lab,
    failing,
    listen,
    open_lab,
    start,
    take,
)

from minivoice_ref.config import Timeouts
from minivoice_ref.net.http_messages import Response
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.simulator import coding
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.report import CallReport, Sums
from minivoice_ref.simulator.sender import StreamSender
from minivoice_ref.simulator.speech import CallAudio, packaged_voice

Clock = trio.testing.MockClock

UNHURT = ["call.created", "call.answered", "call.completed"]


def assert_the_call_was_not_hurt(lab: Lab, report: CallReport, *, lasted: float = 1.0) -> None:
    """The stream's failure is in the report, and nowhere else."""
    assert [event for event, _ in lab.events()] == UNHURT
    assert "call_completed" not in failing(report)
    hung_up = next(moment.at for moment in lab.moments if moment.text == "the caller hangs up")
    assert hung_up == pytest.approx(lasted, abs=0.02)


# --- pace ---


async def test_the_nth_frame_leaves_at_start_plus_n_times_20_ms_without_drift(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        await lab.call(speak=30.0)
    heard = lab.heard[0]
    for track in ("inbound", "outbound"):
        media = heard.media(track)
        assert len(media) == 1500
        for n, (at, frame) in enumerate(media):
            assert at == pytest.approx(heard.began + n * 0.02, abs=1e-9)
            assert (frame["timestamp"], frame["chunk"]) == (str(20 * n), str(n + 1))


async def test_after_a_held_up_frame_the_clock_is_caught_up_with(autojump_clock: Clock) -> None:
    """A receiver that takes nothing for a while: the buffers fill, then all comes at once."""

    async def pause_after_the_start(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(4.0)
        await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = pause_after_the_start
        report = await lab.call(speak=8.0)
    assert report.verdict == "pass"
    heard = lab.heard[0]
    arrivals = {int(frame["timestamp"]): at - heard.began for at, frame in heard.media("inbound")}
    assert list(arrivals) == [20 * n for n in range(400)]
    assert arrivals[0] == pytest.approx(4.0, abs=0.01)
    for timestamp, at in arrivals.items():
        assert at == pytest.approx(max(4.0, timestamp / 1000), abs=0.01)


async def test_what_was_due_before_the_stop_leaves_before_it_however_late(
    autojump_clock: Clock,
) -> None:
    async def pause_beyond_the_stop(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(6.5)
        await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = pause_beyond_the_stop
        report = await lab.call(speak=6.0)
    assert report.passed, str(report)
    assert [len(lab.heard[0].media(track)) for track in ("inbound", "outbound")] == [300, 300]
    assert lab.heard[0].events()[-1] == "stop"


async def test_a_stream_that_opens_late_starts_at_zero_in_the_middle_of_the_conversation(
    autojump_clock: Clock,
) -> None:
    async def slow_network(host: str, port: int, tls: bool) -> trio.abc.Stream:
        if lab.asked:
            await trio.sleep(0.6)
        return await connect(host, port, tls)

    async with open_lab() as lab:
        connect = lab.network.connect
        lab.network.connect = slow_network  # type: ignore[method-assign]
        report = await lab.call(webhook_url=None, keep_audio=True)
    (stream,) = report.streams
    assert report.verdict == "pass"
    assert stream.opened_at == pytest.approx(0.6)
    assert stream.first_tick == 30
    assert stream.sent["inbound"] == Sums(20, 3200)
    assert lab.heard[0].media("inbound")[0][1]["timestamp"] == "0"
    assert "1 stream open after 0.600 s" in report.steps[2].detail


# --- which tracks ---


@pytest.mark.parametrize(
    ("track", "carried"),
    [
        ("inbound", ["inbound"]),
        ("outbound", ["outbound"]),
        ("both", ["inbound", "outbound"]),
        (None, ["inbound", "outbound"]),
    ],
)
@pytest.mark.documents("three-tracks")
async def test_a_stream_carries_the_tracks_that_were_asked_for(
    autojump_clock: Clock, track: str | None, carried: list[str]
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(track=track))
        report = await lab.call()
    assert list(report.streams[0].sent) == carried
    assert lab.heard[0].of("start")[0]["start"]["tracks"] == carried
    assert {message["media"]["track"] for message in lab.heard[0].of("media")} == set(carried)


async def test_the_track_of_a_stream_that_names_none_is_a_setting(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(track=None))
        report = await lab.call(default_track="inbound")
    assert report.streams[0].track == "inbound"


async def test_two_streams_carry_the_same_sound_at_the_same_moment(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(
            start(STREAM_URL + "1", "outbound"),
            {"say": {"text": "one moment please"}},
            start(STREAM_URL + "2", "both"),
        )
        report = await lab.call(keep_audio=True)
    first, second = report.streams
    assert report.verdict == "pass"
    assert (first.first_tick, second.first_tick) == (0, 60)
    overlap = first.audio["outbound"][60 * 160 :]
    assert overlap == second.audio["outbound"] and len(overlap) == 50 * 160
    assert set(overlap) != {0xFF}


# --- ends that are not as they should be ---


@pytest.mark.documents("stream-fails-call-goes-on")
async def test_a_receiver_that_is_not_there_fails_the_stream(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start("wss://nobody.example.com/stream/abcdefghijkl"))
        report = await lab.call()
    assert failing(report) == ["receiver_accepted", "media_flowed", "stream_closed"]
    (stream,) = report.streams
    assert stream.close_code is None and stream.opened_at is None
    assert "nobody listens" in report.steps[2].detail
    assert "abcdefghijkl" not in report.steps[2].detail
    assert_the_call_was_not_hurt(lab, report)


async def test_a_receiver_that_refuses_fails_the_stream(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.problem(403, "token expired")
        report = await lab.call()
    assert failing(report) == ["receiver_accepted", "media_flowed", "stream_closed"]
    assert "403" in report.steps[2].detail and "token expired" in report.steps[2].detail
    assert_the_call_was_not_hurt(lab, report)


async def test_a_receiver_that_never_answers_the_handshake_fails_the_stream(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.network.listener("mute.example.com", 443)
        lab.answer_with(start("wss://mute.example.com/stream"))
        report = await lab.call(speak=10.0, timeouts=Timeouts(upgrade=3.0))
    failed = next(moment for moment in lab.moments if moment.text.startswith("failed: "))
    assert failed.at == pytest.approx(3.0, abs=0.01)
    assert failing(report) == ["receiver_accepted", "media_flowed", "stream_closed"]
    assert_the_call_was_not_hurt(lab, report, lasted=10.0)


async def test_a_stream_that_is_stopped_before_it_is_open_is_given_up(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.network.listener("mute.example.com", 443)
        lab.answer_with(start("wss://mute.example.com/stream"))
        report = await lab.call(speak=1.0)
    assert "stopped before the receiver had accepted it" in report.steps[2].detail
    assert_the_call_was_not_hurt(lab, report)


def break_after(count: int) -> Behaviour:
    """A receiver whose connection breaks in the middle."""

    async def behave(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, count)
        await socket.abort()

    return behave


def close_after(count: int, code: int, reason: str = "") -> Behaviour:
    """A receiver that closes in the middle."""

    async def behave(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, count)
        await socket.close(code, reason)

    return behave


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.documents("stream-fails-call-goes-on")
async def test_a_receiver_that_breaks_the_connection_fails_the_stream(
    autojump_clock: Clock, count: int
) -> None:
    async with open_lab() as lab:
        lab.behave = break_after(count)
        report = await lab.call()
    assert "stream_closed" in failing(report)
    (stream,) = report.streams
    assert stream.close_code == 1006
    assert stream.fault == (
        "the connection broke without a goodbye (the byte stream ended without a Close)"
        " before it was stopped"
    )
    assert stream.broke_at is not None and stream.broke_at < 0.5
    assert sum(sums.frames for sums in stream.sent.values()) <= count + 2
    assert_the_call_was_not_hurt(lab, report)


async def test_a_break_that_was_asked_for_passes(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.behave = break_after(40)
        report = await lab.call(expect_break=True)
    assert report.verdict == "pass"
    assert "as asked; the call went on" in report.steps[4].detail
    assert_the_call_was_not_hurt(lab, report)


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (1000, "", "the receiver closed it with 1000 before it was stopped"),
        (1008, "no such call", "the receiver closed it with 1008 (no such call) before"),
        (1011, "a\nb", r"1011 (a\nb) before"),
    ],
)
async def test_a_receiver_that_closes_too_early_fails_the_stream(
    autojump_clock: Clock, code: int, reason: str, said: str
) -> None:
    async with open_lab() as lab:
        lab.behave = close_after(20, code, reason)
        report = await lab.call()
    assert failing(report) == ["stream_closed"]
    assert report.streams[0].close_code == code
    assert said in report.steps[4].detail
    assert_the_call_was_not_hurt(lab, report)


async def test_a_receiver_that_closes_on_the_stop_message_is_as_good_as_any(
    autojump_clock: Clock,
) -> None:
    async def close_on_stop(socket: MediaSocket, heard: Heard) -> None:
        while "stop" not in heard.events():
            await take(socket, heard, len(heard.messages) + 1)
        await socket.close(1000)

    async with open_lab() as lab:
        lab.behave = close_on_stop
        report = await lab.call()
    assert report.verdict == "pass"
    assert report.streams[0].close_code == 1000


async def test_a_receiver_that_takes_nothing_is_given_up_and_the_call_ends_in_time(
    autojump_clock: Clock,
) -> None:
    """The buffers fill, a frame is not taken within its deadline, and that breaks the stream."""

    async def sleep(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(60)

    async with open_lab() as lab:
        lab.behave = sleep
        report = await lab.call(speak=20.0, timeouts=Timeouts(send=3.0))
    (stream,) = report.streams
    assert stream.close_code == 1006
    assert stream.broke_at is not None and 3.0 < stream.broke_at < 20.0
    assert stream.fault == (
        "the connection broke without a goodbye (the peer did not take a frame within 3 s)"
        " before it was stopped"
    )
    assert_the_call_was_not_hurt(lab, report, lasted=20.0)


async def test_a_receiver_that_does_not_say_goodbye_fails_the_stream_in_bounded_time(
    autojump_clock: Clock,
) -> None:
    async def ignore_everything(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(60)

    async with open_lab() as lab:
        lab.behave = ignore_everything
        report = await lab.call(speak=0.5, timeouts=Timeouts(close=2.0))
        ended = lab.moments[-1].at
    assert failing(report) == ["stream_closed"]
    assert report.streams[0].close_code == 1006
    assert report.streams[0].fault == "closing it took longer than 2 s: no goodbye came"
    assert report.streams[0].closing_seconds is None
    assert ended == pytest.approx(2.5, abs=0.05)
    assert_the_call_was_not_hurt(lab, report, lasted=0.5)


async def test_a_receiver_that_vanishes_on_the_stop_message_fails_the_stream(
    autojump_clock: Clock,
) -> None:
    async def vanish_on_stop(socket: MediaSocket, heard: Heard) -> None:
        while "stop" not in heard.events():
            await take(socket, heard, len(heard.messages) + 1)
        await socket.abort()

    async with open_lab() as lab:
        lab.behave = vanish_on_stop
        report = await lab.call()
    assert failing(report) == ["stream_closed"]
    assert report.streams[0].close_code == 1006
    assert_the_call_was_not_hurt(lab, report)


async def test_what_a_receiver_sends_back_is_remarked_on_once_and_harmless(
    autojump_clock: Clock,
) -> None:
    async def chat(socket: MediaSocket, heard: Heard) -> None:
        for _ in range(3):
            await socket.send('{"event": "media"}')
        await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = chat
        report = await lab.call()
    assert report.verdict == "pass"
    assert sum("sent a message" in text for text in lab.said("stream")) == 1


async def test_one_stream_in_trouble_does_not_touch_the_other(autojump_clock: Clock) -> None:
    async def break_the_first(socket: MediaSocket, heard: Heard) -> None:
        if heard.path.endswith("first"):
            await break_after(10)(socket, heard)
        else:
            await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = break_the_first
        lab.answer_with(start(f"wss://{HOST}/first"), start(f"wss://{HOST}/second"))
        report = await lab.call()
    first, second = report.streams
    assert (first.close_code, second.close_code) == (1006, 1000)
    assert second.sent["inbound"] == Sums(50, 8000)
    assert failing(report) == ["stream_closed"]
    assert_the_call_was_not_hurt(lab, report)


@pytest.mark.documents("kept-apart")
async def test_webhooks_are_accepted_while_a_stream_hangs(autojump_clock: Clock) -> None:
    async def sleep(socket: MediaSocket, heard: Heard) -> None:
        await trio.sleep(60)

    async with open_lab() as lab:
        lab.behave = sleep
        report = await lab.call(webhook_url=WEBHOOK_URL)
    assert [hook.status for hook in report.webhooks] == [204, 204, 204]


# --- digits ---


async def with_sender(lab: Lab, act: Callable[[StreamSender], None]) -> CallReport:
    """A call of which *act* is given the stream, half a second after the start."""
    handle = CallHandle()
    plan = CallPlan(answer_url=ANSWER_URL, speak=1.0)
    reports = []

    async def place() -> None:
        observe, connect = lab.moments.append, lab.network.connect
        reports.append(await place_call(plan, connect=connect, observe=observe, handle=handle))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(place)
        await trio.sleep(0.51)
        act(handle.streams[0])
    return reports[0]


async def test_a_digit_comes_before_the_next_frame(autojump_clock: Clock) -> None:
    def press(stream: StreamSender) -> None:
        stream.send_digit("1")
        stream.send_digit("#", "outbound", 100)

    async with open_lab() as lab:
        report = await with_sender(lab, press)
    heard = lab.heard[0]
    pressed = [message["dtmf"] for message in heard.of("dtmf")]
    assert pressed == [
        {"track": "inbound_track", "digit": "1"},
        {"track": "outbound_track", "digit": "#"},
    ]
    first = heard.events().index("dtmf")
    _, before = heard.messages[first - 1]
    _, after = heard.messages[first + 2]
    assert (before["media"]["timestamp"], after["media"]["timestamp"]) == ("500", "520")
    numbers = [int(m["sequenceNumber"]) for _, m in heard.messages if "sequenceNumber" in m]
    assert numbers == list(range(1, len(numbers) + 1))
    assert report.passed or report.webhooks == []


async def test_only_so_many_digits_wait_to_be_said(autojump_clock: Clock) -> None:
    def press(stream: StreamSender) -> None:
        for _ in range(70):
            stream.send_digit("5")

    async with open_lab() as lab:
        await with_sender(lab, press)
    assert len(lab.heard[0].of("dtmf")) == 64
    assert sum("was dropped: 64 wait to be sent" in text for text in lab.said("stream")) == 6


async def test_a_stream_says_no_digit_of_a_track_that_it_does_not_carry(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(track="outbound"))
        await with_sender(lab, lambda stream: stream.send_digit("1", "inbound"))
        assert lab.heard[0].of("dtmf") == []


async def test_a_stream_that_is_not_open_or_is_over_says_no_digit(autojump_clock: Clock) -> None:
    def press_too_late(stream: StreamSender) -> None:
        stream.stop()
        assert stream.ended
        stream.send_digit("1")

    async with open_lab() as lab:
        await with_sender(lab, press_too_late)
        assert lab.heard[0].of("dtmf") == []
        plan = CallPlan(answer_url=ANSWER_URL)
        context = CallContext(plan, lab.network.connect, lab.moments.append)
        voice = packaged_voice("caller")
        stream = StreamSender(context, CallAudio(voice, voice), STREAM_URL, "both")
        stream.send_digit("1")
        assert not stream.opened and not stream._digits


# --- what is measured ---


async def test_the_handshake_and_the_lateness_are_in_the_report(autojump_clock: Clock) -> None:
    async def far_away(host: str, port: int, tls: bool) -> trio.abc.Stream:
        await trio.sleep(0.25 if lab.asked else 0.0)
        return await lab.network.connect(host, port, tls)

    async with open_lab() as lab:
        plan = CallPlan(answer_url=ANSWER_URL, speak=1.0)
        report = await place_call(plan, connect=far_away)
    (stream,) = report.streams
    assert stream.handshake_seconds == pytest.approx(0.25, abs=0.01)
    sent = sum(sums.frames for sums in stream.sent.values())
    assert stream.lateness.count == stream.due == sent > 0
    assert stream.lateness.maximum < 0.001
    assert stream.refused_with is None


async def test_how_long_the_receiver_took_to_say_goodbye_is_in_the_report(
    autojump_clock: Clock,
) -> None:
    async def lag(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(1.25)
        await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = lag
        report = await lab.call(speak=0.5)
        assert report.passed
        assert report.streams[0].closing_seconds == pytest.approx(0.75, abs=0.05)
        lab.behave = close_after(20, 1000, "")
        report = await lab.call()
    assert report.streams[0].closing_seconds is None, "it was not asked for a goodbye"


async def test_frames_that_a_receiver_holds_up_are_late(autojump_clock: Clock) -> None:
    async def pause(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 2)
        await trio.sleep(4.0)
        await listen(socket, heard)

    async with open_lab() as lab:
        lab.behave = pause
        report = await lab.call(speak=8.0)
    (stream,) = report.streams
    assert stream.lateness.maximum > 1.0 and stream.lateness.over(0.02) > 10
    assert stream.due == stream.lateness.count == 800


async def test_a_refused_stream_has_the_status_and_no_handshake(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.problem(404, "no")
        report = await lab.call()
    assert report.streams[0].refused_with == 404
    assert report.streams[0].handshake_seconds is None


# --- frames are coded once ---


async def test_a_frame_is_coded_once_for_all_streams_and_calls(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "_prepared", {})
    coded: list[bytes] = []
    prepare = TwilioEncoder.prepare

    def count(self: TwilioEncoder, payload: bytes) -> str:
        coded.append(payload)
        return prepare(self, payload)

    monkeypatch.setattr(TwilioEncoder, "prepare", count)
    async with open_lab() as lab:
        lab.answer_with(start(), start(track="inbound"))
        await lab.call()
        await lab.call()
        assert len(lab.heard) == 4
    assert len(coded) == len(set(coded)) <= 100


async def test_the_store_of_coded_frames_is_bounded(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "_prepared", {})
    monkeypatch.setattr(coding, "_MOST_PREPARED", 10)
    async with open_lab() as lab:
        report = await lab.call(keep_audio=True)
    (store,) = coding._prepared.values()
    assert 0 < len(store) <= 10
    assert lab.heard[0].payload("inbound") == report.streams[0].audio["inbound"]
