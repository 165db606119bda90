"""The three logs: complete, readable by machines and people, and without secrets."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
from receiver_lab import open_lab, read_log, settings, settle, wall_clock, webhook

from minivoice_ref.config import Timeouts
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER
from minivoice_ref.receiver import journal as journal_module
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import Disk, InlineDisk, ThreadDisk
from minivoice_ref.receiver.journal import LOGS, WHAT, Journal, in_words, open_journal, told_of
from minivoice_ref.receiver.terminal import TerminalFormatter, log_to_terminal

_T = TypeVar("_T")


def make(folder: Path, disk: Disk | None = None, *secrets: str) -> Journal:
    return Journal(folder, disk or InlineDisk(1), clock=lambda: 1_780_000_000.25, secrets=secrets)


async def test_a_line_has_time_ids_and_what_happened(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.note("streams", "started", call_id="call_1", stream_id="stream_1", dialect="twilio")
    await journal.write()
    assert read_log(tmp_path, "streams") == [
        {
            "time": "2026-05-28T20:26:40.250000Z",
            "log": "streams",
            "level": "info",
            "what": "started",
            "call_id": "call_1",
            "stream_id": "stream_1",
            "dialect": "twilio",
        }
    ]
    assert stat.S_IMODE((tmp_path / "streams.jsonl").stat().st_mode) == 0o600


@pytest.mark.documents("three-logs")
async def test_three_logs_are_three_files(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.note("answers", "answered")
    journal.note("streams", "open")
    journal.note("webhooks", "accepted")
    await journal.write()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{log}.jsonl" for log in LOGS]


async def test_whatever_a_peer_sent_is_one_line_of_json(tmp_path: Path) -> None:
    journal = make(tmp_path)
    hostile = 'line\nend "quote" \x1b[31m \u2028 \ud800 é'
    journal.note("streams", "message", text=hostile, more={"a": (1, None, True, [Path("x")])})
    await journal.write()
    (line,) = (tmp_path / "streams.jsonl").read_bytes().splitlines()
    assert line.isascii()
    read = json.loads(line)
    assert read["text"] == hostile
    assert read["more"] == {"a": [1, None, True, ["x"]]}


async def test_secrets_and_stream_tokens_are_kept_out_as_a_last_fence(tmp_path: Path) -> None:
    journal = make(tmp_path, None, 'the "secret"')
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[assignment]
    logger = logging.getLogger("minivoice_ref.answers")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        why = 'x the "secret" y, wss://h/stream/abcdefghijkl?x=1 z'
        journal.note("answers", "failed", traceback=why, deep={"list": [why]})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    await journal.write()
    clean = "x [redacted] y, wss://h/stream/abcdef…?x=1 z"
    (line,) = read_log(tmp_path, "answers")
    assert (line["traceback"], line["deep"]) == (clean, {"list": [clean]})
    (record,) = records
    assert getattr(record, "minivoice", None) == line
    assert "secret" not in record.getMessage() and "ghijkl" not in record.getMessage()


async def test_a_secret_that_is_a_word_of_ours_garbles_no_line(tmp_path: Path) -> None:
    journal = make(tmp_path, None, "streams", "started", "2026")
    journal.note("streams", "started", call_id="started")
    await journal.write()
    (line,) = read_log(tmp_path, "streams")
    assert (line["log"], line["what"], line["time"][:4]) == ("streams", "started", "2026")
    assert line["call_id"] == "[redacted]"


def test_a_fault_is_told_in_one_line_without_the_groups_around_it() -> None:
    group = ExceptionGroup("nursery", [ExceptionGroup("nursery", [KeyError("x\ny" + "z" * 500)])])
    told = told_of(group)
    assert told["error"].startswith("KeyError: 'x") and len(told["error"]) == 400
    assert "nursery" in told["traceback"]
    two = ExceptionGroup("two", [ValueError(), ValueError()])
    assert told_of(two)["error"] == "ExceptionGroup: two (2 sub-exceptions)"


def test_a_name_that_is_not_documented_is_a_slip_of_ours(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        make(tmp_path).note("answers", "started")


async def test_an_orderly_end_writes_all_that_was_noted(tmp_path: Path) -> None:
    for cancelled in (False, True):
        with trio.CancelScope() as scope:
            async with open_journal(
                tmp_path, ThreadDisk(1), clock=wall_clock, timeouts=Timeouts()
            ) as journal:
                for number in range(1000):
                    journal.note("streams", "message", number=number)
                if cancelled:
                    scope.cancel()
        lines = read_log(tmp_path, "streams")
        assert [line["number"] for line in lines] == list(range(1000)) * (1 + cancelled)


async def test_what_is_noted_is_written_soon(tmp_path: Path, autojump_clock: object) -> None:
    async with open_journal(
        tmp_path, InlineDisk(1), clock=wall_clock, timeouts=Timeouts()
    ) as journal:
        for number in range(3):
            journal.note("webhooks", "accepted", number=number)
            await settle()
            assert len(read_log(tmp_path, "webhooks")) == number + 1


async def test_a_torn_last_line_is_ended_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "streams.jsonl"
    path.write_bytes(b'{"what": "open"}\n{"what": "sta')
    journal = make(tmp_path)
    journal.note("streams", "open")
    await journal.write()
    first, torn, last = path.read_bytes().splitlines()
    assert torn == b'{"what": "sta'
    assert json.loads(first)["what"] == json.loads(last)["what"] == "open"


async def test_a_log_may_be_moved_away_at_any_time(tmp_path: Path) -> None:
    journal = make(tmp_path)
    for number in range(2):
        journal.note("streams", "message", number=number)
        await journal.write()
        (tmp_path / "streams.jsonl").rename(tmp_path / f"streams.{number}")
    assert json.loads((tmp_path / "streams.1").read_text())["number"] == 1


async def test_a_failing_disk_loses_nothing_when_it_works_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    (tmp_path / "streams.jsonl").mkdir()  # cannot be opened for writing
    async with open_journal(
        tmp_path, InlineDisk(1), clock=wall_clock, timeouts=Timeouts()
    ) as journal:
        journal.note("streams", "message", number=0)
        journal.note("answers", "answered")
        await settle()
        assert "streams.jsonl" in str(journal.trouble)
        journal.note("streams", "message", number=1)
        (tmp_path / "streams.jsonl").rmdir()
        await trio.sleep(2.01)
        assert journal.trouble is None
        assert [line["number"] for line in read_log(tmp_path, "streams")] == [0, 1]
        assert len(read_log(tmp_path, "answers")) == 1


async def test_without_a_thread_to_write_them_lines_wait(
    tmp_path: Path, autojump_clock: object
) -> None:
    class NoThread(InlineDisk):
        threads = 0

        async def run(self, work: Callable[[], Any]) -> Any:
            if not self.threads:
                await trio.lowlevel.checkpoint()
                raise OSError(11, "can't start new thread")
            return await super().run(work)

    disk = NoThread(1)
    async with open_journal(tmp_path, disk, clock=wall_clock, timeouts=Timeouts()) as journal:
        journal.note("answers", "answered")
        await trio.sleep(3)
        assert "can't start new thread" in str(journal.trouble)
        disk.threads = 1
        await trio.sleep(2.01)
        assert journal.trouble is None and len(read_log(tmp_path, "answers")) == 1


async def test_a_disk_that_fails_in_the_middle_of_a_line_repeats_that_line_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = make(tmp_path)
    for number in range(3):
        journal.note("streams", "message", number=number)
    real, room = os.write, [200]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[: room[0]])
        room[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        await journal.write()
    assert journal.trouble == "streams.jsonl: No space left on device"
    await journal.write()
    whole = []
    for line in (tmp_path / "streams.jsonl").read_bytes().splitlines():
        try:
            whole.append(json.loads(line)["number"])
        except ValueError:
            assert line.startswith(b'{"time"')  # the half that was written before
    assert whole == [0, 1, 2]


async def test_what_does_not_fit_is_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MOST_BYTES", 1000)
    journal = make(tmp_path)
    for number in range(20):
        journal.note("streams", "message", number=number)
    await journal.write()
    kept = len(read_log(tmp_path, "streams"))
    assert 5 < kept < 10
    journal.note("streams", "open")
    await journal.write()
    *_, lost, opened = read_log(tmp_path, "streams")
    assert (lost["what"], lost["lines"], lost["level"]) == ("lost_lines", 20 - kept, "error")
    assert opened["what"] == "open"


async def test_a_write_that_is_cancelled_before_it_began_keeps_its_lines(tmp_path: Path) -> None:
    journal = make(tmp_path)
    journal.note("streams", "open")
    with trio.CancelScope() as scope:
        scope.cancel()
        await journal.write()
    assert not list(tmp_path.iterdir())
    await journal.write()
    assert len(read_log(tmp_path, "streams")) == 1


def test_every_kind_of_line_says_what_it_means() -> None:
    assert set(WHAT) == set(LOGS)
    for meanings in WHAT.values():
        assert all(name.replace("_", "").isalpha() and told for name, told in meanings.items())


def test_people_read_a_line_without_surprises() -> None:
    line = {"time": "t", "log": "streams", "level": "info", "what": "open", "call_id": "call_1"}
    assert in_words(line | {"text": "two words", "n": 5}) == (
        'open call_id=call_1 text="two words" n=5'
    )
    assert "\x1b" not in in_words(line | {"text": "\x1b[2J"})


def test_the_terminal_shows_which_log_a_line_is_of(tmp_path: Path) -> None:
    stream = io.StringIO()
    journal = make(tmp_path)
    journal.note("streams", "open", number=1)
    with log_to_terminal(stream):
        journal.note("streams", "open", number=2)
        journal.note("webhooks", "refused", level=logging.WARNING, status=401)
    journal.note("streams", "open", number=3)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("streams   ") and first.endswith("  open number=2")
    assert second.startswith("webhooks  ") and second.endswith("  WARNING  refused status=401")
    datetime.strptime(first.split()[1], "%H:%M:%S.%f")


def test_a_terminal_that_stands_still_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from minivoice_ref.receiver import terminal

    monkeypatch.setattr(terminal, "_MOST_LINES", 3)
    reader, writer = os.pipe()
    received: list[bytes] = []

    def read() -> None:
        while data := os.read(reader, 1 << 20):
            received.append(data)

    person = threading.Thread(target=read)
    with open(writer, "w", encoding="utf-8") as stream:
        with log_to_terminal(stream) as logger:
            for _ in range(20):
                logger.info("x" * 30000)  # a pipe holds two of these, the queue three
            person.start()
    person.join()
    os.close(reader)
    assert 2 <= b"".join(received).count(b"\n") < 20


def test_a_terminal_that_stands_still_does_not_keep_the_program_from_ending() -> None:
    program = """
