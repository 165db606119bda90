"""`redirect`: another list goes on, or the call fails; bad answers of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
import trio
import trio.testing
from simulator_lab import ANSWER_URL, HOST, Document, failing, open_lab, start

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.simulator.assumptions import Assumptions, assume
from minivoice_ref.simulator.call import place_call
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.plan import CallPlan

Clock = trio.testing.MockClock

ASSUMED = Assumptions()
NEXT: Document = {"type": "redirect", "url": f"https://{HOST}/next"}
STOP: Document = {"type": "stop_stream"}


def listed(*actions: Document) -> Response:
    return Response.json({"actions": list(actions)})


def moved(status: int, to: str) -> Response:
    return Response(status, headers=(("Location", to),))


async def test_a_redirect_asks_in_the_form_of_the_answer_url(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(NEXT | {"url": NEXT["url"] + "?step=2#there"})
        lab.pages["/next"] = listed(NEXT | {"url": f"https://{HOST}/last", "method": "POST"})
        lab.pages["/last"] = listed()
        report = await lab.call(variables={"a": "b"})
    first, last = lab.visited
    assert first.query_values == {
        "step": "2",
        "call_id": report.call_id,
        "from": "+15551230001",
        "to": "+15551230002",
    }
    document = json.loads(last.body)
    assert document["call"]["status"] == "in_progress" and document["variables"] == {"a": "b"}
    assert [(result.list, result.outcome) for result in report.actions] == [
        (0, "accepted"),
        (1, "accepted"),
    ]
    assert str(report.actions[1]).startswith("list 2, actions[0] redirect: accepted")


async def test_a_failing_redirect_stops_the_streams_and_fails_the_call(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"start_recording": {}}, NEXT, STOP)
        lab.pages["/next"] = Response(503)
        report = await lab.call()
    assert failing(report) == ["receiver_accepted", "media_flowed", "stream_closed"] + [
        "call_completed"
    ]
    assert [result.outcome for result in report.actions] == ["accepted"] * 2 + [
        "failed",
        "skipped",
    ]
    assert report.actions[3].detail == "not run after the failure of actions[2]"
    assert [event for event, _ in lab.events()][-2:] == ["recording.completed", "call.failed"]
    assert lab.data_of("call.failed") == [{"reason": "redirect failed: it answered 503"}]
    assert "the call failed: redirect failed" in report.steps[-1].detail


async def test_the_faults_of_a_list_that_a_redirect_brings_are_each_named(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(NEXT)
        lab.pages["/next"] = listed(start("https://m.example.com", "speaker"), STOP)
        report = await lab.call()
    assert [str(result).split(": ")[:2] for result in report.actions] == [
        ["actions[0] redirect", "failed"],
        ["list 2, actions[0] start_stream", "rejected"],
        ["list 2, actions[1] stop_stream", "skipped"],
    ]
    faults = [text for text in lab.said("answer") if text.startswith("fault: ")]
    assert len(faults) == 2


async def test_a_failing_action_need_not_fail_the_call(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"resume": {}}, NEXT, STOP)
        lab.pages["/next"] = Response(503)
        report = await lab.call(assumptions=replace(ASSUMED, failing_action="goes_on"))
    assert [result.outcome for result in report.actions] == ["accepted", "failed", "failed"] + [
        "accepted"
    ]
    assert report.verdict == "pass" and lab.events()[-1][0] == "call.completed"


@pytest.mark.parametrize(
    ("status", "methods"),
    [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")],
)
@pytest.mark.documents("redirect")
async def test_as_many_http_redirects_are_followed_as_max_redirects_allows(
    autojump_clock: Clock, status: int, methods: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(NEXT | {"method": "POST", "max_redirects": 2})
        lab.pages["/next"] = moved(status, "/second?x=1")
        lab.pages["/second"] = moved(status, f"https://{HOST}/third")
        lab.pages["/third"] = listed()
        await lab.call()
    assert [visit.path for visit in lab.visited] == ["/next", "/second", "/third"]
    assert [visit.method for visit in lab.visited] == ["POST", methods, methods]
    assert lab.events()[-1][0] == "call.completed"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (moved(302, "/next"), "answered 302"),
        (Response(302), "answered 302"),
        (moved(302, "ftp://elsewhere.example.com"), "scheme"),
        (moved(302, "https://[::1"), "no URL"),
        (moved(302, "https://h.example.com:99999/"), "not a URL"),
    ],
    ids=["circle", "nowhere", "ftp", "no-url", "no-port"],
)
async def test_an_http_redirect_that_leads_nowhere_fails(
    autojump_clock: Clock, page: Response, why: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(NEXT | {"max_redirects": 20})
        lab.pages["/next"] = page
        report = await lab.call()
    assert len(lab.visited) in (1, 21)
    assert report.actions[0].outcome == "failed" and why in report.actions[0].detail


@pytest.mark.parametrize(
    ("assumed", "allowed", "visits"),
    [({}, 3, 20), ({"most_lists": 4}, 3, 3), ({"redirects_counted": "actions"}, 3, 3)],
    ids=["the bound", "another bound", "max_redirects counts actions"],
)
async def test_a_circle_of_redirects_ends(
    autojump_clock: Clock, assumed: Mapping[str, object], allowed: int, visits: int
) -> None:
    async with open_lab() as lab:
        again = NEXT | {"max_redirects": allowed}
        lab.answer_with(again)
        lab.pages["/next"] = listed(again)
        report = await lab.call(assumptions=replace(ASSUMED, **assumed))  # type: ignore[arg-type]
    assert len(lab.visited) == visits
    assert report.actions[-1].outcome == "failed"
    assert "and no more than" in report.actions[-1].detail


async def test_a_location_that_http_cannot_carry_is_no_crash(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*arguments: object, **more: object) -> Response:
        await trio.lowlevel.checkpoint()
        raise LocalProtocolError("a method or header that HTTP cannot carry")

    monkeypatch.setattr("minivoice_ref.simulator.asking.fetch", refuse)
    async with open_lab() as lab:
        report = await lab.call(webhook_url=None)
    assert "HTTP cannot carry" in report.steps[0].detail


# --- the caller hangs up ---


async def test_the_caller_hangs_up_and_the_rest_is_not_run(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"say": {"text": "one two three four five"}}, {"hold": {}})
        report = await lab.call(hang_up_after=1.5)
    assert report.verdict == "pass"
    assert report.streams[0].sent["inbound"].frames == 75
    assert report.actions[2].outcome == "skipped"
    assert report.actions[2].detail == "the caller had hung up"


async def test_a_call_that_would_never_end_ends_by_itself(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(*[{"say": {"text": "word " * 10_000}}] * 3)
        report = await lab.call(timeouts=Timeouts(longest_stream=900.0))
    assert report.moments[-1].at == pytest.approx(900.0, abs=1)
    assert [result.outcome for result in report.actions] == ["accepted", "skipped", "skipped"]


@pytest.mark.parametrize(
    "action",
    [
        {"gather": {"timeout_seconds": 30}},
        {"send_digits": {"digits": "5", "pause_before_ms": 60000}},
        {"say": {"text": "word " * 100}},
        {"stop_stream": {}},
        {"transfer": {"destination": "+15551230003"}},
        {"redirect": {"url": "https://slow.example.com/next"}},
    ],
    ids=lambda action: next(iter(action)),
)
async def test_whatever_goes_on_ends_when_the_caller_hangs_up(
    autojump_clock: Clock, action: Document
) -> None:
    async with open_lab() as lab:
        lab.network.listener("slow.example.com", 443)  # which nobody accepts from
        lab.answer_with(start(), action, {"hold": {}})
        report = await lab.call(hang_up_after=0.5, talk=60.0, speak=60.0)
    hung_up = next(moment.at for moment in lab.moments if moment.text == "the caller hangs up")
    assert hung_up == pytest.approx(0.5, abs=0.03)
    assert report.actions[-1].outcome == "skipped"
    assert lab.events()[-1][0] == "call.completed"
    assert report.streams[0].fault is None


async def test_whoever_holds_the_handle_can_have_the_caller_hang_up(
    autojump_clock: Clock,
) -> None:
    handle = CallHandle()
    async with open_lab() as lab, trio.open_nursery() as nursery:

        async def hang_up() -> None:
            await trio.sleep(0.7)
            assert [stream.opened for stream in handle.streams] == [True]
            handle.hang_up()

        nursery.start_soon(hang_up)
        plan = CallPlan(answer_url=ANSWER_URL, speak=60.0)
        report = await place_call(plan, connect=lab.network.connect, handle=handle)
    assert report.passed
    assert report.streams[0].sent["inbound"].frames == pytest.approx(35, abs=1)


async def test_a_caller_who_hangs_up_before_the_answer_fails_the_call(
    autojump_clock: Clock,
) -> None:
    handle = CallHandle()
    async with open_lab() as lab, trio.open_nursery() as nursery:
        lab.network.listener("slow.example.com", 443)
        plan = CallPlan(answer_url="https://slow.example.com/answer")

        async def hang_up() -> None:
            await trio.sleep(0.7)
            handle.hang_up()

        nursery.start_soon(hang_up)
        report = await place_call(plan, connect=lab.network.connect, handle=handle)
    assert "the caller hung up before there was an answer" in report.steps[0].detail
    assert report.moments[-1].at == pytest.approx(0.7, abs=0.03)


async def test_streams_may_end_with_a_transfer(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"transfer": {"destination": "+15551230003"}})
        report = await lab.call(
            assumptions=replace(ASSUMED, streams_after_transfer=False), talk=3.0
        )
    assert report.streams[0].sent.get("inbound", None) is not None
    closed = next(moment.at for moment in lab.moments if moment.text.startswith("failed: it was"))
    assert closed == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize(
    ("at_end", "last"),
    [
        ("completed", "recording.completed"),
        ("failed", "recording.failed"),
        ("none", "recording.started"),
    ],
)
async def test_a_recording_that_runs_at_the_end_ends_as_is_assumed(
    autojump_clock: Clock, at_end: str, last: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with({"start_recording": {}}, {"start_recording": {}})
        assumed = assume(ASSUMED, f"recording_at_end={at_end}")
        report = await lab.call(assumptions=assumed)
    assert [event for event, _ in lab.events()][-2:] == [last, "call.completed"]
    assert "is running already" in report.actions[1].detail


async def test_what_is_done_twice_says_so(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with({"hold": {}}, {"hold": {}}, {"stop_recording": {}})
        report = await lab.call()
    assert "it was held already" in report.actions[1].detail
    assert report.actions[2].detail == "no recording is running"


# --- bad input ---


def deep(levels: int) -> bytes:
    return b'{"actions":' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an object"),
        (deep(100), "nested deeper than 64 levels"),
        (deep(100_000), "nested deeper than 64 levels"),
        (b'{"actions": []}' + b" " * 10_000_000, "larger than 1048576 bytes"),
        (b"", "is empty"),
    ],
    ids=["not JSON", "not an object", "100 deep", "100000 deep", "10 MB", "nothing"],
)
@pytest.mark.parametrize("by", ["answer_url", "redirect"])
async def test_a_bad_answer_is_a_clear_line_and_the_call_fails(
    autojump_clock: Clock, body: bytes, why: str, by: str
) -> None:
    async with open_lab() as lab:
        lab.pages["/next"] = Response(200, body)
        lab.answer_with(NEXT)
        if by == "answer_url":
            lab.answer = lab.pages["/next"]
        report = await lab.call(limits=Limits())
    assert lab.events()[-1] == ("call.failed", "failed")
    step = report.steps[0] if by == "answer_url" else report.steps[-1]
    assert not step.ok
    assert why in step.detail
    assert any(why in text for text in lab.said("answer"))
    assert all(len(moment.text) < 1000 for moment in lab.moments)


@pytest.mark.parametrize("pause", [1.0, 1000.0], ids=["a byte a second", "never"])
async def test_an_answer_that_takes_for_ever_meets_a_deadline(
    autojump_clock: Clock, pause: float
) -> None:
    async def dribble(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n" + b" " * 14:
                    await stream.send_all(bytes([byte]))
                    await trio.sleep(pause)
            except trio.BrokenResourceError:
                pass

    async with open_lab() as lab, trio.open_nursery() as nursery:
        listener = lab.network.listener("slow.example.com", 443)
        await nursery.start(trio.serve_listeners, dribble, [listener])
        lab.answer_with(NEXT | {"url": "https://slow.example.com/next"})
        report = await lab.call(timeouts=Timeouts(response=3.0))
        nursery.cancel_scope.cancel()
    assert report.actions[0].outcome == "failed"
    assert "no whole response within 3 s" in report.actions[0].detail
    failed_at = next(moment.at for moment in lab.moments if moment.text == "call.failed")
    assert failed_at == pytest.approx(3.0, abs=0.03)


async def test_how_long_the_answer_took_is_reported(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        answered = await lab.call()
        unanswered = await lab.call(answer_url="https://nobody.example.com/")
    assert answered.answer_seconds == pytest.approx(0.0, abs=0.01)
    assert unanswered.answer_seconds is None
