"""FastAPI on uvicorn, with what `uvicorn[standard]` brings: uvloop, and the library websockets."""

from __future__ import annotations

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.peers.meter import Meter, read_place

meter = Meter()
app = FastAPI()


@app.websocket("/{path:path}")
async def stream(websocket: WebSocket) -> None:
    """Count the messages of one stream."""
    await websocket.accept()
    try:
        while True:
            meter.take_message(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    place = read_place()
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=place.port,
        log_level="warning",
        ssl_certfile=place.cert,
        ssl_keyfile=place.key,
    )
