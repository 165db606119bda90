"""What must hold of the fast reading of frames: what wsproto reads, however the bytes are cut.

No sockets, no tasks: `FrameReader` and wsproto are driven by hand as `fast_wire.py` and the library
drive them, some thousand times a second. `fuzzed_frames.py` does the same through whole sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fuzzed_http import pieces_of
from reference_frames import WAITING, read_frames
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping

from minivoice_ref.net.fast_wire import _Collector
from minivoice_ref.net.frame_reader import FrameReader
from minivoice_ref.net.manners import Manners
from minivoice_ref.net.media_socket import End, Ending

LIMIT = 300  # bytes of a message
_MOST_TORN = LIMIT + 14  # with the longest head there is


@dataclass
class _Side:
    """One way to read, as far as it has come. It stands in for the link below a library, too."""

    ending: Ending = field(default_factory=Ending)
    messages: list[str | bytes] = field(default_factory=list)
    said: bytes = b""
    _parts: list[Any] = field(default_factory=list)

    def let_go(self) -> None:
        """There is no reader task to end."""

    @property
    def outcome(self) -> tuple[list[str | bytes], End | None, bytes]:
        """All that the application, the log and the peer are told."""
        return self.messages, self.ending.end, self.said

    def feed(self, library: Manners, data: bytes | None) -> None:
        """Let the library take *data*, or the end of it all, and answer as its reader does."""
        library.receive_data(data)  # type: ignore[arg-type]  # wsproto takes None for the end
        for event in library.events():
            self._answer(library, event)

    def _answer(self, library: Manners, event: Event) -> None:
        if isinstance(event, Ping):
            self.said += library.send(event.response())
        elif isinstance(event, Message):
            self._parts.append(event.data)
            if event.message_finished:
                self.messages.append(type(event.data)().join(self._parts))
                self._parts = []
        elif isinstance(event, CloseConnection):
            if library.state is ConnectionState.REMOTE_CLOSING:
                self.said += library.send(event.response())
            else:
                self.ending.note(int(event.code), event.reason or "", by_peer=True)


def _slowly(pieces: Sequence[bytes]) -> _Side:
    """Everything through wsproto."""
    side = _Side()
    library = Manners(Connection(ConnectionType.SERVER), LIMIT, side)  # type: ignore[arg-type]
    for piece in (*pieces, None):
        if side.ending.end is None:
            side.feed(library, piece)
    return side


def _quickly(pieces: Sequence[bytes]) -> _Side:
    """Whole messages through the fast reader, and only what it calls odd through wsproto."""
    side, frames = _Side(), FrameReader(LIMIT, masked=True)
    below = Connection(ConnectionType.SERVER)
    library = _Collector(below, LIMIT, side, frames)  # type: ignore[arg-type]
    side.messages = frames.messages
    for piece in pieces:
        frames.take(piece)
        while frames.odd:
            side.feed(library, frames.odd)
            if side.ending.end is not None:
                return side
            frames.go_on()
        assert len(frames._torn) < _MOST_TORN
    side.feed(library, frames.give_up())
    if side.ending.end is None:
        side.feed(library, None)
    return side


def check_reader(data: bytes, cuts: Sequence[int]) -> None:
    """The fast reading is told from wsproto's by nobody; both are what the RFC says.

    Where the RFC leaves open which of two breaches is noticed, wsproto alone answers one or the
    other, as the bytes are cut: there both need only be right. It is given them whole, for its
    words, too, depend on how they are cut.
    """
    expected = read_frames(data, LIMIT)
    quick, slow = _quickly(pieces_of(data, cuts)), _slowly([data])
    if len(expected.codes - {WAITING}) < 2:
        assert quick.outcome == slow.outcome, (quick.outcome, slow.outcome)
    for side in (quick, slow):
        assert side.messages == expected.messages, (side, expected)
        assert side.ending.end is not None and side.ending.end.code in expected.codes
