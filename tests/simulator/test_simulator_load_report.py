"""The figures of a load, from reports that no call had to be placed for."""

from __future__ import annotations

from typing import Any

import pytest

from minivoice_ref.simulator.load_report import Durations, LoadReport
from minivoice_ref.simulator.report import STEPS, CallReport, Step, WebhookReport


def failed(step: str, detail: str, **changes: Any) -> CallReport:
    """A call that came as far as *step*."""
    first = STEPS.index(step)
    steps = [Step(name, place < first, detail) for place, name in enumerate(STEPS)]
    return CallReport(call_id="call_1", steps=steps, **changes)


def figures(*seconds: float | None) -> dict[str, float]:
    durations = Durations()
    for value in seconds:
        durations.add(value)
    return durations.to_json()


def test_percentiles_are_exact() -> None:
    told = figures(*(n / 1000 for n in range(200, 0, -1)))
    assert told == {"count": 200, "p50_ms": 100, "p90_ms": 180, "p99_ms": 198, "max_ms": 200}


def test_what_did_not_happen_took_no_time_and_is_not_counted() -> None:
    assert figures(None, 0.5)["count"] == 1
    assert set(figures().values()) == {0}


def test_a_load_without_calls_is_not_good() -> None:
    report = LoadReport(planned=10, rate=1.0)
    assert not report.good and report.kept_time and "FAIL" in str(report)


def test_only_accepted_webhooks_tell_how_long_an_acknowledgement_takes() -> None:
    report = LoadReport(planned=1, rate=1.0)
    hooks = [
        WebhookReport("call.created", 1, 200, None, 0.25),
        WebhookReport("call.completed", 6, 500, "answered 500", 7.0),
    ]
    report.count(failed("call_completed", "no", webhooks=hooks), with_fault=False)
    assert report.acknowledgement.to_json() == figures(0.25)
    assert (report.answered, report.completed, report.failed) == (1, 0, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("after 1.25 s", "after 0.75 s"),
        ("wss://127.0.0.1:8443/stream/aaaaaa…: connect: refused",) * 2,
        ("wss://a.example/stream/aaaaaa…: tls: no", "wss://a.example/stream/bbbbbb…: tls: no"),
    ],
)
def test_the_same_cause_in_other_words_of_time_and_place_is_one(one: str, other: str) -> None:
    report = LoadReport(planned=2, rate=1.0)
    for detail in (one, other):
        report.count(failed("receiver_accepted", detail), with_fault=False)
    assert [cause.calls for cause in report.ranked_causes()] == [2]


def test_other_statuses_hosts_and_steps_are_other_causes() -> None:
    report = LoadReport(planned=9, rate=1.0)
    details = ("answered 503", "answered 500", "https://127.0.0.1:1/a", "https://127.0.0.2:1/a")
    for detail in details:
        for step in ("answer_valid", "call_completed"):
            report.count(failed(step, detail), with_fault=False)
    assert len(report.causes) == 8
    assert any("127.0.0.1:1/…" in cause.text for cause in report.ranked_causes())


def test_causes_without_end_are_not_told_apart_for_ever() -> None:
    report = LoadReport(planned=1000, rate=1.0)
    for number in range(1000):
        report.count(failed("answer_valid", f"answered {number}"), with_fault=False)
    assert report.failed == 1000 and len(report.causes) <= 101
    assert "too many to tell apart" in report.ranked_causes()[0].text
    assert sum(cause.calls for cause in report.causes.values()) == 1000


def test_failures_that_nobody_asked_for_come_first() -> None:
    report = LoadReport(planned=4, rate=1.0)
    for _ in range(3):
        report.count(failed("stream_closed", "broke"), with_fault=True)
    report.count(failed("stream_closed", "broke"), with_fault=False)
    assert [(cause.with_fault, cause.calls) for cause in report.ranked_causes()] == [
        (False, 1),
        (True, 3),
    ]
