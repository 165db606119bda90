"""What does it cost a server to receive a media message? Ours as it ships, and what others use.

Our receiver keeps its account, its logs and its hand-over to an application that reads every frame;
the others do the least that their users would: JSON, base64, a count (`peers/`). Ours comes twice:
as it ships, and with the simple transport, which shows what the fast one is worth. The same frames
from the same client, each server a fresh process on a core of its own, the client on another, all
servers in turn, several times. Real time: each stream says a message of each of its two tracks
every 20 ms. Saturated: a few streams say all they have as fast as the server reads.

    python -m benchmarks.receive --streams 150 --transports tls --seconds 4

A ratio is our processor time of a message to the other's, in the same round. The lag is from the
client's send to our hand-over. Ours counts as measured only where the client itself was in time
(its p99 is in the table) and nothing was lost.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.figures import median, spread
from benchmarks.measure import Bench, Result, measure_real_time, measure_saturated, open_bench
from benchmarks.servers import OURS, PEERS, Peer, installed
from benchmarks.table import Column, listed, new_parser, print_table, write_results

_TRANSPORTS = {"tls": "TLS", "plain": "plain TCP"}
_SATURATED = 10
"""How much longer than a measurement in real time the script of a saturated one is."""

_COLUMNS: tuple[Column, ...] = (
    ("server", -20),
    ("us/message", 20),
    ("ours to it", 18),
    ("core %", 7),
    ("msg/s", 7),
    ("lag p50 ms", 10),
    ("p99 ms", 20),
    ("KB/stream", 10),
    ("lost", 6),
    ("client p99 ms", 13),
    ("busy %", 7),
)


def main() -> int:
    """Measure each server in each regime, and tell."""
    how = _arguments()
    chosen = [peer for peer in PEERS if not how.servers or peer.program in how.servers]
    peers = installed(chosen)
    runs: list[dict[str, object]] = []
    with open_bench() as bench:
        for transport in how.transports:
            for streams in how.streams:
                measure = partial(_in_real_time, bench, how, transport == "tls", streams)
                print(f"{streams} streams, real time, {_TRANSPORTS[transport]}")
                runs += _compare(peers, how.repeat, measure, "real time")
            for streams in how.saturated:
                measure = partial(_saturated, bench, how, transport == "tls", streams)
                print(f"{streams} streams, saturated, {_TRANSPORTS[transport]}")
                runs += _compare(peers, how.repeat, measure, "saturated")
    packages = [package for peer in peers for package in peer.packages]
    write_results(how.output, how, packages, runs=runs)
    return 0


def _arguments() -> argparse.Namespace:
    parser = new_parser("receive", __doc__, seconds=4)
    parser.add_argument(
        "--streams",
        type=listed(int),
        default=[20, 150, 300],
        metavar="N,N,…",
        help="how many streams at once, in real time (default 20,150,300; 0 for none)",
    )
    parser.add_argument(
        "--saturated",
        type=listed(int),
        default=[8],
        metavar="N,N,…",
        help="how many streams at once, saturated (default 8; 0 for none)",
    )
    parser.add_argument(
        "--transports",
        type=listed(str),
        default=["tls", "plain"],
        metavar="tls,plain",
        help="over TLS, over plain TCP, or both (default)",
    )
    parser.add_argument(
        "--servers",
        type=listed(str),
        default=[],
        metavar="NAME,…",
        help=f"only these of: {', '.join(peer.program for peer in PEERS)}",
    )
    parser.add_argument(
        "--together",
        action="store_true",
        help="a stream's two messages leave in one system call instead of two",
    )
    how = parser.parse_args()
    how.streams = [streams for streams in how.streams if streams]
    how.saturated = [streams for streams in how.saturated if streams]
    return how


def _in_real_time(
    bench: Bench, how: argparse.Namespace, tls: bool, streams: int, peer: Peer
) -> Result:
    return measure_real_time(bench, peer, streams, how.seconds, tls=tls, together=how.together)


def _saturated(
    bench: Bench, how: argparse.Namespace, tls: bool, streams: int, peer: Peer
) -> Result:
    return measure_saturated(bench, peer, streams, how.seconds * _SATURATED, tls=tls)


def _compare(
    peers: Sequence[Peer], repeat: int, measure: Callable[[Peer], Result], regime: str
) -> list[dict[str, object]]:
    """Measure all *peers* in turn, several times; print the table, return all that was found."""
    rounds: list[dict[str, Result]] = []
    for _ in range(repeat):
        rounds.append({})
        for peer in peers:
            try:
                rounds[-1][peer.name] = measure(peer)
            except (OSError, RuntimeError) as exc:
                print(f"{peer.name} failed: {exc}", file=sys.stderr)
    print_table(_COLUMNS, [_row(peer.name, rounds) for peer in peers])
    return [
        {"round": number, "regime": regime, **result.to_json()}
        for number, found in enumerate(rounds, 1)
        for result in found.values()
    ]


def _row(name: str, rounds: Sequence[dict[str, Result]]) -> list[object]:
    """One server's line: medians, and the range where it matters."""
    found = [results[name] for results in rounds if name in results]
    if not found:
        return [name, "failed", *[""] * (len(_COLUMNS) - 2)]
    ratios = [
        results[OURS.name].cpu_us / results[name].cpu_us
        for results in rounds
        if name in results and OURS.name in results
    ]
    return [
        name,
        spread([result.cpu_us for result in found]),
        spread(ratios, 2) if ratios and name != OURS.name else "",
        round(median([result.busy for result in found])),
        round(median([result.messages_a_second for result in found])),
        f"{median([result.lag_p50_ms for result in found]):.2f}",
        spread([result.lag_p99_ms for result in found]),
        f"{median([result.kilobytes for result in found]):.1f}",
        sum(result.lost for result in found),
        f"{median([result.late_ms for result in found]):.2f}",
        round(median([result.client_busy for result in found])),
    ]


if __name__ == "__main__":
    sys.exit(main())
