"""The seam to whoever places test calls, and the browser's microphone.

The console shows a form and tells what came of it; placing a call is the simulator's business,
which the console does not know. Whoever opens the console may give it a `TestCaller`.

A call that was ordered goes on when its browser leaves; its microphone is silent then.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import trio

from minivoice_ref.protocol.audio import encode_mulaw
from minivoice_ref.protocol.errors import RemoteProtocolError

__all__ = ["FRAME", "Microphone", "Order", "TestCaller", "read_order"]

FRAME = 160
"""Samples of 20 ms at 8000 a second: what the browser sends at a time, as 16-bit PCM."""

_SILENCE = b"\xff" * FRAME
_MOST_FRAMES = 50  # of the microphone that wait to be spoken: a second
_ENOUGH = 4  # frames that wait before it speaks: what a browser's timing needs
_LONGEST_CALL = 600.0
_MOST_FAULTS = 16
_FAULT = re.compile(r"[a-z-]{1,40}(=[0-9.]{1,20})?")


class Microphone:
    """What a browser's microphone hears, in mu-law frames of 20 ms.

    When a second waits, the oldest is dropped; when nothing waits, there is silence until a little
    has gathered again.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque(maxlen=_MOST_FRAMES)
        self._speaking = False

    def put(self, pcm: bytes) -> None:
        """Add 20 ms, 16-bit little-endian samples at 8000 a second; of another size: ignored."""
        if len(pcm) == 2 * FRAME:
            self._frames.append(encode_mulaw(pcm))

    def take(self) -> bytes:
        """The next 20 ms as mu-law; silence where there is nothing."""
        if not self._frames:
            self._speaking = False
        elif len(self._frames) >= _ENOUGH:
            self._speaking = True
        return self._frames.popleft() if self._speaking else _SILENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A test call as the form has it; `faults` are written `name` or `name=value`.

    Once `hang_up` is set, the caller is to hang up.
    """

    speak: float = 10.0
    track: str = "both"
    dialect: str = "twilio"
    faults: tuple[str, ...] = ()
    microphone: Microphone | None = None
    hang_up: trio.Event = field(default_factory=trio.Event)


class TestCaller(Protocol):
    """Places test calls at the receiver that the console watches."""

    def options(self) -> Mapping[str, Any]:
        """What can be ordered: `dialects`, and `faults` (`name`, `unit`, `default`, `summary`)."""

    async def place(self, order: Order, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Place a call and tell what happens: `call_id`, `moment`s, and at the end the `report`.

        Never raises for what the receiver does. Tells a `problem` where the order cannot be met.
        """


def read_order(given: object, microphone: Microphone | None) -> Order:
    """The order in a browser's command. RemoteProtocolError: it is not of the form's shape."""
    form = given if isinstance(given, dict) else {}
    speak, track, dialect = form.get("speak"), form.get("track"), form.get("dialect")
    faults = form.get("faults", [])
    good = (
        isinstance(speak, (int, float))
        and 0.5 <= speak <= _LONGEST_CALL
        and track in ("inbound", "outbound", "both")
        and isinstance(dialect, str)
        and isinstance(faults, list)
        and len(faults) <= _MOST_FAULTS
        and all(isinstance(one, str) and _FAULT.fullmatch(one) for one in faults)
    )
    if not good:
        raise RemoteProtocolError("an order that the form cannot make", close_code=1008)
    return Order(
        speak=float(speak),  # type: ignore[arg-type]  # it was looked at above
        track=str(track),
        dialect=str(dialect),
        faults=tuple(faults),
        microphone=microphone,
    )
