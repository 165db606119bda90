"""The three logs: what was answered, what the streams brought, what the webhooks said.

MiniVoice's documentation asks for three separate logs because they answer three questions: was
the action valid, did media arrive, what was the call's final result? So there are three files in
the data folder, `answers.jsonl`, `streams.jsonl` and `webhooks.jsonl`, with one JSON object a
line:

    {"time": "2026-05-29T12:10:00.123456Z", "log": "streams", "level": "info", "what": "started",
     "call_id": "call_123", "stream_id": "stream_4f1d…", …}

`call_id` and `stream_id` stand where they are known, `node` where there are several processes;
`what` is one of the short names in `WHAT`, which do not change; what else stands in a line depends
on it. A line that tells of trouble (level warning or error) has the `code` of the error catalogue.
The same lines go to three standard loggers, `minivoice_ref.answers`, `.streams` and `.webhooks`,
each record with the whole line in its attribute `minivoice`, so that an embedding program can route
them; `terminal.py` shows them to people.

The files are written by one task through a `Disk`, never by whoever notes something. An orderly end
writes all that was noted. Secrets are kept out by those who note; as a second fence every line is
searched for the secrets we know and for stream tokens before it goes anywhere.

This module knows nothing of calls, sockets or HTTP. Read next: `log_files.py`; what is read out of
the logs again stands in `evidence.py`.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.protocol.error_catalogue import CATALOGUE
from minivoice_ref.protocol.redaction import excerpt, hide_tokens
from minivoice_ref.receiver.disk import Disk
from minivoice_ref.receiver.log_files import append

__all__ = ["LOGS", "WHAT", "Journal", "Log", "Note", "in_words", "open_journal", "told_of"]

Log: TypeAlias = Literal["answers", "streams", "webhooks"]
LOGS: tuple[Log, ...] = ("answers", "streams", "webhooks")

WHAT: Mapping[Log, Mapping[str, str]] = {
    "answers": {
        "answered": "the application's answer was valid and left; its actions",
        "invalid": "the application's answer has faults, all of them here; 500 was answered",
        "late": "on_answer did not decide in time; 500 was answered",
        "failed": "on_answer raised; 500 was answered",
        "refused": "the request could not be understood; its status and why",
        "lost_lines": "so many lines could not be kept while the disk failed",
    },
    "streams": {
        "refused": "a request for a stream, or for nothing we have; status and why",
        "connection": "trouble on a connection: TLS, its head, its deadlines, faults",
        "limit": "somebody is over this limit; so many were refused since the last such line",
        "settings": "with this setting, the stream URLs of our answers may lead nowhere",
        "open": "a stream connected: path, headers and subprotocols, secrets redacted",
        "opened_again": "its token has opened streams before: this one is the nth",
        "message": "one of the first messages of a stream, as it came",
        "started": "the dialect, the format and the tracks of a stream are known",
        "call_ids_differ": "the start message names another call than the token; the token wins",
        "first_media": "the first audio of a track",
        "gap": "audio is missing before this place of a track",
        "jump": "a track's timestamps leapt: the platform's clock counts as set anew",
        "unknown": "a message that no dialect understood",
        "event": "a digit was pressed or a mark came",
        "progress": "what came so far, every few seconds",
        "lagging": "on_stream is behind by the whole hand-over; its oldest audio is dropped",
        "caught_up": "on_stream has caught up; what was dropped in the meantime",
        "application_returned": "on_stream returned before its stream ended; receiving goes on",
        "application_failed": "on_stream raised; the stream ends",
        "application_cut": "on_stream did not return in time after its stream ended",
        "recording": "a recording began; its file",
        "recording_failed": "a recording ended before its stream did, and why",
        "recording_lacks": "so many samples came that have no place in the recording",
        "capture": "every message of the stream is kept in this file",
        "capture_failed": "the capture ended before its stream did, and why",
        "not_published": "more waits for Redis than is kept, or so much still waited at the end",
        "publishing": "audio cannot be handed on to other machines, or can again",
        "disconnected": "the connection is over: close code, reason, by whom",
        "account": "the last line of a stream: all that came, lost and dropped, and the recording",
        "lost_lines": "so many lines could not be kept while the disk failed",
        "blocked": "a task kept the event loop for so long, and with it every stream",
        "certificate": "the certificate was read anew; new connections get it",
        "certificate_failed": "it could not be; the one before stays",
        "console_opened": "a browser looks at the console, from here",
        "console_closed": "it has gone; so many messages it was too slow for",
        "console_missed": "the console of another process was too slow for so many messages",
        "console_refused": "somebody may not look: status, why, from where",
        "listening": "somebody listens to the call by the console, from here",
        "listening_ended": "and does not any more",
        "test_call": "a test call was ordered at the console, from here",
    },
    "webhooks": {
        "accepted": "an event was committed and acknowledged",
        "duplicate": "an event that we have already was acknowledged again",
        "refused": "a delivery was refused; its status and why",
        "not_stored": "an event could not be committed; 503 was answered, so that it is sent again",
        "handled": "on_event returned",
        "failed": "on_event raised; when it is tried again",
        "set_aside": "on_event failed too often; the event waits for a person",
        "inbox": "the store of the events fails or works again",
        "lost_lines": "so many lines could not be kept while the disk failed",
    },
}
"""Every name that a line's `what` can have, and what it means."""

_USUAL = Limits()
_MOST_BYTES = 8 * 1024 * 1024
_RETRY_AFTER = 1.0
_LONGEST_ERROR = 400  # characters


class Note(Protocol):
    """Adds a line to the streams' log, with the ids of one stream; see `Journal.note`."""

    def __call__(self, what: str, *, code: str | None = None, **fields: Any) -> None: ...


