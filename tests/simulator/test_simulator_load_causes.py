"""Reasons that are the same are told once, with how often; and their number is bounded."""

from __future__ import annotations

import pytest

from minivoice_ref.simulator.load_causes import Causes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("after 1.25 s", "after 0.75 s"),
        ("wss://127.0.0.1:8443/stream/aaaaaa…: connect: refused",) * 2,
        ("wss://a.example/stream/aaaaaa…: tls: no", "wss://a.example/stream/bbbbbb…: tls: no"),
    ],
)
def test_the_same_cause_in_other_words_of_time_and_place_is_one(one: str, other: str) -> None:
    causes = Causes()
    for call_id, detail in (("call_1", one), ("call_2", other)):
        causes.blame("receiver_accepted", detail, call_id, with_fault=False)
    assert [(cause.count, cause.example) for cause in causes.ranked()] == [(2, "call_1")]


def test_other_statuses_hosts_and_steps_are_other_causes() -> None:
    causes = Causes()
    details = ("answered 503", "answered 500", "https://127.0.0.1:1/a", "https://127.0.0.2:1/a")
    for detail in details:
        for step in ("answer_valid", "call_completed"):
            causes.blame(step, detail, "call_1", with_fault=False)
    assert len(causes.ranked()) == 8
    assert any("127.0.0.1:1/…" in cause.text for cause in causes.ranked())


def test_causes_without_end_are_not_told_apart_for_ever() -> None:
    causes = Causes()
    for number in range(1000):
        causes.blame("answer_valid", f"answered {number}", "call_1", with_fault=False)
    ranked = causes.ranked()
    assert len(ranked) == 101 and sum(cause.count for cause in ranked) == 1000
    assert (ranked[0].what, ranked[0].count) == ("", 900)
    assert "too many to tell apart" in ranked[0].text


def test_those_that_nobody_asked_for_come_first() -> None:
    causes = Causes()
    for _ in range(3):
        causes.blame("stream_closed", "broke", "call_1", with_fault=True)
    causes.blame("stream_closed", "broke", "call_2", with_fault=False)
    assert [(c.with_fault, c.count) for c in causes.ranked()] == [(False, 1), (True, 3)]
    assert causes.to_json("step", "calls")[0] == {
        "step": "stream_closed",
        "cause": "broke",
        "calls": 1,
        "fault_injected": False,
        "example_call_id": "call_2",
    }