import logging, sys
from minivoice_ref.receiver import terminal

terminal._MOST_LINES, terminal._LAST_WRITE = 3, 0.1
with terminal.log_to_terminal() as logger:
    for _ in range(20):
        logger.info("x" * 30000)
print("ended")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        assert process.wait(20) == 0  # though nobody reads what it wrote
        assert process.stdout.read() == b"ended\n"
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()


def test_the_loggers_are_as_they_were_when_the_terminal_goes() -> None:
    logger = logging.getLogger("minivoice_ref.streams")
    with log_to_terminal(io.StringIO()):
        assert logger.isEnabledFor(logging.INFO)
    assert not logger.isEnabledFor(logging.INFO)


def test_the_formatter_takes_records_of_anybody() -> None:
    record = logging.LogRecord("other", logging.ERROR, "", 0, "it %s", ("broke",), None)
    assert TerminalFormatter().format(record).endswith("ERROR  it broke")


async def test_no_log_has_any_secret_of_the_run(tmp_path: Path, autojump_clock: object) -> None:
    secrets = {"webhook_secret": "webhook-hush-hush", "token_key": "token-hush-hush"}
    config = settings(tmp_path, record=True, **secrets)
    async with open_lab(App(), config) as lab:
        signed = {SIGNATURE_HEADER: "v1=" + "ab" * 32, TIMESTAMP_HEADER: "1780000000"}
        await lab.deliver(webhook(), headers=signed | {"Cookie": "cookie-hush-hush"})
        await lab.deliver(webhook(), secret="webhook-hush-hush")
        await lab.request("POST", "/answer?token=query-hush-hush", b"<", {"Cookie": "hush-hush"})
        url = await lab.stream_url()
        async with lab.stream(url=url) as caller:
            await caller.start(custom={"password": "custom-hush-hush"})
            await caller.speak(1)
            await caller.stop()
            await caller.close_code()
        await lab.request("GET", url.removeprefix("wss://receiver.test:80"))
    token = url.rpartition("/")[2]
    files = [path for path in config.data.rglob("*") if path.suffix in (".jsonl", ".json")]
    assert len(files) == 4
    for file in files:
        text = file.read_text()
        assert text and token not in text and token[:12] not in text
        assert "hush" not in text and "ab" * 16 not in text


class Slow:
    """A disk that takes its time, and notes when it was asked."""

    def __init__(self) -> None:
        self.began: list[float] = []

    async def run(self, work: Callable[[], _T]) -> _T:
        self.began.append(trio.current_time())
        await trio.sleep(0.5)
        return work()


async def test_many_lines_are_one_write(tmp_path: Path, autojump_clock: object) -> None:
    disk = Slow()
    async with open_journal(tmp_path, disk, clock=wall_clock, timeouts=Timeouts()) as journal:
        journal.note("streams", "open")
        await trio.sleep(0.1)
        for number in range(500):
            journal.note("streams", "message", number=number)
        await trio.sleep(2)
        assert len(disk.began) == 2
        assert len(read_log(tmp_path, "streams")) == 501
