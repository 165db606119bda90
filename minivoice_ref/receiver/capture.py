"""Keeps all that was said on a stream, so that it can be shown and played again.

One file a stream, in the form that `protocol/capture_format.py` documents, gzipped. The receiving
task only puts each message into a list; all else (secrets taken out, JSON, gzip, the disk) happens
in a worker thread, about once a second. Each of these writes is a gzip member of its own, so the
file is valid up to the last one, also after a kill -9.

A disk that fails ends the capture and nothing else; the file keeps what was written before. So does
the limit of its size. Files are named by time and by our own stream id: a call's id is hostile
input and stands in the first line only.

This module knows nothing of sockets. Read next: `stream.py`.
"""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import trio

from minivoice_ref._version import __version__
from minivoice_ref.config import Config, Timeouts
from minivoice_ref.protocol.capture_format import (
    Ended,
    Handshake,
    Lost,
    Message,
    Record,
    hide_secrets,
    write_handshake,
    write_record,
)
from minivoice_ref.protocol.dialects.fields import object_of
from minivoice_ref.protocol.media import WireMessage
from minivoice_ref.receiver.disk import Disk, Writer
from minivoice_ref.receiver.endings import Ending
from minivoice_ref.receiver.journal import Note
from minivoice_ref.receiver.shared import Shared

__all__ = ["Capture", "capture_path", "new_capture"]

_MOST_BYTES = 4 * 1024 * 1024  # of messages that wait for the disk
_OVERHEAD = 64  # bytes that even an empty message counts for
_MANY_BYTES = 256 * 1024  # that do not wait for the second to be over
_EVERY = 1.0


def capture_path(folder: Path, stream_id: str, began: float) -> Path:
    """The file of a stream that began at *began* (Unix seconds): unique, sorted by time."""
    moment = datetime.fromtimestamp(began, timezone.utc)
    return folder / f"{moment:%Y%m%dT%H%M%SZ}_{stream_id}.jsonl.gz"


def new_capture(
    shared: Shared, stream_id: str, call_id: str | None, opened: Mapping[str, Any], note: Note
) -> Capture | None:
    """The capture of a stream that was just opened; None where the setting is off.

    *opened* is what the log says of the opening: peer, path, headers, subprotocols, all redacted.
    """
    config = shared.config
    if not config.capture:
        return None
    began = shared.clock()
    moment = datetime.fromtimestamp(began, timezone.utc).isoformat(timespec="microseconds")
    handshake = Handshake(
        stream_id=stream_id,
        call_id=call_id,
        began=moment.replace("+00:00", "Z"),
        program=f"minivoice-ref {__version__}",
        settings=_settings(config),
        **opened,
    )
    return Capture(
        capture_path(config.data / "captures", stream_id, began),
        handshake,
        shared.captures,
        limit=config.limits.capture,
        secrets=[*config.secrets, shared.token_key],
        note=note,
        timeouts=config.timeouts,
    )


