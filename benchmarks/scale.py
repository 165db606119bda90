"""What more workers and more nodes bring: streams held, and webhooks accepted in a second.

    python -m benchmarks.scale --streams 100,150,200 --seconds 5 --repeat 3

Streams: both tracks over TLS in real time into one and two workers; a number is held where the
99th percentile of a frame's way to its application is 20 ms at most and nothing is lost. Webhooks:
into one and three nodes that share a Redis with an append-only file (`--fsync` says how it syncs),
each on a connection that stays, none a duplicate.

The client runs on the same machine. It is one thread without an event loop (`streams.py`), goes
before the servers on its core, as they do before whatever else the machine has to do, and says how
late it was itself: a row whose client was late by more than 5 ms speaks of the client and is
marked. One worker has the other core to itself; two workers have both cores, less what the client
takes, so the table also has what a message cost.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import selectors
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.figures import Histogram, median, spread
from benchmarks.machine import processor_seconds, resident_kilobytes, two_cores
from benchmarks.measure import real_time_script, stream_path
from benchmarks.scale_nodes import CLIENT_PRIORITY, redis_server, server, workers_of
from benchmarks.streams import Connection, speak
from benchmarks.table import Column, listed, new_parser, print_table, write_results
from minivoice_ref.certificates import Certificates, make_certificates

_HELD = 20.0  # milliseconds
_LATE = 5.0  # milliseconds
_CONNECTIONS = 16  # a node
_STREAMS: tuple[Column, ...] = (
    ("workers", 7),
    ("streams", 8),
    ("p99 ms", 20),
    ("lost", 6),
    ("us/message", 18),
    ("client p99 ms", 14),
    ("", -6),
)
_WEBHOOKS: tuple[Column, ...] = (
    ("nodes", 6),
    ("webhooks/s", 22),
    ("node us", 18),
    ("redis us", 18),
    ("client us", 18),
)


@dataclass(frozen=True, slots=True)
class Held:
    """What one measurement of streams found. `cpu_us` is what a message cost, of all workers."""

    workers: int
    streams: int
    p99_ms: float
    lost: int
    cpu_us: float
    late_ms: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What one measurement of webhooks found; `…_us` is processor time for one webhook."""

    nodes: int
    a_second: float
    node_us: float
    redis_us: float
    client_us: float
    redis_bytes: float


def main() -> int:
    """Measure, several times in turn, and tell."""
    how = _arguments()
    mine, other = two_cores()
    with _first_in_line(mine), tempfile.TemporaryDirectory() as folder:
        files = make_certificates(Path(folder) / "tls")
        held = [
            measure_streams(Path(folder), files, workers, streams, how.seconds, other)
            for _ in range(how.repeat)
            for workers in how.workers
            for streams in how.streams
        ]
        _print_held(how, held)
        taken = [
            measure_webhooks(Path(folder), nodes, how.seconds, how.fsync)
            for _ in range(how.repeat)
            for nodes in how.nodes
        ]
    _print_taken(how, taken)
    found = {"streams": [asdict(row) for row in held], "webhooks": [asdict(row) for row in taken]}
    write_results(how.output, how, packages=("coredis",), **found)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("scale", __doc__, seconds=5, repeat=3)
    for name, default, what in (
        ("workers", [1, 2], "workers"),
        ("streams", [50, 100, 150], "streams"),
        ("nodes", [1, 3], "nodes"),
    ):
        parser.add_argument(
            f"--{name}", type=listed(int), default=default, metavar="N,…", help=f"how many {what}"
        )
    parser.add_argument(
        "--fsync",
        choices=["always", "everysec"],
        default="always",
        help="when Redis syncs its append-only file (default %(default)s)",
    )
    return parser.parse_args()


