"""What holds for every dialect alike: detection, round trips, and answers for any bytes at all."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects import base
from minivoice_ref.protocol.dialects.base import DialectSettings, Sign, WirePayload
from minivoice_ref.protocol.dialects.detect import (
    DIALECTS,
    detect,
    dialect_named,
    encoder_named,
    encoders,
    guess,
    look,
)
from minivoice_ref.protocol.dialects.fields import as_json
from minivoice_ref.protocol.dialects.json_family import JsonDialect, JsonEncoder, Names
from minivoice_ref.protocol.errors import RemoteProtocolError
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
from minivoice_ref.protocol.timeline import Timeline

BOTH: tuple[Track, ...] = ("inbound", "outbound")
SPOKEN = [name for name in DIALECTS if name not in ("raw", "minivoice")]
FAMILY = [name for name in SPOKEN if issubclass(DIALECTS[name], JsonDialect)]
FORMS = [(name, format) for name, encoder in encoders().items() for format in encoder.formats]


def started(
    name: str, wanted: tuple[Track, ...] = BOTH, format: MediaFormat | None = None
) -> Started:
    encoder = encoder_named(name)
    return Started(
        dialect=name,
        format=format or encoder.formats[0],
        tracks=encoder.tracks_for(wanted),
        stream_id=encoder.stream_id("0123456789abcdef" * 2),
        call_id="call_1",
        account_id="A1",
    )


def speech(
    name: str,
    pieces: int,
    wanted: tuple[Track, ...] = BOTH,
    format: MediaFormat | None = None,
) -> list[WireMessage]:
    """A whole stream as the simulator sends it: *pieces* of audio, each with bytes of its own."""
    encoder, start = encoder_named(name), started(name, wanted, format)
    messages = encoder.connected() + encoder.start(start)
    for n in range(pieces):
        for track in start.tracks:
            payload = audio(name, track, n, start.format)
            messages += encoder.media(track, payload, round(n * encoder.frame_seconds * 1000))
    return messages + encoder.stop()


def audio(name: str, track: Track, n: int, format: MediaFormat) -> bytes:
    samples = round(format.sample_rate * encoder_named(name).frame_seconds)
    value = n % 100 + (100 if track == "outbound" else 0)
    return bytes([value]) * (samples * format.bytes_per_sample)


def take(session: MediaSession, messages: list[WireMessage]) -> list[StreamEvent]:
    return [event for message in messages for event in session.receive(message)] + session.close()


def lines(events: list[StreamEvent]) -> dict[Track, bytes]:
    """The audio of each track, where the timeline says that it belongs."""
    tracks: dict[Track, bytearray] = {}
    timelines: dict[Track, Timeline] = {}
    for event in events:
        if isinstance(event, Media):
            timeline = timelines.setdefault(event.track, Timeline(event.format.sample_rate, 60.0))
            width = event.format.bytes_per_sample
            line = tracks.setdefault(event.track, bytearray())
            for offset, position, length in timeline.place(event.position, event.samples).pieces:
                assert position * width == len(line)
                line += event.payload[offset * width : (offset + length) * width]
    return {track: bytes(line) for track, line in tracks.items()}


@pytest.mark.parametrize("wanted", [BOTH, ("inbound",), ("outbound",)])
@pytest.mark.parametrize("setting", ["auto", "its own"])
@pytest.mark.parametrize(("name", "format"), FORMS, ids=lambda value: str(value))
def test_what_the_simulator_sends_is_received_to_the_sample_in_every_format(
    name: str, format: MediaFormat, setting: str, wanted: tuple[Track, ...]
) -> None:
    start, dialect = started(name, wanted, format), name.removesuffix("-text")
    # What is only called L16 has no byte order on the wire, and bare audio nothing at all.
    l16 = format.encoding if format.encoding in ("l16le", "l16be") else None
    session = MediaSession(
        dialect="auto" if setting == "auto" else dialect, fallback=format, l16=l16
    )
    events = take(session, speech(name, 4, wanted, format))
    assert not any(isinstance(event, Unknown) for event in events)
    assert lines(events) == {
        track: b"".join(audio(name, track, n, format) for n in range(4)) for track in start.tracks
    }
    assert session.started is not None
    assert session.started.format == format
    assert session.started.assumed == (dialect == "raw")
    if dialect not in ("raw", "vonage", "asterisk", "freeswitch", "jambonz", "minivoice"):
        assert session.started.stream_id == start.stream_id
    if dialect != "raw":
        assert session.started.call_id == "call_1"
        assert session.dialect_name == {"minivoice": "twilio"}.get(dialect, dialect)


@pytest.mark.parametrize("name", SPOKEN)
def test_each_start_tells_its_dialect(name: str) -> None:
    told = [detect(message) for message in speech(name, 2)]
    expected = {name} if name != "freeswitch" else set()
    assert {name for name in told if name is not None} == expected


@pytest.mark.parametrize("name", SPOKEN)
def test_without_its_start_a_stream_is_still_heard(name: str) -> None:
    messages = [message for message in speech(name, 3) if detect(message) is None]
    events = take(MediaSession(), messages)
    assert sum(isinstance(event, Media) for event in events) >= 3
    assert not any(isinstance(event, Unknown) for event in events)


@pytest.mark.parametrize("name", FAMILY)
def test_without_its_start_a_dialect_of_the_family_is_guessed_by_how_its_audio_is_written(
    name: str,
) -> None:
    media = speech(name, 3)[len(encoder_named(name).connected()) + 1 :]
    assert [detect(message) for message in media] == [None] * len(media)
    assert guess(media, DIALECTS.values()).name == name


@pytest.mark.parametrize("name", encoders())
def test_what_a_sender_must_know_stands_in_the_encoder(name: str) -> None:
    encoder, dialect = encoder_named(name), dialect_named(name.removesuffix("-text"))
    start = started(name, ("inbound",))
    assert len(set(encoder.formats)) == len(encoder.formats)
    assert all(format.channels == 1 and format.readable for format in encoder.formats)
    assert encoder.frame_seconds in (0.02, 0.1)
    messages = encoder.connected() + encoder.start(start)
    assert all(isinstance(message, str) for message in messages)
    media = encoder.media(start.tracks[0], b"\x01\x02", 5320)
    if encoder.has_timestamps or encoder.has_sequence:
        (event,) = dialect(DialectSettings()).decode(media[0])
        assert isinstance(event, Media)
        assert (event.position is not None) == encoder.has_timestamps
        assert (event.sequence is not None) == encoder.has_sequence
    else:
        assert all(isinstance(message, bytes) for message in media)
    assert bool(encoder.stop()) == encoder.has_stop
    assert len(encoder.stream_id("f" * 32)) >= 32


def test_each_encoder_has_a_name_of_its_own_and_every_dialect_one() -> None:
    assert list(encoders()) == [*DIALECTS][:-1] + ["asterisk-text", "minivoice"]
    assert len(set(encoders().values())) == len(encoders())


OPTIONAL = ("timestamp", "chunk", "duration", "sequence", "sequenceNumber", "sequence_number")
UNREADABLE = st.sampled_from(["x", "9" * 5000, [], {}, 2**53 + 1, float("inf"), "1e", "\ud800"])


def garbled(value: object, wrong: Mapping[str, object]) -> object:
    """A message with other values in the place of its optional numbers."""
    if isinstance(value, dict):
        return {k: wrong[k] if k in wrong else garbled(v, wrong) for k, v in value.items()}
    return value


@pytest.mark.parametrize("name", [*SPOKEN, "minivoice"])
@settings(max_examples=40)
@given(wrong=st.dictionaries(st.sampled_from(OPTIONAL), UNREADABLE))
def test_no_audio_and_no_key_is_lost_by_an_optional_number_that_cannot_be_read(
    name: str, wrong: dict[str, object]
) -> None:
    encoder, start, dialect = encoder_named(name), started(name, ("inbound",)), dialect_named(name)
    opening = encoder.start(start)
    later = encoder.media(start.tracks[0], b"\x01\x02", 20) + encoder.digit("5", duration_ms=80)
    for message in later:
        if isinstance(message, bytes):
            continue
        changed = as_json(garbled(json.loads(message), wrong))
        whole, torn = (dialect(DialectSettings()) for _ in range(2))
        for reader in (whole, torn):
            reader.decode(opening[0])
        (event,) = whole.decode(message) + whole.flush()
        read, *faults = torn.decode(changed) + torn.flush()
        if changed == message:
            assert (read, faults) == (event, [])
            continue
        for fault in faults:
            assert isinstance(fault, Unknown) and fault.message == changed
            assert "not a number" in fault.why or "beyond all measure" in fault.why
        if isinstance(event, Media):
            assert isinstance(read, Media)
            # An object is no number to `minivoice` either, but a place to look for one.
            assert len(faults) == 1 or {} in wrong.values()
            assert (read.track, read.payload) == (event.track, event.payload)
            assert None in (read.position, read.sequence, read.chunk)
        else:
            assert isinstance(event, Digit) and isinstance(read, Digit)
            assert read.digit == event.digit and bool(faults) == (read != event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
WORDS = (
    "event eventType type start media dtmf mark stop metadata streamSid stream_id streamId"
    " stream_sid callSid call_id callId call_sid call_control_id tracks track channel mediaFormat"
    " media_format encoding sampleRate sample_rate mixType channels content-type format"
    " customParameters extra_headers streamParams timestamp chunk payload digit duration name"
    " sequenceNumber sequence_number connection_id duration_ms code title"
).split()
VALUES: list[object] = [
    *"inbound both stereo mono audio/l16;rate=8000 PCMU ulaw 8000 20 /w== 1e3 a=1;;=".split(),
    "\ud800",
    *(10**400, 8000, 2, float("nan"), [{"name": "inbound", "mediaFormat": 1}]),
]
EVENTS = (
    "connected start media dtmf mark stop error websocket:connected websocket:dtmf MEDIA_START"
    " DTMF_END"
).split()
near = st.recursive(
    json_values | st.sampled_from(VALUES),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=10,
)


@st.composite
def near_misses(draw: st.DrawFn) -> WireMessage:
    document: dict[str, Any] = draw(st.dictionaries(st.sampled_from(WORDS), near, max_size=6))
    key = draw(st.sampled_from(["event", "eventType", "none"]))
    text = json.dumps(document | {key: draw(st.sampled_from(EVENTS))})
    return text.encode() if draw(st.booleans()) else text


plain = st.builds(
    lambda event, pairs: f"{event} {pairs}",
    st.sampled_from(["MEDIA_START", "DTMF_END", "MEDIA_XON"]),
    st.text("format:ulaw digit 1\t\n\u2028", max_size=20),
)
genuine = st.sampled_from([message for name in DIALECTS for message in speech(name, 1)])
anything = st.one_of(st.text(), st.binary(), near_misses(), plain, genuine)


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=60)
@given(messages=st.lists(anything, max_size=4))
@example(messages=["[" * 100_000, '{"event":' + "9" * 5000 + "}", "\ufeff{}", b"{\xff"])
def test_no_message_whatever_makes_a_dialect_raise_or_lose_it(
    name: str, messages: list[WireMessage]
) -> None:
    format = MediaFormat("l16le", 8000, 1 + len(messages) % 2)
    dialect, count = dialect_named(name)(DialectSettings(format, binary_audio=True)), 0
    for message in messages:
        sign, whose = look(message, (type(dialect),))
        events = dialect.decode(message)
        count += len(events)
        if sign.name.endswith("START"):
            assert whose is type(dialect)
            assert any(isinstance(event, Started) for event in events)
        for event in events:
            if isinstance(event, Unknown):
                assert event.message in messages
                assert len(event.why) < 400
            if isinstance(event, Media):
                assert event.payload
            if isinstance(event, Started):
                assert event.format.channels == 1 and event.tracks
    count += len(dialect.flush())
    assert count >= len(messages)
    assert dialect.assume().assumed


@given(messages=st.lists(anything, max_size=8))
def test_any_messages_can_be_looked_at_and_each_becomes_an_event(
    messages: list[WireMessage],
) -> None:
    for message in messages:
        detect(message)
    guess(messages, DIALECTS.values())
    session = MediaSession(hold_messages=4)
    events: list[StreamEvent] = []
    try:
        events = take(session, messages)
    except RemoteProtocolError as exc:
        assert exc.close_code == 1002
        return
    assert len(events) >= len(messages)
    before = True
    for event in events:
        if isinstance(event, Started):
            before = False
        assert not (isinstance(event, Media) and before)


@given(data=st.data())
def test_streams_of_any_dialect_survive_loss_repetition_and_reordering(
    data: st.DataObject,
) -> None:
    name = data.draw(st.sampled_from(SPOKEN))
    head = len(encoder_named(name).connected()) + 1
    messages = speech(name, 5)
    pieces = data.draw(st.lists(st.sampled_from(messages[head:]), max_size=15))
    session = MediaSession(dialect=data.draw(st.sampled_from([name, "auto"])))
    events = take(session, [*messages[:head], *pieces])
    timelines: dict[Track, Timeline] = {}
    for event in events:
        if isinstance(event, Media):
            timeline = timelines.setdefault(event.track, Timeline(event.format.sample_rate, 60.0))
            timeline.place(event.position, event.samples)
            account = timeline.account
            assert account.received + account.lost == account.expected


def test_a_dialect_of_the_family_is_one_small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DIALECTS", table := dict(DIALECTS))

    class AcmeEncoder(JsonEncoder):
        """Writes the one kind of message that a receiver cannot do without, and the start."""

        def _start(self, started: Started) -> list[WireMessage]:
            return [as_json({"event": "start", "start": {"acmeCall": started.call_id}})]

        def _media_text(
            self, track: Track, sequence: int, chunk: int, timestamp_ms: int, payload: WirePayload
        ) -> str:
            return as_json(
                {
                    "event": "media",
                    "seq": sequence,
                    "media": {"track": track, "timestamp": timestamp_ms, "payload": payload},
                }
            )

    class AcmeDialect(JsonDialect, name="acme"):
        """Says how the platform spells its fields, and which start is its own."""

        encoder = AcmeEncoder
        names = Names(call_id="acmeCall", sequence="seq", format="audio")

        @classmethod
        def _sign_of_start(cls, document: Mapping[str, object], body: Mapping[str, object]) -> Sign:
            return Sign.START if "acmeCall" in body else Sign.POSSIBLE

    encoder, dialect = AcmeEncoder(), AcmeDialect(DialectSettings(MediaFormat()))
    (start,) = encoder.start(Started("acme", MediaFormat(), BOTH, call_id="call_1"))
    (media,) = encoder.media("inbound", b"\xff", 20)
    assert look(start, table.values()) == (Sign.START, AcmeDialect)
    event, fault = dialect.decode(start)
    assert isinstance(event, Started) and isinstance(fault, Unknown)
    assert (event.call_id, event.format) == ("call_1", MediaFormat())
    assert dialect.decode(media) == [Media("inbound", b"\xff", MediaFormat(), 160, 1)]
