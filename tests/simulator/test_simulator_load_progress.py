"""The display of a load: one line, as wide as the terminal at most, and plain lines elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing
from simulator_lab import ANSWER_URL, WEBHOOK_URL, open_lab

from minivoice_ref.simulator.call import CallPlan
from minivoice_ref.simulator.load import Load, LoadPlan, Progress
from minivoice_ref.simulator.load_progress import draw_progress, in_one_line, print_progress

Clock = trio.testing.MockClock

BEFORE = Progress(
    elapsed=10.0,
    planned=100,
    ringing=0,
    streaming=0,
    done=0,
    failed=0,
    frames=1000,
    lateness=1.0,
    worst=0.0,
)
NOW = Progress(
    elapsed=10.5,
    planned=100,
    ringing=3,
    streaming=40,
    done=24,
    failed=1,
    frames=3000,
    lateness=2.5,
    worst=0.0123,
)
WHOLE = (
    "[#####...............] 25/100  ringing 3  streaming 40  done 24  failed 1"
    "  4000 frames/s  late 0.8 ms  worst 12.3 ms"
)
PLAN = LoadPlan(
    call=CallPlan(answer_url=ANSWER_URL, webhook_url=WEBHOOK_URL, speak=12.0, speech_programs=()),
    calls=4,
    rate=2.0,
    steady=True,
)


def test_a_wide_terminal_shows_everything() -> None:
    assert in_one_line(BEFORE, NOW, 200) == WHOLE


@pytest.mark.parametrize("width", range(0, len(WHOLE) + 2))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    line = in_one_line(BEFORE, NOW, width)
    assert len(line) <= width
    if width >= len("ringing 3  streaming 40  done 24  failed 1"):
        assert "ringing 3  streaming 40  done 24  failed 1" in line


def test_a_narrow_terminal_shows_how_many_calls_rather_than_how_late() -> None:
    counts = "ringing 3  streaming 40  done 24  failed 1"
    assert in_one_line(BEFORE, NOW, 66) == f"25/100  {counts}  4000 frames/s"
    assert in_one_line(BEFORE, NOW, 60) == f"25/100  {counts}"
    assert in_one_line(BEFORE, NOW, 48) == counts


def test_a_plain_line_has_no_bar() -> None:
    assert in_one_line(BEFORE, NOW, None) == WHOLE.partition("] ")[2]


def test_no_time_and_no_frames_are_no_division_by_zero() -> None:
    assert "0 frames/s  late 0.0 ms" in in_one_line(NOW, NOW, None)
    assert "0 frames/s" in in_one_line(BEFORE, replace(BEFORE, elapsed=11.0), None)


async def test_the_line_is_drawn_over_itself_twice_a_second(autojump_clock: Clock) -> None:
    written: list[str] = []

    async def write(text: str) -> None:
        await trio.lowlevel.checkpoint()
        written.append(text)

    async with open_lab() as lab:
        load = Load(PLAN, lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(draw_progress, load, write, lambda: 60)
            await trio.sleep(0.25)  # the redraws then are never in the instant of a beginning
            report = await load.run()
            nursery.cancel_scope.cancel()
    assert report.good
    assert len(written) == pytest.approx(2 * report.seconds, abs=1)
    for text in written:
        assert text.startswith("\r") and text.endswith("\x1b[K")
        assert len(text) <= 60 + len("\x1b[K") and "\n" not in text
    assert "streaming 4  done 0  failed 0  400 frames/s" in written[10]


async def test_plain_lines_come_every_few_seconds(autojump_clock: Clock) -> None:
    written: list[str] = []

    async def write(text: str) -> None:
        await trio.lowlevel.checkpoint()
        written.append(text)

    async with open_lab() as lab:
        load = Load(PLAN, lab.network.connect)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(print_progress, load, write)
            await load.run()
            nursery.cancel_scope.cancel()
    assert [text[:9] for text in written] == ["    5.0 s", "   10.0 s"]
    assert all(" s  0/4  ringing" in text and text.endswith("ms\n") for text in written)
    assert not any("\x1b" in text for text in written)
