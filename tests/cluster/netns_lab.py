"""Machines of the tests: network namespaces, each with a cable to the balancer and one to Redis.

The balancer, Redis and the platform stay in the namespace of the tests. Needs root and `ip`.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

__all__ = ["Machine", "machines", "why_none"]


_NUMBERS = itertools.cycle(range(30))


@dataclass(frozen=True)
class Machine:
    """A namespace; its address, and that of Redis as seen from it. `cable` is the one to Redis."""

    name: str
    address: str
    redis: str
    cable: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """What goes before a command that is to run there."""
        return "ip", "netns", "exec", self.name

    def cut(self) -> None:
        """Cut it off from Redis: nothing passes, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.cable, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def _machine(number: int) -> Iterator[Machine]:
    pid = os.getpid()
    name = f"mv{pid % 100000}-{number}"
    # Two networks of two addresses each; other runs of the tests have others.
    network = f"10.{100 + pid % 100}.{pid // 100 % 250}"
    ends = [(f"{network}.{8 * number + n}", f"{network}.{8 * number + n + 1}") for n in (1, 5)]
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        for kind, (here, there) in zip("fb", ends, strict=True):
            cable, far_end = f"{name}{kind}", f"{kind}0"
            _ip("link", "add", cable, "type", "veth", "peer", "name", far_end, "netns", name)
            _ip("addr", "add", f"{here}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            _ip("-n", name, "addr", "add", f"{there}/30", "dev", far_end)
            _ip("-n", name, "link", "set", far_end, "up")
        (_, address), (redis, _) = ends
        yield Machine(name, address, redis, f"{name}b")
    finally:
        for kind in "fb":  # those of a namespace that is deleted are there for a while yet
            subprocess.run(["ip", "link", "del", f"{name}{kind}"], capture_output=True)
        _ip("netns", "del", name)


@contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """So many machines while the block runs."""
    with ExitStack() as stack:
        yield [stack.enter_context(_machine(next(_NUMBERS))) for _ in range(count)]


def why_none() -> str | None:
    """Why there can be no machines here; None where there can."""
    if shutil.which("ip") is None:
        return "there are no network namespaces here: ip (iproute2) is not installed"
    try:
        with machines(1):
            return None
    except subprocess.CalledProcessError as exc:
        return f"there are no network namespaces here: {exc.stderr.decode().strip()}"
