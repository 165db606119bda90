"""What several commands share: their options, their JSON, their way of saying no."""

from __future__ import annotations

import argparse
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import trio

from minivoice_ref.config import Config
from minivoice_ref.net.tls import client_context
from minivoice_ref.protocol.errors import MiniVoiceError

__all__ = ["UsageError", "add_ca", "add_json", "print_json", "run_trio", "seconds"]
__all__ += ["INTERRUPTED", "trust", "webhook_secret"]

_T = TypeVar("_T")
INTERRUPTED = 130  # the exit code of a shell for what SIGINT has ended


class UsageError(MiniVoiceError):
    """The user asked for what cannot be; the message says what to ask for instead."""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def add_ca(parser: argparse.ArgumentParser) -> None:
    """Add `--ca`."""
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="PEM file of an authority to trust beside the system's (see `minivoice-ref cert`)",
    )


def trust(arguments: argparse.Namespace) -> ssl.SSLContext:
    """The TLS context of a client that trusts the system's authorities and `--ca`."""
    return client_context(arguments.ca)


def webhook_secret() -> str | None:
    """The secret to sign webhooks with, from the environment; what else stands there is ignored.

    Raises ConfigError where it cannot be used.
    """
    names = ("MINIVOICE_WEBHOOK_SECRET", "MINIVOICE_WEBHOOK_SECRET_FILE")
    given = {name: os.environ[name] for name in names if name in os.environ}
    return Config.load(environ=given, plain=True).webhook_secret


def print_json(document: object) -> None:
    """Print *document* as JSON that people can read as well."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def seconds(text: str) -> float:
    """The type of an option that counts seconds: a number above 0."""
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return value


def run_trio(function: Callable[..., Awaitable[_T]], *arguments: Any) -> _T:
    """`trio.run`, which takes an exception that came alone out of the groups around it.

    Nurseries put what leaves them into groups; to a user, a wrong setting or Ctrl-C is one thing.
    """
    try:
        return trio.run(function, *arguments)
    except BaseExceptionGroup as group:
        alone: BaseException = group
        while isinstance(alone, BaseExceptionGroup) and len(alone.exceptions) == 1:
            alone = alone.exceptions[0]
        if isinstance(alone, BaseExceptionGroup):
            raise
        raise alone from None  # noqa: ASYNC123  # nobody reads the group
