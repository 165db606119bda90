"""Whom to call and how: the options that the commands which do so share, and the plan of a call.

`call` and `load` take all of them, `conformance` those that leave its scenarios what they are, and
`doctor`, which places no call, `add_application` alone. An option is named after the field of the
plan that it sets.

It must not know what becomes of a plan. Read next: `call.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from minivoice_ref.commands.assumptions import add_assumptions
from minivoice_ref.commands.common import seconds, webhook_secret
from minivoice_ref.commands.dialects import add_dialect
from minivoice_ref.config import Timeouts
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule
from minivoice_ref.simulator.speech import load_voice

__all__ = ["add_application", "add_call", "add_parties", "add_webhooks", "call_plan", "timeouts"]


def add_application(parser: argparse.ArgumentParser) -> None:
    """Add where the application is, and how long it may take."""
    group = parser.add_argument_group("the application")
    group.add_argument("--answer-url", required=True, metavar="URL", help="whom to ask")
    group.add_argument("--webhook-url", metavar="URL", help="whom to tell")
    group.add_argument(
        "--answer-method",
        choices=["POST", "GET"],
        default="POST",
        help="how to ask (an assumption)",
    )
    for name, help in (
        ("response", "the answer, or the acceptance of a webhook, may take"),
        ("close", "the closing handshake of a stream may take"),
    ):
        group.add_argument(
            f"--{name}-within",
            type=seconds,
            default=getattr(Timeouts(), name),
            metavar="SECONDS",
            help=f"how long {help} (default %(default)g)",
        )


def add_call(parser: argparse.ArgumentParser, *, speak: float) -> None:
    """Add what each call is like; the parties *speak* so many seconds unless told otherwise."""
    _add_ends(parser)
    group = parser.add_argument_group("the call")
    group.add_argument(
        "--speak",
        type=seconds,
        default=speak,
        metavar="SECONDS",
        help="how long the parties speak before each stop_stream and before the end (default"
        " %(default)g)",
    )
    group.add_argument(
        "--digits",
        default="",
        metavar="KEYS",
        help="the keys that the caller presses when asked to, for example 1#; w W , are pauses",
    )
    group.add_argument(
        "--expect-stream",
        action="store_true",
        help="fail a call whose answer starts no stream; else the questions about it get a dash",
    )
    add_dialect(parser)
    add_assumptions(parser)


def _add_ends(parser: argparse.ArgumentParser) -> None:
    """Add what the events and the requests say of a call."""
    group = parser.add_argument_group("what is told of the call")
    for name, default in (("from", "+15551230001"), ("to", "+15551230002")):
        group.add_argument(
            f"--{name}",
            dest=f"{name}_number",
            default=default,
            metavar="NUMBER",
            help=f"number that it is {name} (default %(default)s)",
        )
    group.add_argument(
        "--direction",
        choices=["inbound", "outbound"],
        default="inbound",
        help="its direction (default %(default)s)",
    )
    group.add_argument(
        "--variable",
        dest="variables",
        type=_variable,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of it, which its webhooks carry; may be repeated",
    )


def add_parties(parser: argparse.ArgumentParser) -> None:
    """Add who is on the call, when they leave, and what fails on it."""
    group = parser.add_argument_group("its parties")
    for name, help in (
        ("talk", "they speak after transfer, bridge or conference (default: as --speak)"),
        ("hang-up-after", "after the answer the caller hangs up at the latest"),
    ):
        group.add_argument(f"--{name}", type=seconds, metavar="SECONDS", help=f"how long {help}")
    group.add_argument("--caller", type=Path, metavar="WAV", help="the caller's voice (inbound)")
    group.add_argument("--agent", type=Path, metavar="WAV", help="the agent's voice (outbound)")
    group.add_argument("--say-fails", action="store_true", help="the playback of say fails")
    group.add_argument(
        "--recording-fails", action="store_true", help="recordings end with recording.failed"
    )


def add_webhooks(parser: argparse.ArgumentParser) -> None:
    """Add how webhooks are delivered. None of the schedule is documented."""
    group = parser.add_argument_group("its webhooks")
    group.add_argument(
        "--duplicate-webhooks", action="store_true", help="deliver each event once more"
    )
    group.add_argument(
        "--reorder-webhooks",
        action="store_true",
        help="hold some events back until the next one was delivered",
    )
    schedule = RetrySchedule()
    for name, metavar, help in (
        ("attempts", "N", "how often a webhook is tried in all"),
        ("first", "SECONDS", "pause before the second attempt"),
        ("factor", "X", "how much longer each further pause is"),
        ("longest", "SECONDS", "longest pause"),
        ("jitter", "PART", "part of a pause by which it is longer or shorter by chance"),
    ):
        default = getattr(schedule, name)
        group.add_argument(
            f"--retry-{name}",
            type=type(default),
            default=default,
            metavar=metavar,
            help=f"{help} (default %(default)g)",
        )


def timeouts(arguments: argparse.Namespace, **others: float) -> Timeouts:
    """The deadlines that `add_application` asks for, and *others*."""
    return Timeouts(response=arguments.response_within, close=arguments.close_within, **others)


def call_plan(arguments: argparse.Namespace, **changes: Any) -> CallPlan:
    """The plan of a call as *arguments* have it, with *changes*.

    Raises ConfigError where the plan cannot work, and a MiniVoiceError for a voice that cannot be
    read.
    """
    given = vars(arguments)
    names = [field.name for field in dataclasses.fields(CallPlan)]
    settings: dict[str, Any] = {name: given[name] for name in names if name in given}
    for voice in ("caller", "agent"):
        if settings.get(voice) is not None:
            settings[voice] = load_voice(settings[voice])
    if "retry_attempts" in given:
        fields = [field.name for field in dataclasses.fields(RetrySchedule)]
        settings["retries"] = RetrySchedule(**{name: given[f"retry_{name}"] for name in fields})
    settings |= {
        "variables": dict(arguments.variables),
        "webhook_secret": webhook_secret(),
        "assumptions": arguments.assume,
        "timeouts": timeouts(arguments),
    }
    return CallPlan(**settings | changes)


def _variable(text: str) -> tuple[str, str]:
    """The type of `--variable`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
