"""What must hold of a stream's messages, whatever they are: dialects, detection, session, timeline.

Each check takes plain values and asserts; `test_fuzz_stream.py` calls it with what Hypothesis makes
up, the targets `fuzz_*.py` with what a coverage-guided fuzzer finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from minivoice_ref.protocol.dialects.base import DialectSettings, Sign
from minivoice_ref.protocol.dialects.detect import DIALECTS, detect, guess, look
from minivoice_ref.protocol.dialects.fields import object_of
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
    Track,
    Unknown,
    WireMessage,
)
from minivoice_ref.protocol.session import MediaSession, State
from minivoice_ref.protocol.timeline import HOLES, Timeline

TRACKS = ("inbound", "outbound", "mixed")
NAMES = tuple(DIALECTS)
SETTINGS = DialectSettings()
_LARGEST = 2**53
_CLOSE_CODES = (1002, 1003, 1007, 1008, 1009)


def check_dialect(name: str, messages: Sequence[WireMessage]) -> None:
    """A dialect reads anything, and what it says can be used; the same twice is the same."""
    dialect, again = DIALECTS[name](SETTINGS), DIALECTS[name](SETTINGS)
    events: list[StreamEvent] = []
    for message in messages:
        document = object_of(message)
        sign = DIALECTS[name].sign(message, document)
        fresh = DIALECTS[name](SETTINGS).decode(message)
        starts = any(isinstance(event, Started) for event in fresh)
        assert starts or sign not in (Sign.START, Sign.LIKELY_START), message
        decoded = dialect.decode(message)
        assert decoded == again.decode(message)
        events += decoded
    held = dialect.flush()
    assert held == again.flush() and dialect.flush() == []
    assert_usable(events + held, messages)
    assert len(events) + len(held) <= 4 * len(messages)


def check_detection(messages: Sequence[WireMessage]) -> None:
    """Detection has an opinion or none, and decides for one dialect where it must."""
    for message in messages:
        name = detect(message)
        sign, dialect = look(message, DIALECTS.values())
        assert (name is not None) == (sign in (Sign.START, Sign.LIKELY_START))
        assert name is None or (dialect is not None and dialect.name == name)
    assert guess(messages, DIALECTS.values()) in DIALECTS.values()


def check_session(name: str, messages: Sequence[WireMessage]) -> None:
    """The state table of a session holds, nothing is dropped unseen, the accounts balance."""
    session = MediaSession(dialect=name, hold_messages=6, hold_bytes=4096)
    events: list[StreamEvent] = []
    for message in messages:
        before = session.state
        try:
            events += session.receive(message)
        except RemoteProtocolError as exc:
            assert exc.close_code in _CLOSE_CODES and str(exc).isprintable() and len(str(exc)) < 500
            assert before is State.STREAMING or before is State.OPENING
            assert session.state is State.BROKEN and session.close() == []
            break
    if session.state is not State.BROKEN:
        events += session.close()
        assert session.close() == [] and session.state in (State.CLOSED, State.BROKEN)
    try:
        session.receive("")
        raise AssertionError("a session that has ended takes no more")
    except LocalProtocolError:
        pass
    assert_usable(events, messages)
    assert_in_order(events)
    check_accounts(events)


def assert_usable(events: Iterable[StreamEvent], messages: Sequence[WireMessage]) -> None:
    """Every event can be handed to an application, to a log and to a recording."""
    for event in events:
        if isinstance(event, Media):
            assert event.track in TRACKS and type(event.payload) is bytes and event.payload
            _assert_format(event.format)
            for number in (event.position, event.sequence, event.chunk):
                assert number is None or type(number) is int
            assert event.position is None or abs(event.position) <= _LARGEST * 400
        elif isinstance(event, Started):
            _assert_started(event)
        elif isinstance(event, Unknown):
            # Empty: a start that was held back for its order, of which only the sense is left.
            assert event.message in messages or event.message == b""
            assert event.why and event.why.isprintable() and len(event.why) < 500, event.why
        elif isinstance(event, Digit):
            _assert_text(event.digit)
            assert event.track is None or event.track in TRACKS
        elif isinstance(event, Mark):
            _assert_text(event.name)
        elif isinstance(event, Stopped):
            _assert_text(event.reason, event.call_id)
        else:
            assert isinstance(event, Connected)
            _assert_text(event.protocol, event.version)


def assert_in_order(events: Sequence[StreamEvent]) -> None:
    """Audio only after a start; one start, two if the first was assumed; nothing after the end."""
    started: Started | None = None
    stopped = False
    for event in events:
        assert not stopped or isinstance(event, Unknown), event
        if isinstance(event, Started):
            assert started is None or (started.assumed and started.format == event.format)
            started = event
        elif isinstance(event, Media):
            assert started is not None
        stopped = stopped or isinstance(event, Stopped)


def check_accounts(events: Iterable[StreamEvent]) -> None:
    """What a receiver makes of the audio: each track's account balances."""
    arrivals: dict[tuple[Track, int], list[tuple[int | None, int]]] = {}
    for event in events:
        if isinstance(event, Media):
            key = event.track, event.format.sample_rate
            arrivals.setdefault(key, []).append((event.position, event.samples))
    for (_, rate), pieces in arrivals.items():
        check_timeline(rate, 3600.0, pieces)


def check_timeline(rate: int, jump: float, pieces: Sequence[tuple[int | None, int]]) -> None:
    """No sample is given out twice or out of thin air, and the account balances at every step."""
    timeline = Timeline(rate, jump)
    given: list[tuple[int, int]] = []
    offered = 0
    for position, samples in pieces:
        placement = timeline.place(position, samples)
        account = timeline.account
        offered += max(0, samples)
        assert account.received + account.lost == account.expected == account.end - account.first
        assert account.received + account.repeated + account.discarded == offered
        assert min(account.to_json()[name] for name in _COUNTS) >= 0, account
        assert len(timeline.holes) <= HOLES
        ends = 0
        for piece in placement.pieces:
            assert piece.length > 0 and ends <= piece.offset
            ends = piece.offset + piece.length
            assert ends <= samples
            assert account.first <= piece.position <= account.end - piece.length
            given.append((piece.position, piece.position + piece.length))
        if placement.kind == "jump":
            assert placement.pieces[0].position == account.end - samples
    given.sort()
    assert all(one[1] <= two[0] for one, two in pairwise(given))
    assert sum(end - start for start, end in given) == timeline.account.received


_COUNTS = ("expected", "received", "lost", "repeated", "late", "reordered", "silence", "discarded")


def _assert_format(format: MediaFormat) -> None:
    assert format.channels == 1 and 1000 <= format.sample_rate <= 384000
    assert format.encoding in ("mulaw", "alaw", "l16le", "l16be", "unknown")


def _assert_started(event: Started) -> None:
    _assert_format(event.format)
    assert event.tracks and set(event.tracks) <= set(TRACKS)
    assert len(set(event.tracks)) == len(event.tracks)
    _assert_text(event.stream_id, event.call_id, event.account_id)
    for name, value in event.custom.items():
        _assert_text(name, value)
    assert event.dialect in NAMES


def _assert_text(*texts: str | None) -> None:
    for text in texts:
        assert text is None or type(text) is str
        (text or "").encode("utf-8")  # no half of a surrogate pair: a log could not hold it
