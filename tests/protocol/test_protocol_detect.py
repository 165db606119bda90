"""Telling dialects by their shape, and the seam by which one is added."""

from collections.abc import Mapping
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.dialects import base
from minivoice_ref.protocol.dialects.base import Dialect, DialectSettings, Sign
from minivoice_ref.protocol.dialects.detect import (
    DIALECTS,
    choose_subprotocol,
    detect,
    dialect_named,
    encoder_named,
    foreign,
    guess,
    known_subprotocols,
    look,
)
from minivoice_ref.protocol.dialects.freeswitch import FreeSwitchDialect
from minivoice_ref.protocol.dialects.minivoice import MiniVoiceDialect
from minivoice_ref.protocol.dialects.raw import RawDialect, RawEncoder
from minivoice_ref.protocol.dialects.twilio import TwilioDialect, TwilioEncoder
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import (
    MediaFormat,
    Started,
    StreamEvent,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
START = '{"event":"start","start":{"streamSid":"MZ1","callSid":"CA1"}}'
MEDIA = '{"event":"media","media":{"track":"inbound","payload":"/w=="}}'
STOP = '{"event":"stop"}'
WAVIX = '{"event":"start","event_time":"","stream_id":"1","call_id":"2","channel":"both"}'
SINCH = '{"command":"connect","callId":"1","codec":"PCM","sampleRate":8000}'
GENESYS = (
    '{"version":"2","type":"open","id":"1","seq":1,"serverseq":0,"position":"PT0S",'
    '"parameters":{}}'
)


NAMES = (
    "raw twilio signalwire telnyx plivo wavix exotel bandwidth"
    " freeswitch jambonz vonage asterisk minivoice"
).split()


def test_the_dialects_are_asked_in_the_order_of_their_lines() -> None:
    assert list(DIALECTS) == NAMES
    assert dialect_named("twilio") is TwilioDialect
    assert isinstance(encoder_named("twilio"), TwilioEncoder)
    assert isinstance(encoder_named("raw"), RawEncoder)


def test_a_name_that_no_dialect_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(LocalProtocolError, match="no dialect is named 'morse'.*: raw, twilio"):
        encoder_named("morse")


@pytest.mark.parametrize(
    "start",
    [
        START,
        START.encode(),
        '{"event":"start","streamSid":"MZ1","start":{}}',
        '{"event":"start","streamSid":"MZ1"}',
        '{"event":"start","start":{"callSid":[]}}',
    ],
)
def test_a_start_tells_its_dialect_and_is_a_start_when_read(start: WireMessage) -> None:
    assert detect(start) == "twilio"
    assert isinstance(TwilioDialect(DialectSettings()).decode(start)[0], Started)


@pytest.mark.parametrize(
    "message",
    [
        CONNECTED,
        MEDIA,
        STOP,
        '{"event":"starting"}',
        "hello",
        b"\x00\x01",
        b"",
        "",
        "{}",
    ],
)
def test_nothing_but_a_start_tells_a_dialect(message: WireMessage) -> None:
    assert detect(message) is None


@pytest.mark.parametrize(
    ("message", "sign", "dialect"),
    [
        (START, Sign.START, TwilioDialect),
        (STOP, Sign.STOP, TwilioDialect),
        (CONNECTED, Sign.POSSIBLE, TwilioDialect),
        (MEDIA, Sign.POSSIBLE, TwilioDialect),
        ('{"event":"start"}', Sign.LIKELY_START, MiniVoiceDialect),
        (b"\x00\x01", Sign.POSSIBLE, RawDialect),
        (MEDIA.encode(), Sign.POSSIBLE, TwilioDialect),
        (b"", Sign.NONE, None),
        ('{"event":"clear"}', Sign.NONE, None),
        ('{"event":{}}', Sign.NONE, None),
        ("hello", Sign.POSSIBLE, FreeSwitchDialect),
        ('{"hello":1}', Sign.POSSIBLE, FreeSwitchDialect),
        ("", Sign.NONE, None),
    ],
)
def test_a_look_finds_the_strongest_sign_and_whose_it_is(
    message: WireMessage, sign: Sign, dialect: type[Dialect] | None
) -> None:
    assert look(message, DIALECTS.values()) == (sign, dialect)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        ('{"event":"start","start":{"streamId":"1"}}', "minivoice"),
        ('{"event":"start","start":{"streamId":"1","callId":"2"}}', "plivo"),
        ('{"event":"start","stream_id":"1","start":{}}', "minivoice"),
        ('{"event":"start","stream_id":"1","start":{"call_control_id":"2"}}', "telnyx"),
        (WAVIX, "wavix"),
        (WAVIX.replace('"channel"', '"codec":"PCMU","channel"'), "minivoice"),
        ('{"event":"start","stream_id":"1","call_id":"2"}', "minivoice"),
        ('{"event":"start","stream_sid":"1"}', "exotel"),
        ('{"eventType":"start","metadata":{"callId":"1"}}', "bandwidth"),
        ('{"eventType":"start"}', "minivoice"),
        ('{"callSid":"1","sampleRate":8000}', "jambonz"),
        ('{"callSid":"1"}', None),
        ('{"event":"websocket:connected"}', "vonage"),
        ("MEDIA_START", "asterisk"),
        ("MEDIA_STARTED", None),
    ],
)
def test_a_start_is_told_by_its_ids_and_one_in_nobodys_shape_is_a_start_all_the_same(
    start: str, name: str | None
) -> None:
    assert detect(start) == name


