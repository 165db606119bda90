"""Many calls at once, in virtual time: arrivals, ends, figures, and whose fault lateness is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from simulator_lab import ANSWER_URL, WEBHOOK_URL, Heard, Lab, open_lab

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.simulator.call import CallPlan, RetrySchedule
from minivoice_ref.simulator.faults import parse_fault
from minivoice_ref.simulator.load import Load, LoadPlan
from minivoice_ref.simulator.load_report import LoadReport

Clock = trio.testing.MockClock

CALL = CallPlan(answer_url=ANSWER_URL, webhook_url=WEBHOOK_URL, speak=2.0, speech_programs=())


def planned(**changes: Any) -> LoadPlan:
    settings: dict[str, Any] = {"call": CALL, "calls": 10, "rate": 5.0, "seed": 1}
    return LoadPlan(**(settings | changes))


async def run(lab: Lab, **changes: Any) -> LoadReport:
    return await Load(planned(**changes), lab.network.connect).run()


def began(lab: Lab) -> list[float]:
    """When the calls began, as their first webhooks say."""
    return [at for at, hook in lab.hooks if json.loads(hook.body)["event"] == "call.created"]


# --- arrivals ---


async def test_steady_calls_begin_evenly(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        zero = trio.current_time()
        await run(lab, steady=True, rate=5.0)
    assert began(lab) == pytest.approx([zero + n / 5 for n in range(10)])


async def test_calls_begin_by_chance_at_the_rate_asked_for_and_the_seed_repeats_it(
    autojump_clock: Clock,
) -> None:
    times = []
    for _ in range(2):
        async with open_lab() as lab:
            zero = trio.current_time()
            await run(lab, calls=100, rate=20.0, call=replace(CALL, speak=0.1))
        times.append([at - zero for at in began(lab)])
    first = sorted(times[0])
    assert first == pytest.approx(sorted(times[1]))
    gaps = [after - before for before, after in zip(first, first[1:], strict=False)]
    assert sum(gaps) / len(gaps) == pytest.approx(1 / 20, rel=0.25)
    assert min(gaps) < 0.01 and max(gaps) > 0.1  # not evenly


async def test_calls_do_not_wait_for_a_slow_application(autojump_clock: Clock) -> None:
    """An application in trouble gets no less to do."""
    async with open_lab() as lab:
        lab.hook_delay = 9.0
        zero = trio.current_time()
        report = await run(lab, steady=True, rate=5.0)
    assert began(lab)[-1] == pytest.approx(zero + 1.8)
    assert report.arrivals.maximum == 0 and report.held_up == 0


async def test_no_more_calls_go_on_at_once_than_allowed_and_it_is_told(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        load = Load(planned(steady=True, rate=10.0, at_once=3), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            for _ in range(20):
                await trio.sleep(0.1)
                now = load.progress()
                assert now.ringing + now.streaming <= 3
    assert load.report.passed == 10 and load.report.held_up > 0
    assert load.report.arrivals.maximum > 1.0
    assert "began late: too many others went on" in str(load.report)


# --- figures ---


async def test_a_load_that_passes_counts_everything(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_delay = 0.25
        report = await run(lab)
    assert report.good and report.kept_time
    document: dict[str, Any] = report.to_json()
    assert document["verdict"] == "pass" and document["failures"] == []
    assert document["calls"] == {
        "planned": 10,
        "asked": 10,
        "answered": 10,
        "completed": 10,
        "passed": 10,
        "failed": 0,
        "interrupted": 0,
        "with_faults": 0,
        "failed_with_faults": 0,
    }
    assert document["frames"]["due"] == document["frames"]["sent"] == 10 * 2 * 100
    assert document["frames"]["lateness"]["max_ms"] == 0
    latency = document["latency"]
    assert latency["answer"]["count"] == latency["stream_handshake"]["count"] == 10
    assert latency["webhook_acknowledgement"] == {
        "count": 30,
        "p50_ms": 250.0,
        "p90_ms": 250.0,
        "p99_ms": 250.0,
        "max_ms": 250.0,
    }
    printed = str(report)
    assert "PASS" in printed and "The simulator kept time" in printed and "failures" not in printed


async def test_failures_are_grouped_by_their_first_cause(autojump_clock: Clock) -> None:
    """Paths (with their tokens) and times differ from call to call: the cause does not."""
    async with open_lab() as lab:
        lab.refuse = Response.problem(503, "full")
        answers = iter(range(100))
        bad = Response.problem(500, "trouble")

        async def answer(request: Request) -> Response:
            await trio.lowlevel.checkpoint()
            if request.path != "/answer":
                return Response(204)
            number = next(answers)
            url = f"wss://app.example.com/stream/token{number}{number}abcdefgh"
            good = Response.json({"actions": [{"type": "start_stream", "stream_url": url}]})
            await trio.sleep(0.01 * number)
            return bad if number < 3 else good

        lab.handle_request = answer  # type: ignore[method-assign]
        report = await run(lab)
    assert not report.good and (report.failed, report.passed) == (10, 0)
    assert (report.answered, report.completed) == (7, 7)
    causes: Any = report.to_json()["failures"]
    assert [(cause["step"], cause["calls"]) for cause in causes] == [
        ("receiver_accepted", 7),
        ("answer_valid", 3),
    ]
    assert "503" in causes[0]["cause"] and "500" in causes[1]["cause"]
    assert all(cause["example_call_id"].startswith("call_") for cause in causes)
    printed = str(report)
    assert "FAIL" in printed and "     7  receiver_accepted:" in printed


async def test_an_event_that_is_given_up_fails_its_call_and_is_told(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        refuse = lab.handle_request

        async def handle(request: Request) -> Response:
            if b"call.answered" in request.body:
                await trio.lowlevel.checkpoint()
                return Response.problem(503, "busy")
            return await refuse(request)

        lab.handle_request = handle  # type: ignore[method-assign]
        report = await run(lab, calls=2, call=replace(CALL, retries=RetrySchedule(attempts=3)))
    assert (report.failed, report.completed) == (2, 2)
    assert (report.webhooks, report.retried, report.given_up) == (6, 2, 2)
    (cause,) = report.causes.ranked()
    assert cause.what == "call_completed" and "call.answered (503)" in cause.text
    (lost,) = report.lost.ranked()
    assert (lost.what, lost.text, lost.count) == ("call.answered", "answered 503", 2)


@pytest.mark.parametrize("expected", [False, True])
async def test_calls_without_a_stream_are_as_good_as_was_expected(
    expected: bool, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        lab.answer_with({"type": "say", "text": "Hello."})
        report = await run(lab, calls=2, call=replace(CALL, expect_stream=expected))
    assert (report.passed, report.failed) == ((0, 2) if expected else (2, 0))
    assert report.good is not expected and report.completed == 2


async def test_faults_are_spread_evenly_over_the_calls_and_told_apart(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        faulty = replace(CALL, faults=(parse_fault("wrong-token"),))
        report = await run(lab, calls=20, faults_on=10.0, call=faulty)
    assert (report.with_faults, report.passed) == (2, 18)
    assert (report.failed, report.failed_with_faults) == (2, 2)  # it accepts any token
    (cause,) = report.causes.ranked()
    assert cause.with_fault and cause.count == 2
    printed = str(report)
    assert "2 with a fault injected, of which 2 failed" in printed
    assert "(fault injected)" in printed


# --- whose fault it is that something is late ---


async def test_a_receiver_that_does_not_take_frames_is_not_blamed_on_the_simulator(
    autojump_clock: Clock,
) -> None:
    async def stall(socket: MediaSocket, heard: Heard) -> None:
        await socket.receive()
        await trio.sleep(4.0)
        while True:
            await socket.receive()

    async with open_lab() as lab:
        lab.behave = stall
        report = await run(lab, calls=3, call=replace(CALL, speak=6.0))
    assert report.frames.over(0.02) > 0
    assert report.kept_time and report.clock.maximum == 0
    assert "the receiver, or the way to it, did not take them in time" in report.statement


async def test_a_simulator_that_does_not_keep_time_says_so(
    mock_clock: Clock,
) -> None:
    """The clock jumps while nothing of the simulator ran: as on a machine with too much to do."""
    async with open_lab() as lab:
        load = Load(planned(calls=2, steady=True), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            for _ in range(40):
                await trio.testing.wait_all_tasks_blocked()
                mock_clock.jump(0.1)
            mock_clock.autojump_threshold = 0
    assert load.report.good and not load.report.kept_time
    assert "The simulator did NOT keep time" in load.report.statement
    assert "not the receiver" in load.report.statement


async def test_a_simulator_whose_every_turn_takes_long_is_late_by_no_more_than_that(
    mock_clock: Clock,
) -> None:
    """One wake-up stands for all beats that went by, so they add up to no debt."""
    async with open_lab() as lab:
        load = Load(planned(calls=1), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(50):  # turns of the loop, each twice as long as a beat
                mock_clock.jump(0.022)
                await trio.lowlevel.checkpoint()
            clock = load.report.clock
            assert clock.count == pytest.approx(100, abs=5)
            assert 0.01 < clock.maximum < 0.07 and not load.report.kept_time
            mock_clock.autojump_threshold = 0


# --- its end ---


async def test_a_load_that_is_hung_up_ends_its_calls_properly(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        load = Load(planned(steady=True, call=replace(CALL, speak=60.0)), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(1.1)
            assert load.progress().streaming == 6
            load.hang_up()
            ended = trio.current_time()
        assert trio.current_time() - ended < 1.0
    report = load.report
    assert report.ended_early and report.good
    assert (report.asked, report.passed, report.interrupted) == (6, 6, 0)
    assert [event for event, _ in lab.events()].count("call.completed") == 6
    assert all(heard.events()[-1] == "stop" and heard.code == 1000 for heard in lab.heard)
    assert "ended early (10 were planned)" in str(report)


@pytest.mark.parametrize("turns", range(12))
async def test_no_call_begins_in_the_instant_in_which_the_load_is_hung_up(
    turns: int, autojump_clock: Clock
) -> None:
    """Whatever the arrival of the first call is waiting for by then: it would not be hung up."""
    async with open_lab() as lab:
        load = Load(planned(call=replace(CALL, speak=60.0)), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            load.hang_up()
            ended = trio.current_time()
        assert trio.current_time() - ended < 5.0
    assert load.report.failed == 0 and load.report.asked <= 1


async def test_a_place_that_becomes_free_as_the_load_is_hung_up_stays_free(
    autojump_clock: Clock,
) -> None:
    """The call that waited for it was woken already, and cannot be cancelled any more."""
    async with open_lab() as lab:
        call = replace(CALL, speak=60.0)
        load = Load(planned(call=call, steady=True, at_once=1), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(1.0)
            load._places.release()
            load.hang_up()
    assert (load.report.asked, load.report.passed) == (1, 1)


async def test_calls_that_still_rang_count_as_interrupted(autojump_clock: Clock) -> None:
    async with open_lab() as lab:

        async def never(request: Request) -> Response:
            await trio.lowlevel.checkpoint()
            if request.path == "/answer":
                await trio.sleep_forever()
            return Response(204)

        lab.handle_request = never  # type: ignore[method-assign]
        load = Load(planned(), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(1.0)
            asked = load.progress().ringing
            load.hang_up()
    report = load.report
    assert (report.asked, report.interrupted, report.failed) == (asked, asked, 0)
    assert asked > 0 and f"{asked} ended before their streams had any audio" in str(report)
    assert not report.good  # nothing was measured


@pytest.mark.parametrize("turns", range(0, 120, 3))
async def test_a_call_that_is_hung_up_before_its_stream_has_carried_audio_has_not_failed(
    turns: int, autojump_clock: Clock
) -> None:
    """In whatever instant it is: while it is being asked, opened, greeted or spoken into."""
    async with open_lab() as lab:
        load = Load(planned(calls=1, call=replace(CALL, speak=60.0)), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            load.hang_up()
    report = load.report
    assert (report.failed, report.passed + report.interrupted) == (0, report.asked)


async def test_a_stream_that_was_refused_is_no_interrupted_one(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.problem(503, "full")
        load = Load(planned(calls=2, call=replace(CALL, speak=60.0)), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(5.0)
            load.hang_up()
    assert (load.report.failed, load.report.interrupted) == (2, 0)
    (cause,) = load.report.causes.ranked()
    assert cause.what == "receiver_accepted" and "503" in cause.text


async def test_a_call_that_does_not_end_when_hung_up_is_given_up(autojump_clock: Clock) -> None:
    async with open_lab() as lab:

        async def refuse_the_end(request: Request) -> Response:
            await trio.lowlevel.checkpoint()
            if request.path == "/answer":
                return lab.answer
            return (
                Response.problem(500, "trouble") if b"completed" in request.body else Response(204)
            )

        lab.handle_request = refuse_the_end  # type: ignore[method-assign]
        call = replace(
            CALL, retries=RetrySchedule(attempts=1000, jitter=0.0), timeouts=Timeouts(grace=3.0)
        )
        load = Load(planned(steady=True, calls=3, call=call), lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await trio.sleep(1.0)
            load.hang_up()
            ended = trio.current_time()
        assert 3.0 <= trio.current_time() - ended < 6.0
    assert (load.report.failed, load.report.passed) == (3, 0)
    (cause,) = load.report.causes.ranked()
    assert cause.text == "the call did not end within 3 s of being hung up"
    assert load.progress().ringing == load.progress().streaming == 0


def test_a_load_that_cannot_be_is_refused_with_every_problem() -> None:
    with pytest.raises(ConfigError) as refused:
        LoadPlan(call=CALL, calls=0, rate=float("nan"), faults_on=101.0, at_once=0)
    assert {problem.path for problem in refused.value.problems} == {
        "calls",
        "rate",
        "faults_on",
        "at_once",
    }
