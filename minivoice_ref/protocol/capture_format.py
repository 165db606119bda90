"""The capture of a stream: all that was said on it, a line each, so that it can be said again.

A capture is JSON Lines: one JSON object a line, in UTF-8. On the disk it is gzip, in one or more
members (RFC 1952), so `zcat` reads it too. The first line is the handshake:

    {"capture": "minivoice", "version": 1, "began": "2026-05-29T12:10:00.123456Z",
     "stream_id": "stream_4f1d…", "call_id": "call_123", "peer": "203.0.113.7",
     "path": "/stream/Ab3dE_…", "headers": [["host", "media.example.com"], …],
     "subprotocols": [], "subprotocol": null, "program": "minivoice-ref 1.0",
     "settings": {"dialect": "minivoice", "fallback": "l16le/8000/1", "l16": "auto",
                  "one_channel": "mixed", "reorder_window": 10, "hold_messages": 50,
                  "hold_bytes": 131072, "jump": 3600.0}}

`settings` is what the receiver took for granted, so that a reader can do the same. Each further
line has `at`, in seconds since the stream was opened, and a `type`:

    {"at": 0.021034, "from": "platform", "type": "text", "data": "{\\"event\\":\\"connected\\",…}"}
    {"at": 0.041120, "from": "platform", "type": "binary", "data": "/////w=="}       (base64)
    {"at": 9.500000, "type": "lost", "messages": 12, "bytes": 4711}
    {"at": 12.81200, "type": "end", "how": "stopped", "by": "platform", "code": 1000, "reason": ""}

`from` is `platform` or `receiver`. `lost` stands where messages could not be kept. `end` is the
last line of a capture that was ended in order; one without it was cut short: the receiver was
killed, or its disk failed. Whatever stands before the cut is good.

A reader takes the version that it knows and no other. Within a version fields and types may be
added: what a reader does not know it passes over. Tokens and secrets are taken out before a line is
written, in the handshake, in texts, in JSON that came as binary, and in reasons; audio (base64
under `payload`, and every other binary message) is never touched.

Knows no files and no gzip. Read next: `capture_report.py`, which tells what is in one.
"""

from __future__ import annotations

import json
import re
from binascii import Error as BadBase64
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.media import WireMessage
from minivoice_ref.protocol.redaction import REDACTED, redact_text

__all__ = [
    "VERSION",
    "BadCapture",
    "CaptureReader",
    "Ended",
    "Handshake",
    "Lost",
    "Message",
    "Record",
    "hide_secrets",
    "read_handshake",
    "read_record",
    "write_handshake",
    "write_record",
]

VERSION = 1

Sender: TypeAlias = Literal["platform", "receiver"]

_AUDIO = re.compile(r'("payload"\s*:\s*"[A-Za-z0-9+/=]*")')


class BadCapture(MiniVoiceError):
    """This is no capture, or none that can be read here; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """How the stream was opened; its fields are those of the first line."""

    stream_id: str
    began: str
    call_id: str | None = None
    peer: str | None = None
    path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    subprotocol: str | None = None
    program: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One message, text or binary; `at` is seconds since the stream was opened."""

    at: float
    sender: Sender
    content: WireMessage


@dataclass(frozen=True, slots=True)
class Lost:
    """So many messages are missing here."""

    at: float
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream's end: the close code, and `by` whom: platform, us (the receiver), application."""

    at: float
    how: str
    by: str
    code: int
    reason: str = ""


Record: TypeAlias = Message | Lost | Ended


# --- to write ---


def write_handshake(handshake: Handshake) -> bytes:
    """The first line of a capture. Redacted it must be already."""
    return _line({"capture": "minivoice", "version": VERSION, **asdict(handshake)})


def write_record(record: Record) -> bytes:
    """A further line."""
    at = round(record.at, 6)
    if isinstance(record, Message):
        kind, data = "text", record.content
        if isinstance(data, bytes):
            kind, data = "binary", b2a_base64(data, newline=False).decode("ascii")
        return _line({"at": at, "from": record.sender, "type": kind, "data": data})
    kind = "lost" if isinstance(record, Lost) else "end"
    return _line({"type": kind, **asdict(record), "at": at})


