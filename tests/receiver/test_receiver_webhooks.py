"""Webhooks: proven, committed, acknowledged, then handled: once each, later where need be."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import receiver_lab
import trio
from receiver_lab import Lab, open_lab, patient, settings, settle, wall_clock, webhook

from minivoice_ref.config import Config, ConfigError
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.protocol.webhooks import CallEvent, read_event
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import Disk, InlineDisk
from minivoice_ref.receiver.commons import InboxFailed, WaitingEvent
from minivoice_ref.receiver.inbox import open_inbox
from minivoice_ref.receiver.server import serve

_T = TypeVar("_T")
SECRET = "a webhook secret of the tests"


class Handler:
    """An application that notes its events, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.events: list[tuple[float, str, str]] = []

    async def on_event(self, event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        self.events.append((trio.current_time(), event.event, event.call.id))
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the application's own fault")

    @property
    def app(self) -> App:
        return App(on_event=self.on_event)

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in self.events]


def states(lab: Lab) -> dict[str, int]:
    """How many events the inbox has in each state."""
    with sqlite3.connect(lab.config.data / "inbox.sqlite3") as database:
        rows = database.execute("SELECT state, COUNT(*) FROM events GROUP BY state").fetchall()
    database.close()
    return dict(rows)


@pytest.mark.documents("any-2xx", "accept-then-work")
async def test_an_event_is_acknowledged_and_then_handled_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        response = await lab.deliver(webhook("call.completed"))
        assert response.status == 200
        assert json.loads(response.body) == {"accepted": True, "duplicate": False}
        await settle()
        assert handler.names == ["call.completed"]
        assert states(lab) == {"handled": 1}
        (accepted,) = await lab.lines("webhooks", "accepted")
        (handled,) = await lab.lines("webhooks", "handled")
        assert accepted["call_id"] == handled["call_id"] == "call_1"
        assert (accepted["event"], accepted["status"]) == ("call.completed", "completed")


@pytest.mark.documents("accept-then-work")
async def test_an_event_is_on_the_disk_before_it_is_acknowledged(
    tmp_path: Path, autojump_clock: object
) -> None:
    never = trio.Event()

    async def on_event(event: CallEvent) -> None:
        await never.wait()

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        assert (await lab.deliver(webhook())).status == 200
        assert states(lab) == {"waiting": 1}
        never.set()


@pytest.mark.documents("duplicates")
async def test_a_duplicate_is_acknowledged_and_not_handed_on_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        for _ in range(3):
            response = await lab.deliver(webhook("call.answered"))
            assert response.status == 200
        assert json.loads(response.body)["duplicate"] is True
        await settle()
        assert handler.names == ["call.answered"]
        assert len(await lab.lines("webhooks", "duplicate")) == 2


@pytest.mark.documents("duplicates")
async def test_a_duplicate_is_known_after_a_restart(tmp_path: Path, autojump_clock: object) -> None:
    handler = Handler()
    for _ in range(2):
        async with open_lab(handler.app, settings(tmp_path)) as lab:
            assert (await lab.deliver(webhook())).status == 200
            await settle()
    assert handler.names == ["call.completed"]


@pytest.mark.documents("keyed-by-call-and-event")
async def test_two_gatherings_of_one_call_are_two_events(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        for digits in ("1", "2", "1"):
            await lab.deliver(webhook("call.gathered", digits=digits))
        await settle()
    assert handler.names == ["call.gathered"] * 2


async def test_an_unknown_event_is_accepted_and_handed_on(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        assert (await lab.deliver(webhook("call.levitated"))).status == 200
        (line,) = await lab.lines("webhooks", "accepted")
        assert line["known"] is False
    assert handler.names == ["call.levitated"]


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        ({}, "missing"),
        ({SIGNATURE_HEADER: "v1=" + "0" * 64}, "missing"),
        ({SIGNATURE_HEADER: "v1=" + "0" * 64, TIMESTAMP_HEADER: "1780000000"}, "wrong"),
        ({SIGNATURE_HEADER: "v1=short", TIMESTAMP_HEADER: "1780000000"}, "malformed"),
        (
            {
                SIGNATURE_HEADER: sign_webhook(SECRET, "1779999000", webhook()),
                TIMESTAMP_HEADER: "1779999000",
            },
            "stale",
        ),
    ],
)
@pytest.mark.documents("signature")
async def test_an_unproven_webhook_is_refused_with_401_and_logged(
    signed: dict[str, str], why: str, tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    config = settings(tmp_path, webhook_secret=SECRET, webhook_tolerance=300.0)
    async with open_lab(handler.app, config) as lab:
        response = await lab.deliver(webhook(), headers=signed)
        assert response.status == 401
        (line,) = await lab.lines("webhooks", "refused")
        assert (line["status"], line["level"]) == (401, "warning")
        assert f"signature {why}" in line["why"]
        assert states(lab) == {}
    assert not handler.events


async def test_a_call_is_busy_until_its_event_has_been_marked(
    tmp_path: Path, autojump_clock: object
) -> None:
    first, second = webhook("call.created"), webhook("call.completed")
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=lambda: 0.0) as inbox:
        for body in (first, second):
            assert await inbox.accept(read_event(body), body)
        taken = await inbox.take()
        assert isinstance(taken, WaitingEvent) and taken.event == "call.created"
        assert await inbox.take() == float("inf")
        await inbox.handled(taken)
        taken = await inbox.take()
        assert isinstance(taken, WaitingEvent) and taken.event == "call.completed"


