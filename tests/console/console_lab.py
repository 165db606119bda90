"""What the console's tests share: a receiver in memory with its console, and a browser's side."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio.testing

from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.console import Console, Order, TestCaller, open_console
from minivoice_ref.net.http import Response
from minivoice_ref.net.websocket import MediaSocket, open_connected
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.testing import MemoryNetwork

sys.path.insert(0, str(Path(__file__).parent.parent / "receiver"))

from receiver_lab import HOST, Lab, settings, wall_clock  # noqa: E402

__all__ = ["HOST", "ORIGIN", "TOKEN", "Browser", "ConsoleLab", "Silence", "open_console_lab"]

TOKEN = "a token for the console"
ORIGIN = f"http://{HOST}:80"


class Silence(TestCaller):
    """Places no call, and remembers what was ordered."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.done = trio.Event()

    def options(self) -> Mapping[str, Any]:
        return {"dialects": ["twilio"], "faults": []}

    async def place(self, order: Order, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self.orders.append(order)
        tell({"call_id": f"call_{len(self.orders)}"})
        await self.done.wait()
        tell({"report": {"passed": True, "steps": []}})


class Browser:
    """The page's side of the feed: what came, and what was asked."""

    def __init__(self, socket: MediaSocket) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.audio: list[bytes] = []

    async def look(self, **wants: Any) -> None:
        """Have something in front of the reader."""
        await self.ask("look", **wants)

    async def ask(self, do: str, **fields: Any) -> None:
        """Send a command."""
        await self.socket.send(json.dumps({"do": do, **fields}))

    async def until(self, type: str, test: Callable[[Any], bool] = bool) -> dict[str, Any]:
        """The next message of a type for which *test* holds, of those not yet asked for."""
        with trio.fail_after(60):
            while True:
                while self.messages:
                    message = self.messages.pop(0)
                    if message["type"] == type and test(message):
                        return message
                for data in await self.socket.receive():
                    if isinstance(data, bytes):
                        self.audio.append(data)
                    else:
                        self.messages.append(json.loads(data))


class ConsoleLab(Lab):
    """A running receiver with its console."""

    console: Console

    async def get(self, path: str, **headers: str) -> Response:
        """Ask for a page with the token."""
        given = {"Authorization": f"Bearer {TOKEN}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.request("GET", f"/console/{path}", headers=given)

    @asynccontextmanager
    async def browser(
        self, at: str = f"{HOST}:80", path: str = "/console/feed", **headers: str
    ) -> AsyncIterator[Browser]:
        """Open the feed as the page does, with the token or with these *headers*."""
        given = headers or {"Authorization": f"Bearer {TOKEN}"}
        async with open_connected(
            f"ws://{at}{path}",
            connect=self.network.connect,
            headers=tuple(given.items()),
            limits=Limits(message=16 * 1024 * 1024),
            timeouts=Timeouts(),
        ) as socket:
            yield Browser(socket)


@asynccontextmanager
async def open_console_lab(
    folder: Path, *, app: App | None = None, caller: TestCaller | None = None, **changes: Any
) -> AsyncIterator[ConsoleLab]:
    """Run a receiver with its console in memory for a block, then drain it."""
    network = MemoryNetwork()
    consoles: list[Console] = []
    config: Config = settings(folder, **{"console": True, "console_token": TOKEN} | changes)

    def annex(shared: Any, stop: trio.Event) -> Console:
        consoles.append(open_console(shared, stop, test_caller=caller))
        return consoles[-1]

    run = partial(
        serve,
        app or App(),
        config,
        listen=network.listen,
        disk=InlineDisk,
        clock=wall_clock,
        annex=annex,
    )
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(run)
        lab = ConsoleLab(server, config, network)
        lab.console = consoles[0]
        await trio.testing.wait_all_tasks_blocked()
        yield lab
        server.stop()
