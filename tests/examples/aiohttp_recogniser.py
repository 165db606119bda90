"""A recogniser's server in another framework, for `forward.py` to send to: Vosk's protocol.

    python aiohttp_recogniser.py PORT [BREAK_AFTER | deaf]

It knows nothing of this project, and hears nothing: its results say how much sound came. With
BREAK_AFTER it breaks off its first connection after so many bytes; a deaf one does not read on.
It prints its port when it listens.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys

from aiohttp import WSMsgType, web

MOODS = sys.argv[2:]


async def recognise(request: web.Request) -> web.WebSocketResponse:
    mood = MOODS.pop() if MOODS else ""
    said = web.WebSocketResponse()
    await said.prepare(request)
    greeting = json.loads((await said.receive_str()))
    rate, received = greeting["config"]["sample_rate"], 0
    if mood == "deaf":
        await asyncio.Event().wait()
    async for message in said:
        if message.type is WSMsgType.TEXT:
            assert json.loads(message.data) == {"eof": 1}
            await said.send_json({"text": f"{received} bytes at {rate}"})
            break
        received += len(message.data)
        if mood and received >= int(mood):
            assert request.transport is not None
            request.transport.abort()
            break
    return said


async def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/", recognise)])
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
