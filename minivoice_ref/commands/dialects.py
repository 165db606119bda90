"""The option `--dialect`, the same for every command that places calls."""

from __future__ import annotations

import argparse
import difflib

from minivoice_ref.protocol.dialects.detect import DIALECTS

__all__ = ["add_dialect"]


def add_dialect(parser: argparse.ArgumentParser) -> None:
    """Add `--dialect`."""
    parser.add_argument(
        "--dialect",
        type=_dialect,
        default="twilio",
        metavar="NAME",
        help=f"wire format of the streams (default twilio): {', '.join(DIALECTS)}",
    )


def _dialect(name: str) -> str:
    """The type of the option: a name that there is."""
    if name not in DIALECTS:
        near = difflib.get_close_matches(name.lower(), DIALECTS, n=1, cutoff=0.0)
        raise argparse.ArgumentTypeError(f"{name!r} is not a dialect; did you mean {near[0]}?")
    return name
