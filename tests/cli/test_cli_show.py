"""`show`: what is in a capture, for people and machines, and what it sounds like."""

from __future__ import annotations

import gzip
import json
import wave
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import minivoice_ref
from minivoice_ref.cli import main
from minivoice_ref.protocol.audio import from_pcm, resample, to_pcm
from minivoice_ref.protocol.capture_format import (
    Ended,
    Handshake,
    Lost,
    Message,
    Record,
    write_handshake,
    write_record,
)
from minivoice_ref.protocol.dialects.plivo import PlivoEncoder
from minivoice_ref.protocol.dialects.twilio import TwilioEncoder
from minivoice_ref.protocol.media import Encoding, MediaFormat, Started, Track
from minivoice_ref.receiver.wav import StereoWav

VOICES = Path(minivoice_ref.__file__).parent / "simulator" / "voices"
END = Ended(9.0, "stopped", "platform", 1000, "the stream was stopped")
SHAKE = Handshake(
    "stream_1",
    "2026-05-29T12:10:00Z",
    path="/stream/abcdef…",
    headers=(("host", "media.example.com"),),
    subprotocols=("audio.jambonz.org",),
    settings={"fallback": "l16le/8000/1"},
)


def write(path: Path, records: Iterable[Record], shake: Handshake = SHAKE) -> Path:
    """A capture in members of a hundred lines, as the receiver writes it."""
    lines = [write_handshake(shake), *map(write_record, records)]
    members = [b"".join(lines[at : at + 100]) for at in range(0, len(lines), 100)]
    path.write_bytes(b"".join(map(gzip.compress, members)))
    return path


@cache
def voice(rate: int) -> bytes:
    """Five seconds of the packaged agent, then caller."""
    pcm = (VOICES / "agent.wav").read_bytes()[44 + 6400 : 44 + 6400 + 40000]
    pcm += (VOICES / "caller.wav").read_bytes()[44 + 62000 : 44 + 62000 + 40000]
    return resample(pcm, 8000, rate)


def bare(form: MediaFormat, *, real_time: bool) -> list[Record]:
    """Binary messages of 20 ms, and nothing that says what they are."""
    audio = from_pcm(voice(form.sample_rate), form)
    size = form.sample_rate // 50 * form.bytes_per_sample
    return [
        Message(number * (0.02 if real_time else 1e-5), "platform", audio[at : at + size])
        for number, at in enumerate(range(0, len(audio), size))
    ]


