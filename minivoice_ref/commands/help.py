"""What does this code mean? The error catalogue: cause and mend of each code in the logs.

  minivoice-ref help
  minivoice-ref help MV-204

The hundreds follow the documented debug order: 1 the answer, 2 the stream's URL and its token, 3
accepting the connection, 4 the media, 5 the end of the stream, 6 webhooks and the call's result, 7
ourselves and our disk."""

from __future__ import annotations

import argparse
import textwrap

from minivoice_ref.commands.common import UsageError, add_json, print_json
from minivoice_ref.protocol.error_catalogue import CATALOGUE, Entry

SUMMARY = "what an error code means, why it happens, what to do about it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("code", nargs="?", metavar="CODE", help="MV-204, or 204; left out: all")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print one entry of the catalogue, or the list of all."""
    entries = list(CATALOGUE.values()) if arguments.code is None else [_find(arguments.code)]
    if arguments.json:
        documents = [entry.to_json() for entry in entries]
        print_json({"errors": documents} if arguments.code is None else documents[0])
    elif arguments.code is None:
        _print_list(entries)
    else:
        _print_entry(entries[0])
    return 0


def _find(code: str) -> Entry:
    entry = CATALOGUE.get(f"MV-{code.upper().removeprefix('MV-')}")
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
