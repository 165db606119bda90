"""The soak sees what is lost, and says so. What it finds is no matter of tests."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak_account import MOST_GROWTH, Soak, growth
from minivoice_ref.receiver.inbox_file import SCHEMA
from minivoice_ref.simulator.report import CallReport, StreamReport, Sums, WebhookReport

ROOT = Path(__file__).parent.parent
EVENT = "call.completed"
CALLS = 20
LEVEL = [(float(at), 40_000) for at in range(100)]


def report(number: int, *, fault: str | None = None, status: int | None = 200) -> CallReport:
    """A call with one stream of 10 frames and one webhook."""
    stream = StreamReport(
        stream_url="wss://x",
        track="both",
        stream_id="MZ",
        sent={"inbound": Sums(6, 960), "outbound": Sums(4, 640)},
        close_code=1000,
        fault=fault,
    )
    return CallReport(
        call_id=f"call_{number}",
        steps=(),
        streams=[stream],
        webhooks=[WebhookReport(EVENT, 1, status)],
        answer_seconds=0.1,
    )


def log(folder: Path, name: str, **fields: object) -> None:
    with (folder / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(fields) + "\n")


def change(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / "inbox.sqlite3")
    database.executescript(statement)
    database.commit()
    database.close()


@pytest.fixture
def soak(tmp_path: Path) -> Soak:
    """A soak of good calls, of which the receiver has everything."""
    soak = Soak(tmp_path, lives=[LEVEL, LEVEL], streams=[CALLS])
    change(tmp_path, SCHEMA)
    for number in range(CALLS):
        soak.add(report(number), faulty=False, unruly=False, stopping=False)
        columns = "key, call_id, event, body, accepted, state, due"
        row = (number, f"call_{number}", EVENT, "{}", 0, "handled", 0)
        change(tmp_path, f"INSERT INTO events ({columns}) VALUES {row}")
        log(tmp_path, "webhooks", what="handled", call_id=f"call_{number}", event=EVENT)
        tracks = {"inbound": {"frames": 6}, "outbound": {"frames": 4}}
        log(tmp_path, "streams", what="account", call_id=f"call_{number}", tracks=tracks)
    return soak


def test_a_soak_of_which_everything_arrived_keeps_every_promise(soak: Soak) -> None:
    assert soak.broken(judges_memory=True) == []
    found = soak.figures()
    assert (found["calls"], found["frames"], found["events acknowledged"]) == (20, 200, 20)
    assert found["events lost"] == found["frames lost"] == soak.waiting == 0


def forget_an_event(soak: Soak) -> None:
    change(soak.data, "DELETE FROM events WHERE call_id = 'call_3'")


def leave_an_event_waiting(soak: Soak) -> None:
    change(soak.data, "UPDATE events SET state = 'waiting' WHERE call_id = 'call_3'")


def handle_an_event_twice(soak: Soak) -> None:
    log(soak.data, "webhooks", what="handled", call_id="call_3", event=EVENT)


def lose_a_stream(soak: Soak) -> None:
    soak.add(report(99), faulty=False, unruly=False, stopping=False)


def give_up_a_webhook(soak: Soak) -> None:
    soak.add(report(0, status=503), faulty=True, unruly=False, stopping=False)


def break_streams(soak: Soak) -> None:
    for number in range(5):
        soak.add(report(number, fault="cut off"), faulty=False, unruly=False, stopping=False)


def grow(soak: Soak) -> None:
    soak.lives[1] = [(float(at), 40_000 + 20 * at) for at in range(100)]


@pytest.mark.parametrize(
    "harm, told",
    [
        (forget_an_event, "events lost: 1"),
        (leave_an_event_waiting, "events lost: 1"),
        (handle_an_event_twice, "events handled twice: 1"),
        (lose_a_stream, "frames lost: 10"),
        (give_up_a_webhook, "webhooks given up: 1"),
        (break_streams, "only 20 streams without a fault came whole"),
        (grow, "memory grew by [0.0, 2.89] %"),
    ],
)
def test_a_promise_that_was_not_kept_is_told(
    soak: Soak, harm: Callable[[Soak], None], told: str
) -> None:
    harm(soak)
    assert told in soak.broken(judges_memory=True)


def test_what_fails_by_a_fault_of_its_own_or_while_the_receiver_goes_is_no_loss(soak: Soak) -> None:
    for number in range(20, 40):
        soak.add(report(number, fault="cut off"), faulty=True, unruly=True, stopping=False)
    assert all("webhook" in one or "events" in one for one in soak.broken(judges_memory=True))
    assert soak.figures()["frames lost"] == 0


def test_growth_is_that_of_a_line_laid_behind_the_warm_up() -> None:
    assert growth([]) == growth(LEVEL[:2]) == growth(LEVEL) == 0.0
    warms_up = [(float(at), 20_000 + 500 * min(at, 40)) for at in range(100)]
    assert growth(warms_up) == 0.0
    one_is_high = [*LEVEL[:70], (70.0, 41_000), *LEVEL[71:]]
    assert 0 <= growth(one_is_high) < MOST_GROWTH / 4


def test_a_soak_explains_itself() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--help"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python -m benchmarks.soak --seconds 60" in said.stdout
