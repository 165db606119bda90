"""How many streams does a core hold? Raised until a frame in a hundred is over 20 ms late.

`both` streams in real time over TLS into our receiver as it ships; late is a frame that takes long
from the client's send to the application that reads it. First the number grows by half each time,
then the limit is closed in on, to a twentieth. A number holds where the median of its measurements
does, nothing was lost, and the client itself was in time.

    python -m benchmarks.capacity --seconds 4 --repeat 3
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.figures import median, spread
from benchmarks.measure import Bench, Result, measure_real_time, open_bench
from benchmarks.servers import PEERS, Peer, installed
from benchmarks.table import Column, new_parser, print_table, write_results

_LATE = 20.0  # milliseconds
_GROWTH = 1.5
_CLOSE = 1.05  # how near the number that holds and the one that does not have to be
_COLUMNS: tuple[Column, ...] = (
    ("streams", 8),
    ("msg/s", 7),
    ("us/message", 20),
    ("core %", 7),
    ("lag p50 ms", 10),
    ("p99 ms", 24),
    ("KB/stream", 10),
    ("lost", 6),
    ("client p99 ms", 13),
    ("holds", 6),
)


def main() -> int:
    """Search, and tell."""
    how = _arguments()
    (peer,) = installed([peer for peer in PEERS if peer.program == how.server])
    runs: dict[int, list[Result]] = {}
    with open_bench() as bench:
        most = _search(bench, peer, how, runs)
    print_table(_COLUMNS, [_row(streams, runs[streams]) for streams in sorted(runs)])
    if most:
        print(_conclusion(most, runs[most]))
    found = [result.to_json() for streams in sorted(runs) for result in runs[streams]]
    write_results(how.output, how, peer.packages, streams_a_core=most, runs=found)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("capacity", __doc__, seconds=4, repeat=3)
    parser.add_argument(
        "--first", type=int, default=50, help="the number of streams to begin with (default 50)"
    )
    parser.add_argument(
        "--most", type=int, default=2000, help="where to stop at the latest (default 2000)"
    )
    parser.add_argument(
        "--server",
        choices=[peer.program for peer in PEERS],
        default=PEERS[0].program,
        help="measure another server (default %(default)s)",
    )
    return parser.parse_args()


def _search(
    bench: Bench, peer: Peer, how: argparse.Namespace, runs: dict[int, list[Result]]
) -> int:
    """The most streams that hold, 0 if none do; everything measured goes into *runs*."""

    def holds(streams: int) -> bool:
        runs[streams] = [
            measure_real_time(bench, peer, streams, how.seconds) for _ in range(how.repeat)
        ]
        return _holds(runs[streams])

    most: int = how.most
    good, bad = 0, most + 1
    streams: int = min(how.first, most)
    while streams < bad and holds(streams):
        good, streams = streams, min(round(streams * _GROWTH), most)
        if good == most:
            return good
    bad = streams
    while bad > max(good, 1) * _CLOSE and bad - good > 1:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    return good


def _holds(results: Sequence[Result]) -> bool:
    in_time = median([result.lag_p99_ms for result in results]) < _LATE
    return in_time and not any(result.lost for result in results)


def _row(streams: int, results: Sequence[Result]) -> list[object]:
    return [
        streams,
        round(median([result.messages_a_second for result in results])),
        spread([result.cpu_us for result in results]),
        round(median([result.busy for result in results])),
        f"{median([result.lag_p50_ms for result in results]):.2f}",
        spread([result.lag_p99_ms for result in results]),
        f"{median([result.kilobytes for result in results]):.1f}",
        sum(result.lost for result in results),
        f"{median([result.late_ms for result in results]):.2f}",
        "yes" if _holds(results) else "no",
    ]


def _conclusion(streams: int, results: Sequence[Result]) -> str:
    messages = round(median([result.messages_a_second for result in results]))
    cpu = median([result.busy for result in results]) / streams
    memory = median([result.kilobytes for result in results])
    return (
        f"one core holds {streams} streams, {messages} messages a second; a call costs "
        f"{cpu:.2f} % of the core and {memory:.0f} KB"
    )


if __name__ == "__main__":
    sys.exit(main())
