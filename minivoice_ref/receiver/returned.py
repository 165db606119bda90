"""Which events the application is done with, told sooner than the database can be.

An event is marked in the database once `on_event` has returned. But a commit waits for the disk,
and for its turn among the webhooks that come in; killed in the meantime, the process would hand the
event over once more at its next start. So the event's digest goes into a small file first, which
waits for neither: what a process has written stays though it is killed. At the next start the
events of which the file tells are marked, before anything else is done.

There is one slot for each event that can be worked on at once. What stands in a slot that is not in
use does no harm: that event was handled. If the machine loses its power, the file may know less
than has happened; then the event comes again.

Read next: `worker.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.disk import Disk

__all__ = ["SLOTS", "Returned", "open_returned"]

SLOTS = 8
"""How many events are worked on at once."""

_SIZE = hashlib.sha256().digest_size
_MOMENT = 5.0  # seconds


class Returned:
    """The open file. Made by `open_returned`; *disk* must be nobody else's, so as not to wait."""

    def __init__(self, descriptor: int, told: bytes, disk: Disk) -> None:
        self._descriptor = descriptor
        self._disk = disk
        self._told = {told[at : at + _SIZE] for at in range(0, len(told), _SIZE)}

    def knows(self, key: str) -> bool:
        """Whether the file told, when it was opened, that the event with this key was handled."""
        return _digest(key) in self._told

    async def note(self, slot: int, key: str) -> None:  # noqa: ASYNC910  # it is shielded
        """Note that an event was handled. *slot* is its own until the database knows.

        Cancellation does not stop it. A disk that fails does no harm: the database is next.
        """
        work = partial(os.pwrite, self._descriptor, _digest(key), slot * _SIZE)
        with trio.move_on_after(_MOMENT, shield=True), suppress(OSError, MemoryError):
            await self._disk.run(work)


@asynccontextmanager
async def open_returned(path: Path, disk: Disk) -> AsyncIterator[Returned]:
    """Open the file *path*, for us alone, while the block runs. May raise ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        why = f"{path} cannot be used: {exc.strerror or exc}"
        raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc
    try:
        told = os.pread(descriptor, SLOTS * _SIZE, 0)
        with suppress(OSError):  # its room is taken now, so that a disk that is full later has it
            os.pwrite(descriptor, bytes(SLOTS * _SIZE - len(told)), len(told))
        yield Returned(descriptor, told, disk)
    finally:
        os.close(descriptor)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
