"""What the tests of consoles across processes share: somebody who looks, and calls that speak."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio
from cluster_lab import CONNECT, Caller, Node

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_connected
from minivoice_ref.protocol.audio import decode_mulaw

TOKEN = "a token for the console"
CONSOLE = {"MINIVOICE_CONSOLE": "1", "MINIVOICE_CONSOLE_TOKEN": TOKEN}
FRAME = 160  # samples of 20 ms
_HEAD = struct.Struct("<BxHId")  # of a chunk of audio; see console/watched.py


class Onlooker:
    """A browser at one process: the newest of all that it was told."""

    def __init__(self, socket: MediaSocket) -> None:
        self.socket = socket
        self.nodes: dict[str, str] = {}
        self.cards: dict[int, dict[str, Any]] = {}
        self.levels: dict[str, dict[str, int]] = {}
        self.peaks: list[int] = []
        self.call: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.samples: dict[int, bytes] = {}  # by place, in samples

    @property
    def here(self) -> str:
        """The process that it is at."""
        return next((name for name, how in self.nodes.items() if how == "here"), "")

    def card(self, name: str) -> dict[str, Any]:
        """A call in the list."""
        return next((card for card in self.cards.values() if card["name"] == name), {})

    async def look(self, **wants: Any) -> None:
        """Have something in front of the reader."""
        await self.socket.send(json.dumps({"do": "look", **wants}))

    async def take_all(self) -> None:
        """Take what comes, until the connection ends."""
        await trio.lowlevel.checkpoint()
        try:
            while True:
                for data in await self.socket.receive():
                    if isinstance(data, bytes):
                        self._hear(data)
                    else:
                        self._take(json.loads(data))
        except SocketClosed:
            pass

    def _take(self, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "nodes":
            self.nodes = message["nodes"]
        elif kind == "calls":
            cards = {card["key"]: card for card in message["calls"]}
            self.cards = cards if message["all"] else {**self.cards, **cards}
            for key in message["gone"]:
                self.cards.pop(key, None)
        elif kind == "levels":
            self.levels = message["levels"]
        elif kind == "peaks":
            runs = (r for t in message["peaks"].values() for runs in t.values() for r in runs)
            self.peaks += [peak for run in runs for peak in run[1:]]
        elif kind == "call" and message["card"] is not None:
            self.call = dict(message)
            self.lines = [*([] if message["all"] else self.lines), *message["lines"]]
        elif kind == "logs":
            self.logged = [*([] if message["all"] else self.logged), *message["lines"]]

    def _hear(self, data: bytes) -> None:
        while data:
            _, samples, rate, seconds = _HEAD.unpack_from(data)
            end = _HEAD.size + 2 * samples
            self.samples[round(seconds * rate)] = data[_HEAD.size : end]
            data = data[end:]


@asynccontextmanager
async def onlooker(node: Node, **wants: Any) -> AsyncIterator[Onlooker]:
    """Somebody who looks at the console of a process while the block runs."""
    async with open_connected(
        f"ws{node.base.removeprefix('http')}/console/feed",
        connect=CONNECT,
        headers=(("Authorization", f"Bearer {TOKEN}"),),
        limits=Limits(message=16 * 1024 * 1024),
        timeouts=Timeouts(),
    ) as socket:
        made = Onlooker(socket)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.take_all)
            await made.look(**wants)
            yield made
            nursery.cancel_scope.cancel()


def sound(number: int) -> bytes:
    """The mu-law of the *number*-th 20 ms: no two places of a call sound alike."""
    return bytes((number * 31 + place * 7) % 251 for place in range(FRAME))


async def speak(caller: Caller, hush: trio.Event) -> None:
    """Speak, 20 ms every 20 ms, until *hush*: a call's streams end when they are quiet."""
    number, due = 0, trio.current_time()
    await trio.lowlevel.checkpoint()
    with suppress(SocketClosed):
        while not hush.is_set():
            await caller.frame(number, sound(number))
            number, due = number + 1, due + 0.02
            await trio.sleep_until(due)


def as_sent(samples: Mapping[int, bytes]) -> bool:
    """Whether what was heard is what was spoken, sample for sample, each at its place."""
    return all(heard == decode_mulaw(sound(at // FRAME)) for at, heard in samples.items())
