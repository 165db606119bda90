"""Does an application, in any language, do what a receiver must? Every scenario tried, and a table.

  minivoice-ref conformance --ca certs/ca.pem \\
      --answer-url https://localhost:8443/answer --webhook-url https://localhost:8443/webhooks

Places some forty short calls: good ones, and one with each fault of `call --fault list`. The table
says of each scenario what must hold, what was seen, and where the fact is documented; what rests on
an assumption of ours says so. A tick passed, a cross failed, a dash did not apply, with the reason:
it is no pass. What an application's own answer would have to ask for (redirect, stop_stream, a
track) applies only where it does. What is done with the audio cannot be seen from here. Where the
application checks signatures, set MINIVOICE_WEBHOOK_SECRET (or MINIVOICE_WEBHOOK_SECRET_FILE) as it
is set there."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from minivoice_ref.commands.application import add_application, add_call, call_plan
from minivoice_ref.commands.common import UsageError, add_ca, add_json, print_json, run_trio, trust
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.protocol.documents import did_you_mean
from minivoice_ref.simulator.conformance import ConformancePlan, run_conformance
from minivoice_ref.simulator.conformance_report import Result
from minivoice_ref.simulator.scenarios import SCENARIOS

SUMMARY = "does an application do what a receiver must? every scenario, and a table"


class _ListAction(argparse.Action):
    """Prints all scenarios and ends the program, as `--help` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        """Take `--list`."""
        width = max(map(len, SCENARIOS))
        for name, scenario in SCENARIOS.items():
            assumed = f" (assumed: {scenario.assumed})" if scenario.assumed else ""
            print(f"{name:<{width}}  {scenario.must_hold}{assumed}")
        parser.exit()


def _scenario(name: str) -> str:
    """The type of `--only`."""
    if name not in SCENARIOS:
        near = did_you_mean(name, SCENARIOS)
        raise argparse.ArgumentTypeError(f"{name!r} is not a scenario{near} (`--list` shows all)")
    return name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--only",
        type=_scenario,
        action="append",
        metavar="NAME",
        help="try this scenario, may be repeated (default: all)",
    )
    parser.add_argument("--list", nargs=0, action=_ListAction, help="print all scenarios")
    parser.add_argument(
        "--jobs",
        type=int,
        default=4,
        metavar="N",
        help="most scenarios that are tried at once (default 4)",
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML as well")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="chance, the same for the same number"
    )
    add_application(parser)
    add_call(parser, speak=1.5)
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Try the scenarios, show on standard error how it goes, and print the table."""
    names = arguments.only or SCENARIOS
    plan = ConformancePlan(
        # A program for each `say` would take the time of the streams.
        call=call_plan(arguments, speech_programs=()),
        scenarios=[scenario for name, scenario in SCENARIOS.items() if name in names],
        jobs=arguments.jobs,
    )
    connect = TcpConnector(trust(arguments), plan.call.timeouts)
    if arguments.junit is not None:
        _write(arguments.junit, "")  # so that a wrong path is told before the run
    observe = _ignore if arguments.json else _print_result
    report = run_trio(partial(run_conformance, plan, connect=connect, observe=observe))
    if arguments.junit is not None:
        _write(arguments.junit, report.junit())
    if arguments.json:
        print_json(report.to_json())
    else:
        print(report.table(shutil.get_terminal_size((120, 24)).columns))
    return 0 if report.passed else 1


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as exc:
        raise UsageError(f"--junit {path}: {exc.strerror}") from None


def _ignore(result: Result) -> None:
    del result


def _print_result(result: Result) -> None:
    print(result, file=sys.stderr, flush=True)
