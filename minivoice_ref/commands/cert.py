"""`minivoice-ref cert DIR`: a local authority, and a certificate of it for localhost."""

from __future__ import annotations

import argparse
from pathlib import Path

from minivoice_ref.certificates import make_certificates
from minivoice_ref.commands.common import add_json, print_json

SUMMARY = "make a local authority and a certificate for localhost (extra: demo)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="where to put the three files")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        help="one more host name or address for the certificate (repeatable)",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the files and say what each is for."""
    files = make_certificates(arguments.directory, arguments.name)
    if arguments.json:
        print_json({"ca": str(files.ca), "cert": str(files.cert), "key": str(files.key)})
        return 0
    print(f"{files.ca}    the authority: give it to clients (`minivoice-ref call --ca`)")
    print(f"{files.cert}  the certificate: `minivoice-ref serve --tls-cert`")
    print(f"{files.key}   its private key: `minivoice-ref serve --tls-key`")
    return 0
