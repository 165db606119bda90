"""A load while it runs: one line that is drawn over itself on a terminal, plain lines elsewhere.

A line is written in one piece and its rest erased behind it, never before it: nothing flickers. It
is made to fit the terminal as wide as that is at the moment, by leaving out what matters least.

It must not know where it is written to, nor wait there: whoever calls brings a `write` that may
take its time (a terminal can be stopped with Ctrl-S) and must not hold up the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from minivoice_ref.simulator.load import Load, Progress

__all__ = ["draw_progress", "in_one_line", "print_progress"]

_REDRAW = 0.5
_ERASE_REST = "\x1b[K"
_BAR = 20


async def draw_progress(
    load: Load, write: Callable[[str], Awaitable[None]], width: Callable[[], int]
) -> None:
    """Draw the line of *load* twice a second, at most *width* columns, until cancelled."""
    before = load.progress()
    while True:
        await trio.sleep(_REDRAW)
        now = load.progress()
        await write("\r" + in_one_line(before, now, width() - 1) + _ERASE_REST)
        before = now


async def print_progress(
    load: Load, write: Callable[[str], Awaitable[None]], every: float = 5.0
) -> None:
    """Write a line about *load* each *every* seconds until cancelled."""
    before = load.progress()
    while True:
        await trio.sleep(every)
        now = load.progress()
        await write(f"{now.elapsed:7.1f} s  {in_one_line(before, now, None)}\n")
        before = now


def in_one_line(before: Progress, now: Progress, width: int | None) -> str:
    """How far a load has come *now*, and how fast it went since *before*.

    In at most *width* columns; None: as many as it takes, and without a bar.
    """
    over = now.done + now.failed
    seconds, frames = now.elapsed - before.elapsed, now.frames - before.frames
    speed = frames / seconds if seconds > 0 else 0.0
    late = (now.lateness - before.lateness) / frames if frames > 0 else 0.0
    counts = (
        f"ringing {now.ringing}  streaming {now.streaming}  done {now.done}  failed {now.failed}"
    )
    parts = [counts, f"{speed:.0f} frames/s", f"late {late * 1000:.1f} ms"]
    parts += [f"worst {now.worst * 1000:.1f} ms"]
    share = f"{over}/{now.planned}"
    if width is None:
        return "  ".join([share, *parts])
    filled = _BAR * over // now.planned
    bar = f"[{'#' * filled}{'.' * (_BAR - filled)}] {share}"
    for kept in range(len(parts), 0, -1):
        for line in ("  ".join([bar, *parts[:kept]]), "  ".join([share, *parts[:kept]])):
            if len(line) <= width:
                return line
    return counts[: max(0, width)]
