"""A tiny application in another framework, for the simulator to call: thirty lines of aiohttp.

    python aiohttp_application.py CERT KEY SECRET

It knows nothing of this project. It prints its port when it listens, and a line for each stream and
webhook.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import sys

from aiohttp import WSMsgType, web

CERT, KEY, SECRET = sys.argv[1:]


async def answer(request: web.Request) -> web.Response:
    call = (await request.json())["call"]["id"]
    stream = {"stream_url": f"wss://{request.host}/media/{call}", "track": "both"}
    return web.json_response(
        {"actions": [{"start_stream": stream}, {"gather": {"num_digits": 2}}, {"stop_stream": {}}]}
    )


async def webhook(request: web.Request) -> web.Response:
    body = await request.read()
    signed = request.headers["X-MiniVoice-Timestamp"].encode() + b"." + body
    signature = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, request.headers["X-MiniVoice-Signature"]):
        return web.Response(status=401)
    event = json.loads(body)
    print("webhook", event["event"], event["data"].get("digits"), flush=True)
    return web.Response(status=202)


async def media(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    received, digits = {"inbound": 0, "outbound": 0}, ""
    async for message in socket:
        assert message.type is WSMsgType.TEXT
        said = json.loads(message.data)
        if said["event"] == "media":
            received[said["media"]["track"]] += len(base64.b64decode(said["media"]["payload"]))
        elif said["event"] == "dtmf":
            digits += said["dtmf"]["digit"]
    print("stream", received["inbound"], received["outbound"], digits, flush=True)
    return socket


async def main() -> None:
    app = web.Application()
    app.add_routes(
        [
            web.post("/answer", answer),
            web.post("/webhooks", webhook),
            web.get("/media/{call}", media),
        ]
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
