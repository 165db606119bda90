"""What a server must make of a client's frames, written from RFC 6455 and from nothing else.

Slow and plain: bytes in, all that they say out. Where the RFC leaves a choice (how early to notice
text that is not UTF-8, or a message that will be too big), every choice is among `codes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

WAITING = 1006
"""The bytes end before anything else does: the peer has vanished."""

_SURE = {*range(1000, 1004), *range(1007, 1012), *range(3000, 5000)}
_NEVER = {*range(1000), 1005, 1006, 1015, *range(5000, 65536)}


@dataclass
class Reading:
    """What was read: whole messages, pings, and the codes with which it may end.

    `code` and `by_peer` say the one end there is, if nothing was noticed earlier.
    """

    messages: list[str | bytes] = field(default_factory=list)
    pings: list[bytes] = field(default_factory=list)
    code: int = WAITING
    by_peer: bool = True
    earlier: set[int] = field(default_factory=set)

    @property
    def codes(self) -> set[int]:
        """Every code that this may end with."""
        return {self.code, *self.earlier}


class _Broken(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


def read_frames(data: bytes, limit: int) -> Reading:
    """Read all frames in *data*; messages have at most *limit* bytes."""
    reading = Reading()
    try:
        _read(data, limit, reading)
    except _Broken as exc:
        reading.code, reading.by_peer = exc.code, False
    return reading


def _read(data: bytes, limit: int, reading: Reading) -> None:
    kind, parts = 0, b""
    while True:
        if len(data) < 2:
            if data:
                _foresee(reading, data[0], kind)
            return
        start = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0)
        size = data[1] & 0x7F if start == 2 else int.from_bytes(data[2:start])
        if len(data) < start + 4 + size:
            reading.earlier.add(WAITING)  # what is wrong may be noticed when the frame is whole
        fin, opcode = _check_head(data, kind)
        if len(data) < start:
            return
        if size < {2: 0, 4: 126, 10: 65536}[start] or size >= 2**63:
            raise _Broken(1002)
        if opcode < 8 and len(parts) + size > limit:
            reading.earlier.add(1009)  # it may be refused as soon as it is announced
        if len(data) < start + 4:
            return
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        whole = len(data) >= start + 4 + size
        data = data[start + 4 + size :]
        if opcode < 8:
            kind, parts = opcode or kind, parts + payload
            if kind == 1 and not _may_be_text(parts, whole and fin):
                reading.earlier.add(1007)
            if len(parts) > limit:
                raise _Broken(1009)
        if not whole:
            return
        if opcode == 8:
            return _close(payload, reading)
        if opcode == 9:
            reading.pings.append(payload)
        elif opcode < 8 and fin:
            if kind == 1 and not _may_be_text(parts, True):
                raise _Broken(1007)
            reading.messages.append(parts.decode() if kind == 1 else parts)
            kind, parts = 0, b""


def _check_head(data: bytes, kind: int) -> tuple[bool, int]:
    fin, opcode = bool(data[0] & 0x80), data[0] & 0x0F
    known = opcode in (0, 1, 2, 8, 9, 10)
    control = opcode >= 8
    fits = control or (opcode == 0) == (kind != 0)
    if data[0] & 0x70 or not known or not data[1] & 0x80 or not fits:
        raise _Broken(1002)
    if control and (not fin or data[1] & 0x7F > 125):
        raise _Broken(1002)
    return fin, opcode


def _foresee(reading: Reading, first: int, kind: int) -> None:
    """The first byte of a head may already be wrong."""
    try:
        _check_head(bytes([first, 0x80]), kind)
    except _Broken:
        reading.earlier.add(1002)


def _close(payload: bytes, reading: Reading) -> None:
    if len(payload) == 1:
        raise _Broken(1002)
    code = int.from_bytes(payload[:2]) if payload else 1005
    if payload and code in _NEVER:
        if not _may_be_text(payload[2:], True):
            reading.earlier.add(1007)
        raise _Broken(1002)
    if not _may_be_text(payload[2:], True):
        if payload and code not in _SURE:
            reading.earlier.add(1002)
        raise _Broken(1007)
    if payload and code not in _SURE:
        reading.earlier.add(1002)
    reading.code = code


def _may_be_text(data: bytes, whole: bool) -> bool:
    """Whether *data* is UTF-8, or, unless it is *whole*, may become it."""
    for cut in (0,) if whole else (0, 1, 2, 3):
        try:
            data[: len(data) - cut].decode("utf-8")
        except UnicodeDecodeError as exc:
            if whole or exc.start < len(data) - 3:
                return False
        else:
            return whole or _may_begin_a_character(data[len(data) - cut :])
    return False


def _may_begin_a_character(rest: bytes) -> bool:
    """Whether up to three bytes are the beginning of some character."""
    if not rest:
        return True
    tails = ([0x80], [0x90], [0xA0], [0x80, 0x80], [0x90, 0x80], [0xA0, 0x80], [0x80, 0x80, 0x80])
    for tail in (*tails, [0x90, 0x80, 0x80]):
        try:
            (rest + bytes(tail)).decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False
