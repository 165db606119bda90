"""Play a captured stream again, to any receiver.

  minivoice-ref replay FILE --answer-url https://localhost:8443/answer --ca certs/ca.pem
  minivoice-ref replay FILE --to wss://localhost:8443/stream/TOKEN --speed 4
  minivoice-ref replay FILE --answer-url … --fast

With --answer-url the application is asked as in a test call, and the first stream_url that it
answers is played to: so the token is a fresh one. The messages are those of the platform, at their
own pace, --speed times as fast, or --fast as the receiver takes them. What the capture's redaction
took out of them (tokens, secrets) stays out.

A capture that is torn, as a killed receiver leaves it, or that lacks messages is played as far as
it goes: PARTIAL, with what is missing.

exit codes: 0 the whole stream was played, 1 it was not, or only part of it could be, 2 bad usage
"""

from __future__ import annotations

import argparse
import secrets
from functools import partial
from pathlib import Path

import trio

from minivoice_ref.commands.captures import open_capture
from minivoice_ref.commands.common import UsageError, add_ca, add_json, print_json, run_trio, trust
from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.protocol.capture_format import CaptureReader
from minivoice_ref.simulator.replay import NoStream, ReplayReport, ask_for_stream, replay

SUMMARY = "play a captured stream again, to any receiver"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a capture of `serve --capture`")
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--to", metavar="URL", help="the receiver's stream URL (wss), as it is")
    whom.add_argument("--answer-url", metavar="URL", help="whom to ask for a stream URL")
    parser.add_argument(
        "--answer-method", choices=["POST", "GET"], default="POST", help="how to ask"
    )
    parser.add_argument("--call-id", metavar="ID", help="the call to ask for (default: a new one)")
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N", help="times as fast as it was (default 1)"
    )
    pace.add_argument(
        "--fast", action="store_true", help="as fast as the receiver takes it; no pauses"
    )
    add_ca(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Play the capture and say what came of it."""
    if arguments.to is not None and not arguments.to.startswith(("wss://", "ws://")):
        raise UsageError("--to takes the URL of a stream: wss://host/path")
    reader = open_capture(arguments.file)
    report = run_trio(partial(_replay, arguments, reader))
    if arguments.json:
        print_json(report.to_json())
    else:
        print(report)
    return 0 if report.verdict == "pass" else 1


async def _replay(arguments: argparse.Namespace, reader: CaptureReader) -> ReplayReport:
    connect = TcpConnector(trust(arguments), Timeouts())
    url = arguments.to
    if url is None:
        call_id = arguments.call_id or f"call_replay_{secrets.token_hex(4)}"
        method = arguments.answer_method
        try:
            url = await ask_for_stream(arguments.answer_url, method, call_id, connect=connect)
        except NoStream as exc:
            await trio.lowlevel.checkpoint()
            return ReplayReport("", fault=str(exc))
    speed = None if arguments.fast else arguments.speed
    return await replay(reader, url, connect=connect, speed=speed)


def _speed(text: str) -> float:
    """The type of `--speed`: a number above 0."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
