"""The files of the three logs: appended to, begun anew when they are full, read back from the end.

    answers.jsonl     what is written now
    answers.jsonl.1   what was written before it, `.2` before that, and so on

Each piece of work opens the file anew, so that whoever rotates logs from outside may move it away
at any time. Several workers may write to one log: whoever writes holds the file's lock. A line that
a full disk or a killed process cut short is ended by the next one, and whoever reads skips it.

Blocking: for a `Disk`. Read next: `inbox.py`.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from minivoice_ref.config import Limits

__all__ = ["append", "last_lines", "log_file"]

_Log = TypeVar("_Log", bound=str)


def log_file(folder: Path, log: str, age: int = 0) -> Path:
    """The file of a log; of *age* 1 the one before it."""
    return folder / (f"{log}.jsonl.{age}" if age else f"{log}.jsonl")


def append(
    folder: Path, lines: Mapping[_Log, bytes], limits: Limits
) -> tuple[dict[_Log, bytes], str | None]:
    """Append to each log's file; return what could not be written, and why not."""
    left = dict(lines)
    for log, data in lines.items():
        path = log_file(folder, log)
        try:
            descriptor = _open_locked(path)
            try:
                _end_torn_line(descriptor)
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                    # A line that was cut in two is kept whole for the next try.
                    left[log] = data[data.rfind(b"\n", 0, written) + 1 :]
                del left[log]
                if os.fstat(descriptor).st_size >= limits.log_file:
                    _begin_anew(folder, log, limits.log_files)
            finally:
                os.close(descriptor)
        except OSError as exc:
            return left, f"{path.name}: {exc.strerror or exc}"
    return left, None


def last_lines(folder: Path, log: str, most: int) -> Iterator[bytes]:
    """The lines in the last *most* bytes of a log, the oldest first; the first may be half a line.

    A log may be missing. Raises OSError for one that cannot be read.
    """
    pieces: list[tuple[Path, int]] = []
    age = 0
    while most > 0:
        path = log_file(folder, log, age)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            if age:
                break
            size = 0
        pieces.append((path, max(0, size - most)))
        most -= size
        age += 1
    for path, start in reversed(pieces):
        try:
            with path.open("rb") as file:
                file.seek(start)
                yield from file
        except FileNotFoundError:  # never written, or moved away just now
            continue


def _open_locked(path: Path) -> int:
    """Open a log and hold its lock until it is closed."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # While we waited for the lock its holder may have made this file an older one.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _end_torn_line(descriptor: int) -> None:
    """Put a line's end behind a last line that a full disk or a killed process cut short."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


def _begin_anew(folder: Path, log: str, kept: int) -> None:
    """Make each file one older; the oldest is gone."""
    for age in range(kept, 0, -1):
        younger = log_file(folder, log, age - 1)
        if younger.exists():
            os.replace(younger, log_file(folder, log, age))
