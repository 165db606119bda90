"""`gather`: the caller's keys are heard, told to the streams, counted, and told to the webhook."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio.testing
from simulator_lab import HOST, Document, open_lab, start

from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.digits import tone
from minivoice_ref.simulator.speech import SILENCE

Clock = trio.testing.MockClock

ASSUMED = Assumptions()
GATHER: Document = {"type": "gather"}
OTHER_URL = f"wss://{HOST}/other"


async def test_a_key_is_heard_on_the_inbound_track_and_told_to_every_stream_that_carries_it(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), start(OTHER_URL, "inbound"), start(OTHER_URL, "outbound"), GATHER)
        report = await lab.call(digits="5", keep_audio=True)
    key = b"".join(tone("5", 5).frames)
    both, inbound, outbound = report.streams
    assert key in both.audio["inbound"] and key in inbound.audio["inbound"]
    assert key not in both.audio["outbound"] and key not in outbound.audio["outbound"]
    told = [[message["dtmf"]["digit"] for message in heard.of("dtmf")] for heard in lab.heard]
    assert sorted(told) == [[], ["5"], ["5"]]


@pytest.mark.parametrize(("told", "keys"), [("all", [["5"], ["5"], ["5"]]), ("none", [[], [], []])])
async def test_which_streams_are_told_of_a_key_is_a_setting(
    told: Any, keys: list[list[str]], autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), start(OTHER_URL, "inbound"), start(OTHER_URL, "outbound"), GATHER)
        await lab.call(digits="5", assumptions=replace(ASSUMED, digits_told=told))
    heard = [[message["dtmf"]["digit"] for message in h.of("dtmf")] for h in lab.heard]
    assert heard == keys and len(lab.data_of("call.gathered")) == 1


async def test_a_stream_that_is_over_is_told_no_key(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"stop_stream": {}}, GATHER)
        report = await lab.call(digits="5")
    assert report.verdict == "pass" and lab.heard[0].of("dtmf") == []


async def test_while_it_waits_neither_party_speaks_and_then_they_go_on(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), GATHER | {"timeout_seconds": 1})
        report = await lab.call(keep_audio=True)
    for audio in report.streams[0].audio.values():
        assert audio[: 50 * 160] == SILENCE * 50
    assert any(audio[50 * 160 :] != SILENCE * 50 for audio in report.streams[0].audio.values())


async def test_keys_that_one_gather_does_not_take_are_pressed_in_the_next(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(GATHER, GATHER | {"num_digits": 2}, GATHER | {"timeout_seconds": 2})
        await lab.call(digits="1w23")
    assert [data["digits"] for data in lab.data_of("call.gathered")] == ["1", "23", ""]


async def test_the_caller_presses_a_key_each_so_often_and_pauses_where_told(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), GATHER | {"num_digits": 3})
        await lab.call(digits="1W,23", key_every=0.25)
    began = lab.heard[0].media("inbound")[0][0]
    pressed = [at - began for at, said in lab.heard[0].messages if said["event"] == "dtmf"]
    assert pressed == pytest.approx([0.25, 3.5, 3.75], abs=0.03)


@pytest.mark.parametrize(
    ("parameters", "digits", "status", "gathered"),
    [
        ({"min_digits": 3}, "1234", "completed", "123"),
        ({"max_digits": 2}, "1234", "completed", "12"),
        ({"num_digits": 2, "max_digits": 4}, "1234", "completed", "12"),
        ({"num_digits": 4, "finish_on_key": "*"}, "12*4", "completed", "12"),
        ({"max_digits": 4, "min_digits": 3, "finish_on_key": "#"}, "12#", "too_few_digits", "12"),
        ({"finish_on_key": "#"}, "#", "too_few_digits", ""),
        ({"finish_on_key": "#", "min_digits": 0}, "#", "completed", ""),
        ({"num_digits": 4, "timeout_seconds": 2}, "12", "timeout", "12"),
    ],
)
@pytest.mark.documents("gather", "gathered-data")
async def test_what_ends_it_and_with_which_status(
    autojump_clock: Clock, parameters: Document, digits: str, status: str, gathered: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(GATHER | parameters)
        report = await lab.call(digits=digits)
    (data,) = lab.data_of("call.gathered")
    assert (data["status"], data["digits"]) == (status, gathered)
    assert data["timed_out"] is (status == "timeout")
    assert report.actions[0].outcome == "accepted"


async def test_the_caller_may_hang_up_during_the_prompt(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(GATHER | {"prompt": "one two three four five"}, {"hold": {}})
        report = await lab.call(digits="1", hang_up_after=1.0)
    assert lab.data_of("call.gathered")[0]["status"] == "hangup"
    assert [event for event, _ in lab.events()][-1] == "call.completed"
    assert report.actions[1].detail == "the caller had hung up"


@pytest.mark.parametrize(
    ("changes", "digits", "expected"),
    [
        ({"gather_timeout": 2.0}, "", {"timeout_seconds": 2.0}),
        ({"gather_keeps_finish_key": True}, "1#", {"digits": "1#"}),
        ({"gather_timeout_restarts": True}, "1wwwwwwwwwwww#", {"digits": "1", "timed_out": True}),
        ({"gathered": "done"}, "1#", {"status": "done"}),
    ],
    ids=["timeout", "finish key", "restarts", "status"],
)
async def test_what_is_not_documented_of_it_is_a_setting(
    autojump_clock: Clock, changes: Document, digits: str, expected: Document
) -> None:
    async with open_lab() as lab:
        lab.answer_with(GATHER | {"num_digits": 4, "finish_on_key": "#"})
        await lab.call(digits=digits, assumptions=replace(ASSUMED, **changes))
    (data,) = lab.data_of("call.gathered")
    assert {name: data[name] for name in expected} == expected


async def test_tones_need_not_be_waited_for(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), {"send_digits": {"digits": "WW5"}}, {"hold": {}})
        await lab.call(assumptions=replace(ASSUMED, send_digits_waits=False))
    hold = next(moment.at for moment in lab.moments if "hold" in moment.text)
    assert hold == pytest.approx(0.0, abs=0.03)
