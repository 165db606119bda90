"""A long run under load with faults: is anything lost, does memory grow?

  python -m benchmarks.soak                              twenty minutes, 100 streams of both tracks
  python -m benchmarks.soak --seconds 60 --streams 8     the short form

The receiver runs in a process of its own, over TLS, as it ships. Calls come and go; a third of them
has a fault from the simulator's catalogue, another third, by chance the same, has its webhooks
delivered twice and out of order. Half way the receiver gets SIGTERM, turns new calls away, lets the
calls it has end, and is started again on the same folder; callers try their webhooks again until
it is there.

What must be so, else the exit status is 1: every event that was acknowledged was handled, once; no
webhook was given up; of every stream without a fault that was stopped, every frame that was sent
has arrived, and nine in ten of those streams were stopped; and memory does not grow by 2 % after
the warm-up, which is the first 40 % of a process's life. (Memory is not judged in less than ten
minutes: no slope can be seen in that.) The events are looked up in the inbox and in the log of
webhooks, the frames in the log of streams.

Calls are placed by one process, which paces some 150 such streams from a core that it has for
itself. Whether it was in time, `streams at a time` and `frames late` say.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from benchmarks.machine import processor_seconds, resident_kilobytes
from benchmarks.soak_account import Soak
from benchmarks.table import RESULTS, write_results
from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.net.tls import client_context
from minivoice_ref.simulator.call import CallPlan, RetrySchedule, place_call
from minivoice_ref.simulator.faults import FAULTS, parse_fault
from minivoice_ref.simulator.speech import packaged_voice

__all__: list[str] = []

_SECRET = "the secret of the soak"
_LONGEST_SPEECH = 30.0  # seconds of a call, on the average
_LEAST_FOR_MEMORY = 600.0  # seconds of a run in which a slope can be seen
_RETRIES = RetrySchedule(attempts=40, longest=4.0)  # a platform that does not give up so soon
_PATIENT = Timeouts(  # a busy machine is no fault of the receiver's
    connect=30.0, tls_handshake=30.0, upgrade=30.0, response=30.0, close=30.0
)


class Receiver:
    """The receiver's process; it can be stopped and started again at the same place."""

    def __init__(self, data: Path, files: Certificates, grace: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.base = f"https://{listen}"
        given = {
            "LISTEN": listen,
            "TLS_CERT": str(files.cert),
            "TLS_KEY": str(files.key),
            "DATA": str(data),
            "WEBHOOK_SECRET": _SECRET,
            "TOKEN_KEY": "the token key of the soak",
            "TIMEOUTS_GRACE": str(grace),
            "LIMITS_CALLS": "500",  # what is remembered of calls is full after the warm-up
        }
        self._environ = {f"MINIVOICE_{name}": value for name, value in given.items()}
        self.process: trio.Process | None = None
        self.going = False
        self.seconds = 0.0  # of the processor

    async def start(self, nursery: trio.Nursery) -> None:
        """Start it, and wait until it serves."""
        run = partial(
            trio.run_process,
            [sys.executable, "-m", "minivoice_ref", "serve", "--json"],
            env={**os.environ, **self._environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        self.process = await nursery.start(run)
        assert self.process.stdout is not None
        with trio.fail_after(60):
            await self.process.stdout.receive_some()
        self.going = False

    async def stop(self) -> int:
        """Have it drain, and return its exit status."""
        assert self.process is not None
        self.going = True
        self.seconds += processor_seconds(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        status = await self.process.wait()
        self.process = None
        return status


class Callers:
    """Place calls at a receiver and add up what comes of them."""

    def __init__(self, soak: Soak, receiver: Receiver, files: Certificates, speak: float) -> None:
        self._soak = soak
        self._receiver = receiver
        self._speak = speak
        self._connect = TcpConnector(client_context(files.ca), _PATIENT)
        self._chance = random.Random(1)

    async def call(self, seconds: float, streams: int) -> None:
        """Let calls come until the time is over, at chance moments; so many last at a time.

        Twice as many come as there is room for: those wait. A machine that is too slow for so many
        has fewer calls, not more and more of them at a time.
        """
        for role in ("caller", "agent"):
            packaged_voice(role)  # not while calls wait for their frames
        end = trio.current_time() + seconds
        places = trio.Semaphore(streams)
        async with trio.open_nursery() as calls:
            while trio.current_time() < end:
                await places.acquire()
                calls.start_soon(self._one, self._plan(), places)
                await trio.sleep(self._chance.expovariate(2 * streams / self._speak))

    async def watch(self) -> None:
        """Note each second how much memory the process has, and how many streams."""
        receiver, soak = self._receiver, self._soak
        while True:
            await trio.sleep(1)
            if receiver.process is None or receiver.going:
                continue
            memory = resident_kilobytes(receiver.process.pid)
            soak.lives[-1].append((trio.current_time(), memory))
            try:
                soak.streams.append(await self._live_streams())
            except FetchError:
                soak.sums["looks at its health that failed"] += not receiver.going

    async def _live_streams(self) -> int:
        """How many streams the receiver says that it has."""
        url = f"{self._receiver.base}/health"
        health = await fetch("GET", url, connect=self._connect, limits=Limits(), timeouts=_PATIENT)
        return int(json.loads(health.body)["streams"])

    def _plan(self) -> CallPlan:
        chance, base = self._chance, self._receiver.base
        fault = parse_fault(chance.choice(sorted(FAULTS))) if chance.random() < 1 / 3 else None
        unruly = chance.random() < 1 / 3
        return CallPlan(
            answer_url=f"{base}/answer",
            webhook_url=f"{base}/webhooks",
            webhook_secret=_SECRET,
            speak=self._speak * chance.uniform(0.5, 1.5),
            dialect="twilio",
            duplicate_webhooks=unruly,
            reorder_webhooks=unruly,
            retries=_RETRIES,
            timeouts=_PATIENT,
            faults=() if fault is None else (fault,),
            seed=chance.randrange(2**32),
        )

    async def _one(self, plan: CallPlan, places: trio.Semaphore) -> None:
        life, going = len(self._soak.lives), self._receiver.going
        report = await place_call(plan, connect=self._connect)
        places.release()
        stopping = going or self._receiver.going or len(self._soak.lives) != life
        unruly = plan.duplicate_webhooks
        self._soak.add(report, faulty=bool(plan.faults), unruly=unruly, stopping=stopping)


async def run(soak: Soak, seconds: float, streams: int, folder: Path) -> dict[str, object]:
    """Do it all; return the figures of the two processes."""
    files = make_certificates(folder / "certificates")
    speak = min(_LONGEST_SPEECH, seconds / 10)
    receiver = Receiver(soak.data, files, 2 * speak + 5)
    callers = Callers(soak, receiver, files, speak)
    began = trio.current_time()
    statuses = []
    async with trio.open_nursery() as processes:
        soak.lives.append([])
        await receiver.start(processes)
        async with trio.open_nursery() as watching:
            watching.start_soon(callers.watch)
            async with trio.open_nursery() as calling:
                calling.start_soon(callers.call, seconds, streams)
                await trio.sleep(seconds / 2)
                statuses.append(await receiver.stop())
                soak.lives.append([])
                await receiver.start(processes)
            watching.cancel_scope.cancel()
        with trio.move_on_after(60):
            await until_handled(soak)
        statuses.append(await receiver.stop())
    lasted = trio.current_time() - began
    return {
        "seconds": round(lasted, 1),
        "exit statuses": statuses,
        "receiver's core in percent": round(100 * receiver.seconds / lasted, 1),
        "simulator's core in percent": round(100 * processor_seconds(os.getpid()) / lasted, 1),
    }


async def until_handled(soak: Soak) -> None:
    """Wait until the receiver has handled all that it accepted."""
    await trio.lowlevel.checkpoint()
    # The inbox is another process's: nothing tells when it is empty.
    while soak.waiting:  # noqa: ASYNC110
        await trio.sleep(0.5)


def main() -> int:
    """Run it from the command line."""
    how = _arguments()
    with tempfile.TemporaryDirectory(prefix="minivoice-soak-") as name:
        soak = Soak(Path(name) / "data")
        processes = trio.run(run, soak, how.seconds, how.streams, Path(name))
        found = {**processes, **soak.figures()}
        broken = soak.broken(judges_memory=how.seconds >= _LEAST_FOR_MEMORY)
    if processes["exit statuses"] != [0, 0]:
        broken.append(f"exit statuses: {processes['exit statuses']}")
    for key, value in found.items():
        print(f"{key:<44} {value}")
    print("broken: " + "; ".join(broken) if broken else "every promise was kept")
    write_results(how.output, how, broken=broken, found=found)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=1200, help="how long calls come (default 1200)"
    )
    parser.add_argument(
        "--streams", type=int, default=100, help="streams at a time, about (default 100)"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS / "soak.json", metavar="FILE", help="for the JSON"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
