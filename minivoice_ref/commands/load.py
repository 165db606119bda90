"""How many calls does an application hold? Place many, and measure.

  minivoice-ref load --calls 100 --rate 20 --speak 5 --ca certs/ca.pem \\
      --answer-url https://localhost:8443/answer --webhook-url https://localhost:8443/webhooks

Calls arrive by chance, --rate a second on average, whether or not earlier ones are over. Prints how
many got how far, how long each step took, how late frames left, each failure by its first cause,
each webhook that was given up, and whether the simulator itself kept time: where it did not, the
figures speak of this machine and not of the application. A receiver that lags answers a Close when
it has read all that was sent before it, hence the row "stream closing"; --close-within is how long
that may take. Ctrl-C ends the calls properly and prints what was measured until then; the second
one ends at once. Where the application checks signatures, set MINIVOICE_WEBHOOK_SECRET (or
MINIVOICE_WEBHOOK_SECRET_FILE) as it is set there."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial

import trio

from minivoice_ref.commands.application import (
    add_application,
    add_call,
    add_parties,
    add_webhooks,
    call_plan,
    timeouts,
)
from minivoice_ref.commands.common import INTERRUPTED, add_ca, add_json, print_json, run_trio, trust
from minivoice_ref.commands.faults import add_faults, read_faults
from minivoice_ref.net.connect import Connector, TcpConnector
from minivoice_ref.simulator.load import Load, LoadPlan
from minivoice_ref.simulator.load_progress import draw_progress, print_progress
from minivoice_ref.simulator.load_report import LoadReport

SUMMARY = "place many calls at any application, and measure"

_GRACE = 10.0
"""Seconds that calls may take to end after Ctrl-C; somebody waits for them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    group = parser.add_argument_group("the load")
    group.add_argument(
        "--calls", type=int, default=100, metavar="N", help="how many calls (default 100)"
    )
    group.add_argument(
        "--rate",
        type=float,
        default=10.0,
        metavar="CALLS_PER_SECOND",
        help="how many begin in a second, on average (default 10)",
    )
    group.add_argument("--steady", action="store_true", help="begin them evenly, not by chance")
    group.add_argument(
        "--at-once",
        type=int,
        default=5000,
        metavar="N",
        help="most calls at a time; the next one waits (default 5000)",
    )
    group.add_argument(
        "--faults-on",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help="of the calls, evenly spread, that have the faults of --fault (default 100)",
    )
    add_application(parser)
    add_call(parser, speak=5.0)
    add_parties(parser)
    add_webhooks(parser)
    add_faults(parser)
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Place the calls, show how it goes on standard error, and print what was measured."""
    call = call_plan(
        arguments,
        speech_programs=(),  # a program for each `say` would take the time of the streams
        faults=read_faults(arguments),
        timeouts=timeouts(arguments, grace=_GRACE),
    )
    plan = LoadPlan(
        call=call,
        calls=arguments.calls,
        rate=arguments.rate,
        steady=arguments.steady,
        at_once=arguments.at_once,
        faults_on=arguments.faults_on,
        seed=arguments.seed,
    )
    connect = TcpConnector(trust(arguments), call.timeouts)
    _allow_many_files()
    report = run_trio(partial(_place_calls, plan, connect, quiet=arguments.json))
    if arguments.json:
        print_json(report.to_json())
    else:
        print(report)
    if report.good and report.ended_early:
        return INTERRUPTED
    return 0 if report.good else 1


async def _place_calls(plan: LoadPlan, connect: Connector, *, quiet: bool) -> LoadReport:
    load = Load(plan, connect)
    drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_heed, signals, load)
            if drawn:
                nursery.start_soon(draw_progress, load, _write, _width)
            elif not quiet:
                nursery.start_soon(print_progress, load, _write)
            report = await load.run()
            nursery.cancel_scope.cancel()
    if drawn:
        await _write("\r\x1b[K")
    return report


async def _heed(signals: AsyncIterator[int], load: Load) -> None:
    """End the load at the first signal, and leave the second one to the system."""
    async for _ in signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        load.hang_up()
        await _write("\nending the calls; once more to end at once\n")


_one_at_a_time = trio.CapacityLimiter(1)


async def _write(text: str) -> None:
    """Write *text* to standard error in a thread: a terminal can be stopped with Ctrl-S."""
    await trio.to_thread.run_sync(_write_now, text, abandon_on_cancel=True, limiter=_one_at_a_time)


def _write_now(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _width() -> int:
    return shutil.get_terminal_size().columns


def _allow_many_files() -> None:
    """Raise the limit of open files: each call needs a few, and the usual 1024 is soon used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
