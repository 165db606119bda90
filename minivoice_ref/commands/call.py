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

from minivoice_ref.commands.application import (
    add_application,
    add_call,
    add_parties,
    add_webhooks,
    call_plan,
)
from minivoice_ref.commands.common import add_ca, add_json, print_json, run_trio, trust
from minivoice_ref.commands.faults import add_faults, read_faults
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.simulator.call import place_call
from minivoice_ref.simulator.report import Moment
from minivoice_ref.simulator.speech import SPEECH_PROGRAMS

SUMMARY = "place a test call at any application"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_application(parser)
    add_call(parser, speak=5.0)
    add_parties(parser)
    add_webhooks(parser)
    parser.add_argument(
        "--packaged-voice",
        action="store_true",
        help="say nothing in real words, although flite or espeak-ng is installed",
    )
    add_faults(parser)
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Place the call, print what happens while it happens, and the verdict."""
    plan = call_plan(
        arguments,
        speech_programs=() if arguments.packaged_voice else tuple(SPEECH_PROGRAMS),
        faults=read_faults(arguments),
    )
    connect = TcpConnector(trust(arguments), plan.timeouts)
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
