"""aiohttp on asyncio."""

from __future__ import annotations

from aiohttp import WSMsgType, web

from benchmarks.peers.meter import Meter, read_place

meter = Meter()


async def stream(request: web.Request) -> web.WebSocketResponse:
    """Count the messages of one stream."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type == WSMsgType.TEXT:
            meter.take_message(message.data)
    return websocket


if __name__ == "__main__":
    place = read_place()
    app = web.Application()
    app.add_routes([web.get("/{path:.*}", stream)])
    web.run_app(
        app, host="127.0.0.1", port=place.port, ssl_context=place.context(), print=lambda *_: None
    )