class Journal:
    """Takes notes at once and writes them soon.

    What waits for the disk is bounded (8 MiB). When it is full, the newest line is lost and
    counted, and the first line that finds room again says how many were. Everything here is
    called from Trio's thread. `on_line` is called with each line, lost or not.
    """

    def __init__(
        self,
        folder: Path,
        disk: Disk,
        *,
        clock: Callable[[], float],
        secrets: Iterable[str],
        limits: Limits = _USUAL,
        node: str | None = None,
    ) -> None:
        self._node = node
        self._folder = folder
        self._disk = disk
        self._clock = clock
        self._limits = limits
        self._secrets = tuple(secrets)
        self._waiting: dict[Log, list[bytes]] = {}
        self._size = 0
        self._lost = 0
        self._something_waits = trio.Event()
        self.trouble: str | None = None
        self.on_line: Callable[[Mapping[str, object]], None] | None = None

    def note(
        self,
        log: Log,
        what: str,
        *,
        level: int | None = None,
        code: str | None = None,
        call_id: str | None = None,
        stream_id: str | None = None,
        **fields: object,
    ) -> None:
        """Add a line to one of the logs. Never waits, and never raises for what a peer sent.

        *code* is that of the error catalogue; trouble has one, and is a warning unless *level* says
        otherwise; all else is information. Fields that are None are left out.
        Raises KeyError for a *what* that is not in `WHAT`, or a *code* that is not in the
        catalogue: a slip of ours.
        """
        if what not in WHAT[log] or (code is not None and code not in CATALOGUE):
            raise KeyError(what, code)
        if level is None:
            level = logging.INFO if code is None else logging.WARNING
        moment = datetime.fromtimestamp(self._clock(), timezone.utc)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "log": log,
            "level": logging.getLevelName(level).lower(),
            "what": what,
            "code": code,
            "node": self._node,
        }
        told = {"call_id": call_id, "stream_id": stream_id, **fields}
        line.update((name, self._clean(value)) for name, value in told.items())
        kept = {name: value for name, value in line.items() if value is not None}
        logger = logging.getLogger(f"minivoice_ref.{log}")
        if logger.isEnabledFor(level):
            logger.log(level, "%s", in_words(kept), extra={"minivoice": kept})
        if self.on_line is not None:
            self.on_line(kept)
        self._put(log, json.dumps(kept).encode("ascii") + b"\n")

    def _clean(self, value: object) -> object:
        """*value* as JSON can hold it, without the secrets we know and without stream tokens."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        return self.without_secrets(str(value))

    def without_secrets(self, text: str) -> str:
        """*text* without the secrets we know and without stream tokens: whatever is to be kept."""
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return hide_tokens(text)

    def _put(self, log: Log, line: bytes) -> None:
        if self._size + len(line) > _MOST_BYTES:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self.note(log, "lost_lines", level=logging.ERROR, code="MV-705", lines=lost)
        self._waiting.setdefault(log, []).append(line)
        self._size += len(line)
        self._something_waits.set()

    async def write_as_it_comes(self) -> None:
        """Write what is noted, for ever. A failing disk is tried again every second."""
        while True:
            await self._something_waits.wait()
            await self.write()
            if self.trouble:
                await trio.sleep(_RETRY_AFTER)

    async def write(self) -> None:
        """Write what waits in one piece of disk work. What cannot be written keeps waiting."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._something_waits = trio.Event()
        left = {log: b"".join(lines) for log, lines in self._waiting.items()}
        self._waiting = {}
        try:
            left, self.trouble = await self._disk.run(
                partial(append, self._folder, left, self._limits)
            )
        except (OSError, MemoryError) as exc:  # not even a thread could be had
            self.trouble = f"{type(exc).__name__}: {exc}"
        finally:
            for log, data in left.items():
                self._waiting.setdefault(log, []).insert(0, data)
                self._something_waits.set()
            self._size = sum(len(line) for lines in self._waiting.values() for line in lines)


@asynccontextmanager
async def open_journal(
    folder: Path,
    disk: Disk,
    *,
    clock: Callable[[], float],
    secrets: Iterable[str] = (),
    limits: Limits = _USUAL,
    node: str | None = None,
    timeouts: Timeouts,
) -> AsyncIterator[Journal]:
    """Keep a journal in *folder*, which must exist, while the block runs; *node* is who we are.

    Leaving the block, for whatever reason, writes what was noted; cancellation does not stop
    that, but it gets no more than `timeouts.finish`.
    """
    journal = Journal(folder, disk, clock=clock, secrets=secrets, limits=limits, node=node)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.write_as_it_comes)
            yield journal
            nursery.cancel_scope.cancel()
    finally:
        with trio.move_on_after(timeouts.finish, shield=True):
            await journal.write()


def told_of(exc: BaseException) -> dict[str, str]:
    """What a line tells of a fault: `error`, the reason in one line, and the `traceback`.

    A group that holds a single exception tells no more than that one. An application's own may
    fail even at saying what it is, which `traceback` bears with.
    """
    trace = "".join(traceback.format_exception(exc))
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    words = f"{type(exc).__name__}: {traceback.TracebackException.from_exception(exc)}"
    return {"error": excerpt(words, _LONGEST_ERROR), "traceback": trace}


def in_words(line: Mapping[str, object]) -> str:
    """One line of a log for people: what happened, then each field that says more."""
    told = ("time", "log", "level", "what", "traceback")
    words = [str(line["what"])]
    for name, value in line.items():
        if name not in told:
            plain = isinstance(value, str) and value.isprintable() and value and " " not in value
            words.append(f"{name}={value if plain else json.dumps(value)}")
    return " ".join(words)
