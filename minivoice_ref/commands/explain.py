"""What became of a call, and where did it go wrong? Answered from the three logs.

  minivoice-ref explain
  minivoice-ref explain call_20260529T120000.000000000 --data minivoice-data

Without an id it is the call that began last; an answer's or a stream's id does as well. The answers
come in the documented debug order. Each failing step has a code, what it means, and what to do next
(`minivoice-ref help CODE`).

exit codes: 0 all is well or cannot be told yet, 1 something failed, 2 there is nothing to explain
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from minivoice_ref.commands.common import UsageError, add_json, print_json, seconds
from minivoice_ref.config import Config
from minivoice_ref.receiver.evidence import NoSuchCall, gather, read_lines
from minivoice_ref.receiver.explain import CLOCK_TOLERANCE, explain
from minivoice_ref.receiver.journal import LOGS
from minivoice_ref.receiver.log_files import last_lines

SUMMARY = "what became of a call, and where it went wrong, from the three logs"

_MOST_BYTES = 32 * 1024 * 1024  # of each log, from its end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("call", nargs="?", metavar="CALL_ID", help="left out: the last call")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the receiver's data folder")
    parser.add_argument(
        "--clock-tolerance",
        type=seconds,
        default=CLOCK_TOLERANCE,
        metavar="SECONDS",
        help=f"how far the platform's clock may differ from ours (default {CLOCK_TOLERANCE:g})",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the logs and print what they say of the call."""
    folder = arguments.data or _usual_folder()
    lines, foreign = read_lines(_texts(folder))
    if not lines:
        raise UsageError(f"{folder} has no line of a log; name the receiver's folder with --data")
    try:
        evidence = gather(lines, arguments.call)
    except NoSuchCall as exc:
        known = ", ".join(exc.known) or "none that has an id"
        raise UsageError(f"no line in {folder} is of {arguments.call}; the last: {known}") from None
    explanation = explain(evidence, tolerance=arguments.clock_tolerance)
    if arguments.json:
        print_json({**explanation.to_json(), "lines_left_out": foreign})
    else:
        print(explanation)
        if foreign:
            print(f"\nnote: {foreign} lines of the logs are torn or not ours, and were left out")
    return 1 if explanation.verdict == "fail" else 0


def _usual_folder() -> Path:
    """The data folder that the environment names to a receiver, or its default."""
    given = {name: os.environ[name] for name in ("MINIVOICE_DATA",) if name in os.environ}
    return Config.load(environ=given, plain=True).data


def _texts(folder: Path) -> Iterator[bytes]:
    """The lines of the three logs, those of each from its last 32 MiB; a log may be missing."""
    for log in LOGS:
        try:
            yield from last_lines(folder, log, _MOST_BYTES)
        except OSError as exc:
            raise UsageError(f"{exc.filename} cannot be read: {exc.strerror}") from None
