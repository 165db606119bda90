"""The JSON family but for Twilio: written as each platform writes it, read back whole."""

import json
from typing import Any

import pytest

from minivoice_ref.protocol.dialects.base import DialectSettings
from minivoice_ref.protocol.dialects.detect import dialect_named, encoder_named
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
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

MULAW, L16 = MediaFormat("mulaw", 8000), MediaFormat("l16le", 8000)
UUID = "01234567-89ab-cdef-0123-456789abcdef"
BOTH: tuple[Track, ...] = ("inbound", "outbound")

SIGNALWIRE = """\
{"event":"connected","protocol":"Call","version":"0.2.0"}
{"event":"start","sequenceNumber":"1","streamSid":"01234567-89ab-cdef-0123-456789abcdef","start":\
{"accountSid":"A1","streamSid":"01234567-89ab-cdef-0123-456789abcdef","callSid":"C1",\
"tracks":["inbound","outbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,\
"channels":1},"customParameters":{"k":"v"}}}
{"event":"media","sequenceNumber":"2","media":{"track":"inbound","chunk":"1","timestamp":"0",\
"payload":"/wA="}}
{"event":"media","sequenceNumber":"3","media":{"track":"outbound","chunk":"1","timestamp":"20",\
"payload":"/wA="}}
{"event":"dtmf","sequenceNumber":"4","streamSid":"01234567-89ab-cdef-0123-456789abcdef",\
"dtmf":{"track":"inbound_track","digit":"5","duration":80}}
{"event":"mark","sequenceNumber":"5","streamSid":"01234567-89ab-cdef-0123-456789abcdef",\
"mark":{"name":"m1"}}
{"event":"stop","sequenceNumber":"6"}
"""
TELNYX = """\
{"event":"connected","version":"1.0.0"}
{"event":"start","sequence_number":"1","stream_id":"01234567-89ab-cdef-0123-456789abcdef","start":\
{"user_id":"A1","call_control_id":"C1","call_session_id":"C1","from":"+1","to":"+2",\
"client_state":"","custom_parameters":{"k":"v"},"media_format":{"encoding":"PCMU",\
"sample_rate":8000,"channels":1}}}
{"event":"media","sequence_number":"2","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"media":{"track":"inbound","chunk":"1","timestamp":"0","payload":"/wA="}}
{"event":"media","sequence_number":"3","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"media":{"track":"outbound","chunk":"1","timestamp":"20","payload":"/wA="}}
{"event":"dtmf","sequence_number":"4","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"dtmf":{"digit":"5"}}
{"event":"mark","sequence_number":"5","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"mark":{"name":"m1"}}
{"event":"stop","sequence_number":"6","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"stop":{"user_id":"A1","call_control_id":"C1"}}
"""
PLIVO = """\
{"event":"start","sequenceNumber":1,"start":{"callId":"C1","streamId":\
"01234567-89ab-cdef-0123-456789abcdef","accountId":"A1","tracks":["inbound","outbound"],\
"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000}},"extra_headers":"k=v"}
{"event":"media","sequenceNumber":2,"streamId":"01234567-89ab-cdef-0123-456789abcdef",\
"media":{"track":"inbound","timestamp":"0","chunk":1,"payload":"/wA="}}
{"event":"media","sequenceNumber":3,"streamId":"01234567-89ab-cdef-0123-456789abcdef",\
"media":{"track":"outbound","timestamp":"20","chunk":1,"payload":"/wA="}}
{"event":"dtmf","sequenceNumber":4,"streamId":"01234567-89ab-cdef-0123-456789abcdef",\
"dtmf":{"track":"inbound","digit":"5","timestamp":"20"}}
"""
WAVIX = """\
{"event":"start","event_time":"","call_id":"C1","stream_id":\
"01234567-89ab-cdef-0123-456789abcdef","channel":"both","sequence_number":1}
{"event":"media","stream_id":"01234567-89ab-cdef-0123-456789abcdef","sequence_number":2,\
"media":{"payload":"/wA=","track":"inbound","timestamp":0,"chunk":1}}
{"event":"media","stream_id":"01234567-89ab-cdef-0123-456789abcdef","sequence_number":3,\
"media":{"payload":"/wA=","track":"outbound","timestamp":20,"chunk":1}}
{"event":"stop","call_id":"C1","stream_id":"01234567-89ab-cdef-0123-456789abcdef",\
"sequence_number":4}
"""
EXOTEL = """\
{"event":"connected"}
{"event":"start","sequence_number":"1","stream_sid":"0123456789abcdef0123456789abcdef","start":\
{"stream_sid":"0123456789abcdef0123456789abcdef","call_sid":"C1","account_sid":"A1","from":"+1",\
"to":"+2","custom_parameters":{"k":"v"},"media_format":{"encoding":"audio/x-raw",\
"sample_rate":"8000"}}}
{"event":"media","sequence_number":"2","stream_sid":"0123456789abcdef0123456789abcdef",\
"media":{"chunk":"1","timestamp":"0","payload":"/wA="}}
{"event":"media","sequence_number":"3","stream_sid":"0123456789abcdef0123456789abcdef",\
"media":{"chunk":"2","timestamp":"20","payload":"/wA="}}
{"event":"dtmf","sequence_number":"4","stream_sid":"0123456789abcdef0123456789abcdef",\
"dtmf":{"digit":"5","duration":"80"}}
{"event":"mark","sequence_number":"5","stream_sid":"0123456789abcdef0123456789abcdef",\
"mark":{"name":"m1"}}
{"event":"stop","sequence_number":"6","stream_sid":"0123456789abcdef0123456789abcdef",\
"stop":{"call_sid":"C1","account_sid":"A1"}}
"""
BANDWIDTH = """\
{"eventType":"start","metadata":{"accountId":"A1","callId":"C1","streamId":\
"01234567-89ab-cdef-0123-456789abcdef","tracks":[{"name":"inbound","mediaFormat":\
{"encoding":"audio/PCMU","sampleRate":8000}},{"name":"outbound","mediaFormat":\
{"encoding":"audio/PCMU","sampleRate":8000}}]},"streamParams":{"k":"v"}}
{"eventType":"media","track":"inbound","payload":"/wA=","sequenceNumber":1}
{"eventType":"media","track":"outbound","payload":"/wA=","sequenceNumber":2}
{"eventType":"stop","metadata":{"accountId":"A1","callId":"C1","streamId":\
"01234567-89ab-cdef-0123-456789abcdef"}}
"""
GOLDEN = {
    "signalwire": SIGNALWIRE,
    "telnyx": TELNYX,
    "plivo": PLIVO,
    "wavix": WAVIX,
    "exotel": EXOTEL,
    "bandwidth": BANDWIDTH,
}
PARTIES = {"from": "+1", "to": "+2"}


