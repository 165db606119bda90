"""How other programs may read a request: strictly, leniently, each in a way of its own.

A request that we accept must end at the same byte for every one of them that accepts it too, else
a proxy in front and we see two different requests (request smuggling). The readers here are written
from RFC 9112 and from what is known of lenient servers, not from our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


class Refused(Exception):
    """This reader does not take the request, which is always safe."""


@dataclass(frozen=True)
class Reader:
    """One way to read. `bare_feed`: a line feed alone ends a line. `encoding_first`: it wins over
    a length. `last_length`: of several lengths the last counts, else the first. `loose_encoding`:
    `chunked` may stand anywhere in the value. `folds`: a line that begins with a space continues
    the one before, else it is a line like any other."""

    bare_feed: bool
    encoding_first: bool
    last_length: bool
    loose_encoding: bool
    folds: bool

    def end(self, data: bytes) -> int:
        """Where the first request of *data* ends; beyond *data* if more has to come."""
        at, lines = self._lines(data, 0)
        if at is None:
            return len(data) + 1
        lengths, encodings = [], []
        headers: list[bytes] = []
        for line in lines[1:]:
            if self.folds and headers and line[:1] in (b" ", b"\t"):
                headers[-1] += b" " + line.strip(b" \t")
            else:
                headers.append(line)
        for line in headers:
            name, _, value = line.partition(b":")
            name, value = name.strip(b" \t\v\f").lower(), value.strip(b" \t\v\f")
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                encodings.append(value)
        chunked = self._is_chunked(encodings)
        if chunked and (self.encoding_first or not lengths):
            return self._chunks(data, at)
        if not lengths:
            return at
        length = lengths[-1 if self.last_length else 0].split(b",")[0].strip()
        if not re.fullmatch(rb"[0-9]{1,18}", length):
            raise Refused
        return at + int(length)

    def _is_chunked(self, encodings: list[bytes]) -> bool:
        joined = b",".join(encodings).lower()
        if self.loose_encoding:
            return b"chunked" in joined
        return joined.split(b",")[-1].strip(b" \t") == b"chunked"

    def _chunks(self, data: bytes, at: int) -> int:
        while True:
            stop, line = self._line(data, at)
            if stop is None:
                return len(data) + 1
            size = re.match(rb"[0-9A-Fa-f]{1,16}(?=$|[; \t])", line)
            if size is None:
                raise Refused
            at = stop
            if int(size[0], 16) == 0:
                end, _ = self._lines(data, at)
                return len(data) + 1 if end is None else end
            at += int(size[0], 16)
            if at + 2 > len(data):
                return len(data) + 1
            if data[at : at + 2] == b"\r\n":
                at += 2
            elif self.bare_feed and data[at : at + 1] == b"\n":
                at += 1
            else:
                raise Refused

    def _lines(self, data: bytes, at: int) -> tuple[int | None, list[bytes]]:
        """The lines up to an empty one, and where what follows that begins."""
        lines: list[bytes] = []
        while True:
            stop, line = self._line(data, at)
            if stop is None or not line:
                return stop, lines
            lines.append(line)
            at = stop

    def _line(self, data: bytes, at: int) -> tuple[int | None, bytes]:
        stop = data.find(b"\n" if self.bare_feed else b"\r\n", at)
        if stop < 0:
            return None, b""
        if not self.bare_feed:
            return stop + 2, data[at:stop]
        return stop + 1, data[at:stop].removesuffix(b"\r")


READERS = [Reader(*how) for how in product((False, True), repeat=5)]


def ends(data: bytes) -> Iterator[tuple[Reader, int]]:
    """Where each reader that takes the first request of *data* says it ends."""
    for reader in READERS:
        try:
            yield reader, reader.end(data)
        except Refused:
            pass
