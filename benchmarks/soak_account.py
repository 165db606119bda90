"""What a soak has found: sums of what was sent, what the receiver says it got, what is lost.

Both sides are asked. The callers say what they sent and what was acknowledged; the receiver's inbox
and its logs, read from its folder when all is over, say what has become of it.

Knows no processes and no time. Read next: `soak.py`.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minivoice_ref.receiver.log_files import last_lines
from minivoice_ref.simulator.lateness import Lateness
from minivoice_ref.simulator.report import CallReport

__all__ = ["MOST_GROWTH", "Soak", "growth"]

MOST_GROWTH = 2.0
"""Percent by which memory may grow after the warm-up."""

_WARM_UP = 0.4  # of a process's life
_EVERYTHING = 1 << 40  # bytes of a log
_GOOD = 0.9  # of the streams without a fault that have to come whole

Sample = tuple[float, int]
"""When, in seconds, and how much memory, in kilobytes."""


@dataclass
class Soak:
    """What was done, and what came of it. *data* is the receiver's folder."""

    data: Path
    sums: Counter[str] = field(default_factory=Counter)
    lateness: Lateness = field(default_factory=Lateness)
    lives: list[list[Sample]] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    _events: set[tuple[str, str]] = field(default_factory=set)
    _sent: dict[str, int] = field(default_factory=dict)

    def add(self, report: CallReport, *, faulty: bool, unruly: bool, stopping: bool) -> None:
        """Add a call that is over. *stopping*: the receiver was going away during it."""
        sums = self.sums
        sums["calls"] += 1
        sums["calls with a fault"] += faulty
        sums["calls with webhooks twice and out of order"] += unruly
        sums["calls turned away while it went"] += stopping and report.answer_seconds is None
        for webhook in report.webhooks:
            sums["webhooks delivered"] += webhook.attempts + webhook.duplicates
            sums["webhooks given up"] += not webhook.accepted
            if webhook.accepted:
                self._events.add((report.call_id, webhook.event))
        for stream in report.streams:
            frames = sum(track.frames for track in stream.sent.values())
            sums["streams"] += 1
            sums["frames"] += frames
            self.lateness.merge(stream.lateness)
            if faulty or (stopping and stream.refused_with is not None):
                continue
            sums["streams without a fault"] += 1
            if stream.fault is None:
                self._sent[report.call_id] = frames
            else:
                sums["of these, not whole"] += 1

    @property
    def waiting(self) -> int:
        """How many events the receiver has accepted and not handled yet."""
        return len(self._in_the_inbox("waiting"))

    def figures(self) -> dict[str, Any]:
        """All sums, and what is lost: the numbers that have to be 0 and the memory's growth."""
        handled = Counter(
            (line["call_id"], line["event"])
            for line in self._log("webhooks")
            if line["what"] == "handled"
        )
        kept = self._in_the_inbox("handled")
        return {
            **self.sums,
            "frames late by ms, p99": round(self.lateness.percentile(99) * 1000, 1),
            "streams at a time, mean": round(statistics.fmean(self.streams), 1),
            "streams at a time, most": max(self.streams),
            "events acknowledged": len(self._events),
            "events lost": len(self._events - kept) + len(self._events - set(handled)),
            "events handled twice": sum(handled.values()) - len(handled),
            "frames lost": self._lost_frames(),
            "memory growth in percent": [growth(life) for life in self.lives],
            "most memory in MB": round(max(kb for life in self.lives for _, kb in life) / 1024, 1),
        }

    def broken(self, *, judges_memory: bool) -> list[str]:
        """The promises that were not kept."""
        found = self.figures()
        names = ("events lost", "events handled twice", "frames lost", "webhooks given up")
        broken = [f"{name}: {found[name]}" for name in names if found.get(name)]
        whole = len(self._sent)
        if whole < _GOOD * self.sums["streams without a fault"] or not whole:
            broken.append(f"only {whole} streams without a fault came whole")
        if judges_memory and max(found["memory growth in percent"]) >= MOST_GROWTH:
            broken.append(f"memory grew by {found['memory growth in percent']} %")
        return broken

    def _in_the_inbox(self, state: str) -> set[tuple[str, str]]:
        database = sqlite3.connect(f"file:{self.data / 'inbox.sqlite3'}?mode=ro", uri=True)
        rows = database.execute("SELECT call_id, event FROM events WHERE state = ?", (state,))
        found = set(rows.fetchall())
        database.close()
        return found

    def _lost_frames(self) -> int:
        """Sent into streams without a fault that were stopped, and not in their accounts."""
        received: Counter[str] = Counter()
        for line in self._log("streams"):
            if line["what"] == "account" and line.get("call_id") in self._sent:
                received[line["call_id"]] += sum(t["frames"] for t in line["tracks"].values())
        return sum(max(0, frames - received[call]) for call, frames in self._sent.items())

    def _log(self, name: str) -> Iterator[dict[str, Any]]:
        return map(json.loads, last_lines(self.data, name, _EVERYTHING))


def growth(life: Sequence[Sample]) -> float:
    """By how many percent memory grows from the end of the warm-up to the end of a life.

    A line is laid through all samples between, so that one that happens to be high is no growth.
    """
    if not life:
        return 0.0
    warm = life[0][0] + (life[-1][0] - life[0][0]) * _WARM_UP
    kept = [sample for sample in life if sample[0] >= warm]
    if len(kept) < 3:
        return 0.0
    slope, level = statistics.linear_regression(*zip(*kept, strict=True))
    first, last = (level + slope * at for at in (kept[0][0], kept[-1][0]))
    return round((last - first) / first * 100, 2)
