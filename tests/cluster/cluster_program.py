"""A receiver in a process of its own, which writes down what it handles and may do it badly.

The beginning of a call's id says how its events are handled: `slow-` takes 3 seconds, `long-` 60,
`held-` until the test lets go of all of them, `bad-` always fails, `deadly-` kills the process. All
others are handled at once.
"""

from __future__ import annotations

import os
import signal

import trio

from minivoice_ref.config import Config
from minivoice_ref.console import open_console
from minivoice_ref.metrics import open_metrics
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.annex import OpenAnnex, together
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.server import Server, serve_until_signal

LET_GO = trio.Path(f"{os.environ['HANDLED']}.go")


def write(what: str, event: CallEvent) -> None:
    """Add a line for all to see, in one write."""
    line = f"{what} {os.environ['NODE']} {os.getpid()} {event.call.id} {event.event}\n"
    file = os.open(os.environ["HANDLED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, line.encode())
    os.close(file)


async def on_event(event: CallEvent) -> None:
    """Handle an event as its call's id says."""
    write("begun", event)
    kind = event.call.id.partition("-")[0]
    await trio.sleep({"slow": 3.0, "long": 60.0}.get(kind, 0.0))
    while kind == "held" and not await LET_GO.exists():  # noqa: ASYNC110  # of another process
        await trio.sleep(0.02)
    if kind == "bad":
        raise RuntimeError("this one is bad")
    if kind == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    write("handled", event)


async def main() -> None:
    """Serve until told to stop."""

    def on_started(server: Server) -> None:
        print(server.urls.base, flush=True)

    config = Config.load(environ=os.environ)
    annexes: list[OpenAnnex] = [open_console] if config.console else []
    annexes += [open_metrics] if config.metrics else []
    annex = together(*annexes) if annexes else None
    await serve_until_signal(App(on_event=on_event), config, annex=annex, on_started=on_started)


if __name__ == "__main__":
    trio.run(main)
