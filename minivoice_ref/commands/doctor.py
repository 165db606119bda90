"""Is a deployed application ready for MiniVoice's calls? Examined without placing one.

  minivoice-ref doctor --answer-url https://app.example.com/answer \\
      --webhook-url https://app.example.com/webhooks

Looks at DNS, TCP and TLS of each host (chain, name and days left of the certificate), asks the
answer_url for two calls that never were, opens the stream that the answer names and closes it
again, delivers probes to the webhook_url, and compares the clocks. A wrong token, no signature, a
wrong and an old one must be refused. Prints ticks, crosses with what mends them, and dashes with
why a question was not asked. Every call id in it begins with call_doctor_. Where the application
checks signatures, set MINIVOICE_WEBHOOK_SECRET (or MINIVOICE_WEBHOOK_SECRET_FILE) as it is set
there."""

from __future__ import annotations

import argparse

from minivoice_ref.commands.application import add_application, timeouts
from minivoice_ref.commands.common import (
    add_ca,
    add_json,
    print_json,
    run_trio,
    seconds,
    webhook_secret,
)
from minivoice_ref.simulator.doctor import DoctorPlan, examine

SUMMARY = "is a deployed application ready? ticks, crosses, and what mends them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add_application(parser)
    parser.add_argument(
        "--fast",
        type=seconds,
        default=1.0,
        metavar="SECONDS",
        help="an answer that takes longer is not fast (default 1)",
    )
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Examine the application, print what was found."""
    plan = DoctorPlan(
        answer_url=arguments.answer_url,
        answer_method=arguments.answer_method,
        webhook_url=arguments.webhook_url,
        webhook_secret=webhook_secret(),
        ca=arguments.ca,
        fast_answer=arguments.fast,
        timeouts=timeouts(arguments),
    )
    examination = run_trio(examine, plan)
    if arguments.json:
        print_json(examination.to_json())
    else:
        print(examination)
    return 0 if examination.passed else 1
