"""A receiver in a process of its own: `reliability_program.py SETTINGS APPLICATION`.

SETTINGS are fields of Config as JSON. APPLICATION says what on_stream does. Each event that is
handled leaves two lines in the file `handled` of the data folder. Not a test.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import trio

from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.app import App, listen
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.server import Server, serve_until_signal


async def block_the_loop(stream: MediaStream) -> None:
    """Do what an on_stream must not: wait without await."""
    async for _ in stream:
        time.sleep(0.3)  # noqa: ASYNC251
        await trio.lowlevel.checkpoint()
        break


APPLICATIONS = {"listen": listen, "block": block_the_loop}


def main() -> None:
    """Serve until a signal comes."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    given["limits"] = Limits(**given.get("limits", {}))
    given["timeouts"] = Timeouts(**given.get("timeouts", {}))
    config = Config(**given)
    config.data.mkdir(parents=True, exist_ok=True)
    handled = os.open(Path(config.data, "handled"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def on_event(event: CallEvent) -> None:
        name = f"{event.call.id} {event.event}"
        os.write(handled, f"{os.getpid()} begin {name}\n".encode())
        await trio.sleep(0.001)
        os.write(handled, f"{os.getpid()} end {name}\n".encode())

    def say(server: Server) -> None:
        print(json.dumps(dataclasses.asdict(server.urls)), flush=True)

    app = App(on_stream=APPLICATIONS[sys.argv[2]], on_event=on_event)
    trio.run(lambda: serve_until_signal(app, config, on_started=say))


if __name__ == "__main__":
    main()
