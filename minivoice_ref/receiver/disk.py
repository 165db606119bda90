"""Where disk work runs, so that a slow disk never holds up a stream.

Whoever has something to read or write hands a plain function to a `Disk`. In earnest that is a
`ThreadDisk`: a worker thread, with a limiter of its own for each purpose (the logs, the webhooks,
the recordings), so that a recording on a stuck disk cannot keep a webhook waiting for a thread.

`InlineDisk` does the work on the spot. Tests in virtual time need it: their clock jumps ahead as
soon as no task can run, and a task that waits for a thread cannot.

A file that grows while a stream goes on has a `Writer`: whoever adds to it never waits, and a disk
that fails ends the file and nothing else.

This module knows nothing of what is written. Read next: `journal.py`, then `inbox.py`.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio

from minivoice_ref.config import Timeouts

__all__ = ["Disk", "InlineDisk", "OpenDisk", "Sink", "ThreadDisk", "Writer"]

_T = TypeVar("_T")
_Item = TypeVar("_Item")
_Put = TypeVar("_Put", contravariant=True)

_NO_THREAD = "can't start new thread"  # what the interpreter says then


class Disk(Protocol):
    """Something that runs blocking work and hands back what it returned or raised."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* and return its result.

        Cancelled before the work begins, it does not begin; once begun it is waited for, because
        half a write is worse than a late one. May raise OSError or MemoryError of its own.
        """
        ...


OpenDisk: TypeAlias = Callable[[int], Disk]
"""Makes a `Disk` that runs so many pieces of work at once: the way to inject another."""


class ThreadDisk:
    """Runs work in at most *threads* worker threads at once; more work waits for its turn."""

    def __init__(self, threads: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* in a thread; see `Disk.run`. Raises OSError where none can be started."""
        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        except RuntimeError as exc:
            if str(exc) != _NO_THREAD:
                raise
            # The memory, or the processes that we may have, are used up: a disk that fails.
            raise OSError(errno.EAGAIN, _NO_THREAD) from exc


class InlineDisk:
    """Runs work in the calling task, which blocks every other: for tests in virtual time."""

    def __init__(self, threads: int) -> None:
        del threads  # one thread, the caller's

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run *work* here; see `Disk.run`."""
        await trio.lowlevel.checkpoint()
        return work()


class Sink(Protocol[_Put]):
    """A file as a `Writer` needs it: blocking, one call at a time, each perhaps in another thread.

    Each method may raise OSError or MemoryError; after that only `close` is called.
    """

    def open(self) -> None:
        """Make the file."""
        ...

    def put(self, items: Sequence[_Put]) -> None:
        """Write some more."""
        ...

    def close(self, trouble: str | None) -> None:
        """Close the file, also one that could not be opened; *trouble* is what ended it, if any."""
        ...


class Writer(Generic[_Item]):
    """Writes to *sink* what is added, while `run` runs. Nobody but `run` ever waits for the disk.

    What is added waits in memory for *every* seconds, or until *many* of one share wait. Of each
    share *most* may wait; what does not fit is refused. *on_open* is called when the file is there,
    *on_trouble* with what the disk, or the memory, would not do: nothing is written after that.
    `timeouts.finish` bounds each of the last steps.
    """

    def __init__(
        self,
        sink: Sink[_Item],
        disk: Disk,
        *,
        most: int,
        many: int,
        every: float,
        on_open: Callable[[], None],
        on_trouble: Callable[[str], None],
        timeouts: Timeouts,
    ) -> None:
        self.is_open = False
        self.trouble: str | None = None
        self._sink, self._disk = sink, disk
        self._most, self._many, self._every = most, many, every
        self._on_open, self._on_trouble = on_open, on_trouble
        self._patience = timeouts.finish
        self._waiting: list[_Item] = []
        self._sizes: Counter[str] = Counter()
        self._wanted = False
        self._something, self._much = trio.Event(), trio.Event()
        self._finished = trio.Event()

    def begin(self) -> None:
        """Say that there is to be a file: `run` makes it."""
        self._wanted = True
        self._something.set()

    def has_room(self, size: int, share: str = "") -> bool:
        """Whether an item that counts *size* of its share would be taken."""
        return self.trouble is None and self._sizes[share] + size <= self._most

    def add(self, item: _Item, size: int = 0, share: str = "") -> None:
        """Add an item that counts *size* of its share; where there is no room, it is let go."""
        if not self.has_room(size, share):
            return
        self._waiting.append(item)
        self._sizes[share] += size
        self._something.set()
        if self._sizes[share] >= self._many:
            self._much.set()

    def finish(self) -> None:
        """Say that nothing more comes: `run` writes the rest and returns."""
        self._finished.set()
        self._something.set()
        self._much.set()

    async def run(self) -> None:
        """Write as it comes, until `finish`.

        Cancelled, it waits for `finish`, because what a stream holds back comes last of all, then
        writes what it has and closes the file: each may take `timeouts.finish`, the disk's last
        work a moment more.
        """
        try:
            while not self._finished.is_set():
                await self._something.wait()
                await self._open()
                with trio.move_on_after(self._every):
                    await self._much.wait()
                self._something, self._much = trio.Event(), trio.Event()
                await self._put()
        finally:
            with trio.move_on_after(self._patience, shield=True):
                await self._finished.wait()
            with trio.move_on_after(self._patience, shield=True) as last_words:
                await self._open()
                await self._put()
            if last_words.cancelled_caught:
                self._fail(f"the disk was busy for {self._patience:g} s")
            if self._wanted:
                with trio.move_on_after(self._patience, shield=True):
                    await self._try(partial(self._sink.close, self.trouble))

    async def _open(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._wanted and not self.is_open and self.trouble is None:
            self.is_open = await self._try(self._sink.open)
            if self.is_open:
                self._on_open()

    async def _put(self) -> None:
        """Write what waits. What is cancelled before the disk has it goes on waiting."""
        await trio.lowlevel.checkpoint()
        if not self._waiting or self.trouble is not None:
            return
        items, self._waiting = self._waiting, []
        sizes, self._sizes = self._sizes, Counter()
        try:
            await self._try(partial(self._sink.put, items))
        except trio.Cancelled:
            self._waiting[:0] = items
            self._sizes += sizes
            raise

    async def _try(self, work: Callable[[], None]) -> bool:
        """Do disk work; false where the disk, or the memory, would not do it."""
        try:
            await self._disk.run(work)
        except (OSError, MemoryError) as exc:
            self._fail(f"{type(exc).__name__}: {exc}")
            return False  # noqa: ASYNC910  # the disk has been asked
        return True

    def _fail(self, trouble: str) -> None:
        if self.trouble is None:
            self.trouble = trouble
            self._waiting.clear()
            self._on_trouble(trouble)
