"""A disk that is full, read-only or locked: webhooks wait at the platform, streams carry on.

On a file system of its own in memory, which only root can mount; elsewhere these are skipped.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from reliability_lab import Receiver, event, running


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
    with trio.fail_after(20):
        while True:
            status, document = await receiver.health()
            if status == wanted:
                return list(document["troubles"])
            await trio.sleep(0.1)


async def test_a_full_disk_costs_no_event_and_no_stream(small: Path) -> None:
    data = small / "data"
    with trio.fail_after(60):
        async with running(data, record=True) as receiver:
            assert await receiver.deliver(event(1)) == 200
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(5)
                await receiver.until(lambda: bool(receiver.lines("streams", "recording")))
                fill(small)
                statuses = {await receiver.deliver(event(2)) for _ in range(3)}
                assert statuses == {503}
                assert "webhooks cannot be stored" in await until_health_is(receiver, 503)
                await caller.speak(45, first=5)  # the stream does not notice
                status, document = await receiver.health()
                assert document["streams"] == 1
                make_room(small)
                assert await until_health_is(receiver, 200) is not None
                assert await receiver.deliver(event(2)) == 200
                await caller.stop()
                assert await caller.close_code() == 1000
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            (account,) = receiver.lines("streams", "account")
            assert account["tracks"]["inbound"]["received"] == 50 * 160
            (recording,) = receiver.lines("streams", "recording")
            assert [x["code"] for x in receiver.lines("streams", "recording_failed")] == ["MV-703"]
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 2)
            said = receiver.lines("webhooks", "inbox")
            assert [line.get("code") for line in said] == ["MV-704", None]
            # As much of it as there was room for; and no line says that it is whole.
            assert "recording" not in account
            with wave.open(recording["file"]) as file:
                assert file.getnframes() <= 50 * 160


async def until_troubles_are(receiver: Receiver, wanted: list[str]) -> None:
    """Wait until /health tells of these."""
    with trio.fail_after(20):
        while (await receiver.health())[1]["troubles"] != wanted:  # noqa: ASYNC110
            await trio.sleep(0.1)


def _obey_modes() -> None:
    """Have a process of root's obey the modes of its files, as anybody's does."""
    ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE


async def test_a_folder_that_became_read_only_costs_no_event_and_no_stream(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with trio.fail_after(60):
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


async def test_a_database_that_another_program_holds_costs_no_event(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with trio.fail_after(60):
        async with running(data) as receiver:
            assert await receiver.deliver(event(1)) == 200
            await receiver.until(lambda: len(receiver.lines("webhooks", "handled")) == 1)
            other = sqlite3.connect(data / "inbox.sqlite3", isolation_level=None)
            other.execute("BEGIN EXCLUSIVE")
            assert await receiver.deliver(event(2)) == 503
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


async def test_logs_that_are_rotated_from_outside_go_on_in_a_new_file(tmp_path: Path) -> None:
    with trio.fail_after(30):
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
