"""Run the receiver: answer_url, webhooks and streams, until SIGTERM or SIGINT.

  minivoice-ref cert certs
  minivoice-ref serve --tls-cert certs/cert.pem --tls-key certs/key.pem --record

Its answer to every call is one start_stream to its own stream URL below --public-url. Secrets come
from the environment (MINIVOICE_WEBHOOK_SECRET, MINIVOICE_TOKEN_KEY, or the same with _FILE for a
file that holds them); every other setting can come from there or from --config as well.
The first signal drains: no new connections, the live ones end by themselves within a grace; the
second one insists."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from functools import partial
from pathlib import Path

from minivoice_ref.commands.common import add_json, run_trio
from minivoice_ref.config import Config
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import Server, serve_until_signal
from minivoice_ref.receiver.terminal import log_to_terminal

SUMMARY = "run the receiver: answer_url, webhooks and streams"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings from a file")
    parser.add_argument("--listen", metavar="HOST:PORT", help="door of everything")
    parser.add_argument(
        "--stream-listen", metavar="HOST:PORT", help="a door of their own for streams"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate and its chain")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key")
    plain = "no TLS here: it ends at a proxy in front"
    parser.add_argument("--plain", action="store_true", default=None, help=plain)
    parser.add_argument("--public-url", metavar="URL", help="https URL that MiniVoice knows us by")
    parser.add_argument(
        "--track", choices=["inbound", "outbound", "both"], help="track of the default answer"
    )
    parser.add_argument(
        "--dialect",
        metavar="NAME",
        help="wire format of the streams; left out: whatever comes is recognised",
    )
    record = "write a WAV and an account of each stream"
    parser.add_argument("--record", action="store_true", default=None, help=record)
    capture = "keep every message of each stream, for `show` and `replay`"
    parser.add_argument("--capture", action="store_true", default=None, help=capture)
    parser.add_argument("--data", type=Path, metavar="DIR", help="logs, webhooks and recordings")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    names = [field.name for field in dataclasses.fields(Config)]
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    config = Config.load(toml=arguments.config, environ=os.environ, **given)
    on_started = _print_json_urls if arguments.json else _print_urls
    with log_to_terminal():
        run_trio(partial(serve_until_signal, App(), config, on_started=on_started))
    return 0


def _print_json_urls(server: Server) -> None:
    print(json.dumps({"urls": dataclasses.asdict(server.urls)}), flush=True)


def _print_urls(server: Server) -> None:
    for name, url in dataclasses.asdict(server.urls).items():
        print(f"{name:<9} {url}", flush=True)
