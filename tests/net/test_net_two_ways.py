"""The fast way and the simple way are fed the same bytes, and nobody can tell them apart.

Neither the application (its messages, how it ended, in whose words) nor the peer (every byte that
it was sent). The bytes are split everywhere; good messages, fragments, control frames, and all that
a peer may not send come in any mix, and behind a Close, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from net_parties import BINARY, PING, TEXT, a_request, close_frame, frame, read_all, read_head
from net_wire_cases import chunks_of, wire_bytes

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.media_socket import SocketClosed
from minivoice_ref.net.websocket import open_accepted
from minivoice_ref.testing import MemoryStream, living_tasks, memory_streams

LIMIT = 200


@dataclass
class Outcome:
    """All that the two ends of a stream can tell of it."""

    messages: list[str | bytes] = field(default_factory=list)
    end: tuple[int, str, bool] | None = None
    heard_goodbye: bool = False
    sent_to_peer: bytes = b""
    seconds: float = 0.0


async def _speak(peer: MemoryStream, pieces: list[bytes]) -> None:
    """Send piece by piece, each when the last one has been read; then nothing more."""
    try:
        for piece in pieces:
            await peer.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        await peer.send_eof()
    except trio.BrokenResourceError:
        await trio.lowlevel.checkpoint()


async def converse(transport: str, pieces: list[bytes], trailing: bytes = b"") -> Outcome:
    """Let a peer send *pieces* to an accepted socket that receives until the end."""
    outcome, before = Outcome(), living_tasks()
    ours, theirs = memory_streams()

    async def listen() -> None:
        await read_head(ours)
        outcome.sent_to_peer = await read_all(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async with open_accepted(
            theirs,
            a_request(),
            trailing=trailing,
            limits=Limits(message=LIMIT),
            timeouts=Timeouts(),
            transport=transport,
        ) as socket:
            nursery.start_soon(_speak, ours, pieces)
            try:
                while True:
                    outcome.messages += await socket.receive()
            except SocketClosed as exc:
                outcome.end = end_of(exc)
        outcome.heard_goodbye = socket.heard_goodbye
    outcome.seconds = trio.current_time()
    await ours.aclose()
    assert living_tasks() == before
    return outcome


def end_of(closed: SocketClosed) -> tuple[int, str, bool]:
    """How it ended. Where in a text it is no text depends on where wsproto's last piece began."""
    reason = re.sub("position [0-9]+", "some position", closed.reason)
    return closed.code, reason, closed.by_peer


def outcome_of(transport: str, pieces: list[bytes], trailing: bytes = b"") -> Outcome:
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(converse, transport, pieces, trailing, clock=clock)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [piece for piece in pieces if piece]


@settings(max_examples=120)
@given(data=wire_bytes(), cuts=chunks_of(), early=st.booleans())
@example(data=frame(TEXT, b"\xff") + frame(TEXT, b"behind"), cuts=[], early=False)
@example(data=frame(TEXT, b"\xff" * 9)[:-1], cuts=[], early=False)
def test_the_same_bytes_have_the_same_outcome(data: bytes, cuts: list[int], early: bool) -> None:
    """With *early*, the first piece was read behind the request's head."""
    pieces = split(data, cuts)
    trailing = pieces.pop(0) if early and pieces else b""
    simple = outcome_of("simple", pieces, trailing)
    assert simple.end is not None
    assert outcome_of("fast", pieces, trailing) == simple


EXACT: dict[str, bytes] = {
    "good ones": frame(TEXT, "é".encode() * 70) + frame(BINARY, bytes(LIMIT)) + close_frame(1000),
    "pings between": frame(PING, b"1") + frame(TEXT, b"a") + frame(PING, b"2") + frame(TEXT, b"b"),
    "fragments": frame(TEXT, b"a", fin=False) + frame(PING) + frame(0, b"b") + frame(TEXT, b"c"),
    "a character across fragments": frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xa9"),
    "too big in pieces": frame(TEXT, b"a" * 150, fin=False) + frame(0, b"a" * 150),
    "too big": frame(BINARY, bytes(LIMIT + 1)) + frame(TEXT, b"behind"),
    "bad text": frame(TEXT, b"good") + frame(TEXT, b"a" * 50 + b"\xff") + frame(TEXT, b"behind"),
}


@pytest.mark.parametrize("data", EXACT.values(), ids=list(EXACT))
def test_wherever_they_are_split(data: bytes) -> None:
    whole = outcome_of("simple", [data])
    step = max(1, len(data) // 100)
    for cut in range(1, len(data), step):
        assert outcome_of("fast", [data[:cut], data[cut:]]) == whole, cut
    assert outcome_of("fast", [data[n : n + 1] for n in range(len(data))]) == whole
