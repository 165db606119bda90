"""How many streams does one core pace? Calls with one `both` stream each, over TLS.

The simulator runs on one core and speaks, as `minivoice-ref load` does, into the cheapest receiver
there can be (`sink.py`), which runs on another. A frame is late by the time between the moment it
was due and the moment the simulator got round to it. Prints a table and writes it as JSON, with the
machine and the versions, since figures from other machines are other figures.

    python -m benchmarks.pacing --streams 100,150,200 --seconds 20
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from benchmarks.measure import Bench, open_bench
from benchmarks.table import listed, new_parser, write_results
from minivoice_ref.certificates import Certificates
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.simulator.call import CallPlan
from minivoice_ref.simulator.load import Load, LoadPlan
from minivoice_ref.simulator.load_report import LoadReport

_RAMP = 5.0
"""Seconds in which all streams begin, each at another moment of the 20 ms."""

_WANTED = 10.0
"""Milliseconds that 99 of 100 frames may be late for the streams to count as paced."""


def main() -> int:
    """Measure each number of streams, several times, and tell."""
    how = _arguments()
    runs = []
    print(_HEAD)
    with open_bench() as bench:
        for streams in how.streams:
            for _ in range(how.repeat):
                with _sink(bench) as port:
                    runs.append(_measure(streams, how.seconds, port, bench.certificates))
                print(_row(runs[-1]), flush=True)
    paced = [streams for streams in how.streams if _is_paced(runs, streams)]
    most = max(paced, default=0)
    print(f"\none core paces {most} streams with p99 lateness under {_WANTED:g} ms")
    write_results(how.output, how, most_streams_paced=most, runs=runs)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("pacing", __doc__, seconds=20, repeat=3)
    parser.add_argument(
        "--streams",
        type=listed(int),
        default=[50, 100, 150, 200],
        metavar="N,N,…",
        help="how many streams at once (default 50,100,150,200)",
    )
    return parser.parse_args()


@contextmanager
def _sink(bench: Bench) -> Iterator[int]:
    """A receiver on a core of its own. Yields its port."""
    files = bench.certificates
    command = [sys.executable, "-m", "benchmarks.sink", str(files.cert), str(files.key)]
    process = subprocess.Popen([*command, str(bench.core)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _measure(streams: int, lasting: float, port: int, files: Certificates) -> dict[str, object]:
    """Run *streams* streams of *lasting* seconds at once, and describe how it went."""
    call = CallPlan(answer_url=f"https://127.0.0.1:{port}/answer", speak=lasting)
    plan = LoadPlan(call=call, calls=streams, rate=streams / min(_RAMP, lasting / 3), seed=1)
    connect = TcpConnector(client_context(files.ca), Timeouts())
    report, cost = trio.run(partial(_run, plan, connect))
    if not report.good:
        raise SystemExit(f"the measurement itself failed:\n{report}")
    return {
        "streams": streams,
        "frames": report.frames.count,
        **cost,
        "lateness": report.frames.to_json(),
        "clock": report.clock.to_json(),
    }


async def _run(plan: LoadPlan, connect: TcpConnector) -> tuple[LoadReport, dict[str, float]]:
    """Run the load; the cost of a frame is measured while all streams are open, and no more."""
    load = Load(plan, connect)
    cost: dict[str, float] = {}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_measure_cost, load, plan, cost)
        report = await load.run()
        nursery.cancel_scope.cancel()
    if not cost:
        raise SystemExit(f"not all streams were open at once: too much for this machine\n{report}")
    return report, cost


async def _measure_cost(load: Load, plan: LoadPlan, cost: dict[str, float]) -> None:
    while load.progress().streaming < plan.calls:  # noqa: ASYNC110  # nobody sets an event
        await trio.sleep(0.1)
    frames, cpu, began = load.progress().frames, time.process_time(), time.monotonic()
    await trio.sleep((plan.call.speak - plan.calls / plan.rate) * 0.7)
    frames, cpu = load.progress().frames - frames, time.process_time() - cpu
    cost["cpu_percent"] = round(100 * cpu / (time.monotonic() - began), 1)
    cost["cpu_us_per_frame"] = round(cpu / frames * 1e6, 1)


def _is_paced(runs: list[dict[str, object]], streams: int) -> bool:
    """Whether the median of the runs with *streams* streams was paced."""
    late = sorted(_late(run)["p99_ms"] for run in runs if run["streams"] == streams)
    return late[len(late) // 2] < _WANTED


def _late(run: dict[str, object]) -> dict[str, float]:
    lateness = run["lateness"]
    assert isinstance(lateness, dict)
    return lateness


_HEAD = (
    f"{'streams':>8}{'frames':>9}{'CPU %':>7}{'us/frame':>10}"
    f"{'p50 ms':>8}{'p90 ms':>8}{'p99 ms':>8}{'max ms':>8}{'over 20 ms':>12}"
)


def _row(run: dict[str, object]) -> str:
    late = _late(run)
    figures = "".join(f"{late[key]:8.2f}" for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
    return (
        f"{run['streams']:>8}{run['frames']:>9}{run['cpu_percent']:>7}{run['cpu_us_per_frame']:>10}"
        f"{figures}{late['over_20_ms']:>12}"
    )


if __name__ == "__main__":
    sys.exit(main())
