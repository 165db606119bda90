"""The Twilio shape: written as documented, read with tolerance, never at a loss for an answer."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects.base import DialectSettings, Encoder
from minivoice_ref.protocol.dialects.raw import RawDialect, RawEncoder
from minivoice_ref.protocol.dialects.twilio import TwilioDialect, TwilioEncoder
from minivoice_ref.protocol.errors import LocalProtocolError
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

STARTED = Started(
    dialect="twilio",
    format=MediaFormat("mulaw", 8000, 1),
    tracks=("inbound", "outbound"),
    stream_id="MZ1",
    call_id="CA1",
    account_id="AC1",
    custom={"k": "v"},
)
GOLDEN = """\
{"event":"connected","protocol":"Call","version":"1.0.0"}
{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1","streamSid":"MZ1",\
"callSid":"CA1","tracks":["inbound","outbound"],"mediaFormat":{"encoding":"audio/x-mulaw",\
"sampleRate":8000,"channels":1},"customParameters":{"k":"v"}}}
{"event":"media","sequenceNumber":"2","streamSid":"MZ1","media":{"track":"inbound","chunk":"1",\
"timestamp":"0","payload":"AP+A"}}
{"event":"media","sequenceNumber":"3","streamSid":"MZ1","media":{"track":"outbound","chunk":"1",\
"timestamp":"0","payload":"fw=="}}
{"event":"media","sequenceNumber":"4","streamSid":"MZ1","media":{"track":"inbound","chunk":"2",\
"timestamp":"20","payload":"fw=="}}
{"event":"dtmf","sequenceNumber":"5","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"1"}}
{"event":"mark","sequenceNumber":"6","streamSid":"MZ1","mark":{"name":"m1"}}
{"event":"stop","sequenceNumber":"7","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}
""".splitlines()


def reader(format: MediaFormat | None = None, **settings: Any) -> TwilioDialect:
    """A reader; of a stream that has started in *format*, where one is given."""
    dialect = TwilioDialect(DialectSettings(**settings))
    if format is not None:
        encoder = TwilioEncoder()
        start = Started("twilio", format, ("inbound", "outbound"), "MZ1", "CA1")
        (message,) = encoder.start(start)
        dialect.decode(message)
    return dialect


def only(events: list[StreamEvent]) -> StreamEvent:
    (event,) = events
    return event


def media(**fields: object) -> str:
    body = {"track": "inbound", "timestamp": "20", "chunk": "1", "payload": "/w==", **fields}
    body = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"event": "media", "sequenceNumber": "3", "streamSid": "MZ1", "media": body})


def start(top: dict[str, object] | None = None, **fields: object) -> str:
    body: dict[str, object] = {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    } | fields
    body = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": body} | (top or {}))


def test_a_stream_is_written_exactly_as_documented() -> None:
    encoder = TwilioEncoder()
    messages = [
        *encoder.connected(),
        *encoder.start(STARTED),
        *encoder.media("inbound", b"\x00\xff\x80", 0),
        *encoder.media("outbound", b"\x7f", 0),
        *encoder.media_prepared("inbound", encoder.prepare(b"\x7f"), 20),
        *encoder.digit("1"),
        *encoder.mark("m1"),
        *encoder.stop(),
    ]
    assert messages == GOLDEN


def test_a_stream_as_documented_is_read_whole() -> None:
    dialect, format = reader(), STARTED.format
    assert [only(dialect.decode(message)) for message in GOLDEN] == [
        Connected("Call", "1.0.0"),
        STARTED,
        Media("inbound", b"\x00\xff\x80", format, 0, 2, 1),
        Media("outbound", b"\x7f", format, 0, 3, 1),
        Media("inbound", b"\x7f", format, 160, 4, 2),
        Digit("1", "inbound"),
        Mark("m1"),
        Stopped(None, "CA1"),
    ]
    assert dialect.flush() == []


def test_json_that_is_marked_as_binary_is_read_all_the_same() -> None:
    assert only(reader().decode(GOLDEN[1].encode())) == STARTED


words = st.text(min_size=1, max_size=20)
tracks = st.sampled_from([("inbound",), ("outbound",), ("inbound", "outbound")])
formats = st.builds(
    MediaFormat, st.sampled_from(["mulaw", "alaw", "l16le"]), st.sampled_from([8000, 16000, 44100])
)


@given(
    started=st.builds(
        Started,
        st.just("twilio"),
        formats,
        tracks,
        stream_id=words,
        call_id=words,
        account_id=st.none() | words,
        custom=st.dictionaries(words, words, max_size=3),
    ),
    pieces=st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 10**7))),
    name=words,
    digit=st.sampled_from("0123456789*#ABCD"),
)
def test_what_was_written_is_read_as_it_was_meant(
    started: Started, pieces: list[tuple[bytes, int]], name: str, digit: str
) -> None:
    encoder, dialect, track = TwilioEncoder(), reader(), started.tracks[-1]
    assert only(dialect.decode(encoder.connected()[0])) == Connected("Call", "1.0.0")
    assert only(dialect.decode(encoder.start(started)[0])) == started
    for number, (payload, timestamp) in enumerate(pieces, 1):
        event = only(dialect.decode(encoder.media(track, payload, timestamp)[0]))
        exact = Fraction(timestamp * started.format.sample_rate, 1000)
        position = math.floor(exact + Fraction(1, 2))
        assert event == Media(track, payload, started.format, position, number + 1, number)
    assert only(dialect.decode(encoder.digit(digit, track)[0])) == Digit(digit, track)
    assert only(dialect.decode(encoder.mark(name)[0])) == Mark(name)
    assert only(dialect.decode(encoder.stop()[0])) == Stopped(None, started.call_id)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
FIELDS = (
    "event start media dtmf mark stop streamSid callSid accountSid tracks mediaFormat encoding"
    " sampleRate customParameters track timestamp chunk payload digit duration name sequenceNumber"
).split()
likely_values = st.sampled_from(["inbound", "audio/l16", "20", "//8=", "1e3", "\ud800", 10**400])
near_misses = st.recursive(
    json_values | likely_values,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
nearly = st.builds(
    lambda event, rest: json.dumps(rest | {"event": event}),
    st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop"]),
    st.dictionaries(st.sampled_from(FIELDS), near_misses, max_size=6),
)
anything = st.text() | st.binary() | nearly | st.builds(json.dumps, json_values)


@given(messages=st.lists(anything, max_size=4))
@example(["[" * 100_000])
@example(['{"event":"media","media":{"track":"inbound","payload":' + "[" * 100_000])
@example(['{"event":' + "9" * 5000 + "}"])
@example(['{"event":{"a":NaN}}', '{"event":NaN,"event":[]}', "NaN", "\ufeff{}", b"\xff\xfe{"])
def test_no_message_whatever_makes_a_reader_raise_or_say_nothing(
    messages: list[WireMessage],
) -> None:
    for dialect in (reader(), RawDialect(DialectSettings())):
        for message in messages:
            events = dialect.decode(message)
            assert events
            for event in events:
                if isinstance(event, Unknown):
                    assert event.message is message
                    assert len(event.why) < 300
                if isinstance(event, Media):
                    assert event.payload


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": 20, "chunk": 1},
        {"timestamp": "20", "chunk": "1"},
        {"timestamp": 20.0, "chunk": 1.0},
        {"timestamp": 19.6, "chunk": "1"},
        {"track": "inbound_track"},
        {"unheard_of": {}},
    ],
)
def test_numbers_may_be_numbers_or_text_and_fields_may_be_added(fields: dict[str, object]) -> None:
    format = MediaFormat()
    event = only(reader(format).decode(media(**fields)))
    assert event == Media("inbound", b"\xff", format, 160, 3, 1)


def test_audio_without_timestamp_chunk_or_sequence_is_audio_all_the_same() -> None:
    message = '{"event":"media","media":{"track":"outbound","payload":"/w=="}}'
    format = MediaFormat("alaw")
    assert only(reader(format).decode(message)) == Media("outbound", b"\xff", format)


@pytest.mark.parametrize(
    ("rate", "timestamp", "position"),
    [(8000, 20, 160), (11025, 20, 221), (44100, 1, 44), (8000, -20, -160), (22050, 21, 463)],
)
def test_a_timestamp_becomes_the_nearest_sample(rate: int, timestamp: int, position: int) -> None:
    event = only(reader(MediaFormat("mulaw", rate)).decode(media(timestamp=timestamp)))
    assert isinstance(event, Media)
    assert event.position == position


@pytest.mark.parametrize("sequence", [2**53, -(2**53)])
def test_a_number_may_be_as_large_as_json_can_say_exactly(sequence: int) -> None:
    message = json.loads(media()) | {"sequenceNumber": sequence}
    event = only(reader(MediaFormat()).decode(json.dumps(message)))
    assert isinstance(event, Media)
    assert event.sequence == sequence


def test_unix_time_is_counted_from_the_first_timestamp_over_both_tracks() -> None:
    dialect, positions = reader(MediaFormat()), []
    for track, timestamp in (("inbound", 1780056600000), ("outbound", 1780056600020)):
        event = only(dialect.decode(media(track=track, timestamp=timestamp)))
        assert isinstance(event, Media)
        positions.append(event.position)
    assert positions == [0, 160]


def test_a_repeated_start_does_not_move_the_time_that_positions_count_from() -> None:
    dialect = reader(MediaFormat())
    dialect.decode(media(timestamp=1780056600000))
    dialect.decode(start())
    event = only(dialect.decode(media(timestamp=1780056600020)))
    assert isinstance(event, Media)
    assert event.position == 160


def test_a_message_may_leave_its_track_unsaid_where_the_stream_has_only_one() -> None:
    dialect = reader()
    dialect.decode(start(tracks=["outbound"]))
    event = only(dialect.decode(media(track=None)))
    assert isinstance(event, Media)
    assert event.track == "outbound"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("hello", "not a JSON object"),
        ("[1]", "not a JSON object"),
        (b"\x00\xff", "not a JSON object"),
        ("{}", "event None is not known"),
        ('{"event":"clear"}', "event 'clear' is not known"),
        ('{"event":["media"]}', "event a list is not known"),
        ('{"event":{}}', "event an object is not known"),
        ('{"event":"media"}', "media: the object media is missing"),
        ('{"event":"media","media":"x"}', "media: the object media is missing"),
        (media(track=None), "media: track None is not known"),
        (media(track="speaker"), "media: track 'speaker' is not known"),
        (media(track=[]), "media: track a list is not known"),
        (media(payload=None), "media: payload is missing, not base64 text"),
        (media(payload=17), "media: payload is 17, not base64 text"),
        (media(payload=""), "media: payload is empty"),
        (media(payload="/w=?"), "media: payload is not base64: "),
        (media(payload="/w="), "media: payload is not base64: "),
        (media(payload="\u00e9"), "media: payload is not base64: "),
        ('{"event":"dtmf"}', "dtmf: digit is missing"),
        ('{"event":"dtmf","dtmf":{"digit":[]}}', "dtmf: digit is missing"),
        ('{"event":"mark","mark":{"name":""}}', "mark: name is missing"),
    ],
)
def test_what_cannot_be_meant_is_handed_on_whole_with_the_reason(
    message: WireMessage, why: str
) -> None:
    event = only(reader(MediaFormat()).decode(message))
    assert isinstance(event, Unknown)
    assert event.message == message
    assert event.why.startswith(why)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"timestamp": "soon"}, "timestamp is 'soon', not a number"),
        ({"timestamp": []}, "timestamp is a list, not a number"),
        ({"timestamp": float("nan")}, "timestamp is nan, not a number"),
        ({"timestamp": float("inf")}, "timestamp is inf, not a number"),
        ({"timestamp": "9" * 5000}, f"timestamp is {'9' * 40!r}, not a number"),
        ({"timestamp": 2**53 + 1}, "timestamp is beyond all measure"),
        ({"timestamp": -(10**300)}, "timestamp is beyond all measure"),
        ({"chunk": "one"}, "chunk is 'one', not a number"),
        (
            {"timestamp": {}, "chunk": "one"},
            "timestamp is an object, not a number; chunk is 'one', not a number",
        ),
    ],
)
def test_a_number_that_cannot_be_read_costs_no_audio_and_is_told(
    fields: dict[str, object], why: str
) -> None:
    message, format = media(**fields), MediaFormat()
    position = None if "timestamp" in fields else 160
    chunk = None if "chunk" in fields else 1
    assert reader(format).decode(message) == [
        Media("inbound", b"\xff", format, position, 3, chunk),
        Unknown(message, f"media: {why}"),
    ]


def test_a_sequence_number_and_a_duration_that_cannot_be_read_cost_nothing_either() -> None:
    message = media().replace('"sequenceNumber": "3"', '"sequenceNumber": "x"')
    audio, unknown = reader(MediaFormat()).decode(message)
    assert audio == Media("inbound", b"\xff", MediaFormat(), 160, None, 1)
    assert unknown == Unknown(message, "media: sequenceNumber is 'x', not a number")
    message = '{"event":"dtmf","dtmf":{"digit":"5","duration":"long"}}'
    why = "dtmf: duration is 'long', not a number"
    assert reader().decode(message) == [Digit("5"), Unknown(message, why)]


@pytest.mark.parametrize(
    ("message", "event"),
    [
        ('{"event":"connected"}', Connected()),
        ('{"event":"dtmf","dtmf":{"digit":5,"duration":"80"}}', Digit("5", None, 80)),
        ('{"event":"dtmf","dtmf":{"digit":"#","track":"outbound"}}', Digit("#", "outbound")),
        ('{"event":"stop"}', Stopped()),
        ('{"event":"stop","stop":{"reason":"done","callSid":7}}', Stopped("done", "7")),
    ],
)
def test_messages_of_the_shapes_kin_are_understood(message: str, event: StreamEvent) -> None:
    assert only(reader().decode(message)) == event


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("audio/x-mulaw", "mulaw"),
        ("audio/PCMU", "mulaw"),
        ("ulaw", "mulaw"),
        ("audio/x-alaw", "alaw"),
        ("PCMA", "alaw"),
        ("audio/x-L16", "l16le"),
        ("audio/l16;rate=16000", "l16le"),
        ("audio/x-l16be", "l16be"),
        ("G711_ULAW", "mulaw"),
        ("g711-a", "alaw"),
        ("pcm_s16le", "l16le"),
        ("LINEAR16", "l16le"),
    ],
)
def test_a_codec_is_known_by_each_of_its_names(name: str, encoding: Encoding) -> None:
    event = only(reader().decode(start(mediaFormat={"encoding": name, "sampleRate": "16000"})))
    assert isinstance(event, Started)
    assert event.format == MediaFormat(encoding, 16000, 1)
    assert not event.assumed


@pytest.mark.parametrize("rate", [1000, 384000])
def test_any_rate_that_audio_is_ever_sampled_at_is_taken(rate: int) -> None:
    event = only(reader().decode(start(mediaFormat={"encoding": "PCMU", "sampleRate": rate})))
    assert isinstance(event, Started)
    assert event.format.sample_rate == rate


def test_the_byte_order_of_l16_is_a_setting() -> None:
    message = start(mediaFormat={"encoding": "audio/x-L16", "sampleRate": 8000})
    event = only(reader(l16="l16be").decode(message))
    assert isinstance(event, Started)
    assert event.format.encoding == "l16be"


FALLBACK = MediaFormat("l16be", 16000, 2)


@pytest.mark.parametrize(
    ("named", "why", "format"),
    [
        (None, "encoding is missing", "l16be/16000/1"),
        ({"sampleRate": 24000}, "encoding is missing", "l16be/24000/1"),
        ({"encoding": "", "sampleRate": "24000"}, "encoding is missing", "l16be/24000/1"),
        ({"encoding": 5, "sampleRate": 24000}, "encoding is not text", "l16be/24000/1"),
        (
            {"encoding": 5, "sampleRate": "x"},
            "encoding is not text; sampleRate is 'x', not a number",
            "l16be/16000/1",
        ),
        ({"encoding": "l16le"}, "sampleRate is missing", "l16le/16000/1"),
        (
            {"encoding": "PCMU", "sampleRate": 0},
            "sampleRate 0 is not a sample rate",
            "mulaw/8000/1",
        ),
        (
            {"encoding": "l16le", "sampleRate": 999},
            "sampleRate 999 is not a sample rate",
            "l16le/16000/1",
        ),
        (
            {"encoding": "PCMA", "sampleRate": 384001},
            "sampleRate 384001 is not a sample rate",
            "alaw/8000/1",
        ),
        (
            {"encoding": "PCMU", "sampleRate": "fast"},
            "sampleRate is 'fast', not a number",
            "mulaw/8000/1",
        ),
        ({"encoding": "l16le;rate=x"}, "rate is 'x', not a number", "l16le/16000/1"),
    ],
)
def test_what_a_start_does_not_say_of_its_format_is_assumed_and_no_more(
    named: object, why: str, format: str
) -> None:
    message = start(mediaFormat=named)
    started, unknown = TwilioDialect(DialectSettings(FALLBACK)).decode(message)
    assert isinstance(started, Started) and isinstance(unknown, Unknown)
    assert started.assumed and str(started.format) == format
    assert started.call_id == "CA1"
    assert started.extra == ({} if named is None else {"mediaFormat": named})
    assert unknown == Unknown(message, f"start: mediaFormat: {why}; {format} is assumed")


@pytest.mark.parametrize(
    ("named", "format"),
    [
        ({"encoding": "PCMU"}, "mulaw/8000/1"),
        ({"encoding": "audio/x-alaw"}, "alaw/8000/1"),
        ({"encoding": "audio/l16;rate=24000"}, "l16le/24000/1"),
        ({"encoding": "audio/l16;channels=1;rate=24000"}, "l16le/24000/1"),
        ({"encoding": "audio/l16; Rate=24000; channels=1"}, "l16le/24000/1"),
        ({"encoding": "audio/l16;rate=24000", "sampleRate": 8000}, "l16le/8000/1"),
    ],
)
def test_a_rate_is_not_missing_that_the_codec_names_or_the_telephone_has(
    named: object, format: str
) -> None:
    started = only(TwilioDialect(DialectSettings(FALLBACK)).decode(start(mediaFormat=named)))
    assert isinstance(started, Started)
    assert str(started.format) == format and not started.assumed


@pytest.mark.parametrize(("rate", "unit"), [(48000, 48000), (None, 16000), ("x", 16000)])
def test_audio_in_a_codec_that_is_named_and_unknown_is_handed_on_as_it_came(
    rate: object, unit: int
) -> None:
    named = {"encoding": "audio/opus", "sampleRate": rate, "channels": 2}
    message, dialect = start(mediaFormat=named), TwilioDialect(DialectSettings(FALLBACK))
    started, unknown = dialect.decode(message)
    format = MediaFormat("unknown", unit)
    assert isinstance(started, Started) and isinstance(unknown, Unknown)
    assert started.format == format and not started.assumed
    assert started.extra["mediaFormat"] == named
    assert unknown.why.startswith("start: mediaFormat: encoding 'audio/opus' is not known; ")
    assert unknown.why.endswith("its audio is handed on as it comes, and not recorded")
    event = only(dialect.decode(media(payload="AQID")))
    assert event == Media("inbound", b"\x01\x02\x03", format, unit // 50, 3, 1)
    assert event.samples == event.torn == 0


def test_unknown_fields_of_a_start_are_kept() -> None:
    event = only(reader().decode(start({"region": "eu"}, codec_hint=[1], streamSid=None)))
    assert isinstance(event, Started)
    assert event.extra == {"region": "eu", "codec_hint": [1]}
    assert event.stream_id is None


def test_the_ids_of_a_start_are_found_where_they_may_stand_and_may_be_missing() -> None:
    event = only(reader().decode(start({"streamSid": 12}, streamSid=None, callSid=[])))
    assert isinstance(event, Started)
    assert (event.stream_id, event.call_id) == ("12", None)


@pytest.mark.parametrize(
    ("named", "tracks"),
    [
        (["inbound", "speaker", 5, "inbound_track"], ("inbound",)),
        (["outbound"], ("outbound",)),
        ([], ("inbound", "outbound")),
        ("inbound", ("inbound", "outbound")),
    ],
)
def test_the_tracks_of_a_start_are_those_we_know_or_else_both(
    named: object, tracks: tuple[Track, ...]
) -> None:
    event = only(reader().decode(start(tracks=named)))
    assert isinstance(event, Started)
    assert event.tracks == tracks


def test_custom_parameters_are_text_and_nested_ones_are_left_out() -> None:
    parameters = {"a": "\ud800x", "b": 1, "c": True, "d": {"deep": 1}, "\u00e9": "\u00e9"}
    event = only(reader().decode(start(customParameters=parameters)))
    assert isinstance(event, Started)
    assert event.custom == {"a": "?x", "b": "1", "c": "true", "\u00e9": "\u00e9"}
    event = only(reader().decode(start(customParameters=["a"])))
    assert isinstance(event, Started)
    assert event.custom == {}


def test_an_assumed_start_names_the_format_of_the_settings() -> None:
    dialect = TwilioDialect(DialectSettings(MediaFormat("mulaw", 8000, 2)))
    expected = Started("twilio", MediaFormat(), ("inbound", "outbound"), assumed=True)
    assert dialect.assume() == expected


def opened(encoder: Encoder | None = None, **changes: Any) -> Encoder:
    encoder = encoder or TwilioEncoder()
    fields: dict[str, Any] = {
        "dialect": "twilio",
        "format": MediaFormat(),
        "tracks": ("inbound",),
        "stream_id": "MZ1",
        "call_id": "CA1",
    }
    encoder.start(Started(**(fields | changes)))
    return encoder


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": MediaFormat("l16be")}, "l16be/8000/1: the encoding has no name here"),
        ({"format": MediaFormat("mulaw", 8000, 2)}, "a track has one channel"),
        ({"stream_id": None}, "without a stream id and a call id"),
        ({"call_id": ""}, "without a stream id and a call id"),
        ({"tracks": ()}, "the tracks"),
        ({"tracks": ("mixed",)}, "the tracks"),
    ],
)
def test_a_start_that_the_shape_cannot_say_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(LocalProtocolError, match=f"^TwilioEncoder cannot send .*{why}"):
        opened(**changes)


def test_nothing_is_written_out_of_order() -> None:
    encoder = TwilioEncoder()
    with pytest.raises(LocalProtocolError, match="which is not open"):
        encoder.media("inbound", b"\xff", 0)
    with pytest.raises(LocalProtocolError, match="a stop before the start"):
        encoder.stop()
    opened(encoder)
    with pytest.raises(LocalProtocolError, match="a second start"):
        opened(encoder)
    with pytest.raises(LocalProtocolError, match="connected after the start"):
        encoder.connected()
    encoder.stop()
    with pytest.raises(LocalProtocolError, match="which is not open"):
        encoder.media("inbound", b"\xff", 0)
    with pytest.raises(LocalProtocolError, match="a mark after the stop"):
        encoder.mark("m1")
    with pytest.raises(LocalProtocolError, match="a stop after the stop"):
        encoder.stop()


def test_no_audio_is_written_that_the_stream_did_not_announce() -> None:
    encoder = opened()
    with pytest.raises(LocalProtocolError, match="'outbound', which is not open"):
        encoder.media("outbound", b"\xff", 0)
    with pytest.raises(LocalProtocolError, match="no audio"):
        encoder.media("inbound", b"", 0)
    with pytest.raises(LocalProtocolError, match="a timestamp of -1 ms"):
        encoder.media("inbound", b"\xff", -1)
    assert '"sequenceNumber":"2"' in str(encoder.media("inbound", b"\xff", 0)[0])


@pytest.mark.parametrize("digit", ["", "11", "E", "w"])
def test_what_is_no_key_is_not_written_as_a_digit(digit: str) -> None:
    with pytest.raises(LocalProtocolError, match="as a digit"):
        opened().digit(digit)


def test_bare_audio_is_written_as_it_is_and_all_else_is_no_message() -> None:
    encoder = RawEncoder()
    assert encoder.connected() == []
    assert encoder.start(Started("raw", MediaFormat("l16le"), ("mixed",))) == []
    assert encoder.media("mixed", b"\x01\x02", 0) == [b"\x01\x02"]
    assert encoder.digit("1") == encoder.mark("m1") == encoder.stop() == []


def test_two_tracks_are_not_written_into_one_channel() -> None:
    with pytest.raises(LocalProtocolError, match="more or less than one track"):
        opened(RawEncoder(), tracks=("inbound", "outbound"))


def test_bare_audio_is_one_mixed_track_in_the_format_of_the_settings() -> None:
    dialect = RawDialect(DialectSettings(MediaFormat("mulaw", 16000)))
    format = MediaFormat("mulaw", 16000)
    assert dialect.assume() == Started("raw", format, ("mixed",), assumed=True)
    assert only(dialect.decode(b"\x01\x02\x03")) == Media("mixed", b"\x01\x02\x03", format)


def test_bare_audio_of_two_channels_is_the_caller_and_the_agent() -> None:
    dialect = RawDialect(DialectSettings(MediaFormat("l16le", 8000, 2)))
    format = MediaFormat("l16le", 8000, 1)
    assert dialect.assume().tracks == ("inbound", "outbound")
    assert dialect.decode(b"aabbccdd") == [
        Media("inbound", b"aacc", format),
        Media("outbound", b"bbdd", format),
    ]


def test_text_and_emptiness_on_a_stream_of_bare_audio_are_not_understood() -> None:
    dialect = RawDialect(DialectSettings())
    assert dialect.decode("hi") == [Unknown("hi", "text on a stream of bare audio")]
    assert dialect.decode(b"") == [Unknown(b"", "an empty message")]


@pytest.mark.parametrize(
    ("timestamp", "position"), [("20.4", 160), ("20.0", 160), (20.4, 160), ("", None)]
)
def test_a_timestamp_in_decimal_text_or_an_empty_one_costs_no_audio(
    timestamp: object, position: int | None
) -> None:
    format = MediaFormat()
    event = only(reader(format).decode(media(timestamp=timestamp)))
    assert event == Media("inbound", b"\xff", format, position, 3, 1)
