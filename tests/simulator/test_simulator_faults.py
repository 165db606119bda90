"""Faults: read from text, listed, and each doing exactly what its name says, by its seed."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from fault_recorder import (
    SECRET,
    WALL,
    Recorder,
    faulty_call,
    without_chance,
)
from hypothesis import given
from hypothesis import strategies as st
from simulator_lab import HOST, STREAM_URL, Behaviour, Heard, Lab, failing, open_lab, take

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadSignature,
    check_webhook,
)
from minivoice_ref.simulator.call import CallPlan, RetrySchedule
from minivoice_ref.simulator.fault import Line
from minivoice_ref.simulator.fault_streams import MuteStream, fragments, frame, pings
from minivoice_ref.simulator.faults import (
    FAULTS,
    Fault,
    FaultError,
    Outlook,
    catalogue,
    parse_fault,
    worst_outlook,
)
from minivoice_ref.simulator.report import CallReport, Sums
from minivoice_ref.testing import memory_streams

Clock = trio.testing.MockClock

OF_THE_ISSUE = (
    *("cut", "vanish", "stall", "jitter", "lose", "repeat", "reorder", "media-before-start"),
    *("no-stop", "no-close", "unknown", "garbage", "oversized", "fragments", "binary"),
    *("ping-flood", "slow-handshake", "half-open-tls", "wrong-token", "wrong-signature"),
    *("stale-timestamp", "webhook-first", "webhook-at-cut"),
)


# --- names and values ---


def test_every_fault_that_was_asked_for_is_there_once() -> None:
    assert sorted(FAULTS) == sorted(OF_THE_ISSUE)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_a_line_in_the_list_and_says_what_is_expected(name: str) -> None:
    (line,) = [line for line in catalogue() if line.split("=")[0].split()[0] == name]
    fault = FAULTS[name]
    assert fault.summary in line and fault.expects
    if fault.unit:
        assert f"{name}={fault.unit.upper()} " in line
        assert fault.unit.upper() in fault.summary and "(default " in line
        assert fault.least <= fault.default <= fault.most
    assert (str(fault()) == name) is not bool(fault.unit)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_read_from_what_it_writes(name: str) -> None:
    fault = parse_fault(name)
    assert type(fault) is FAULTS[name] and fault.value == fault.default
    assert parse_fault(str(fault)) == fault
    assert hash(parse_fault(str(fault))) == hash(fault)
    assert repr(fault) == f"<Fault {fault}>"


def test_faults_with_other_names_or_values_are_not_equal() -> None:
    assert parse_fault("cut=1") != parse_fault("cut=2") != parse_fault("stall=2")
    assert parse_fault("cut=1") != "cut=1"


@pytest.mark.parametrize("text", ["", "helicopter", "xyz=3"])
def test_what_is_like_no_fault_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(FaultError, match="^'[a-z]*' is not a fault$"):
        parse_fault(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cutt", "'cutt' is not a fault; did you mean cut?"),
        ("looose=3", "'looose' is not a fault; did you mean lose?"),
        ("token", "'token' is not a fault; did you mean wrong-token?"),
        ("cut=soon", "cut=soon: 'soon' is not a number"),
        ("cut=", "cut=: '' is not a number"),
        ("cut=0", "cut=0: a number of seconds from 0.02 to 3600 is needed"),
        ("cut=nan", "a number of seconds"),
        ("jitter=inf", "a number of milliseconds"),
        ("lose=91", "lose=91: a number of percent from 0 to 90 is needed"),
        ("lose=-1", "from 0 to 90"),
        ("fragments=2.5", "fragments=2.5: a whole number of frames from 2 to 1000 is needed"),
        ("no-stop=1", "no-stop takes no value"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(FaultError) as refused:
        parse_fault(text)
    assert said in str(refused.value)


def test_of_several_faults_the_worst_outlook_counts() -> None:
    assert worst_outlook(()) is Outlook.GOOD
    assert worst_outlook([parse_fault("cut"), parse_fault("garbage")]) is Outlook.BREAKS
    assert parse_fault("slow-handshake=4").outlook is Outlook.GOOD
    assert parse_fault("slow-handshake=6").outlook is Outlook.MAY_FAIL


@pytest.mark.parametrize("name", ["wrong-signature", "stale-timestamp"])
def test_what_is_to_be_forged_must_be_signed(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}.*needs a webhook_secret"):
        CallPlan(answer_url=f"https://{HOST}/answer", faults=(parse_fault(name),))


@pytest.mark.parametrize("name", ["wrong-signature", "stale-timestamp"])
def test_what_is_to_be_forged_must_come_a_second_time(name: str) -> None:
    once = RetrySchedule(attempts=1)
    with pytest.raises(ConfigError, match=f"{name}.*needs a second attempt"):
        CallPlan(
            answer_url=f"https://{HOST}/answer",
            webhook_secret=SECRET,
            retries=once,
            faults=(parse_fault(name),),
        )


class Nothing(Fault):
    """A fault that overrides nothing, and is not in the list."""

    name = "nothing"


async def test_a_fault_that_overrides_nothing_does_nothing(autojump_clock: Clock) -> None:
    assert "nothing" not in FAULTS
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, Nothing())
    assert report.passed and recorder.stream()[-1][1] == b"(closed)"
    fault, stream = Nothing(), memory_streams()[0]
    line = Line(MediaSocket(None, Timeouts()), trio.Event(), trio.Event())  # type: ignore[arg-type]
    assert (fault.delay(1), fault.loses("inbound", 1)) == (0.0, False)
    assert fault.alter_messages("stop", None, ["x"]) == ["x"]
    assert fault.wrap(stream) is stream
    await fault.before_stream(trio.lowlevel.checkpoint)
    await fault.beside(STREAM_URL, lab.network.connect)
    for act in (fault.before_stop, fault.after_stop):
        await act(line)
    await fault.at_tick(0, line)
    await fault.after()
    fault.found(True, "nothing")
    assert not line.finished.is_set()


@pytest.mark.parametrize("name", ["slow-handshake", "vanish", "fragments", "ping-flood"])
async def test_a_stream_in_between_passes_on_what_is_not_its_business(name: str) -> None:
    ours, theirs = memory_streams()
    wrapped = parse_fault(name).arm("", lambda _: None).wrap(ours)
    await wrapped.wait_send_all_might_not_block()
    await theirs.send_all(b"hello")
    assert await wrapped.receive_some(3) == b"hel"
    await wrapped.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await wrapped.send_all(b"too late")
    with pytest.raises(trio.ClosedResourceError):
        await ours.send_all(b"too late")


async def test_a_mute_stream_swallows_what_is_sent_and_outlives_its_closing() -> None:
    ours, theirs = memory_streams()
    mute = MuteStream(ours)
    mute.mute()
    await mute.send_all(b"unheard")
    await mute.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await mute.send_all(b"unheard")
    await ours.send_all(b"it is still open")
    assert await theirs.receive_some() == b"it is still open"
    await theirs.send_all(b"is anybody there?")
    await theirs.aclose()
    assert await mute.outlast(1.0)


# --- chance ---


async def recorded(clock: Clock, *faults: Fault, seed: int = 7) -> Recorder:
    async with open_lab() as lab:
        _, recorder = await faulty_call(lab, *faults, seed=seed)
    return recorder


@pytest.mark.parametrize("name", FAULTS)
async def test_the_same_seed_and_the_same_fault_send_the_same_bytes(
    name: str, autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for _ in range(2):
        with monkeypatch.context() as patch:
            without_chance(patch)
            # One zero for both: times that are written into signatures must be the same, too.
            autojump_clock.jump(-trio.current_time() % 1000)
            patch.setattr("fault_recorder.WALL", WALL - trio.current_time())
            runs.append((await recorded(autojump_clock, parse_fault(name))).sent())
    assert runs[0] == runs[1]
    assert sum(len(data) for sent in runs[0] for _, data in sent) > 500


async def test_all_that_can_be_had_at_once_send_the_same_bytes_too(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = ("jitter", "lose=20", "repeat=20", "reorder=20", "unknown=20", "garbage=20")
    faults = [parse_fault(text) for text in (*chance, "lose=5", "binary=20", "fragments", "cut")]
    runs = []
    for seed in (7, 7, 8):
        with monkeypatch.context() as patch:
            without_chance(patch)
            runs.append((await recorded(autojump_clock, *faults, seed=seed)).stream())
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# --- what is said ---


def timestamps(heard: Heard, track: str = "inbound") -> list[int]:
    return [int(frame["timestamp"]) for _, frame in heard.media(track)]


async def test_lost_frames_show_as_jumps_of_the_timestamp_alone(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("lose=30"))
    heard = lab.heard[0]
    for track in ("inbound", "outbound"):
        times = timestamps(heard, track)
        assert 50 < len(times) < 90
        assert times == sorted(set(times)) and set(times) < {20 * n for n in range(100)}
        assert report.streams[0].sent[track] == Sums(len(times), len(times) * 160)
    assert timestamps(heard, "inbound") != timestamps(heard, "outbound")
    numbers = [int(m["sequenceNumber"]) for _, m in heard.messages if "sequenceNumber" in m]
    assert numbers == list(range(1, len(numbers) + 1))
    assert report.passed, str(report)
    assert report.streams[0].due == sum(sums.frames for sums in report.streams[0].sent.values())


async def test_repeated_frames_come_twice_word_for_word(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("repeat=30"))
    media = lab.heard[0].of("media")
    again = [one for one, next in zip(media, media[1:], strict=False) if one == next]
    assert 40 < len(again) < 80
    assert len(media) == 200 + len(again)
    assert report.streams[0].sent["inbound"] == Sums(100, 16000)
    assert report.passed, str(report)


@pytest.mark.parametrize("percent", [30, 100])
async def test_reordered_frames_all_come_one_place_off_at_most(
    percent: int, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault(f"reorder={percent}"))
    for track in ("inbound", "outbound"):
        times = timestamps(lab.heard[0], track)
        assert times != sorted(times)
        assert sorted(times) == [20 * n for n in range(100)]
        assert all(abs(time - 20 * n) <= 20 for n, time in enumerate(times))
    assert lab.heard[0].events()[-1] == "stop"
    assert report.passed, str(report)


async def test_a_frame_held_back_for_the_next_is_not_lost_at_the_stop(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        await faulty_call(lab, parse_fault("reorder=100"), speak=0.1)
    assert timestamps(lab.heard[0]) == [20, 0, 60, 40, 80]


async def test_the_start_comes_behind_the_audio(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("media-before-start=3"))
    assert lab.heard[0].events()[:6] == ["connected", *["media"] * 3, "start", "media"]
    assert lab.heard[0].events().count("start") == 1
    assert report.passed, str(report)


async def test_the_start_comes_before_the_stop_at_the_latest(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        await faulty_call(lab, parse_fault("media-before-start=40"), speak=0.1)
    assert lab.heard[0].events() == ["connected", *["media"] * 10, "start", "stop"]


async def test_there_is_no_stop(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("no-stop"))
    assert lab.heard[0].events()[-1] == "media"
    assert lab.heard[0].code == 1000
    assert report.passed, str(report)


async def test_unknown_messages_come_between_the_frames(autojump_clock: Clock) -> None:
    async def listen_all(socket: MediaSocket, heard: Heard) -> None:
        while True:
            for message in await socket.receive():
                heard.messages.append((trio.current_time(), {"event": "?"} | json.loads(message)))

    async with open_lab() as lab:
        lab.behave = listen_all
        report, _ = await faulty_call(lab, parse_fault("unknown=20"))
    known = {"connected", "start", "media", "stop"}
    strange = [event for event in lab.heard[0].events() if event not in known]
    assert 20 < len(strange) < 60
    assert len(lab.heard[0].of("media")) == 200
    assert report.passed, str(report)


def keep_in(came: list[str | bytes]) -> Behaviour:
    """Take every message as it comes, whatever it is."""

    async def keep(socket: MediaSocket, heard: Heard) -> None:
        while True:
            came.extend(await socket.receive())

    return keep


async def texts(lab: Lab, *faults: Fault) -> tuple[CallReport, list[str | bytes]]:
    """A call, and all messages as they came."""
    came: list[str | bytes] = []
    lab.behave = keep_in(came)
    return (await faulty_call(lab, *faults))[0], came


async def test_garbage_comes_between_the_frames(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, came = await texts(lab, parse_fault("garbage=40"))
    kinds = FAULTS["garbage"].messages  # type: ignore[attr-defined]
    assert set(kinds) < set(came)
    assert len([text for text in came if '"chunk"' in str(text)]) == 200
    assert report.passed, str(report)
    assert [(finding.ok, finding.seen) for finding in report.findings] == [
        (True, "the receiver put up with it")
    ]


async def test_a_share_of_the_text_comes_as_binary(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, came = await texts(lab, parse_fault("binary=40"))
    binary = [message for message in came if isinstance(message, bytes)]
    assert 50 < len(binary) < 110
    assert all(json.loads(message)["event"] == "media" for message in binary)
    assert len(came) == 203
    assert report.passed, str(report)


async def test_a_binary_dialect_stays_as_it_is(autojump_clock: Clock) -> None:
    (fault,) = [parse_fault("binary=100").arm("", lambda _: None)]
    assert fault.alter_messages("media", "inbound", [b"\x01", "text"]) == [b"\x01", b"text"]
    assert fault.alter_messages("stop", None, ["stop"]) == ["stop"]
    await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(("code", "ok"), [(1003, True), (1008, True), (1011, False), (1000, False)])
async def test_a_receiver_may_close_over_garbage_but_must_not_fall_over(
    code: int, ok: bool, autojump_clock: Clock
) -> None:
    async def refuse_garbage(socket: MediaSocket, heard: Heard) -> None:
        try:
            await take(socket, heard, 10**6)
        except ValueError:
            raise RemoteProtocolError("garbage", close_code=code) from None

    async with open_lab() as lab:
        lab.behave = refuse_garbage
        report, _ = await faulty_call(lab, parse_fault("garbage=40"))
    assert failing(report) == ([] if ok else ["stream_closed"]), str(report)
    assert [finding.ok for finding in report.findings] == [ok]
    assert report.to_json()["findings"] == [finding.to_json() for finding in report.findings]


async def test_one_message_is_too_big_and_the_receiver_says_so(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("oversized"))
    (stream,) = report.streams
    assert (stream.close_code, stream.sent["inbound"].frames) == (1009, 50)
    assert [finding.seen for finding in report.findings] == ["the stream ended with 1009"]
    assert report.passed, str(report)


async def test_a_big_message_has_the_size_that_was_asked_for(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, came = await texts(lab, parse_fault("oversized=20000"))
    assert [len(message) for message in came if "oversized" in str(message)] == [20000]
    assert report.passed and [finding.ok for finding in report.findings] == [True]


async def test_what_never_struck_is_not_judged(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("oversized"), speak=0.5)
    assert report.passed and report.findings == []


# --- when it is said ---


async def test_a_stall_is_silence_and_then_a_burst(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("stall=0.5"))
    heard = lab.heard[0]
    for at, media in heard.media("inbound"):
        due = int(media["timestamp"]) / 1000
        expected = 1.5 if 1.0 <= due < 1.5 else due
        assert at - heard.began == pytest.approx(expected, abs=1e-6)
    assert timestamps(heard) == [20 * n for n in range(100)]
    assert report.passed, str(report)
    assert report.streams[0].lateness.maximum < 0.001  # it was asked for


async def test_what_was_due_before_the_stop_leaves_before_it_in_a_stall_as_well(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("stall=3600"))
    heard = lab.heard[0]
    assert timestamps(heard) == [20 * n for n in range(100)]
    assert heard.messages[-1][0] - heard.began == pytest.approx(2.0, abs=0.02)
    assert report.passed, str(report)


async def test_jitter_lets_frames_be_late_by_chance_and_in_order(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("jitter=100"))
    heard = lab.heard[0]
    late = [at - heard.began - int(m["timestamp"]) / 1000 for at, m in heard.media("inbound")]
    assert timestamps(heard) == [20 * n for n in range(100)]
    assert all(-1e-6 <= seconds < 0.1 for seconds in late)
    assert len({round(seconds, 4) for seconds in late}) > 30
    assert report.passed, str(report)


# --- the end ---


async def test_a_cut_ends_the_bytes_without_a_goodbye(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("cut=0.5"))
    (stream,) = report.streams
    assert stream.close_code == 1006 and stream.sent["inbound"].frames == 25
    assert "cut by the fault cut=0.5" in str(stream.fault)
    assert lab.heard[0].code == 1006 and lab.heard[0].events()[-1] == "media"
    at, last = recorder.stream()[-1]
    assert last == b"(closed)" and at == pytest.approx(0.5, abs=0.01)
    assert report.passed, str(report)
    assert "as asked" in report.steps[4].detail


async def test_a_stream_that_was_to_be_cut_and_was_not_is_a_failure(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("cut=60"))
    assert failing(report) == ["stream_closed"]


async def test_a_receiver_that_ends_the_stream_before_it_is_cut_is_a_failure(
    autojump_clock: Clock,
) -> None:
    async def fall_over(socket: MediaSocket, heard: Heard) -> None:
        await take(socket, heard, 10)
        await socket.close(1011, "oops")

    async with open_lab() as lab:
        lab.behave = fall_over
        report, _ = await faulty_call(lab, parse_fault("cut=0.5"))
        assert failing(report) == ["stream_closed"]
        assert "the receiver closed it with 1011 (oops)" in report.steps[4].detail
        # Where somebody else was to break it, any end will do.
        report, _ = await faulty_call(lab, expect_break=True)
    assert report.passed, str(report)


async def test_a_receiver_that_closes_over_garbage_has_not_to_wait_for_the_cut(
    autojump_clock: Clock,
) -> None:
    async def refuse_garbage(socket: MediaSocket, heard: Heard) -> None:
        for _ in range(10):
            await socket.receive()
        await socket.close(1007)

    async with open_lab() as lab:
        lab.behave = refuse_garbage
        faults = (parse_fault("garbage=40"), parse_fault("cut=1"))
        report, _ = await faulty_call(lab, *faults)
        assert report.passed and [finding.ok for finding in report.findings] == [True]
        lab.behave = keep_in([])
        report, _ = await faulty_call(lab, *faults)
    # That a fault of ours cut it says nothing of what the receiver does about garbage.
    assert report.passed and report.findings == [], str(report)


@pytest.mark.parametrize("name", ["garbage", "binary", "oversized"])
async def test_what_goes_wrong_after_the_upgrade_is_no_reason_to_refuse_it(
    name: str, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.problem(403, "no")
        report, _ = await faulty_call(lab, parse_fault(name))
    assert failing(report) == ["receiver_accepted"]


async def test_one_that_vanished_says_nothing_and_waits_for_the_receiver_to_notice(
    autojump_clock: Clock,
) -> None:
    async def wait_and_ping(socket: MediaSocket, heard: Heard) -> None:
        with trio.move_on_after(5.0):
            await take(socket, heard, 10**6)
        await socket.close(1008)

    async with open_lab() as lab:
        lab.behave = wait_and_ping
        report, recorder = await faulty_call(lab, parse_fault("vanish"))
    at, last = recorder.stream()[-2]
    assert at == pytest.approx(0.98, abs=0.01) and b"(closed)" not in last
    assert len(lab.heard[0].of("media")) == 100
    assert report.passed, str(report)
    (finding,) = report.findings
    assert finding.ok and finding.seen == "the receiver gave the connection up after 6.0 s"
    # The call did not wait for it.
    (completed,) = [at for at, request in lab.hooks if b"call.completed" in request.body]
    assert completed - lab.hooks[0][0] == pytest.approx(2.0, abs=0.1)


async def test_a_receiver_that_never_notices_is_found_out(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("vanish"))
    assert failing(report) == ["stream_closed"]
    assert "still held the connection after 45.0 s" in report.steps[4].detail


async def test_a_peer_that_resets_has_noticed(autojump_clock: Clock) -> None:
    async def reset(socket: MediaSocket, heard: Heard) -> None:
        with trio.move_on_after(3.0):
            await take(socket, heard, 10**6)
        await socket.abort()

    async with open_lab() as lab:
        lab.behave = reset
        report, _ = await faulty_call(lab, parse_fault("vanish"))
    assert report.passed and [finding.ok for finding in report.findings] == [True]


async def test_one_that_ends_before_it_could_vanish_has_nothing_to_tell(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("vanish=60"))
    assert failing(report) == ["stream_closed"] and report.findings == []


async def test_a_connection_left_open_is_the_receivers_to_close(autojump_clock: Clock) -> None:
    async def close_after_the_stop(socket: MediaSocket, heard: Heard) -> None:
        while "stop" not in heard.events():
            await take(socket, heard, len(heard.messages) + 1)
        await trio.sleep(1.0)

    async with open_lab() as lab:
        lab.behave = close_after_the_stop
        report, _ = await faulty_call(lab, parse_fault("no-close"))
        assert report.passed, str(report)
        assert report.findings[0].seen == "the receiver closed the connection after 1.0 s"
        assert report.streams[0].close_code == 1000


async def test_a_connection_that_nobody_closes_is_found_out(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("no-close=3"))
    assert failing(report) == ["stream_closed"]
    assert "left the connection open for 3.0 s" in report.steps[4].detail
    assert lab.heard[0].events()[-1] == "stop" and lab.heard[0].code == 1006
    at, last = recorder.stream()[-1]
    assert last == b"(closed)" and at == pytest.approx(5.0, abs=0.05)


# --- the connection ---


async def test_a_slow_handshake_takes_its_time(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("slow-handshake=1"))
    pieces = [(at, data) for at, data in recorder.stream() if at <= 1.0][:20]
    assert b"".join(data for _, data in pieces).endswith(b"\r\n\r\n")
    assert [at for at, _ in pieces] == pytest.approx([n * 0.05 for n in range(20)], abs=0.001)
    assert report.streams[0].handshake_seconds == pytest.approx(1.0, abs=0.01)
    assert report.passed, str(report)


async def test_a_handshake_beyond_the_receivers_patience_may_be_refused(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("slow-handshake=8"), speak=20.0)
    assert report.streams[0].refused_with == 408
    assert report.passed, str(report)
    assert "which the faults of the plan may cause" in report.steps[2].detail


async def test_a_half_open_connection_hangs_beside_the_good_one(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("half-open-tls"))
    (hello,) = [sent for sent in recorder.sent() if sent[0][1].startswith(b"\x16\x03\x01")]
    assert hello[1][1] == b"(closed)"
    assert report.streams[0].sent["inbound"].frames == 100
    assert report.passed and [finding.ok for finding in report.findings] == [True]


async def test_a_receiver_that_holds_it_for_ever_is_found_out(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        silent = lab.network.listener(HOST, 444)
        lab.answer_with({"type": "start_stream", "stream_url": f"wss://{HOST}:444/stream/x"})
        report, _ = await faulty_call(lab, parse_fault("half-open-tls=3"))
        await silent.aclose()
    (finding,) = report.findings
    assert not finding.ok and finding.seen == "the receiver still held it half open after 3.0 s"


async def test_nothing_can_be_left_half_open_where_nobody_listens(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with({"type": "start_stream", "stream_url": f"wss://{HOST}:445/x"})
        report, _ = await faulty_call(lab, parse_fault("half-open-tls"))
    (finding,) = report.findings
    assert not finding.ok and finding.seen.startswith("there was no connection to leave half open")


async def test_a_receiver_that_resets_the_half_open_one_has_ended_it(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        await lab.network.listener(HOST, 444).aclose()
        listener = lab.network.listener(HOST, 444)
        lab.answer_with({"type": "start_stream", "stream_url": f"wss://{HOST}:444/stream/x"})
        async with trio.open_nursery() as nursery:

            async def reset_all() -> None:
                while True:
                    stream = await listener.accept()
                    await trio.sleep(1.0)
                    stream.reset()  # type: ignore[attr-defined]

            nursery.start_soon(reset_all)
            report, _ = await faulty_call(lab, parse_fault("half-open-tls=3"))
            nursery.cancel_scope.cancel()
    assert [finding.ok for finding in report.findings] == [True]


@pytest.mark.parametrize("seed", range(5))
async def test_a_wrong_token_is_one_character_off(seed: int, autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.problem(403, "no")
        report, recorder = await faulty_call(lab, parse_fault("wrong-token"), seed=seed)
    line = recorder.stream()[0][1].split(b"\r\n")[0].decode()
    token, right = line.split()[1].rpartition("/")[2], STREAM_URL.rpartition("/")[2]
    assert len(token) == len(right)
    assert sum(one != other for one, other in zip(token, right, strict=True)) == 1
    assert report.streams[0].refused_with == 403
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("url", "wrong"), [("wss://h", "wss://h/wrong-token"), ("wss://h/a/", "wss://h/a/wrong-token")]
)
def test_where_there_is_no_token_one_is_added(url: str, wrong: str) -> None:
    assert parse_fault("wrong-token").alter_url(url) == wrong


async def test_a_receiver_that_takes_a_wrong_token_is_found_out(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("wrong-token"))
        assert failing(report) == ["receiver_accepted"]
        lab.refuse = Response.problem(500, "sorry")
        report, _ = await faulty_call(lab, parse_fault("wrong-token"))
        assert "receiver_accepted" in failing(report)
        assert "not refused with a status of the 400s" in report.steps[2].detail


async def test_fragments_are_put_together_to_the_same_messages(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("fragments=3"))
        await faulty_call(lab)
    cut, whole = lab.heard
    assert [text for _, text in cut.messages] == [text for _, text in whole.messages]
    assert [data[0] for _, data in recorder.stream()[1:7]] == [0x01, 0x00, 0x80] * 2
    assert report.passed, str(report)


async def test_pings_come_before_each_message(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("ping-flood=3"))
    flood = [data for _, data in recorder.stream() if data[0] == 0x89]
    assert len(flood) == 203
    assert all(len(data) == 3 * len(frame(0x89, b"flood 0")) for data in flood)
    assert len(lab.heard[0].of("media")) == 200
    assert report.passed, str(report)


def unmasked(data: bytes) -> tuple[int, bytes, bytes]:
    """The first byte and payload of the first frame in *data*, and the rest."""
    size, place = data[1] & 0x7F, 2
    assert data[1] & 0x80
    if size == 126:
        size, place = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, place = int.from_bytes(data[2:10], "big"), 10
    mask, end = data[place : place + 4], place + 4 + size
    payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data[place + 4 : end]))
    return data[0], payload, data[end:]


@given(st.binary(max_size=400), st.integers(2, 20), st.sampled_from([0x81, 0x82, 0x01, 0x80]))
def test_fragments_hold_the_message_and_are_never_empty(
    payload: bytes, number: int, first: int
) -> None:
    sent = [unmasked(data) for data in fragments(number)(first, payload)]
    assert b"".join(part for _, part, _ in sent) == payload
    assert 1 <= len(sent) <= number and all(rest == b"" for _, _, rest in sent)
    assert [head & 0x0F for head, _, _ in sent] == [first & 0x0F, *[0] * (len(sent) - 1)]
    assert [head & 0x80 for head, _, _ in sent] == [*[0] * (len(sent) - 1), first & 0x80]
    assert len(payload) < 2 or all(part for _, part, _ in sent)


def test_control_frames_are_neither_fragmented_nor_flooded() -> None:
    close = b"\x03\xe8 goodbye"
    for rewrite in (fragments(3), pings(3)):
        (sent,) = rewrite(0x88, close)
        assert unmasked(sent) == (0x88, close, b"")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_frame_says_its_length(size: int) -> None:
    assert unmasked(frame(0x82, bytes(size)) + b"rest") == (0x82, bytes(size), b"rest")


async def test_frames_of_every_length_pass_through_fragmented(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        _, came = await texts(lab, parse_fault("fragments=7"), parse_fault("oversized=65000"))
    assert [len(message) for message in came if "oversized" in str(message)] == [65000]


async def test_what_is_too_long_for_two_bytes_is_taken_apart_as_well(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report, _ = await faulty_call(lab, parse_fault("fragments=2"), parse_fault("oversized"))
    assert report.streams[0].close_code == 1009


# --- webhooks ---


def refused(lab: Lab, request: Request, now: float) -> str | None:
    """Why a receiver refuses the webhook; None where it is good."""
    stamp, signature = request.header(TIMESTAMP_HEADER), request.header(SIGNATURE_HEADER)
    try:
        check_webhook([SECRET], stamp, signature, request.body, now=now, tolerance=300.0)
    except BadSignature as exc:
        return str(exc)
    return None


async def strictly(lab: Lab, fault: Fault) -> tuple[CallReport, list[str | None]]:
    """A call at an application that checks signatures; why each delivery was refused."""
    why: list[str | None] = []
    handle = lab.handle_request

    async def check(request: Request) -> Response:
        response = await handle(request)
        if request.path == "/answer":
            return response
        why.append(refused(lab, request, WALL + trio.current_time()))
        return Response(204) if why[-1] is None else Response.problem(401, "no")

    lab.handle_request = check  # type: ignore[method-assign]
    report, _ = await faulty_call(lab, fault)
    return report, why


@pytest.mark.parametrize(("name", "said"), [("wrong-signature", "wrong"), ("stale-timestamp", "3")])
async def test_a_forged_webhook_comes_first_and_the_right_one_after_its_refusal(
    name: str, said: str, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        report, why = await strictly(lab, parse_fault(name))
    assert len(why) == 6 and why.count(None) == 3
    assert all(said in reason for reason in why if reason is not None)
    assert report.passed, str(report)
    assert [hook.attempts for hook in report.webhooks] == [2, 2, 2]
    assert [(finding.who, finding.ok) for finding in report.findings] == [("webhook", True)] * 3
    assert report.findings[0].seen == "call.created was refused with 401"


@pytest.mark.parametrize("status", [204, 500])
async def test_an_application_that_does_not_refuse_the_forged_one_is_found_out(
    status: int, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response(status)]
        for event in ("call.answered", "call.completed"):
            lab.hook_replies[event] = [Response(401)]
        report, _ = await faulty_call(lab, parse_fault("wrong-signature"))
    assert failing(report) == ["call_completed"]
    assert f"call.created was answered with {status}" in report.steps[5].detail


async def test_the_webhooks_come_first_and_the_stream_after_them(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_delay = 0.3
        report, _ = await faulty_call(lab, parse_fault("webhook-first=0.1"))
    first, second = [at for at, _ in lab.hooks][:2]
    assert lab.heard[0].began == pytest.approx(second + 0.3 + 0.1, abs=0.02) and second > first
    assert report.passed, str(report)


async def test_call_completed_comes_while_the_stream_is_still_open_and_then_cut(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report, recorder = await faulty_call(lab, parse_fault("webhook-at-cut=0.5"))
    (completed,) = [at for at, request in lab.hooks if b"call.completed" in request.body]
    assert recorder.stream()[-1][1] == b"(closed)"
    closed = lab.heard[0].began + recorder.stream()[-1][0]
    assert closed - completed == pytest.approx(0.5, abs=0.01)
    assert lab.heard[0].events()[-1] == "media" and lab.heard[0].code == 1006
    assert report.passed, str(report)
