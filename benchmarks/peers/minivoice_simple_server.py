"""The same receiver with `transport = simple`: all through trio-websocket and Trio's own TLS."""

from __future__ import annotations

from functools import partial

import trio

from benchmarks.peers.meter import Meter, read_place
from benchmarks.peers.minivoice_server import config, listen
from minivoice_ref import App, serve

if __name__ == "__main__":
    simple = config(read_place(), transport="simple")
    trio.run(serve, App(on_stream=partial(listen, Meter())), simple)
