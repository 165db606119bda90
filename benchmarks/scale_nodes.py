"""Receivers in several processes, and the Redis that they share, for `scale.py` to measure."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.peers.minivoice_server import TOKEN_KEY

__all__ = ["CLIENT_PRIORITY", "redis_server", "server", "workers_of"]

_ROOT = Path(__file__).parent.parent
_READY_WITHIN = 30.0
CLIENT_PRIORITY = 20  # before whatever else the machine has to do (chrt -f 20)


def _ordinary(cores: set[int]) -> None:
    """What a server's process is before it begins: on some cores, behind the client there."""
    os.sched_setaffinity(0, cores)
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(CLIENT_PRIORITY - 1))


@contextmanager
def server(data: Path, cores: set[int], **settings: str) -> Iterator[tuple[int, int]]:
    """A receiver while the block runs: its pid and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    environ = {f"MINIVOICE_{name.upper()}": value for name, value in settings.items()}
    environ |= {"MINIVOICE_LISTEN": f"127.0.0.1:{port}", "MINIVOICE_TOKEN_KEY": TOKEN_KEY}
    environ |= {"MINIVOICE_DATA": str(data), "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.peers.scale_server"],
        env={**os.environ, **environ},
        stderr=subprocess.DEVNULL,
        preexec_fn=partial(_ordinary, cores),
    )
    try:
        _wait_for(port, process)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            time.sleep(1)  # the other workers, too
            return
    raise RuntimeError("a server did not get ready")


@contextmanager
def redis_server(folder: Path, fsync: str) -> Iterator[tuple[int, int]]:
    """A redis-server while the block runs: its pid and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", fsync, "--bind", "127.0.0.1"]
    cores = set(range(os.cpu_count() or 1))
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, preexec_fn=partial(_ordinary, cores)
    )
    try:
        _wait_for(port, process)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def workers_of(pid: int) -> list[int]:
    """The processes that a parent keeps."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]
