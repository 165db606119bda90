"""The inbox that several processes have open, in virtual time: two of them in one process."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from cluster_lab import webhook

from minivoice_ref.config import ConfigError, Limits
from minivoice_ref.protocol.webhooks import read_event
from minivoice_ref.receiver.alive import is_alive, living
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.commons import InboxFailed, SharedStream, WaitingEvent
from minivoice_ref.receiver.disk import Disk, InlineDisk
from minivoice_ref.receiver.inbox import open_inbox
from minivoice_ref.receiver.live_streams import TooMany
from minivoice_ref.receiver.neighbours import SharedInbox, open_shared_inbox

_T = TypeVar("_T")
ONCE = webhook("call.completed", "call_1")
OPENER = """
import sys
from pathlib import Path

import trio

from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.inbox_file import connect


async def open_it(path: Path) -> None:
    async with connect(path, path.parent, InlineDisk(1)):
        print("open", flush=True)


for line in sys.stdin:
    trio.run(open_it, Path(line.rstrip()))
"""


class Neighbour:
    """One of the processes: its inbox, the calls it knows, how often it was told to look."""

    def __init__(self, inbox: SharedInbox) -> None:
        self.inbox = inbox
        self.calls = Calls(100)
        self.looks = 0
        self.doubts: list[str] = []

    def look(self) -> None:
        self.looks += 1

    async def accept(self, body: bytes = ONCE) -> bool:
        return await self.inbox.accept(read_event(body), body)

    async def run(self) -> None:
        await self.inbox.run(
            self.calls, self.look, lambda: {"streams": len(self.calls)}, self.doubts.append
        )


@asynccontextmanager
async def neighbour(
    folder: Path, name: str, disk: Disk | None = None, *, runs: bool = True
) -> AsyncIterator[Neighbour]:
    """A neighbour of the others in the folder while the block runs."""
    async with open_shared_inbox(
        folder / "inbox",
        folder,
        InlineDisk if disk is None else lambda threads: disk,
        clock=trio.current_time,
        remembered=100.0,
        node=name,
    ) as inbox:
        made = Neighbour(inbox)
        async with trio.open_nursery() as nursery:
            await inbox.recover()
            if runs:
                nursery.start_soon(made.run)
                await trio.testing.wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()


def test_processes_that_make_the_file_at_the_same_moment_all_open_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        openers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", OPENER],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(4)
        ]
        for attempt in range(50):  # without a lock of ours, one in ten fails
            for opener in openers:
                assert opener.stdin is not None
                print(tmp_path / f"inbox-{attempt}", file=opener.stdin, flush=True)
            for opener in openers:
                assert opener.stdout is not None
                assert opener.stdout.readline() == "open\n"


def test_who_is_looked_for_just_when_he_begins_begins_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = os.open(tmp_path / "life", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looked_at, fcntl.LOCK_SH)
    waited: list[float] = []

    def an_instant(seconds: float) -> None:
        waited.append(seconds)
        os.close(looked_at)

    monkeypatch.setattr("minivoice_ref.receiver.alive.time.sleep", an_instant)
    with living(tmp_path / "life"):
        assert is_alive(tmp_path / "life")
    assert not is_alive(tmp_path / "life")
    assert len(waited) == 1


def test_two_who_look_for_a_dead_one_do_not_take_each_other_for_him(tmp_path: Path) -> None:
    with living(tmp_path / "life"):
        pass
    looking = os.open(tmp_path / "life", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert not is_alive(tmp_path / "life")
    os.close(looking)


async def test_whoever_waits_too_long_for_its_turn_to_open_the_inbox_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    monkeypatch.setattr("minivoice_ref.receiver.inbox_file._TURN", 0.02)
    with living(tmp_path / "inbox.opening"):
        with pytest.raises(ConfigError, match="^data: .*inbox is being opened by another process"):
            async with neighbour(tmp_path, "a"):
                pass
    async with neighbour(tmp_path, "a") as a:
        assert await a.accept()


async def test_who_comes_while_one_of_its_name_lives_touches_nothing_of_it(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a"):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(ConfigError, match="has still a worker that drains, a, "):
            async with neighbour(tmp_path, "a"):
                pass
        assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "inbox.b").mkdir()
    with pytest.raises(ConfigError, match="inbox.b cannot be used"):
        async with neighbour(tmp_path, "b"):
            pass


async def test_an_event_is_one_neighbours_at_a_time(tmp_path: Path, autojump_clock: object) -> None:
    async with neighbour(tmp_path, "a") as a, neighbour(tmp_path, "b") as b:
        assert await a.accept() and not await b.accept()
        taken = await b.inbox.take()
        assert isinstance(taken, WaitingEvent)
        assert await a.inbox.take() == float("inf")
        await b.inbox.failed(taken, "not today", 10.0)
        assert await a.inbox.take() == 10.0
        await trio.sleep(10)
        again = await a.inbox.take()
        assert isinstance(again, WaitingEvent) and again.attempt == 2
        await a.inbox.handled(again)
        assert await b.inbox.take() == float("inf")


async def test_who_was_faster_has_the_event_and_the_other_looks_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a") as a, neighbour(tmp_path, "b") as b:
        await a.accept()
        number = 1
        first = a.inbox._claim(number)
        assert first is not None and b.inbox._claim(number) is None
        await a.inbox.handled(first)
        assert b.inbox._claim(number) is None


async def test_a_call_that_ended_at_one_has_ended_at_the_other_within_half_a_second(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a") as a, neighbour(tmp_path, "b") as b:
        record = b.calls.heard("call_1", "stream")
        looks = b.looks
        await a.accept()
        with trio.fail_after(0.5):
            await record.ended.wait()
        assert record.status == "completed" and b.looks > looks


async def test_an_end_that_came_before_the_stream_is_asked_for(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a") as a:
        await a.accept()
        async with neighbour(tmp_path, "b") as b:
            assert len(b.calls) == 0
            record = b.calls.heard("call_1", "stream")
            with trio.fail_after(0.5):
                await record.ended.wait()


async def test_the_limits_of_a_call_and_of_a_token_count_everywhere(
    tmp_path: Path, autojump_clock: object
) -> None:
    limits = Limits(streams_per_call=3, streams_per_token=2)
    streams = [SharedStream(f"s{n}", "call:1", "token", "", 50.0) for n in range(3)]
    async with neighbour(tmp_path, "a") as a, neighbour(tmp_path, "b") as b:
        assert await a.inbox.enter(streams[0], limits) == 1
        assert await b.inbox.enter(streams[1], limits) == 2
        with pytest.raises(TooMany, match="streams_per_token"):
            await a.inbox.enter(streams[2], limits)
        tokenless = SharedStream("s3", "call:1", "")
        assert await a.inbox.enter(tokenless, limits) == 1
        with pytest.raises(TooMany, match="streams_per_call"):
            await b.inbox.enter(SharedStream("s4", "call:1", "other"), limits)
        assert {s.stream_id: s.node for s in await b.inbox.streams()} == {
            "s0": "a",
            "s1": "b",
            "s3": "a",
        }
        a.inbox.leave(streams[0])
        await trio.sleep(0.3)
        assert await b.inbox.enter(streams[2], limits) == 3
        nobodys = [SharedStream(f"n{n}", "", "") for n in range(9)]
        assert [await a.inbox.enter(stream, limits) for stream in nobodys] == [1] * 9


async def test_a_token_is_forgotten_when_it_has_expired(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a") as a:
        assert await a.inbox.enter(SharedStream("s0", "call:1", "t", "", 50.0), Limits()) == 1
        assert await a.inbox.enter(SharedStream("s1", "call:1", "t", "", 50.0), Limits()) == 2
        await trio.sleep(51)
        await a.inbox.tidy()
        for number in range(2):
            a.inbox.leave(SharedStream(f"s{number}", "call:1", "t"))
        await trio.sleep(0.3)
        assert await a.inbox.enter(SharedStream("s2", "call:1", "t", "", 90.0), Limits()) == 1


async def test_what_the_dead_had_is_free_again(tmp_path: Path, autojump_clock: object) -> None:
    async with neighbour(tmp_path, "a") as a:
        await a.accept()
        async with neighbour(tmp_path, "b", runs=False) as b:
            assert isinstance(await b.inbox.take(), WaitingEvent)
            await b.inbox.enter(SharedStream("s0", "call:1", ""), Limits())
            await trio.sleep(2)
            assert await a.inbox.take() == float("inf")  # b lives, though it says nothing
        with sqlite3.connect(tmp_path / "inbox") as database:  # of one that was killed
            database.execute("INSERT INTO claims VALUES ('call_1', 1, 'ghost')")
            database.execute("INSERT INTO streams VALUES ('s1', 'call:1', '', 'ghost', 0)")
        database.close()
        (tmp_path / "inbox.ghost").touch()
        assert await a.inbox.take() == float("inf")
        looks = a.looks
        await trio.sleep(1.5)
        assert isinstance(await a.inbox.take(), WaitingEvent)
        assert a.looks > looks and not await a.inbox.streams()


async def test_each_hears_how_the_others_are(tmp_path: Path, autojump_clock: object) -> None:
    async with neighbour(tmp_path, "a") as a:
        async with neighbour(tmp_path, "b") as b:
            b.calls.heard("call_1", "webhook")
            await trio.sleep(2.5)
            assert a.inbox.others["b"]["streams"] == 1 and set(b.inbox.others) == {"a"}
        await trio.sleep(2.5)
        assert not a.inbox.others


class FailingDisk(InlineDisk):
    """A disk that fails while it is told to."""

    error: Exception | None = None

    async def run(self, work: Callable[[], _T]) -> _T:
        if self.error is not None:
            await trio.lowlevel.checkpoint()
            raise self.error
        return await super().run(work)


async def test_a_disk_that_fails_for_a_while_delays_what_is_heard(
    tmp_path: Path, autojump_clock: object
) -> None:
    disk = FailingDisk(1)
    async with neighbour(tmp_path, "a", disk) as a, neighbour(tmp_path, "b") as b:
        record = a.calls.heard("call_1", "stream")
        record.streams += 1
        a.calls.heard("call_2", "stream")
        disk.error = sqlite3.OperationalError("database is locked")
        await b.accept()
        with pytest.raises(InboxFailed):
            await a.inbox.enter(SharedStream("s0", "call:1", ""), Limits())
        await trio.sleep(5)
        assert not record.ended.is_set() and a.inbox.trouble
        disk.error = None
        with trio.fail_after(2):
            await record.ended.wait()


async def test_what_fails_within_a_transaction_changes_nothing(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with neighbour(tmp_path, "a") as a:
        await a.accept()

        def fail() -> None:
            with a.inbox._transaction():
                a.inbox._database.execute("DELETE FROM events")
                a.inbox._database.execute("INSERT INTO nodes VALUES ('a', NULL)")

        with pytest.raises(sqlite3.IntegrityError):
            fail()
        assert isinstance(await a.inbox.take(), WaitingEvent)


async def test_a_process_that_is_alone_has_no_neighbours(
    tmp_path: Path, autojump_clock: object
) -> None:
    stream = SharedStream("s0", "call:1", "")
    async with open_inbox(
        tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time
    ) as inbox:
        assert await inbox.enter(stream, Limits()) == 0
        inbox.leave(stream)
        assert not await inbox.streams()


async def test_what_a_neighbour_had_handled_when_it_was_killed_is_not_handled_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    """It was killed before the database knew; its own note is read before its claim is freed."""
    async with neighbour(tmp_path, "b") as b:
        event = read_event(ONCE)
        async with neighbour(tmp_path, "a", runs=False) as a:
            await a.accept()
            taken = await a.inbox.take()
            assert isinstance(taken, WaitingEvent)
            await a.inbox.returned(taken, event.key)
            a.inbox.leave_for_good = _killed  # type: ignore[method-assign]
        await trio.sleep(2)
        assert await b.inbox.take() == float("inf")
        assert states(tmp_path) == {"handled": 1}


async def test_a_receiver_that_is_alone_knows_what_workers_before_it_had_handled(
    tmp_path: Path, autojump_clock: object
) -> None:
    event = read_event(ONCE)
    async with neighbour(tmp_path, "a", runs=False) as a:
        await a.accept()
        taken = await a.inbox.take()
        assert isinstance(taken, WaitingEvent)
        await a.inbox.returned(taken, event.key)
        a.inbox.leave_for_good = _killed  # type: ignore[method-assign]
    async with open_inbox(
        tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time
    ) as inbox:
        await inbox.recover()
        assert await inbox.take() == float("inf")
    assert states(tmp_path) == {"handled": 1}


def _killed() -> None:
    """What a process that is killed does at its end."""


def states(folder: Path) -> dict[str, int]:
    database = sqlite3.connect(folder / "inbox")
    try:
        return dict(database.execute("SELECT state, count(*) FROM events GROUP BY state"))
    finally:
        database.close()
