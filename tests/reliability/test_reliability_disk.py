"""A disk that is full, read-only or locked: webhooks wait at the platform, streams carry on.

A small file system in memory is full in earnest, but only root can mount one. So the same is tried
once more where the system refuses the process all writes, which anybody may ask of it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sqlite3
import subprocess
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from reliability_lab import Receiver, Tell, event, running


def _mount(*arguments: str) -> bool:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder with two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or not _mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)):
        pytest.skip("a file system of its own needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no room."""
    with (folder / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
        while file.write(bytes(4096)):
            pass


def make_room(folder: Path) -> None:
    """Take the ballast away."""
    (folder / "ballast").unlink()


async def until_health_is(receiver: Receiver, wanted: int) -> list[str]:
    """Wait for a status of /health; return its troubles."""
    with trio.fail_after(60):
        while True:
            status, document = await receiver.health()
            if status == wanted:
                return list(document["troubles"])
            await trio.sleep(0.1)


@asynccontextmanager
async def full_disk(receiver: Receiver) -> AsyncIterator[None]:
    """Leave no room on the disk for a block."""
    await trio.lowlevel.checkpoint()
    folder = receiver.data.parent
    fill(folder)
    yield
    make_room(folder)


@asynccontextmanager
async def no_writes(receiver: Receiver) -> AsyncIterator[None]:
    """Have the system refuse each write of the process to a file for a block."""
    await trio.lowlevel.checkpoint()
    pid = receiver.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def suffer(
    data: Path, trouble: Callable[[Receiver], AbstractAsyncContextManager[None]]
) -> str:
    """Have webhooks and a recorded stream come while the disk is in trouble; return a figure."""
    async with running(data, record=True) as receiver:
        assert await receiver.deliver(event(1)) == 200
        async with receiver.stream("call_7") as caller:
            await caller.start()
            await caller.speak(5)
            await receiver.until(lambda: bool(receiver.lines("streams", "recording")))
            async with trouble(receiver):
                statuses = {await receiver.deliver(event(2)) for _ in range(3)}
                assert statuses == {503}
                assert "webhooks cannot be stored" in await until_health_is(receiver, 503)
                await caller.speak(145, first=5)  # the stream does not notice
                status, document = await receiver.health()
                assert document["streams"] == 1
            mended = trio.current_time()
            assert await until_health_is(receiver, 200) is not None
            took = trio.current_time() - mended
            assert await receiver.deliver(event(2)) == 200
            await caller.stop()
            assert await caller.close_code() == 1000
        await receiver.until(lambda: bool(receiver.lines("streams", "account")))
        (account,) = receiver.lines("streams", "account")
        assert account["tracks"]["inbound"]["received"] == 150 * 160
        (recording,) = receiver.lines("streams", "recording")
        failed = receiver.lines("streams", "recording_failed")
        await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 2)
        said = receiver.lines("webhooks", "inbox")
        assert [line.get("code") for line in said] == ["MV-704", None]
        # As much of it as there was room for; and no line says that it is whole, unless it is.
        assert ("recording" in account) == (not failed)
        with wave.open(recording["file"]) as file:
            assert file.getnframes() == 150 * 160 or (failed and file.getnframes() < 150 * 160)
    return f"503 while it lasts, well again after {took:.1f} s, no event lost"


async def test_a_full_disk_costs_no_event_and_no_stream(small: Path, tell_figure: Tell) -> None:
    with trio.fail_after(180):
        tell_figure(await suffer(small / "data", full_disk))


async def test_a_disk_that_takes_no_writes_costs_no_event_and_no_stream(
    tmp_path: Path, tell_figure: Tell
) -> None:
    with trio.fail_after(180):
        tell_figure(await suffer(tmp_path / "data", no_writes))


async def until_troubles_are(receiver: Receiver, wanted: list[str]) -> None:
    """Wait until /health tells of these."""
    with trio.fail_after(60):
        while (await receiver.health())[1]["troubles"] != wanted:  # noqa: ASYNC110
            await trio.sleep(0.1)


def _obey_modes() -> None:
    """Have a process of root's obey the modes of its files, as anybody's does."""
    ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


