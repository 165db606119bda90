"""Where disk work runs, so that a slow disk never holds up a stream.

Whoever has something to read or write hands a plain function to a `Disk`. In earnest that is a
`ThreadDisk`: a worker thread, with a limiter of its own for each purpose (the logs, the webhooks,
the recordings), so that a recording on a stuck disk cannot keep a webhook waiting for a thread.

`InlineDisk` does the work on the spot. Tests in virtual time need it: their clock jumps ahead as
soon as no task can run, and a task that waits for a thread cannot.

This module knows nothing of what is written. Read next: `journal.py`, then `inbox.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

import trio

__all__ = ["Disk", "InlineDisk", "OpenDisk", "ThreadDisk"]

_T = TypeVar("_T")


class Disk(Protocol):
    """Something that runs blocking work and hands back what it returned or raised."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* and return its result.

        Cancelled before the work begins, it does not begin; once begun it is waited for, because
        half a write is worse than a late one.
        """
        ...


OpenDisk: TypeAlias = Callable[[int], Disk]
"""Makes a `Disk` that runs so many pieces of work at once: the way to inject another."""


class ThreadDisk:
    """Runs work in at most *threads* worker threads at once; more work waits for its turn."""

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* in a thread; see `Disk.run`."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineDisk:
    """Runs work in the calling task, which blocks every other: for tests in virtual time."""

    def __init__(self, threads: int) -> None:
        del threads  # one thread, the caller's

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* here; see `Disk.run`."""
        await trio.lowlevel.checkpoint()
        return work()
