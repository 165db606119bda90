"""The binary family: audio as it is, and what the few text messages around it mean."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.audio import split_channels
from minivoice_ref.protocol.dialects.asterisk import AsteriskTextEncoder
from minivoice_ref.protocol.dialects.base import DialectSettings, Encoder, Sign
from minivoice_ref.protocol.dialects.binary_family import interleave
from minivoice_ref.protocol.dialects.detect import dialect_named, encoder_named
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import (
    Digit,
    Media,
    MediaFormat,
    Started,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession

MULAW, L16, WIDE = MediaFormat("mulaw"), MediaFormat("l16le"), MediaFormat("l16le", 16000)
BOTH: tuple[Track, ...] = ("inbound", "outbound")
FAMILY = ("freeswitch", "jambonz", "vonage", "asterisk")


def read(
    name: str, *messages: WireMessage, settings: DialectSettings | None = None
) -> list[StreamEvent]:
    dialect = dialect_named(name)(settings or DialectSettings())
    return [event for message in messages for event in dialect.decode(message)]


def started(name: str, wanted: tuple[Track, ...] = BOTH, **changes: Any) -> Started:
    """What a sender gives the encoder *name* for a stream that is to carry *wanted*."""
    encoder = encoder_named(name)
    fields: dict[str, Any] = {
        "format": encoder.formats[0],
        "tracks": encoder.tracks_for(wanted),
        "stream_id": "S1",
        "call_id": "C1",
        "account_id": "A1",
        "custom": {"k": "v"},
        "extra": {"from": "+1", "to": "+2"},
    }
    return Started(name, **(fields | changes))


FREESWITCH = '{"k":"v","uuid":"C1","sampleRate":8000,"mixType":"stereo"}'
JAMBONZ = (
    '{"callSid":"C1","accountSid":"A1","from":"+1","to":"+2","sampleRate":8000,'
    '"mixType":"stereo","metadata":{"k":"v"}}'
)
VONAGE = (
    '{"k":"v","event":"websocket:connected","content-type":"audio/l16;rate=8000","call_id":"C1"}'
)
ASTERISK = (
    '{"event":"MEDIA_START","connection_id":"S1","channel":"C1","format":"ulaw",'
    '"optimal_frame_size":160,"ptime":20}'
)
ASTERISK_TEXT = (
    "MEDIA_START connection_id:S1 channel:C1 format:ulaw optimal_frame_size:160 ptime:20"
)


def spoken(encoder: Encoder, start: Started) -> list[WireMessage]:
    messages = [*encoder.connected(), *encoder.start(start)]
    for n, track in enumerate(start.tracks):
        messages += encoder.media(track, bytes([n, n + 2]) * 2, 0)
    messages += encoder.digit("5", duration_ms=80)
    return messages + encoder.mark("m") + encoder.stop()


STEREO = b"\0\2\1\3\0\2\1\3"
GOLDEN: dict[str, tuple[list[WireMessage], list[StreamEvent]]] = {
    "freeswitch": (
        [FREESWITCH, STEREO],
        [
            Started("freeswitch", L16, BOTH, None, "C1", extra=json.loads(FREESWITCH)),
            Media("inbound", b"\0\2\0\2", L16),
            Media("outbound", b"\1\3\1\3", L16),
        ],
    ),
    "jambonz": (
        [JAMBONZ, STEREO, '{"event":"dtmf","dtmf":"5","duration":"80"}'],
        [
            Started("jambonz", L16, BOTH, None, "C1", "A1", {"k": "v"}, {"from": "+1", "to": "+2"}),
            Media("inbound", b"\0\2\0\2", L16),
            Media("outbound", b"\1\3\1\3", L16),
            Digit("5", None, 80),
        ],
    ),
    "vonage": (
        [VONAGE, b"\0\2\0\2", '{"event":"websocket:dtmf","digit":"5","duration":80}'],
        [
            Started("vonage", L16, ("mixed",), None, "C1", None, {"k": "v", "call_id": "C1"}),
            Media("mixed", b"\0\2\0\2", L16),
            Digit("5", None, 80),
        ],
    ),
    "asterisk": (
        [ASTERISK, b"\0\2\0\2", '{"event":"DTMF_END","digit":"5"}'],
        [
            Started(
                "asterisk",
                MULAW,
                ("mixed",),
                "S1",
                "C1",
                extra={"optimal_frame_size": 160, "ptime": 20},
            ),
            Media("mixed", b"\0\2\0\2", MULAW),
            Digit("5"),
        ],
    ),
}


@pytest.mark.parametrize("name", FAMILY)
def test_a_stream_is_written_as_the_platform_writes_it(name: str) -> None:
    encoder = encoder_named(name)
    assert spoken(encoder, started(name)) == GOLDEN[name][0]
    assert not encoder.has_stop


@pytest.mark.parametrize("name", FAMILY)
def test_a_stream_of_the_platform_is_read_whole(name: str) -> None:
    messages, events = GOLDEN[name]
    assert read(name, *messages) == events


def test_asterisk_may_write_plain_text_and_it_is_read_the_same() -> None:
    encoder = encoder_named("asterisk-text")
    assert isinstance(encoder, AsteriskTextEncoder)
    messages = spoken(encoder, started("asterisk"))
    assert messages == [ASTERISK_TEXT, b"\0\2\0\2", "DTMF_END digit:5"]
    start, *rest = read("asterisk", *messages)
    assert isinstance(start, Started)
    assert (start.stream_id, start.call_id, start.format) == ("S1", "C1", MULAW)
    assert start.extra == {"optimal_frame_size": "160", "ptime": "20"}
    assert rest == GOLDEN["asterisk"][1][1:]


@pytest.mark.parametrize("form", [ASTERISK, ASTERISK_TEXT, ASTERISK.encode()])
@pytest.mark.parametrize("dialect", ["auto", "asterisk"])
def test_audio_before_the_media_start_is_read_in_the_format_that_it_names(
    dialect: str, form: WireMessage
) -> None:
    session = MediaSession(dialect=dialect)
    assert session.receive(b"\x01") == session.receive(b"\x02") == []
    events = session.receive(form)
    assert session.dialect_name == "asterisk"
    assert isinstance(events[0], Started)
    assert events[1:] == [Media("mixed", b"\x01", MULAW), Media("mixed", b"\x02", MULAW)]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("alaw", MediaFormat("alaw")),
        ("slin", L16),
        ("slin16", WIDE),
        *((f"slin{n}", MediaFormat("l16le", 1000 * n)) for n in (12, 24, 32, 48, 96, 192)),
        ("slin44", MediaFormat("l16le", 44100)),
    ],
)
def test_the_codecs_of_asterisk_are_known_by_its_names(name: str, format: MediaFormat) -> None:
    (event,) = read("asterisk", f"MEDIA_START format:{name}")
    assert isinstance(event, Started)
    assert event.format == format
    (message,) = encoder_named("asterisk").start(started("asterisk", format=format))
    assert json.loads(message)["format"] == name


@pytest.mark.parametrize(
    ("wanted", "tracks", "mix"),
    [
        (BOTH, BOTH, "stereo"),
        (("inbound",), ("inbound",), "mono"),
        (("outbound",), ("mixed",), "mixed"),
    ],
)
@pytest.mark.parametrize("name", ["freeswitch", "jambonz"])
def test_the_layout_of_the_audio_is_said_and_heard(
    name: str, wanted: tuple[Track, ...], tracks: tuple[Track, ...], mix: str
) -> None:
    start = started(name, wanted)
    assert start.tracks == tracks
    messages = spoken(encoder_named(name), start)
    assert json.loads(messages[0])["mixType"] == mix
    event, *_ = read(name, *messages)
    assert isinstance(event, Started)
    assert event.tracks == tracks and not event.assumed


@pytest.mark.parametrize("name", ["raw", "vonage", "asterisk"])
def test_one_channel_is_for_one_mixed_track_whatever_is_wanted(name: str) -> None:
    assert encoder_named(name).tracks_for(BOTH) == ("mixed",)
    assert encoder_named(name).tracks_for(("inbound",)) == ("mixed",)


def test_a_track_that_says_nothing_is_silent_beside_the_other() -> None:
    encoder = encoder_named("jambonz")
    encoder.start(started("jambonz"))
    assert encoder.media("inbound", b"\1\1", 0) == []
    assert encoder.media("inbound", b"\2\2", 20) == [b"\1\1\0\0"]
    assert encoder.media("outbound", b"\3\3\4\4", 20) == [b"\2\2\3\3\0\0\4\4"]
    assert encoder.media("outbound", b"\5\5", 40) == []
    assert encoder.media("outbound", b"\6\6", 40) == [b"\0\0\5\5"]
    assert encoder.media("inbound", b"\7\7", 60) == [b"\0\0\6\6"]
    assert encoder.stop() == [b"\7\7\0\0"]
    encoder = encoder_named("freeswitch")
    encoder.start(started("freeswitch"))
    assert encoder.stop() == []


@given(
    channels=st.integers(1, 4),
    width=st.integers(1, 2),
    samples=st.integers(0, 20),
    data=st.data(),
)
def test_channels_are_woven_so_that_splitting_gives_them_back(
    channels: int, width: int, samples: int, data: st.DataObject
) -> None:
    size = samples * width
    each = data.draw(
        st.lists(st.binary(min_size=size, max_size=size), min_size=channels, max_size=channels)
    )
    format = MediaFormat("mulaw" if width == 1 else "l16le", 8000, channels)
    assert split_channels(interleave(each, width), format) == each


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("freeswitch", {"tracks": ("outbound",)}, "the tracks"),
        ("jambonz", {"tracks": ("outbound", "inbound")}, "the tracks"),
        ("jambonz", {"format": MULAW}, "it is always l16le"),
        ("jambonz", {"call_id": None}, "without a call id"),
        ("vonage", {"tracks": BOTH}, "in one channel"),
        ("vonage", {"format": MULAW}, "it is always l16le"),
        ("asterisk", {"tracks": ()}, "in one channel"),
        ("asterisk", {"format": MediaFormat("l16be")}, "has no name here"),
    ],
)
def test_a_start_that_the_platform_cannot_say_is_refused(
    name: str, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(LocalProtocolError, match=why):
        encoder_named(name).start(started(name, **changes))


def test_plain_text_has_no_room_for_spaces() -> None:
    with pytest.raises(LocalProtocolError, match="a space"):
        AsteriskTextEncoder().start(started("asterisk", call_id="a b"))


def test_what_nobody_named_is_left_out_or_empty() -> None:
    (greeting,) = encoder_named("vonage").start(started("vonage", call_id=None))
    assert "call_id" not in str(greeting)
    jambonz = encoder_named("jambonz")
    jambonz.start(started("jambonz"))
    assert jambonz.digit("1") == ['{"event":"dtmf","dtmf":"1"}']
    vonage = encoder_named("vonage")
    vonage.start(started("vonage"))
    assert '"duration":100' in str(vonage.digit("1"))


@pytest.mark.parametrize(
    ("metadata", "format", "tracks", "assumed"),
    [
        ('{"sampleRate":16000}', WIDE, ("mixed",), False),
        ('{"rate":"16000","mixType":"mono"}', WIDE, ("inbound",), False),
        ('{"sample_rate":16000,"channels":2}', WIDE, BOTH, False),
        ('{"sample_rate":16000,"channels":"1"}', WIDE, ("mixed",), False),
        ('{"mix_type":"stereo"}', L16, BOTH, True),
        ('{"tenant":"x"}', L16, ("mixed",), True),
        ("tenant x", L16, ("mixed",), True),
    ],
)
def test_the_metadata_of_freeswitch_says_as_much_as_it_says(
    metadata: str, format: MediaFormat, tracks: tuple[Track, ...], assumed: bool
) -> None:
    start, *media = read("freeswitch", metadata, b"\1\2\3\4")
    assert isinstance(start, Started)
    assert (start.format, start.tracks, start.assumed) == (format, tracks, assumed)
    assert start.extra == (json.loads(metadata) if metadata[0] == "{" else {"metadata": metadata})
    assert [m.track for m in media if isinstance(m, Media)] == list(tracks)


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (
            '{"sampleRate":1}',
            "metadata: sampleRate 1 is not a sample rate; l16le/8000/1 is assumed",
        ),
        (
            '{"sampleRate":"x"}',
            "metadata: sampleRate is 'x', not a number; l16le/8000/1 is assumed",
        ),
        ('{"mixType":"quad"}', "metadata: mixType 'quad' is not known; mixed is assumed"),
    ],
)
def test_metadata_that_names_the_audio_wrongly_is_as_if_it_did_not(metadata: str, why: str) -> None:
    start, unknown, media = read("freeswitch", metadata, b"\1\2")
    assert isinstance(start, Started) and isinstance(media, Media)
    assert start.assumed
    assert unknown == Unknown(metadata, why)


def test_of_the_metadata_of_freeswitch_what_can_be_read_counts_beside_what_cannot() -> None:
    metadata = '{"sampleRate":16000,"mixType":"quad"}'
    start, unknown, _ = read("freeswitch", metadata, b"\1\2")
    assert isinstance(start, Started) and start.assumed
    assert (start.format, start.tracks) == (WIDE, ("mixed",))
    assert unknown == Unknown(metadata, "metadata: mixType 'quad' is not known; mixed is assumed")
    metadata = '{"sampleRate":"x","mixType":"stereo"}'
    start, *_ = read("freeswitch", metadata, b"\1\2\3\4")
    assert isinstance(start, Started) and (start.format, start.tracks) == (L16, BOTH)


def test_only_the_first_text_before_the_audio_is_metadata() -> None:
    later = Unknown("b", "text that is not the stream's metadata")
    assert read("freeswitch", "a", "b") == [later]
    assert read("freeswitch", b"\1\2", "b") == [Media("mixed", b"\1\2", L16), later]
    assert read("freeswitch", "")[0] == Unknown("", "text that is not the stream's metadata")
    assert read("freeswitch", b"", "a", b"\1\2")[0] == Unknown(b"", "an empty message")
    dialect = dialect_named("freeswitch")(DialectSettings())
    assert dialect.decode("a") == []
    assert dialect.flush() == [Unknown("a", "metadata, and no audio after it")]
    assert dialect.flush() == []


def test_freeswitch_without_metadata_is_audio_in_the_format_of_the_settings() -> None:
    session = MediaSession(dialect="freeswitch", fallback=MediaFormat("l16le", 16000, 2))
    assert session.receive(b"aabbccdd") == [
        Started("freeswitch", WIDE, BOTH, assumed=True),
        Media("inbound", b"aacc", WIDE),
        Media("outbound", b"bbdd", WIDE),
    ]


CONNECTED = '{"event":"websocket:connected","content-type":"%s"}'


@pytest.mark.parametrize(
    ("name", "message", "format", "tracks", "why"),
    [
        (
            "jambonz",
            '{"callSid":"C1","mixType":"mono"}',
            "l16le/16000/1",
            ("inbound",),
            "attributes: sampleRate is missing; l16le/16000/1 is assumed",
        ),
        (
            "jambonz",
            '{"callSid":"C1","sampleRate":8000}',
            "l16le/8000/1",
            BOTH,
            "attributes: mixType None is not known; inbound and outbound is assumed",
        ),
        (
            "jambonz",
            '{"callSid":"C1","sampleRate":"x","mixType":7}',
            "l16le/16000/1",
            BOTH,
            "attributes: sampleRate is 'x', not a number; l16le/16000/1 is assumed; mixType '7' is"
            " not known; inbound and outbound is assumed",
        ),
        (
            "vonage",
            '{"event":"websocket:connected"}',
            "alaw/16000/1",
            ("mixed",),
            "content-type: encoding is missing; alaw/16000/1 is assumed",
        ),
        (
            "vonage",
            CONNECTED % "audio/l16",
            "l16le/16000/1",
            ("mixed",),
            "content-type: rate is missing; l16le/16000/1 is assumed",
        ),
        (
            "vonage",
            CONNECTED % "audio/l16;rate=x",
            "l16le/16000/1",
            ("mixed",),
            "content-type: rate is 'x', not a number; l16le/16000/1 is assumed",
        ),
        (
            "asterisk",
            '{"event":"MEDIA_START"}',
            "alaw/16000/1",
            BOTH,
            "MEDIA_START: format is missing; alaw/16000/2 is assumed",
        ),
    ],
)
def test_what_a_start_does_not_say_of_its_audio_is_assumed_and_no_more(
    name: str, message: str, format: str, tracks: tuple[Track, ...], why: str
) -> None:
    settings = DialectSettings(MediaFormat("alaw", 16000, 2))
    event, unknown = read(name, message, settings=settings)
    assert isinstance(event, Started) and event.assumed
    assert (str(event.format), event.tracks) == (format, tracks)
    assert unknown == Unknown(message, why)


@pytest.mark.parametrize(
    ("name", "start", "why"),
    [
        ("asterisk", "MEDIA_START format:opus", "MEDIA_START: format 'opus' is not known"),
        (
            "asterisk",
            '{"event":"MEDIA_START","format":"g722"}',
            "MEDIA_START: format 'g722' is not known",
        ),
        ("vonage", CONNECTED % "audio/g722", "content-type: encoding 'audio/g722' is not known"),
    ],
)
def test_audio_in_a_codec_that_is_named_and_unknown_is_handed_on_as_it_came(
    name: str, start: str, why: str
) -> None:
    settings = DialectSettings(MediaFormat("l16le", 8000, 2))
    event, unknown, media = read(name, start, b"\1\2\3", settings=settings)
    format = MediaFormat("unknown", 8000)
    assert isinstance(event, Started) and not event.assumed and event.format == format
    assert unknown == Unknown(start, f"{why}; its audio is handed on as it comes, and not recorded")
    assert media == Media("mixed", b"\1\2\3", format)
    if name == "asterisk":
        assert "format" in event.extra


@pytest.mark.parametrize(
    ("name", "message", "why"),
    [
        ("jambonz", '{"event":"dtmf","dtmf":"5","duration":"x"}', "dtmf: duration is 'x', not"),
        (
            "vonage",
            '{"event":"websocket:dtmf","digit":"5","duration":[]}',
            "websocket:dtmf: duration is a list, not",
        ),
        ("asterisk", "DTMF_END digit:5 duration_ms:x", "DTMF_END: duration_ms is 'x', not"),
    ],
)
def test_a_duration_that_cannot_be_read_costs_no_key(name: str, message: str, why: str) -> None:
    assert read(name, message) == [Digit("5"), Unknown(message, f"{why} a number")]


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_the_content_type_of_vonage_names_the_rate(rate: int) -> None:
    message = (
        '{"event":"websocket:connected","content-type":"audio/l16;rate=%d","a":{"b":1}}' % rate
    )
    (event,) = read("vonage", message)
    assert isinstance(event, Started)
    assert event.format == MediaFormat("l16le", rate)
    assert event.extra == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("name", "message", "why"),
    [
        ("raw", "text", "text on a stream of bare audio"),
        ("jambonz", "text", "not a JSON object"),
        ("jambonz", "{}", "neither the call's attributes nor a digit"),
        ("jambonz", '{"event":"x","callSid":"C1"}', "neither the call's attributes nor a digit"),
        ("jambonz", '{"event":"dtmf"}', "dtmf: digit is missing"),
        ("vonage", "text", "event None is not known"),
        ("vonage", '{"event":"websocket:cleared"}', "event 'websocket:cleared' is not known"),
        ("vonage", '{"event":"websocket:dtmf"}', "dtmf: digit is missing"),
        ("asterisk", "", "event '' is not known"),
        ("asterisk", "MEDIA_XOFF", "event 'MEDIA_XOFF' is not known"),
        ("asterisk", '{"event":"STATUS"}', "event 'STATUS' is not known"),
        ("asterisk", "DTMF_END", "dtmf: digit is missing"),
        *[(name, b"", "an empty message") for name in ("raw", *FAMILY)],
    ],
)
def test_what_is_not_understood_is_handed_on_whole(
    name: str, message: WireMessage, why: str
) -> None:
    assert read(name, message) == [Unknown(message, why)]


@pytest.mark.parametrize("name", ["raw", *FAMILY])
def test_a_torn_rest_of_interleaved_audio_is_named_and_of_one_channel_kept(name: str) -> None:
    settings = DialectSettings(MediaFormat("l16le", 8000, 2))
    assert read(name, b"aabbcc", settings=settings) == [
        Media("inbound", b"aa", L16),
        Media("outbound", b"bb", L16),
        Unknown(b"aabbcc", "2 bytes after the last whole sample"),
    ]
    assert read(name, b"aab", settings=settings) == [
        Unknown(b"aab", "3 bytes after the last whole sample")
    ]
    assert read(name, b"aab") == [Media("mixed", b"aab", L16)]


def test_whose_audio_one_channel_carries_is_a_setting() -> None:
    settings = DialectSettings(one_channel="inbound")
    for name in ("raw", "asterisk", "freeswitch"):
        assert read(name, b"\1\2", settings=settings) == [Media("inbound", b"\1\2", L16)]
    event = read("asterisk", ASTERISK, settings=settings)[0]
    assert isinstance(event, Started)
    assert event.tracks == ("inbound",)
    event = read("vonage", VONAGE, settings=settings)[0]  # of which it is known
    assert isinstance(event, Started)
    assert event.tracks == ("mixed",)


def test_no_stream_has_more_than_two_channels() -> None:
    with pytest.raises(LocalProtocolError, match="l16le/8000/3: a stream has one channel or two"):
        DialectSettings(MediaFormat("l16le", 8000, 3))


@pytest.mark.parametrize("name", FAMILY)
def test_metadata_that_is_marked_as_binary_is_metadata_and_other_braces_are_audio(
    name: str,
) -> None:
    start, *_ = GOLDEN[name][0]
    session = MediaSession(dialect=name)
    audio = b"{not JSON."
    events = [*session.receive(str(start).encode()), *session.receive(audio)]
    assert isinstance(events[0], Started) and not events[0].assumed
    assert sum(len(event.payload) for event in events if isinstance(event, Media)) >= 8


@pytest.mark.parametrize(
    ("name", "message", "sign"),
    [
        ("jambonz", '{"event":"dtmf","dtmf":"1"}', Sign.POSSIBLE),
        ("jambonz", '{"event":"dtmf","dtmf":{}}', Sign.NONE),
        ("jambonz", '{"callSid":"C1"}', Sign.NONE),
        ("vonage", '{"event":"websocket:dtmf"}', Sign.POSSIBLE),
        ("vonage", '{"event":["websocket:dtmf"]}', Sign.NONE),
        ("asterisk", "DTMF_END digit:1", Sign.POSSIBLE),
        ("asterisk", "hello", Sign.NONE),
        ("freeswitch", '{"command":"connect"}', Sign.NONE),
    ],
)
def test_text_is_claimed_only_by_those_who_say_it(name: str, message: str, sign: Sign) -> None:
    try:
        document = json.loads(message)
    except ValueError:
        document = None
    assert dialect_named(name).sign(message, document) is sign
