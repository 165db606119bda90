"""The parts of a case: from what stands in the corpus to the bytes on the wire.

A part is a text, sent as latin-1 so that `\\u00ff` is the byte 0xFF, or a table:

    {repeat = TEXT, times = N}         a text many times
    {hex = "16 03 01"}                 bytes
    {upgrade = {HEADER = VALUE, …}}    a good opening handshake with headers changed, an empty one
                                       left out; also `method`, `path`, `version`
    {webhook = TEXT, …}                a delivery of this body, signed; `headers` are added
    {answer = TEXT, …}                 a question to answer_url with this body; `type`
    {message = TEXT, times = N}        a text message
    {frame = KIND, …}                  a frame: `text`, `binary`, `close`, `ping`, `pong`, `more` or
                                       an opcode; `payload`, `size` (zeros), `fin`, `rsv`, `masked`,
                                       `length` (a lie about it), `width` (its bytes), `times`
    {media = {FIELD = VALUE, …}, …}    a media message in Twilio's shape with fields changed;
                                       `times`, `step` (ms from one to the next), `sequence`,
                                       `size` (bytes)
    {start = {FIELD = VALUE, …}}       a start message in Twilio's shape with fields changed
    {pause = TIMEOUT, share = 0.5}     wait for a part of a deadline
    {trickle = TEXT, every = TIMEOUT, share = 0.3, times = N}
    {eof = true}                       nothing more comes from here

Where a text is asked for, a list of texts, `repeat` and `hex` will do. `<token>`, `<expired>` and
`<foreign>` stand for stream tokens, `<console>` for the console's. Payloads of frames are UTF-8.
"""

from __future__ import annotations

import json
import struct
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from minivoice_ref.protocol.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    mint_token,
    sign_webhook,
)

