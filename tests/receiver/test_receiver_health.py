"""`/health` and `/ready`: what wakes people up, and what turns a balancer away."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import trio
import trio.testing
from receiver_lab import open_lab, settings, webhook
from test_receiver_webhooks import FailingDisk
from trio.testing import MockClock

from minivoice_ref.config import Limits
from minivoice_ref.net.http import Response
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import Disk, InlineDisk


def reasons(response: Response) -> list[str]:
    document = json.loads(response.body)
    assert document["ready"] is (response.status == 200) is not document["reasons"]
    found = document["reasons"]
    assert isinstance(found, list)
    return found


async def test_a_receiver_with_room_wants_more_calls(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        response = await lab.request("GET", "/ready")
        assert response.status == 200
        assert json.loads(response.body) == {
            "ready": True, "reasons": [], "streams": 0, "loop_lag_ms": 0.0,
        }  # fmt: skip


async def test_a_receiver_with_all_its_streams_wants_no_more_and_is_well(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, limits=Limits(streams=1))) as lab:
        async with lab.stream("call_1"):
            full = await lab.request("GET", "/ready")
            assert (await lab.request("GET", "/health")).status == 200
        await trio.testing.wait_all_tasks_blocked()
        free = await lab.request("GET", "/ready")
    assert full.status == 503 and full.header("retry-after") == "5"
    assert free.status == 200


async def test_a_receiver_whose_event_loop_turns_late_wants_no_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    answers: list[Response] = []
    async with open_lab(App(), settings(tmp_path)) as lab:

        async def ask() -> None:
            answers.append(await lab.request("GET", "/ready"))

        for late in (0.05, 0.3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.sleep(0.01)
                autojump_clock.jump(late)  # as a task does that keeps the loop for so long
    assert [answer.status for answer in answers] == [200, 503]
    assert reasons(answers[1]) == ["the event loop turns 290 ms late (ready_lag)"]


async def test_a_receiver_that_drains_wants_no_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        async with lab.stream("call_1"):
            lab.server.stop()
            answer = await lab.request("GET", "/ready")
    assert reasons(answer) == ["about to stop: no new streams"]


async def test_it_tells_when_on_event_returns_from_nothing_any_more(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Eight events are handled at once; while a ninth can be begun, slowness troubles nobody."""
    go_on = trio.Event()

    async def on_event(event: CallEvent) -> None:
        await go_on.wait()

    async def troubles() -> list[str]:
        response = await lab.request("GET", "/health")
        assert response.status == 200  # events are accepted all the same
        found = json.loads(response.body)["troubles"]
        assert isinstance(found, list)
        return found

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        for number in range(7):
            await lab.deliver(webhook(call_id=f"call_{number}"))
        await trio.sleep(100)
        assert await troubles() == []
        await lab.deliver(webhook(call_id="call_7"))
        assert await troubles() == []
        await trio.sleep(70)
        assert await troubles() == ["on_event has not returned for 70 s: no event can begin"]
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await troubles() == []


async def test_on_event_is_not_blamed_for_a_disk_that_is_full(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    go_on, disk = trio.Event(), FailingDisk()

    async def on_event(event: CallEvent) -> None:
        await go_on.wait()

    given: list[Disk] = [disk]
    async with open_lab(
        App(on_event=on_event),
        settings(tmp_path),
        disk=lambda threads: given.pop(0) if given else InlineDisk(threads),
    ) as lab:
        for number in range(8):
            await lab.deliver(webhook(call_id=f"call_{number}"))
        await trio.testing.wait_all_tasks_blocked()
        disk.error = sqlite3.OperationalError("database or disk is full")
        go_on.set()
        await trio.sleep(100)
        response = await lab.request("GET", "/health")
        assert json.loads(response.body)["troubles"] == ["webhooks cannot be stored"]
        disk.error = None
