"""The library websockets on asyncio."""

from __future__ import annotations

import asyncio

from websockets.asyncio.server import ServerConnection, serve

from benchmarks.peers.meter import Meter, Place, read_place

meter = Meter()


async def stream(websocket: ServerConnection) -> None:
    """Count the messages of one stream."""
    async for message in websocket:
        meter.take_message(message)


async def main(place: Place) -> None:
    """Serve."""
    async with serve(stream, "127.0.0.1", place.port, ssl=place.context()) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(read_place()))
