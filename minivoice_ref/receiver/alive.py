"""Which of our processes on this machine are alive: each holds the lock of a file of its own.

The kernel lets go of the lock when a process dies, however that comes about. The file stays: a file
that is deleted while another looks at it would be two locks.

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

_TRIES, _MOMENT = 11, 0.005  # seconds between two


@contextmanager
def living(path: Path) -> Iterator[None]:
    """Be alive, for whoever asks for *path*, while the block runs. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Take the lock; who only looks whether anybody has it, has it for an instant himself."""
    for left in reversed(range(_TRIES)):
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
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
