"""custom_answer.py: the narrowest track of who calls; the stream stops before the transfer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from examples_lab import load, run

from minivoice_ref import Answer, AnswerRequest
from minivoice_ref.protocol.webhooks import CallEvent, read_event

custom_answer = load("custom_answer")


@pytest.mark.documents("narrowest-track", "redirect-reaches-stop")
def test_each_caller_is_heard_as_the_table_says_and_transferred_unheard(tmp_path: Path) -> None:
    calls = run("custom_answer.py", cwd=tmp_path).split("\n+")
    told = {call.lstrip("+").split()[0]: call for call in calls}
    assert all(": pass\n" in call for call in calls) and len(calls) == 4
    assert "heard: both, {'inbound'" in told["15551230001"]
    assert "heard: inbound, {'inbound'" in told["15554440001"]
    assert "heard: outbound, {'outbound'" in told["15559000001"]
    assert "heard" not in told["442071838750"]
    for number, destination in (
        ("15551230001", "+15551230100"),
        ("15554440001", "sip:repairs@example.com"),
        ("15559000001", "+15551230199"),
        ("442071838750", "+15551230100"),
    ):
        stop, transfer = told[number].strip().splitlines()[-2:]
        assert "list 2, actions[0] stop_stream: accepted" in stop
        assert f"list 2, actions[1] transfer: accepted: the call goes on with {destination}" in (
            transfer
        )


def request(**values: Any) -> AnswerRequest:
    return AnswerRequest(call_id="call_1", headers=(("host", "app.example.com"),), **values)


def types(answer: Answer) -> list[str]:
    return [action.type for action in answer.actions]


@pytest.mark.parametrize(
    "fields",
    [{}, {"call": {"from": None}}, {"call": {}}, {"call": "call_1"}],
    ids=str,
)
async def test_who_cannot_be_told_is_not_heard(fields: Mapping[str, object]) -> None:
    answer = await custom_answer.CallFlow().on_answer(request(fields=fields))
    assert types(answer) == ["say", "gather", "redirect"] and not answer.problems()


async def test_a_caller_is_found_in_the_query_too() -> None:
    answer = await custom_answer.CallFlow().on_answer(request(query={"from": "+15551230001"}))
    assert types(answer)[0] == "start_stream" and not answer.problems()


def gathered(call_id: str, digits: str) -> CallEvent:
    return read_event(b"""{"event": "call.gathered", "created_at": "2026-05-29T12:10:00Z",
        "call": {"id": "%s"}, "data": {"digits": "%s"}}""" % (call_id.encode(), digits.encode()))


async def transferred_to(flow: Any, call_id: str) -> object:
    answer = await flow.on_answer(request(query={"list": "second", "call": call_id}))
    assert types(answer) == ["stop_stream", "transfer"] and not answer.problems()
    return answer.actions[1].parameters["destination"]


async def test_the_second_list_waits_for_the_key_and_not_for_that_of_another_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flow = custom_answer.CallFlow()

    async def press() -> None:
        await trio.sleep(0.5)
        await flow.on_event(gathered("call_2", "1"))
        await trio.sleep(0.5)
        await flow.on_event(gathered("call_1", "2"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(press)
        assert await transferred_to(flow, "call_1") == custom_answer.DEPARTMENTS["2"]
    assert trio.current_time() == pytest.approx(1.0)
    assert await transferred_to(flow, "call_2") == custom_answer.DEPARTMENTS["1"]


async def test_who_says_nothing_in_time_gets_anybody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    assert await transferred_to(custom_answer.CallFlow(), "call_1") == custom_answer.ANYBODY
    assert trio.current_time() - began == pytest.approx(custom_answer.PATIENCE)


async def test_keys_that_nobody_asks_for_are_forgotten_oldest_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    flow = custom_answer.CallFlow()
    for number in range(custom_answer.MOST_CALLS + 1):
        await flow.on_event(gathered(f"call_{number}", "1"))
    assert await transferred_to(flow, "call_0") == custom_answer.ANYBODY
    assert await transferred_to(flow, "call_1") == custom_answer.DEPARTMENTS["1"]
