"""Which events the application is done with, told sooner than the database can be.

An event is marked in the database once `on_event` has returned. But a commit waits for the disk,
and for its turn among the webhooks that come in; killed in the meantime, the process would hand the
event over once more at its next start. So the event's digest is written down twice before that:

- in the machine's memory, where there is a file system for that: there it can be written on the
  spot, in microseconds, and no disk that hangs can hold up the streams. It outlives the process,
  but not the machine, nor the container;
- in a small file beside the inbox, by a thread, a few milliseconds later when there is much to do.

The events of which either tells are marked before what the dead process had claimed is free for
others. Each process has files of its own, with one slot for each event that can be worked on at
once. What stands in a slot that is not in use does no harm: that event was handled. But of another
inbox, which had the name or, in its file system, the number of this one, it would: so whoever makes
an inbox clears away what is told of one. If the machine loses its power, both may know less than
has happened; then the event comes again.

Read next: `neighbours.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from glob import escape
from itertools import chain
from pathlib import Path

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.commons import AT_ONCE
from minivoice_ref.receiver.disk import Disk

__all__ = ["Returned", "forget_all", "open_returned", "returned_before"]

_SIZE = hashlib.sha256().digest_size
_MOMENT = 5.0  # seconds


class Returned:
    """The open files. Made by `open_returned`; *disk* must be nobody else's, so as not to wait."""

    def __init__(self, memory: int | None, file: int, disk: Disk) -> None:
        self._memory = memory
        self._file = file
        self._disk = disk
        self._free = list(range(AT_ONCE))
        self._slots: dict[str, int] = {}
        self.was_read = False  # what was noted before us stands in the database

    async def note(self, number: str, key: str) -> None:  # noqa: ASYNC910  # it is shielded
        """Note that the event of that *number* was handled; it has a slot until `forget`.

        Cancellation does not stop it. A disk that fails does no harm: the database is next.
        """
        slot = self._slots[number] = self._free.pop()
        digest, at = _digest(key), slot * _SIZE
        if self._memory is not None:
            with suppress(OSError):
                os.pwrite(self._memory, digest, at)
        with trio.move_on_after(_MOMENT, shield=True), suppress(OSError, MemoryError):
            await self._disk.run(partial(os.pwrite, self._file, digest, at))

    @property
    def is_done(self) -> bool:
        """Whether the database knows all that was noted, by us and before us."""
        return self.was_read and not self._slots

    def forget(self, number: str) -> None:
        """Give a slot free, if the event has one: the database knows."""
        if number in self._slots:
            self._free.append(self._slots.pop(number))


@asynccontextmanager
async def open_returned(inbox: Path, notes: Path, node: str, disk: Disk) -> AsyncIterator[Returned]:
    """Open a *node*'s files while the block runs; the *inbox* is there. May raise ConfigError.

    *notes* is a folder in memory. If there is none, the file beside the inbox has to do.
    """
    path = _beside(inbox, node)
    with ExitStack() as files:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            why = f"{path} cannot be used: {exc.strerror or exc}"
            raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc
        files.callback(os.close, file)
        with suppress(OSError):  # its room is taken now, so that a disk that is full later has it
            size = os.fstat(file).st_size
            os.pwrite(file, bytes(max(AT_ONCE * _SIZE - size, 0)), size)
        path = _in_memory(inbox, notes, node)
        memory = _open_memory(path, files)
        returned = Returned(memory, file, disk)
        try:
            yield returned
        finally:
            if memory is not None and returned.is_done:
                with suppress(OSError):
                    path.unlink()


def _open_memory(path: Path, files: ExitStack) -> int | None:
    """Open the file in memory; None where there can be none."""
    try:
        memory = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    files.callback(os.close, memory)
    # Anybody may make a file there.
    return memory if os.fstat(memory).st_uid == os.geteuid() else None


def returned_before(inbox: Path, notes: Path, node: str) -> Callable[[str], bool]:
    """Say of a key whether a *node*, which may be dead, has told that its event was handled.

    May raise OSError, other than for a file that is not there.
    """
    told = set(_read(_beside(inbox, node)))
    with suppress(OSError):
        path = _in_memory(inbox, notes, node)
        if path.lstat().st_uid == os.geteuid():
            told.update(_read(path))
    return lambda key: _digest(key) in told


def forget_all(inbox: Path, notes: Path) -> None:
    """Clear away what any node has told of another *inbox* in the place of this one."""
    beside = inbox.parent.glob(f"{escape(inbox.name)}.*.returned")
    in_memory = notes.glob(_in_memory(inbox, notes, "*").name)
    for path in chain(beside, in_memory):
        with suppress(OSError):  # what cannot be cleared away is no note of ours
            path.unlink()


def _read(path: Path) -> Iterator[bytes]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        text = b""
    for at in range(0, len(text), _SIZE):
        yield text[at : at + _SIZE]


def _beside(inbox: Path, node: str) -> Path:
    return inbox.with_name(f"{inbox.name}.{node}.returned")


def _in_memory(inbox: Path, notes: Path, node: str) -> Path:
    """The name is the inbox's own on this machine, whatever it is called and by whom."""
    told = os.stat(inbox)
    return notes / f"minivoice-{told.st_dev:x}-{told.st_ino:x}.{node}.returned"


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
