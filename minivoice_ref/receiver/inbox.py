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
handled. Whoever handles an event has *claimed* its call. A claim ends with the process that made
it, so it need not survive a power failure, and its commit is not synced. A file that somebody
deletes or moves away can still be written to, but nobody would find it at the next start: nothing
is accepted into it until it is back.

An `Inbox` is the commons of a process that is alone: it has no neighbours to speak of. This module
knows neither HTTP nor the application. Read next: `returned.py`, `neighbours.py`, `worker.py`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import trio

from minivoice_ref.config import Limits
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.commons import (
    LONGEST_RETRY,
    Doubt,
    InboxFailed,
    SharedStream,
    Tell,
    WaitingEvent,
    end_of_call,
)
from minivoice_ref.receiver.disk import Disk, OpenDisk
from minivoice_ref.receiver.inbox_file import BUSY, connect
from minivoice_ref.receiver.returned import Returned, open_returned, returned_before

__all__ = ["Inbox", "open_inbox"]

_T = TypeVar("_T")

_NEXT = """
SELECT number, due FROM events
WHERE state = 'waiting' AND call_id NOT IN (SELECT call_id FROM claims)
ORDER BY due, number LIMIT 1
"""
_HANDLED = "state = 'handled', body = x'', error = NULL"
_REMEMBERED = 7 * 24 * 3600.0  # seconds


