"""Telnyx promises no order: the window puts back what it can, and loses nothing."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects.base import DialectSettings
from minivoice_ref.protocol.dialects.reorder import ReorderWindow
from minivoice_ref.protocol.dialects.telnyx import TelnyxDialect, TelnyxEncoder
from minivoice_ref.protocol.media import (
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession
from minivoice_ref.protocol.timeline import Timeline

START = Started("telnyx", MediaFormat(), ("inbound", "outbound"), "S1", "C1")


def event(number: int) -> list[StreamEvent]:
    return [Mark(str(number))]


def numbers(events: Sequence[StreamEvent]) -> list[int]:
    return [int(event.name) for event in events if isinstance(event, Mark)]


@pytest.mark.parametrize(
    ("size", "arrives", "passes"),
    [
        (3, [1, 2, 3], [[1], [2], [3]]),
        (3, [1, 3, 2, 4], [[1], [], [2, 3], [4]]),
        (3, [1, 4, 3, 2, 5], [[1], [], [], [2, 3, 4], [5]]),
        (2, [1, 3, 4, 5, 6], [[1], [], [], [3, 4, 5], [6]]),  # 2 never comes: given up
        (2, [1, 3, 4, 5, 2, 6], [[1], [], [], [3, 4, 5], [2], [6]]),  # 2 comes too late
        (3, [1, 1, 2], [[1], [1], [2]]),
        (3, [1, 3, 3, 2], [[1], [], [3], [2, 3]]),
        (0, [1, 3, 2], [[1], [3], [2]]),
        (3, [7, 6, 8], [[7], [6], [8]]),
    ],
)
def test_a_message_waits_for_those_that_it_overtook(
    size: int, arrives: list[int], passes: list[list[int]]
) -> None:
    window = ReorderWindow(size)
    assert [numbers(window.put(number, event(number))) for number in arrives] == passes
    assert window.flush() == []


def test_what_waits_is_given_out_in_order_at_the_end() -> None:
    window = ReorderWindow(5)
    assert [numbers(window.put(number, event(number))) for number in (1, 9, 5, 4)] == [
        [1],
        [],
        [],
        [],
    ]
    assert numbers(window.flush()) == [4, 5, 9]
    assert numbers(window.put(10, event(10))) == [10]


@given(order=st.lists(st.integers(-5, 60), max_size=40), size=st.integers(0, 8))
def test_the_window_loses_nothing_adds_nothing_and_stays_small(order: list[int], size: int) -> None:
    window, passed = ReorderWindow(size), 0
    out: list[int] = []
    for taken, number in enumerate(order, 1):
        out += numbers(window.put(number, event(number)))
        passed = taken - len(out)
        assert 0 <= passed <= size
    out += numbers(window.flush())
    assert sorted(out) == sorted(order)


@given(seed=st.integers(0, 1000), count=st.integers(1, 60))
def test_what_is_displaced_by_less_than_the_window_comes_out_in_order(
    seed: int, count: int
) -> None:
    chance = random.Random(seed)
    order = sorted(range(2, count + 2), key=lambda number: number + chance.uniform(0, 5))
    window, out = ReorderWindow(5), numbers(ReorderWindow(5).flush())
    for number in [1, *order]:
        out += numbers(window.put(number, event(number)))
    assert out + numbers(window.flush()) == list(range(1, count + 2))


def stream(count: int) -> list[WireMessage]:
    """A start and *count* pieces of 20 ms on each track, each with audio of its own."""
    encoder = TelnyxEncoder()
    messages = encoder.start(START)
    for n in range(count):
        for track in START.tracks:
            messages += encoder.media(track, bytes([n]) * 160, 20 * n)
    return messages


def test_media_out_of_order_comes_out_in_order() -> None:
    messages = stream(3)
    shuffled = [messages[i] for i in (0, 2, 1, 4, 3, 6, 5)]
    dialect = TelnyxDialect(DialectSettings())
    events = [event for message in shuffled for event in dialect.decode(message)]
    assert [event.sequence for event in events if isinstance(event, Media)] == [2, 3, 4, 5, 6, 7]


def test_a_digit_takes_its_place_in_the_order_and_a_stop_waits_for_nobody() -> None:
    encoder = TelnyxEncoder()
    start, *_ = encoder.start(START)
    first, mark, second = (
        *encoder.media("inbound", b"\xff", 0),
        *encoder.mark("m"),
        *encoder.media("inbound", b"\xff", 20),
    )
    third, stop = *encoder.media("inbound", b"\xff", 40), *encoder.stop()
    dialect = TelnyxDialect(DialectSettings())
    order = (start, first, second, mark, third)
    kinds = [type(event) for message in order for event in dialect.decode(message)]
    assert kinds == [Started, Media, Mark, Media, Media]
    dialect = TelnyxDialect(DialectSettings())
    kinds = [type(event) for message in (start, second, stop) for event in dialect.decode(message)]
    assert kinds == [Started, Media, Stopped]
    assert dialect.flush() == []


def test_what_still_waits_when_the_socket_breaks_is_delivered() -> None:
    messages = stream(2)
    session = MediaSession(dialect="telnyx")
    events = [event for i in (0, 2, 3) for event in session.receive(messages[i])]
    assert [type(event) for event in events] == [Started]
    assert [e.sequence for e in session.close() if isinstance(e, Media)] == [3, 4]


def test_media_without_a_number_is_not_held() -> None:
    dialect = TelnyxDialect(DialectSettings())
    message = '{"event":"media","media":{"track":"inbound","payload":"/w=="}}'
    assert len(dialect.decode(message)) == 1


def test_the_size_of_the_window_is_a_setting() -> None:
    messages = stream(2)
    session = MediaSession(dialect="telnyx", reorder_window=0)
    events = [event for i in (0, 3, 1) for event in session.receive(messages[i])]
    assert [e.sequence for e in events if isinstance(e, Media)] == [4, 2]


@given(data=st.data())
def test_any_loss_repetition_and_order_balances_and_puts_no_sample_in_a_wrong_place(
    data: st.DataObject,
) -> None:
    start, *pieces = stream(data.draw(st.integers(1, 12)))
    kept = data.draw(st.lists(st.sampled_from(pieces), max_size=30))
    dialect = data.draw(st.sampled_from(["telnyx", "auto"]))
    session = MediaSession(dialect=dialect)
    at = data.draw(st.integers(0, len(kept)))
    events = [e for m in [*kept[:at], start, *kept[at:]] for e in session.receive(m)]
    events += session.close()
    timelines = {track: Timeline(8000, 3600.0) for track in START.tracks}
    heard = 0
    for event in events:
        if isinstance(event, Media):
            heard += 1
            placement = timelines[event.track].place(event.position, event.samples)
            for offset, position, length in placement.pieces:
                value = bytes([position // 160])
                assert event.payload[offset : offset + length] == value * length
    assert heard == len(kept)
    for timeline in timelines.values():
        account = timeline.account
        assert account.received + account.lost == account.expected
