"""The inbox of several processes on one machine: `--workers`.

All of them have the same SQLite file open (write-ahead log). What each has to know of the others it
looks up in one piece of disk work, a few times a second: `PRAGMA data_version` says whether anybody
else has committed anything since, which costs no more than a look at shared memory, and only then
is a table read. So a call that ended at one worker has ended at all of them after a quarter of a
second or so.

A neighbour is alive as long as it holds the lock of a file of its own (`alive.py`). What a dead
neighbour had claimed is free again, and its streams are gone. Read next: `worker.py`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from minivoice_ref.config import ConfigError, Limits
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.alive import is_alive, living
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.commons import Doubt, InboxFailed, SharedStream, Tell
from minivoice_ref.receiver.disk import Disk, OpenDisk
from minivoice_ref.receiver.inbox import Inbox
from minivoice_ref.receiver.inbox_file import connect
from minivoice_ref.receiver.live_streams import TooMany
from minivoice_ref.receiver.returned import Returned, open_returned

__all__ = ["SharedInbox", "open_shared_inbox"]

_LOOK_EVERY = 0.2  # seconds
_TELL_EVERY = 5  # looks
_RETRY_AFTER = 1.0


@dataclass(slots=True)
class _News:
    """What one look brought: calls that have ended, and whether anybody did anything."""

    ended: list[tuple[str, str]] = field(default_factory=list)
    changed: bool = False


class SharedInbox(Inbox):
    """An inbox that other processes have open, too. Made by `open_shared_inbox`."""

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
        super().__init__(
            path, notes, database, disk, returned, clock=clock, remembered=remembered, node=node
        )
        self._asked: set[str] = set()
        self._left: set[str] = set()
        self._version = -1
        self._last_end: int = database.execute(
            "SELECT ifnull(max(number), 0) FROM ended"
        ).fetchone()[0]

    async def enter(self, stream: SharedStream, limits: Limits) -> int:
        """Write a stream down where there is room for it; see `Commons.enter`."""
        return await self._run(partial(self._enter, stream, limits))

    def _enter(self, stream: SharedStream, limits: Limits) -> int:
        count = "SELECT count(*) FROM streams WHERE {} = ?"
        with self._transaction(synced=False):
            for column, limit in (("subject", "streams_per_call"), ("token", "streams_per_token")):
                value, most = getattr(stream, column), getattr(limits, limit)
                found = self._database.execute(count.format(column), (value,)).fetchone()[0]
                if value and found >= most:
                    raise TooMany(limit, most, 429)
            row = (stream.stream_id, stream.subject, stream.token, self.node, stream.expires_at)
            self._database.execute("INSERT INTO streams VALUES (?, ?, ?, ?, ?)", row)
            if not stream.token:
                return 1
            self._database.execute(
                "INSERT INTO tokens VALUES (?, 1, ?)"
                " ON CONFLICT (token) DO UPDATE SET opened = opened + 1",
                (stream.token, stream.expires_at),
            )
            statement = "SELECT opened FROM tokens WHERE token = ?"
            return int(self._database.execute(statement, (stream.token,)).fetchone()[0])

    def leave(self, stream: SharedStream) -> None:
        """Have a stream struck out at the next look."""
        self._left.add(stream.stream_id)

    async def streams(self) -> Sequence[SharedStream]:
        """The live streams of all workers."""
        statement = "SELECT stream_id, subject, token, node, expires_at FROM streams"
        rows = await self._run(lambda: self._database.execute(statement).fetchall(), writes=False)
        return [SharedStream(*row) for row in rows]

    async def tidy(self) -> None:
        """Forget also the tokens that have expired."""
        await super().tidy()
        statement, now = "DELETE FROM tokens WHERE expires_at < ?", self._clock()
        await self._run(lambda: self._database.execute(statement, (now,)), writes=False)

    async def run(self, calls: Calls, look: Callable[[], None], tell: Tell, doubt: Doubt) -> None:
        """Look at what the neighbours did, for ever; see `Commons.run`."""
        del doubt  # SQLite syncs every commit
        calls.on_stream = self._asked.add
        looks = 0
        while True:
            told = (
                json.dumps(dict(tell()) | {"pid": os.getpid()})
                if looks % _TELL_EVERY == 0
                else None
            )
            asked, left = tuple(self._asked), tuple(self._left)
            try:
                news = await self._run(partial(self._look, asked, left, told), writes=False)
            except InboxFailed:
                look()  # the worker sees to it that the database is tried, and says how it goes
                self._asked.intersection_update(calls.with_streams())
                await trio.sleep(_RETRY_AFTER)
                continue
            looks += 1
            self._asked.difference_update(asked)
            self._left.difference_update(left)
            for call_id, status in news.ended:
                calls.end(call_id, status)
            if news.changed:
                look()
            await trio.sleep(_LOOK_EVERY)

    # --- one look ---

    def _look(self, asked: Sequence[str], left: Sequence[str], told: str | None) -> _News:
        news = _News()
        if left:
            with self._transaction(synced=False):
                statement = "DELETE FROM streams WHERE stream_id = ?"
                self._database.executemany(statement, [(stream_id,) for stream_id in left])
        if told is not None:
            with self._transaction(synced=False):
                self._database.execute(
                    "INSERT OR REPLACE INTO nodes VALUES (?, ?)", (self.node, told)
                )
            news.changed = self._bury_the_dead()
            self.others = dict(self._hear())
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version, news.changed = version, True
            news.ended.extend(self._newly_ended())
        for call_id in asked:
            statement = (
                "SELECT call_id, status FROM ended WHERE call_id = ? ORDER BY number LIMIT 1"
            )
            news.ended.extend(self._database.execute(statement, (call_id,)))
        return news

    def _newly_ended(self) -> Iterator[tuple[str, str]]:
        statement = "SELECT number, call_id, status FROM ended WHERE number > ? ORDER BY number"
        for number, call_id, status in self._database.execute(
            statement, (self._last_end,)
        ).fetchall():
            self._last_end = number
            yield call_id, status

    def _hear(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for node, told in self._database.execute("SELECT node, told FROM nodes ORDER BY node"):
            if node != self.node:
                yield node, json.loads(told)

    def _bury_the_dead(self) -> bool:
        """Free what dead neighbours had; return whether there were any."""
        found = self._database.execute(
            "SELECT node FROM nodes UNION SELECT node FROM claims UNION SELECT node FROM streams"
        ).fetchall()
        if not any(node != self.node and self._is_dead(node) for (node,) in found):
            return False
        with self._transaction(synced=False):
            for (node,) in found:
                # Looked at again: one that begins anew now can claim nothing until we are done.
                if node != self.node and self._is_dead(node):
                    self._bury(node)
        return True

    def _is_dead(self, node: str) -> bool:
        return node == self.node or not is_alive(_life(self._path, node))

    def _bury(self, node: str) -> None:
        super()._bury(node)
        for table in ("nodes", "streams"):
            self._database.execute(f"DELETE FROM {table} WHERE node = ?", (node,))

    def leave_for_good(self) -> None:
        """Free what is ours: nobody handles it any more."""
        with self._transaction(synced=False):
            self._bury(self.node)


@asynccontextmanager
async def open_shared_inbox(
    path: Path,
    notes: Path,
    disk: OpenDisk,
    *,
    clock: Callable[[], float],
    remembered: float,
    node: str,
) -> AsyncIterator[SharedInbox]:
    """Open the inbox at *path* beside others, as the *node* of that name, while the block runs.

    No two living nodes may have one name. May raise ConfigError.
    """
    only = disk(1)  # there is one connection to the database
    with _alive(path, node):  # first and last: what else has our name is ours only as long
        async with (
            connect(path, notes, only) as database,
            open_returned(path, notes, node, disk(1)) as returned,
        ):
            inbox = SharedInbox(
                path, notes, database, only, returned, clock=clock, remembered=remembered, node=node
            )
            try:
                yield inbox
            finally:
                with suppress(sqlite3.Error, OSError):  # then a neighbour will see to it
                    inbox.leave_for_good()


@contextmanager
def _alive(path: Path, node: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(living(_life(path, node)))
        except BlockingIOError as exc:
            why = f"{path} has still a worker that drains, {node}, whose parent was killed"
            raise ConfigError([Problem("data", why, "wait for its end, or end it")]) from exc
        except OSError as exc:
            why = f"{_life(path, node)} cannot be used: {exc.strerror or exc}"
            raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc
        yield


def _life(path: Path, node: str) -> Path:
    """The file that a node holds the lock of as long as it lives."""
    return path.with_name(f"{path.name}.{node}")