async def test_an_event_that_kills_whoever_tries_it_is_set_aside_after_as_many_attempts(
    tmp_path: Path, autojump_clock: object
) -> None:
    body, tried = webhook(), []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        tried.append(event)

    config = settings(tmp_path, event_attempts=3)
    config.data.mkdir(parents=True)
    for number in range(3):  # taken, and never marked
        path = config.data / "inbox.sqlite3"
        async with open_inbox(path, tmp_path, InlineDisk, clock=lambda: 0.0) as inbox:
            await inbox.recover()
            assert await inbox.accept(read_event(body), body) is (number == 0)
            taken = await inbox.take()
            assert isinstance(taken, WaitingEvent) and taken.attempt == number + 1
    async with open_lab(App(on_event=on_event), config) as lab:
        await settle()
        assert states(lab) == {"set_aside": 1}
        (line,) = await lab.lines("webhooks", "set_aside")
        assert line["error"] == "RuntimeError: the process ended in each of 3 attempts"
    assert not tried


async def test_an_older_sqlite_can_read_the_inbox(tmp_path: Path, autojump_clock: object) -> None:
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=lambda: 0.0):
        with sqlite3.connect(tmp_path / "inbox") as database:
            schema = str(database.execute("SELECT sql FROM sqlite_master").fetchall())
        database.close()
    assert "events" in schema and "STRICT" not in schema  # STRICT came with 3.37


async def test_what_a_platform_writes_at_length_is_shortened_in_the_log(
    tmp_path: Path, autojump_clock: object
) -> None:
    body = json.loads(webhook("call." + "x" * 5000))
    body["call"]["status"] = "y" * 5000
    async with open_lab(App(), settings(tmp_path)) as lab:
        await lab.deliver(json.dumps(body).encode())
        lines = [*await lab.lines("webhooks", "accepted"), *await lab.lines("webhooks", "handled")]
    assert [len(line["event"]) for line in lines] == [400, 400]
    assert len(lines[0]["status"]) == 400


async def test_a_proven_webhook_is_accepted(tmp_path: Path, autojump_clock: object) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path, webhook_secret=SECRET)) as lab:
        assert (await lab.deliver(webhook(), secret=SECRET)).status == 200
        assert (await lab.deliver(webhook(), secret="another")).status == 401
        await settle()
    assert len(handler.events) == 1


