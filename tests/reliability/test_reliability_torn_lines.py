"""A process may be killed in the middle of a line: whoever reads a log bears with that.

Who reads logs: `explain`, the console, and the receiver itself, which goes on behind the torn line.
Who reads captures: `show` and `replay`.
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import trio
from reliability_lab import event, running

from minivoice_ref.cli import main
from minivoice_ref.console.console import _tails
from minivoice_ref.receiver.journal import LOGS

PACKAGE = Path(__file__).parent.parent.parent / "minivoice_ref"


async def leave_logs(data: Path) -> None:
    """Have a receiver serve a call and be killed."""
    with trio.fail_after(90):
        async with running(data, capture=True) as receiver:
            async with receiver.stream("call_7") as caller:
                await caller.start()
                await caller.speak(20)
                await caller.stop()
                await caller.close_code()
            assert await receiver.deliver(event(7)) == 200
            await receiver.until(lambda: bool(receiver.lines("webhooks", "handled")))
            await receiver.until(lambda: bool(receiver.lines("streams", "account")))
            receiver.process.send_signal(signal.SIGKILL)
            await receiver.process.wait()


def torn(path: Path) -> list[bytes]:
    """The content of a file, cut short at each fifth place of its last line."""
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    return [whole[:end] for end in range(last, len(whole), 5)]


def test_the_readers_of_logs_are_those_that_are_tried_here() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\blast_lines\(|\.jsonl\b.*(open|read)", path.read_text("utf-8"))
    }
    assert readers - {"receiver/log_files.py"} == {"commands/explain.py", "console/console.py"}


async def test_a_torn_last_line_is_borne_with_by_every_reader_of_the_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    await leave_logs(data)
    whole = len(_tails(data))
    for log in LOGS:
        path = data / f"{log}.jsonl"
        kept = path.read_bytes()
        for cut in torn(path):
            path.write_bytes(cut)
            assert len(_tails(data)) >= whole - 1
            assert main(["explain", "call_7", "--json", "--data", str(data)]) in (0, 1)
            explanation = json.loads(capsys.readouterr().out)
            assert explanation["lines_left_out"] <= 1
        path.write_bytes(kept)


async def test_a_receiver_goes_on_behind_a_torn_line_and_loses_that_line_alone(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    await leave_logs(data)
    before = {}
    for log in LOGS:
        path = data / f"{log}.jsonl"
        before[log] = path.read_bytes().splitlines()[:-1]
        cuts = torn(path)
        path.write_bytes(cuts[len(cuts) // 2])
    with trio.fail_after(90):
        async with running(data) as receiver:
            async with receiver.stream("call_8") as caller:
                await caller.start()
                await caller.stop()
                await caller.close_code()
            assert await receiver.deliver(event(8)) == 200
            await receiver.until(lambda: bool(receiver.lines("answers", "answered")))
            receiver.process.send_signal(signal.SIGTERM)
            assert await receiver.process.wait() == 0
    for log in LOGS:
        lines = (data / f"{log}.jsonl").read_bytes().splitlines()
        assert lines[: len(before[log])] == before[log]
        half, new = lines[len(before[log])], lines[len(before[log]) + 1 :]
        assert new and all(json.loads(line) for line in new)
        with pytest.raises(ValueError):
            json.loads(half)


async def test_a_torn_capture_is_read_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    await leave_logs(data)
    (capture,) = (data / "captures").glob("*.gz")
    kept = capture.read_bytes()
    for end in range(len(kept) // 2, len(kept), 3):
        capture.write_bytes(kept[:end])
        assert main(["show", "--json", str(capture)]) in (0, 1)
        shown = json.loads(capsys.readouterr().out)
        no_text = 20  # bytes at the end: empty blocks, and gzip's sums
        assert not shown["complete"] or end > len(kept) - no_text
