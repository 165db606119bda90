"""What is assumed about MiniVoice where its documentation is silent, and the setting for each.

  minivoice-ref assumptions
  minivoice-ref assumptions dialect

Settings without a prefix are the receiver's (`serve`, MINIVOICE_... in the environment); those with
CallPlan or --assume are the simulator's. One without a setting takes every known form."""

from __future__ import annotations

import argparse
import textwrap

from minivoice_ref.assumptions import AREAS, Assumption, all_assumptions, as_rst
from minivoice_ref.commands.common import UsageError, add_json, print_json

SUMMARY = "what is assumed about MiniVoice, and the setting for each"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("word", nargs="?", metavar="WORD", help="only those that have this word")
    parser.add_argument("--rst", action="store_true", help="print the list that the README has")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the part of it that was asked for."""
    if arguments.rst:
        print(as_rst())
        return 0
    word = (arguments.word or "").lower()
    chosen = [entry for entry in all_assumptions() if word in " ".join(_texts(entry)).lower()]
    if not chosen:
        raise UsageError(f"no assumption has the word {arguments.word}; leave it out to see all")
    if arguments.json:
        print_json({"assumptions": [entry.to_json() for entry in chosen]})
        return 0
    for area, heading in AREAS.items():
        entries = [entry for entry in chosen if entry.area == area]
        if entries:
            print(heading.replace("``", ""))
        for entry in entries:
            _print(entry)
    return 0


def _texts(entry: Assumption) -> list[str]:
    return [entry.name, entry.assumed, entry.why, entry.written]


def _print(entry: Assumption) -> None:
    setting = f"{entry.written} = {entry.value}" if entry.written else "no setting"
    print(f"  {entry.name}  [{setting}]")
    indent = " " * 6
    said = f"{entry.assumed} ({entry.why})"
    print(textwrap.fill(said, 100, initial_indent=indent, subsequent_indent=indent))
