"""Limits that somebody is over, and other floods: a line in the log once, then counted.

Who floods a receiver must not flood its log as well. So the first refusal by a limit has a line;
those of the next minute are counted, and the first one after it has a line that says how many there
were. `/health` has the sums, and the last line of an orderly end says what was not told yet.

Trouble on connections that come to nothing (silent ones, no TLS, no HTTP), and requests that are
refused for what they are (no token, no signature, no such path), are no limit's matter; of each
kind fifty lines a minute are written, and the next one says how many were not.

Read next: `live_streams.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import trio

from minivoice_ref.receiver.journal import Journal

__all__ = ["Overruns"]

_QUIET = 60.0  # seconds between two lines about one limit
_RATION = 50  # lines about one kind of trouble in that time


class Overruns:
    """Counts refusals by a limit, by the limit's name in `Limits`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._counts: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}
        self._rations: dict[str, tuple[float, int]] = {}
        self._left_out: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """How many were refused by each limit."""
        return dict(self._counts)

    def count(self, limit: str, code: str, **fields: Any) -> None:
        """Count a refusal. *code* and *fields* go into the line, if there is one."""
        self._counts[limit] += 1
        now = trio.current_time()
        if now - self._told_at.get(limit, -_QUIET) >= _QUIET:
            self._told_at[limit] = now
            self._tell(limit, code=code, **fields)

    def has_ration(self, kind: str) -> bool:
        """Whether another line may be written about trouble of this *kind*; else it is counted."""
        now = trio.current_time()
        since, lines = self._rations.get(kind, (now, 0))
        if now - since >= _QUIET:
            since, lines = now, 0
        self._rations[kind] = since, lines + 1
        if lines >= _RATION:
            self._left_out[kind] += 1
            return False
        return True

    def left_out(self, kind: str) -> int | None:
        """How many lines about a *kind* were not written since this was last asked; None for 0."""
        return self._left_out.pop(kind, None)

    def tell_the_rest(self) -> None:
        """Log what was counted and has no line."""
        for limit in self._counts:
            if self._counts[limit] > self._told[limit]:
                self._tell(limit)

    def _tell(self, limit: str, **fields: Any) -> None:
        new = self._counts[limit] - self._told[limit]
        self._told[limit] = self._counts[limit]
        self._journal.note("streams", "limit", limit=limit, refused=new, **fields)
