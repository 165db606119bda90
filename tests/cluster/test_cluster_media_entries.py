"""What is written into Redis of a media stream is read back, and what is not ours is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.media import MediaFormat, Started
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.receiver.media_entries import (
    Begun,
    Ended,
    Fields,
    audio_entry,
    end_entry,
    read_entry,
    start_entry,
)
from minivoice_ref.receiver.media_stream import Frame

MULAW = MediaFormat("mulaw", 8000, 1)
FORMATS = st.builds(
    MediaFormat,
    st.sampled_from(["mulaw", "alaw", "l16le", "l16be", "unknown"]),
    st.integers(1, 96000),
    st.integers(1, 2),
)
TRACKS = st.sampled_from(["inbound", "outbound", "mixed"])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def in_redis(fields: Fields) -> dict[bytes, bytes]:
    """Fields as Redis gives them back: what is no bytes is text."""
    parts = [part if isinstance(part, bytes) else str(part).encode() for part in fields]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@given(TRACKS, st.integers(-(10**15), 10**15), st.binary(max_size=700), FORMATS, FORMATS)
def test_audio_is_byte_for_byte_what_it_was(
    track: str, position: int, payload: bytes, format: MediaFormat, usual: MediaFormat
) -> None:
    frame = Frame(track, position, payload, format)  # type: ignore[arg-type]
    fields = audio_entry(frame, usual)
    assert read_entry(in_redis(fields), usual) == frame
    assert (len(fields) == 8) == (format == usual), "a format is told only where it is another"


@given(st.none() | NAMES, NAMES, FORMATS, st.lists(TRACKS, max_size=2))
def test_a_start_is_read_back(
    call_id: str | None, node: str, format: MediaFormat, tracks: list[str]
) -> None:
    started = Started("twilio", format, tuple(tracks), call_id=call_id)  # type: ignore[arg-type]
    begun = Begun("stream_1", call_id, node, started)
    assert read_entry(in_redis(start_entry(begun))) == begun


def test_a_call_id_that_is_no_text_is_told_in_escapes() -> None:
    begun = Begun("stream_1", "call \ud800", "node", Started("twilio", MULAW, ()))
    read = read_entry(in_redis(start_entry(begun)))
    assert isinstance(read, Begun) and read.call_id == r"call \ud800"


def test_an_end_has_the_accounts_and_what_was_dropped() -> None:
    account = Account(end=480, expected=480, received=320, lost=160)
    ended = Ended("stopped", {"inbound": account}, {"inbound": 300}, {"inbound": 20})
    assert read_entry(in_redis(end_entry(ended))) == ended
    assert in_redis(end_entry(ended))[b"inbound.dropped"] == b"20"


@pytest.mark.parametrize(
    "fields",
    [
        {b"what": b"audio", b"track": b"speaker", b"position": b"0", b"payload": b""},
        {b"what": b"audio", b"track": b"inbound", b"position": b"x", b"payload": b""},
        {b"what": b"audio", b"track": b"inbound", b"position": b"0"},
        {b"what": b"start", b"stream": b"s"},
        {b"what": b"end"},
        {b"what": b"end", b"how": b"stopped", b"inbound.received": b"1"},
        {b"what": b"end", b"how": b"\xff"},
        in_redis(start_entry(Begun("s", None, "n", Started("d", MULAW, ())))) | {b"rate": b"0"},
    ],
)
def test_what_cannot_be_read_is_refused(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="^an entry that says"):
        read_entry(fields, MULAW)


def test_what_is_not_known_is_passed_over() -> None:
    assert read_entry({b"what": b"weather"}, MULAW) is None
    assert read_entry({b"other": b"1"}) is None
    assert read_entry({b"what": b"audio"}) is None, "no audio before a start"
    more = in_redis(end_entry(Ended("stopped", {}, {}, {}))) | {b"new": b"1"}
    assert read_entry(more) == Ended("stopped", {}, {}, {})
