"""The figures of a load, from reports that no call had to be placed for."""

from __future__ import annotations

from typing import Any

import pytest

from minivoice_ref.simulator.load_report import Durations, LoadReport
from minivoice_ref.simulator.report import STEPS, CallReport, Step, StreamReport, WebhookReport


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


def told(*hooks: WebhookReport) -> LoadReport:
    """A load of two such calls, which delivered *hooks* and failed for it."""
    report = LoadReport(planned=2, rate=1.0)
    for _ in range(2):
        report.count(failed("call_completed", "no", webhooks=hooks), with_fault=False)
    return report


def test_webhooks_that_were_retried_and_given_up_are_counted_and_grouped() -> None:
    report = told(
        WebhookReport("call.created", 1, 200, None, 0.25),
        WebhookReport("call.answered", 6, 500, "answered 500", 0.1),
        WebhookReport("recording.completed", 6, None, "https://a/hook: connect: refused"),
        WebhookReport("call.completed", 2, 200, None, 0.25),
    )
    assert (report.webhooks, report.retried, report.given_up) == (8, 6, 4)
    assert report.completed == 2, "an event that was lost is another than the call's end"
    document: Any = report.to_json()["webhooks"]
    assert (document["sent"], document["retried"], document["given_up"]) == (8, 6, 4)
    assert [(c["event"], c["cause"], c["webhooks"]) for c in document["causes"]] == [
        ("call.answered", "answered 500", 2),
        ("recording.completed", "https://a/…: connect: refused", 2),
    ]
    printed = str(report)
    assert "webhooks    sent 8, retried 6, given up 4" in printed
    assert "webhooks given up, by event and cause\n       2  call.answered: answered 500" in printed


def test_a_load_without_lost_webhooks_says_nothing_of_causes() -> None:
    printed = str(told(WebhookReport("call.completed", 1, 200, None, 0.25)))
    assert "sent 2, retried 0, given up 0" in printed and "by event and cause" not in printed
    assert "webhooks   " not in str(LoadReport(planned=1, rate=1.0))


def test_how_long_closing_took_has_a_row_of_its_own() -> None:
    report = LoadReport(planned=1, rate=1.0)
    stream = StreamReport(stream_url="", track="both", stream_id="", sent={}, closing_seconds=0.5)
    report.count(CallReport(call_id="call_1", steps=[], streams=[stream]), with_fault=False)
    latency: Any = report.to_json()["latency"]
    assert latency["stream_closing"] == figures(0.5)
    (row,) = [line for line in str(report).splitlines() if "stream closing" in line]
    assert row.split()[2:] == ["1", *["500.0"] * 4]


def test_what_was_not_measured_has_dashes() -> None:
    (row,) = [
        line for line in str(LoadReport(planned=1, rate=1.0)).splitlines() if "answer " in line
    ]
    assert row.split() == ["answer", "0", "–", "–", "–", "–"]


@pytest.mark.parametrize(("late", "said"), [(0.001, False), (0.5, True)])
def test_failures_of_a_simulator_that_did_not_keep_time_are_told_with_that(
    late: float, said: bool
) -> None:
    report = told()
    report.clock.add(late)
    note = "by their first cause (the simulator itself did not keep time)"
    assert (note in str(report)) is said
    assert ("came too late for its deadline" in report.statement) is said


def test_no_line_of_words_is_wider_than_a_terminal_and_no_url_is_broken() -> None:
    url = "https://" + "a-name." * 20 + "example"
    report = LoadReport(planned=1, rate=1.0)
    detail = f"{url}: " + "many words " * 40
    report.count(failed("answer_valid", detail), with_fault=True)
    printed = str(report)
    assert url in printed
    assert all(len(line) <= 100 for line in printed.splitlines() if url not in line)