def hide_secrets(text: str, known: Sequence[str] = ()) -> str:
    """A text message without tokens, secret JSON values and the *known* secrets; audio stays."""
    parts = _AUDIO.split(text)
    for at in range(0, len(parts), 2):
        part = parts[at]
        for secret in known:
            part = part.replace(secret, REDACTED)
        parts[at] = redact_text(part)
    return "".join(parts)


def _line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


# --- to read ---


def read_handshake(line: bytes) -> Handshake:
    """Read the first line. Raises BadCapture: not a capture, another version, a field amiss."""
    document = _object(line)
    if document is None or document.get("capture") != "minivoice":
        raise BadCapture("it is not a capture of a stream (its first line is no handshake)")
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        known = f"version {VERSION} is read here"
        raise BadCapture(f"it is a capture of version {ascii(version)[:20]}; {known}")
    headers, settings = document.get("headers") or [], document.get("settings") or {}
    try:
        return Handshake(
            stream_id=_text(document, "stream_id") or "",
            began=_text(document, "began") or "",
            call_id=_text(document, "call_id"),
            peer=_text(document, "peer"),
            path=_text(document, "path"),
            headers=tuple((str(name), str(value)) for name, value in headers),
            subprotocols=tuple(map(str, document.get("subprotocols") or ())),
            subprotocol=_text(document, "subprotocol"),
            program=_text(document, "program"),
            settings=dict(settings),
        )
    except (TypeError, ValueError):
        raise BadCapture("its handshake has a field that cannot be meant") from None


def read_record(line: bytes) -> Record | None:
    """Read a further line; None for a type that is not known. Raises BadCapture, saying why."""
    document = _object(line)
    if document is None:
        raise BadCapture("it is not a JSON object")
    at = document.get("at")
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at < 1e9:
        raise BadCapture("`at` is not a number of seconds")
    kind = document.get("type")
    try:
        if kind in ("text", "binary"):
            return Message(float(at), _sender(document), _content(kind, document["data"]))
        if kind == "lost":
            return Lost(float(at), _count(document, "messages"), _count(document, "bytes"))
        if kind == "end":
            told = [_text(document, name) or "" for name in ("how", "by", "reason")]
            return Ended(float(at), told[0], told[1], _count(document, "code"), told[2])
    except (KeyError, ValueError, TypeError) as exc:
        why = "is not there" if isinstance(exc, KeyError) else "cannot be meant"
        raise BadCapture(f"a field of its {kind} {why}") from None
    return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(name)
    return value


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(name)
    return value


def _sender(document: Mapping[str, Any]) -> Sender:
    sender = document["from"]
    if sender == "platform":
        return "platform"
    if sender == "receiver":
        return "receiver"
    raise ValueError(sender)


def _content(kind: str, data: object) -> WireMessage:
    if not isinstance(data, str):
        raise ValueError(kind)
    if kind == "text":
        data.encode()  # half a surrogate pair could be no message; raises ValueError
        return data
    try:
        return a2b_base64(data.encode("ascii"), strict_mode=True)
    except BadBase64:
        raise ValueError(kind) from None


class CaptureReader:
    """Reads the lines of a capture: the handshake at once, the records by iterating, once.

    Tolerant, unless *strict*: a line that cannot be read is passed over and counted in `skipped`,
    since a killed receiver leaves half a line at the end. Strict, it raises BadCapture with the
    line's number. `ended` is the capture's end once it was read; None of one that was cut short.
    """

    def __init__(self, lines: Iterable[bytes], *, strict: bool = False) -> None:
        self._lines = iter(lines)
        self._strict = strict
        self.skipped = 0
        self.ended: Ended | None = None
        first = next(self._lines, b"")
        if not first.strip():
            raise BadCapture("it is empty: not even the handshake is there")
        self.handshake = read_handshake(first)

    def __iter__(self) -> Iterator[Record]:
        for number, line in enumerate(self._lines, start=2):
            try:
                record = read_record(line)
            except BadCapture as exc:
                if self._strict:
                    raise BadCapture(f"line {number}: {exc}") from None
                self.skipped += 1
                continue
            if isinstance(record, Ended):
                self.ended = record
            if record is not None:
                yield record
