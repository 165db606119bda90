"""picows, a WebSocket in Cython, on asyncio."""

from __future__ import annotations

import asyncio

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

from benchmarks.peers.meter import Meter, Place, read_place

meter = Meter()


class Stream(WSListener):
    """Counts the messages of one stream."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        if frame.msg_type == WSMsgType.TEXT:
            meter.take_message(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()


def new_stream(_: WSUpgradeRequest) -> Stream:
    """Accept everybody."""
    return Stream()


async def main(place: Place) -> None:
    """Serve."""
    server = await ws_create_server(new_stream, "127.0.0.1", place.port, ssl=place.context())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(read_place()))
