"""What consoles of several processes tell each other, in memory: what gets lost is known here."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import trio
import trio.testing

from benchmarks.console import SpokenStream, note_call
from minivoice_ref.console.exchange import Exchange
from minivoice_ref.console.feed import TICK, Feed
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.viewers import Viewer, Wants
from minivoice_ref.protocol.webhooks import CallEvent, read_event
from minivoice_ref.receiver.evidence import Line
from minivoice_ref.receiver.journal import Log
from minivoice_ref.receiver.talk import Alone, Hear, Outbox, Talk

_BEGAN = datetime(2026, 5, 29, 12, tzinfo=timezone.utc)
_CALLS = Wants(calls=True)


class Ether:
    """What carries the messages: at once, or, while `loses` says so of them, not at all."""

    def __init__(self) -> None:
        self.ears: dict[str, Hear] = {}
        self.said: list[tuple[str, str | None, bytes]] = []
        self.loses: Callable[[str, bytes], bool] = lambda sender, message: False
        self.is_full: Callable[[str, bytes], bool] = lambda sender, message: False

    def documents(self, sender: str, kind: str) -> list[dict[str, Any]]:
        """What was said of a kind, whether it was lost or not."""
        said = (json.loads(m) for who, _, m in self.said if who == sender and m[:1] == b"{")
        return [document for document in said if document["type"] == kind]


class Voice(Talk):
    """One process's side of the ether."""

    def __init__(self, ether: Ether, node: str) -> None:
        self.node = node
        self._ether = ether

    def send(self, message: bytes, to: str | None = None) -> bool:
        if self._ether.is_full(self.node, message):
            return False
        self._ether.said.append((self.node, to, message))
        if not self._ether.loses(self.node, message):
            for name in [to] if to else list(self._ether.ears):
                if name != self.node and name in self._ether.ears:
                    self._ether.ears[name](self.node, message)
        return True

    async def run(self, hear: Hear) -> None:
        self._ether.ears[self.node] = hear
        try:
            await trio.sleep_forever()
        finally:
            self._ether.ears.pop(self.node)


