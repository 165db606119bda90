"""The receiver of this package as it ships: account, levels, logs, hand-over, tokens."""

from __future__ import annotations

from functools import partial

import trio

from benchmarks.peers.meter import Meter, Place, read_place
from minivoice_ref import App, Config, MediaStream, serve

TOKEN_KEY = "the key of a benchmark"


async def listen(meter: Meter, stream: MediaStream) -> None:
    """Read every frame."""
    async for frame in stream:
        meter.take(frame.payload)


def config(place: Place, transport: str = "fast") -> Config:
    """Nothing but where it serves, and the key that the client makes its tokens with."""
    listen = f"127.0.0.1:{place.port}"
    tls = {"plain": True} if place.cert is None else {"tls_cert": place.cert, "tls_key": place.key}
    return Config.load(listen=listen, token_key=TOKEN_KEY, transport=transport, **tls)


if __name__ == "__main__":
    trio.run(serve, App(on_stream=partial(listen, Meter())), config(read_place()))
