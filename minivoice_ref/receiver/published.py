"""What the workers of one machine show each other: a document each, in a file of the data folder.

A document is replaced as a whole. It outlives its worker, so that whoever takes that worker's place
finds what it left; and it says how old it is, by a clock that all processes of a machine share.
The parent clears all of them away before its workers start.

This module knows nothing of what is published. Read next: `metrics_workers.py`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minivoice_ref.receiver.alive import is_alive, living
from minivoice_ref.receiver.disk import Disk

__all__ = ["Published", "Shown", "clear_published"]

_NAME = "figures.{}.json"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a worker has published last, whether it is alive, and how many seconds ago that was."""

    document: Any
    alive: bool
    age: float


class Published:
    """What the workers that share *folder* have published; as the worker of that *name*.

    `left` is what the one that had this name before has published last; None where there was none.
    """

    def __init__(
        self, folder: Path, name: str, disk: Disk, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._name = name
        self._disk = disk
        self._clock = clock
        self.left: Any = None
        with suppress(FileNotFoundError):
            self.left = json.loads(self._path(name).read_text("utf-8"))["document"]

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Be alive, for the others, while the block runs. Raises OSError."""
        with living(self._path(self._name).with_suffix(".lock")):
            yield

    async def publish(self, document: Any) -> None:
        """Show the others *document*, in the place of what they saw before. Raises OSError."""
        await self._disk.run(partial(self._write, {"at": self._clock(), "document": document}))

    async def shown(self) -> dict[str, Shown]:
        """What each worker has published last, by its name. Raises OSError."""
        return await self._disk.run(self._read)

    def _path(self, name: str) -> Path:
        return self._folder / _NAME.format(name)

    def _write(self, whole: Any) -> None:
        path = self._path(self._name)
        new = path.with_suffix(".new")
        new.touch(0o600)
        new.write_text(json.dumps(whole), "utf-8")
        os.replace(new, path)

    def _read(self) -> dict[str, Shown]:
        shown = {}
        for path in sorted(self._folder.glob(_NAME.format("*"))):
            # First whether it is alive: else a dead one's document could be its successor's.
            alive = is_alive(path.with_suffix(".lock"))
            whole = json.loads(path.read_text("utf-8"))
            age = self._clock() - whole["at"]
            shown[path.name.split(".")[1]] = Shown(whole["document"], alive, age)
        return shown


def clear_published(folder: Path) -> None:
    """Clear away what workers have published that are no more. Raises OSError."""
    for path in folder.glob(_NAME.format("*")):
        path.unlink()
