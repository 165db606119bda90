"""The library websockets on Trio."""

from __future__ import annotations

from functools import partial

import trio
from websockets.trio.server import ServerConnection, serve

from benchmarks.peers.meter import Meter, read_place

meter = Meter()


async def stream(websocket: ServerConnection) -> None:
    """Count the messages of one stream."""
    async for message in websocket:
        meter.take_message(message)


if __name__ == "__main__":
    place = read_place()
    trio.run(partial(serve, stream, place.port, host="127.0.0.1", ssl=place.context()))
