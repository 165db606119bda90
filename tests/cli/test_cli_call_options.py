"""What `call` takes: each option ends up in the plan of the call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minivoice_ref.cli import main
from minivoice_ref.commands import call
from minivoice_ref.config import ConfigError
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule
from minivoice_ref.simulator.report import CallReport

URL = "https://localhost:1/answer"


def plan_of(monkeypatch: pytest.MonkeyPatch, *options: str) -> CallPlan:
    """The plan that `call` makes of *options*."""
    plans: list[CallPlan] = []

    def run(function: Callable[..., Awaitable[CallReport]]) -> CallReport:
        plan: Any = getattr(function, "args")[0]  # noqa: B009  # a partial
        plans.append(plan)
        return CallReport(call_id="call_1", steps=[])

    monkeypatch.setattr(call, "run_trio", run)
    assert main(["call", "--answer-url", URL, *options]) == 0
    return plans[0]


def test_without_options_the_plan_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_of(monkeypatch) == CallPlan(answer_url=URL)


def test_each_option_ends_up_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (
        "--digits 1w# --talk 3 --hang-up-after 9"
        " --say-fails --recording-fails --packaged-voice"
        " --duplicate-webhooks --reorder-webhooks --response-within 2.5 --seed 4"
        " --retry-attempts 3 --retry-first 1 --retry-factor 3 --retry-longest 9 --retry-jitter 0"
        " --assume read_track=outbound --assume pause_w=1"
    )
    plan = plan_of(monkeypatch, *options.split())
    assert (plan.digits, plan.talk, plan.hang_up_after) == ("1w#", 3.0, 9.0)
    assert plan.say_fails and plan.recording_fails
    assert plan.duplicate_webhooks and plan.reorder_webhooks
    assert plan.speech_programs == () and plan.timeouts.response == 2.5 and plan.seed == 4
    assert plan.retries == RetrySchedule(attempts=3, first=1, factor=3, longest=9, jitter=0)
    assert plan.assumptions == Assumptions(read_track="outbound", pause_w=1.0)


def test_the_assumptions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["call", "--assume", "list"])
    assert ended.value.code == 0
    assert "read_track=inbound" in capsys.readouterr().out


def test_an_assumption_that_is_none_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["call", "--answer-url", URL, "--assume", "tracks=3"])
    assert ended.value.code == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--digits 12x", "digits: 'x' is on no telephone"),
        ("--retry-jitter 2", "retries.jitter"),
        ("--retry-first -1", "retries.first"),
        ("--retry-longest nan", "retries.longest"),
    ],
)
def test_what_cannot_be_is_bad_usage(
    option: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["call", "--answer-url", URL, *option.split()]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("name", ["talk", "hang_up_after", "key_every"])
def test_times_of_a_plan_are_positive(name: str) -> None:
    changes: Any = {name: 0.0}
    with pytest.raises(ConfigError, match=name):
        CallPlan(answer_url=URL, **changes)
