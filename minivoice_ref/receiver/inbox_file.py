"""The file of the inbox: what its tables are, and how it is opened.

Several processes may open it at the same moment (`neighbours.py`). SQLite makes whoever comes too
early wait, with one exception: while one of them turns a new file into one with a write-ahead log,
the others are told that it is locked, at once and for good. So they open it one after another.

This module knows nothing of events. Read next: `inbox.py`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.alive import living
from minivoice_ref.receiver.disk import Disk
from minivoice_ref.receiver.returned import forget_all

__all__ = ["BUSY", "SCHEMA", "connect"]

BUSY = 2000  # milliseconds that SQLite waits for another process's lock
_TURN = 20.0  # seconds; on a disk that is slow, several may have to wait for each other
_CACHE = 256  # KiB of pages; the system has the rest of them
SCHEMA = """
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
CREATE TABLE IF NOT EXISTS claims (
    call_id  TEXT PRIMARY KEY,
    number   INTEGER NOT NULL,
    node     TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS ended (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    call_id  TEXT NOT NULL,
    status   TEXT NOT NULL,
    accepted REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS ended_calls ON ended (call_id);
-- What follows is used where several processes have the inbox.
CREATE TABLE IF NOT EXISTS streams (
    stream_id TEXT PRIMARY KEY,
    subject   TEXT NOT NULL,
    token     TEXT NOT NULL,
    node      TEXT NOT NULL,
    expires_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS streams_subject ON streams (subject);
CREATE TABLE IF NOT EXISTS tokens (
    token     TEXT PRIMARY KEY,
    opened    INTEGER NOT NULL,
    expires_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS nodes (node TEXT PRIMARY KEY, told TEXT NOT NULL);
"""


@asynccontextmanager
async def connect(path: Path, notes: Path, disk: Disk) -> AsyncIterator[sqlite3.Connection]:
    """A connection to the database at *path*, made if need be. May raise ConfigError.

    Where it is made, what stands in the folder *notes* was noted of another.
    """
    try:
        database = await disk.run(partial(_open_in_turn, path, notes))
    except BlockingIOError as exc:
        why = f"{path} is being opened by another process, which has not come to an end of it"
        mend = "see what holds that one up: a disk that hangs, or somebody who has stopped it"
        raise ConfigError([Problem("data", why, mend)]) from exc
    except (OSError, sqlite3.Error) as exc:
        why = f"{path} cannot be used: {exc}"
        # `OperationalError` is what cannot be opened, written or locked; its base, what is damaged.
        damaged = type(exc) is sqlite3.DatabaseError
        mend = "move it away or restore it" if damaged else "name a folder that we may write to"
        raise ConfigError([Problem("data", why, mend)]) from exc
    try:
        yield database
    finally:
        database.close()


def _open_in_turn(path: Path, notes: Path) -> sqlite3.Connection:
    # Not the lock of the file itself: SQLite's own would be lost when ours is closed.
    with living(path.with_name(f"{path.name}.opening"), _TURN):
        return _open(path, notes)


def _open(path: Path, notes: Path) -> sqlite3.Connection:
    # SQLite gives its helper files the mode of the database, so it is made first, for us alone.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if path.stat().st_size == 0:
        forget_all(path, notes)
    database = sqlite3.connect(
        path, timeout=BUSY / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute(f"PRAGMA cache_size = -{_CACHE}")
        database.executescript(SCHEMA)
    except BaseException:
        database.close()
        raise
    return database
