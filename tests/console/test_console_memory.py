"""What is remembered of the latest calls, how little that is, and how a card sums it up."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from minivoice_ref.console.memory import Memory
from minivoice_ref.protocol.webhooks import read_event

BEGAN = datetime(2026, 5, 29, 12, 0, tzinfo=timezone.utc)


class Clock:
    """Tells the time that a test sets, in seconds after `BEGAN`."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return (BEGAN + timedelta(seconds=self.at)).timestamp()


class Book:
    """A memory and the lines that are added to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.live: set[str] = set()
        self.memory = Memory(self.live.__contains__, self.clock)

    def add(self, log: str, what: str, **fields: Any) -> None:
        moment = datetime.fromtimestamp(self.clock(), timezone.utc).isoformat()
        self.memory.add({"time": moment, "log": log, "level": "info", "what": what, **fields})

    def card(self, name: str) -> dict[str, Any]:
        known = self.memory.find(name)
        assert known is not None
        return self.memory.look(known)


@pytest.fixture
def book() -> Book:
    return Book()


def states(card: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in card["steps"]}


def test_a_call_whose_ends_were_heard_of_apart_becomes_one_when_a_line_joins_them(
    book: Book,
) -> None:
    book.add("answers", "answered", answer_id="answer_1", actions=[{"type": "start_stream"}])
    book.add("webhooks", "accepted", call_id="call_1", event="call.created")
    assert len(book.memory.all()) == 2
    book.add("streams", "open", answer_id="answer_1", call_id="call_1", stream_id="stream_1")
    (known,) = book.memory.all()
    assert known.group.name == "call_1" and known.streams == ["stream_1"]
    assert book.memory.find("answer_1") is known
    assert states(book.card("call_1"))["answer_valid"] == "ok"


def test_an_answer_without_ids_is_taken_for_the_one_call_of_its_time(book: Book) -> None:
    book.add("answers", "answered", answer_id="answer_1", actions=[{"type": "start_stream"}])
    book.add("webhooks", "accepted", call_id="call_1", event="call.created")
    assert states(book.card("call_1"))["answer_valid"] == "ok"


def test_the_probes_of_doctor_are_no_calls(book: Book) -> None:
    book.add("webhooks", "accepted", call_id="call_doctor_1", event="call.created")
    assert book.memory.all() == []


def test_only_the_latest_calls_are_remembered_and_never_one_with_an_open_stream_less(
    book: Book,
) -> None:
    book.live.add("stream_0")
    for number in range(300):
        book.add("streams", "open", call_id=f"call_{number}", stream_id=f"stream_{number}")
    known = [one.group.name for one in book.memory.all()]
    assert len(known) == 200 and known[0] == "call_0" and known[-1] == "call_299"
    assert book.memory.find("call_1") is None


def test_of_one_call_the_first_and_the_last_lines_stay(book: Book) -> None:
    for number in range(900):
        book.add("streams", "event", call_id="call_1", stream_id="stream_1", value=number)
    (known,) = book.memory.all()
    values = [line["value"] for line in known.group.lines]
    assert len(values) == 600 and values[:100] == list(range(100)) and values[-1] == 899


def test_of_progress_lines_the_last_one_of_each_stream_stays(book: Book) -> None:
    for number in range(50):
        for stream in ("stream_1", "stream_2"):
            book.add("streams", "progress", call_id="call_1", stream_id=stream, messages=number)
    (known,) = book.memory.all()
    assert [line["messages"] for line in known.group.lines] == [49, 49]


def test_of_each_log_the_last_lines_stay(book: Book) -> None:
    for number in range(1000):
        book.add("webhooks", "refused", why=str(number))
    assert [line["why"] for line in book.memory.tails["webhooks"]] == [
        str(number) for number in range(600, 1000)
    ]


def test_who_calls_whom_is_what_the_webhooks_said(book: Book) -> None:
    event = b"""{"event": "call.created", "created_at": "2026-05-29T12:00:00Z",
        "call": {"id": "call_1", "status": "dialing", "direction": "outbound", "from": "+1",
                 "to": "+2"}}"""
    book.memory.hear(read_event(event))
    book.memory.hear(read_event(event.replace(b'"from": "+1",', b"")))
    book.add("webhooks", "accepted", call_id="call_1", event="call.created")
    card = book.card("call_1")
    assert (card["direction"], card["from"], card["to"]) == ("outbound", "+1", "+2")


def test_numbers_of_calls_that_are_forgotten_are_forgotten(book: Book) -> None:
    for number in range(250):
        event = f"""{{"event": "call.created", "created_at": "2026-05-29T12:00:00Z",
            "call": {{"id": "call_{number}", "status": "dialing", "from": "+{number}"}}}}"""
        book.memory.hear(read_event(event.encode()))
    for number in (0, 249):
        book.add("webhooks", "accepted", call_id=f"call_{number}", event="call.created")
    assert "from" not in book.card("call_0") and book.card("call_249")["from"] == "+249"


def test_a_call_is_asked_again_only_while_time_can_change_it(book: Book) -> None:
    book.add("answers", "answered", call_id="call_1", actions=[])
    assert [card["name"] for card in book.memory.changes(unsettled=False)] == ["call_1"]
    assert book.memory.changes(unsettled=False) == []
    assert book.memory.changes(unsettled=True) == []  # nothing new so far
    book.clock.at = 11.0
    (card,) = book.memory.changes(unsettled=True)
    assert card["over"] and card["verdict"] == "fail"
    book.clock.at = 100.0
    assert book.memory.changes(unsettled=True) == []


def test_media_has_arrived_as_soon_as_the_first_of_it_has(book: Book) -> None:
    ids = {"call_id": "call_1", "stream_id": "stream_1"}
    book.live.add("stream_1")
    book.add("streams", "open", **ids)
    assert states(book.card("call_1"))["media_arrived"] == "waiting"
    book.add("streams", "first_media", track="inbound", position=0, **ids)
    card = book.card("call_1")
    assert states(card)["media_arrived"] == "ok" and card["tracks"] == ["inbound"]


def test_what_an_earlier_failure_made_impossible_is_unknown_once_the_call_is_over(
    book: Book,
) -> None:
    book.add("answers", "failed", call_id="call_1", code="MV-102", error="KeyError: 1")
    book.clock.at = 60.0
    card = book.card("call_1")
    assert states(card)["answer_valid"] == "fail"
    assert states(card)["media_arrived"] == states(card)["stream_closed"] == "unknown"
    assert card["wrong"]["code"] == "MV-102" and card["wrong"]["mend"]


def test_the_seventh_step_is_shown_where_it_fails(book: Book) -> None:
    ids = {"call_id": "call_1", "stream_id": "stream_1"}
    book.add("streams", "open", **ids)
    assert "receiver_well" not in states(book.card("call_1"))
    book.add("streams", "recording_failed", code="MV-703", why="disk full", **ids)
    assert states(book.card("call_1"))["receiver_well"] == "fail"
    assert book.card("call_1")["verdict"] == "fail"


def test_of_many_calls_some_at_a_time_are_thought_about_and_each_has_its_turn(book: Book) -> None:
    for number in range(120):
        book.add("answers", "answered", call_id=f"call_{number}", actions=[])
    told = [{card["name"] for card in book.memory.changes(unsettled=True)} for _ in range(3)]
    assert [len(names) for names in told] == [50, 50, 20]
    assert len(set().union(*told)) == 120
    book.memory.reconsider_all()
    for number in range(60):
        book.add("webhooks", "accepted", call_id=f"call_{number}", event="call.completed")
    over = [card for _ in range(3) for card in book.memory.changes(unsettled=True) if card["over"]]
    assert len(over) == 60
