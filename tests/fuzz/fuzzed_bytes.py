"""From the bytes that a fuzzer makes up to what a check takes."""

from __future__ import annotations

from minivoice_ref.protocol.media import WireMessage


def messages_of(data: bytes) -> list[WireMessage]:
    """Each line is a message: text, or binary where it begins with a zero byte."""
    return [
        line[1:] if line.startswith(b"\0") else line.decode("utf-8", "replace")
        for line in data.split(b"\n")[:40]
    ]


def pieces_of_audio(data: bytes) -> list[tuple[int | None, int]]:
    """Four bytes a piece: how far its position is shifted, the position, the samples."""
    pieces: list[tuple[int | None, int]] = []
    for at in range(0, len(data) - 3, 4):
        shift, high, low, samples = data[at : at + 4]
        position = int.from_bytes(bytes([high, low]), signed=True) << (shift % 56)
        pieces.append((None if shift == 255 else position, samples - 1))
    return pieces


def texts_of(data: bytes, count: int) -> list[str]:
    """So many lines, empty ones where there are fewer."""
    lines = data.decode("utf-8", "replace").split("\n", count - 1)
    return lines + [""] * (count - len(lines))


def cuts_of(data: bytes) -> list[int]:
    """Two places for the knife, out of the first byte."""
    first = (data or b"\0")[0]
    return [first, first * 7] if first else []
