"""The receiver of this package in as many processes as its environment says.

Each process that has served writes what it got into a file of its own when it has drained.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import trio

from benchmarks.figures import Histogram
from benchmarks.peers.meter import Meter
from benchmarks.peers.minivoice_server import listen
from minivoice_ref import App, Config
from minivoice_ref.receiver.server import serve_until_signal


class _Meter(Meter):
    """Tells a file what it has counted."""

    def write(self, folder: Path) -> None:
        """Write it, if anything."""
        lag: Histogram = self._lag
        if lag.count:
            told = {"lag": lag.pairs(), "seconds": sum(os.times()[:2])}
            (folder / f"report-{os.getpid()}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    meter = _Meter()
    config = Config.from_env()
    trio.run(serve_until_signal, App(on_stream=partial(listen, meter)), config)
    meter.write(config.data)
