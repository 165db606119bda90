"""Medians, ranges and percentiles of what was measured.

A `Histogram` counts durations in steps of 20 µs: adding one costs the same however many there are,
which matters where a server that is measured has to count its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

__all__ = ["Histogram", "median", "spread"]

_STEPS_A_SECOND = 50_000
_LONGEST = 10 * _STEPS_A_SECOND


class Histogram:
    """How many durations were how long, to 20 µs; what lasts over 10 s counts as 10 s."""

    def __init__(self, counts: Iterable[tuple[int, int]] = ()) -> None:
        """A histogram of nothing, or of what `pairs` of another one returned."""
        self._counts = array("Q", bytes(8 * (_LONGEST + 1)))
        for step, count in counts:
            self._counts[min(step, _LONGEST)] += count

    def add(self, seconds: float) -> None:
        """Count one duration; one below zero counts as zero."""
        step = int(seconds * _STEPS_A_SECOND)
        self._counts[step if 0 <= step < _LONGEST else (0 if step < 0 else _LONGEST)] += 1

    def pairs(self) -> list[tuple[int, int]]:
        """The steps in which there is something, each with how much."""
        return [(step, count) for step, count in enumerate(self._counts) if count]

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def percentile(self, percent: float) -> float:
        """Milliseconds that *percent* of the durations do not exceed; 0 where there are none."""
        wanted, seen = self.count * percent / 100, 0
        for step, count in self.pairs():
            seen += count
            if seen >= wanted:
                return round((step + 1) * 1000 / _STEPS_A_SECOND, 2)
        return 0.0


def median(values: Sequence[float]) -> float:
    """The middle one of *values*, or the mean of the middle two."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`median (least–most)`; the median alone where there is one value."""
    middle = f"{median(values):.{digits}f}"
    if len(values) < 2:
        return middle
    return f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"
