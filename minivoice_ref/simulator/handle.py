"""A running call in the hands of whoever runs many of them: look at it, end it early.

It must not know how a call is run. Read next: `call.py`, which fills it in and obeys it, and
`load.py`, which holds many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from minivoice_ref.simulator.sender import StreamSender

__all__ = ["CallHandle"]


class CallHandle:
    """One call while it goes on: `streams` are those it has started so far, the ended ones too."""

    def __init__(self) -> None:
        self.hung_up = trio.Event()
        self.streams: Sequence[StreamSender] = ()

    def hang_up(self) -> None:
        """Have the caller hang up now: streams are stopped, `call.completed` is sent.

        Does nothing to a call that is over.
        """
        self.hung_up.set()
