"""A receiver in a process of its own: `reliability_program.py SETTINGS APPLICATION`.

SETTINGS are fields of Config as JSON. APPLICATION says what on_stream does. Each event that is
handled leaves two lines in the file `handled` of the data folder. SIGUSR1 has the number of living
tasks written to the file `tasks`, SIGUSR2 makes memory short, and a second one gives it back.
Threads without work end after a tenth of a second, so that a test sees what is needed and not what
is kept in store. Not a test.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from trio._core import _thread_cache

from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.app import App, OnStream, listen
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.server import Server, serve_until_signal
from minivoice_ref.testing import living_tasks

_thread_cache.IDLE_TIMEOUT = 0.1  # type: ignore[assignment]


async def block_the_loop(stream: MediaStream) -> None:
    """Do what an on_stream must not: wait without await."""
    async for _ in stream:
        time.sleep(0.3)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()
        break


async def look_up(stream: MediaStream) -> None:
    """Look up fifty names at once for each stream, where DNS answers nothing for ten seconds."""

    async def one(number: int) -> None:
        await trio.socket.getaddrinfo(f"no-answer-{number}.example.com", 443)

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
    await listen(stream)


def block_dns() -> None:
    """Have nobody hear from DNS."""
    blocked = threading.Event()

    def getaddrinfo(host: str, port: int, family: int, type: int, proto: int, flags: int) -> Any:
        if flags & socket.AI_NUMERICHOST:  # Trio asks that first, without a thread
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        blocked.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


async def end_by_name(stream: MediaStream) -> None:
    """End as the call's id says."""
    _, _, how = (stream.call_id or "").rpartition("-")
    if how == "raise":
        raise ValueError("on_stream failed")
    if how == "close":
        stream.close()
    if how == "abort":
        stream.abort()
    await listen(stream)


APPLICATIONS: dict[str, OnStream] = {
    "listen": listen,
    "block": block_the_loop,
    "look_up": look_up,
    "end_by_name": end_by_name,
}


def main() -> None:
    """Serve until a signal comes."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    given["limits"] = Limits(**given.get("limits", {}))
    given["timeouts"] = Timeouts(**given.get("timeouts", {}))
    config = Config(**given)
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    handled = os.open(Path(config.data, "handled"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def on_event(event: CallEvent) -> None:
        name = f"{event.call.id} {event.event}"
        os.write(handled, f"{os.getpid()} begin {name}\n".encode())
        await trio.sleep(0.001)
        os.write(handled, f"{os.getpid()} end {name}\n".encode())

    def say(server: Server) -> None:
        if sys.argv[2] == "look_up":
            block_dns()
        print(json.dumps(dataclasses.asdict(server.urls)), flush=True)

    app = App(on_stream=APPLICATIONS[sys.argv[2]], on_event=on_event)
    trio.run(serve_and_obey, app, config, say)


def make_memory_short() -> None:
    """Leave thirty megabytes, enough to serve and too few for a thread's stack. Or undo it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft != hard:
        threading.stack_size(0)
        return resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    threading.stack_size(2**30)  # more than any stack that the C library has in store
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 30 * 2**20, hard))


async def serve_and_obey(app: App, config: Config, say: Callable[[Server], None]) -> None:
    """Serve, and do what a test asks by a signal."""

    async def obey() -> None:
        with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as signals:
            async for number in signals:
                if number == signal.SIGUSR2:
                    make_memory_short()
                Path(config.data, "tasks").write_text(f"{living_tasks()}\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey)
        await serve_until_signal(app, config, on_started=say)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    main()