def started(name: str, **changes: Any) -> Started:
    """What a sender gives the encoder *name*."""
    encoder = encoder_named(name)
    fields: dict[str, Any] = {
        "dialect": name,
        "format": encoder.formats[0],
        "tracks": encoder.tracks_for(BOTH),
        "stream_id": encoder.stream_id("0123456789abcdef" * 2),
        "call_id": "C1",
        "account_id": "A1",
        "custom": {"k": "v"},
        "extra": PARTIES,
    }
    return Started(**(fields | changes))


def written(name: str) -> list[WireMessage]:
    encoder, start = encoder_named(name), started(name)
    first, second = start.tracks[0], start.tracks[-1]
    return [
        *encoder.connected(),
        *encoder.start(start),
        *encoder.media(first, b"\xff\0", 0),
        *encoder.media(second, b"\xff\0", 20),
        *encoder.digit("5", duration_ms=80),
        *encoder.mark("m1"),
        *encoder.stop(),
    ]


def read(
    name: str, *messages: WireMessage, settings: DialectSettings | None = None
) -> list[StreamEvent]:
    dialect = dialect_named(name)(settings or DialectSettings())
    return [event for message in messages for event in dialect.decode(message)]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_stream_is_written_as_the_platform_writes_it(name: str) -> None:
    assert written(name) == GOLDEN[name].splitlines()


