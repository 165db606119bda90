"""A file that is written while a stream goes on: nothing is lost to a cancellation unsaid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.receiver.disk import InlineDisk, ThreadDisk, Writer
from receiver_lab import settle

_T = TypeVar("_T")


class Page:
    """A sink that keeps what it is given, and fails when it is told to."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.fails: set[str] = set()

    def open(self) -> None:
        self._do("open")

    def put(self, items: Sequence[int]) -> None:
        self._do("put")
        self.said.append(list(items))

    def close(self, trouble: str | None) -> None:
        self.said.append(f"closed: {trouble}")
        self._do("close")

    def _do(self, what: str) -> None:
        if what in self.fails:
            raise OSError(28, f"no room to {what}")


class BusyDisk(InlineDisk):
    """A disk whose turn has to be waited for while `free` is not set."""

    def __init__(self, threads: int = 1) -> None:
        super().__init__(threads)
        self.free = trio.Event()
        self.free.set()

    async def run(self, work: Callable[[], _T]) -> _T:
        await self.free.wait()
        return await super().run(work)


class Desk:
    """A writer, and what it told."""

    def __init__(self, most: int = 1000) -> None:
        self.page, self.disk = Page(), BusyDisk()
        self.told: list[str] = []
        self.writer: Writer[int] = Writer(
            self.page,
            self.disk,
            most=most,
            many=10,
            every=3.0,
            on_open=lambda: self.told.append("open"),
            on_trouble=self.told.append,
            timeouts=Timeouts(finish=5.0),
        )


async def test_what_comes_is_written_after_a_while_or_when_it_is_much(
    autojump_clock: object,
) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        desk.writer.begin()
        desk.writer.add(1, size=1)
        await trio.sleep(2.9)
        assert desk.page.said == [] and desk.told == ["open"]
        await trio.sleep(0.2)
        assert desk.page.said == [[1]]
        desk.writer.add(2, size=9, share="a")
        desk.writer.add(3, size=9, share="b")
        await settle()
        assert len(desk.page.said) == 1
        desk.writer.add(4, size=1, share="b")
        await settle()
        assert desk.page.said[1:] == [[2, 3, 4]]
        desk.writer.add(5)
        desk.writer.finish()
    assert desk.page.said[2:] == [[5], "closed: None"] and desk.writer.is_open


async def test_nothing_is_made_before_it_is_wanted(autojump_clock: object) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        await trio.sleep(10)
        desk.writer.finish()
    assert desk.page.said == [] and desk.told == [] and not desk.writer.is_open


async def test_what_does_not_fit_is_let_go_and_each_share_has_its_own_room(
    autojump_clock: object,
) -> None:
    desk = Desk(most=20)
    desk.writer.begin()
    for item in range(5):
        desk.writer.add(item, size=8, share="a")
    assert not desk.writer.has_room(5, "a") and desk.writer.has_room(4, "a")
    desk.writer.add(9, size=20, share="b")
    desk.writer.finish()
    await desk.writer.run()
    assert desk.page.said == [[0, 1, 9], "closed: None"]


async def test_what_waits_for_a_busy_disk_when_all_is_cancelled_is_written_in_order(
    autojump_clock: object,
) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        desk.writer.begin()
        await settle()
        desk.disk.free = trio.Event()
        for item in range(5):
            desk.writer.add(item, size=10)
        await settle()  # by now the disk was asked
        desk.writer.add(5, size=10)
        nursery.cancel_scope.cancel()
        desk.writer.add(6)
        desk.writer.finish()
        desk.disk.free.set()
    assert desk.page.said == [[0, 1, 2, 3, 4, 5, 6], "closed: None"]


async def test_cancelled_before_it_could_begin_it_makes_the_file_all_the_same(
    autojump_clock: object,
) -> None:
    desk = Desk()
    with trio.CancelScope() as scope:
        scope.cancel()
        desk.writer.begin()
        desk.writer.add(1)
        desk.writer.finish()
        await desk.writer.run()
    assert desk.page.said == [[1], "closed: None"] and desk.told == ["open"]


async def test_a_disk_that_stays_busy_at_the_end_is_trouble_within_bounded_time(
    autojump_clock: object,
) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        desk.writer.begin()
        await settle()
        desk.disk.free = trio.Event()
        desk.writer.add(1, size=10)
        await settle()
        desk.writer.finish()
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == 10.0
    assert desk.told == ["open", "the disk was busy for 5 s"] and desk.page.said == []


async def test_one_that_is_never_told_to_finish_waits_for_it_in_bounded_time(
    autojump_clock: object,
) -> None:
    desk = Desk()
    desk.writer.begin()
    desk.writer.add(1)
    with trio.move_on_after(1):
        await desk.writer.run()
    assert trio.current_time() == 6.0 and desk.page.said == [[1], "closed: None"]


async def test_a_thread_that_cannot_be_had_is_a_disk_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = ["can't start new thread", "a slip of whoever wrote the work"]

    async def run_sync(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(errors.pop(0))

    with monkeypatch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", run_sync)
        with pytest.raises(OSError, match="can't start new thread"):
            await ThreadDisk(1).run(lambda: None)
        with pytest.raises(RuntimeError, match="slip"):
            await ThreadDisk(1).run(lambda: None)
    assert await ThreadDisk(1).run(lambda: 7) == 7


async def test_what_fails_is_told_once_and_at_once_and_nothing_is_written_after_it(
    autojump_clock: object,
) -> None:
    desk = Desk()
    desk.page.fails = {"put", "close"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.writer.run)
        desk.writer.begin()
        desk.writer.add(1, size=10)
        await settle()
        trouble = "OSError: [Errno 28] no room to put"
        assert desk.told == ["open", trouble]
        desk.page.fails = {"close"}
        desk.writer.add(2, size=10)
        assert not desk.writer.has_room(0)
        await trio.sleep(10)
        desk.writer.finish()
    assert desk.page.said == [f"closed: {trouble}"] and len(desk.told) == 2


async def test_a_file_that_cannot_be_made_is_not_said_to_be_there(autojump_clock: object) -> None:
    desk = Desk()
    desk.page.fails = {"open"}
    desk.writer.begin()
    desk.writer.finish()
    await desk.writer.run()
    assert desk.told == ["OSError: [Errno 28] no room to open"] and not desk.writer.is_open
    assert desk.page.said == ["closed: OSError: [Errno 28] no room to open"]
