"""What the receiver's parts share while it runs, made once by `server.py` and handed to each.

Nothing here is global: two receivers in one program share nothing. What several processes share
is behind `commons`; `talk` is how its annexes speak with each other, where there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from minivoice_ref.config import Config
from minivoice_ref.receiver.annex import Annex
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.commons import Commons
from minivoice_ref.receiver.disk import Disk
from minivoice_ref.receiver.journal import Journal
from minivoice_ref.receiver.live_streams import LiveStreams
from minivoice_ref.receiver.overruns import Overruns
from minivoice_ref.receiver.spare_memory import give_back_memory
from minivoice_ref.receiver.talk import Talk
from minivoice_ref.receiver.worker import Worker

if TYPE_CHECKING:
    from minivoice_ref.receiver.publisher import Publisher

__all__ = ["Shared"]

_GIVE_BACK_EVERY = 64  # streams that have ended


@dataclass(slots=True, eq=False)
class Shared:
    """The parts of one running receiver.

    `clock` tells Unix seconds. `token_key` signs the stream tokens. `stream_base` is the URL that
    the streams' tokens are appended to, known once the doors are bound. `streams` counts those that
    are looked after, `ended` those that were, `live_streams` the places that are taken. `process`
    is the name of this one of several workers; None where there is one process only. `annex` is
    whoever watches, `publisher` who hands audio on to other machines. `stop` is set to drain.
    """

    app: App
    config: Config
    calls: Calls
    journal: Journal
    commons: Commons
    talk: Talk
    worker: Worker
    overruns: Overruns
    live_streams: LiveStreams
    recordings: Disk
    captures: Disk
    clock: Callable[[], float] = field(repr=False)
    token_key: str = field(repr=False)
    stream_base: str = ""
    process: str | None = None
    streams: int = 0
    ended: int = 0
    stop: trio.Event = field(default_factory=trio.Event)
    annex: Annex | None = None
    publisher: Publisher | None = None

    @contextmanager
    def look_after_stream(self) -> Iterator[None]:
        """Count a stream while the block runs. Now and then what many left is given back."""
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1
            self.ended += 1
            if self.ended % _GIVE_BACK_EVERY == 0:
                give_back_memory()
