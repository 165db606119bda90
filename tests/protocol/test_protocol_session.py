"""The session: its table cell by cell, how a stream opens, and any peer as a state machine."""

import json
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from minivoice_ref.protocol import session as session_module
from minivoice_ref.protocol.dialects.base import Dialect, DialectSettings, Sign
from minivoice_ref.protocol.dialects.twilio import TwilioDialect
from minivoice_ref.protocol.errors import LocalProtocolError, RemoteProtocolError
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession, State

CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
DIGIT = '{"event":"dtmf","dtmf":{"track":"inbound_track","digit":"1"}}'
MARK = '{"event":"mark","mark":{"name":"m1"}}'
STOP = '{"event":"stop","stop":{"callSid":"CA1"}}'
JUNK = '{"event":"clear"}'
MULAW = MediaFormat("mulaw", 8000, 1)
L16 = MediaFormat("l16le", 8000, 1)


def start(
    stream_id: str | None = "MZ1",
    call_id: str | None = "CA1",
    encoding: str = "audio/x-mulaw",
    rate: int = 8000,
) -> str:
    body = {"streamSid": stream_id, "callSid": call_id, "tracks": ["inbound", "outbound"]}
    body["mediaFormat"] = {"encoding": encoding, "sampleRate": rate}  # type: ignore[assignment]
    return json.dumps({"event": "start", "start": body})


def media(timestamp: int, payload: str = "/w==") -> str:
    body = {"track": "inbound", "timestamp": str(timestamp), "payload": payload}
    return json.dumps({"event": "media", "media": body})


START = start()
STARTED = Started("twilio", MULAW, ("inbound", "outbound"), "MZ1", "CA1")


def fed(*messages: WireMessage, dialect: str = "auto") -> tuple[MediaSession, list[StreamEvent]]:
    session = MediaSession(dialect=dialect)
    return session, [event for message in messages for event in session.receive(message)]