class Capture:
    """The capture of one stream into the new file *path*, while `run` runs.

    Of messages, 4 MiB at most wait for the disk; newer ones are lost, and a `lost` line says how
    many. The file ends at *limit* bytes. *secrets* are taken out of all texts. *note* logs where
    the file is, and what became of it if something did. `timeouts.finish` bounds each of the last
    writes.
    """

    def __init__(
        self,
        path: Path,
        handshake: Handshake,
        disk: Disk,
        *,
        limit: int,
        secrets: Sequence[str] = (),
        note: Note,
        timeouts: Timeouts,
    ) -> None:
        self.path = path
        self.lost = 0
        self._secrets = secrets
        self._opened_at = trio.current_time()
        self._missing = Lost(0.0, 0, 0)
        self._writer = Writer(
            _File(path, handshake, limit, secrets),
            disk,
            most=_MOST_BYTES,
            many=_MANY_BYTES,
            every=_EVERY,
            on_open=partial(note, "capture", file=path),
            on_trouble=lambda why: note(
                "capture_failed", level=logging.ERROR, code="MV-706", why=why
            ),
            timeouts=timeouts,
        )
        self._writer.begin()

    @property
    def file(self) -> Path | None:
        """The file, for the log; None where it was never made, or is not whole."""
        writer = self._writer
        return self.path if writer.is_open and writer.trouble is None else None

    def add(self, messages: Sequence[WireMessage]) -> None:
        """Keep messages that came just now. Never waits."""
        if self._writer.trouble is not None:
            return
        at = trio.current_time() - self._opened_at
        for message in messages:
            size = len(message) + _OVERHEAD
            if self._writer.has_room(size):
                self._tell_missing()
                self._writer.add(Message(at, "platform", message), size)
            else:
                missing = self._missing
                self.lost += 1
                self._missing = Lost(at, missing.messages + 1, missing.bytes + len(message))

    def finish(self, ending: Ending) -> None:
        """Say that nothing more comes, and why: `run` writes the rest and returns."""
        self._tell_missing()
        at = trio.current_time() - self._opened_at
        reason = hide_secrets(ending.reason, self._secrets)
        self._writer.add(Ended(at, ending.what, ending.by, ending.code, reason))
        self._writer.finish()

    async def run(self) -> None:
        """Write what is added until `finish`; a disk that fails is logged. See `Writer.run`."""
        await self._writer.run()

    def _tell_missing(self) -> None:
        """Put a line where messages are missing, in front of what comes after them."""
        if self._missing.messages:
            self._writer.add(self._missing)
            self._missing = Lost(0.0, 0, 0)


class _File:
    """What the disk has of a capture. See `disk.Sink`."""

    def __init__(
        self, path: Path, handshake: Handshake, limit: int, secrets: Sequence[str]
    ) -> None:
        self._path = path
        self._handshake = handshake
        self._limit = limit
        self._secrets = secrets
        self._descriptor: int | None = None
        self._size = 0

    def open(self) -> None:
        """Make the folder and the file, and write its first line."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._descriptor = os.open(self._path, flags, 0o600)
        self._write(write_handshake(self._handshake))

    def put(self, records: Sequence[Record]) -> None:
        """Write a line for each record, without its secrets."""
        self._write(b"".join(map(write_record, map(self._clean, records))))

    def close(self, trouble: str | None) -> None:
        """Close the file."""
        del trouble  # the missing last line says it
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _clean(self, record: Record) -> Record:
        if not isinstance(record, Message):
            return record
        if isinstance(record.content, str):
            text = hide_secrets(record.content, self._secrets)
            return Message(record.at, record.sender, text)
        if (json := _as_json_text(record.content)) is not None:
            return Message(record.at, record.sender, hide_secrets(json, self._secrets).encode())
        return record

    def _write(self, lines: bytes) -> None:
        """Write one gzip member, whole or not at all."""
        assert self._descriptor is not None
        member = memoryview(gzip.compress(lines, 6))
        if self._size + len(member) > self._limit:
            raise OSError(f"the file would pass limits.capture, {self._limit} bytes")
        try:
            written = 0
            while written < len(member):
                written += os.write(self._descriptor, member[written:])
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(member)


def _settings(config: Config) -> dict[str, object]:
    """What the receiver takes for granted about streams, by the names of the capture's format."""
    return {
        "dialect": config.dialect,
        "fallback": config.fallback_format,
        "l16": config.l16,
        "one_channel": config.one_channel,
        "reorder_window": config.limits.reorder,
        "hold_messages": config.limits.held_messages,
        "hold_bytes": config.limits.held_bytes,
        "jump": config.limits.jump,
    }


def _as_json_text(content: bytes) -> str | None:
    """A binary message that is a JSON object, as some platforms send a start; None for audio."""
    if not content.startswith(b"{"):
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if object_of(text) is None else text
