"""What the quick reader takes apart is what wsproto finds, and the rest goes to the library whole.

Here the library is wsproto alone, so that a thousand cases take a second; `test_net_two_ways.py`
does the same with everything around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from net_parties import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from net_wire_cases import chunks_of, wire_bytes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong

from minivoice_ref.net.frame_reader import FrameReader
from minivoice_ref.net.frames import whole_frames

LIMIT = 2000

Found = list[tuple[str, object]]


class Library:
    """wsproto, and what it found, in words that can be compared."""

    def __init__(self, found: Found) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._parts: list[str | bytes] = []
        self.found = found
        self.over = False

    def take(self, data: bytes) -> None:
        if not self.over:
            self._connection.receive_data(data)
            for event in self._connection.events():
                self._note(event)

    def _note(self, event: Event) -> None:
        match event:
            case Message():
                self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                if event.message_finished:
                    empty: Any = type(self._parts[0])()
                    self.found.append(("message", empty.join(self._parts)))
                    self._parts = []
            case Ping() | Pong():
                self.found.append((type(event).__name__, bytes(event.payload)))
            case CloseConnection():
                self.found.append(("close", (int(event.code), event.reason)))
                self.over = True


def by_the_library(pieces: Sequence[bytes]) -> Found:
    library = Library([])
    for piece in pieces:
        library.take(piece)
    return library.found


def by_both(pieces: Sequence[bytes], limit: int = 10**6) -> Found:
    """Whole data frames by the reader, the rest by wsproto; what is torn at the end, too."""
    found: Found = []
    library, reader = Library(found), FrameReader(limit, masked=True)

    def collect() -> None:
        found.extend(("message", message) for message in reader.messages)
        reader.messages.clear()

    for piece in pieces:
        reader.take(piece)
        collect()
        while reader.odd:
            library.take(reader.odd)
            if library.over:
                return found
            reader.go_on()
            collect()
    library.take(reader.give_up())
    return found


@given(data=wire_bytes(), cuts=chunks_of())
@example(data=frame(TEXT, b"x") * 3 + close_frame(1000) + frame(TEXT, b"y"), cuts=[1])
def test_nothing_is_read_otherwise_than_by_the_library(data: bytes, cuts: list[int]) -> None:
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert by_both(pieces) == by_the_library([data])


@given(messages=st.lists(st.text() | st.binary(max_size=300), max_size=8), data=st.data())
def test_whole_messages_never_reach_the_library(
    messages: list[str | bytes], data: st.DataObject
) -> None:
    frames = whole_frames(messages, masked=True)
    reader = FrameReader(LIMIT, masked=True)
    place = 0
    while place < len(frames):
        size = data.draw(st.integers(1, 50))
        reader.take(frames[place : place + size])
        place += size
        assert not reader.odd
    assert reader.messages == messages


def test_a_client_reads_frames_without_a_mask() -> None:
    reader = FrameReader(LIMIT, masked=False)
    for sent in ("text", b"\0" * 200):
        reader.take(whole_frames([sent], masked=False))
    assert reader.messages == ["text", b"\0" * 200]


ODD: dict[str, tuple[bytes, bytes]] = {
    "a ping": (frame(PING, b"p"), b""),
    "several pongs": (frame(PONG, b"p") * 3, b""),
    "a message in fragments": (
        frame(TEXT, b"a", fin=False) + frame(PING) + frame(0, b"b", fin=False) + frame(0, b"c"),
        b"",
    ),
    "the beginning of one": (frame(BINARY, b"a", fin=False), b""),
    "a close and all behind it": (close_frame(1000) + frame(TEXT, b"late"), b"and more"),
    "text that is not utf-8": (frame(TEXT, b"\xff"), b""),
    "a reserved bit": (bytes([0xC1, 0x80]), b"and more"),
    "no mask": (frame(TEXT, b"xyz", masked=False), b"and more"),
    "a ping too long": (frame(PING, bytes(126)), b"and more"),
    "a length longer than it need be": (bytes([0x82, 0xFE, 0, 5]) + bytes(9), b"and more"),
    "more than the limit": (frame(BINARY, bytes(LIMIT + 1)), b"and more"),
    "the beginning of more than the limit": (frame(BINARY, bytes(LIMIT + 1))[:9], b"and more"),
    "far more": (frame(BINARY, bytes(70000))[:20], b"and more"),
    "a message within a message": (
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        b"and more",
    ),
    "a continuation of nothing": (frame(0, b"a"), b"and more"),
}


@pytest.mark.parametrize(("sent", "more"), ODD.values(), ids=list(ODD))
def test_what_is_odd_is_handed_on_whole_and_in_its_place(sent: bytes, more: bytes) -> None:
    """*more* says that nothing is looked at any more: all that comes is handed on."""
    reader = FrameReader(LIMIT, masked=True)
    reader.take(frame(TEXT, b"before") + sent + more)
    assert (reader.messages, reader.odd) == (["before"], sent + more)
    reader.go_on()
    assert reader.odd == b""
    reader.take(more or frame(PING))
    assert reader.odd == (more or frame(PING))


def test_what_is_behind_odd_frames_waits_until_they_are_taken() -> None:
    reader = FrameReader(LIMIT, masked=True)
    reader.take(frame(PING, b"1") + frame(TEXT, b"a") + frame(PING, b"2") + frame(TEXT, b"b")[:3])
    assert (reader.messages, reader.odd) == ([], frame(PING, b"1"))
    reader.go_on()
    assert (reader.messages, reader.odd) == (["a"], frame(PING, b"2"))
    reader.go_on()
    assert reader.odd == b""
    reader.take(frame(TEXT, b"b")[3:])
    assert reader.messages == ["a", "b"]


def test_a_message_of_more_than_64_kib_is_the_librarys_when_it_is_whole() -> None:
    reader = FrameReader(100_000, masked=True)
    sent = frame(BINARY, bytes(70_000))
    for place in range(0, len(sent), 1000):
        assert not reader.odd
        reader.take(sent[place : place + 1000])
    assert reader.odd == sent


def test_who_gives_up_gets_every_byte_that_was_not_taken_apart() -> None:
    for sent, taken in (
        (frame(TEXT, b"a") + frame(TEXT, b"torn")[:5], frame(TEXT, b"a")),
        (frame(PING) + frame(TEXT, b"behind"), b""),
        (frame(TEXT, b"a") + frame(CLOSE), frame(TEXT, b"a")),
    ):
        reader = FrameReader(LIMIT, masked=True)
        reader.take(sent)
        assert taken + reader.give_up() == sent
        assert reader.odd == b""
        reader.take(b"more")
        assert reader.odd == b"more"
