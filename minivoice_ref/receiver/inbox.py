"""Webhooks kept safe before they are acknowledged.

Any 2xx tells MiniVoice that an event is accepted and need not be sent again, so the event must be
on the disk before the 2xx leaves. It is one row of an SQLite database (write-ahead log, every
commit synced), and stays there until `on_event` has returned; `worker.py` sees to that, across
restarts.

Duplicates are documented to happen. An event's key is its call, its name, its time and a digest
of its data: the call and the name alone, as the platform advises, would drop the second
`call.gathered` of a call. Handled events leave their key behind for a week, which we assume to be
longer than the platform retries: its schedule is not documented (setting `webhook_memory`).

What a row is worth: `waiting`, then `handled` or `set_aside`; nothing is ever deleted that was not
handled. A file that somebody deletes or moves away can still be written to, but nobody would find
it at the next start: nothing is accepted into it until it is back. This module knows neither HTTP
nor the application. Read next: `worker.py`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import MiniVoiceError, Problem
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.disk import Disk

__all__ = ["Inbox", "InboxFailed", "WaitingEvent", "open_inbox"]

_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    key      TEXT NOT NULL UNIQUE,
    call_id  TEXT NOT NULL,
    event    TEXT NOT NULL,
    body     BLOB NOT NULL,
    accepted REAL NOT NULL,
    state    TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'handled', 'set_aside')),
    attempts INTEGER NOT NULL DEFAULT 0,
    due      REAL NOT NULL,
    error    TEXT
);
CREATE INDEX IF NOT EXISTS events_waiting ON events (due, number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS events_handled ON events (accepted) WHERE state = 'handled';
"""
_HANDLED = (
    "UPDATE events SET state = 'handled', attempts = attempts + 1, body = x'', error = NULL"
    " WHERE number = ?"
)
_BUSY = 2000  # milliseconds that SQLite waits for another process's lock
_CACHE = 256  # KiB of pages; the system has the rest of them
_REMEMBERED = 7 * 24 * 3600.0  # seconds


