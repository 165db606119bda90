"""What a media message costs in function calls, from the socket's message to the application.

The other half of `tests/net/test_net_calls_counted.py`: who adds a call to the way of each message
will have to say so here.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import minivoice_ref
from minivoice_ref.config import Config
from minivoice_ref.net.frames import whole_frames
from minivoice_ref.net.sockets import A_TURN
from minivoice_ref.protocol.dialects.detect import encoder_named
from minivoice_ref.protocol.media import MediaFormat, Started, WireMessage
from minivoice_ref.receiver import media_stream
from minivoice_ref.receiver.intake import Intake, new_session
from minivoice_ref.receiver.media_stream import Frame, HandOver

OURS = str(Path(minivoice_ref.__file__).parent)
TICKS = 50
STARTED = Started(
    "twilio",
    MediaFormat(),
    ("inbound", "outbound"),
    stream_id="MZ1",
    call_id="CA1",
    account_id="AC",
)


def script(ticks: int) -> tuple[list[WireMessage], list[WireMessage]]:
    """What opens a stream, and both tracks of its audio."""
    encoder = encoder_named("twilio")
    opening = [*encoder.connected(), *encoder.start(STARTED)]
    media: list[WireMessage] = []
    for tick in range(ticks):
        for track in STARTED.tracks:
            media += encoder.media(track, bytes([tick % 256]) * 160, tick * 20)
    return opening, media


async def test_a_message_costs_no_more_calls_than_it_must() -> None:  # noqa: ASYNC910
    config = Config(plain=True, listen="127.0.0.1:0")
    hand_over = HandOver(60.0, lambda lagging: None)
    intake = Intake(
        new_session(config),
        hand_over,
        config.limits,
        note=lambda what, **fields: None,
        on_start=lambda started: None,
        age=lambda: 1.0,
    )
    opening, media = script(TICKS + 5)
    for message in opening + media[:10]:  # the first ones are told, and teach their form
        intake.take(message)
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, called: Any) -> None:
        if event.endswith("call") and frame.f_code.co_filename.startswith(OURS):
            calls[frame.f_code.co_qualname if event == "call" else called.__qualname__] += 1

    sys.setprofile(note)
    for message in media[10:]:
        intake.take(message)
    sys.setprofile(None)
    each = {name: count / (2 * TICKS) for name, count in calls.items()}
    assert sum(each.values()) <= 23, each
    calls.clear()
    sys.setprofile(note)
    for _ in media:
        assert type(await hand_over.next_item()) is Frame
    sys.setprofile(None)
    each = {name: count / len(media) for name, count in calls.items()}
    assert sum(each.values()) <= 2.2, each


def test_an_application_takes_in_one_turn_what_one_read_brings() -> None:
    """Else a burst, read in one go, would be dropped before it had a chance to take it."""
    _, media = script(1)
    assert A_TURN <= len(whole_frames(media[:1], masked=True)) * media_stream._AT_A_STRETCH
