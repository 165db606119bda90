"""Asks a receiver for answers and sends it webhooks, by turns, and times each.

    python -m benchmarks.asker PORT SECONDS [CA]

says that it is ready, and when it gets a line asks twenty times a second for each, over connections
that are kept for a while; then prints how long the responses took, and how late it was itself, as
one line of JSON. Part of `isolation.py`.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from datetime import datetime, timezone

from benchmarks.figures import Histogram
from benchmarks.streams import Connection
from minivoice_ref.protocol.webhooks import CallEvent, CallInfo

_EVERY = 0.025  # seconds between two requests, of the one kind and then of the other
_KEPT = 50  # requests on a connection; the receiver ends it after a hundred
_REQUEST = (
    "POST {} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n"
)


def main(arguments: list[str]) -> int:
    """Ask, and tell."""
    port, seconds = int(arguments[0]), float(arguments[1])
    context = ssl.create_default_context(cafile=arguments[2]) if len(arguments) > 2 else None
    took = {"/answer": Histogram(), "/webhooks": Histogram()}
    late, connection = Histogram(), Connection(port, context)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    for number in range(round(seconds / _EVERY)):
        if number % _KEPT == _KEPT - 1:
            connection.close()
            connection = Connection(port, context)
        due = began + number * _EVERY
        time.sleep(max(due - time.monotonic(), 0))
        path = "/webhooks" if number % 2 else "/answer"
        request = _request(path, number)
        sent = time.monotonic()
        late.add(sent - due)
        answer = connection.ask(request)
        took[path].add(time.monotonic() - sent)
        if not answer.startswith(b"HTTP/1.1 20"):
            raise SystemExit(f"the receiver refused: {answer!r}")
    connection.close()
    found = {path: histogram.pairs() for path, histogram in (*took.items(), ("late", late))}
    print(json.dumps(found))
    return 0


def _request(path: str, number: int) -> bytes:
    body = _event(number).encode() if path == "/webhooks" else b'{"call_id":"CA%032d"}' % number
    return _REQUEST.format(path, len(body)).encode() + body


def _event(number: int) -> CallEvent:
    """An event of a call of its own each time, so that none is a duplicate."""
    call = CallInfo(
        id=f"call_asker_{number}",
        status="ringing",
        direction="inbound",
        from_number="+15550100",
        to_number="+15550101",
        customer_id="customer",
        application_id="application",
    )
    return CallEvent("call.ringing", datetime.now(timezone.utc), call)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