@contextmanager
def _first_in_line(core: int) -> Iterator[None]:
    """Keep this process to one core, where it goes before all others if the system lets it."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CLIENT_PRIORITY))
    except PermissionError:
        print("the client has no priority here: look at how late it was", file=sys.stderr)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# --- streams ---


def measure_streams(
    folder: Path, files: Certificates, workers: int, streams: int, seconds: float, core: int
) -> Held:
    """Let *streams* streams speak into *workers* workers for *seconds*, after warming up."""
    data = Path(tempfile.mkdtemp(dir=folder))
    cores = {core} if workers == 1 else set(range(os.cpu_count() or 1))
    tls = {"tls_cert": str(files.cert), "tls_key": str(files.key)}
    context = ssl.create_default_context(cafile=str(files.ca))
    warm_up, script = real_time_script(seconds)
    began: dict[int, float] = {}
    with server(data, cores, workers=str(workers), **tls) as (pid, port):
        opened = []
        for number in range(streams):
            opened.append(stream := Connection(port, context))
            stream.upgrade(stream_path(script.call_id(number)))
            stream.write(script.opening(number))
            stream.flush()
        gc.collect()
        gc.disable()
        busy = workers_of(pid) or [pid]
        clock = partial(_read_clocks, busy, began)
        spoken = speak(opened, script, warm_up=warm_up, on_warm=clock)
        time.sleep(1)  # what is on its way still arrives
        used = sum(processor_seconds(one) - began[one] for one in busy)
        gc.enable()
        for stream in opened:
            stream.close()
    reports = [json.loads(path.read_text()) for path in data.glob("report-*.json")]
    lag = Histogram(pair for report in reports for pair in report["lag"])
    return Held(
        workers,
        streams,
        lag.percentile(99),
        spoken.messages - lag.count,
        round(used / max(lag.count, 1) * 1e6, 1),
        spoken.lateness.percentile(99),
    )


def _read_clocks(pids: list[int], clocks: dict[int, float]) -> None:
    clocks.update((pid, processor_seconds(pid)) for pid in pids)


def _print_held(how: argparse.Namespace, held: list[Held]) -> None:
    rows = []
    for workers in how.workers:
        for streams in how.streams:
            found = [row for row in held if (row.workers, row.streams) == (workers, streams)]
            late = median([row.late_ms for row in found])
            is_held = all(row.p99_ms <= _HELD and row.lost == 0 for row in found)
            verdict = "held" if is_held else "client late" if late > _LATE else "not held"
            p99, cpu = ([getattr(row, name) for row in found] for name in ("p99_ms", "cpu_us"))
            lost = max(row.lost for row in found)
            rows.append((workers, streams, spread(p99), lost, spread(cpu), f"{late:.1f}", verdict))
    print_table(_STREAMS, rows)


# --- webhooks ---


def measure_webhooks(folder: Path, nodes: int, seconds: float, fsync: str) -> Taken:
    """Deliver to *nodes* nodes for *seconds*, as fast as they accept."""
    cores = set(range(os.cpu_count() or 1))
    with ExitStack() as stack:
        redis, port = stack.enter_context(redis_server(Path(tempfile.mkdtemp(dir=folder)), fsync))
        servers = [
            stack.enter_context(
                server(
                    Path(tempfile.mkdtemp(dir=folder)),
                    cores,
                    plain="1",
                    cluster=f"redis://127.0.0.1:{port}",
                    limits_requests="1000000000",
                )
            )
            for _ in range(nodes)
        ]
        _deliver([port for _, port in servers], 0.5, "warm")
        watched = [pid for pid, _ in servers]
        clocks = {pid: processor_seconds(pid) for pid in (*watched, redis, os.getpid())}
        memory = resident_kilobytes(redis)
        count, took = _deliver([port for _, port in servers], seconds, "call")
        used = {pid: 1e6 * (processor_seconds(pid) - clocks[pid]) / count for pid in clocks}
        grown = 1024 * (resident_kilobytes(redis) - memory) / count
    return Taken(
        nodes,
        round(count / took, 1),
        round(sum(used[pid] for pid in watched), 1),
        round(used[redis], 1),
        round(used[os.getpid()], 1),
        round(grown, 1),
    )


def _deliver(ports: list[int], seconds: float, name: str) -> tuple[int, float]:
    """Deliver webhooks on many connections for a while; how many were accepted, and how long."""
    began = time.monotonic()
    sent = accepted = 0
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for port in ports * _CONNECTIONS:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(_webhook(f"{name}_{sent}"))
            sent += 1
            selector.register(connection, selectors.EVENT_READ, connection)
        while selector.get_map():
            for key, _ in selector.select(10):
                answer = key.data.recv(65536)
                if b" 200 " not in answer[:20]:
                    raise RuntimeError(f"not accepted: {answer[:80]!r}")
                accepted += 1
                if time.monotonic() - began < seconds:
                    key.data.sendall(_webhook(f"{name}_{sent}"))
                    sent += 1
                else:
                    selector.unregister(key.data)
    return accepted, time.monotonic() - began


def _webhook(call_id: str) -> bytes:
    call = {"id": call_id, "status": "completed", "direction": "inbound", "from": "+15551230001"}
    body = json.dumps(
        {
            "event": "call.completed",
            "created_at": "2026-05-29T12:10:00Z",
            "call": call,
            "variables": {},
            "data": {},
        }
    ).encode()
    head = f"POST /webhooks HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def _print_taken(how: argparse.Namespace, taken: list[Taken]) -> None:
    rows = []
    for nodes in how.nodes:
        found = [row for row in taken if row.nodes == nodes]
        columns = ("a_second", "node_us", "redis_us", "client_us")
        rows.append((nodes, *(spread([getattr(row, name) for row in found]) for name in columns)))
    print_table(_WEBHOOKS, rows)


if __name__ == "__main__":
    sys.exit(main())
