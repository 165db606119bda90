"""A stream's media are read by their form exactly as they are read without it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects.base import DialectSettings
from minivoice_ref.protocol.dialects.detect import DIALECTS, encoder_named
from minivoice_ref.protocol.dialects.fields import Positions
from minivoice_ref.protocol.dialects.json_family import JsonDialect
from minivoice_ref.protocol.dialects.media_shape import learn_shape
from minivoice_ref.protocol.media import Media, MediaFormat, Started

FORMAT = MediaFormat("mulaw", 8000, 1)
STARTED = Started(
    "", FORMAT, ("inbound", "outbound"), stream_id="MZ1", call_id="CA1", account_id="AC1"
)
LEARNING = ("twilio", "signalwire", "telnyx", "plivo", "wavix")
"""The dialects whose media say their track, their place and their number."""


def messages_of(name: str, payloads: list[bytes]) -> list[str]:
    """The media messages of a stream, as the platform's own writer has them."""
    encoder = encoder_named(name)
    format = encoder.formats[0]
    encoder.connected()
    encoder.start(replace(STARTED, dialect=name, format=format))
    found = []
    for place, payload in enumerate(payloads):
        track = STARTED.tracks[place % 2]
        found += encoder.media(track, payload, 20 * place)
    return cast(list[str], found)


def reader(name: str, *, lessons: int = 3) -> JsonDialect:
    dialect = DIALECTS[name](DialectSettings(FORMAT))
    assert isinstance(dialect, JsonDialect)
    dialect._lessons = lessons
    return dialect


def taught(name: str, *, lessons: int = 3) -> JsonDialect:
    dialect = reader(name, lessons=lessons)
    for message in messages_of(name, [b"\xff" * 160] * 2):
        dialect.decode(message)
    return dialect


@pytest.mark.parametrize("name", LEARNING)
def test_a_platforms_own_messages_have_a_form(name: str) -> None:
    first, second, third = messages_of(name, [b"a", b"bcd", bytes(160)])
    dialect = taught(name)
    shape = dialect._shape
    assert shape is not None
    for message in (first, second, third):
        assert shape.read(message, FORMAT, Positions(8000)) is not None
    assert taught(name)._shape is shape  # streams of one platform share it


SPOILED = st.sampled_from(
    ['"', "\\", "\\u0041", "\\/", "{", "}", ",", ":", " ", "\t", "\x00", "é", "0", "-", "1e5", "=="]
    + ["A", "null", "true", '"track":', '"media":{', "\ud800", "٣", "00", "1.5", '""', "_track"]
)


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Messages of a platform, with some put in, taken out and exchanged at any place."""
    name = draw(st.sampled_from(LEARNING))
    payloads = draw(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4))
    messages = messages_of(name, payloads)
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(messages) - 1))
        at = draw(st.integers(0, len(messages[place])))
        gone = draw(st.integers(0, 4))
        text = draw(SPOILED)
        messages[place] = messages[place][:at] + text + messages[place][at + gone :]
    return name, messages


@settings(max_examples=400)
@given(spoiled())
def test_no_message_is_read_otherwise_for_knowing_a_form(case: tuple[str, list[str]]) -> None:
    name, messages = case
    quick, slow = taught(name), taught(name, lessons=0)
    fresh, other = reader(name), reader(name, lessons=0)
    for message in messages:
        assert quick.decode(message) == slow.decode(message)
        assert fresh.decode(message) == other.decode(message)


def _with(value: str, place: str) -> str:
    (message,) = messages_of("twilio", [b"abc"])
    return re.sub(place, lambda found: found[1] + value, message)


@pytest.mark.parametrize(
    "message",
    [
        _with("YWJj\\u0041", '("payload":")[^"]*'),
        _with("YWJ", '("payload":")[^"]*'),
        _with("", '("payload":")[^"]*'),
        _with("nobody", '("track":")[^"]*'),
        _with("1" * 16, '("timestamp":")[^"]*'),
        _with("", '("chunk":")[^"]*'),
        _with("٣", '("sequenceNumber":")[^"]*'),
    ],
)
def test_values_that_have_to_be_judged_are_read_the_slow_way(message: str) -> None:
    dialect = taught("twilio")
    assert dialect._shape is not None
    assert dialect._shape.read(message, FORMAT, Positions(8000)) is None
    assert dialect.decode(message) == taught("twilio", lessons=0).decode(message)


MEDIA = {"track": "inbound", "chunk": "1", "timestamp": "0", "payload": "YWJj"}


@pytest.mark.parametrize(
    "message",
    [
        json.dumps({"event": "media", "sequenceNumber": "1", "note": "\n", "media": MEDIA}),
        json.dumps({"event": "media", "sequenceNumber": "1", "track": "x", "media": MEDIA}),
        json.dumps({"event": "media", "media": MEDIA}),
        json.dumps({"event": "media", "sequenceNumber": "1", "media": {**MEDIA, "track": 1}}),
        '{"event":"media","sequenceNumber":"1","media":{"track":"inbound","chunk":"1",'
        '"timestamp":"0","payload":"YWJj"},"media":{"track":"inbound"}}',
        '{"event":"media","sequenceNumber":"1","media":"payload"}',
        '{"event":"stop"}',
        "",
        '"',
    ],
    ids=lambda message: message[:60],
)
def test_what_has_no_certain_form_teaches_nothing(message: str) -> None:
    assert learn_shape(message, "event", "sequenceNumber") is None


@given(st.text(st.characters(exclude_characters='"\\', exclude_categories=("Cc", "Cs"))))
@example("MZ0123456789")
def test_other_texts_may_be_any(stream_id: str) -> None:
    message, other = (
        json.dumps(
            {"event": "media", "sequenceNumber": 7, "streamSid": text, "media": MEDIA},
            ensure_ascii=False,
        )
        for text in ("MZ1", stream_id)
    )
    shape = learn_shape(message, "event", "sequenceNumber")
    assert shape is not None
    assert shape.read(other, FORMAT, Positions(8000)) == Media("inbound", b"abc", FORMAT, 0, 7, 1)


def test_a_stream_takes_no_more_than_three_lessons() -> None:
    """Whoever writes each message in a form of its own makes us learn three of them."""
    dialect = reader("twilio")
    (message,) = messages_of("twilio", [b"abc"])
    shapes = []
    for spaces in range(5):
        dialect.decode(message.replace(",", "," + " " * spaces))
        shapes.append(dialect._shape)
    assert len(set(map(id, shapes))) == 3
