"""Place a test call at any application, ours or not, as MiniVoice would.

  minivoice-ref call --answer-url https://localhost:8443/answer \\
      --webhook-url https://localhost:8443/webhooks --ca certs/ca.pem

Asks the answer_url, checks and executes its actions, opens the streams and speaks into them in real
time, delivers the webhooks, and says at the end, in the documented debug order, what worked and
what did not. Where the application checks signatures, set MINIVOICE_WEBHOOK_SECRET (or
MINIVOICE_WEBHOOK_SECRET_FILE) as it is set there."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from minivoice_ref.commands.assumptions import add_assumptions
from minivoice_ref.commands.common import (
    add_ca,
    add_json,
    print_json,
    run_trio,
    seconds,
    trust,
    webhook_secret,
)
from minivoice_ref.commands.dialects import add_dialect
from minivoice_ref.commands.faults import add_faults, read_faults
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.simulator.call import CallPlan, RetrySchedule, place_call
from minivoice_ref.simulator.report import Moment
from minivoice_ref.simulator.speech import SPEECH_PROGRAMS, load_voice

SUMMARY = "place a test call at any application"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--answer-url", required=True, metavar="URL", help="whom to ask")
    parser.add_argument("--webhook-url", metavar="URL", help="whom to tell")
    parser.add_argument(
        "--answer-method",
        choices=["POST", "GET"],
        default="POST",
        help="how to ask (an assumption)",
    )
    parser.add_argument(
        "--response-within",
        type=seconds,
        default=Timeouts().response,
        metavar="SECONDS",
        help="how long the answer, or the acceptance of a webhook, may take (default %(default)g)",
    )
    parser.add_argument("--from", dest="from_number", default="+15551230001", metavar="NUMBER")
    parser.add_argument("--to", dest="to_number", default="+15551230002", metavar="NUMBER")
    parser.add_argument("--direction", choices=["inbound", "outbound"], default="inbound")
    _add_parties(parser)
    _add_webhooks(parser)
    parser.add_argument("--say-fails", action="store_true", help="the playback of say fails")
    parser.add_argument(
        "--recording-fails", action="store_true", help="recordings end with recording.failed"
    )
    add_dialect(parser)
    add_assumptions(parser)
    add_faults(parser)
    add_ca(parser)
    add_json(parser)


def _add_parties(parser: argparse.ArgumentParser) -> None:
    """Add what is heard on the call, and for how long."""
    for name, default, help in (
        ("speak", 5.0, "the parties speak before each stop_stream and before the end (default 5)"),
        ("talk", None, "they speak after transfer, bridge or conference (default: as --speak)"),
        ("hang-up-after", None, "after the answer the caller hangs up at the latest"),
    ):
        parser.add_argument(
            f"--{name}", type=seconds, default=default, metavar="SECONDS", help=f"how long {help}"
        )
    parser.add_argument(
        "--digits",
        default="",
        metavar="KEYS",
        help="the keys that the caller presses when asked to, for example 1#; w W , are pauses",
    )
    parser.add_argument("--caller", type=Path, metavar="WAV", help="the caller's voice (inbound)")
    parser.add_argument("--agent", type=Path, metavar="WAV", help="the agent's voice (outbound)")
    parser.add_argument(
        "--packaged-voice",
        action="store_true",
        help="say nothing in real words, although flite or espeak-ng is installed",
    )


def _add_webhooks(parser: argparse.ArgumentParser) -> None:
    """Add how webhooks are delivered. None of the schedule is documented."""
    parser.add_argument(
        "--duplicate-webhooks", action="store_true", help="deliver each event once more"
    )
    parser.add_argument(
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
        parser.add_argument(
            f"--retry-{name}",
            type=type(default),
            default=default,
            metavar=metavar,
            help=f"{help} (default {default:g})",
        )


def _schedule(arguments: argparse.Namespace) -> RetrySchedule:
    return RetrySchedule(
        attempts=arguments.retry_attempts,
        first=arguments.retry_first,
        factor=arguments.retry_factor,
        longest=arguments.retry_longest,
        jitter=arguments.retry_jitter,
    )


def run(arguments: argparse.Namespace) -> int:
    """Place the call, print what happens while it happens, and the verdict."""
    timeouts = Timeouts(response=arguments.response_within)
    plan = CallPlan(
        answer_url=arguments.answer_url,
        answer_method=arguments.answer_method,
        webhook_url=arguments.webhook_url,
        webhook_secret=webhook_secret(),
        speak=arguments.speak,
        caller=arguments.caller and load_voice(arguments.caller),
        agent=arguments.agent and load_voice(arguments.agent),
        from_number=arguments.from_number,
        to_number=arguments.to_number,
        direction=arguments.direction,
        talk=arguments.talk,
        hang_up_after=arguments.hang_up_after,
        digits=arguments.digits,
        say_fails=arguments.say_fails,
        recording_fails=arguments.recording_fails,
        speech_programs=() if arguments.packaged_voice else tuple(SPEECH_PROGRAMS),
        duplicate_webhooks=arguments.duplicate_webhooks,
        reorder_webhooks=arguments.reorder_webhooks,
        retries=_schedule(arguments),
        dialect=arguments.dialect,
        assumptions=arguments.assume,
        faults=read_faults(arguments),
        seed=arguments.seed,
        timeouts=timeouts,
    )
    connect = TcpConnector(trust(arguments), timeouts)
    observe = _ignore if arguments.json else _print_moment
    report = run_trio(partial(place_call, plan, connect=connect, observe=observe))
    if arguments.json:
        print_json(report.to_json())
    else:
        print(f"\n{report}")
    return 0 if report.passed else 1


def _ignore(moment: Moment) -> None:
    del moment


def _print_moment(moment: Moment) -> None:
    print(moment, file=sys.stdout, flush=True)