STREAMS: dict[str, list[StreamEvent]] = {
    "signalwire": [
        Connected("Call", "0.2.0"),
        Started("signalwire", MULAW, BOTH, UUID, "C1", "A1", {"k": "v"}),
        Media("inbound", b"\xff\0", MULAW, 0, 2, 1),
        Media("outbound", b"\xff\0", MULAW, 160, 3, 1),
        Digit("5", "inbound", 80),
        Mark("m1"),
        Stopped(),
    ],
    "telnyx": [
        Connected("", "1.0.0"),
        Started(
            "telnyx",
            MULAW,
            BOTH,
            UUID,
            "C1",
            "A1",
            {"k": "v"},
            {"call_session_id": "C1", "client_state": "", **PARTIES},
        ),
        Media("inbound", b"\xff\0", MULAW, 0, 2, 1),
        Media("outbound", b"\xff\0", MULAW, 160, 3, 1),
        Digit("5"),
        Mark("m1"),
        Stopped(None, "C1"),
    ],
    "plivo": [
        Started("plivo", MULAW, BOTH, UUID, "C1", "A1", {"k": "v"}),
        Media("inbound", b"\xff\0", MULAW, 0, 2, 1),
        Media("outbound", b"\xff\0", MULAW, 160, 3, 1),
        Digit("5", "inbound"),
    ],
    "wavix": [
        Started("wavix", MediaFormat("l16le", 24000), BOTH, UUID, "C1", extra={"event_time": ""}),
        Media("inbound", b"\xff\0", MediaFormat("l16le", 24000), 0, 2, 1),
        Media("outbound", b"\xff\0", MediaFormat("l16le", 24000), 480, 3, 1),
        Stopped(None, "C1"),
    ],
    "exotel": [
        Connected(),
        Started("exotel", L16, ("mixed",), UUID.replace("-", ""), "C1", "A1", {"k": "v"}, PARTIES),
        Media("mixed", b"\xff\0", L16, 0, 2, 1),
        Media("mixed", b"\xff\0", L16, 160, 3, 2),
        Digit("5", None, 80),
        Mark("m1"),
        Stopped(None, "C1"),
    ],
    "bandwidth": [
        Started("bandwidth", MULAW, BOTH, UUID, "C1", "A1", {"k": "v"}),
        Media("inbound", b"\xff\0", MULAW, None, 1),
        Media("outbound", b"\xff\0", MULAW, None, 2),
        Stopped(None, "C1"),
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_stream_of_the_platform_is_read_whole(name: str) -> None:
    assert read(name, *GOLDEN[name].splitlines()) == STREAMS[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_may_change_between_text_and_number(name: str) -> None:
    def swapped(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {key: swapped(member, key) for key, member in value.items()}
        if isinstance(value, list):
            return [swapped(member) for member in value]
        if key in ("from", "to"):
            return value
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        return str(value) if isinstance(value, int) else value

    messages = [json.dumps(swapped(json.loads(line))) for line in GOLDEN[name].splitlines()]
    assert read(name, *messages) == STREAMS[name]


def test_optional_details_are_left_out_where_nobody_knows_them() -> None:
    encoder = encoder_named("signalwire")
    encoder.start(started("signalwire"))
    assert "duration" not in str(encoder.digit("5"))
    encoder = encoder_named("exotel")
    encoder.start(started("exotel"))
    assert "duration" not in str(encoder.digit("5"))


def test_a_stream_of_one_track_says_which() -> None:
    (start,) = encoder_named("wavix").start(started("wavix", tracks=("outbound",)))
    assert '"channel":"outbound"' in str(start)
    (event,) = read("wavix", start)
    assert isinstance(event, Started)
    assert event.tracks == ("outbound",)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("signalwire", {"format": MediaFormat("l16be")}, "the encoding has no name here"),
        ("plivo", {"format": MediaFormat("alaw")}, "the encoding has no name here"),
        ("wavix", {"format": L16}, "it is always l16le/24000/1"),
        ("exotel", {"format": MULAW}, "the encoding has no name here"),
        ("bandwidth", {"format": L16}, "the encoding has no name here"),
        ("exotel", {"tracks": BOTH}, "more or less than one track"),
        ("plivo", {"custom": {"a": "1;b=2"}}, "a semicolon"),
        ("plivo", {"custom": {"a=b": "1"}}, "= in a name"),
        *[(name, {"call_id": None}, "without a stream id and a call id") for name in GOLDEN],
        *[
            (name, {"tracks": ("mixed",)}, "the tracks")
            for name in ("telnyx", "plivo", "wavix", "bandwidth")
        ],
    ],
)
def test_a_start_that_the_platform_cannot_say_is_refused(
    name: str, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        encoder_named(name).start(started(name, **changes))


def test_what_has_no_message_in_a_dialect_is_not_said() -> None:
    for name in ("wavix", "bandwidth"):
        encoder = encoder_named(name)
        encoder.start(started(name))
        assert encoder.digit("1") == encoder.mark("m") == []
    encoder = encoder_named("plivo")
    encoder.start(started("plivo"))
    assert encoder.mark("m") == encoder.stop() == []
    assert not encoder.has_stop


def changed(name: str, line: int, old: str, new: str) -> str:
    message = GOLDEN[name].splitlines()[line]
    assert old in message
    return message.replace(old, new)


def test_l16_of_telnyx_is_big_endian_unless_a_setting_says_otherwise() -> None:
    start = changed("telnyx", 1, '"PCMU","sample_rate":8000', '"L16","sample_rate":16000')
    for l16, encoding in ((None, "l16be"), ("l16le", "l16le"), ("l16be", "l16be")):
        settings = DialectSettings(l16=l16)  # type: ignore[arg-type]
        (event,) = read("telnyx", start, settings=settings)
        assert isinstance(event, Started)
        assert event.format == MediaFormat(encoding, 16000)  # type: ignore[arg-type]
    for order in ("l16be", "l16le"):
        format = MediaFormat(order, 16000)
        (message,) = encoder_named("telnyx").start(started("telnyx", format=format))
        assert '"encoding":"L16"' in str(message)


def test_an_error_of_telnyx_is_handed_on_with_what_it_says() -> None:
    message = (
        '{"event":"error","stream_id":"S","payload":'
        '{"code":100003,"title":"malformed_frame","detail":"The frame is \\nbad"}}'
    )
    (event,) = read("telnyx", message)
    said = "100003 'malformed_frame' 'The frame is \\nbad'"
    assert event == Unknown(message, f"the platform reports an error: {said}")


def test_unix_time_of_plivo_counts_from_the_first_piece() -> None:
    lines = GOLDEN["plivo"].splitlines()
    at = 1780056600000
    first = lines[1].replace('"timestamp":"0"', '"timestamp":"%d"' % at)
    second = lines[2].replace('"timestamp":"20"', '"timestamp":"%d"' % (at + 20))
    events = read("plivo", lines[0], first, second)
    assert [event.position for event in events if isinstance(event, Media)] == [0, 160]


def test_what_is_older_than_what_came_first_has_a_position_before_the_start() -> None:
    start, media, other, _ = GOLDEN["plivo"].splitlines()
    at = 1780056600000
    first = media.replace('"timestamp":"0"', '"timestamp":"%d"' % at)
    second = other.replace('"timestamp":"20"', '"timestamp":"%d"' % (at - 500))
    events = read("plivo", start, first, second)
    positions = [(event.track, event.position) for event in events if isinstance(event, Media)]
    assert positions == [("inbound", 0), ("outbound", -4000)]


@pytest.mark.parametrize("name", ["jambonz", "vonage", "asterisk", "minivoice", "bandwidth"])
def test_a_repeated_start_that_names_no_format_changes_none(name: str) -> None:
    starts: dict[str, tuple[str, str]] = {
        "jambonz": ('{"callSid":"1","sampleRate":16000,"mixType":"mixed"}', '{"callSid":"1"}'),
        "vonage": (
            '{"event":"websocket:connected","content-type":"audio/l16;rate=16000"}',
            '{"event":"websocket:connected"}',
        ),
        "asterisk": ("MEDIA_START format:slin16", "MEDIA_START"),
        "minivoice": ('{"event":"start","codec":"l16","rate":16000}', '{"event":"start"}'),
        "bandwidth": (
            bandwidth_start(described("inbound", "l16", 16000)),
            '{"eventType":"start","metadata":{"callId":"C1"}}',
        ),
    }
    events = read(name, *starts[name])
    formats = {str(event.format) for event in events if isinstance(event, Started)}
    assert formats == {"l16le/16000/1"}
    audio = '{"eventType":"media","track":"inbound","payload":"AQI="}'
    (media,) = read(name, *starts[name], audio if name == "bandwidth" else b"\1\2")[len(events) :]
    assert isinstance(media, Media) and str(media.format) == "l16le/16000/1"


@pytest.mark.parametrize(
    ("headers", "custom"),
    [
        ('"a=1; b = x=y ;;c"', {"a": "1", "b": "x=y", "c": ""}),
        ('{"a":1}', {"a": "1"}),
        ("17", {}),
    ],
)
def test_extra_headers_of_plivo_are_the_customers_parameters(
    headers: str, custom: dict[str, str]
) -> None:
    (event,) = read("plivo", changed("plivo", 0, '"k=v"', headers))
    assert isinstance(event, Started)
    assert event.custom == custom


def test_whose_audio_a_stream_without_tracks_carries_is_a_setting() -> None:
    settings = DialectSettings(MULAW, one_channel="inbound")
    lines = GOLDEN["exotel"].splitlines()
    events = read("exotel", lines[1], lines[2], settings=settings)
    assert [
        getattr(event, "tracks", None) or getattr(event, "track", None) for event in events
    ] == [
        ("inbound",),
        "inbound",
    ]
    dialect = dialect_named("exotel")(settings)
    assert dialect.assume() == Started("exotel", MULAW, ("inbound",), assumed=True)
    assert read("exotel", lines[2], settings=settings) == [
        Media("inbound", b"\xff\0", MULAW, 0, 2, 1)
    ]


def test_the_format_of_wavix_is_not_on_the_wire_and_no_setting_changes_it() -> None:
    settings = DialectSettings(MULAW)
    dialect = dialect_named("wavix")(settings)
    assert dialect.assume().format == MediaFormat("l16le", 24000)
    (event,) = dialect.decode(GOLDEN["wavix"].splitlines()[2])
    assert isinstance(event, Media)
    assert (event.position, event.format) == (480, MediaFormat("l16le", 24000))


def bandwidth_start(*tracks: object) -> str:
    return json.dumps({"eventType": "start", "metadata": {"callId": "C1", "tracks": [*tracks]}})


def described(name: str, encoding: str | None = None, rate: object = None) -> dict[str, object]:
    return {"name": name, "mediaFormat": {"encoding": encoding, "sampleRate": rate}}


@pytest.mark.parametrize("tracks", ["[]", "{}", "null", '["inbound"]', '[{"name":"inbound"}]'])
def test_a_start_of_bandwidth_without_a_format_is_one_in_the_assumed_format(tracks: str) -> None:
    message = '{"eventType":"start","metadata":{"callId":"C1","tracks":%s}}' % tracks
    event, unknown = read("bandwidth", message)
    assert isinstance(event, Started) and isinstance(unknown, Unknown)
    assert event.assumed and event.format == L16 and event.call_id == "C1"
    assert unknown.why.endswith("; l16le/8000/1 is assumed")


@pytest.mark.parametrize(
    ("tracks", "formats", "stream", "why"),
    [
        (
            [described("inbound", "audio/PCMU", 8000), described("outbound", "PCMA", 8000)],
            ["mulaw/8000/1", "alaw/8000/1"],
            "mulaw/8000/1",
            None,
        ),
        (
            [described("outbound", "PCMA", 8000), described("inbound", "L16", 16000)],
            ["l16le/16000/1", "alaw/8000/1"],
            "alaw/8000/1",
            "the tracks differ: only those with 8000 can be recorded",
        ),
        (
            [described("inbound", "PCMU", 8000), {"name": "outbound"}],
            ["mulaw/8000/1", "mulaw/8000/1"],
            "mulaw/8000/1",
            "encoding is missing; mulaw/8000/1 is assumed",
        ),
        (
            [described("inbound", "opus", 8000), described("outbound", "PCMU", 8000)],
            ["unknown/8000/1", "mulaw/8000/1"],
            "mulaw/8000/1",
            "encoding 'opus' is not known; its audio is handed on as it comes, and not recorded",
        ),
        (
            [described("inbound", "opus", 8000), described("outbound", "opus", 8000)],
            ["unknown/8000/1", "unknown/8000/1"],
            "unknown/8000/1",
            "encoding 'opus' is not known; its audio is handed on as it comes, and not recorded",
        ),
        (
            [described("inbound", "PCMU", 8000)],
            ["mulaw/8000/1", "mulaw/8000/1"],
            "mulaw/8000/1",
            None,
        ),
    ],
)
def test_each_track_of_bandwidth_is_read_in_its_own_format(
    tracks: list[object], formats: list[str], stream: str, why: str | None
) -> None:
    message = bandwidth_start(*tracks)
    media = [
        '{"eventType":"media","track":"%s","payload":"AQIDBA==","sequenceNumber":1}' % track
        for track in BOTH
    ]
    start, *events = read("bandwidth", message, *media)
    assert isinstance(start, Started) and str(start.format) == stream
    assert start.assumed == (why is not None and why.endswith("assumed"))
    if why is not None:
        assert events.pop(0) == Unknown(message, f"start: tracks: {why}")
        assert start.extra == {"tracks": tracks}
    assert [str(event.format) for event in events if isinstance(event, Media)] == formats


@pytest.mark.parametrize(
    ("name", "message", "why"),
    [
        ("bandwidth", '{"eventType":"media","payload":"/w=="}', "media: track None is not known"),
        ("bandwidth", '{"eventType":"media","track":"inbound"}', "media: payload is missing"),
        ("bandwidth", '{"eventType":"play"}', "eventType 'play' is not known"),
        ("bandwidth", '{"event":"media"}', "eventType None is not known"),
        ("telnyx", '{"event":"dtmf","sequence_number":[]}', "dtmf: digit is missing"),
        ("telnyx", "junk", "not a JSON object"),
        ("telnyx", '{"event":"dtmf","sequence_number":"9"}', "dtmf: digit is missing"),
        ("exotel", '{"event":"clear"}', "event 'clear' is not known"),
    ],
)
def test_what_cannot_be_meant_is_handed_on_whole(name: str, message: str, why: str) -> None:
    (event,) = read(name, message)
    assert isinstance(event, Unknown)
    assert event.message == message
    assert event.why.startswith(why)


BINARY = DialectSettings(binary_audio=True)


@pytest.mark.parametrize("name", [*GOLDEN, "twilio"])
def test_binary_messages_are_audio_only_where_the_settings_say_so(name: str) -> None:
    (event,) = read(name, b"\x01\x02", settings=BINARY)
    format = dialect_named(name)(BINARY).assume().format
    assert event == Media("mixed", b"\x01\x02", format)
    (event,) = read(name, b"\x01\x02")
    assert event == Unknown(b"\x01\x02", "not a JSON object")
    for nothing in (b"", "text"):
        assert read(name, nothing, settings=BINARY) == [Unknown(nothing, "not a JSON object")]


def test_binary_audio_of_two_channels_is_split() -> None:
    start = changed("telnyx", 1, '"channels":1', '"channels":2')
    events = read("telnyx", start, b"\x01\x02\x03\x04", b"\x01\x02\x03", settings=BINARY)
    assert events[1:] == [
        Media("inbound", b"\x01\x03", MULAW),
        Media("outbound", b"\x02\x04", MULAW),
        Unknown(b"\x01\x02\x03", "no whole samples of mulaw/8000/2"),
    ]


def test_binary_audio_belongs_to_the_only_track() -> None:
    start = changed("plivo", 0, '["inbound","outbound"]', '["outbound"]')
    events = read("plivo", start, b"\x01", settings=BINARY)
    assert events[1:] == [Media("outbound", b"\x01", MULAW)]
