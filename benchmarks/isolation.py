"""What do streams cost the answers and the webhooks? Their latency while a core is busy with audio.

Our receiver as it ships, over TLS; so many streams in real time as make up 0, 50 and 80 percent of
what the core holds (`capacity.py` finds that); beside them another process asks for answers and
sends webhooks, twenty a second of each, over connections that it keeps for a while. A webhook is
acknowledged when it is committed to the disk.

    python -m benchmarks.isolation --capacity 150
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass

from benchmarks.figures import Histogram, spread
from benchmarks.measure import Bench, open_bench, open_streams, real_time_script
from benchmarks.servers import OURS, ServerProcess
from benchmarks.streams import speak
from benchmarks.table import RESULTS, Column, listed, new_parser, print_table, write_results

_TAIL = 1.0  # seconds that the streams go on when the last request was due
_COLUMNS: tuple[Column, ...] = (
    ("load %", 7),
    ("streams", 8),
    ("core %", 20),
    ("answer p50 ms", 20),
    ("p99 ms", 20),
    ("webhook p50 ms", 20),
    ("p99 ms", 20),
    ("frame lag p99 ms", 18),
    ("asker p99 ms", 18),
    ("client p99 ms", 18),
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one measurement found, in milliseconds.

    `asker_late` and `client_late` are how late the asker was, and who speaks in the streams.
    """

    load: int
    streams: int
    busy: float
    answer_p50: float
    answer_p99: float
    webhook_p50: float
    webhook_p99: float
    lag_p99: float
    asker_late: float
    client_late: float


def main() -> int:
    """Measure each load, several times, and tell."""
    how = _arguments()
    found: list[_Found] = []
    with open_bench() as bench:
        for _ in range(how.repeat):
            found += [_measure(bench, load, how) for load in how.loads]
    print_table(_COLUMNS, [_row([one for one in found if one.load == load]) for load in how.loads])
    runs = [{name: getattr(one, name) for name in _Found.__slots__} for one in found]
    write_results(how.output, how, runs=runs)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("isolation", __doc__, seconds=5)
    parser.add_argument(
        "--capacity",
        type=int,
        help="streams that the core holds (default: what benchmarks.capacity has written)",
    )
    parser.add_argument(
        "--loads",
        type=listed(int),
        default=[0, 50, 80],
        metavar="N,N,…",
        help="percent of that which are there (default 0,50,80)",
    )
    how = parser.parse_args()
    if how.capacity is None:
        try:
            written = json.loads((RESULTS / "capacity.json").read_text("utf-8"))
        except OSError:
            parser.error("give --capacity, or run benchmarks.capacity first")
        how.capacity = written["streams_a_core"]
    return how


def _measure(bench: Bench, load: int, how: argparse.Namespace) -> _Found:
    streams = round(how.capacity * load / 100)
    warm_up, script = real_time_script(how.seconds + _TAIL)
    with bench.start(OURS, True) as server:
        opened = open_streams(server, streams, script, bench.context(True))
        asker = _prepare_asker(bench, server, how.seconds)
        used: list[float] = []

        def begin() -> None:
            assert asker.stdin is not None
            used.append(server.processor_seconds())
            asker.stdin.write("begin\n")
            asker.stdin.flush()

        spoken = speak(opened, script, warm_up=warm_up, on_warm=begin)
        used.append(server.processor_seconds())
        output, _ = asker.communicate()
        if asker.returncode:
            raise SystemExit("the measurement itself failed")
        lag, _ = server.report()
        for stream in opened:
            stream.close()
    took = {name: Histogram(pairs) for name, pairs in json.loads(output).items()}
    return _Found(
        load=load,
        streams=streams,
        busy=round(100 * (used[1] - used[0]) / (how.seconds + _TAIL), 1),
        answer_p50=took["/answer"].percentile(50),
        answer_p99=took["/answer"].percentile(99),
        webhook_p50=took["/webhooks"].percentile(50),
        webhook_p99=took["/webhooks"].percentile(99),
        lag_p99=lag.percentile(99),
        asker_late=took["late"].percentile(99),
        client_late=spoken.lateness.percentile(99),
    )


def _prepare_asker(bench: Bench, server: ServerProcess, seconds: float) -> subprocess.Popen[str]:
    """The process that asks, ready: its start would hold up the client, whose core it shares."""
    command = [sys.executable, "-m", "benchmarks.asker", str(server.port), str(seconds)]
    asker = subprocess.Popen(
        [*command, str(bench.certificates.ca)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asker.stdout is not None
    asker.stdout.readline()
    return asker


def _row(found: list[_Found]) -> list[object]:
    figures = [name for name in _Found.__slots__ if name not in ("load", "streams")]
    return [
        found[0].load,
        found[0].streams,
        *[spread([getattr(one, figure) for one in found]) for figure in figures],
    ]


if __name__ == "__main__":
    sys.exit(main())
