"""Does a message cost more where there are more streams? It should not.

A few streams speak in real time over TLS, while more and more others are open and silent: what a
message costs then shows whether anything is done for each stream that is there. The last column is
the cost against that with nobody silent.

    python -m benchmarks.scaling --totals 1,20,100,300,1000 --speaking 20
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.figures import median, spread
from benchmarks.measure import Result, measure_real_time, open_bench
from benchmarks.servers import OURS
from benchmarks.table import Column, listed, new_parser, print_table, write_results

_COLUMNS: tuple[Column, ...] = (
    ("streams", 8),
    ("speaking", 8),
    ("us/message", 20),
    ("lag p50 ms", 10),
    ("p99 ms", 18),
    ("KB/stream", 10),
    ("client p99 ms", 13),
    ("against none silent", 20),
)


def main() -> int:
    """Measure each number of streams, several times, and tell."""
    how = _arguments()
    rounds: list[dict[int, Result]] = []
    with open_bench() as bench:
        for _ in range(how.repeat):
            rounds.append({})
            for total in how.totals:
                speaking = min(total, how.speaking)
                rounds[-1][total] = measure_real_time(
                    bench, OURS, speaking, how.seconds, idle=total - speaking
                )
    print_table(_COLUMNS, [_row(total, how.speaking, rounds) for total in how.totals])
    found = [result.to_json() for results in rounds for result in results.values()]
    write_results(how.output, how, runs=found)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("scaling", __doc__, seconds=3)
    parser.add_argument(
        "--totals",
        type=listed(int),
        default=[1, 20, 100, 300, 1000],
        metavar="N,N,…",
        help="how many streams are open (default 1,20,100,300,1000)",
    )
    parser.add_argument(
        "--speaking", type=int, default=20, help="how many of them speak at most (default 20)"
    )
    return parser.parse_args()


def _row(total: int, speaking: int, rounds: list[dict[int, Result]]) -> list[object]:
    results = [results[total] for results in rounds]
    growth = [
        results[total].cpu_us / results[speaking].cpu_us
        for results in rounds
        if speaking in results and total >= speaking
    ]
    return [
        total,
        min(total, speaking),
        spread([result.cpu_us for result in results]),
        f"{median([result.lag_p50_ms for result in results]):.2f}",
        spread([result.lag_p99_ms for result in results], 2),
        f"{median([result.kilobytes for result in results]):.1f}",
        f"{median([result.late_ms for result in results]):.2f}",
        spread(growth, 2) if growth else "",
    ]


if __name__ == "__main__":
    sys.exit(main())
