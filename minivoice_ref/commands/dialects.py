"""The options `--dialect` and `--media-format`, the same for every command that places calls."""

from __future__ import annotations

import argparse

from minivoice_ref.protocol.capture_report import read_format
from minivoice_ref.protocol.dialects.detect import encoders
from minivoice_ref.protocol.documents import did_you_mean
from minivoice_ref.protocol.media import MediaFormat

__all__ = ["add_dialect"]


def add_dialect(parser: argparse.ArgumentParser) -> None:
    """Add `--dialect` and `--media-format`; whether the two go together is the plan's to say."""
    group = parser.add_argument_group("the wire")
    group.add_argument(
        "--dialect",
        type=_dialect,
        default="twilio",
        metavar="NAME",
        help=f"wire format of the streams (default twilio): {', '.join(encoders())}",
    )
    group.add_argument(
        "--media-format",
        type=_media_format,
        metavar="ENC/RATE",
        help="format of their audio, as l16le/16000, of those that the dialect's platform is known"
        " to send (default: the usual one; a wrong one is answered with those there are)",
    )


def _dialect(name: str) -> str:
    """The type of `--dialect`: a name that there is."""
    known = encoders()
    if name not in known:
        near = did_you_mean(name, known) or f"; choose one of: {', '.join(known)}"
        raise argparse.ArgumentTypeError(f"{name!r} is not a dialect{near}")
    return name


def _media_format(text: str) -> MediaFormat:
    """The type of `--media-format`; the one channel of a track may be left out."""
    try:
        return read_format(text if text.count("/") > 1 else f"{text}/1")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no format; write for example mulaw/8000 or l16le/16000"
        ) from None