def shown(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    assert main(["show", *map(str, argv), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("real_time", [True, False])
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("encoding", ["mulaw", "alaw", "l16le", "l16be"])
def test_a_binary_capture_without_metadata_is_named_by_its_sound(
    encoding: Encoding,
    rate: int,
    real_time: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    form = MediaFormat(encoding, rate, 1)
    path = write(tmp_path / "bare.jsonl.gz", bare(form, real_time=real_time))
    wav = tmp_path / "out.wav"
    document = shown(capsys, path, "--wav", wav)
    assert document["guess"]["format"] == document["format"] == str(form)
    assert "dB" in document["guess"]["reason"] and document["assumed"]
    assert ("bytes came a second" in document["guess"]["reason"]) == real_time
    assert not document["complete"]
    with wave.open(str(wav)) as file:
        assert file.getframerate() == rate and file.getnchannels() == 2
        left = file.readframes(file.getnframes())[0::4]
    assert left == from_pcm(voice(rate), MediaFormat("l16le"))[0::2] or encoding in (
        "mulaw",
        "alaw",
    )


def twilio(folder: Path) -> Path:
    encoder = TwilioEncoder()
    started = Started("twilio", MediaFormat(), ("inbound",), stream_id="MZ1", call_id="CA1")
    records: list[Record] = [Message(0.0, "platform", one) for one in encoder.connected()]
    records += [Message(0.0, "platform", one) for one in encoder.start(started)]
    audio = from_pcm(voice(8000), MediaFormat())
    for number in [*range(20), *(n for n in range(20, 200) if n % 8), 20]:
        payload = audio[number * 160 : number * 160 + 160]
        messages = encoder.media("inbound", payload, number * 20)
        records += [Message(number * 0.02, "platform", one) for one in messages]
    records += [Message(4.0, "platform", one) for one in encoder.digit("5", "inbound")]
    records += [Lost(8.0, 3, 999), Message(8.1, "platform", "\x1b[2J"), END]
    return write(folder / "twilio.jsonl.gz", records)


def test_people_see_messages_tracks_gaps_and_the_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = tmp_path / "out.wav"
    assert main(["show", str(twilio(tmp_path)), "--wav", str(wav)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "stream_1 of call unknown",
        "host: media.example.com",
        "audio.jambonz.org; chosen: none",
        "ended        stopped, by platform, 1000 (the stream was stopped)",
        "lost         3 messages",
        '{"event":"connected"',
        "dialect      twilio",
        "mulaw/8000/1 (as the stream says)",
        "sounds like  mulaw/8000/1",
        "jitter",
        "expected 32000 = received",
        "#",
        "gap        at 0.480 s, 160 samples",
        "more",
        "not understood: 1",
        "4.000 s: digit 5",
        str(wav),
    ):
        assert words in printed, words
    assert "\x1b" not in printed and wav.is_file()


def test_a_torn_capture_is_read_up_to_the_tear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = twilio(tmp_path).read_bytes()
    torn = tmp_path / "torn.jsonl.gz"
    for cut in (len(whole) - 150, len(whole) - 300, len(whole) // 2):
        torn.write_bytes(whole[:cut])
        document = shown(capsys, torn)
        assert not document["complete"] and document["tracks"]["inbound"]["frames"] > 60
    assert main(["show", str(torn)]) == 0
    printed = capsys.readouterr().out
    assert "cut short" in printed and "1 lines cannot be read" in printed
    torn.write_bytes(whole + b"\0" * 100)
    assert shown(capsys, torn)["complete"]


def test_a_capture_that_somebody_unzipped_is_read_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(gzip.decompress(twilio(tmp_path).read_bytes()))
    assert shown(capsys, plain)["tracks"] == shown(capsys, tmp_path / "twilio.jsonl.gz")["tracks"]


def test_a_forced_format_or_dialect_is_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "bare.gz", bare(MediaFormat("mulaw", 8000, 1), real_time=True))
    document = shown(capsys, path, "--format", "alaw/16000/1", "--dialect", "raw")
    assert document["format"] == "alaw/16000/1" and document["guess"]["format"] == "mulaw/8000/1"
    assert main(["show", str(path), "--format", "alaw/16000/1"]) == 0
    assert "alaw/16000/1 (assumed: the stream does not say it in full)" in capsys.readouterr().out
    assert main(["show", str(path)]) == 0
    assert "mulaw/8000/1 (a guess)" in capsys.readouterr().out


def opus(folder: Path) -> Path:
    """Audio in mu-law that calls itself opus: a codec with a name that nobody here knows."""
    path = twilio(folder)
    content = gzip.decompress(path.read_bytes()).replace(b"audio/x-mulaw", b"audio/opus")
    path.write_bytes(gzip.compress(content))
    return path


def test_audio_in_a_codec_that_is_named_and_unknown_becomes_no_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, wav = opus(tmp_path), tmp_path / "out.wav"
    document = shown(capsys, path)
    track = document["tracks"]["inbound"]
    assert document["format"] == track["format"] == "unknown/8000/1" and not document["assumed"]
    assert track["frames"] > 100 and track["account"] is None and track["gaps"] == []
    assert document["guess"]["format"] == "mulaw/8000/1"
    assert main(["show", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "unknown/8000/1 (as the stream says)" in printed
    assert "encoding 'audio/opus' is not known; its audio is handed on as it comes" in printed
    assert "account    none: nobody can tell the samples" in printed
    assert main(["show", str(path), "--wav", str(wav)]) == 2
    assert "audio in a codec that cannot be read" in capsys.readouterr().err
    assert not wav.exists()


def test_a_forced_format_reads_audio_whose_codec_is_named_and_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forced, plain = tmp_path / "forced.wav", tmp_path / "plain.wav"
    document = shown(capsys, opus(tmp_path), "--format", "mulaw/8000/1", "--wav", forced)
    assert document["format"] == "mulaw/8000/1" and document["assumed"]
    usual = shown(capsys, twilio(tmp_path), "--wav", plain)
    assert document["tracks"] == usual["tracks"] and document["not_in_wav"] == 0
    assert forced.read_bytes() == plain.read_bytes()


def plivo(folder: Path, ahead: float) -> Path:
    """Both tracks in Unix time; the second comes behind the first, and began *ahead* seconds."""
    encoder = PlivoEncoder()
    tracks: tuple[Track, ...] = ("inbound", "outbound")
    started = Started("plivo", MediaFormat(), tracks, stream_id="S1", call_id="CA1")
    records: list[Record] = [Message(0.0, "platform", one) for one in encoder.start(started)]
    zero = 1780056600000
    for number in range(50):
        for track in tracks:
            at = zero + number * 20 - (round(ahead * 1000) if track == "outbound" else 0)
            payload = bytes([number + 1 if track == "inbound" else number + 101]) * 160
            messages = encoder.media(track, payload, at)
            records += [Message(number * 0.02, "platform", one) for one in messages]
    return write(folder / f"plivo{ahead}.jsonl.gz", records)


def test_a_second_track_that_began_before_the_first_is_in_its_place_in_the_wav(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wav = tmp_path / "out.wav"
    document = shown(capsys, plivo(tmp_path, 0.5), "--wav", wav)
    accounts = {name: track["account"] for name, track in document["tracks"].items()}
    assert (accounts["inbound"]["first"], accounts["outbound"]["first"]) == (0, -4000)
    assert all(a["lost"] == 0 and a["received"] == 8000 for a in accounts.values())
    assert document["not_in_wav"] == 0
    with wave.open(str(wav)) as file:
        samples = memoryview(file.readframes(file.getnframes())).cast("h")
    said = {
        track: to_pcm(bytes(n + first for n in range(50) for _ in range(160)), MediaFormat())
        for track, first in (("inbound", 1), ("outbound", 101))
    }
    assert samples[0::2].tobytes() == bytes(8000) + said["inbound"]
    assert samples[1::2].tobytes() == said["outbound"] + bytes(8000)


def test_what_has_no_place_in_the_wav_is_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, wav = plivo(tmp_path, 60.0), tmp_path / "out.wav"
    assert shown(capsys, path, "--wav", wav)["not_in_wav"] == 8000
    wav.unlink()
    assert main(["show", str(path), "--wav", str(wav)]) == 0
    assert f"wav          {wav}; 8000 samples have no place in it" in capsys.readouterr().out


def test_noise_and_nothing_are_not_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silence = [Message(n * 0.02, "platform", b"\xff" * 160) for n in range(3)]
    path = write(tmp_path / "silence.gz", silence)
    assert main(["show", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "nothing known (not certain)" in printed and "too few to tell the rate" in printed
    assert main(["show", str(write(tmp_path / "none.gz", [], Handshake("stream_2", "")))]) == 0
    printed = capsys.readouterr().out
    assert "none recognised" in printed and "subprotocols" not in printed


def test_a_stream_that_contradicted_itself_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = [
        Started("twilio", MediaFormat(), ("inbound",), stream_id=name, call_id="CA1")
        for name in ("MZ1", "MZ2")
    ]
    said = [TwilioEncoder().start(one)[0] for one in starts]
    path = write(tmp_path / "two.gz", [Message(0.0, "platform", one) for one in said])
    assert main(["show", str(path)]) == 0
    assert "broken       a second start contradicts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"RIFF\0\0\0\0WAVE" * 100, "not a capture"),
        (gzip.compress(b'{"event":"connected"}\n'), "not a capture"),
        (gzip.compress(b'{"capture":"minivoice","version":7}\n'), "version 7; version 1 is read"),
        (gzip.compress(write_handshake(SHAKE))[:20], "empty|not a capture"),
        (b"x" * (17 * 1024 * 1024), "line of more than"),
    ],
)
@pytest.mark.parametrize("command", ["show", "replay"])
def test_what_is_no_capture_is_bad_usage(
    command: str, content: bytes, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    more = [] if command == "show" else ["--to", "wss://127.0.0.1:9/stream/x"]
    assert main([command, str(path), *more]) == 2
    error = capsys.readouterr().err
    assert str(path) in error and any(one in error for one in why.split("|"))
    assert "Traceback" not in error


def test_a_file_that_is_not_there_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(tmp_path / "nothing")]) == 2
    assert "nothing cannot be read: No such file" in capsys.readouterr().err


def test_a_wav_that_cannot_be_written_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, out = twilio(tmp_path), tmp_path / "out.wav"
    out.touch()
    assert main(["show", str(capture), "--wav", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["show", str(capture), "--wav", str(tmp_path / "no" / "out.wav")]) == 2
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert main(["show", str(write(tmp_path / "none.gz", [])), "--wav", str(out)]) == 2
    assert "has no audio" in capsys.readouterr().err
    assert main(["show", str(capture), "--format", "opus"]) == 2
    assert "--format opus is no format" in capsys.readouterr().err

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StereoWav, "put", fail)
    assert main(["show", str(capture), "--wav", str(tmp_path / "full.wav")]) == 2
    assert "full.wav: No space left" in capsys.readouterr().err
