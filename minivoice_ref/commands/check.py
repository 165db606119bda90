"""Is this answer valid? Every fault with its place, what is wrong, and how to mend it.

  minivoice-ref check answer.json
  echo '{"actions": [{"type": "stop_stream"}]}' | minivoice-ref check -
  minivoice-ref check https://app.example.com/answer

A URL is asked as the simulator would ask it: POST with a JSON body that has the call object."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import trio

from minivoice_ref.commands.common import UsageError, add_ca, add_json, print_json, run_trio, trust
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import FetchError, TcpConnector
from minivoice_ref.protocol.actions import STREAM_ACTION_ACCEPTED, CheckedAnswer, read_answer
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.asking import fetch_answer
from minivoice_ref.simulator.call import CallPlan

SUMMARY = "is this answer valid? every fault, and how to mend it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("source", metavar="FILE|-|URL", help="where the answer is: - is stdin")
    parser.add_argument(
        "--answer-method", choices=["POST", "GET"], default="POST", help="how to ask a URL"
    )
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the answer, print what is wrong with it, and say whether it is valid."""
    checked = _read(arguments)
    result = STREAM_ACTION_ACCEPTED if checked.valid and _has_stream_action(checked) else None
    if arguments.json:
        print_json(
            {
                "valid": checked.valid,
                "problems": [_to_json(problem) for problem in checked.problems],
                "warnings": [_to_json(warning) for warning in checked.warnings],
                "result": result,
            }
        )
        return 0 if checked.valid else 1
    for kind, findings in (("problem", checked.problems), ("warning", checked.warnings)):
        for finding in findings:
            print(f"{kind}  {finding.path or 'the document'}: {finding.message}")
            print(f"         mend: {finding.mend}")
    count = len(checked.problems)
    faults = "valid" if not count else f"not valid: {count} problem{'s' * (count > 1)}"
    print(faults if result is None else f"{faults}: {result}")
    return 0 if checked.valid else 1


def _read(arguments: argparse.Namespace) -> CheckedAnswer:
    source = arguments.source
    if source.startswith(("https://", "http://")):
        return run_trio(_ask, arguments)
    if source == "-":
        return read_answer(sys.stdin.buffer.read())
    try:
        return read_answer(Path(source).read_bytes())
    except OSError as exc:
        raise UsageError(
            f"{source} cannot be read: {exc.strerror}; name a file, - for stdin, or a URL"
        ) from None


async def _ask(arguments: argparse.Namespace) -> CheckedAnswer:
    plan = CallPlan(answer_url=arguments.source, answer_method=arguments.answer_method)
    call = CallInfo(
        id="call_check", status="dialing", from_number=plan.from_number, to_number=plan.to_number
    )
    try:
        response = await fetch_answer(plan, call, TcpConnector(trust(arguments), Timeouts()))
    except FetchError as exc:
        await trio.lowlevel.checkpoint()
        return _no_answer(f"cannot be had: {exc}", "start the application, or mend the URL")
    if not response.ok:
        return _no_answer(f"came with status {response.status}", "answer 200 with the JSON")
    return read_answer(response.body)


def _no_answer(message: str, mend: str) -> CheckedAnswer:
    return CheckedAnswer(actions=(), problems=(Problem("", message, mend),), warnings=())


def _has_stream_action(checked: CheckedAnswer) -> bool:
    names = {action.type for action in checked.actions if action is not None}
    return bool(names & {"start_stream", "stop_stream"})


def _to_json(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "message": problem.message, "mend": problem.mend}
