"""What the console costs a receiver: nothing unwatched, little watched, and never a stream's time.

How much of a core it is, `benchmarks/console.py` measures; here is what can be counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

import pytest
import trio
import trio.testing
from console_lab import open_console_lab
from receiver_lab import patient

import minivoice_ref.console
from benchmarks.console import SpokenStream, note_call
from minivoice_ref.console.feed import TICK, Feed
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.viewers import Viewer, Wants
from minivoice_ref.receiver.evidence import Line
from minivoice_ref.receiver.journal import Log

ROOT = Path(__file__).parents[2]
_CONSOLE = str(Path(minivoice_ref.console.__file__).parent)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls of the console's functions by name while the block runs."""
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_CONSOLE):
            calls[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_without_a_viewer_nothing_is_computed(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab, lab.stream() as caller:
        await caller.start()
        await caller.speak(50)
        with counted() as calls:
            await caller.speak(200, first=50)
        assert calls == {}
        with counted() as calls:
            await caller.digit("7")
            await trio.testing.wait_all_tasks_blocked()
        # A line is remembered, in its group; nothing is concluded from it.
        assert calls == {"line": 2, "add": 1, "_trim": 1}
        async with lab.browser() as browser:
            with counted() as calls:
                await browser.look(calls=True, call="call_1")
                await browser.until("calls", lambda m: m["calls"])
        assert calls["card_of"] > 0


@pytest.mark.parametrize("wants", [Wants(calls=True), Wants(call="call_7"), Wants(logs=True)])
async def test_what_is_computed_does_not_grow_with_the_viewers(wants: Wants) -> None:
    await trio.lowlevel.checkpoint()
    alone, many = (_a_second(viewers, wants) for viewers in (1, 10))
    computed = ("peak_of", "take_peaks", "levels", "state", "_conclude", "_call", "_runs", "take")
    assert {name: alone[name] for name in computed} == {name: many[name] for name in computed}
    # What comes with each viewer is to look what it wants and to put it into its queue.
    assert many.total() - alone.total() < 9 * 20 * 30


def _line(log: Log, what: str, **fields: object) -> Line:
    time = "2026-05-29T12:00:00+00:00"
    return {"time": time, "log": log, "level": "info", "what": what, **fields}


def _a_second(viewers: int, wants: Wants) -> Counter[str]:
    """Count what is done in a second of a hundred calls with so many viewers."""
    memory = Memory(lambda stream_id: True, lambda: 1_780_000_000.0)
    feed = Feed(memory, dict)

    def note(log: Log, what: str, **fields: object) -> None:
        memory.add(_line(log, what, **fields))

    streams = [SpokenStream(number) for number in range(100)]
    for number, stream in enumerate(streams):
        note_call(note, number)
        feed.opened(stream)  # type: ignore[arg-type]  # as much of one as the feed uses
    for number in range(viewers):
        viewer = Viewer(f"viewer {number}")
        viewer.want(wants)
        viewer._stale = False
        feed.add(viewer)
        viewer._stale = False
    feed.attend()
    with counted() as calls:
        for number in range(20):
            for tick in (0, 1, 2)[: 3 - number % 2]:
                for stream in streams:
                    stream.speak(5 * number // 2 + tick)
            feed.round(number)
    return calls


async def test_what_is_taken_once_comes_to_all_who_want_it() -> None:
    await trio.lowlevel.checkpoint()
    memory = Memory(lambda stream_id: stream_id == "stream_0", lambda: 1_780_000_000.0)
    feed = Feed(memory, dict)
    stream = SpokenStream(0)
    feed.opened(stream)  # type: ignore[arg-type]  # as much of one as the feed uses
    for call_id in ("call_0", "call_over"):
        stream_id = call_id.replace("call", "stream")
        memory.add(_line("streams", "open", call_id=call_id, stream_id=stream_id))
    viewers = [Viewer(f"viewer {number}") for number in range(2)]
    for viewer in viewers:
        feed.add(viewer)
        viewer.want(Wants(calls=True, call="call_0", listen=True))
        viewer._stale = False
    feed.attend()
    stream.speak(0)
    feed.round(0)
    first, second = (list(viewer._waiting) for viewer in viewers)
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert [len(audio) for audio in first if isinstance(audio, bytes)] == [2 * (16 + 320)]
    texts = [json.loads(text) for text in first if isinstance(text, str)]
    levels = next(one["levels"] for one in texts if one["type"] == "levels")
    assert len(levels) == 1 and {"peaks", "calls", "call"} < {one["type"] for one in texts}


async def test_what_one_viewer_is_shown_another_is_told_too() -> None:
    """A card that is made for the state of one is news for the list of the other."""
    await trio.lowlevel.checkpoint()
    memory = Memory(lambda stream_id: True, lambda: 1_780_000_000.0)
    feed = Feed(memory, dict)
    first, second = Viewer("first"), Viewer("second")
    for viewer in (first, second):
        feed.add(viewer)
        viewer.want(Wants(calls=True))
    list(feed.state(first))
    first._stale = False
    memory.add(_line("answers", "answered", call_id="call_1", actions=[]))
    list(feed.state(second))
    feed.round(5)
    (told,) = first._waiting
    assert [card["name"] for card in json.loads(told)["calls"]] == ["call_1"]


async def test_what_the_view_of_a_call_finds_out_its_line_in_the_list_shows_as_well(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After ten seconds without a stream a call is over; whoever asks first learns it first."""
    began = datetime(2026, 5, 29, 12, tzinfo=timezone.utc).timestamp()
    memory = Memory(lambda stream_id: False, lambda: began + trio.current_time())
    feed = Feed(memory, dict)
    lister, looker = Viewer("of the list"), Viewer("of the call")
    memory.add(_line("answers", "answered", call_id="call_1", actions=[]))
    for viewer, wants in ((lister, Wants(calls=True)), (looker, Wants(call="call_1"))):
        feed.add(viewer)
        viewer.want(wants)
        list(feed.state(viewer))
        viewer._stale = False
    for number in range(1, 400):
        await trio.sleep(TICK)
        feed.round(number)
    cards = [card for told in lister._waiting for card in json.loads(told)["calls"]]
    assert [card["over"] for card in cards] == [True]


def test_that_a_stream_is_open_no_more_changes_its_call_without_a_line() -> None:
    live = {"stream_0"}
    memory = Memory(lambda stream_id: stream_id in live, lambda: 1_780_000_000.0)
    memory.add(_line("streams", "open", call_id="call_0", stream_id="stream_0"))
    assert [card["live"] for card in memory.changes(unsettled=True)] == [True]
    live.clear()
    assert memory.changes(unsettled=True) == []
    memory.reconsider("stream_0")
    memory.reconsider("stream of a probe")
    assert [card["live"] for card in memory.changes(unsettled=False)] == [False]


async def test_a_call_whose_stream_has_ended_is_live_no_more_though_no_webhook_comes(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_console_lab(tmp_path, timeouts=patient()) as lab, lab.browser() as browser:
        await browser.look(calls=True, call="call_1")
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(100)
            await caller.stop()
            await caller.close_code()
        cards = await browser.until("calls", lambda m: any(not c["live"] for c in m["calls"]))
        assert [card["name"] for card in cards["calls"]] == ["call_1"]
        await browser.until("calls", lambda m: any(card["over"] for card in m["calls"]))


async def test_a_list_that_nobody_looks_at_is_not_made() -> None:
    await trio.lowlevel.checkpoint()
    memory = Memory(lambda stream_id: True, lambda: 1_780_000_000.0)
    feed = Feed(memory, dict)
    viewer = Viewer("of the logs")
    feed.add(viewer)
    viewer.want(Wants(logs=True))
    memory.add(_line("answers", "answered", call_id="call_1", actions=[]))
    with counted() as calls:
        for number in range(40):
            feed.round(number)
    assert calls["card_of"] == 0


async def test_a_slow_browser_gets_the_present_state_and_no_stream_waits_for_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_console_lab(tmp_path, timeouts=patient(send=1000, pong=1000)) as lab,
        lab.browser() as browser,
        lab.stream() as caller,
    ):
        await caller.start()
        await browser.look(call="call_1", listen=True)
        began = trio.current_time()
        await caller.speak(3000, "inbound")
        assert trio.current_time() - began == pytest.approx(60, abs=0.1)
        whole = await browser.until(
            "call", lambda m: m["all"] and m["streams"] and m["streams"][0]["tracks"]
        )
        sums = whole["streams"][0]["tracks"]["inbound"]
        assert sums["seconds"] == pytest.approx(60, abs=0.5) and sums["lost"] == 0
        assert sum(map(len, browser.audio)) < 2 * 8000 * 20  # bytes of a minute's 960,000


def test_the_benchmark_tells_of_each_way_to_look(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.console", "--calls", "3", "--viewers", "2"]
    command += ["--seconds", "0.3", "--repeat", "1", "--output", str(tmp_path / "console.json")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / "console.json").read_text("utf-8"))
    assert found["measured"] == {"calls": 3, "viewers": 2, "seconds": 0.3, "repeat": 1}
    ways = [one["looking_at"] for one in found["runs"]]
    assert ways[0] == "nothing: no viewer" and "the list" in ways
    assert "everything ten times a second, unread" in ways
    assert all(one["longest_step_ms"] > 0 for one in found["runs"])
    assert len(run.stdout.splitlines()) > len(ways)