class Process:
    """The console of one process, as far as its feed."""

    def __init__(self, ether: Ether, node: str) -> None:
        self.node = node
        self.missed: list[tuple[str, int]] = []
        self.scope = trio.CancelScope()
        self.memory = Memory(
            lambda one: self.feed.is_live(one),
            _clock,
            lambda one: self.exchange.asking.is_gone(one),
        )
        self.exchange = Exchange(
            self.memory,
            Voice(ether, node),
            lambda: set(ether.ears) - {node},
            lambda *missed: self.missed.append(missed),
        )
        self.feed = Feed(self.memory, dict, self.exchange)

    async def run(  # noqa: ASYNC114  # what starts it waits for it
        self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Live until cancelled."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.exchange.run, self.feed.attend)
                nursery.start_soon(self.feed.run)
                await trio.testing.wait_all_tasks_blocked()
                task_status.started()

    def note(self, log: Log, what: str, **fields: Any) -> None:
        """Note a line, as the journal has it told."""
        line: Line = {
            "time": _now(), "log": log, "level": "info", "what": what, "node": self.node, **fields
        }  # fmt: skip
        self.memory.add(line)
        self.feed.line(line)

    def call(self, number: int) -> SpokenStream:
        """Have a call go on here."""
        stream = SpokenStream(number)
        self.feed.opened(stream)  # type: ignore[arg-type]  # as much of one as the feed uses
        note_call(self.note, number)
        return stream

    def end(self, number: int) -> None:
        """Have it end."""
        ids = {"call_id": f"call_{number}", "stream_id": f"stream_{number}"}
        self.note("streams", "disconnected", how="stopped", by="platform", **ids)
        self.note("streams", "account", tracks={}, **ids)
        self.feed.closed(ids["stream_id"])
        self.memory.reconsider(ids["stream_id"])

    def look(self, wants: Wants = _CALLS) -> Viewer:
        """Have somebody look."""
        viewer = Viewer(self.node)
        viewer.want(wants)
        viewer._stale = False
        self.feed.add(viewer)
        viewer._stale = False
        return viewer

    def card(self, number: int) -> dict[str, Any]:
        """A call as it would be shown now; empty for one that is not known."""
        known = self.memory.find(f"call_{number}")
        return {} if known is None else self.memory.look(known)


def _clock() -> float:
    return _BEGAN.timestamp() + trio.current_time()


def _now() -> str:
    moment = _BEGAN + timedelta(seconds=trio.current_time())
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@asynccontextmanager
async def processes(*nodes: str) -> AsyncIterator[tuple[Ether, list[Process]]]:
    """Some processes that hear each other while the block runs."""
    ether = Ether()
    made = [Process(ether, node) for node in nodes]
    async with trio.open_nursery() as nursery:
        for process in made:
            await nursery.start(process.run)
        yield ether, made
        nursery.cancel_scope.cancel()


def test_without_neighbours_there_is_nothing_to_tell() -> None:
    assert Alone().send(b"anything") and Alone().node == ""


async def test_nobody_looks_and_nothing_is_said(autojump_clock: trio.testing.MockClock) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        a.call(1)
        b.call(2).speak(0)
        await trio.sleep(60)
        assert ether.said == []


async def test_who_looks_is_shown_what_was_noted_elsewhere_before_and_since(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        stream = b.call(2)
        viewer = a.look()
        await trio.sleep(1)
        assert a.card(2)["live"] and a.card(2)["nodes"] == ["b"]
        b.call(3)
        stream.speak(0)
        await trio.sleep(0.5)
        assert a.card(3)["live"]
        b.end(3)
        await trio.sleep(0.5)
        assert not a.card(3)["live"] and a.card(3)["gone"] is None
        levels = [json.loads(m) for m in viewer._waiting if isinstance(m, str)]
        key = str(a.card(2)["key"])
        assert any(one["type"] == "levels" and one["levels"].get(key) for one in levels)
        a.feed.remove(viewer)
        await trio.sleep(1)
        said = len(ether.said)
        await trio.sleep(60)
        assert len(ether.said) == said and not b.feed._is_watched
        assert ether.said[-1][2] == b'{"type": "stop"}'


async def test_each_line_comes_once_and_at_its_place_also_when_it_is_told_twice(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (_, (a, b)):
        b.call(1)
        await trio.sleep(1)
        a.note("webhooks", "accepted", call_id="call_1", event="call.answered")
        await trio.sleep(1)
        b.end(1)
        for _again in range(3):
            viewer = a.look()
            await trio.sleep(2)
            a.feed.remove(viewer)
        known = a.memory.find("call_1")
        assert known is not None
        whats = [line["what"] for line in known.group.lines]
        assert whats == [
            *("answered", "open", "started", "first_media", "first_media"),
            *("accepted", "disconnected", "account"),
        ]
        tail = [line["what"] for line in a.memory.tails["streams"]]
        assert tail == whats[1:5] + whats[6:]


async def test_a_line_that_got_lost_is_asked_for_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        a.look()
        b.call(1)
        await trio.sleep(1)
        ether.loses = lambda sender, message: b'"account"' in message
        b.end(1)
        await trio.sleep(0.3)
        ether.loses = lambda sender, message: False
        await trio.sleep(3)
        assert not a.card(1)["live"]
        assert a.card(1)["steps"][4]["state"] == "ok" and a.card(1)["gone"] is None
        assert ["b"] in [asked["again"] for asked in ether.documents("a", "ask")]


async def test_a_process_that_is_silent_is_gone_until_it_speaks_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        a.look()
        b.call(1)
        await trio.sleep(1)
        ether.loses = lambda sender, message: True
        await trio.sleep(2)
        assert a.card(1)["live"] and a.card(1)["gone"] is None
        await trio.sleep(2)
        assert not a.card(1)["live"] and a.card(1)["gone"] == "b"
        assert a.exchange.asking.nodes() == {"a": "here"}
        await trio.sleep(10)  # b has forgotten by now that anybody asked
        assert not b.feed._is_watched
        b.call(2)
        ether.loses = lambda sender, message: False
        await trio.sleep(3)
        assert a.card(1)["live"] and a.card(1)["gone"] is None and a.card(2)["live"]


async def test_the_streams_of_a_process_that_was_started_again_are_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        a.look()
        b.call(1)
        await trio.sleep(1)
        b.scope.cancel()
        again = Process(ether, "b")
        for line in b.memory.lines_but_of(()):
            again.memory.add(line)  # as it is read back from the logs
        async with trio.open_nursery() as nursery:
            await nursery.start(again.run)
            await trio.sleep(2)
            assert not a.card(1)["live"] and a.card(1)["gone"] == "b"
            again.look()
            await trio.sleep(1)
            assert again.card(1)["gone"] == "b"
            nursery.cancel_scope.cancel()


async def test_what_is_looked_at_is_told_closely_and_what_is_listened_to_is_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        streams = [b.call(number) for number in range(2)]
        viewer = a.look()
        await trio.sleep(1)
        looks = Wants(call="call_0")
        for wants, audible in ((looks, False), (Wants(call="call_0", listen=True), True)):
            viewer.want(wants)
            a.feed.attend()
            viewer._stale = False
            ether.said.clear()
            for tick in range(20):
                for stream in streams:
                    stream.speak(tick)
                await trio.sleep(0.02)
            await trio.sleep(0.3)
            heard = [message for _, _, message in ether.said if message[:1] == b"\0"]
            assert bool(heard) == audible and all(b"\0stream_0\0" in one for one in heard)
            waiting = list(viewer._waiting)
            assert any(isinstance(one, bytes) for one in waiting) == audible
            peaks = [one for one in waiting if isinstance(one, str) and '"peaks"' in one]
            assert peaks and not any("stream_1" in one for one in peaks)
            (sums,) = json.loads(next(m for m in reversed(waiting) if '"call"' in str(m)))[
                "streams"
            ]
            assert sums["id"] == "stream_0" and sums["messages"] == 1


async def test_who_does_not_listen_gets_no_audio_where_another_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b", "c") as (ether, (a, b, c)):
        stream = b.call(1)
        a.look(Wants(call="call_1"))
        c.look(Wants(call="call_1", listen=True))
        await trio.sleep(1)
        for tick in range(20):
            stream.speak(tick)
            await trio.sleep(0.02)
        assert {to for _, to, message in ether.said if message[:1] == b"\0"} == {"c"}


async def test_a_slow_way_drops_and_counts_and_no_round_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        stream = b.call(1)
        viewer = a.look()
        await trio.sleep(1)
        ether.is_full = lambda sender, message: sender == "b"
        for tick in range(200):
            stream.speak(tick)
            await trio.sleep(0.02)
        b.end(1)
        await trio.sleep(0.5)
        ether.is_full = lambda sender, message: False
        await trio.sleep(5)
        assert not a.card(1)["live"] and a.card(1)["gone"] is None  # the line was asked for again
        a.feed.remove(viewer)
        await trio.sleep(1)
        ((node, missed),) = b.missed
        assert node == "a" and missed >= 10


async def test_the_past_waits_for_room_and_comes_in_pieces(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        for number in range(150):
            b.call(number)
        b.note("streams", "console_opened", peer="192.0.2.1:1")  # of no call
        turns: Iterator[int] = itertools.count()
        ether.is_full = lambda sender, message: sender == "b" and next(turns) % 3 != 0
        a.look()
        await trio.sleep(5)
        pieces = [len(json.dumps(one)) for one in ether.documents("b", "told")]
        assert len(pieces) > 5 and max(pieces) < 64 * 1024
        assert all(a.card(number)["live"] for number in range(150))
        assert [line["what"] for line in a.memory._groups.loose] == ["console_opened"]
        assert a.exchange.asking.is_gone("b")  # all of it has come


async def test_of_three_each_tells_what_it_noted_itself_and_of_the_dead_what_it_knows(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with processes("a", "b", "c") as (ether, (a, b, c)):
        c.call(1)
        viewer = b.look()
        await trio.sleep(1)
        ether.said.clear()
        a.look()
        await trio.sleep(1)
        told = [one for one in ether.documents("b", "told") if one["lines"]]
        assert a.card(1)["live"] and told == []
        b.feed.remove(viewer)
        c.scope.cancel()
        d = Process(ether, "d")
        async with trio.open_nursery() as nursery:
            await nursery.start(d.run)
            d.look()
            await trio.sleep(4)
            assert d.card(1)["gone"] == "c"
            nursery.cancel_scope.cancel()


def _event(call_id: str, number: str, status: str) -> CallEvent:
    call = {"id": call_id, "from": number, "to": "+1", "direction": "inbound", "status": status}
    body = {"event": "call.created", "created_at": "2026-05-29T12:00:00Z", "call": call}
    return read_event(json.dumps(body | {"variables": {}, "data": {}}).encode())


async def test_who_calls_whom_comes_along(autojump_clock: trio.testing.MockClock) -> None:
    async with processes("a", "b") as (_, (a, b)):
        b.memory.hear(_event("call_1", "+4930", "ringing"))
        b.call(1)
        a.look()
        await trio.sleep(1)
        b.memory.hear(_event("call_2", "+4940", "ringing"))
        b.call(2)
        await trio.sleep(1)
        assert [a.card(number)["from"] for number in (1, 2)] == ["+4930", "+4940"]


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\0", b"\0stream_1", b"no json", b"[]", b"{}", b"7", b"[" * 100000,
        b'{"type": "ask"}', b'{"type": "ask", "streams": {"s": 9}, "again": [], "glance": true}',
        b'{"type": "ask", "streams": [], "again": [], "glance": true}',
        b'{"type": "told", "life": "x"}', b'{"type": "seen", "life": "x", "seen": 1}',
        b'{"type": "told", "life": "x", "number": 1, "whole": true, "live": [[]], "parties": {},'
        b' "lines": []}',
        b'{"type": "told", "life": "x", "number": 1, "whole": true, "live": ["s"],'
        b' "parties": {"c": 1}, "lines": []}',
        b'{"type": "told", "life": "x", "number": 1, "whole": true, "live": ["s"], "parties": {},'
        b' "lines": [1, {"log": "streams"}, {"log": "streams", "what": "open", "time": 5}]}',
        b'{"type": "seen", "life": "x", "seen": {"s": {"levels": 5}}}',
    ],
)  # fmt: skip
async def test_what_another_version_says_harms_nobody(
    message: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        b.call(1)
        a.look()
        await trio.sleep(1)
        for _ in range(3):
            for sender in ("b", "stranger"):
                ether.ears["a"](sender, message)
            await trio.sleep(TICK)
        await trio.sleep(6)
        assert a.card(1)["live"]


async def test_what_was_not_asked_for_is_not_taken(autojump_clock: trio.testing.MockClock) -> None:
    async with processes("a", "b") as (ether, (a, b)):
        told = {
            "type": "told", "life": "x", "number": 1, "whole": True, "live": ["stream_1"],
            "parties": {}, "lines": [],
        }  # fmt: skip
        ether.ears["a"]("b", json.dumps(told).encode())
        assert not a.feed.is_live("stream_1")
        b.call(1)
        a.look()
        await trio.sleep(1)
        seen = {"levels": {"inbound": 9}, "peaks": {"inbound": [[0, 9]]}, "state": {}}
        for stream_id in ("stream_1", "stream_unknown"):
            heard = {"type": "seen", "life": b.exchange.telling._life, "seen": {stream_id: seen}}
            ether.ears["a"]("b", json.dumps(heard).encode())
            ether.ears["a"]("b", b"\0" + stream_id.encode() + b"\0pcm")
        ether.ears["a"]("c", b"\0stream_1\0pcm")
        distant = a.exchange.asking.streams["stream_1"]
        assert distant.levels() == {"inbound": 9} and distant.levels() == {}
        assert distant.take_peaks() == {} and distant.take_audio() == b""


async def test_so_many_may_ask_and_so_many_are_heard(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minivoice_ref.console.telling._MOST_WATCHERS", 1)
    monkeypatch.setattr("minivoice_ref.console.asking._MOST_NODES", 1)
    async with processes("a", "b", "c") as (_, (a, b, c)):
        a.look()
        await trio.sleep(1)
        assert len(a.exchange.asking.nodes()) == 2
        b.look()
        await trio.sleep(1)
        assert list(c.exchange.telling._watchers) == ["a"]


def test_what_waits_to_be_sent_is_bounded_for_each_addressee() -> None:
    outbox = Outbox()
    assert all(outbox.put("a", b"x") for _ in range(512)) and not outbox.put("a", b"x")
    outbox.sent("a")
    assert outbox.put("a", b"y")
    assert outbox.put("b", bytes(2 * 1024 * 1024)) and not outbox.put("b", b"x")
    outbox.clear("a")
    assert outbox.addressees() == ["b"] and outbox.first("a") is None
    outbox.sent("b")
    assert outbox.addressees() == []


async def test_who_sends_waits_until_there_is_something() -> None:
    outbox = Outbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.something)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put("a", b"x")
    await outbox.something()
