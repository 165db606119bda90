"""One measurement of one server: a fresh process, so many streams, real time or saturated.

Read next: `receive.py`, which makes many of them.
"""

from __future__ import annotations

import gc
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import two_cores
from benchmarks.peers.minivoice_server import TOKEN_KEY
from benchmarks.script import TICKS_A_SECOND, Script, write_script
from benchmarks.servers import Peer, ServerProcess
from benchmarks.streams import Connection, Spoken, blast, close_all, speak
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.protocol.signing import mint_token

__all__ = [
    "Bench",
    "Result",
    "measure_real_time",
    "measure_saturated",
    "open_bench",
    "open_streams",
    "real_time_script",
    "stream_path",
]


@dataclass(frozen=True, slots=True)
class Result:
    """What one measurement found. `lost`: sent, but not handed over, not even after the end.

    `cpu_us` is the processor time of a message, `busy` the server's share of its core in percent,
    `kilobytes` the memory of a stream. `late_ms` is how late the client was 99 of 100 times at
    most, `held_up` counts messages that the system did not take from it at once, and `client_busy`
    is what it used of its own core.
    """

    server: str
    tls: bool
    streams: int
    idle: int
    messages: int
    lost: int
    messages_a_second: float
    cpu_us: float
    busy: float
    lag_p50_ms: float
    lag_p99_ms: float
    kilobytes: float
    late_ms: float
    held_up: int
    client_busy: float

    def to_json(self) -> dict[str, object]:
        """As it is written to the file of results."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where measurements are made: the core that the server has to itself, and a certificate."""

    core: int
    certificates: Certificates

    def context(self, tls: bool) -> ssl.SSLContext | None:
        """What a client trusts."""
        return ssl.create_default_context(cafile=str(self.certificates.ca)) if tls else None

    def start(self, peer: Peer, tls: bool) -> ServerProcess:
        """A fresh server."""
        return ServerProcess(peer, self.core, self.certificates if tls else None)


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Make a certificate, and keep this process to one core, away from the servers' one."""
    cores = os.sched_getaffinity(0)
    mine, others = two_cores()
    if mine == others:
        print("there is one core here: client and server share it, and hinder each other")
    with tempfile.TemporaryDirectory() as folder:
        certificates = make_certificates(Path(folder) / "tls")
        os.sched_setaffinity(0, {mine})
        try:
            yield Bench(others, certificates)
        finally:
            os.sched_setaffinity(0, cores)


def measure_real_time(
    bench: Bench,
    peer: Peer,
    streams: int,
    seconds: float,
    *,
    tls: bool = True,
    idle: int = 0,
    together: bool = False,
) -> Result:
    """Let *streams* streams speak for *seconds*, after warming up.

    Beside them *idle* streams start and say nothing. *together*: see `speak`.
    """
    warm_up, script = real_time_script(seconds)
    with _opened(bench, peer, streams + idle, script, tls) as (server, opened, clock):
        spoken = speak(
            opened[:streams], script, warm_up=warm_up, together=together, on_warm=clock.start
        )
        return _conclude(peer, server, clock, spoken, _Setting(tls, streams, idle, patience=5))


def measure_saturated(
    bench: Bench, peer: Peer, streams: int, seconds: float, *, tls: bool = True
) -> Result:
    """Let *streams* streams say what takes *seconds* in real time, each as fast as it is read."""
    script = write_script(round(seconds * TICKS_A_SECOND))
    with _opened(bench, peer, streams, script, tls) as (server, opened, clock):
        clock.start()
        return _conclude(
            peer, server, clock, blast(opened, script), _Setting(tls, streams, 0, patience=60)
        )


def real_time_script(seconds: float) -> tuple[int, Script]:
    """How many ticks of warming up go uncounted, a second or *seconds*, and a script with them."""
    warm_up = round(min(seconds, 1) * TICKS_A_SECOND)
    return warm_up, write_script(warm_up + round(seconds * TICKS_A_SECOND))


def open_streams(
    server: ServerProcess, count: int, script: Script, context: ssl.SSLContext | None
) -> list[Connection]:
    """Open streams and say their beginnings."""
    streams = []
    for number in range(count):
        stream = Connection(server.port, context)
        stream.upgrade(stream_path(script.call_id(number)))
        stream.write(script.opening(number))
        stream.flush()
        streams.append(stream)
    return streams


def stream_path(call_id: str) -> str:
    """Where our receiver takes a stream of the call, and the others take anything."""
    return f"/stream/{mint_token(TOKEN_KEY, f'call:{call_id}', time.time() + 3600)}"


@contextmanager
def _opened(
    bench: Bench, peer: Peer, streams: int, script: Script, tls: bool
) -> Iterator[tuple[ServerProcess, list[Connection], _Clock]]:
    """A fresh server with so many streams that have started, and a clock that has not."""
    context = bench.context(tls)
    with bench.start(peer, tls) as server:
        close_all(open_streams(server, 1, script, context), script)  # loads what is loaded late
        server.settle()
        clock = _Clock(server)
        opened = open_streams(server, streams, script, context)
        gc.collect()
        gc.disable()  # or it would make the client late
        try:
            yield server, opened, clock
        finally:
            gc.enable()
            for stream in opened:
                stream.close()


def _conclude(
    peer: Peer, server: ServerProcess, clock: _Clock, spoken: Spoken, setting: _Setting
) -> Result:
    """Let the server finish what was said, and reckon."""
    clock.stop()
    server.settle(setting.patience)
    used = clock.server_seconds()
    lag, last = server.report()
    took = max(clock.seconds, last - clock.began)
    return Result(
        server=peer.name,
        tls=setting.tls,
        streams=setting.streams,
        idle=setting.idle,
        messages=spoken.messages,
        lost=spoken.messages - lag.count,
        messages_a_second=round(lag.count / took),
        cpu_us=round(used / max(lag.count, 1) * 1e6, 2),
        busy=round(100 * used / took, 1),
        lag_p50_ms=lag.percentile(50),
        lag_p99_ms=lag.percentile(99),
        kilobytes=round(clock.kilobytes / (setting.streams + setting.idle), 1),
        late_ms=spoken.lateness.percentile(99),
        held_up=spoken.held_up,
        client_busy=round(100 * clock.client / took, 1),
    )


@dataclass(frozen=True, slots=True)
class _Setting:
    """What was asked of a server: streams that speak, streams that do not, TLS or plain TCP.

    It has `patience` seconds after the end for what it did not get round to.
    """

    tls: bool
    streams: int
    idle: int
    patience: float


class _Clock:
    """What a server and its client use from `start` to `stop`; memory from the beginning on."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._kilobytes = server.resident_kilobytes()
        self.began = self.seconds = self.client = 0.0
        self.kilobytes = 0

    def start(self) -> None:
        self.began, self._own = time.monotonic(), time.process_time()
        self._used = self._server.processor_seconds()

    def stop(self) -> None:
        self.seconds, self.client = time.monotonic() - self.began, time.process_time() - self._own
        self.kilobytes = self._server.resident_kilobytes() - self._kilobytes

    def server_seconds(self) -> float:
        return self._server.processor_seconds() - self._used
