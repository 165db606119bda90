"""Captures, line by line: what is written can be read, what is not one says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.protocol.capture_format import (
    BadCapture,
    CaptureReader,
    Ended,
    Handshake,
    Lost,
    Message,
    Record,
    hide_secrets,
    read_handshake,
    read_record,
    write_handshake,
    write_record,
)
from minivoice_ref.protocol.signing import mint_token

SHAKE = Handshake(
    stream_id="stream_1",
    began="2026-05-29T12:10:00.000000Z",
    call_id="call_1",
    peer="203.0.113.7",
    path="/stream/abcdef…",
    headers=(("host", "media.example.com"), ("x-ü", "…")),
    subprotocols=("audio.jambonz.org",),
    subprotocol="audio.jambonz.org",
    program="minivoice-ref 1.0",
    settings={"fallback": "l16le/8000/1"},
)
FIRST = write_handshake(SHAKE)


def line(**fields: Any) -> bytes:
    return json.dumps({"at": 1.5, "from": "platform"} | fields).encode()


def test_a_handshake_survives_its_writing() -> None:
    assert read_handshake(FIRST) == SHAKE
    assert json.loads(FIRST)["version"] == 1 and FIRST.endswith(b"}\n")
    assert read_handshake(b'{"capture": "minivoice", "version": 1}') == Handshake("", "")


records = st.builds(
    Message,
    st.floats(0, 1e6).map(lambda at: round(at, 6)),
    st.sampled_from(["platform", "receiver"]),
    st.one_of(st.text(st.characters(codec="utf-8")), st.binary()),
) | st.builds(Lost, st.just(2.5), st.integers(0, 10**9), st.integers(0, 10**12))


@given(record=records | st.just(Ended(3.0, "stopped", "platform", 1000, "the end")))
def test_a_record_survives_its_writing_on_one_line(record: Record) -> None:
    written = write_record(record)
    assert read_record(written) == record
    assert written.count(b"\n") == 1 and written.isascii()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"RIFF....WAVE", "not a capture"),
        (b"[1]", "not a capture"),
        (b"[" * 100_000, "not a capture"),
        (b'{"event": "connected"}', "not a capture"),
        (b'{"capture": "minivoice", "version": 2}', "a capture of version 2; version 1 is read"),
        (b'{"capture": "minivoice", "version": true}', "a capture of version True"),
        (b'{"capture": "minivoice"}', "a capture of version None"),
        (b'{"capture": "minivoice", "version": 1, "stream_id": 3}', "handshake"),
        (b'{"capture": "minivoice", "version": 1, "headers": [1]}', "handshake"),
        (b'{"capture": "minivoice", "version": 1, "settings": 4}', "handshake"),
    ],
)
def test_what_is_no_capture_is_refused_with_the_reason(first: bytes, why: str) -> None:
    with pytest.raises(BadCapture, match=why):
        CaptureReader([first])


def test_a_capture_of_nothing_at_all_is_empty() -> None:
    with pytest.raises(BadCapture, match="empty"):
        CaptureReader([])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"at": 1.5, "fr', "not a JSON object"),
        (b"7", "not a JSON object"),
        (line(at=None, type="text", data=""), "`at`"),
        (line(at=True, type="text", data=""), "`at`"),
        (line(at=-1, type="text", data=""), "`at`"),
        (line(at=float("nan"), type="text", data=""), "`at`"),
        (line(type="text"), "a field of its text is not there"),
        (line(type="text", data=5), "a field of its text cannot be meant"),
        (line(type="text", data="\ud800"), "a field of its text cannot be meant"),
        (line(type="binary", data="&"), "a field of its binary cannot be meant"),
        (line(type="binary", data="ü"), "a field of its binary cannot be meant"),
        (line(type="text", data="", **{"from": "nobody"}), "a field of its text cannot be meant"),
        (line(type="lost", messages=-1, bytes=0), "a field of its lost cannot be meant"),
        (line(type="lost", messages=True, bytes=0), "a field of its lost cannot be meant"),
        (line(type="end", how=1, by="us", code=1000), "a field of its end cannot be meant"),
    ],
)
def test_a_bad_line_is_passed_over_or_named_by_its_number(bad: bytes, why: str) -> None:
    good = write_record(Message(1.0, "platform", "x"))
    tolerant = CaptureReader([FIRST, good, bad, good])
    assert list(tolerant) == [Message(1.0, "platform", "x")] * 2
    assert tolerant.skipped == 1 and tolerant.ended is None
    with pytest.raises(BadCapture, match=f"^line 3: .*{why}"):
        list(CaptureReader([FIRST, good, bad], strict=True))


def test_what_a_later_program_adds_within_the_version_is_passed_over() -> None:
    later = [line(type="weather", mood="fine"), line(type="text", data="x", colour="red")]
    reader = CaptureReader([FIRST, *later], strict=True)
    assert list(reader) == [Message(1.5, "platform", "x")]
    assert reader.skipped == 0


def test_the_end_says_that_the_capture_is_whole() -> None:
    end = Ended(3.0, "stopped", "platform", 1000, "")
    reader = CaptureReader([FIRST, write_record(end)])
    assert reader.ended is None and list(reader) == [end] and reader.ended == end


def test_tokens_and_secrets_are_taken_out_and_the_text_stays_json() -> None:
    token = mint_token("a-key", "call_1", 2_000_000_000)
    document = {
        "event": "start",
        "start": {"url": f"wss://host/stream/{token}?x=1", "api_key": "k-1", "password": 'p"1'},
        "note": [token, "the known secret"],
    }
    clean = hide_secrets(json.dumps(document, indent=1), ["the known secret"])
    assert token not in clean and "k-1" not in clean and "p\\" not in clean
    assert json.loads(clean)["start"]["password"] == "[redacted]"
    assert json.loads(clean)["note"] == [f"{token[:6]}…", "[redacted]"]


def test_audio_is_never_touched_whatever_it_spells() -> None:
    text = '{"event":"media","media":{"payload":"AAAA/stream/AAAAAAAAAAAAknown","token":"t"}}'
    clean = hide_secrets(text, ["known"])
    assert clean == text.replace('"token":"t"', '"token":"[redacted]"')
