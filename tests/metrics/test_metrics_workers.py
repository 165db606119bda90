"""The figures of several workers whose lives follow one another, on real files."""

from __future__ import annotations

import errno
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from minivoice_ref.metrics_workers import WorkersFigures
from minivoice_ref.receiver.disk import Disk, InlineDisk
from minivoice_ref.receiver.published import Published

_T = TypeVar("_T")

EVENTS = "minivoice_webhooks_total"


class StuckDisk(InlineDisk):
    """A disk that does nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked, self.go = trio.Event(), trio.Event()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the work, but not yet."""
        self.asked.set()
        await self.go.wait()
        return await super().run(work)


class FullDisk(InlineDisk):
    """A disk on which nothing has room, for a time."""

    def __init__(self) -> None:
        super().__init__(1)
        self.full = True

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the work, where there is room."""
        await trio.lowlevel.checkpoint()
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return work()


def worker(folder: Path, name: str, events: int, disk: Disk | None = None) -> WorkersFigures:
    async def look() -> list[Metric]:
        await trio.lowlevel.checkpoint()
        counted = CounterMetricFamily("minivoice_webhooks", "What was accepted", events)
        return [counted, GaugeMetricFamily("minivoice_calls", "Live calls", value=1)]

    return WorkersFigures(Published(folder, name, disk or InlineDisk(1)), name, look)


@asynccontextmanager
async def running(figures: WorkersFigures) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(figures.run)
        await trio.testing.wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


async def apart(figures: WorkersFigures) -> dict[str, float]:
    """How many events each living worker has accepted."""
    found = await figures.collect(summed=False)
    return {s.labels["worker"]: s.value for m in found for s in m.samples if s.name == EVENTS}


async def summed(figures: WorkersFigures) -> tuple[float, float]:
    """How many events all have accepted, and of how many living workers that speaks."""
    found = await figures.collect(summed=True)
    sums = {s.name: s.value for metric in found for s in metric.samples}
    return sums[EVENTS], sums["minivoice_workers"]


async def test_a_successor_is_never_seen_with_the_figures_of_the_dead(
    tmp_path: Path, autojump_clock: object
) -> None:
    asked, disk = worker(tmp_path, "worker-2", 5), StuckDisk()
    async with running(asked):
        async with running(worker(tmp_path, "worker-1", 7)):
            assert await apart(asked) == {"worker-1": 7, "worker-2": 5}
        assert await apart(asked) == {"worker-2": 5}
        async with running(worker(tmp_path, "worker-1", 0, disk)):
            assert disk.asked.is_set() and await apart(asked) == {"worker-2": 5}
            assert await summed(asked) == (12, 1)
            disk.go.set()
            await trio.testing.wait_all_tasks_blocked()
            assert await apart(asked) == {"worker-1": 0, "worker-2": 5}
            assert await summed(asked) == (12, 2)


async def test_what_a_worker_counts_is_seen_again_and_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    looks = 0

    async def look() -> list[Metric]:
        nonlocal looks
        await trio.lowlevel.checkpoint()
        looks += 1
        return [CounterMetricFamily("minivoice_webhooks", "What was accepted", looks)]

    asked = worker(tmp_path, "worker-2", 0)
    counting = WorkersFigures(Published(tmp_path, "worker-1", InlineDisk(1)), "worker-1", look)
    async with running(counting):
        assert (await apart(asked))["worker-1"] == 1
        await trio.sleep(2.5)
        assert (await apart(asked))["worker-1"] == 2


async def test_a_successor_whose_disk_is_full_is_not_taken_for_the_dead_either(
    tmp_path: Path, autojump_clock: object
) -> None:
    asked, disk = worker(tmp_path, "worker-2", 5), FullDisk()
    async with running(asked):
        async with running(worker(tmp_path, "worker-1", 7)):
            pass
        async with running(worker(tmp_path, "worker-1", 0, disk)):
            await trio.sleep(10)
            assert await apart(asked) == {"worker-2": 5}
            assert await summed(asked) == (12, 1)
            disk.full = False
            await trio.sleep(3)
            assert await apart(asked) == {"worker-1": 0, "worker-2": 5}


async def test_who_succeeds_the_dead_between_two_looks_at_him_is_seen_as_himself(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "later").mkdir()
    async with running(worker(tmp_path / "later", "worker-1", 0)):
        pass
    asked = worker(tmp_path, "worker-2", 5)

    def succeed(path: Path) -> bool:
        if "worker-1" in path.name:
            shutil.copy(tmp_path / "later" / "figures.worker-1.json", tmp_path)
        return True

    async with running(worker(tmp_path, "worker-1", 7)):
        pass
    monkeypatch.setattr("minivoice_ref.receiver.published.is_alive", succeed)
    assert await apart(asked) == {"worker-1": 0, "worker-2": 5}
