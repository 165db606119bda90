"""Notices who blocks the event loop. Opt-in, by the setting `watchdog`.

One thread serves all streams, so an `on_stream` that computes for a second, or calls something that
waits without `await`, stops every call for a second. This instrument times each step of each task
and names the one that took too long: its stream, its function and where that waits next, which is
the first `await` after the work that took so long.

It costs most of a microsecond a step. Knows nothing of logs. Read next: `server.py`.
"""

from __future__ import annotations

import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import trio

__all__ = ["Watchdog", "current_stream", "watched_loop"]

current_stream: ContextVar[str | None] = ContextVar("current_stream", default=None)
"""The id of the stream that a task works for."""

_OURS = (str(Path(__file__).parent.parent), str(Path(trio.__file__).parent))
_STANDARD = sysconfig.get_path("stdlib")
_DEEPEST = 100  # coroutines that wait for each other


class Watchdog(trio.abc.Instrument):
    """Calls *tell* with what is known of each step that took longer than *limit* seconds."""

    def __init__(self, limit: float, tell: Callable[[dict[str, Any]], None]) -> None:
        self._limit = limit
        self._tell = tell
        self._began = time.perf_counter()  # of the step in which it is added

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when a step begins."""
        del task
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See how long it took."""
        took = time.perf_counter() - self._began
        if took > self._limit:
            who, where = _waits_in(task)
            told = {"seconds": round(took, 3), "task": task.name, "function": who, "before": where}
            self._tell({**told, "stream_id": task.context.get(current_stream)})


@contextmanager
def watched_loop(limit: float | None, tell: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Watch the event loop while the block runs; not at all where *limit* is None.

    *tell* is called between two steps, by the loop itself.
    """
    if limit is None:
        yield
        return
    token = trio.lowlevel.current_trio_token()
    # An instrument must not do more than look: who is told is told by a callback of the loop.
    watchdog = Watchdog(limit, lambda told: token.run_sync_soon(tell, told))
    trio.lowlevel.add_instrument(watchdog)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(watchdog)


def _waits_in(task: trio.lowlevel.Task) -> tuple[str | None, str | None]:
    """The function of the application in which a task waits, and where; None where it is ours."""
    waiting: Any = task.coro
    for _ in range(_DEEPEST):
        frame: FrameType | None = getattr(waiting, "cr_frame", None)
        if frame is None:
            break
        if not _is_ours(frame.f_code):
            where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            return frame.f_code.co_qualname, where
        waiting = waiting.cr_await
    return None, None


def _is_ours(code: CodeType) -> bool:
    """Whether a function is not the application's: our own, Trio's, the standard library's."""
    name = code.co_filename
    return name.startswith(_OURS) or (name.startswith(_STANDARD) and "site-packages" not in name)
