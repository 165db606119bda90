"""Every way in which a stream can end, and the close code that the platform then sees.

    what                code    by           when
    ------------------  ------  -----------  -------------------------------------------------------
    `stopped`           1000    platform     a stop message came
    `closed`            its     platform     it closed the WebSocket; 1006 where it vanished
    `broken`            1002 …  platform     it sent what cannot be: 1002, 1003, 1007, 1009
    `call_ended`        1000    us           `call.completed` or `call.failed` came; `linger` passed
    `no_message`        1008    us           nothing came after the opening (`first_message`)
    `silent`            1008    us           nothing came for too long (`silence`)
    `no_pong`           1008    us           a ping went unanswered (`pong`): probably it is gone
    `too_fast`          1008    us           too many messages came (`message_rate`)
    `too_long`          1008    us           the longest stream was reached (`longest_stream`)
    `draining`          1001    us           the server goes, and the grace is over
    `on_stream_raised`  1011    application  `on_stream` failed
    `on_stream_closed`  1000    application  it called `stream.close()`
    `aborted`           1006    application  it called `stream.abort()`: no goodbye at all
    `failed`            1011    us           a fault of ours

1008 is ours for a policy that the platform's silence broke; RFC 6455 section 7.4.1 has the rest.
An ending that is an error has the `error` code of the catalogue. The first ending of a stream is
the one that counts. Read next: `media_stream.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from minivoice_ref.net.media_socket import GOING_AWAY, goodbye_code
from minivoice_ref.protocol.errors import MiniVoiceError

__all__ = [
    "ABORTED",
    "CLOSED_BY_APPLICATION",
    "DRAINING",
    "FAILED",
    "NO_PONG",
    "RAISED",
    "STOPPED",
    "TOO_FAST",
    "Ending",
    "OnStreamFailed",
    "no_message",
    "broken",
    "call_ended",
    "closed",
    "is_cancellation",
    "silent",
    "too_long",
]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ends: its name in the log, the close code, the reason that the peer is told.

    `why` says more than a peer is told; it goes into the log alone, as does `error`, the code of
    the error catalogue, None where all is well.
    """

    what: str
    code: int
    reason: str
    by: Literal["platform", "us", "application"]
    why: str | None = None
    error: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What the log says of it."""
        told = {"code": self.error, "how": self.what, "close_code": self.code, "by": self.by}
        return told | {"reason": self.reason or None, "why": self.why}


STOPPED = Ending("stopped", 1000, "the stream was stopped", "platform")
DRAINING = Ending("draining", 1001, "the server is going away", "us", error="MV-508")
NO_PONG = Ending("no_pong", 1008, "no answer to a ping", "us", error="MV-506")
TOO_FAST = Ending("too_fast", 1008, "too many messages", "us", error="MV-513")
FAILED = Ending("failed", 1011, "internal error", "us", error="MV-702")
RAISED = Ending("on_stream_raised", 1011, "internal error", "application", error="MV-509")
CLOSED_BY_APPLICATION = Ending("on_stream_closed", 1000, "", "application")
ABORTED = Ending("aborted", 1006, "", "application", error="MV-510")

_GOOD_CLOSES = (1000, 1001, 1005)  # done; going away; no code was given


class OnStreamFailed(MiniVoiceError):
    """`on_stream` raised what is the cause of this; the streams' log has been told."""


def closed(code: int, reason: str) -> Ending:
    """The platform closed the WebSocket, or it vanished (1006)."""
    error = "MV-501" if code == 1006 else "MV-502"
    return Ending("closed", code, reason, "platform", error=None if code in _GOOD_CLOSES else error)


def broken(code: int, why: str) -> Ending:
    """The platform sent what a stream cannot go on after."""
    error = "MV-504" if code == 1009 else "MV-503"
    return Ending("broken", code, "protocol error", "platform", why, error)


def call_ended(status: str | None) -> Ending:
    """The call is over; *status* is what the webhook said of it."""
    return Ending("call_ended", 1000, f"the call has ended: {status or 'unknown'}"[:100], "us")


def no_message(seconds: float) -> Ending:
    """Nothing came within so many seconds of the opening."""
    return Ending("no_message", 1008, f"no message in {seconds:g} s", "us", error="MV-401")


def silent(seconds: float) -> Ending:
    """Nothing came for so many seconds."""
    return Ending("silent", 1008, f"no message for {seconds:g} s", "us", error="MV-505")


def too_long(seconds: float) -> Ending:
    """The stream lasted as long as one may."""
    return Ending("too_long", 1008, f"longer than {seconds:g} s", "us", error="MV-507")


def is_cancellation(error: BaseException) -> bool:
    """Whether somebody told us to end, as against something having failed."""
    return goodbye_code(error) == GOING_AWAY
