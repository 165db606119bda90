"""The corpus of abuse against a whole receiver, in memory and in virtual time, case by case.

After each: answered or closed within its deadline, the memory bounded, no task left, no fault of
ours in the logs, no secret either, and the next caller is served.
"""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from abuse_corpus import Case, read_corpus
from abuse_ground import WALL, Ground, open_in_memory
from abuse_parts import CONSOLE_TOKEN, SECRET, TOKEN_KEY, Words
from abuse_player import judge, judge_logs, patience, play, strange_tls
from trio.testing import MockClock

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.net.tls import client_context
from minivoice_ref.testing import living_tasks

CASES = read_corpus()
_PRINTABLE = {"\n", *map(chr, range(32, 127))}
_USUAL = 0.0075  # seconds that `piece_of_work` takes where the corpus was written


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("abuse-certificates"))


def both_ways(case: Case) -> Iterator[Any]:
    """The case as a parameter, by both ways to read where it comes to a WebSocket or to TLS."""
    name = f"{case.subject}: {case.name}"
    yield pytest.param(case, "fast", id=name)
    if case.is_stream or case.door in ("tls", "beneath tls"):
        yield pytest.param(case, "simple", id=f"{name} (simple)")


@pytest.mark.parametrize("case, transport", [one for case in CASES for one in both_ways(case)])
async def test_abuse_is_answered_and_the_next_caller_is_served(
    case: Case,
    transport: str,
    certificates: Certificates,
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    behind_tls = case.door in ("tls", "beneath tls")
    trusted = client_context(certificates.ca) if behind_tls else None
    shown = certificates if behind_tls else None
    nobody = living_tasks()
    async with open_in_memory(tmp_path / "data", shown, trusted, transport=transport) as (
        ground,
        network,
    ):

        async def connect(case: Case) -> trio.abc.Stream:
            stream = await network.connect(*ground.address, False)
            if trusted is None or case.door == "beneath tls":
                return stream
            return await strange_tls(case, stream, trusted, certificates)

        tasks = await settle()
        ground.news()
        words = Words(WALL + trio.current_time())
        with bounded_memory(case.memory), bounded_work(case.cpu):
            heard = await play(case, connect, words, ground.config.timeouts, slack=0.01)
            await at_rest(tasks, heard.sent_at + patience(case, ground.config.timeouts))
        faults = list(judge(case, heard, ground.config.timeouts, slack=0.01))
        faults += judge_logs(case, ground.news())
        assert not faults, "\n".join(faults)
        token = words.tokens["<token>"].partition(".")[0]
        assert_nowhere(ground, SECRET, TOKEN_KEY, CONSOLE_TOKEN, token, *case.hidden)
        await ground.serve_next_caller()
        assert await settle() == tasks
    assert living_tasks() == nobody
    assert_recordings_are_whole(tmp_path / "data")


async def settle() -> int:
    """Wait until nothing more happens at this moment; return how many tasks are alive."""
    await trio.testing.wait_all_tasks_blocked()
    return living_tasks()


async def at_rest(tasks: int, deadline: float) -> None:
    """Wait until no more than *tasks* are alive, at most until *deadline*."""
    while await settle() > tasks and trio.current_time() < deadline:  # noqa: ASYNC110
        await trio.sleep_until(min(deadline, trio.current_time() + 0.5))
    assert await settle() == tasks


@contextmanager
def bounded_memory(kibibytes: int) -> Iterator[None]:
    """Fail if more than this is ever held at once within the block."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        held = (tracemalloc.get_traced_memory()[1] - before) // 1024
    finally:
        tracemalloc.stop()
    assert held <= kibibytes, f"{held} KiB were held"


@contextmanager
def bounded_work(seconds: float) -> Iterator[None]:
    """Fail if the block takes more of the processor's time: all other calls stand still then.

    On a machine that is slower than `_USUAL` at the moment, it may be as much more.
    """
    slowness = piece_of_work() / _USUAL
    before = time.process_time()
    yield
    took = time.process_time() - before
    most = seconds * max(1.0, slowness, piece_of_work() / _USUAL)
    assert took <= most, f"{took:.1f} s of work, where {most:.1f} are allowed"


def piece_of_work() -> float:
    """How many seconds of the processor's time a piece of work takes that is always the same."""
    before = time.process_time()
    for number in range(50_000):
        str(number).encode()
    return time.process_time() - before


def assert_nowhere(ground: Ground, *secrets: str) -> None:
    """No log and no capture has any of the *secrets*, and no log has what a terminal obeys."""
    logs = [path.read_text("utf-8") for path in ground.config.data.glob("*.jsonl")]
    captures = ground.config.data.rglob("*.gz")
    for text in logs + [gzip.decompress(path.read_bytes()).decode() for path in captures]:
        assert set(text) <= _PRINTABLE
        for secret in secrets:
            assert secret not in text


def assert_recordings_are_whole(data: Path) -> None:
    """Each recording is a WAV file of the size that its header says."""
    for path in data.rglob("*.wav"):
        with path.open("rb") as file:  # its head only: it may be of 4 GiB, most of them holes
            size = int.from_bytes(file.read(44)[40:], "little")
        assert path.stat().st_size == size + 44
        assert path.with_suffix(".json").exists()