class InboxFailed(MiniVoiceError):
    """The database cannot do what was asked of it: full, read-only, locked, damaged, no memory."""


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that is to be handled: its row, and when it is due (Unix seconds)."""

    number: int
    call_id: str
    event: str
    body: bytes
    attempts: int
    due: float


class Inbox:
    """The events that were accepted. Made by `open_inbox`.

    Every method runs as one piece of disk work, hence one after another; cancelled while it runs,
    it still runs to its end. Each raises InboxFailed where the database does, and `trouble` says
    so until something has been written again.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        path: Path,
        disk: Disk,
        clock: Callable[[], float],
        remembered: float = _REMEMBERED,
    ) -> None:
        self._path = path
        self._file = os.stat(path)
        self._remembered = remembered
        self._database = database
        self._disk = disk
        self._clock = clock
        self.trouble: str | None = None

    async def accept(self, event: CallEvent, body: bytes) -> bool:
        """Commit an event as it came; return whether it is new. When this returns, it is safe."""
        now = self._clock()
        return await self._run(
            lambda: self._database.execute(
                "INSERT INTO events (key, call_id, event, body, accepted, due)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (event.key, event.call.id, event.event, body, now, now),
            ).rowcount
            == 1
        )

    async def first_waiting(self, except_calls: Collection[str]) -> WaitingEvent | None:
        """The event that is due first, those of some calls left out; None where none waits."""
        # The caller may change its collection while the statement waits for the disk.
        calls = tuple(except_calls)
        marks = ", ".join("?" * len(calls))
        row = await self._run(
            lambda: self._database.execute(
                "SELECT number, call_id, event, body, attempts, due FROM events"
                f" WHERE state = 'waiting' AND call_id NOT IN ({marks})"
                " ORDER BY due, number LIMIT 1",
                calls,
            ).fetchone(),
            writes=False,
        )
        return None if row is None else WaitingEvent(*row)

    async def handled(self, number: int) -> None:
        """Note that an event was handled. Its body is let go, its key stays."""
        await self._update(_HANDLED, number)

    async def recognise(self, is_handled: Callable[[str], bool]) -> None:
        """Mark the waiting events whose keys *is_handled* knows; see `returned.py`."""

        def work() -> None:
            waiting = "SELECT number, key FROM events WHERE state = 'waiting'"
            for number, key in self._database.execute(waiting).fetchall():
                if is_handled(key):
                    self._database.execute(_HANDLED, (number,))

        await self._run(work, writes=False)  # mostly there is nothing to write

    async def failed(self, number: int, error: str, due: float) -> None:
        """Note that handling failed, and when (Unix seconds) it is to be tried again."""
        await self._update(
            "UPDATE events SET attempts = attempts + 1, error = ?, due = ? WHERE number = ?",
            error,
            due,
            number,
        )

    async def set_aside(self, number: int, error: str) -> None:
        """Note that an event is not to be tried again until a person has looked at it."""
        await self._update(
            "UPDATE events SET state = 'set_aside', attempts = attempts + 1, error = ?"
            " WHERE number = ?",
            error,
            number,
        )

    async def forget_handled(self) -> None:
        """Delete the keys of events that were handled and are old enough."""
        before = self._clock() - self._remembered
        statement = "DELETE FROM events WHERE state = 'handled' AND accepted < ?"
        # Mostly there is nothing to delete, and then nothing is written.
        await self._run(lambda: self._database.execute(statement, (before,)), writes=False)

    async def check(self) -> None:
        """Write something, to see whether that can be done again after a trouble."""
        await self._update("PRAGMA user_version = 1")  # written anew though it is the same

    async def _update(self, statement: str, *values: object) -> None:
        await self._run(lambda: self._database.execute(statement, values))

    async def _run(self, work: Callable[[], _T], *, writes: bool = True) -> _T:
        try:
            result = await self._disk.run(partial(self._do, work, writes))
        except (sqlite3.Error, OSError, MemoryError) as exc:
            self.trouble = f"{type(exc).__name__}: {exc}"
            raise InboxFailed(self.trouble) from exc
        if writes:  # a full disk can still be read from
            self.trouble = None
        return result

    def _do(self, work: Callable[[], _T], writes: bool) -> _T:
        """Do disk work, which waits for another process's lock once, and not again after that.

        Many webhooks may have come in the meantime: all of them are to hear 503 in time.
        """
        if writes and not os.path.samestat(os.stat(self._path), self._file):
            raise OSError(f"{self._path} is not the file that was opened")
        patience = _BUSY if self.trouble is None else 0
        self._database.execute(f"PRAGMA busy_timeout = {patience}")
        return work()


@asynccontextmanager
async def open_inbox(
    path: Path, disk: Disk, *, clock: Callable[[], float], remembered: float = _REMEMBERED
) -> AsyncIterator[Inbox]:
    """Open the database at *path*, or make it, while the block runs. May raise ConfigError.

    *disk* must run one piece of work at a time: there is one connection to the database. The keys
    of handled events are kept for *remembered* seconds.
    """
    try:
        database = await disk.run(lambda: _connect(path))
    except (OSError, sqlite3.Error) as exc:
        why = f"{path} cannot be used: {exc}"
        # `OperationalError` is what cannot be opened, written or locked; its base, what is damaged.
        damaged = type(exc) is sqlite3.DatabaseError
        mend = "move it away or restore it" if damaged else "name a folder that we may write to"
        raise ConfigError([Problem("data", why, mend)]) from exc
    try:
        yield Inbox(database, path, disk, clock, remembered)
    finally:
        database.close()


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite gives its helper files the mode of the database, so it is made first, for us alone.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(
        path, timeout=_BUSY / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA cache_size = -{_CACHE}")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
