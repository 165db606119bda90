"""Captures as they lie on the disk: gzip taken off, lines given out, however the file ends.

A killed receiver leaves half a gzip member, a full disk perhaps none at all. What stands before the
tear is read; whether the capture was ended in order, its last line says.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from minivoice_ref.protocol.capture_format import BadCapture, CaptureReader

__all__ = ["open_capture"]

_CHUNK = 65536
_LONGEST_LINE = 16 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_WITH_GZIP_HEAD = 31  # zlib's wbits for a member of RFC 1952


def open_capture(path: Path) -> CaptureReader:
    """Read the capture in the file *path*, gzipped or not; its lines as they are asked for.

    Raises BadCapture, which names the file: it cannot be read, is no capture or another version.
    """
    lines = _lines(path)
    first = next(lines, b"")
    try:
        return CaptureReader(chain((first,), lines))
    except BadCapture as exc:
        raise BadCapture(f"{path}: {exc}") from None


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file; the last may be torn."""
    rest = b""
    try:
        for piece in _unzipped(_pieces(path)):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > _LONGEST_LINE:
                raise BadCapture(f"{path}: it has a line of more than {_LONGEST_LINE} bytes")
    except OSError as exc:
        raise BadCapture(f"{path} cannot be read: {exc.strerror or exc}") from None
    if rest:
        yield rest


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _unzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What the gzip members hold, up to the first that is damaged; never much of it at once."""
    first = next(pieces, b"")
    if not first.startswith(_GZIP):
        yield first
        yield from pieces
        return
    unzip = zlib.decompressobj(_WITH_GZIP_HEAD)
    for piece in chain((first,), pieces):
        while piece:
            try:
                yield unzip.decompress(piece, _CHUNK)
            except zlib.error:
                return
            piece = unzip.unconsumed_tail
            if unzip.eof:
                piece, unzip = unzip.unused_data, zlib.decompressobj(_WITH_GZIP_HEAD)
    yield unzip.flush()