@pytest.mark.parametrize(
    ("messages", "dialect"),
    [
        ([], RawDialect),
        (["hello"], FreeSwitchDialect),
        (["hello", b"\x00\x01"], FreeSwitchDialect),
        ([b"\x00\x01"], RawDialect),
        ([CONNECTED, b"\x00\x01", b"\x00\x01"], RawDialect),
        ([CONNECTED, MEDIA], TwilioDialect),
        ([b"\x00\x01", MEDIA, MEDIA], TwilioDialect),
        ([MEDIA.encode()], TwilioDialect),
    ],
)
def test_without_a_start_the_dialect_that_knows_most_is_guessed(
    messages: list[WireMessage], dialect: type[Dialect]
) -> None:
    assert guess(messages, DIALECTS.values()) is dialect


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (SINCH, "a stream of Sinch, which waits for a command in return: not supported"),
        (GENESYS, "a session of Genesys AudioHook, a protocol of its own: not supported"),
        ('{"command":"connect"}', None),
        ('{"type":"open"}', None),
        (START, None),
        ("hello", None),
        (b"\x00", None),
    ],
)
def test_a_platform_that_wants_more_than_a_listener_is_named(message: str, why: str | None) -> None:
    assert foreign(message) == why
    for dialect in ("auto", "minivoice", "twilio"):
        if why is not None:
            assert MediaSession(dialect=dialect).receive(message) == [Unknown(message, why)]


@given(message=st.text() | st.binary())
def test_any_message_can_be_looked_at(message: WireMessage) -> None:
    sign, dialect = look(message, DIALECTS.values())
    assert (sign is Sign.NONE) == (dialect is None)


@pytest.mark.parametrize(
    ("proposed", "dialect", "chosen"),
    [
        ([], "auto", None),
        (["chat"], "auto", None),
        (["chat", "audio.jambonz.org"], "auto", "audio.jambonz.org"),
        (["audio.drachtio.org", "audio.jambonz.org"], "minivoice", "audio.drachtio.org"),
        (["media"], "auto", "media"),
        (["media"], "asterisk", "media"),
        (["media"], "jambonz", None),
        (["audio.jambonz.org"], "twilio", None),
    ],
)
def test_a_subprotocol_is_selected_that_a_platform_proposes_and_insists_on(
    proposed: list[str], dialect: str, chosen: str | None
) -> None:
    assert choose_subprotocol(proposed, dialect) == chosen


def test_the_subprotocols_that_may_be_told_are_those_that_some_platform_proposes() -> None:
    assert known_subprotocols() == {"audio.jambonz.org", "audio.drachtio.org", "media"}


def test_what_a_sender_proposes_is_what_its_dialect_selects() -> None:
    for name, dialect in DIALECTS.items():
        assert set(dialect.encoder.subprotocols) <= set(dialect.subprotocols), name
    assert encoder_named("jambonz").subprotocols == ("audio.jambonz.org",)


class Morse(Dialect):
    """What the seam asks of a new dialect, at the least."""

    name: ClassVar[str] = "morse"

    @classmethod
    def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
        return Sign.START if message == "-.-.-" else Sign.STOP if message == "-.-" else Sign.NONE

    def decode(self, message: WireMessage) -> list[StreamEvent]:
        return [self.assume()]

    def assume(self) -> Started:
        return Started(self.name, self.settings.mono, ("mixed",))


def test_a_dialect_enters_the_table_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DIALECTS", table := dict(DIALECTS))
    assert "morse" not in table  # `Morse` gave no name to the table

    class Named(Morse, name="semaphore"):
        """Named in its class line, as the dialects of the package are."""

    assert list(table) == [*NAMES, "semaphore"]
    assert Named.name == "semaphore"
    assert look("-.-.-", table.values()) == (Sign.START, Named)
    assert Named(DialectSettings(MediaFormat())).flush() == []


def test_a_stop_outweighs_a_possibility_and_a_start_everything() -> None:
    class Eager(Morse):
        @classmethod
        def sign(cls, message: WireMessage, document: Mapping[str, object] | None) -> Sign:
            return Sign.POSSIBLE

    assert look("-.-", (Eager, Morse, Eager)) == (Sign.STOP, Morse)
    assert look("-.-.-", (Eager, Morse)) == (Sign.START, Morse)
    assert look("...", (Morse, Eager)) == (Sign.POSSIBLE, Eager)
