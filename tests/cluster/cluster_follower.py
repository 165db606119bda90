"""A follower in a process of its own, which writes down what it hears.

    python cluster_follower.py REDIS FILE MOST

A line for each piece of audio: pid, stream, track, position, the piece itself.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.receiver.follower import FollowedStream, Following, follow


async def on_stream(file: int, stream: FollowedStream) -> None:
    """Write down what comes, each line in one write."""
    async for frame in stream:
        place = f"{os.getpid()} {stream.call_id} {frame.track} {frame.position}"
        os.write(file, f"{place} {frame.payload.hex()}\n".encode())
    os.write(file, f"{os.getpid()} {stream.call_id} over 0 -\n".encode())


def main(redis: str, path: str, most: str) -> None:
    """Follow until killed, or until a signal ends it."""
    # What is started in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    following = Following(
        cluster=redis, group="tests", most=int(most), repeat=1.0, timeouts=Timeouts(lease=1.5)
    )
    print("here", flush=True)
    trio.run(follow, partial(on_stream, file), following)


if __name__ == "__main__":
    main(*sys.argv[1:])
