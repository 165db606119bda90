"""Runs several receivers and a Redis behind a real balancer, as the files of deploy/ have it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy_lab import SECRET, Write, free_port, haproxy, nginx, proxied, receiver, running
from minivoice_ref.certificates import Certificates

__all__ = ["BALANCERS", "Balanced", "Behind", "balanced"]

#: The balancers before several nodes: the file, and what writes it and says how it is started.
BALANCERS: Mapping[str, tuple[str, Write]] = {
    "nginx": ("nginx-cluster.conf", nginx),
    "haproxy": ("haproxy-cluster.cfg", haproxy),
}
_PLACES = ("10.0.0.7:8080", "10.0.0.8:8080", "10.0.0.9:8080")


@dataclass(frozen=True)
class Behind:
    """A node behind the balancer."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def lines(self, log: str, what: str) -> list[dict[str, Any]]:
        """The lines of a log so far."""
        path = self.folder / "data" / f"{log}.jsonl"
        text = path.read_text("utf-8") if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line[-1:] == "\n"]
        return [line for line in lines if line["what"] == what]


@dataclass(frozen=True)
class Balanced:
    """Nodes behind a balancer that listens at `url`."""

    url: str
    folder: Path
    nodes: list[Behind]
    redis: subprocess.Popen[bytes]
    webhook_secret: str = SECRET

    @property
    def told(self) -> str:
        """What the balancer has printed."""
        return (self.folder / "proxy.log").read_text("utf-8")


@contextmanager
def balanced(
    balancer: str, folder: Path, files: Certificates, first: Mapping[str, str]
) -> Iterator[Balanced]:
    """Run three nodes behind *balancer* for a block; the first has settings of its own."""
    port, redis = free_port(), free_port()
    url = f"https://localhost:{port}"
    places = [free_port() for _ in _PLACES]
    store = ["redis-server", "--port", str(redis), "--dir", str(folder), "--save", ""]
    with ExitStack() as stack:
        process = stack.enter_context(running(store, folder / "redis.log", redis))
        nodes = []
        for number, place in enumerate(places):
            own = folder / f"node-{number + 1}"
            own.mkdir()
            settings = {"MINIVOICE_CLUSTER": f"redis://127.0.0.1:{redis}"}
            settings |= {} if number else first
            command, environment = receiver(own, place, url, settings)
            node = running(command, own / "receiver.log", place, **environment)
            nodes.append(Behind(place, own, stack.enter_context(node)))
        name, write = BALANCERS[balancer]
        addresses = {old: f"127.0.0.1:{new}" for old, new in zip(_PLACES, places, strict=True)}
        # Its comment has the first address as well.
        command = write(name, addresses, folder, port, files)
        stack.enter_context(proxied(balancer, command, folder, port))
        yield Balanced(url, folder, nodes, process)
