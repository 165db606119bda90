"""Which events the application is done with, told sooner than the database can be.

An event is marked in the database once `on_event` has returned. But a commit waits for the disk,
and for its turn among the webhooks that come in; killed in the meantime, the process would hand the
event over once more at its next start. So the event's digest goes into a small file first, which
waits for neither: what a process has written stays though it is killed. The events of which the
file tells are marked before what the dead process had claimed is free for others.

Each process has a file of its own beside the inbox, with one slot for each event that can be worked
on at once. What stands in a slot that is not in use does no harm: that event was handled. If the
machine loses its power, the file may know less than has happened; then the event comes again.

Read next: `neighbours.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.commons import AT_ONCE
from minivoice_ref.receiver.disk import Disk

__all__ = ["Returned", "open_returned", "returned_before"]

_SIZE = hashlib.sha256().digest_size
_MOMENT = 5.0  # seconds


class Returned:
    """The open file. Made by `open_returned`; *disk* must be nobody else's, so as not to wait."""

    def __init__(self, descriptor: int, disk: Disk) -> None:
        self._descriptor = descriptor
        self._disk = disk
        self._free = list(range(AT_ONCE))
        self._slots: dict[str, int] = {}

    async def note(self, number: str, key: str) -> None:  # noqa: ASYNC910  # it is shielded
        """Note that the event of that *number* was handled; it has a slot until `forget`.

        Cancellation does not stop it. A disk that fails does no harm: the database is next.
        """
        slot = self._slots[number] = self._free.pop()
        work = partial(os.pwrite, self._descriptor, _digest(key), slot * _SIZE)
        with trio.move_on_after(_MOMENT, shield=True), suppress(OSError, MemoryError):
            await self._disk.run(work)

    def forget(self, number: str) -> None:
        """Give a slot free, if the event has one: the database knows."""
        if number in self._slots:
            self._free.append(self._slots.pop(number))


@asynccontextmanager
async def open_returned(inbox: Path, node: str, disk: Disk) -> AsyncIterator[Returned]:
    """Open a *node*'s file beside the *inbox* while the block runs. May raise ConfigError."""
    path = _beside(inbox, node)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        why = f"{path} cannot be used: {exc.strerror or exc}"
        raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc
    try:
        with suppress(OSError):  # its room is taken now, so that a disk that is full later has it
            size = os.fstat(descriptor).st_size
            os.pwrite(descriptor, bytes(max(AT_ONCE * _SIZE - size, 0)), size)
        yield Returned(descriptor, disk)
    finally:
        os.close(descriptor)


def returned_before(inbox: Path, node: str) -> Callable[[str], bool]:
    """Say of a key whether a *node*, which may be dead, has told that its event was handled.

    May raise OSError, other than for a file that is not there.
    """
    try:
        told = _beside(inbox, node).read_bytes()
    except FileNotFoundError:
        told = b""
    digests = {told[at : at + _SIZE] for at in range(0, len(told), _SIZE)}
    return lambda key: _digest(key) in digests


def _beside(inbox: Path, node: str) -> Path:
    return inbox.with_name(f"{inbox.name}.{node}.returned")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
