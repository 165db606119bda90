"""What does this code mean? The error catalogue: cause and mend of each code in the logs.

  minivoice-ref help
  minivoice-ref help MV-204

A code may be written as you like: MV-204, mv204, 204. The hundreds follow the documented debug
order: 1 the answer, 2 the stream's URL and its token, 3 accepting the connection, 4 the media, 5
the end of the stream, 6 webhooks and the call's result, 7 ourselves and our disk; 8 what `doctor`
finds at the hosts, before any call."""

from __future__ import annotations

import argparse
import re
import textwrap

from minivoice_ref.commands.common import UsageError, add_json, print_json
from minivoice_ref.protocol.error_catalogue import CATALOGUE, Entry

SUMMARY = "what an error code means, why it happens, what to do about it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("code", nargs="*", metavar="CODE", help="MV-204, or 204; left out: all")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one entry of the catalogue, or the list of all."""
    if arguments.code:
        entry = _find(" ".join(arguments.code))  # `help MV 204` comes as two words
        print_json(entry.to_json()) if arguments.json else _print_entry(entry)
    elif arguments.json:
        print_json({"errors": [entry.to_json() for entry in CATALOGUE.values()]})
    else:
        _print_list(list(CATALOGUE.values()))
    return 0


def _find(code: str) -> Entry:
    written = re.fullmatch(r"\s*(?:MV[-_\s]*)?([0-9]+)\s*", code, re.IGNORECASE | re.ASCII)
    entry = CATALOGUE.get(f"MV-{written[1]}") if written else None
    if entry is None:
        raise UsageError(f"{code} is no code of ours; `minivoice-ref help` lists them")
    return entry


def _print_list(entries: list[Entry]) -> None:
    group = ""
    for entry in entries:
        if entry.group != group:
            group = entry.group
            print(f"{entry.code[3]}xx {group}")
        print(f"  {entry.code}  {entry.title}")


def _print_entry(entry: Entry) -> None:
    print(f"{entry.code} {entry.title} ({entry.group})")
    for name, text in (("cause", entry.cause), ("mend", entry.mend)):
        indent = " " * 9
        print(textwrap.fill(f"  {name:<5}: {text}", 100, subsequent_indent=indent))
