"""How many new streams a second does a core take? Over TLS, with resumed TLS sessions, plain.

A few clients at once, each opens a stream, says that it has started, ends it properly, and begins
again. A resumed session spares the server the signature with its private key, the dearest part of a
handshake.

    python -m benchmarks.handshakes --seconds 4
"""

from __future__ import annotations

import argparse
import itertools
import ssl
import sys
import threading
import time

from benchmarks.figures import Histogram, spread
from benchmarks.measure import Bench, open_bench, stream_path
from benchmarks.script import Script, write_script
from benchmarks.servers import PEERS, Peer, installed
from benchmarks.streams import Connection
from benchmarks.table import Column, listed, new_parser, print_table, write_results

_KINDS = ("tls", "resumed", "plain")
_COLUMNS: tuple[Column, ...] = (
    ("server", -20),
    ("handshake", -10),
    ("new streams/s", 22),
    ("us/stream", 24),
    ("core %", 20),
    ("p50 ms", 18),
    ("p99 ms", 18),
)


def main() -> int:
    """Measure each kind, several times, and tell."""
    how = _arguments()
    peers = installed([peer for peer in PEERS if peer.program in how.servers])
    runs: list[dict[str, object]] = []
    with open_bench() as bench:
        for number in range(1, how.repeat + 1):
            for kind in how.kinds:
                for peer in peers:
                    found = _measure(bench, peer, kind, how)
                    runs.append({"round": number, "server": peer.name, "kind": kind, **found})
    rows = [_row(peer.name, kind, runs) for kind in how.kinds for peer in peers]
    print_table(_COLUMNS, rows)
    packages = [package for peer in peers for package in peer.packages]
    write_results(how.output, how, packages, runs=runs)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("handshakes", __doc__, seconds=4)
    parser.add_argument(
        "--at-once", type=int, default=8, help="how many clients there are (default 8)"
    )
    parser.add_argument(
        "--kinds",
        type=listed(str),
        default=list(_KINDS),
        metavar="KIND,…",
        help=f"which handshakes (default {','.join(_KINDS)})",
    )
    parser.add_argument(
        "--servers",
        type=listed(str),
        default=[PEERS[0].program],
        metavar="NAME,…",
        help=f"of: {', '.join(peer.program for peer in PEERS)} (default the first)",
    )
    return parser.parse_args()


class _Callers:
    """Clients that open and close streams until *until*, each in a thread."""

    def __init__(self, port: int, context: ssl.SSLContext | None, *, resuming: bool) -> None:
        self.took = Histogram()
        self._port = port
        self._context = context
        self._resuming = resuming
        self._script = write_script(1)
        self._session: ssl.SSLSession | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count()  # of the calls: each has a stream of its own
        self._faults: list[BaseException] = []
        self.call()  # its TLS session is the one that the others resume

    def call(self) -> float:
        """Open a stream and end it; return how long the opening took."""
        number = next(self._numbers)
        path = stream_path(Script.call_id(number))
        began = time.monotonic()
        stream = Connection(self._port, self._context, self._session)
        if self._session is not None and not (stream.tls and stream.tls.session_reused):
            raise RuntimeError("the server did not resume the TLS session")
        stream.upgrade(path)
        took = time.monotonic() - began
        if self._resuming and self._session is None and stream.tls is not None:
            self._session = stream.tls.session
        stream.write(self._script.opening(number))
        stream.write(self._script.closing)
        stream.flush()
        stream.wait_for_end()
        stream.close()
        return took

    def call_until(self, moment: float, at_once: int) -> None:
        """Call and call until *moment* of the monotonic clock. Raises what went wrong."""
        threads = [threading.Thread(target=self._caller, args=(moment,)) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._faults:
            raise self._faults[0]

    def _caller(self, until: float) -> None:
        try:
            while time.monotonic() < until and not self._faults:
                took = self.call()
                with self._lock:
                    self.took.add(took)
        except (OSError, RuntimeError) as exc:
            self._faults.append(exc)


def _measure(bench: Bench, peer: Peer, kind: str, how: argparse.Namespace) -> dict[str, object]:
    with bench.start(peer, kind != "plain") as server:
        context = bench.context(kind != "plain")
        callers = _Callers(server.port, context, resuming=kind == "resumed")
        server.settle()
        began, used = time.monotonic(), server.processor_seconds()
        callers.call_until(began + how.seconds, how.at_once)
        took, used = time.monotonic() - began, server.processor_seconds() - used
    count = callers.took.count
    return {
        "streams": count,
        "streams_a_second": round(count / took, 1),
        "cpu_us": round(used / count * 1e6, 1),
        "busy": round(100 * used / took, 1),
        "p50_ms": callers.took.percentile(50),
        "p99_ms": callers.took.percentile(99),
    }


def _row(server: str, kind: str, runs: list[dict[str, object]]) -> list[object]:
    found = [run for run in runs if run["server"] == server and run["kind"] == kind]
    figures = ("streams_a_second", "cpu_us", "busy", "p50_ms", "p99_ms")
    return [
        server,
        kind,
        *[spread([float(str(run[figure])) for run in found]) for figure in figures],
    ]


if __name__ == "__main__":
    sys.exit(main())
