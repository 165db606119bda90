"""How late things happened, counted in buckets: cheap to add to, small however much is added.

A sender adds to it 50 times a second and track, so `add` is one search in a short tuple and three
additions. The bounds of the buckets are the preferred numbers of the series R20, 12 % apart, which
has 1, 2 and 5 of every decade: counts over 5 ms and over 20 ms are exact. Percentiles are rounded
up to a bound; number, sum and maximum are exact.

It must not know what is late, nor read a clock. Read next: `sender.py`, which adds to it, and
`load_report.py`, which tells of it.

Fact: ISO 3, preferred numbers, series R20.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left

__all__ = ["Lateness"]

_R20 = (
    *("1.00", "1.12", "1.25", "1.40", "1.60", "1.80", "2.00", "2.24", "2.50", "2.80"),
    *("3.15", "3.55", "4.00", "4.50", "5.00", "5.60", "6.30", "7.10", "8.00", "9.00"),
)
_DECADES = range(-5, 2)
# Read from text, so that the bound 5.00e-3 is the same number as a literal 0.005.
_BOUNDS = tuple(float(f"{n}e{decade}") for decade, n in itertools.product(_DECADES, _R20))
"""Upper bounds of the buckets, inclusive, 10 microseconds to 90 s; one more bucket has no bound."""


class Lateness:
    """A histogram of seconds. What is early counts as 0 s late."""

    __slots__ = ("_counts", "count", "maximum", "total")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        """Count something that was *seconds* late."""
        if seconds < 0.0:
            seconds = 0.0
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self.count += 1
        self.total += seconds
        if seconds > self.maximum:
            self.maximum = seconds

    def merge(self, other: Lateness) -> None:
        """Count everything that *other* has counted as well."""
        self._counts = [
            mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)
        ]
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0.0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds that *percent* of everything did not exceed, at most 12 % too high; 0.0 of none.

        Raises ValueError unless *percent* is from 0 to 100.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is not a percentage")
        seen = 0
        for bound, number in zip(_BOUNDS, self._counts, strict=False):  # the last has none
            seen += number
            if number and seen * 100 >= percent * self.count:
                return min(bound, self.maximum)
        return self.maximum

    def over(self, seconds: float) -> int:
        """How many were more than *seconds* late; exact.

        Raises ValueError unless *seconds* is the bound of a bucket: 1, 2 or 5 of a decade is.
        """
        place = bisect_left(_BOUNDS, seconds)
        if _BOUNDS[place : place + 1] != (seconds,):
            raise ValueError(f"{seconds} s is not the bound of a bucket")
        return sum(self._counts[place + 1 :])

    def to_json(self) -> dict[str, float]:
        """The figures as `load --json` and the benchmark print them, in milliseconds."""
        percentiles = {f"p{p}_ms": round(self.percentile(p) * 1000, 3) for p in (50, 90, 99)}
        return {
            "count": self.count,
            "mean_ms": round(self.mean * 1000, 3),
            **percentiles,
            "max_ms": round(self.maximum * 1000, 3),
            "over_5_ms": self.over(0.005),
            "over_20_ms": self.over(0.02),
        }
