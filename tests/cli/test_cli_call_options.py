"""What the commands that call an application take: each option ends up in the plan of the call."""

from __future__ import annotations

import wave
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minivoice_ref.cli import main
from minivoice_ref.commands import call, conformance, doctor, load
from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule

URL = "https://localhost:1/answer"
MODULES: dict[str, ModuleType] = {
    "call": call,
    "load": load,
    "conformance": conformance,
    "doctor": doctor,
}


def plan_of(monkeypatch: pytest.MonkeyPatch, command: str, *options: str) -> Any:
    """The plan that *command* makes of *options*."""
    plans: list[Any] = []

    def run(function: Any, *arguments: Any) -> None:
        plans.extend((*arguments, *getattr(function, "args", ())))  # some bring a partial
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULES[command], "run_trio", run)
    assert main([command, "--answer-url", URL, *options]) == 130
    return plans[0]


def call_of(monkeypatch: pytest.MonkeyPatch, command: str, *options: str) -> CallPlan:
    """The plan of each call that *command* would place."""
    plan = plan_of(monkeypatch, command, *options)
    made: CallPlan = plan if command == "call" else plan.call
    return made


def test_without_options_the_plan_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_of(monkeypatch, "call") == CallPlan(answer_url=URL)
    many = CallPlan(answer_url=URL, speech_programs=(), timeouts=Timeouts(grace=10.0))
    assert call_of(monkeypatch, "load") == many
    trial = CallPlan(answer_url=URL, speech_programs=(), speak=1.5, seed=1)
    assert call_of(monkeypatch, "conformance") == trial
    assert plan_of(monkeypatch, "doctor").timeouts == Timeouts()


@pytest.mark.parametrize("command", ["call", "load", "conformance"])
def test_what_a_call_is_like_is_asked_for_alike(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--webhook-url https://localhost:1/hook --answer-method GET"
        " --response-within 2.5 --close-within 7"
        " --from +1 --to +2 --direction outbound --variable tier=gold --variable empty="
        " --speak 4 --digits 1w# --expect-stream --seed 4"
        " --dialect telnyx --media-format l16le/16000"
        " --assume read_track=outbound --assume pause_w=1"
    )
    plan = call_of(monkeypatch, command, *options.split())
    assert (plan.webhook_url, plan.answer_method) == ("https://localhost:1/hook", "GET")
    assert (plan.timeouts.response, plan.timeouts.close) == (2.5, 7.0)
    assert (plan.from_number, plan.to_number, plan.direction) == ("+1", "+2", "outbound")
    assert plan.variables == {"tier": "gold", "empty": ""}
    assert (plan.speak, plan.digits, plan.expect_stream, plan.seed) == (4.0, "1w#", True, 4)
    assert (plan.dialect, plan.media_format) == ("telnyx", MediaFormat("l16le", 16000))
    assert plan.assumptions == Assumptions(read_track="outbound", pause_w=1.0)


@pytest.mark.parametrize("command", ["call", "load"])
def test_its_parties_and_webhooks_are_asked_for_alike(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wave.open(str(tmp_path / "voice.wav"), "wb") as voice:
        voice.setparams((1, 2, 8000, 0, "NONE", ""))
        voice.writeframes(bytes(1600))
    options = (
        "--talk 3 --hang-up-after 9 --say-fails --recording-fails --fault lose=5"
        " --duplicate-webhooks --reorder-webhooks"
        " --retry-attempts 3 --retry-first 1 --retry-factor 3 --retry-longest 9 --retry-jitter 0"
        f" --caller {tmp_path / 'voice.wav'}"
    )
    plan = call_of(monkeypatch, command, *options.split())
    assert (plan.talk, plan.hang_up_after) == (3.0, 9.0)
    assert plan.say_fails and plan.recording_fails
    assert [str(fault) for fault in plan.faults] == ["lose=5"]
    assert plan.duplicate_webhooks and plan.reorder_webhooks
    assert plan.retries == RetrySchedule(attempts=3, first=1, factor=3, longest=9, jitter=0)
    assert plan.caller is not None and plan.agent is None


def test_only_one_call_speaks_real_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_of(monkeypatch, "call").speech_programs
    assert call_of(monkeypatch, "call", "--packaged-voice").speech_programs == ()


def test_the_doctor_has_the_same_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    options = "--answer-method GET --response-within 2.5 --close-within 7 --fast 3".split()
    plan = plan_of(monkeypatch, "doctor", *options)
    assert (plan.answer_method, plan.fast_answer) == ("GET", 3.0)
    assert plan.timeouts == Timeouts(response=2.5, close=7.0)


@pytest.mark.parametrize("command", MODULES)
def test_the_secret_comes_from_the_environment(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIVOICE_WEBHOOK_SECRET", "a-secret-of-the-test")
    plan = plan_of(monkeypatch, command)
    holder = plan.call if command in ("load", "conformance") else plan
    assert holder.webhook_secret == "a-secret-of-the-test"


@pytest.mark.parametrize("text", ["tier", "=gold", ""])
def test_a_variable_without_a_name_is_bad_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["call", "--answer-url", URL, "--variable", text])
    assert ended.value.code == 2
    assert f"{text!r} is not NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["call", "load"])
def test_a_voice_that_cannot_be_read_is_bad_usage(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--answer-url", URL, "--agent", "/nowhere/voice.wav"]) == 2
    assert "/nowhere/voice.wav cannot be read" in capsys.readouterr().err


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
