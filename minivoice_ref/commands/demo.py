"""One test call, all the way, on this machine: real sockets, real TLS, recorded speech.

  minivoice-ref demo
  minivoice-ref demo --track inbound --speak 5
  minivoice-ref demo --cut-stream-after 3
  minivoice-ref demo --fault lose=10 --fault wrong-signature --seed 1
  minivoice-ref demo --open

Starts the receiver with a certificate made on the spot and the simulator, places one test call and
prints what either side sees while it happens, then the verdict. Three logs and a stereo WAV of the
call stay in --data. With --cut-stream-after the receiver's socket breaks in mid-call: the call must
go on, and call.completed must still be acknowledged. With --fault it is the simulator that goes
wrong on purpose (`--fault list`), and the verdict says whether the receiver did what it should.
With --open the console opens in the browser, shows the call while it happens, and stays, to place
more of them, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import webbrowser
from pathlib import Path

import trio

from minivoice_ref.commands.common import UsageError, add_json, print_json, run_trio, seconds
from minivoice_ref.commands.dialects import add_dialect
from minivoice_ref.commands.faults import add_faults, read_faults
from minivoice_ref.demo import Demo, run_demo
from minivoice_ref.simulator.report import CallReport

SUMMARY = "one test call, all the way, on this machine (extra: demo)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "--speak",
        type=seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long the parties speak (default 10; the packaged conversation lasts 21)",
    )
    parser.add_argument(
        "--track", choices=["inbound", "outbound", "both"], default="both", help="track to stream"
    )
    parser.add_argument(
        "--cut-stream-after",
        type=seconds,
        metavar="SECONDS",
        help="break the receiver's socket so long after the stream began",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("minivoice-data"),
        metavar="DIR",
        help="where logs and recordings go (default ./minivoice-data)",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="open the console in the browser, and keep serving when the call is over",
    )
    parser.add_argument(
        "--console-port",
        type=int,
        default=0,
        metavar="PORT",
        help="the console's port on 127.0.0.1, with --open (default: any that is free)",
    )
    add_dialect(parser)
    add_faults(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, print its timeline and its verdict."""
    cut_after = arguments.cut_stream_after
    if cut_after is not None and cut_after >= arguments.speak:
        raise UsageError(
            f"--cut-stream-after {cut_after:g} comes after the end of the call; "
            f"give fewer seconds than --speak ({arguments.speak:g})"
        )
    demo = Demo(
        speak=arguments.speak,
        track=arguments.track,
        cut_after=cut_after,
        dialect=arguments.dialect,
        media_format=arguments.media_format,
        data=arguments.data,
        faults=read_faults(arguments),
        seed=arguments.seed,
        console=f"127.0.0.1:{arguments.console_port}" if arguments.open else None,
    )
    guest = _Guest(arguments) if arguments.open else None
    report = run_trio(run_demo, demo, _ignore if arguments.json else _show, guest)
    if guest is None:
        _print(report, arguments)
    return 0 if report.passed else 1


class _Guest:
    """Opens a browser, prints the verdict when it is there, and stays until Ctrl-C."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments

    def _say(self, text: str) -> None:
        """Print for people; what a machine reads is on standard output."""
        print(text, file=sys.stderr if self._arguments.json else sys.stdout, flush=True)

    async def welcome(self, url: str) -> None:
        """Open the browser; where there is none, the URL is printed all the same."""
        self._say(f"console    {url}")
        await trio.to_thread.run_sync(webbrowser.open, url, abandon_on_cancel=True)

    async def stay(self, report: CallReport) -> None:
        """Wait for Ctrl-C."""
        _print(report, self._arguments)
        sys.stdout.flush()  # whoever reads it waits for it
        self._say("\n  the console stays open: Ctrl-C ends the demo")
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            await anext(signals)


def _print(report: CallReport, arguments: argparse.Namespace) -> None:
    if arguments.json:
        return print_json(report.to_json())
    print(f"\n{report}\n")
    for log in ("answers", "streams", "webhooks"):
        print(f"  log        {arguments.data / log}.jsonl")
    for stream in report.streams:
        if stream.recording is not None:
            print(f"  recording  {stream.recording}")


def _ignore(line: str) -> None:
    del line


def _show(line: str) -> None:
    """Print a line; where nobody reads any more, go on in silence: the call is not to suffer."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)
