"""What a capture is told to hold: kinds, tracks, gaps, pace, and what could not be understood."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from minivoice_ref.protocol.capture_format import (
    CaptureReader,
    Ended,
    Handshake,
    Lost,
    Message,
    Record,
    write_handshake,
    write_record,
)
from minivoice_ref.protocol.capture_report import CaptureReport, examine, read_format
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.errors import LocalProtocolError
from minivoice_ref.protocol.media import MediaFormat, Started, Track, WireMessage

MULAW = MediaFormat("mulaw", 8000, 1)
SOUND = bytes(range(160))


def reader(records: Iterable[Record], **settings: object) -> CaptureReader:
    shake = Handshake("stream_1", "2026-05-29T12:10:00Z", settings=settings)
    return CaptureReader([write_handshake(shake), *map(write_record, records)])


def said(messages: Iterable[WireMessage], at: float = 0.0) -> list[Record]:
    return [Message(at, "platform", message) for message in messages]


def call(frames: Iterable[int], *tracks: Track) -> list[Record]:
    """A stream in Twilio's shape: the numbers of its frames, each at its own time."""
    encoder = TwilioEncoder()
    started = Started("twilio", MULAW, tracks or ("inbound",), stream_id="MZ1", call_id="CA1")
    records = said([*encoder.connected(), *encoder.start(started)])
    for number in frames:
        for track in tracks or ("inbound",):
            records += said(encoder.media(track, SOUND, number * 20), number * 0.02)
    return records + said(encoder.digit("5", "inbound"), 9.0) + said(encoder.stop(), 9.5)


def test_kinds_are_counted_and_the_first_of_each_is_verbatim() -> None:
    records = call(range(3)) + [Ended(9.6, "stopped", "platform", 1000, "")]
    report = examine(reader(records))
    assert {name: kind.count for name, kind in report.kinds.items()} == {
        "connected": 1,
        "start": 1,
        "media": 3,
        "dtmf": 1,
        "stop": 1,
    }
    first = records[2]
    assert isinstance(first, Message) and report.kinds["media"].first == first.content
    assert report.messages == 7 and report.last_at == 9.6
    assert report.dialect == "twilio" and report.events == ["9.000 s: digit 5"]
    document = report.to_json()
    assert document["complete"] and document["ended"]["how"] == "stopped"
    assert document["format"] == "mulaw/8000/1" and not document["assumed"]


def test_gaps_are_mapped_and_the_account_balances() -> None:
    report = examine(reader(call([*range(50), *range(100, 200), 55])), guess=False)
    track = report.tracks["inbound"]
    document = track.to_json()
    account = document["account"]
    assert account["received"] + account["lost"] == account["expected"] == 200 * 160
    assert document["gaps"] == [
        {"position": 8000, "samples": 800},
        {"position": 8960, "samples": 7040},
    ]
    assert len(track.gap_map) == 64
    assert track.gap_map[:16] == "#" * 16 and track.gap_map[32:] == "#" * 32
    assert set(track.gap_map[18:31]) == {"."} and "-" in track.gap_map[16:18]
    assert report.guess is None


def test_pace_and_jitter_are_those_of_the_arrival() -> None:
    report = examine(reader(call(range(100))))
    track = report.tracks["inbound"]
    assert track.frames_per_second == pytest.approx(100 / 1.98)
    assert track.jitter < 1e-6
    late = [
        (
            Message(one.at + 0.013, "platform", one.content)
            if isinstance(one, Message) and number == 50
            else one
        )
        for number, one in enumerate(call(range(100)))
    ]
    track = examine(reader(late)).tracks["inbound"]
    assert track.worst == pytest.approx(0.013) and track.jitter == pytest.approx(0.026 / 99)
    assert examine(reader(call(range(3)))).tracks["inbound"].frames_per_second is None


def test_a_loss_is_no_jitter() -> None:
    track = examine(reader(call([*range(50), *range(70, 120)]))).tracks["inbound"]
    assert track.worst < 1e-6 and track.timeline.account.lost == 20 * 160


def test_audio_that_the_session_held_counts_from_when_it_came() -> None:
    bare = [Message(0.02 * n, "platform", bytes(range(256)) + b"\0" * 64) for n in range(100)]
    track = examine(reader(bare), guess=False).tracks["mixed"]
    assert track.first_at == 0.0 and track.last_at == pytest.approx(1.98)
    assert track.worst < 1e-6
    stereo = examine(reader(bare, fallback="l16le/8000/2"), guess=False).tracks
    assert len(stereo) == 2
    for track in stereo.values():
        assert track.first_at == 0.0 and track.last_at == pytest.approx(1.98)
    overtaken = call(range(100))
    overtaken[1:6] = [*overtaken[2:6], overtaken[1]]
    track = examine(reader(overtaken), guess=False).tracks["inbound"]
    assert track.frames == 100 and track.worst < 1e-6


def test_audio_is_handed_on_where_it_belongs_once() -> None:
    pieces: list[tuple[Track, int, int]] = []

    def keep(track: Track, position: int, payload: bytes, form: MediaFormat) -> None:
        assert form == MULAW
        pieces.append((track, position, len(payload)))

    examine(reader(call([0, 2, 2, 1], "inbound", "outbound")), on_audio=keep, guess=False)
    assert [piece for piece in pieces if piece[0] == "inbound"] == [
        ("inbound", 0, 160),
        ("inbound", 320, 160),
        ("inbound", 160, 160),
    ]
    assert len(pieces) == 6


def bare(**settings: object) -> CaptureReport:
    records = [Message(0.02 * n, "platform", bytes([n, 255 - n] * 160)) for n in range(9)]
    return examine(reader(records, **settings), guess=False)


