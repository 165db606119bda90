"""Assumptions: each has a name, a value and a line, and can be changed."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from minivoice_ref.config import ConfigError
from minivoice_ref.simulator.assumptions import Assumptions, BadAssumption, assume, assumed
from minivoice_ref.simulator.plan import CallPlan

ASSUMED = Assumptions()


def test_each_assumption_is_listed_with_its_value_and_what_it_is_about() -> None:
    lines = assumed(ASSUMED)
    assert len(lines) == len(dataclasses.fields(Assumptions))
    assert lines[0].startswith("failing_action=fails_call ") and "the call fails" in lines[0]
    assert any(line.startswith("send_digits_waits=yes ") for line in lines)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("failing_action=goes_on", "failing_action", "goes_on"),
        ("most_lists=3", "most_lists", 3),
        ("pause_w=0.25", "pause_w", 0.25),
        ("send_digits_waits=no", "send_digits_waits", False),
        ("gathered=ok", "gathered", "ok"),
    ],
)
def test_an_assumption_is_changed_by_its_name(text: str, name: str, value: object) -> None:
    assert getattr(assume(ASSUMED, text), name) == value


def test_every_listed_line_can_be_given_back() -> None:
    for line in assumed(ASSUMED):
        assert assume(ASSUMED, line.split("  ")[0]) == ASSUMED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hold=1", "did you mean hold_silences"),
        ("", "is no assumption"),
        ("most_lists=many", "is not a whole number"),
        ("pause_w=long", "is not a number"),
        ("send_digits_waits=maybe", "is not yes or no"),
        ("read_track=both", "choose one of: inbound, outbound"),
        ("pause_w=-1", "is not 0 or more"),
        ("pause_w=nan", "is not 0 or more"),
        ("digit_seconds=0.001", "no length of a tone"),
    ],
)
def test_what_cannot_be_assumed_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(BadAssumption, match=why):
        assume(ASSUMED, text)


def test_a_plan_refuses_assumptions_that_cannot_be() -> None:
    bad = replace(ASSUMED, most_lists=-1)
    with pytest.raises(ConfigError, match=r"assumptions\.most_lists"):
        CallPlan(answer_url="https://a.example.com", assumptions=bad)
