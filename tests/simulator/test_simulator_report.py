"""The report of a call: its JSON to the key, its words, and the verdict in the documented order."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from minivoice_ref.protocol.actions import CheckedAnswer, read_answer
from minivoice_ref.simulator.faults import Finding, parse_fault
from minivoice_ref.simulator.plan import CallPlan
from minivoice_ref.simulator.report import (
    STEPS,
    ActionResult,
    CallReport,
    Moment,
    Step,
    StreamReport,
    Sums,
    WebhookReport,
)
from minivoice_ref.simulator.verdict import judge

GOOD = read_answer(
    b'{"actions": [{"type": "start_stream",'
    b' "stream_url": "wss://m.example.com/x", "track": "both"}]}'
)
BAD = read_answer(
    b'{"actions": [{"type": "start_stream",'
    b' "stream_url": "https://media.example.com/minivoice", "track": "speaker"}]}'
)
PLAN = CallPlan(answer_url="https://a.example.com/answer", webhook_url="https://a.example.com/hook")
STREAM = StreamReport(
    stream_url="wss://m.example.com/stream/abcdef…",
    track="both",
    stream_id="MZ1",
    sent={"inbound": Sums(250, 40000), "outbound": Sums(250, 40000)},
    close_code=1000,
    opened_at=0.125,
)
COMPLETED = WebhookReport("call.completed", 1, 204)


def steps(
    *,
    plan: CallPlan = PLAN,
    answer: CheckedAnswer | None = GOOD,
    fault: str | None = None,
    streams: tuple[StreamReport, ...] = (STREAM,),
    webhooks: tuple[WebhookReport, ...] = (COMPLETED,),
    findings: tuple[Finding, ...] = (),
    failure: str | None = None,
) -> dict[str, Step]:
    judged = judge(plan, answer, fault, streams, webhooks, findings, failure)
    assert tuple(step.name for step in judged) == STEPS
    return {step.name: step for step in judged}


def failing(judged: dict[str, Step]) -> list[str]:
    return [name for name, step in judged.items() if step.ok is False]


def dashes(judged: dict[str, Step]) -> list[str]:
    return [name for name, step in judged.items() if step.ok is None]


@pytest.mark.documents("debug-order")
def test_the_steps_stand_in_the_documented_debug_order() -> None:
    assert STEPS == (
        "answer_valid",
        "url_is_wss",
        "receiver_accepted",
        "media_flowed",
        "stream_closed",
        "call_completed",
    )


def test_a_good_call_passes_and_says_what_was_seen() -> None:
    judged = steps()
    assert failing(judged) == []
    assert judged["answer_valid"].detail == "1 action, all valid"
    assert judged["url_is_wss"].detail == "wss://m.example.com/stream/abcdef…"
    assert judged["receiver_accepted"].detail == "1 stream open after 0.125 s"
    assert "inbound 250 frames (5.00 s)" in judged["media_flowed"].detail
    assert judged["stream_closed"].detail == "stopped, then closed with 1000"
    assert "acknowledged with 204 after 1 attempt" in judged["call_completed"].detail


def test_without_an_answer_every_step_fails_and_the_first_says_why() -> None:
    judged = steps(answer=None, fault="connect: refused", streams=(), webhooks=())
    assert failing(judged) == list(STEPS)
    assert judged["answer_valid"].detail == "connect: refused"


@pytest.mark.documents("bad-list")
def test_both_faults_of_the_documented_bad_answer_are_named() -> None:
    judged = steps(answer=BAD, streams=(), webhooks=())
    assert failing(judged) == list(STEPS)
    assert "2 faults" in judged["answer_valid"].detail
    assert "actions[0].stream_url" in judged["answer_valid"].detail
    assert "actions[0].track" in judged["answer_valid"].detail
    assert "1 fault: actions[0].stream_url" in judged["url_is_wss"].detail


def test_an_answer_with_faults_elsewhere_starts_no_stream() -> None:
    judged = steps(answer=read_answer(b'{"actions": [{"type": "dance"}]}'), streams=(), webhooks=())
    assert judged["url_is_wss"].detail == "the answer is not valid, so no stream was started"


HOLD = read_answer(b'{"actions": [{"type": "hold"}]}')


def test_an_answer_without_a_stream_has_a_dash_where_none_was_expected() -> None:
    judged = steps(answer=HOLD, streams=())
    assert (failing(judged), dashes(judged)) == ([], list(STEPS[1:5]))
    said = "the answer started no stream, and none was expected"
    assert {judged[name].detail for name in STEPS[1:5]} == {said}


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"expect_stream": True}, HOLD),
        ({"expect_break": True}, HOLD),
        ({"faults": (parse_fault("cut"),)}, HOLD),
        ({"faults": (parse_fault("wrong-token"),)}, HOLD),
        (
            {},
            read_answer(
                b'{"actions": [{"hold": {}}, {"start_stream": {"stream_url": "wss://m"}}]}'
            ),
        ),
    ],
    ids=["a stream", "a break", "a cut", "a refusal", "asked for and not run"],
)
def test_a_stream_that_was_expected_and_not_started_fails_from_there_on(
    changes: dict[str, Any], answer: CheckedAnswer
) -> None:
    judged = steps(plan=replace(PLAN, **changes), answer=answer, streams=())
    assert (failing(judged), dashes(judged)) == (list(STEPS[1:5]), [])
    assert "no start_stream" in judged["url_is_wss"].detail


def test_a_fault_of_the_webhooks_expects_no_stream() -> None:
    plan = replace(PLAN, webhook_secret="s", faults=(parse_fault("wrong-signature"),))
    assert failing(steps(plan=plan, answer=HOLD, streams=())) == []


def test_without_a_stream_the_failure_of_the_call_is_why_there_was_none() -> None:
    judged = steps(streams=(), failure="resume failed: the call is not held")
    assert failing(judged) == list(STEPS[1:])
    said = "no stream was started before the call failed: resume failed: the call is not held"
    assert judged["url_is_wss"].detail == said
    assert judged["call_completed"].detail == "the call failed: resume failed: the call is not held"
    # Whether it would have started one nobody knows.
    assert dashes(steps(answer=HOLD, streams=(), failure="redirect failed: 503")) == []


def test_a_refused_stream_fails_from_there_on_but_not_the_call() -> None:
    refused = replace(
        STREAM,
        sent={"inbound": Sums(), "outbound": Sums()},
        close_code=None,
        opened_at=None,
        fault="the receiver refused it: 403",
    )
    judged = steps(streams=(refused,))
    assert failing(judged) == ["receiver_accepted", "media_flowed", "stream_closed"]
    assert judged["receiver_accepted"].detail == "both: the receiver refused it: 403"


def test_a_stream_that_broke_before_any_audio_is_silent() -> None:
    silent = replace(STREAM, sent={"inbound": Sums()}, broke_at=0.2, close_code=1006, fault="broke")
    assert failing(steps(streams=(silent,))) == ["media_flowed", "stream_closed"]


def test_a_break_that_nobody_asked_for_fails_the_stream_and_spares_the_call() -> None:
    broken = replace(STREAM, close_code=1006, broke_at=2.0, fault="the connection broke")
    judged = steps(streams=(STREAM, broken))
    assert failing(judged) == ["stream_closed"]
    assert judged["stream_closed"].detail == "both: the connection broke"


def test_a_break_that_was_asked_for_is_good_and_its_absence_is_not() -> None:
    asked = replace(PLAN, expect_break=True)
    broken = replace(STREAM, close_code=1006, broke_at=2.0, fault="the connection broke")
    judged = steps(plan=asked, streams=(broken,))
    assert failing(judged) == []
    assert "broke after 2.000 s, as asked; the call went on" in judged["stream_closed"].detail
    assert failing(steps(plan=asked)) == ["stream_closed"]
    assert failing(steps(plan=asked, streams=())) == list(STEPS[1:5])


def told(event: str, status: int | None, *, attempts: int = 1) -> WebhookReport:
    why = f"answered {status}" if status else "https://a.example.com/hook: connect: refused"
    return WebhookReport(event, attempts, status, None if status == 204 else why)


def test_every_event_must_be_acknowledged_in_the_end() -> None:
    lost = [told("call.created", 500), told("call.answered", 503), told("call.gathered", 503)]
    judged = steps(webhooks=(*lost, COMPLETED))
    assert failing(judged) == ["call_completed"]
    assert judged["call_completed"].detail == (
        "3 events were never acknowledged: call.created (500); call.answered, call.gathered (503)"
    )
    judged = steps(webhooks=(told("call.completed", None),))
    assert judged["call_completed"].detail == (
        "1 event was never acknowledged:"
        " call.completed (https://a.example.com/hook: connect: refused)"
    )
    assert failing(steps(webhooks=())) == ["call_completed"]


def test_events_that_were_acknowledged_at_last_are_counted_and_no_failure() -> None:
    hooks = [told(event, 204, attempts=3) for event in ("call.created", "call.answered")]
    judged = steps(webhooks=(*hooks, told("call.completed", 204, attempts=2)))
    assert failing(judged) == []
    assert judged["call_completed"].detail == (
        "call.completed was acknowledged with 204 after 2 attempts,"
        " 2 other events after more than one"
    )


def test_what_a_fault_found_and_what_was_never_acknowledged_are_told_together() -> None:
    found = Finding("wrong-signature", "webhook", False, "call.created was answered with 500")
    detail = steps(findings=(found,))["call_completed"].detail
    assert detail == "fault wrong-signature: call.created was answered with 500"
    lost = (told("call.created", 500), COMPLETED)
    both = steps(findings=(found,), webhooks=lost)["call_completed"].detail
    assert both == f"{detail}; 1 event was never acknowledged: call.created (500)"


def test_a_failed_call_also_tells_which_events_were_never_acknowledged() -> None:
    detail = steps(failure="no", webhooks=(told("call.failed", 500),))["call_completed"].detail
    assert detail == "the call failed: no; 1 event was never acknowledged: call.failed (500)"


def test_without_a_webhook_url_nobody_is_told_and_the_call_completes() -> None:
    judged = steps(plan=replace(PLAN, webhook_url=None), webhooks=())
    assert failing(judged) == []
    assert "no webhook_url" in judged["call_completed"].detail


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (204, True), (299, True), (302, False), (None, False)]
)
def test_any_2xx_accepts_a_webhook(status: int | None, accepted: bool) -> None:
    assert WebhookReport("call.created", 1, status).accepted is accepted


def test_the_json_has_exactly_the_promised_keys() -> None:
    report = CallReport(
        call_id="call_1",
        steps=[Step("answer_valid", True, "1 action")],
        streams=[STREAM],
        webhooks=[COMPLETED],
        actions=[ActionResult(0, "hold", "skipped", "why")],
        moments=[Moment(0.0, "platform", "began")],
    )
    assert json.loads(json.dumps(report.to_json())) == {
        "verdict": "pass",
        "call_id": "call_1",
        "steps": [{"name": "answer_valid", "ok": True, "detail": "1 action"}],
        "streams": [
            {
                "stream_url": "wss://m.example.com/stream/abcdef…",
                "track": "both",
                "sent": {
                    "inbound": {"frames": 250, "samples": 40000},
                    "outbound": {"frames": 250, "samples": 40000},
                },
                "close_code": 1000,
                "recording": None,
            }
        ],
        "webhooks": [{"event": "call.completed", "attempts": 1, "status": 204}],
    }


def test_the_outcome_of_a_duplicate_is_in_the_json_where_there_was_one() -> None:
    again = replace(COMPLETED, duplicates=1, duplicate_status=409, duplicate_fault="answered 409")
    assert again.accepted and again.to_json() == COMPLETED.to_json() | {"duplicate_status": 409}


def test_what_the_receiver_knows_is_in_the_json_once_it_is_filled_in() -> None:
    both_ends = replace(STREAM, received={"inbound": Sums(1, 160)}, recording="calls/1.wav")
    document = both_ends.to_json()
    assert list(document) == ["stream_url", "track", "sent", "received", "close_code", "recording"]
    assert document["received"] == {"inbound": {"frames": 1, "samples": 160}}
    assert document["recording"] == "calls/1.wav"


def test_the_report_reads_as_a_verdict_and_its_reasons() -> None:
    report = CallReport(
        call_id="call_1",
        steps=[
            Step("answer_valid", True, "fine"),
            Step("url_is_wss", False, "no"),
            Step("media_flowed", None, "nothing"),
        ],
    )
    assert report.verdict == "fail"
    assert str(report).splitlines() == [
        "call call_1: FAIL",
        "  ok    answer_valid  fine",
        "  FAIL  url_is_wss    no",
        "  –     media_flowed  nothing",
    ]
    assert [step.to_json()["ok"] for step in report.steps] == [True, False, None]
    assert report.failures == [Step("url_is_wss", False, "no")]
    assert CallReport(call_id="call_3", steps=report.steps[::2]).passed
    assert str(CallReport(call_id="call_2", steps=[])) == "call call_2: PASS"


def test_moments_and_actions_read_as_lines() -> None:
    assert str(Moment(1.5, "stream", "opened")) == "   1.500  stream    opened"
    result = ActionResult(2, "transfer", "skipped", "not executed")
    assert str(result) == "actions[2] transfer: skipped: not executed"