def kinds(events: list[StreamEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_a_stream_as_documented_is_delivered_event_by_event() -> None:
    session, events = fed(CONNECTED, START, media(0), media(20), DIGIT, MARK, STOP)
    assert events == [
        Connected("Call", "1.0.0"),
        STARTED,
        Media("inbound", b"\xff", MULAW, 0),
        Media("inbound", b"\xff", MULAW, 160),
        Digit("1", "inbound"),
        Mark("m1"),
        Stopped(None, "CA1"),
    ]
    assert session.state is State.STOPPED
    assert session.started == STARTED
    assert session.dialect_name == "twilio"
    assert session.close() == []
    assert session.state.value == "closed"


def test_a_new_session_knows_nothing_yet() -> None:
    session = MediaSession()
    assert (session.state, session.started, session.dialect_name) == (State.OPENING, None, None)
    assert session.close() == []


def test_a_dialect_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="no dialect is named 'morse'"):
        MediaSession(dialect="morse")


@pytest.mark.parametrize("dialect", ["auto", "twilio"])
def test_audio_that_overtook_its_start_comes_after_it_in_the_format_of_the_start(
    dialect: str,
) -> None:
    session, before = fed(CONNECTED, media(0), media(20), DIGIT, dialect=dialect)
    assert before == []
    started = Started("twilio", MediaFormat("alaw", 16000), ("inbound", "outbound"), "MZ1", "CA1")
    assert session.receive(start(encoding="PCMA", rate=16000)) == [
        Connected("Call", "1.0.0"),
        started,
        Media("inbound", b"\xff", started.format, 0),
        Media("inbound", b"\xff", started.format, 320),
        Digit("1", "inbound"),
    ]


@pytest.mark.parametrize("bounds", [(3, 10_000), (100, 3 * len(media(0)))])
def test_when_too_much_is_held_without_a_start_one_is_assumed(bounds: tuple[int, int]) -> None:
    session = MediaSession(
        fallback=MediaFormat("alaw"), hold_messages=bounds[0], hold_bytes=bounds[1]
    )
    assert session.receive(media(0)) == session.receive(media(20)) == []
    events = session.receive(media(40))
    assert events[0] == Started(
        "twilio", MediaFormat("alaw"), ("inbound", "outbound"), assumed=True
    )
    assert session.started is events[0]
    assert [event.position for event in events[1:] if isinstance(event, Media)] == [0, 160, 320]
    assert session.receive(media(60)) == [Media("inbound", b"\xff", MediaFormat("alaw"), 480)]


def test_greetings_without_audio_assume_nothing_however_many() -> None:
    session = MediaSession(hold_messages=2)
    assert session.receive(CONNECTED) == []
    assert kinds(session.receive(CONNECTED)) == ["Connected", "Connected"]
    assert (session.state, session.dialect_name) == (State.OPENING, "twilio")
    assert kinds(session.receive(MARK)) == ["Mark"]
    assert kinds(session.receive(JUNK)) == ["Unknown"]
    assert session.receive(START) == [STARTED]


def test_binary_without_metadata_is_bare_audio_in_the_fallback_format() -> None:
    session = MediaSession(hold_messages=2)
    assert session.receive(b"\x01\x02") == []
    assert session.receive(b"\x03\x04") == [
        Started("raw", L16, ("mixed",), assumed=True),
        Media("mixed", b"\x01\x02", L16),
        Media("mixed", b"\x03\x04", L16),
    ]
    assert session.receive(b"\x05\x06") == [Media("mixed", b"\x05\x06", L16)]
    assert kinds(session.receive("metadata")) == ["Unknown"]


@pytest.mark.parametrize("metadata", ["any text", '{"any":"JSON"}'])
def test_metadata_and_then_audio_need_not_wait_for_a_start_that_never_comes(metadata: str) -> None:
    session, events = fed(metadata)
    assert (events, session.dialect_name) == ([], None)
    assert kinds(session.receive(b"\x01\x02")) == ["Started", "Media"]
    assert session.dialect_name == "freeswitch"
    assert kinds(session.receive(b"\x03\x04")) == ["Media"]


def test_text_that_no_audio_follows_starts_nothing() -> None:
    session, events = fed("GET / HTTP/1.1", "hello")
    assert events == []
    assert kinds(session.close()) == ["Unknown", "Unknown"]
    assert session.started is None


def test_the_default_dialect_is_whatever_the_messages_tell() -> None:
    for name in ("auto", "minivoice"):
        session, events = fed(START, dialect=name)
        assert events == [STARTED]
        assert session.dialect_name == "twilio"


def test_audio_may_be_binary_after_a_start_of_the_json_family_when_nothing_is_forced() -> None:
    session, events = fed(START, b"\xff\xfe", media(0), b"\xff\xfe", dialect="minivoice")
    assert events[1:3] == [Media("mixed", b"\xff\xfe", MULAW), Media("inbound", b"\xff", MULAW, 0)]
    assert kinds(events) == ["Started", "Media", "Media", "Unknown"]
    session, events = fed(START, b"\xff\xfe", dialect="twilio")
    assert kinds(events) == ["Started", "Unknown"]


def test_bare_audio_by_name_waits_for_nothing() -> None:
    session = MediaSession(dialect="raw", fallback=MediaFormat("mulaw", 8000, 2))
    assert session.dialect_name == "raw"
    assert session.receive(b"\x01\x02") == [
        Started("raw", MULAW, ("inbound", "outbound"), assumed=True),
        Media("inbound", b"\x01", MULAW),
        Media("outbound", b"\x02", MULAW),
    ]


def test_what_no_dialect_lays_claim_to_is_handed_on_at_once() -> None:
    session, events = fed(JUNK, '{"type":"hello"}', "", b"")
    assert kinds(events) == ["Unknown"] * 4
    assert session.dialect_name is None
    assert session.receive(START) == [STARTED]


def test_a_stop_without_a_start_is_heard_at_once_and_so_is_what_was_held() -> None:
    session, events = fed(CONNECTED, media(0), STOP)
    assert kinds(events) == ["Connected", "Started", "Media", "Stopped"]
    assert session.started is not None and session.started.assumed
    session, events = fed(STOP)
    assert kinds(events) == ["Stopped"]
    assert (session.state, session.started) == (State.STOPPED, None)


def test_closing_delivers_what_was_held() -> None:
    session, events = fed(CONNECTED, media(0), MARK)
    assert events == []
    assert kinds(session.close()) == ["Connected", "Started", "Media", "Mark"]
    session, _ = fed(CONNECTED)
    assert kinds(session.close()) == ["Connected"]
    assert session.started is None


def test_a_closed_session_is_dead_and_may_be_closed_again() -> None:
    session, _ = fed(START)
    session.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        session.receive(media(0))
    assert session.close() == []


def test_a_repeated_start_changes_nothing() -> None:
    session, events = fed(START, START, start(stream_id=None), media(20))
    assert events == [
        STARTED,
        Unknown(START, "the start is repeated"),
        Unknown(start(stream_id=None), "the start is repeated"),
        Media("inbound", b"\xff", MULAW, 160),
    ]
    assert session.started == STARTED


def test_a_repeated_start_that_leaves_its_format_out_contradicts_nothing() -> None:
    second = start(encoding="")
    session, events = fed(START, second, media(20))
    why = "start: mediaFormat: encoding is missing; mulaw/8000/1 is assumed"
    assert events == [
        STARTED,
        Unknown(second, "the start is repeated"),
        Unknown(second, why),
        Media("inbound", b"\xff", MULAW, 160),
    ]
    assert session.started == STARTED


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (start(stream_id="MZ2"), "contradicts the first one: stream_id 'MZ2' instead of 'MZ1'"),
        (start(call_id="CA2"), "contradicts the first one: call_id 'CA2' instead of 'CA1'"),
        (start(rate=16000), "format 'mulaw/16000/1' instead of 'mulaw/8000/1'"),
    ],
)
def test_a_start_that_contradicts_the_first_breaks_the_session(second: str, why: str) -> None:
    session, _ = fed(START)
    with pytest.raises(RemoteProtocolError, match=why) as caught:
        session.receive(second)
    assert caught.value.close_code == 1002
    assert session.state is State.BROKEN
    with pytest.raises(LocalProtocolError, match="broken"):
        session.receive(media(0))
    assert session.close() == []
    assert session.state is State.BROKEN


