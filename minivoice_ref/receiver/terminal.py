"""The three logs for people: readable lines on the terminal, prefixed by which log it is.

    streams   12:10:00.123  started  call_id=call_123 stream_id=stream_4f1d dialect=twilio …

It is an ordinary handler of the logger `minivoice_ref`. The lines are written by a thread: a
terminal that stands still (a paused pager, a full pipe) must not stand in the way of a call. Nor
may it keep the program from ending, so the thread is a daemon that holds no lock while it writes:
neither that of a logging handler nor that of a buffered stream, which an interpreter that ends
would wait for.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

__all__ = ["TerminalFormatter", "log_to_terminal"]

_Lines: TypeAlias = "queue.Queue[logging.LogRecord | None]"

_MOST_LINES = 10000
_LAST_WRITE = 2.0  # seconds for the terminal to take what waits when all is over


class TerminalFormatter(logging.Formatter):
    """One line of a log, with the log's name and the local time in front."""

    def __init__(self) -> None:
        super().__init__("%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Format a record of one of the three loggers, or of any other."""
        log = record.name.rpartition(".")[2]
        clock = f"{self.formatTime(record, '%H:%M:%S')}.{record.msecs:03.0f}"
        mark = "" if record.levelno <= logging.INFO else f"{record.levelname}  "
        return f"{log:<9} {clock}  {mark}{super().format(record)}"


class _Line(logging.handlers.QueueHandler):
    """Puts lines into the queue; when it is full, the newest line is dropped."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add a line if there is room."""
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass


@contextmanager
def log_to_terminal(
    stream: TextIO | None = None, level: int = logging.INFO
) -> Iterator[logging.Logger]:
    """Show the three logs on *stream* (the standard error) while the block runs.

    At most 10,000 lines wait for a terminal that stands still; then the newest are dropped.
    Leaving the block writes what waits, for two seconds at most.
    """
    logger = logging.getLogger("minivoice_ref")
    lines: _Lines = queue.Queue(_MOST_LINES)
    handler = _Line(lines)
    writer = threading.Thread(target=_write, args=(lines, stream or sys.stderr), daemon=True)
    before = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(handler)
    writer.start()
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])  # it has a cache, so that setting `level` is not enough
        logger.propagate = before[1]
        _end(lines)
        writer.join(_LAST_WRITE)


def _write(lines: _Lines, stream: TextIO) -> None:
    """Show lines until there is a None among them."""
    formatter = TerminalFormatter()
    with _writing(stream) as write:
        while (record := lines.get()) is not None:
            try:
                write(formatter.format(record) + "\n")
            except (OSError, ValueError):
                pass  # the terminal is gone; the logs are in their files


@contextmanager
def _writing(stream: TextIO) -> Iterator[Callable[[str], object]]:
    """A function that writes to *stream*: past its buffer where there is a file behind it."""
    try:
        descriptor = os.dup(stream.fileno())  # ours, whoever closes the stream
    except (OSError, ValueError):
        yield stream.write
        return
    with open(descriptor, "wb", buffering=0) as file:
        yield lambda text: _write_all(file, text.encode(stream.encoding, "backslashreplace"))


def _write_all(file: io.FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _end(lines: _Lines) -> None:
    """Let the writer end, at the cost of the oldest lines where there is no room to say so."""
    while True:
        try:
            return lines.put_nowait(None)
        except queue.Full:
            try:
                lines.get_nowait()
            except queue.Empty:
                pass
