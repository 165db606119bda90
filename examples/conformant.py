"""python examples/conformant.py CERT KEY [PORT]: an answer with all that streams can do.

`minivoice-ref cert certs` makes the two files. Then, from another terminal:

    minivoice-ref conformance --ca certs/ca.pem --answer-url https://localhost:8443/answer \\
        --webhook-url https://localhost:8443/webhooks

A scenario of the conformance suite applies only where the answer asks for what it is about. This
one asks for everything: a stream for each track, in both forms that an action can have, and a
redirect that comes back for a second list, which stops one of the streams. So none is left out.
Set MINIVOICE_WEBHOOK_SECRET on both sides, or those about signatures are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from minivoice_ref import (
    Answer,
    AnswerRequest,
    App,
    Config,
    redirect,
    serve_until_signal,
    start_stream,
    stop_stream,
)


async def on_answer(request: AnswerRequest) -> Answer:
    """Stream everything, and come back to stop the stream of the caller alone."""
    await trio.lowlevel.checkpoint()  # in the place of what yours has to look up
    if request.query.get("list") == "second":
        return Answer(stop_stream(track="inbound").keyed())
    here = dict(request.headers)["host"]
    return Answer(
        start_stream(request.stream_url(), track="both"),
        start_stream(request.stream_url(), track="inbound").keyed(),
        start_stream(request.stream_url(), track="outbound"),
        redirect(f"https://{here}/answer?list=second"),
    )


async def main(cert: Path, key: Path, port: int) -> None:
    config = Config.load(environ=os.environ, listen=f"127.0.0.1:{port}", tls_cert=cert, tls_key=key)
    await serve_until_signal(
        App(on_answer),
        config,
        on_started=lambda server: print(f"answer_url {server.urls.answer}", flush=True),
    )


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), int((sys.argv[3:] or ["8443"])[0]))
