"""The servers under test: which there are, and one of them as a process on a core of its own.

What a server costs is read from outside, of the whole process with all its threads: processor time
from its clock, memory from the system. What it got, it says itself (`peers/meter.py`).

Read next: `measure.py`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import Histogram
from benchmarks.machine import processor_seconds, resident_kilobytes
from minivoice_ref.certificates import Certificates

__all__ = ["OURS", "PEERS", "Peer", "ServerProcess", "installed", "node_versions"]

_ROOT = Path(__file__).parent.parent
_READY_WITHIN = 20.0
_REPORTS_WITHIN = 20.0
_IDLE = 0.02  # of a core: who uses less has nothing left to do


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that is compared: its name in the table, its program, the modules that it needs."""

    name: str
    program: str
    modules: tuple[str, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose versions matter."""
        return tuple(module.partition(".")[0] for module in self.modules)

    def command(self) -> list[str]:
        """How it is started, the place where it serves aside."""
        if self.program.endswith(".js"):
            return ["node", str(Path(__file__).parent / "peers" / self.program)]
        return [sys.executable, "-m", f"benchmarks.peers.{self.program}"]

    def missing(self) -> str | None:
        """What is not installed, if anything."""
        if self.program.endswith(".js"):
            return _missing_of_node()
        for module in self.modules:
            try:
                found = find_spec(module)
            except ModuleNotFoundError:
                found = None
            if found is None:
                return f"{module} is not installed"
        return None


OURS = Peer("minivoice_ref", "minivoice_server")
PEERS = (
    OURS,
    Peer("the same, simple way", "minivoice_simple_server"),
    Peer("FastAPI on uvicorn", "fastapi_server", ("fastapi", "uvicorn", "uvloop", "websockets")),
    Peer("websockets", "websockets_server", ("websockets",)),
    Peer("websockets on Trio", "websockets_trio_server", ("websockets.trio",)),
    Peer("aiohttp", "aiohttp_server", ("aiohttp",)),
    Peer("trio-websocket", "trio_websocket_server"),
    Peer("picows", "picows_server", ("picows",)),
    Peer("Node.js ws", "ws_server.js"),
)


def installed(peers: Iterable[Peer]) -> list[Peer]:
    """Those of *peers* that can be run here; says of each other one what it lacks."""
    good = []
    for peer in peers:
        missing = peer.missing()
        if missing is None:
            good.append(peer)
        else:
            print(f"{peer.name} is left out: {missing}", file=sys.stderr)
    return good


def node_versions() -> dict[str, object]:
    """The versions of Node.js and of its package ws, where both are here."""
    if _missing_of_node() is not None:
        return {}
    script = "console.log(process.version, require('ws/package.json').version)"
    node, ws = _node(script).stdout.split()
    return {"node": node, "ws": ws}


def _missing_of_node() -> str | None:
    if shutil.which("node") is None:
        return "there is no node here"
    if _node("require('ws')").returncode:
        return "node does not find its package ws (npm install ws, and NODE_PATH if elsewhere)"
    return None


def _node(script: str) -> subprocess.CompletedProcess[str]:
    folder = Path(__file__).parent / "peers"
    return subprocess.run(["node", "-e", script], cwd=folder, capture_output=True, text=True)


class ServerProcess:
    """A server under test, running on the core *core*: a context manager, ready when entered.

    Raises RuntimeError where it does not get ready, with what it said.
    """

    def __init__(self, peer: Peer, core: int, files: Certificates | None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.port = _free_port()
        self._errors = Path(self._folder.name) / "errors.txt"
        tls = [] if files is None else [str(files.cert), str(files.key)]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*peer.command(), str(self.port), *tls],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._folder.name,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                preexec_fn=partial(os.sched_setaffinity, 0, {core}),
            )

    def __enter__(self) -> ServerProcess:
        deadline = time.monotonic() + _READY_WITHIN
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        said = self._errors.read_text("utf-8", "replace")
        self.__exit__()
        raise RuntimeError(f"the server did not get ready:\n{said}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def processor_seconds(self) -> float:
        """Processor time that it has used so far."""
        return processor_seconds(self._process.pid)

    def resident_kilobytes(self) -> int:
        """Memory that it uses now."""
        return resident_kilobytes(self._process.pid)

    def settle(self, patience: float = 5.0) -> None:
        """Wait until it has nothing left to do, or *patience* seconds."""
        deadline = time.monotonic() + patience
        busy = True
        while busy and time.monotonic() < deadline:
            began, used = time.monotonic(), self.processor_seconds()
            time.sleep(0.05)
            busy = self.processor_seconds() - used > _IDLE * (time.monotonic() - began)

    def report(self) -> tuple[Histogram, float]:
        """How long each frame took that it got, and when, by the monotonic clock, the last came.

        Raises RuntimeError.
        """
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGUSR2)
        ready, _, _ = select.select([self._process.stdout], [], [], _REPORTS_WITHIN)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            errors = self._errors.read_text("utf-8", "replace")
            raise RuntimeError(f"the server does not report:\n{errors}")
        said = json.loads(line)
        return Histogram(said["lag"]), said["last"]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
