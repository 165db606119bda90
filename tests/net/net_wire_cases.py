"""Hypothesis strategies for what a peer may send after the handshake: good, odd, wrong, torn."""

from __future__ import annotations

import struct

from hypothesis import strategies as st
from net_parties import BINARY, CLOSE, PING, PONG, TEXT, frame

from minivoice_ref.net.frames import lay_mask

__all__ = ["chunks_of", "wire_bytes"]

_TEXTS = st.text(max_size=40).map(str.encode) | st.sampled_from(
    [b"", b"\xff", "é".encode()[:1], b"a" * 125, b"a" * 126, b"\xed\xa0\x80", b"a" * 700]
)
_DATA = st.binary(max_size=40) | st.sampled_from([b"", bytes(125), bytes(126), bytes(700)])
_CODES = st.sampled_from([999, 1000, 1001, 1004, 1005, 1006, 1014, 1015, 2999, 3000, 4999, 5000])


def _masked(payload: bytes, opcode: int, *, fin: bool = True, key: bytes = b"\1\2\3\4") -> bytes:
    """A frame with a mask that is not all zeros."""
    head = frame(opcode, payload, fin=fin)
    head = head[: len(head) - len(payload) - 4]
    return head + key + lay_mask(payload, key)


_whole = st.builds(_masked, _TEXTS, st.just(TEXT)) | st.builds(_masked, _DATA, st.just(BINARY))
_control = st.builds(_masked, st.binary(max_size=20), st.sampled_from([PING, PONG]))
_close = st.builds(
    lambda code, reason: _masked(struct.pack("!H", code) + reason, CLOSE),
    _CODES,
    st.sampled_from([b"", b"bye", b"\xff"]),
) | st.builds(_masked, st.binary(max_size=3), st.just(CLOSE))


@st.composite
def _fragments(draw: st.DrawFn) -> bytes:
    """A message in fragments, with control frames between, that may never end."""
    opcode, payloads = draw(
        st.tuples(st.just(TEXT), st.lists(_TEXTS, min_size=2, max_size=4))
        | st.tuples(st.just(BINARY), st.lists(_DATA, min_size=2, max_size=4))
    )
    sent = b""
    for place, payload in enumerate(payloads):
        last = place == len(payloads) - 1
        sent += _masked(payload, 0 if place else opcode, fin=last and draw(st.booleans()))
        sent += draw(st.just(b"") | _control)
    return sent


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """A frame with a head that may be wrong in every way."""
    first = draw(st.integers(0, 255))
    second = draw(st.integers(0, 255) | st.sampled_from([0x80, 0x81, 0xFE, 0xFF]))
    return bytes([first, second]) + draw(st.binary(max_size=20))


def wire_bytes() -> st.SearchStrategy[bytes]:
    """The bytes of a stream: mostly good frames, then perhaps something else."""
    good = st.lists(_whole | _control | _fragments(), max_size=5)
    end = st.just(b"") | _close | _spoiled() | st.builds(lambda sent: sent[:-1], _whole)
    return st.builds(
        lambda before, odd, after: b"".join([*before, odd, *after]),
        good,
        end,
        st.lists(_whole, max_size=2),
    )


def chunks_of() -> st.SearchStrategy[list[int]]:
    """Places at which to cut: some near each other, some far apart."""
    steps = st.lists(st.integers(1, 3) | st.integers(1, 300), max_size=12)
    return steps.map(lambda sizes: [sum(sizes[: n + 1]) for n in range(len(sizes))])
