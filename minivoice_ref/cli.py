"""The command line: parses, calls a command, and turns its outcome into an exit code.

Exit codes: 0 good, 1 a verdict of failure, 2 bad usage, 130 interrupted, 141 nobody reads what we
print. Commands stand in `commands/`, one file each.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from minivoice_ref._version import __version__
from minivoice_ref.commands import (
    assumed,
    call,
    cert,
    check,
    conformance,
    demo,
    doctor,
    explain,
    help,
    load,
    replay,
    serve,
    show,
)
from minivoice_ref.commands.common import INTERRUPTED
from minivoice_ref.protocol.errors import MiniVoiceError

__all__ = ["main"]

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "serve": serve,
    "call": call,
    "load": load,
    "conformance": conformance,
    "check": check,
    "doctor": doctor,
    "cert": cert,
    "explain": explain,
    "show": show,
    "replay": replay,
    "help": help,
    "assumptions": assumed,
}

_DESCRIPTION = """\
Both ends of a MiniVoice media stream: the receiver (the customer's side: answer_url, webhooks,
streams) and a stand-in for MiniVoice that places test calls without a phone.

Begin with `minivoice-ref demo`: one test call, all the way, on this machine."""

_EPILOG = """\
exit codes: 0 good, 1 a verdict of failure, 2 bad usage, 130 interrupted
`minivoice-ref COMMAND --help` teaches each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode still gets its line
    arguments = _parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
    except MiniVoiceError as exc:
        print(f"minivoice-ref {arguments.command}: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    assert isinstance(code, int)
    return code


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "minivoice-ref", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=form
    )
    parser.add_argument("--version", action="version", version=f"minivoice-ref {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name, help=module.SUMMARY, description=module.__doc__, formatter_class=form
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
