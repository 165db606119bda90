"""The tolerant dialect: a start in nobody's shape is a start all the same."""

import json
from typing import Any

import pytest

from minivoice_ref.protocol.dialects.base import DialectSettings
from minivoice_ref.protocol.dialects.minivoice import MiniVoiceDialect
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
    Encoding,
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession

MULAW = MediaFormat("mulaw")
BOTH: tuple[Track, ...] = ("inbound", "outbound")


def read(*messages: WireMessage, **settings: Any) -> list[StreamEvent]:
    dialect = MiniVoiceDialect(DialectSettings(**settings))
    return [event for message in messages for event in dialect.decode(message)]


def start(**fields: object) -> str:
    return json.dumps({"event": "start", **fields})


def only_start(message: str, **settings: Any) -> Started:
    event = read(message, **settings)[0]
    assert isinstance(event, Started)
    return event


@pytest.mark.parametrize(
    "message",
    [
        {
            "event": "start",
            "stream_id": "S1",
            "call_id": "C1",
            "account_id": "A1",
            "tracks": ["inbound", "outbound"],
            "media_format": {"encoding": "PCMU", "sample_rate": 8000},
            "custom_parameters": {"k": "v"},
            "note": 1,
        },
        {
            "type": "stream.started",
            "data": {"streamId": "S1", "callUuid": "C1", "customer-id": "A1", "note": 1},
            "audio": {"format": {"codec": "audio/x-mulaw", "sampleRate": "8000"}},
            "variables": {"k": "v"},
        },
        {
            "eventType": "STREAM_START",
            "stream": {"Stream-Sid": "S1", "call": {"callSid": "C1", "accountSid": "A1"}},
            "encoding": "ulaw",
            "custom": "k=v",
            "note": 1,
        },
    ],
)
def test_a_start_is_read_however_it_is_spelled_and_nested(message: dict[str, Any]) -> None:
    session = MediaSession()
    (event,) = session.receive(json.dumps(message))
    assert event == Started("minivoice", MULAW, BOTH, "S1", "C1", "A1", {"k": "v"}, {"note": 1})
    assert session.dialect_name == "minivoice"


@pytest.mark.parametrize(
    "fields",
    [
        {"track": "inbound", "timestamp": "20", "sequence": "3", "chunk": "1", "payload": "/w=="},
        {"media": {"track": "inbound_track", "ts": 20, "seq": 3, "chunk": 1, "audio": "/w=="}},
        {
            "direction": "caller",
            "timestamp_ms": 20,
            "sequenceNumber": 3,
            "chunk": 1,
            "data": "/w==",
        },
    ],
)
def test_audio_is_read_however_it_is_spelled_and_nested(fields: dict[str, Any]) -> None:
    media = json.dumps({"event": "media", **fields})
    events = read(start(codec="PCMU"), media)
    assert events[1:] == [Media("inbound", b"\xff", MULAW, 160, 3, 1)]


@pytest.mark.parametrize(
    ("codec", "format"),
    [
        ({"codec": "PCMA"}, MediaFormat("alaw")),
        ({"codec": "PCMA", "rate": 16000}, MediaFormat("alaw", 16000)),
        ({"content_type": "audio/l16;rate=16000"}, MediaFormat("l16le", 16000)),
    ],
)
def test_the_rate_is_that_of_the_telephone_unless_it_is_named(
    codec: dict[str, Any], format: MediaFormat
) -> None:
    event = only_start(start(**codec))
    assert event.format == format and not event.assumed


def test_the_byte_order_of_l16_is_a_setting() -> None:
    expected: Encoding = "l16be"
    assert only_start(start(codec="l16"), l16=expected).format.encoding == expected


@pytest.mark.parametrize(
    ("named", "format"),
    [
        ({}, MediaFormat("alaw", 16000)),
        ({"sampleRate": 24000}, MediaFormat("alaw", 24000)),
        ({"codec": "l16"}, MediaFormat("l16le", 16000)),
        ({"codec": "l16", "rate": "x"}, MediaFormat("l16le", 16000)),
        ({"codec": "PCMU", "rate": "x"}, MediaFormat("mulaw", 8000)),
    ],
)
def test_what_a_start_does_not_say_of_its_format_is_assumed_and_no_more(
    named: dict[str, Any], format: MediaFormat
) -> None:
    message = start(call_id="C1", **named)
    event, unknown = read(message, format=MediaFormat("alaw", 16000))
    assert isinstance(event, Started) and isinstance(unknown, Unknown)
    assert event.assumed and event.call_id == "C1"
    assert event.format == format
    assert unknown.message == message
    assert unknown.why.endswith(f"; {format} is assumed")


def test_audio_in_a_codec_that_is_named_and_unknown_is_handed_on_as_it_came() -> None:
    message = start(codec="opus", rate=48000, channels=2)
    event, unknown, *media = read(message, b"\x01\x02\x03", b"\x04")
    format = MediaFormat("unknown", 48000)
    assert isinstance(event, Started) and event.format == format and not event.assumed
    assert event.extra == {"codec": "opus", "rate": 48000, "channels": 2}
    why = "its audio is handed on as it comes, and not recorded"
    assert unknown == Unknown(message, f"start: encoding 'opus' is not known; {why}")
    assert media == [
        Media("mixed", b"\x01\x02\x03", format),
        Media("mixed", b"\x04", format),
    ]


