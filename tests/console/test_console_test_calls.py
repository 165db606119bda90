"""Test calls from the page: orders, the microphone, and who places them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from console_lab import Silence, open_console_lab
from receiver_lab import patient

from minivoice_ref.console.test_calls import Microphone, Order, read_order
from minivoice_ref.console_calls import LiveVoice, SimulatedCalls, stream_as_ordered
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.receiver.app import AnswerRequest, App
from minivoice_ref.simulator.speech import SILENCE

GOOD = {"speak": 2, "track": "both", "dialect": "twilio", "faults": ["cut=1", "no-stop"]}


def test_an_order_is_what_the_form_says() -> None:
    order = read_order(GOOD, None)
    assert (order.speak, order.track, order.faults) == (2.0, "both", ("cut=1", "no-stop"))


@pytest.mark.parametrize(
    "change",
    [
        {"speak": 0},
        {"speak": 10000},
        {"speak": "2"},
        {"track": "sideways"},
        {"dialect": None},
        {"faults": "cut"},
        {"faults": ["cut=1; rm"]},
        {"faults": ["cut"] * 17},
        {"faults": [1]},
    ],
)
def test_an_order_that_the_form_cannot_make_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_order(GOOD | change, None)
    assert caught.value.close_code == 1008


async def test_an_order_is_placed_and_what_happens_is_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    caller = Silence()
    async with open_console_lab(tmp_path, caller=caller) as lab, lab.browser() as browser:
        hello = await browser.until("hello")
        assert hello["test"]["dialects"] == ["twilio"]
        await browser.ask("test", number=7, order=GOOD)
        news = await browser.until("test")
        assert (news["number"], news["call_id"]) == (7, "call_1")
        await browser.ask("hang_up")
        with trio.fail_after(5):
            await caller.orders[0].hang_up.wait()
        caller.done.set()
        assert (await browser.until("test"))["report"]["passed"]
        (noted,) = await lab.lines("streams", "test_call")
        assert noted["faults"] == ["cut=1", "no-stop"]


async def test_a_fifth_call_at_once_has_to_wait(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    caller = Silence()
    async with open_console_lab(tmp_path, caller=caller) as lab, lab.browser() as browser:
        for number in range(5):
            await browser.ask("test", number=number, order=GOOD)
        problem = await browser.until("test", lambda news: news.get("problem"))
        assert problem["number"] == 4 and "4 test calls" in problem["problem"]
        assert len(caller.orders) == 4


async def test_a_console_without_a_caller_says_how_to_have_one(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path) as lab, lab.browser() as browser:
        assert (await browser.until("hello"))["test"] is None
        await browser.ask("hang_up")  # nothing to hang up
        await browser.ask("test", number=1, order=GOOD)
        assert "console_test_calls" in (await browser.until("test"))["problem"]


async def test_the_microphone_of_a_call_is_what_its_browser_sends(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    caller = Silence()
    async with open_console_lab(tmp_path, caller=caller) as lab, lab.browser() as browser:
        await browser.socket.send(b"\1\2" * 160)  # nobody speaks yet: let go
        await browser.ask("test", number=1, order=GOOD, microphone=True)
        for _ in range(6):
            await browser.socket.send(b"\0\x20" * 160)
        await browser.ask("check", number=2, text="{}")
        await browser.until("checked")
        microphone = caller.orders[0].microphone
        assert microphone is not None and microphone.take() != SILENCE


def test_the_microphone_gathers_a_little_before_it_speaks_and_again_after_a_pause() -> None:
    microphone, loud = Microphone(), b"\0\x20" * 160
    microphone.put(loud)
    microphone.put(b"of another size")
    assert microphone.take() == SILENCE
    for _ in range(3):
        microphone.put(loud)
    assert [microphone.take() != SILENCE for _ in range(6)] == [True] * 4 + [False] * 2
    for _ in range(200):
        microphone.put(loud)
    spoken = 0
    while microphone.take() != SILENCE:
        spoken += 1
    assert spoken == 50


def test_a_live_voice_is_the_same_for_every_stream_that_asks() -> None:
    frames = iter([bytes([number]) * 160 for number in range(200)])
    voice = LiveVoice("somebody", (SILENCE,), take=lambda: next(frames))
    assert voice.frame(5)[0] == 0 and voice.frame(6)[0] == 1
    assert voice.frame(5)[0] == 0
    assert voice.frame(4) == SILENCE  # nobody was asked then
    for tick in range(7, 100):
        voice.frame(tick)
    assert voice.frame(5) == SILENCE  # too long ago


async def place(calls: SimulatedCalls, order: Order) -> list[Mapping[str, Any]]:
    told: list[Mapping[str, Any]] = []
    await calls.place(order, told.append)
    return told


async def test_the_simulator_places_the_call_that_was_ordered(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    app = App(on_answer=stream_as_ordered)
    async with open_console_lab(tmp_path, app=app, timeouts=patient()) as lab:
        calls = SimulatedCalls(lab.network.connect, None)
        (early,) = await place(calls, Order())
        assert "not open yet" in early["problem"]
        calls.urls = lab.server.urls
        told = await place(calls, Order(speak=1, track="inbound"))
        assert told[0]["call_id"].startswith("call_")
        assert told[-1]["report"]["passed"], told[-1]
        assert any("moment" in news for news in told)
        (account,) = await lab.lines("streams", "account")
        assert list(account["tracks"]) == ["inbound"]
        (wrong,) = await place(calls, Order(faults=("no-such-fault",)))
        assert "is not a fault" in wrong["problem"]
        assert {"cut", "lose"} <= {fault["name"] for fault in calls.options()["faults"]}


async def test_who_hangs_up_ends_the_call(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab:
        calls = SimulatedCalls(lab.network.connect, None)
        calls.urls = lab.server.urls
        microphone = Microphone()
        order = Order(speak=500, microphone=microphone)

        async def hang_up() -> None:
            await trio.sleep(3)
            order.hang_up.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            told = await place(calls, order)
        assert told[-1]["report"]["passed"]
        assert trio.current_time() < 60


async def test_another_track_than_the_three_is_the_settings_business() -> None:
    for query, track in (
        ({"console_track": "outbound"}, "outbound"),
        ({"console_track": "x"}, "both"),
    ):
        answer = await stream_as_ordered(AnswerRequest(query=query))
        assert answer.actions[0].get("track") == track
