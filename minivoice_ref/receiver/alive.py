"""Which of our processes on this machine are alive: each holds the lock of a file of its own.

The kernel lets go of the lock when a process dies, however that comes about. The file stays: a file
that is deleted while another looks at it would be two locks. Whoever only looks shares the lock
with others who look, so that none of them takes another for the one who is looked for.

This module knows nothing of what the processes do. Read next: `neighbours.py`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["is_alive", "living"]

_PATIENCE, _MOMENT = 0.05, 0.005  # seconds; the second, between two tries


@contextmanager
def living(path: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Be alive, for whoever asks for *path*, while the block runs.

    Only one can be. Raises BlockingIOError where another still is after *patience* seconds, which
    this blocks for; other kinds of OSError as they come.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, round(patience / _MOMENT))
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, more: int) -> None:
    """Take the lock, with so many *more* tries; who only looks has it for an instant himself."""
    for left in reversed(range(more + 1)):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
        time.sleep(_MOMENT)


def is_alive(path: Path) -> bool:
    """Whether a process, this one or another, is in the block of `living` with *path*."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