def test_what_was_held_and_contradicts_itself_is_delivered_as_unknown_at_the_close() -> None:
    nameless = [
        json.dumps(
            {"event": "start", "start": {"mediaFormat": {"encoding": e, "sampleRate": 8000}}}
        )
        for e in ("PCMU", "PCMA")
    ]
    session, events = fed(*nameless, dialect="twilio")
    assert events == []
    closing = session.close()
    assert [event.message for event in closing if isinstance(event, Unknown)] == nameless
    assert session.state is State.BROKEN
    assert session.close() == []


def assuming(format: MediaFormat) -> MediaSession:
    session = MediaSession(fallback=format, hold_messages=1)
    assert kinds(session.receive(media(0))) == ["Started", "Media"]
    return session


def test_a_start_that_agrees_with_the_assumed_one_tells_who_is_calling() -> None:
    session = assuming(MULAW)
    assert session.receive(START) == [STARTED]
    assert session.started == STARTED
    assert kinds(session.receive(START)) == ["Unknown"]


def test_a_start_in_another_format_than_the_assumed_one_breaks_the_session() -> None:
    with pytest.raises(RemoteProtocolError, match="contradicts the assumed one: format"):
        assuming(L16).receive(START)


def test_an_assumed_start_that_is_repeated_as_it_was_tells_nothing_new() -> None:
    nameless = start(encoding="")
    session, events = fed(nameless, nameless)
    assert kinds(events) == ["Started", "Unknown", "Unknown", "Unknown"]
    assert session.started is not None and session.started.assumed


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (CONNECTED, "connected after the stop"),
        (START, "started after the stop"),
        (start(stream_id="MZ2"), "started after the stop"),
        (media(40), "media after the stop"),
        (DIGIT, "digit after the stop"),
        (MARK, "mark after the stop"),
        (STOP, "stopped after the stop"),
        (JUNK, "event 'clear' is not known"),
        (b"\x01", "not a JSON object"),
    ],
)
def test_what_comes_after_the_stop_has_no_place_in_the_stream(
    message: WireMessage, why: str
) -> None:
    session, _ = fed(START, media(0), STOP)
    assert session.receive(message) == [Unknown(message, why)]
    assert session.state is State.STOPPED
    assert session.started == STARTED


class Reordering(TwilioDialect):
    """A dialect with a window: media comes out in pairs, in the order of their timestamps."""

    def __init__(self, settings: DialectSettings) -> None:
        super().__init__(settings)
        self._window: list[Media] = []

    def decode(self, message: WireMessage) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for event in super().decode(message):
            if isinstance(event, Media):
                self._window.append(event)
                events += self.flush() if len(self._window) == 2 else []
            else:
                events += [*self.flush(), event]
        return events

    def flush(self) -> list[StreamEvent]:
        window = sorted(self._window, key=lambda media: media.position or 0)
        self._window = []
        return list(window)


def reordering(monkeypatch: pytest.MonkeyPatch) -> MediaSession:
    dialects: dict[str, type[Dialect]] = {"reordering": Reordering}
    monkeypatch.setattr(session_module, "DIALECTS", dialects)
    return MediaSession()


def positions(events: list[StreamEvent]) -> list[int | None]:
    return [event.position for event in events if isinstance(event, Media)]


def test_a_dialect_may_hold_audio_back_to_put_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    session = reordering(monkeypatch)
    assert session.receive(media(20)) == []
    events = session.receive(START)
    assert kinds(events) == ["Started"]
    assert positions(session.receive(media(0))) == [0, 160]
    assert session.receive(media(60)) == []
    assert positions(session.close()) == [480]