async def test_a_folder_that_became_read_only_costs_no_event_and_no_stream(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with trio.fail_after(180):
        async with running(data, preexec=_obey_modes, record=True) as receiver:
            await receiver.until(lambda: bool(receiver.lines("streams", "settings")))
            logs = list(data.glob("*.jsonl"))
            for path in (data, *logs):
                path.chmod(path.stat().st_mode & ~0o222)
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(50)
                await caller.stop()
                assert await caller.close_code() == 1000
            assert await receiver.deliver(event(1)) == 200  # the inbox is open, and takes it
            await until_troubles_are(receiver, ["the logs cannot be written"])
            for path in (data, *logs):
                path.chmod(path.stat().st_mode | 0o200)
            await until_troubles_are(receiver, [])
            (account,) = receiver.lines("streams", "account")
            assert account["tracks"]["inbound"]["received"] == 50 * 160
            (failed,) = receiver.lines("streams", "recording_failed")
            assert failed["code"] == "MV-703"
            assert len(receiver.lines("webhooks", "accepted")) == 1


async def test_a_database_that_another_program_holds_costs_no_event(
    tmp_path: Path, tell_figure: Tell
) -> None:
    data = tmp_path / "data"
    with trio.fail_after(180):
        async with running(data) as receiver:
            assert await receiver.deliver(event(1)) == 200
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 1)
            other = sqlite3.connect(data / "inbox.sqlite3", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            statuses: list[int] = []
            began = trio.current_time()

            async def deliver() -> None:
                statuses.append(await receiver.deliver(event(2)))

            async with trio.open_nursery() as nursery:
                for _ in range(50):  # none of which waits for those before it to give up
                    nursery.start_soon(deliver)
            took = trio.current_time() - began
            assert statuses == [503] * 50 and took < 5
            assert await until_health_is(receiver, 503) == ["webhooks cannot be stored"]
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(5)
                await caller.stop()
                assert await caller.close_code() == 1000
            other.execute("ROLLBACK")
            other.close()
            assert await until_health_is(receiver, 200) == []
            assert await receiver.deliver(event(2)) == 200
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 2)
    tell_figure(f"50 webhooks at once: 503 within {took:.1f} s, none lost")


async def test_an_inbox_that_was_moved_away_takes_no_event_until_it_is_back(tmp_path: Path) -> None:
    """What is committed to a file without a name is gone with the process."""
    data, away = tmp_path / "data", tmp_path / "away"
    with trio.fail_after(180):
        async with running(data) as receiver:
            assert await receiver.deliver(event(1)) == 200
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 1)
            data.rename(away)
            assert await receiver.deliver(event(2)) == 503
            assert "webhooks cannot be stored" in await until_health_is(receiver, 503)
            data.mkdir(mode=0o700)
            (data / "inbox.sqlite3").touch()  # another one is not ours
            await trio.sleep(1.5)
            assert await receiver.deliver(event(2)) == 503
            data.rename(tmp_path / "another")
            away.rename(data)
            assert await until_health_is(receiver, 200) == []
            assert await receiver.deliver(event(2)) == 200
            receiver.process.send_signal(signal.SIGKILL)
            await receiver.process.wait()
        async with running(data) as receiver:
            await receiver.until(lambda: "call_2 call.completed" in (data / "handled").read_text())
            assert await receiver.deliver(event(1)) == 200  # and is known: it is no new one
            duplicates = partial(receiver.lines, "webhooks", "duplicate")
            await receiver.until(lambda: len(duplicates()) == 1)


async def test_logs_that_are_rotated_from_outside_go_on_in_a_new_file(tmp_path: Path) -> None:
    with trio.fail_after(90):
        async with running(tmp_path / "data") as receiver:
            log = receiver.data / "webhooks.jsonl"
            for number in range(6):
                assert await receiver.deliver(event(number)) == 200
                name = f"call_{number}"
                await receiver.until(
                    lambda name=name: any(  # type: ignore[misc]
                        line["call_id"] == name for line in receiver.lines("webhooks", "handled")
                    )
                )
                log.rename(receiver.data / f"webhooks.jsonl.moved-{number}")
        texts = [path.read_text() for path in receiver.data.glob("webhooks.jsonl*")]
        assert sum(text.count('"what": "handled"') for text in texts) == 6


async def test_a_data_folder_that_was_deleted_is_not_made_anew_for_others_to_look_into(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with trio.fail_after(90):
        async with running(data, record=True, capture=True) as receiver:
            await receiver.until(lambda: bool(receiver.lines("streams", "settings")))
            url = await receiver.stream_url("call_7")
            await receiver.until(lambda: bool(receiver.lines("answers")))
            data.rename(tmp_path / "away")
            async with receiver.stream("call_7", url) as caller:
                await caller.start()
                await caller.speak(50)
                await caller.stop()
                assert await caller.close_code() == 1000
            assert not data.exists()
            (tmp_path / "away").rename(data)
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            for kind, code in (("recording_failed", "MV-703"), ("capture_failed", "MV-706")):
                (failed,) = receiver.lines("streams", kind)
                assert failed["code"] == code and "No such file" in failed["why"]
