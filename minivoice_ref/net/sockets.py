"""A TCP socket as the fast way uses it: one system call, when the system says that it is time.

Trio's `SocketStream` tries first and waits if it has to. Of a socket with a small message every
20 ms that first try nearly always fails: a system call and an exception for nothing, at each
message. Here the wait comes first. And a sender may offer bytes without waiting at all.

Knows nothing of what the bytes mean. Read next: `tls_stream.py`.
"""

from __future__ import annotations

import errno
import os

import trio

__all__ = ["A_TURN", "MOST", "offer", "receive_now", "receive_when_ready"]

MOST = 65536
"""Bytes that are read at once."""

A_TURN = 16384
"""The same for messages of a stream: no more than an application takes in its turn, or of a burst
the hand-over would drop what the application had no chance to take."""

_NOT_OURS_ANY_MORE = (errno.EBADF, errno.ENOTSOCK)


async def receive_when_ready(stream: trio.SocketStream, most: int = MOST) -> bytes:
    """Wait until something has arrived on *stream*, and receive it; empty at the end.

    At most *most* bytes. Keeps the promises of `trio.abc.ReceiveStream.receive_some`: cancelled,
    it has received nothing; the same errors.
    """
    while True:
        if (descriptor := stream.socket.fileno()) < 0:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this stream is closed")
        await trio.lowlevel.wait_readable(descriptor)
        if (data := receive_now(stream, most)) is not None:
            return data


def receive_now(stream: trio.SocketStream, most: int = A_TURN) -> bytes | None:
    """What has arrived on *stream*, at most *most* bytes; empty at the end, None for nothing.

    Raises BrokenResourceError and ClosedResourceError as a stream does.
    """
    try:
        # The number is asked for again: whoever closed the socket since we were woken may have
        # opened another under the same one.
        return os.read(stream.socket.fileno(), most)
    except BlockingIOError:
        return None  # whoever said that there was something was wrong: POSIX allows that
    except OSError as exc:
        if exc.errno in _NOT_OURS_ANY_MORE:
            raise trio.ClosedResourceError("this stream was closed meanwhile") from None
        raise trio.BrokenResourceError(str(exc)) from exc


def offer(stream: trio.SocketStream, data: bytes) -> int:
    """How many bytes of *data* the system takes at once; none also where the stream is broken.

    Gives no other task a turn. What is wrong is told to whoever sends the rest by `send_all`.
    """
    try:
        return os.write(stream.socket.fileno(), data)
    except OSError:
        return 0