def test_audio_that_a_dialect_holds_back_after_the_stop_is_handed_on_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = reordering(monkeypatch)
    events = [e for m in (START, media(20), STOP) for e in session.receive(m)]
    assert kinds(events) == ["Started", "Media", "Stopped"]
    assert session.receive(media(40)) == [Unknown(media(40), "media after the stop")]
    assert session.close() == []


messages = st.one_of(
    st.sampled_from([CONNECTED, START, start(stream_id="MZ2"), DIGIT, MARK, STOP, JUNK]),
    st.text(max_size=30),
    st.binary(max_size=30),
    st.builds(media, st.integers()),
)


@given(sent=st.lists(messages, max_size=30), dialect=st.sampled_from(["auto", "twilio", "raw"]))
def test_the_same_messages_always_give_the_same_events(
    sent: list[WireMessage], dialect: str
) -> None:
    outcomes = []
    for _ in range(2):
        session = MediaSession(dialect=dialect, hold_messages=5)
        outcome: list[object] = []
        try:
            for message in sent:
                outcome.append(session.receive(message))
            outcome.append(session.close())
        except RemoteProtocolError as exc:
            outcome.append(str(exc))
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]


class SessionMachine(RuleBasedStateMachine):
    """A peer that says whatever it likes, and the promises that the session keeps all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.session = MediaSession(hold_messages=2)
        self.events: list[StreamEvent] = []
        self.sent: list[WireMessage] = []
        self.audio: list[bytes] = []  # sent before a stop, in order
        self.stopped = False
        self.contradicted = False

    alive = precondition(lambda self: self.session.state not in (State.CLOSED, State.BROKEN))

    def receive(self, message: WireMessage) -> None:
        self.sent.append(message)
        state = self.session.state
        try:
            events = self.session.receive(message)
        except RemoteProtocolError as exc:
            assert exc.close_code == 1002
            assert self.session.state is State.BROKEN
            self.contradicted = True
            return
        self.events += events
        if state is State.STOPPED:
            assert kinds(events) == ["Unknown"]
        if state is State.STREAMING:
            assert len(events) == 1

    @alive
    @rule(message=st.sampled_from([CONNECTED, DIGIT, MARK, JUNK, "not JSON", b""]))
    def says(self, message: WireMessage) -> None:
        self.receive(message)

    @alive
    @rule(encoding=st.sampled_from(["audio/x-mulaw", "L16"]), call_id=st.sampled_from("AAAB"))
    def starts(self, encoding: str, call_id: str) -> None:
        self.receive(start(call_id=call_id, encoding=encoding))

    @alive
    @rule()
    def sends_audio(self) -> None:
        payload = len(self.sent).to_bytes(2, "big")
        if not self.stopped:
            self.audio.append(payload)
        self.receive(media(20 * len(self.sent), b64encode(payload).decode()))

    @alive
    @rule()
    def stops(self) -> None:
        self.receive(STOP)
        self.stopped = True

    @alive
    @rule()
    def goes_away(self) -> None:
        self.events += self.session.close()
        assert self.session.state is State.CLOSED
        # Every message became an event; a made-up start is one that nobody sent.
        made_up = sum(1 for e in self.events if isinstance(e, Started) and e.stream_id is None)
        assert len(self.events) - made_up == len(self.sent)

    @invariant()
    def audio_comes_after_a_start_in_its_format_and_in_order(self) -> None:
        started: Started | None = None
        for event in self.events:
            if isinstance(event, Started):
                assert started is None or started.assumed and not event.assumed
                started = event
            if isinstance(event, Media):
                assert started is not None and event.format == started.format
        assert started == self.session.started or self.contradicted
        delivered = [event.payload for event in self.events if isinstance(event, Media)]
        assert delivered == self.audio[: len(delivered)]

    @invariant()
    def the_state_is_what_the_events_say(self) -> None:
        if self.session.state is State.STOPPED:
            assert kinds(self.events).count("Stopped") == 1
        if self.session.state is State.STREAMING:
            assert "Started" in kinds(self.events) and "Stopped" not in kinds(self.events)
        if self.session.state is State.OPENING:
            assert not {"Started", "Stopped", "Media"} & set(kinds(self.events))

    @precondition(lambda self: self.session.state in (State.CLOSED, State.BROKEN))
    @rule()
    def says_more_to_the_dead(self) -> None:
        with pytest.raises(LocalProtocolError):
            self.session.receive(MARK)
        assert self.session.close() == []


TestAnyPeer = SessionMachine.TestCase
TestAnyPeer.settings = settings(max_examples=100, stateful_step_count=20)


def test_a_stop_and_a_start_are_the_only_signs_that_do_not_wait() -> None:
    signs = {message: TwilioDialect.sign(message, json.loads(message)) for message in (START, STOP)}
    assert signs == {START: Sign.START, STOP: Sign.STOP}
