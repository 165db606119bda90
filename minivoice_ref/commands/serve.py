"""Run the receiver: answer_url, webhooks and streams, until SIGTERM or SIGINT.

  minivoice-ref cert certs
  minivoice-ref serve --tls-cert certs/cert.pem --tls-key certs/key.pem --record

Its answer to every call is one start_stream to its own stream URL below --public-url. Secrets come
from the environment (MINIVOICE_WEBHOOK_SECRET, MINIVOICE_TOKEN_KEY, or the same with _FILE for a
file that holds them); every other setting can come from there or from --config as well.
The first signal drains: no new streams, the live ones end by themselves within a grace; the second
one insists. SIGHUP reads the certificate anew. With --console a browser shows the calls while they
happen; on other machines than this one only with MINIVOICE_CONSOLE_TOKEN."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import ssl
from functools import partial
from pathlib import Path

from minivoice_ref.commands.common import add_json, run_trio, seconds
from minivoice_ref.config import Config, Timeouts
from minivoice_ref.console import open_console
from minivoice_ref.console_calls import SimulatedCalls, stream_as_ordered
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.receiver.annex import OpenAnnex, together
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import Server, serve_until_signal
from minivoice_ref.receiver.terminal import log_to_terminal

SUMMARY = "run the receiver: answer_url, webhooks and streams"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="settings from a file")
    _add_sharing(parser)
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
    insecure = "serve other machines without TLS, or without a webhook secret, all the same"
    parser.add_argument("--insecure", action="store_true", default=None, help=insecure)
    parser.add_argument(
        "--watchdog",
        type=seconds,
        metavar="SECONDS",
        help="name in the log whoever keeps the event loop from turning for so long",
    )
    _add_annexes(parser)
    add_json(parser)


def _add_annexes(parser: argparse.ArgumentParser) -> None:
    """Declare what shows others how it goes."""
    console = "serve the console at /console/: watch and hear calls in a browser"
    parser.add_argument("--console", action="store_true", default=None, help=console)
    parser.add_argument(
        "--console-listen", metavar="HOST:PORT", help="a door of its own for the console"
    )
    metrics = "serve figures for Prometheus at /metrics"
    parser.add_argument("--metrics", action="store_true", default=None, help=metrics)
    tests = "let the console place test calls"
    parser.add_argument("--console-test-calls", action="store_true", default=None, help=tests)


def _add_sharing(parser: argparse.ArgumentParser) -> None:
    """Add what makes one receiver of several processes."""
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes behind the same doors, one a core"
    )
    parser.add_argument(
        "--cluster", metavar="URL", help="Redis that the nodes share: redis://HOST:PORT, rediss://…"
    )
    publish = "hand each stream's audio on to workers elsewhere, through the cluster's Redis"
    parser.add_argument("--publish-media", action="store_true", default=None, help=publish)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    names = [field.name for field in dataclasses.fields(Config)]
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    config = Config.load(toml=arguments.config, environ=os.environ, **given)
    show = _print_json_urls if arguments.json else _print_urls
    calls = _test_calls(config) if config.console and config.console_test_calls else None

    def on_serving(server: Server) -> None:
        if calls is not None:
            calls.urls = server.urls

    annexes: list[OpenAnnex] = []
    if config.console:
        annexes.append(partial(open_console, test_caller=calls))
    if config.metrics:
        from minivoice_ref.metrics import open_metrics  # of an extra, for who wants them

        annexes.append(open_metrics)
    annex = together(*annexes) if annexes else None
    app = App() if calls is None else App(on_answer=stream_as_ordered)
    with log_to_terminal():
        serve = partial(serve_until_signal, app, config, annex=annex)
        run_trio(partial(serve, on_started=show, on_serving=on_serving))
    return 0


def _test_calls(config: Config) -> SimulatedCalls:
    """Who places the console's test calls: it trusts our own certificate beside the system's."""
    context = client_context(config.tls_cert)
    # That it is ours is enough, whoever issued it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return SimulatedCalls(TcpConnector(context, Timeouts()), config.webhook_secret)


def _print_json_urls(server: Server) -> None:
    public = server.public_urls and dataclasses.asdict(server.public_urls)
    urls = {"urls": dataclasses.asdict(server.urls), "public_urls": public}
    print(json.dumps(urls), flush=True)


def _print_urls(server: Server) -> None:
    for name, url in dataclasses.asdict(server.urls).items():
        if url is not None:
            print(f"{name:<9} {url}", flush=True)
    if server.public_urls is not None:
        print("\nWhat the platform is given (public_url):", flush=True)
        for name in ("answer", "webhooks", "stream"):
            print(f"{name:<9} {getattr(server.public_urls, name)}", flush=True)
