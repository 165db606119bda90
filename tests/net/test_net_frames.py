"""Frames made quickly are the frames that a general implementation reads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

from minivoice_ref.net.frames import whole_frames

MESSAGES = st.lists(st.text() | st.binary(max_size=300), max_size=5)


def read(frames: bytes, *, masked: bool) -> list[str | bytes]:
    """The messages that wsproto finds in *frames*; each has to be whole."""
    reader = Connection(ConnectionType.SERVER if masked else ConnectionType.CLIENT)
    reader.receive_data(frames)
    found: list[str | bytes] = []
    whole = True
    for event in reader.events():
        assert isinstance(event, (TextMessage, BytesMessage))
        if whole:
            found.append(event.data if isinstance(event.data, str) else bytes(event.data))
        else:
            found[-1] += event.data  # type: ignore[operator]  # both of one kind
        whole = event.message_finished
    assert whole
    return found


@given(messages=MESSAGES, masked=st.booleans())
def test_what_is_written_is_read(messages: Sequence[str | bytes], masked: bool) -> None:
    assert read(whole_frames(messages, masked=masked), masked=masked) == messages


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 127, 65535, 65536, 70001])
@pytest.mark.parametrize("masked", [True, False])
def test_every_length_of_the_header_is_right(size: int, masked: bool) -> None:
    message = bytes(range(256)) * (size // 256 + 1)
    assert read(whole_frames([message[:size]], masked=masked), masked=masked) == [message[:size]]
    assert read(whole_frames(["x" * size], masked=masked), masked=masked) == ["x" * size]


def test_each_frame_has_a_mask_of_its_own() -> None:
    frames = [whole_frames([b"\0\0\0\0"] * 2, masked=True) for _ in range(20)]
    keys = {frame[start : start + 4] for frame in frames for start in (2, 12)}
    assert len(keys) == 40