@pytest.mark.parametrize(
    ("fields", "tracks"),
    [
        ({"track": "inbound"}, ("inbound",)),
        ({"track": "both"}, BOTH),
        ({"tracks": ["outbound"]}, ("outbound",)),
        ({"tracks": [{"name": "inbound"}]}, BOTH),
        ({}, BOTH),
    ],
)
def test_the_tracks_are_those_that_are_named_or_else_both(
    fields: dict[str, Any], tracks: tuple[Track, ...]
) -> None:
    assert only_start(start(codec="PCMU", **fields)).tracks == tracks


@pytest.mark.parametrize(
    ("fields", "tracks"),
    [
        ({}, ("mixed",)),
        ({"track": "outbound"}, ("outbound",)),
        ({"channels": 2}, BOTH),
        ({"mixType": "stereo"}, BOTH),
        ({"mixType": "mono"}, ("inbound",)),
        ({"mixType": "other"}, ("mixed",)),
    ],
)
def test_audio_may_be_binary_after_a_start(
    fields: dict[str, Any], tracks: tuple[Track, ...]
) -> None:
    session = MediaSession()
    session.receive(start(codec="PCMU", **fields))
    events = session.receive(b"\x01\x02")
    assert [event.track for event in events if isinstance(event, Media)] == list(tracks)


def test_a_stream_whose_audio_is_text_takes_no_binary_audio() -> None:
    media = '{"event":"media","track":"inbound","payload":"/w=="}'
    events = read(start(codec="PCMU"), media, b"\x01")
    assert events[2:] == [Unknown(b"\x01", "binary on a stream whose audio is text")]


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ('{"type":"connected","version":2}', Connected("", "2")),
        ('{"event":"dtmf","dtmf":{"digit":5,"duration_ms":80,"track":"inbound"}}',
         Digit("5", "inbound", 80)),
        ('{"event":"dtmf","dtmf":"5"}', Digit("5")),
        ('{"event":"mark","name":"m"}', Mark("m")),
        ('{"event":"stopped","reason":"done","call":{"id":1,"call_id":"C1"}}',
         Stopped("done", "C1")),
    ],
)  # fmt: skip
def test_the_small_messages_are_read(message: str, event: StreamEvent) -> None:
    assert read(message) == [event]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("text", "no event that is known by any name"),
        ("{}", "no event that is known by any name"),
        ('{"event":["start"]}', "no event that is known by any name"),
        ('{"event":"media","payload":"/w==","track":"speaker"}', "media: track 'speaker' is not"),
        ('{"event":"media","payload":"/w==","track":[]}', "media: track a list is not known"),
        ('{"event":"media"}', "payload is missing"),
        ('{"event":"dtmf"}', "dtmf: it says nothing"),
        ('{"event":"mark"}', "mark: it says nothing"),
    ],
)
def test_what_is_not_understood_is_handed_on_whole(message: str, why: str) -> None:
    (event,) = read(message)
    assert isinstance(event, Unknown)
    assert event.message == message
    assert event.why.startswith(why)


def test_audio_without_a_track_is_that_of_the_only_one_or_of_whom_the_setting_says() -> None:
    media = '{"event":"media","payload":"/w=="}'
    for fields, track in (({"track": "outbound"}, "outbound"), ({}, "mixed")):
        event = read(start(codec="PCMU", **fields), media)[1]
        assert isinstance(event, Media)
        assert event.track == track


def test_positions_count_at_the_rate_of_the_start() -> None:
    media = '{"event":"media","track":"agent","ts":20,"payload":"/w=="}'
    event = read(start(codec="PCMU", rate=16000), media)[1]
    assert event == Media("outbound", b"\xff", MediaFormat("mulaw", 16000), 320)


def test_the_deepest_things_are_left_alone_and_the_outer_name_wins() -> None:
    deep: dict[str, Any] = {"call_id": "inner"}
    for _ in range(6):
        deep = {"inner": deep}
    assert only_start(start(codec="PCMU", deep=deep)).call_id is None
    outer = start(codec="PCMU", x={"call_id": "inner"}, call_id="outer")
    assert only_start(outer).call_id == "outer"


def test_an_assumed_start_is_in_the_format_of_the_settings() -> None:
    dialect = MiniVoiceDialect(DialectSettings(MediaFormat("alaw", 8000, 2)))
    assert dialect.assume() == Started("minivoice", MediaFormat("alaw"), BOTH, assumed=True)


def test_what_is_sent_under_this_name_is_our_assumption_the_shape_of_twilio() -> None:
    assert issubclass(MiniVoiceDialect.encoder, TwilioEncoder)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "message", "event": "media"},
        {"event": 17, "eventType": "note", "type": "stream.media"},
        {"type": "start", "event": "media"},
        {"event_type": "unheard of", "eventType": "audio"},
        {"Type": "media"},
        {"event": "media", "Event": "start"},
    ],
)
def test_any_key_may_say_what_a_message_is_and_the_likeliest_word_counts(
    message: dict[str, Any],
) -> None:
    media = json.dumps({**message, "track": "inbound", "payload": "/w=="})
    assert read(media, format=MULAW) == [Media("inbound", b"\xff", MULAW)]


def test_a_number_that_cannot_be_read_costs_neither_audio_nor_a_key() -> None:
    media = '{"event":"media","track":"agent","payload":"/w==","ts":"x","seq":3,"chunk":[]}'
    why = "media: timestamp is 'x', not a number; chunk is a list, not a number"
    assert read(media, format=MULAW) == [
        Media("outbound", b"\xff", MULAW, None, 3),
        Unknown(media, why),
    ]
    digit = '{"event":"dtmf","digit":"5","duration":"long"}'
    why = "dtmf: duration is 'long', not a number"
    assert read(digit) == [Digit("5"), Unknown(digit, why)]
