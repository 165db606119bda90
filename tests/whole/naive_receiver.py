"""A receiver as one writes it in ten minutes: it works, until something goes wrong.

    python naive_receiver.py CERT KEY FOLDER

One file for both tracks, webhooks handled inline and kept in memory, no signature, no token. It
prints its port when it listens. The conformance suite must find its faults.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

CERT, KEY, FOLDER = map(Path, sys.argv[1:])
calls: dict[str, list[str]] = {}


async def answer(request: web.Request) -> web.Response:
    call = (await request.json())["call"]["id"]
    url = f"wss://{request.host}/media/{call}"
    return web.json_response({"actions": [{"type": "start_stream", "stream_url": url}]})


async def webhook(request: web.Request) -> web.Response:
    event: dict[str, Any] = await request.json()
    call = event["call"]["id"]
    if event["event"] == "call.created":
        calls[call] = []
    calls[call].append(event["event"])
    if event["event"] == "call.completed":
        del calls[call]
    return web.Response()


async def media(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    file = None
    async for message in socket:
        said = json.loads(message.data)
        if said["event"] == "start":
            file = (FOLDER / said["start"]["callSid"]).open("wb")
        elif said["event"] == "media":
            assert file is not None
            file.write(base64.b64decode(said["media"]["payload"]))
    if file is not None:
        file.close()
    return socket


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    app = web.Application()
    app.add_routes([web.post("/answer", answer), web.post("/webhooks", webhook)])
    app.add_routes([web.get("/media/{call}", media)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