@pytest.mark.parametrize(
    ("settings", "form", "track"),
    [
        ({}, "l16le/8000/1", "mixed"),
        ({"fallback": "mulaw/16000/1", "one_channel": "inbound"}, "mulaw/16000/1", "inbound"),
        ({"fallback": "opus/48000/2", "one_channel": 7, "jump": "x"}, "l16le/8000/1", "mixed"),
        ({"fallback": "l16le/1/1", "dialect": "nobody's", "jump": 5}, "l16le/8000/1", "mixed"),
        ({"dialect": "raw", "l16": "l16be", "reorder_window": 0}, "l16le/8000/1", "mixed"),
        ({"reorder_window": 5, "hold_messages": 4, "hold_bytes": 10}, "l16le/8000/1", "mixed"),
    ],
)
def test_the_receivers_settings_are_followed_as_far_as_they_make_sense(
    settings: dict[str, object], form: str, track: Track
) -> None:
    report = bare(**settings)
    assert report.started is not None and report.started.assumed
    assert (str(report.started.format), [*report.tracks]) == (form, [track])
    assert report.kinds["binary"].first == bytes([0, 255] * 160).hex()


def test_as_much_is_held_for_a_start_as_the_receiver_held() -> None:
    told = {"hold_messages": 3, "hold_bytes": 100_000}
    records = [Message(0.02 * n, "platform", bytes(320)) for n in range(9)]
    late = records + call(range(1))[1:2]
    report = examine(reader(late, **told), guess=False)
    assert report.started is not None and report.started.assumed
    report = examine(reader(late, **(told | {"hold_messages": 50})), guess=False)
    assert report.started is not None and not report.started.assumed


def test_a_forced_format_reads_a_codec_that_is_unknown() -> None:
    records = said([G722]) + [Message(0.05 * n, "platform", bytes(160)) for n in range(1, 60)]
    form = MediaFormat("alaw", 16000, 1)
    report = examine(reader(records), guess=False, fallback=form)
    assert report.started is not None
    assert (report.started.format, report.started.assumed) == (form, True)


def test_a_forced_reading_replaces_the_settings() -> None:
    records = [Message(0.0, "platform", b"\x01\x02" * 320)]
    form = MediaFormat("alaw", 16000, 1)
    report = examine(reader(records, fallback="l16le/8000/1"), dialect="raw", fallback=form)
    assert report.tracks["mixed"].format == form
    assert report.guess is not None
    with pytest.raises(LocalProtocolError):
        examine(reader(records), dialect="nobody's")


G722 = '{"event":"websocket:connected","content-type":"audio/g722;rate=16000"}'


def test_of_audio_in_an_unknown_codec_only_the_arrival_is_told() -> None:
    records = said([G722]) + [Message(0.05 * n, "platform", bytes(160)) for n in range(1, 60)]
    report = examine(reader(records), guess=False)
    document = report.to_json()
    assert (document["format"], document["assumed"]) == ("unknown/16000/1", False)
    track = document["tracks"]["mixed"]
    assert (track["frames"], track["bytes"], track["frames_per_second"]) == (59, 59 * 160, 20.34)
    assert (track["account"], track["gaps"], track["map"]) == (None, [], "")
    assert (track["jitter"], track["worst_deviation"]) == (0.0, 0.0)


def test_a_forced_reading_is_that_of_an_unknown_codec_too() -> None:
    pieces: list[tuple[int, MediaFormat]] = []
    records = said([G722]) + [Message(0.02 * n, "platform", bytes(160)) for n in range(10)]
    examine(
        reader(records),
        fallback=MediaFormat("alaw", 8000, 2),
        on_audio=lambda _, position, payload, form: pieces.append((position, form)),
        guess=False,
    )
    assert pieces == [(160 * n, MediaFormat("alaw", 8000)) for n in range(10)]


def test_what_is_missing_torn_or_not_understood_is_told() -> None:
    records: list[Record] = [
        *said(["hello", "[1]", '{"event":5}', '{"command":"connect\\u001b"}', "hello"]),
        Lost(1.0, 12, 100),
        Message(2.0, "receiver", "never counted"),
    ]
    report = examine(reader(records))
    assert report.lost == 12 and report.messages == 5 and report.guess is None
    assert set(report.kinds) == {"text", "JSON", "connect\\x1b"}
    assert sum(report.unknown.values()) == 5
    document = report.to_json()
    assert not document["complete"] and document["ended"] is None and document["guess"] is None
    assert document["format"] is None and document["tracks"] == {}


def test_hostile_kinds_are_bounded() -> None:
    report = examine(reader(said(f'{{"event":"kind {n}"}}' for n in range(100))))
    assert len(report.kinds) == 41 and report.kinds["other"].count == 60


def test_a_stream_that_contradicts_itself_is_told_up_to_there() -> None:
    one, two = TwilioEncoder(), TwilioEncoder()
    other = Started("twilio", MULAW, ("inbound",), stream_id="MZ2", call_id="CA2")
    records = call(range(3))[:-1]
    records += said([*two.start(other), *one.connected(), *["late"] * 3], 9.1)
    report = examine(reader(records))
    assert report.broken is not None and "contradicts" in report.broken
    assert report.messages == len(records) and report.tracks["inbound"].frames == 3


def test_a_track_of_no_samples_has_no_map() -> None:
    records = said([b"\x01"])
    report = examine(reader(records), dialect="raw")
    track = report.tracks.get("mixed")
    assert track is None or track.gap_map == ""


@pytest.mark.parametrize(
    "text", ["", "mulaw", "mp3/8000/1", "mulaw/8000/3", "mulaw/1/1", "mulaw/x/1"]
)
def test_what_is_no_format_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_format(text)