async def test_a_webhook_with_faults_is_refused_with_400_and_every_fault_is_logged(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        response = await lab.deliver(b'{"event": 7, "call": {}}')
        assert response.status == 400
        assert b"created_at" not in response.body  # a short reason, without internals
        (line,) = await lab.lines("webhooks", "refused")
        places = [problem.partition(":")[0] for problem in line["problems"]]
        assert sorted(places) == ["call.id", "created_at", "event"]


async def test_only_post_is_for_webhooks(tmp_path: Path, autojump_clock: object) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        response = await lab.request("GET", "/webhooks")
        assert (response.status, response.header("Allow")) == (405, "POST")
        (line,) = await lab.lines("webhooks", "refused")
        assert line["status"] == 405


async def test_a_failing_event_is_tried_again_later_each_time(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler(failures=4)
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        began = trio.current_time()
        await lab.deliver(webhook())
        await trio.sleep(20)
        assert [round(moment - began, 3) for moment, _, _ in handler.events] == [0, 1, 3, 7, 15]
        failed = await lab.lines("webhooks", "failed")
        assert [line["again_in"] for line in failed] == [1, 2, 4, 8]
        assert "the application's own fault" in failed[0]["traceback"]
        assert states(lab) == {"handled": 1}


async def test_no_event_waits_longer_than_five_minutes_to_be_tried_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(Handler(failures=11).app, settings(tmp_path)) as lab:
        await lab.deliver(webhook())
        await trio.sleep(3600)
        failed = await lab.lines("webhooks", "failed")
        assert [line["again_in"] for line in failed][-3:] == [256, 300, 300]
        assert states(lab) == {"handled": 1}


async def test_what_is_not_handled_is_never_forgotten(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, webhook_memory=1.0, event_attempts=2)
    async with open_lab(Handler(failures=2).app, config) as lab:
        await lab.deliver(webhook())
        await trio.sleep(10_000)
        assert states(lab) == {"set_aside": 1}


async def test_an_event_that_keeps_failing_is_set_aside_and_blocks_no_other(
    tmp_path: Path, autojump_clock: object
) -> None:
    seen: list[str] = []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        seen.append(event.event)
        if event.event == "call.created":
            raise RuntimeError("always")

    config = settings(tmp_path, event_attempts=3)
    async with open_lab(App(on_event=on_event), config) as lab:
        await lab.deliver(webhook("call.created"))
        await lab.deliver(webhook("call.answered"))
        await settle()
        assert seen == ["call.created", "call.answered"]
        await trio.sleep(3600)
        assert seen.count("call.created") == 3
        assert states(lab) == {"handled": 1, "set_aside": 1}
        (line,) = await lab.lines("webhooks", "set_aside")
        assert (line["attempt"], line["error"]) == (3, "RuntimeError: always")


class Unspeakable(Exception):
    """What an application may raise: it fails even at saying what it is."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]  # a number, which is the fault


async def test_a_failure_that_cannot_say_what_it_is_takes_nobody_down(
    tmp_path: Path, autojump_clock: object
) -> None:
    failures = [Unspeakable(7)]

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        if failures:
            raise failures.pop()

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        await lab.deliver(webhook())
        await trio.sleep(2)
        assert states(lab) == {"handled": 1}
        (line,) = await lab.lines("webhooks", "failed")
        assert line["error"] == "Unspeakable: <exception str() failed>"


async def test_an_event_does_not_wait_until_a_clock_that_was_set_back_has_caught_up(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler(failures=1)
    year = 365 * 24 * 3600.0
    monkeypatch.setattr(receiver_lab, "wall_clock", lambda: wall_clock() + year)
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        await lab.deliver(webhook())
        await settle()
        assert len(handler.events) == 1
        year = 0.0
        await trio.sleep(2)
        assert len(handler.events) == 2 and states(lab) == {"handled": 1}


@pytest.mark.documents("kept-apart")
async def test_a_handler_that_hangs_holds_up_its_own_call_only(
    tmp_path: Path, autojump_clock: object
) -> None:
    seen: list[tuple[str, str]] = []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        seen.append((event.call.id, event.event))
        if event.event == "call.created":
            await trio.sleep(100)

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        for call_id in ("call_1", "call_2"):
            await lab.deliver(webhook("call.created", call_id))
            await lab.deliver(webhook("call.answered", call_id))
        await lab.deliver(webhook("call.answered", "call_3"))
        await settle()
        assert seen == [
            ("call_1", "call.created"),
            ("call_2", "call.created"),
            ("call_3", "call.answered"),
        ]
        await trio.sleep(101)
        assert len(seen) == 5


async def test_at_most_eight_calls_are_worked_on_at_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    running = most = 0

    async def on_event(event: CallEvent) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(10)
        running -= 1

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        for number in range(20):
            await lab.deliver(webhook(call_id=f"call_{number}"))
        await trio.sleep(31)
        assert (most, states(lab)) == (8, {"handled": 20})


async def test_draining_waits_for_what_is_being_handled_and_leaves_the_rest_for_the_next_start(
    tmp_path: Path, autojump_clock: object
) -> None:
    done: list[str] = []

    async def on_event(event: CallEvent) -> None:
        await trio.sleep(2 if event.event == "call.created" else 100)
        done.append(event.event)

    config = settings(tmp_path, timeouts=patient(finish=5))
    async with open_lab(App(on_event=on_event), config) as lab:
        await lab.deliver(webhook("call.created", "call_1"))
        await lab.deliver(webhook("call.created", "call_2"))
        await lab.deliver(webhook("call.completed", "call_2"))
        await lab.deliver(webhook("call.completed", "call_3"))
        began = trio.current_time()
        lab.server.stop()
    assert trio.current_time() - began == 5.0
    assert done == ["call.created", "call.created"]
    assert states(lab) == {"handled": 2, "waiting": 2}

    handler = Handler()
    async with open_lab(handler.app, config):
        await settle()
    assert handler.names == ["call.completed", "call.completed"]


async def test_what_was_handled_at_the_moment_of_a_hard_end_is_not_handled_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()

    async def on_event(event: CallEvent) -> None:
        await handler.on_event(event)
        lab.serving.cancel()

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        assert (await lab.deliver(webhook())).status == 200
    assert states(lab) == {"handled": 1}
    async with open_lab(handler.app, settings(tmp_path)):
        await settle()
    assert handler.names == ["call.completed"]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("in_file", [True, False])
async def test_what_was_handled_is_not_handled_again_though_the_database_never_heard_of_it(
    in_memory: bool,
    in_file: bool,
    tmp_path: Path,
    autojump_clock: object,
) -> None:
    """Unless it could be noted nowhere else either: then at least once it is."""
    (tmp_path / "memory").mkdir()
    place = tmp_path / ("memory" if in_memory else "that is not there")
    handler, disks = Handler(), [FailingDisk(), FailingDisk()]

    async def on_event(event: CallEvent) -> None:
        await handler.on_event(event)
        assert isinstance(event.data, dict)
        event.data["seen"] = True  # what it makes of an event is its own affair
        disks[0].error = sqlite3.OperationalError("database is locked")
        disks[1].error = None if in_file else OSError(28, "No space left on device")
        lab.serving.cancel()

    def open_disk(threads: int) -> Disk:
        return given.pop(0) if given else InlineDisk(threads)

    given: list[Disk] = list(disks)
    app, config = App(on_event=on_event), settings(tmp_path, notes=place)
    async with open_lab(app, config, disk=open_disk) as lab:
        assert (await lab.deliver(webhook())).status == 200
    assert states(lab) == {"waiting": 1}
    given.append(Unmarkable())
    async with open_lab(handler.app, config, disk=open_disk) as another:  # which does not recover
        await trio.sleep(3)
        another.serving.cancel()
    assert states(another) == {"waiting": 1} and len(handler.names) == 1
    async with open_lab(handler.app, config) as again:
        await settle()
        assert states(again) == {"handled": 1}
    assert len(handler.names) == (1 if in_memory or in_file else 2)
    assert not list((tmp_path / "memory").iterdir())  # gone with the last event that needed it
    mode = (config.data / "inbox.sqlite3.alone.returned").stat().st_mode
    assert mode & 0o777 == 0o600


async def test_an_event_that_on_event_made_unreadable_is_not_handed_over_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    begun: list[float] = []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        assert isinstance(event.data, dict)
        event.data["seen"] = object()  # which JSON does not have
        begun.append(trio.current_time())

    async with open_lab(App(on_event=on_event), settings(tmp_path)) as lab:
        await lab.deliver(webhook())
        await trio.sleep(20)
        assert states(lab) == {"handled": 1}
    assert len(begun) == 1


async def test_what_was_noted_of_another_inbox_is_not_believed_of_a_new_one(
    tmp_path: Path, autojump_clock: object
) -> None:
    """The other had its name, or its number, before: then the same event is another one."""
    path, notes = tmp_path / "inbox", tmp_path / "notes"
    notes.mkdir()
    path.touch()
    event, told = read_event(webhook()), os.stat(path)
    digest = hashlib.sha256(event.key.encode()).digest()
    in_memory = notes / f"minivoice-{told.st_dev:x}-{told.st_ino:x}.alone.returned"
    in_memory.write_bytes(digest)
    (tmp_path / "inbox.alone.returned").write_bytes(digest)
    async with open_inbox(path, notes, InlineDisk, clock=trio.current_time) as inbox:
        assert await inbox.accept(event, webhook())
        assert isinstance(await inbox.take(), WaitingEvent)
        await inbox.recover()  # as the next one does when it is killed now
        taken = await inbox.take()
        assert isinstance(taken, WaitingEvent) and taken.attempt == 2


async def test_a_link_in_the_place_of_a_note_in_memory_is_not_followed(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time):
        (note,) = tmp_path.glob("minivoice-*.returned")
    (tmp_path / "ours").write_text("do not write here")
    note.unlink()
    note.symlink_to(tmp_path / "ours")
    async with open_inbox(
        tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time
    ) as inbox:
        await inbox.accept(read_event(webhook()), webhook())
        taken = await inbox.take()
        assert isinstance(taken, WaitingEvent)
        await inbox.returned(taken, "a key")
    assert (tmp_path / "ours").read_text() == "do not write here"


async def test_a_note_in_memory_that_is_somebody_elses_is_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    event = read_event(webhook())
    told = hashlib.sha256(event.key.encode()).digest()
    async with open_inbox(
        tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time
    ) as inbox:
        await inbox.accept(event, webhook())
        (theirs,) = tmp_path.glob("minivoice-*.returned")
    theirs.write_bytes(told)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    async with open_inbox(
        tmp_path / "inbox", tmp_path, InlineDisk, clock=trio.current_time
    ) as inbox:
        await inbox.recover()
        taken = await inbox.take()
        assert isinstance(taken, WaitingEvent)
        await inbox.returned(taken, "another key")
    assert theirs.read_bytes() == told


async def test_a_note_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "inbox.sqlite3.alone.returned").mkdir()
    with pytest.raises(ConfigError, match="^data: .*returned cannot be used: Is a directory"):
        await serve(App(), Config(listen="127.0.0.1:0", plain=True, data=tmp_path))


async def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=lambda: 0.0) as inbox:
        database = inbox._database
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_the_database_keeps_little_of_itself_in_memory(tmp_path: Path) -> None:
    """What it kept by default grew by two megabytes over some thousands of events."""
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=lambda: 0.0) as inbox:
        (pages,) = inbox._database.execute("PRAGMA cache_size").fetchone()
        assert -1024 < pages < 0  # in KiB where it is negative


class FailingDisk:
    """A disk that does its work inline, and fails while it is told to, or so many times."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.fails = 10**9

    async def run(self, work: Callable[[], _T]) -> _T:
        await trio.lowlevel.checkpoint()
        if self.error is not None and self.fails:
            self.fails -= 1
            raise self.error
        return work()


class Unmarkable(FailingDisk):
    """A disk on which a database can be opened, and nothing after that."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do the first work only."""
        result = await super().run(work)
        self.error = sqlite3.OperationalError("database or disk is full")
        return result


def first_disk(failing: FailingDisk) -> Callable[[int], Disk]:
    """Give the inbox, which asks first, a disk that can fail."""
    disks = iter([failing])
    return lambda threads: next(disks, InlineDisk(threads))


@pytest.mark.documents("retried")
@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database or disk is full"),
        OSError(11, "can't start new thread"),
        MemoryError("no room"),
    ],
    ids=str,
)
async def test_a_webhook_that_cannot_be_stored_is_answered_503_until_it_can(
    error: Exception, tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    disk = FailingDisk()
    async with open_lab(handler.app, settings(tmp_path), disk=first_disk(disk)) as lab:
        disk.error = error
        response = await lab.deliver(webhook())
        assert (response.status, response.header("Retry-After")) == (503, "5")
        (line,) = await lab.lines("webhooks", "not_stored")
        assert str(error) in line["why"]
        health = await lab.request("GET", "/health")
        assert health.status == 503
        assert json.loads(health.body)["troubles"] == ["webhooks cannot be stored"]
        disk.error = None
        assert (await lab.deliver(webhook())).status == 200
        assert (await lab.request("GET", "/health")).status == 200
        await settle()
    assert handler.names == ["call.completed"]


async def test_a_receiver_that_could_not_store_says_that_it_is_well_though_no_webhook_comes(
    tmp_path: Path, autojump_clock: object
) -> None:
    """A balancer that asks /health sends nothing to one that is ill: nothing would ever mend it."""
    disk = FailingDisk()
    async with open_lab(App(), settings(tmp_path), disk=first_disk(disk)) as lab:
        disk.error = sqlite3.OperationalError("database or disk is full")
        assert (await lab.deliver(webhook())).status == 503
        await trio.sleep(100)
        assert (await lab.request("GET", "/health")).status == 503
        disk.error = None
        await trio.sleep(1.01)
        assert (await lab.request("GET", "/health")).status == 200
        told = [line["why"] for line in await lab.lines("webhooks", "inbox")]
    assert told == ["OperationalError: database or disk is full", "works again"]


async def test_a_single_failure_to_look_for_events_delays_them_by_a_second(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler(failures=1)
    disk = FailingDisk()
    async with open_lab(handler.app, settings(tmp_path), disk=first_disk(disk)) as lab:
        await lab.deliver(webhook())  # fails, and is due again in a second
        await trio.sleep(0.5)
        disk.error, disk.fails = sqlite3.OperationalError("database is locked"), 1
        await trio.sleep(2)
        assert len(handler.events) == 2 and states(lab) == {"handled": 1}
        told = [line["why"] for line in await lab.lines("webhooks", "inbox")]
    assert told == ["OperationalError: database is locked", "works again"]


async def test_a_disk_is_not_well_before_something_has_been_written_to_it(tmp_path: Path) -> None:
    """The real thing: a limit on the size of files stands for a full disk."""
    body = webhook()
    async with open_inbox(tmp_path / "inbox", tmp_path, InlineDisk, clock=lambda: 0.0) as inbox:
        other = webhook(call_id="call_2")
        assert await inbox.accept(read_event(other), other)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (tmp_path / "inbox-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(InboxFailed):
                await inbox.accept(read_event(body), body)
            await inbox.tidy()
            with pytest.raises(InboxFailed):  # there is one, and that it is ours cannot be noted
                await inbox.take()
            with pytest.raises(InboxFailed):
                await inbox.check()
            assert inbox.trouble is not None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await inbox.check()
        assert not inbox.trouble
        assert await inbox.accept(read_event(body), body)


async def test_that_the_inbox_can_be_read_does_not_mean_that_it_can_be_written(
    tmp_path: Path,
) -> None:
    disk = FailingDisk()
    body = webhook()
    async with open_inbox(
        tmp_path / "inbox", tmp_path, first_disk(disk), clock=lambda: 0.0
    ) as inbox:
        disk.error = sqlite3.OperationalError("database or disk is full")
        with pytest.raises(InboxFailed):
            await inbox.accept(read_event(body), body)
        disk.error = None
        assert await inbox.take() == float("inf")
        assert "disk is full" in str(inbox.trouble)
        assert await inbox.accept(read_event(body), body)
        assert inbox.trouble is None


async def test_the_worker_outlives_a_database_that_fails_and_says_so_once(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    disk = FailingDisk()

    async def on_event(event: CallEvent) -> None:
        await handler.on_event(event)
        disk.error = sqlite3.OperationalError("database is locked")

    app = App(on_event=on_event)
    async with open_lab(app, settings(tmp_path), disk=first_disk(disk)) as lab:
        await lab.deliver(webhook(call_id="call_1"))
        await trio.sleep(10)  # the mark of the first event fails, and is tried each second
        disk.error = None
        await trio.sleep(2)
        assert states(lab) == {"handled": 1}
        told = [line["why"] for line in await lab.lines("webhooks", "inbox")]
        assert told == ["OperationalError: database is locked", "works again"]
    assert handler.names == ["call.completed"]


async def test_a_database_that_cannot_even_be_read_is_told_once_and_tried_again(
    tmp_path: Path, autojump_clock: object
) -> None:
    disk = FailingDisk()
    async with open_lab(App(), settings(tmp_path), disk=first_disk(disk)) as lab:
        disk.error = sqlite3.OperationalError("disk I/O error")
        await trio.sleep(3700)  # the worker looks by itself once an hour
        disk.error = None
        await trio.sleep(2)
        told = [line["why"] for line in await lab.lines("webhooks", "inbox")]
        assert told == ["OperationalError: disk I/O error", "works again"]


async def test_keys_of_handled_events_are_forgotten_after_a_week(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        await lab.deliver(webhook())
        await trio.sleep(6 * 24 * 3600)
        assert states(lab) == {"handled": 1}
        await trio.sleep(26 * 3600)
        assert states(lab) == {}


async def test_an_endless_call_id_ends_in_the_log_shortened(
    tmp_path: Path, autojump_clock: object
) -> None:
    handler = Handler()
    async with open_lab(handler.app, settings(tmp_path)) as lab:
        assert (await lab.deliver(webhook(call_id="x" * 10000))).status == 200
        (line,) = await lab.lines("webhooks", "accepted")
        assert len(line["call_id"]) == 256
        assert json.loads((await lab.request("GET", "/health")).body)["calls"] == 0
    assert handler.events[0][2] == "x" * 10000
