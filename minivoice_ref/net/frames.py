"""WebSocket frames of whole messages, made quickly, for whoever sends many.

A sender of audio makes 50 a second and track. What it sends is always one whole message, so that
none of what a general implementation keeps track of is needed: a header, a mask, the bytes.

It must not know sockets, nor whether a frame may be sent now. Read next: `websocket.py`.

Facts: RFC 6455 section 5.2, the frame; section 5.3, a client masks each frame with a key of its own
that nobody can predict.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from minivoice_ref.protocol.media import WireMessage

__all__ = ["lay_mask", "whole_frames"]

_TEXT, _BINARY = 0x81, 0x82  # with FIN: the message ends with this frame
_MASKED = 0x80
_number = int.from_bytes


def whole_frames(messages: Sequence[WireMessage], *, masked: bool) -> bytes:
    """The frames of *messages*, one for each; *masked* as a client has to."""
    keys = os.urandom(4 * len(messages)) if masked else b""
    parts = []
    for place, message in enumerate(messages):
        if isinstance(message, str):
            opcode, payload = _TEXT, message.encode()
        else:
            opcode, payload = _BINARY, message
        parts.append(_head(opcode, len(payload), _MASKED if masked else 0))
        if masked:
            key = keys[4 * place : 4 * place + 4]
            parts.append(key)
            payload = lay_mask(payload, key)
        parts.append(payload)
    return b"".join(parts)


def _head(opcode: int, size: int, mask: int) -> bytes:
    if size < 126:
        return bytes((opcode, mask | size))
    if size < 65536:
        return bytes((opcode, mask | 126)) + size.to_bytes(2)
    return bytes((opcode, mask | 127)) + size.to_bytes(8)


def lay_mask(payload: bytes, key: bytes) -> bytes:
    """Lay the mask *key* over *payload*, or take it off (RFC 6455 section 5.3).

    Both as one large number: a loop over the bytes would be 100 times slower.
    """
    size = len(payload)
    mask = _number(key * (size // 4 + 1), "little")
    return (_number(payload, "little") ^ mask).to_bytes(size + 4, "little")[:size]