class Inbox:
    """The events that were accepted. Made by `open_inbox`; see `Commons` for what it can do.

    Every method runs as one piece of disk work, hence one after another; cancelled while it runs,
    it still runs to its end. Each raises InboxFailed where the database does, and `trouble` says
    so until something has been written again.
    """

    def __init__(
        self,
        path: Path,
        notes: Path,
        database: sqlite3.Connection,
        disk: Disk,
        returned: Returned,
        *,
        clock: Callable[[], float],
        remembered: float,
        node: str,
    ) -> None:
        self._path = path
        self._notes = notes
        self._file = os.stat(path)
        self._database = database
        self._disk = disk
        self._returned = returned
        self._clock = clock
        self._remembered = remembered
        self.node = node
        self.trouble: str | None = None
        self.others: Mapping[str, Mapping[str, Any]] = {}

    # --- those who died ---

    async def recover(self) -> None:
        """Bury whoever had a claim and died, and the one of our name before us."""
        await self._run(self._recover, writes=False)  # mostly there is nothing to write
        self._returned.was_read = True

    def _recover(self) -> None:
        with self._transaction():
            for (node,) in self._database.execute(
                "SELECT node FROM claims UNION SELECT ?", (self.node,)
            ).fetchall():
                if self._is_dead(node):
                    self._bury(node)

    def _is_dead(self, node: str) -> bool:
        """Whether nobody of that name has the database open, now that we begin: we are alone."""
        del node
        return True

    def _bury(self, node: str) -> None:
        """Mark what a *node* had handled when it died, and free what it had claimed."""
        had_handled = returned_before(self._path, self._notes, node)
        waiting = "SELECT number, key FROM events WHERE state = 'waiting'"
        for number, key in self._database.execute(waiting).fetchall():
            if had_handled(key):
                self._database.execute(f"UPDATE events SET {_HANDLED} WHERE number = ?", (number,))
        self._database.execute("DELETE FROM claims WHERE node = ?", (node,))

    # --- events ---

    async def accept(self, event: CallEvent, body: bytes) -> bool:
        """Commit an event as it came; see `Commons.accept`."""
        return await self._run(partial(self._accept, event, body))

    def _accept(self, event: CallEvent, body: bytes) -> bool:
        now, end = self._clock(), end_of_call(event)
        with self._transaction():
            new = self._database.execute(
                "INSERT INTO events (key, call_id, event, body, accepted, due)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
                (event.key, event.call.id, event.event, body, now, now),
            )
            if new.rowcount == 1 and end is not None:
                statement = "INSERT INTO ended (call_id, status, accepted) VALUES (?, ?, ?)"
                self._database.execute(statement, (*end, now))
        return new.rowcount == 1

    async def take(self) -> WaitingEvent | float:
        """Claim an event that is due; see `Commons.take`."""
        while True:
            row = await self._run(lambda: self._database.execute(_NEXT).fetchone(), writes=False)
            if row is None:
                return float("inf")
            number, wait = row[0], row[1] - self._clock()
            if 0 < wait <= LONGEST_RETRY:  # beyond that a clock was set back: it is due
                return float(wait)
            event = await self._run(partial(self._claim, number))
            if event is not None:
                return event

    def _claim(self, number: int) -> WaitingEvent | None:
        """Make an event ours, where no neighbour was faster."""
        now = self._clock()
        with self._transaction(synced=False):
            claimed = self._database.execute(
                "INSERT INTO claims (call_id, number, node)"
                " SELECT call_id, number, ? FROM events WHERE number = ? AND state = 'waiting'"
                " AND due NOT BETWEEN ? AND ? ON CONFLICT (call_id) DO NOTHING",
                (self.node, number, now + 0.001, now + LONGEST_RETRY),
            )
            if claimed.rowcount != 1:
                return None
            statement = "UPDATE events SET attempts = attempts + 1 WHERE number = ?"
            self._database.execute(statement, (number,))
            statement = "SELECT number, call_id, event, body, attempts FROM events WHERE number = ?"
            found, *rest = self._database.execute(statement, (number,)).fetchone()
        return WaitingEvent(str(found), *rest)

    async def returned(self, event: WaitingEvent, key: str) -> None:  # noqa: ASYNC910
        """Note it where no commit is waited for; see `returned.py`."""
        await self._returned.note(event.id, key)

    async def handled(self, event: WaitingEvent) -> None:
        """Note that an event was handled. Its body is let go, its key stays."""
        await self._release(event, _HANDLED)
        self._returned.forget(event.id)

    async def failed(self, event: WaitingEvent, error: str, wait: float) -> None:
        """Note that handling failed; see `Commons.failed`."""
        await self._release(event, "error = ?, due = ?", error, self._clock() + wait)

    async def set_aside(self, event: WaitingEvent, error: str) -> None:
        """Note that an event is not to be tried again; see `Commons.set_aside`."""
        await self._release(event, "state = 'set_aside', error = ?", error)

    async def _release(self, event: WaitingEvent, change: str, *values: object) -> None:
        """Change an event's row and end the claim."""

        def work() -> None:
            with self._transaction():
                statement = f"UPDATE events SET {change} WHERE number = ?"
                self._database.execute(statement, (*values, int(event.id)))
                statement = "DELETE FROM claims WHERE number = ?"
                self._database.execute(statement, (int(event.id),))

        await self._run(work)

    async def tidy(self) -> None:
        """Delete the keys of events that were handled and are old enough."""
        before = self._clock() - self._remembered

        def work() -> None:
            statement = "DELETE FROM events WHERE state = 'handled' AND accepted < ?"
            self._database.execute(statement, (before,))
            self._database.execute("DELETE FROM ended WHERE accepted < ?", (before,))

        await self._run(work, writes=False)  # mostly there is nothing to delete

    async def check(self) -> None:
        """Write something, to see whether that can be done again after a trouble."""
        await self._run(lambda: self._database.execute("PRAGMA user_version = 1"))  # as it was

    # --- neighbours: none ---

    async def enter(self, stream: SharedStream, limits: Limits) -> int:
        """Nothing to do: what this process knows of its streams is all there is."""
        await trio.lowlevel.checkpoint()
        del stream, limits
        return 0

    def leave(self, stream: SharedStream) -> None:
        """Nothing to do."""

    async def streams(self) -> Sequence[SharedStream]:
        """None that this process does not know by itself."""
        await trio.lowlevel.checkpoint()
        return ()

    async def run(self, calls: Calls, look: Callable[[], None], tell: Tell, doubt: Doubt) -> None:
        """Nothing to hear."""
        await trio.lowlevel.checkpoint()
        del calls, look, tell, doubt

    # --- the database ---

    @contextmanager
    def _transaction(self, *, synced: bool = True) -> Iterator[None]:
        """One commit of all that the block does, or of nothing."""
        self._database.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        finally:
            self._database.execute("PRAGMA synchronous = FULL")

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
        patience = BUSY if self.trouble is None else 0
        self._database.execute(f"PRAGMA busy_timeout = {patience}")
        return work()


@asynccontextmanager
async def open_inbox(
    path: Path,
    notes: Path,
    disk: OpenDisk,
    *,
    clock: Callable[[], float],
    remembered: float = _REMEMBERED,
) -> AsyncIterator[Inbox]:
    """Open the database at *path*, or make it, while the block runs. May raise ConfigError.

    It must be ours alone; *notes* is the folder in memory of `returned.py`. The keys of handled
    events are kept for *remembered* seconds.
    """
    node, only = "alone", disk(1)  # there is one connection to the database
    async with (
        connect(path, notes, only) as database,
        open_returned(path, notes, node, disk(1)) as returned,
    ):
        yield Inbox(
            path, notes, database, only, returned, clock=clock, remembered=remembered, node=node
        )
