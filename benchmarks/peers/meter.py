"""What each server under test counts: how many frames it got, and how long each took to get there.

A frame says in its first eight bytes when it was sent, by the machine's monotonic clock; zero, and
it is not to be counted. On SIGUSR2 the counts are printed as a line of JSON, with when the last
frame came, and begin anew.
"""

from __future__ import annotations

import argparse
import binascii
import json
import signal
import ssl
import struct
import time
from pathlib import Path

from benchmarks.figures import Histogram

__all__ = ["Meter", "Place", "read_place"]

_SENT = struct.Struct(">d")


class Meter:
    """Counts the frames of all streams of the process. To be made in the main thread."""

    def __init__(self) -> None:
        self._lag = Histogram()
        self._last = 0.0
        signal.signal(signal.SIGUSR2, self._report)

    def take(self, audio: bytes) -> None:
        """Count the *audio* of one message, which has just arrived at its user."""
        (sent,) = _SENT.unpack_from(audio)
        if sent:
            self._last = now = time.monotonic()
            self._lag.add(now - sent)

    def take_message(self, message: str | bytes) -> None:
        """Count one message as it came, if it is audio: the work that is the same for all peers."""
        document = json.loads(message)
        if document["event"] == "media":
            self.take(binascii.a2b_base64(document["media"]["payload"]))

    def _report(self, *_: object) -> None:
        lag, self._lag = self._lag, Histogram()
        print(json.dumps({"last": self._last, "lag": lag.pairs()}), flush=True)


class Place:
    """Where to serve: a port of 127.0.0.1, and a certificate with its key, or neither."""

    def __init__(self, port: int, cert: Path | None = None, key: Path | None = None) -> None:
        self.port, self.cert, self.key = port, cert, key

    def context(self) -> ssl.SSLContext | None:
        """TLS as the standard library sets it up, where there is a certificate."""
        if self.cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


def read_place() -> Place:
    """The place that the command line names."""
    parser = argparse.ArgumentParser(description="a server under test, see benchmarks.receive")
    parser.add_argument("port", type=int)
    parser.add_argument("cert", type=Path, nargs="?")
    parser.add_argument("key", type=Path, nargs="?")
    found = parser.parse_args()
    return Place(found.port, found.cert, found.key)
