"""Whatever becomes of a publication, published and dropped together are what was added."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import trio
import trio.testing
from cluster_lab import free_port, until

from minivoice_ref.config import Config
from minivoice_ref.protocol.media import MediaFormat, Started
from minivoice_ref.receiver.endings import STOPPED
from minivoice_ref.receiver.journal import Journal
from minivoice_ref.receiver.media_stream import Frame
from minivoice_ref.receiver.publisher import Publication, Publisher

MULAW = MediaFormat("mulaw", 8000, 1)
STARTED = Started("twilio", MULAW, ("inbound",))


class Notes:
    """The lines of a stream's log."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, what: str, **fields: Any) -> None:
        self.lines.append((what, fields))


def publication(notes: Notes | None = None) -> Publication:
    made = Publication("stream_1", "node", 1.0, notes or Notes())
    made.begin("call_1", STARTED)
    return made


def add(to: Publication, number: int) -> None:
    to.add(Frame("inbound", number * 160, b"\xff" * 160, MULAW), 160)


def numbers(sent: list[Any]) -> list[int]:
    return [one.number for one in sent]


def test_a_start_comes_first_and_entries_are_numbered_without_holes() -> None:
    made = publication()
    for number in range(5):
        add(made, number)
    first = made.take_off(3)
    assert numbers(first) == [1, 2, 3, 4] and first[0].fields[:2] == ("what", "start")
    made.land()
    assert (made.published, made.dropped) == ({"inbound": 480}, {})
    assert numbers(made.take_off(3)) == [5, 6]


def test_the_oldest_is_dropped_and_its_lag_is_told_once() -> None:
    notes = Notes()
    made = publication(notes)
    for number in range(60):  # 1.2 s
        add(made, number)
    assert made.dropped == {"inbound": 1600}
    assert notes.lines == [("not_published", {"code": "MV-713", "behind": 1.0})]
    sent = made.take_off(500)
    assert sent[1].fields[5] == 1600, "what goes is what was said last"
    made.land()
    assert made.published == {"inbound": 8000}


def test_what_redis_has_lost_begins_anew_with_a_start() -> None:
    made = publication()
    add(made, 0)
    made.take_off(10)
    made.land()
    add(made, 1)
    made.take_off(10)
    made.turn_back()
    add(made, 2)
    sent = made.take_off(10)
    assert numbers(sent) == [4, 5] and sent[0].fields[:2] == ("what", "start")
    made.land()
    assert (made.published, made.dropped) == ({"inbound": 320}, {"inbound": 160})


def test_another_start_tells_who_is_calling() -> None:
    made = publication()
    made.take_off(1)
    made.land()
    made.begin("call_2", STARTED)
    (start,) = made.take_off(1)
    assert start.fields[-2:] == ("call", b"call_2") and start.number == 2


async def test_a_stream_is_over_when_its_end_has_landed(autojump_clock: object) -> None:
    made = publication()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        add(made, 0)
        made.finish(STOPPED, {})
        *_, end = made.take_off(10)
        assert end.fields == ("what", "end", "how", "stopped")
        await trio.testing.wait_all_tasks_blocked()
        assert made.goes_on
        made.land()
        assert made.take_off(10) == [], "an end is told once"
    assert made.is_over and (made.published, made.dropped) == ({"inbound": 160}, {})


def test_an_end_that_comes_while_the_rest_is_on_its_way_is_told_after_it() -> None:
    made = publication()
    add(made, 0)
    made.take_off(10)
    made.finish(STOPPED, {})
    made.land()
    (end,) = made.take_off(10)
    assert end.fields[:2] == ("what", "end") and end.number == 3


def test_all_entries_of_a_stream_have_the_format_of_its_first_start_or_tell_theirs() -> None:
    """A start that came only after audio may name another format than was assumed."""
    made = Publication("stream_1", "node", 1.0, Notes())
    made.begin(None, replace(STARTED, format=MediaFormat("l16le", 8000, 1), assumed=True))
    made.take_off(10)
    made.land()
    made.begin("call_1", STARTED)
    add(made, 0)
    start, audio = made.take_off(10)
    assert "l16le" in start.fields and "mulaw" in audio.fields


async def test_streams_that_come_and_go_while_redis_is_away_leave_nothing_but_their_sums() -> None:
    config = Config(
        plain=True, cluster=f"redis://127.0.0.1:{free_port()}", token_key="the key of this test"
    )
    told: list[str] = []
    journal = SimpleNamespace(note=lambda log, what, **fields: told.append(what))
    publisher = Publisher(config, "node", cast(Journal, journal))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publisher.run)
        for number in range(3):
            made = publisher.open(f"stream_{number}", Notes())
            made.begin("call_1", STARTED)
            add(made, 0)
            await until(lambda: told)
            with trio.move_on_after(0.1):
                await made.run()
        assert publisher.tell()["dropped"] == 480
        await until(lambda: not publisher._live and not publisher._flight)
        assert publisher.tell()["dropped"] == 480 and publisher.tell()["trouble"]
        nursery.cancel_scope.cancel()
    assert told == ["publishing"], "it is said once"


async def test_a_stream_that_never_started_has_nothing_to_wait_for(
    autojump_clock: object,
) -> None:
    made = Publication("stream_1", "node", 1.0, Notes())
    made.finish(STOPPED, {})
    assert made.take_off(10) == []
    await made.run()
    assert made.is_over


async def test_cancelled_what_waits_what_flies_and_what_comes_after_is_dropped(
    autojump_clock: object,
) -> None:
    notes = Notes()
    made = publication(notes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        await trio.testing.wait_all_tasks_blocked()
        add(made, 0)
        made.take_off(10)
        add(made, 1)
        nursery.cancel_scope.cancel()
    add(made, 2)
    assert (made.published, made.dropped) == ({}, {"inbound": 480})
    assert notes.lines == [("not_published", {"code": "MV-713", "rest": 320})]
    assert made.freight() == [] and made.take_off(10) == []
    made.land()  # that it arrived after all is known too late
    assert (made.published, made.dropped) == ({}, {"inbound": 480})
