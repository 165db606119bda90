"""The three logs for people: readable lines on the terminal, prefixed by which log it is.

    streams   12:10:00.123  started  call_id=call_123 stream_id=stream_4f1d dialect=twilio …

It is an ordinary handler of the logger `minivoice_ref`. The lines are written by a thread: a
terminal that stands still (a paused pager, a full pipe) must not stand in the way of a call.
"""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["TerminalFormatter", "log_to_terminal"]

_MOST_LINES = 10000


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
    Leaving the block writes what waits.
    """
    logger = logging.getLogger("minivoice_ref")
    lines: queue.Queue[Any] = queue.Queue(_MOST_LINES)
    handler = _Line(lines)
    terminal = logging.StreamHandler(stream or sys.stderr)
    terminal.setFormatter(TerminalFormatter())
    listener = logging.handlers.QueueListener(lines, terminal)
    before = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = False
    logger.addHandler(handler)
    listener.start()
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        listener.stop()
