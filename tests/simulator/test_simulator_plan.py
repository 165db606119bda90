"""Plans that cannot work are refused whole, and the schedule of retries."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from minivoice_ref.config import ConfigError
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule


def test_the_pause_between_retries_grows_up_to_a_bound() -> None:
    schedule = RetrySchedule(attempts=10, first=0.5, factor=2, longest=8)
    assert [schedule.delay(n) for n in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]
    assert schedule.delay(100_000) == 8


def test_a_plan_keeps_its_secret_to_itself() -> None:
    plan = CallPlan(answer_url="https://a.example.com", webhook_secret="hunter2")
    assert "hunter2" not in repr(plan)


@pytest.mark.parametrize(
    "url",
    ["", "wss://a.example.com", "https://", "a.example.com/answer", "https://[::1", "http://h:0/"],
)
def test_a_url_that_cannot_be_asked_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="answer_url"):
        CallPlan(answer_url=url)


def test_everything_that_is_wrong_with_a_plan_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        CallPlan(
            answer_url="ftp://a.example.com",
            webhook_url="wss://user:hunter2@a.example.com",
            webhook_secret="",
            speak=math.nan,
            dialect="klingon",
            retries=RetrySchedule(attempts=0),
        )
    named = [problem.path for problem in caught.value.problems]
    assert named == [
        "answer_url",
        "webhook_url",
        "speak",
        "dialect",
        "retries.attempts",
        "webhook_secret",
    ]
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("speak", [0.0, -1.0, math.inf])
def test_the_parties_speak_for_a_positive_time(speak: float) -> None:
    with pytest.raises(ConfigError, match="speak"):
        replace(CallPlan(answer_url="https://a.example.com"), speak=speak)
