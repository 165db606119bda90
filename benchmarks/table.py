"""What all measurements share at their edges: options of the command line, tables, the JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.machine import describe_machine
from benchmarks.servers import node_versions

__all__ = ["RESULTS", "Column", "listed", "new_parser", "print_table", "write_results"]

RESULTS = Path(__file__).parent / "results"

_Value = TypeVar("_Value")
Column = tuple[str, int]
"""A heading and how wide the column is; a negative width is set from the left."""


def new_parser(
    name: str, description: str | None, *, seconds: float, repeat: int = 5
) -> argparse.ArgumentParser:
    """A parser with what every measurement can be told: `--seconds`, `--repeat`, `--output`."""
    parser = argparse.ArgumentParser(
        f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help=f"how long one measurement lasts (default {seconds:g})",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=repeat,
        help=f"how often each is made, in turn (default {repeat})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / f"{name}.json",
        metavar="FILE",
        help="where the JSON goes",
    )
    return parser


def listed(kind: Callable[[str], _Value]) -> Callable[[str], list[_Value]]:
    """For an option that takes several values, with commas between."""

    def read(text: str) -> list[_Value]:
        return [kind(part) for part in text.split(",")]

    return read


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Print a table for people."""
    for cells in ([heading for heading, _ in columns], *rows):
        print(
            "  ".join(
                f"{cell!s:<{-width}}" if width < 0 else f"{cell!s:>{width}}"
                for cell, (_, width) in zip(cells, columns, strict=True)
            ).rstrip()
        )
    print(flush=True)


def write_results(
    output: Path, how: argparse.Namespace, packages: Iterable[str] = (), **results: object
) -> None:
    """Write *results* as JSON, with the machine, the versions, and how it was measured."""
    settings = {name: value for name, value in vars(how).items() if name != "output"}
    machine = describe_machine(packages) | node_versions()
    output.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "measured": settings, **results}
    output.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
