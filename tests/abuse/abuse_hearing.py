"""What an abusive peer hears: responses, then perhaps frames. It is strict, for others will be.

Whatever was done to it, the receiver must speak proper HTTP and proper WebSocket to the end. So
every head is checked, every frame, and that nothing follows a Close.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

PING, CLOSE, PONG = 9, 8, 10
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [A-Za-z -]*")
_HEADER = re.compile(rb"[A-Za-z-]+: [\x20-\x7e]+")
_LONGEST = 2 * 1024 * 1024  # bytes that one peer may be told


@dataclass
class Hearing:
    """What was heard so far. *opaque* bytes are not looked at: they are no HTTP. *talks* that
    messages may come, too."""

    opaque: bool = False
    talks: bool = False
    statuses: list[int] = field(default_factory=list)
    opened: bool = False
    close: int | None = None
    pongs: int = 0
    faults: list[str] = field(default_factory=list)
    texts: bytearray = field(default_factory=bytearray)
    began_at: float = 0.0
    sent_at: float = 0.0
    ended_at: float | None = None
    was_reset: bool = False
    left_over: bytes = b""
    size: int = 0
    _data: bytearray = field(default_factory=bytearray)
    _body: int = 0

    def hear(self, data: bytes) -> list[bytes]:
        """Take what came; return the payloads of pings that want an answer."""
        self.size += len(data)
        if self.size > _LONGEST:
            self.faults.append("the receiver talks without end")
        if self.opaque:
            return []
        self._data += data
        pings: list[bytes] = []
        while self._frame(pings) if self.opened else self._response():
            pass
        return pings

    def end(self, now: float) -> None:
        """Note that nothing more comes."""
        self.ended_at = now
        self.left_over = bytes(self._data[:80])

    def _response(self) -> bool:
        if self._body:
            taken = self._data[: self._body]
            del self._data[: len(taken)]
            self._body -= len(taken)
            self.texts += taken
            return bool(taken)
        head, found, _ = self._data.partition(b"\r\n\r\n")
        if not found:
            return False
        del self._data[: len(head) + 4]
        first, *lines = bytes(head).split(b"\r\n")
        status = _STATUS.fullmatch(first)
        self.texts += head
        if status is None or not all(map(_HEADER.fullmatch, lines)):
            self.faults.append(f"no proper head: {bytes(head)!r}")
            return False
        code = int(status[1])
        if code == 101:
            self.opened = True
            return True
        self.statuses.append(code)
        lengths = [int(line[16:]) for line in lines if line.lower().startswith(b"content-length: ")]
        if len(lengths) != (code >= 200):
            self.faults.append(f"{len(lengths)} lengths in {bytes(head)!r}")
        self._body = sum(lengths)
        return True

    def _frame(self, pings: list[bytes]) -> bool:
        data = self._data
        if len(data) < 2:
            return False
        size, start = data[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            if len(data) < start:
                return False
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            return False
        opcode, payload = data[0] & 0x0F, bytes(data[start : start + size])
        if not data[0] & 0x80 or data[0] & 0x70 or data[1] & 0x80:
            self.faults.append(f"no proper frame: {bytes(data[:20])!r}")
        if self.close is not None:
            self.faults.append(f"a frame after the Close: {bytes(data[:20])!r}")
        del data[: start + size]
        if opcode == PING:
            pings.append(payload)
        elif opcode == PONG:
            self.pongs += 1
        elif opcode == CLOSE:
            self.close = struct.unpack("!H", payload[:2])[0] if payload else 1005
            self.texts += payload[2:]
            payload[2:].decode("utf-8")
        elif opcode != 1 or not self.talks:
            self.faults.append(f"a frame of kind {opcode}, though nobody asked for one")
        return True
