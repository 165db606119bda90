"""trio-websocket as it comes."""

from __future__ import annotations

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from benchmarks.peers.meter import Meter, read_place

meter = Meter()


async def stream(request: WebSocketRequest) -> None:
    """Count the messages of one stream."""
    websocket = await request.accept()
    try:
        while True:
            meter.take_message(await websocket.get_message())
    except ConnectionClosed:
        pass


if __name__ == "__main__":
    place = read_place()
    trio.run(serve_websocket, stream, "127.0.0.1", place.port, place.context())