SECRET = "the-webhook-secret-of-the-abused"
TOKEN_KEY = "the-token-key-of-the-abused"
CONSOLE_TOKEN = "the-console-token-of-the-abused"
HOST = "receiver.test"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 section 1.3
KINDS = {"more": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
_MASK = bytes.fromhex("37fa213d")  # of RFC 6455 section 5.7
_PIECE = 32768  # bytes that are sent at once


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a share of a deadline."""

    timeout: str
    share: float


class EndOfInput:
    """Say that nothing more comes."""


Step: TypeAlias = bytes | Pause | EndOfInput


class Words:
    """What the texts of the corpus stand for at this moment (Unix seconds), in a call."""

    def __init__(self, now: float, call_id: str = "call_abuse") -> None:
        self.now = now
        self.call_id = call_id
        later, subject = now + 600, f"call:{call_id}"
        self.tokens = {
            "<token>": mint_token(TOKEN_KEY, subject, later),
            "<expired>": mint_token(TOKEN_KEY, subject, now - 10),
            "<foreign>": mint_token("the-key-of-somebody-else", subject, later),
            "<console>": CONSOLE_TOKEN,
        }

    def fill(self, text: str) -> str:
        """*text* with tokens in it."""
        for word, token in self.tokens.items():
            text = text.replace(word, token)
        return text

    def steps(self, parts: tuple[Any, ...]) -> Iterator[Step]:
        """All that is sent for *parts*, in pieces of bounded size, made as they are needed."""
        for part in parts:
            if isinstance(part, str):
                yield self.fill(part).encode("latin-1")
            elif "pause" in part:
                yield Pause(part["pause"], part.get("share", 0.5))
            elif "trickle" in part:
                for _ in range(part["times"]):
                    yield part["trickle"].encode("latin-1")
                    yield Pause(part["every"], part["share"])
            elif "eof" in part:
                yield EndOfInput()
            else:
                yield from _in_pieces(self._bytes(part))

    def _bytes(self, part: Mapping[str, Any]) -> Iterator[bytes]:
        if "upgrade" in part:
            yield self._upgrade(part["upgrade"])
        elif "webhook" in part:
            yield self._webhook(part)
        elif "answer" in part:
            body = _blob(part["answer"], "utf-8")
            yield _post("/answer", body, {"Content-Type": part.get("type", "application/json")})
        elif "media" in part:
            yield from _media(part)
        elif "start" in part:
            yield frame(1, start_message({"callSid": self.call_id, **part["start"]}))
        elif "message" in part or "frame" in part:
            yield from _often(_frame(part), part.get("times", 1))
        else:
            yield from _blobs(part, "latin-1")

    def _upgrade(self, changes: Mapping[str, str]) -> bytes:
        path = self.fill(changes.get("path", "/stream/<token>"))
        first = f"{changes.get('method', 'GET')} {path} {changes.get('version', 'HTTP/1.1')}\r\n"
        headers = {
            "Host": HOST,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
        others = {n: v for n, v in changes.items() if n not in ("path", "method", "version")}
        headers |= {name: self.fill(value) for name, value in others.items()}
        lines = (f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return (first + "".join(lines) + "\r\n").encode("latin-1")

    def _webhook(self, part: Mapping[str, Any]) -> bytes:
        body, timestamp = _blob(part["webhook"], "utf-8"), str(int(self.now))
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign_webhook(SECRET, timestamp, body),
        }
        return _post("/webhooks", body, headers | part.get("headers", {}))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """A frame as a client sends it, unless told to send a wrong one."""
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    short = length if width == 0 else 126 if width == 2 else 127
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode, (0x80 if masked else 0) | short])
    head += {0: b"", 2: struct.pack("!H", length & 0xFFFF), 8: struct.pack("!Q", length)}[width]
    if not masked:
        return head + payload
    mask = (_MASK * (len(payload) // 4 + 1))[: len(payload)]
    covered = int.from_bytes(payload) ^ int.from_bytes(mask)
    return head + _MASK + covered.to_bytes(len(payload))


def start_message(changes: Mapping[str, Any]) -> bytes:
    """A start in Twilio's shape; what stands outside of its `start` may be changed as well."""
    start = {
        "streamSid": "MZ1",
        "accountSid": "AC1",
        "callSid": "call_abuse",
        "tracks": ["inbound", "outbound"],
        "customParameters": {},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    message = {"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ1"}
    for name, value in changes.items():
        (message if name in ("event", "sequenceNumber", "streamSid") else start)[name] = value
    return json.dumps(message).encode()


def _media(part: Mapping[str, Any]) -> Iterator[bytes]:
    changes = part["media"]
    step, size, first = part.get("step", 20), part.get("size", 160), changes.get("timestamp", 0)
    payload = b2a_base64(bytes([0x55]) * size, newline=False).decode()
    for number in range(part.get("times", 1)):
        moves = type(first) is int and number
        media = {"track": "inbound", "chunk": str(number + 1), "payload": payload, **changes}
        media["timestamp"] = first + number * step if moves else first
        if type(media["timestamp"]) is int and "timestamp" not in changes:
            media["timestamp"] = str(media["timestamp"])
        media = {name: value for name, value in media.items() if value != "<none>"}
        sequence = part.get("sequence", number + 2)
        message = {"event": "media", "sequenceNumber": sequence, "media": media}
        yield frame(1, json.dumps(message | {"streamSid": "MZ1"}).encode())


def _frame(part: Mapping[str, Any]) -> bytes:
    if "message" in part:
        return frame(1, _blob(part["message"], "utf-8"))
    kind = part["frame"]
    payload = _blob(part.get("payload", ""), "utf-8") + bytes(part.get("size", 0))
    shape = {
        name: part[name] for name in ("fin", "rsv", "masked", "length", "width") if name in part
    }
    return frame(KINDS.get(kind, kind), payload, **shape)


def _post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    headers = {"Host": HOST, "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def _blob(text: Any, encoding: str) -> bytes:
    return b"".join(_blobs(text, encoding))


def _blobs(text: Any, encoding: str) -> Iterator[bytes]:
    if isinstance(text, str):
        yield text.encode(encoding)
    elif isinstance(text, list):
        for one in text:
            yield from _blobs(one, encoding)
    elif "hex" in text:
        yield bytes.fromhex(text["hex"])
    else:
        yield from _often(text["repeat"].encode(encoding), text["times"])


def _often(once: bytes, times: int) -> Iterator[bytes]:
    """*once* so many times, several at once."""
    at_once = max(1, _PIECE // len(once))
    yield from (once * at_once for _ in range(times // at_once))
    yield once * (times % at_once)


def _in_pieces(blobs: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that a socket likes."""
    piece = bytearray()
    for blob in blobs:
        piece += blob
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
