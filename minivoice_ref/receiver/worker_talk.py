"""What the workers of one machine say to each other: datagrams, from socket file to socket file.

Each worker has one in the data folder, which only their user can write to. A datagram comes whole
or not at all; the kernel holds a few for a worker that is busy, the outbox holds the next ones, and
beyond that they are dropped. A worker that has died takes none. Read next: `cluster_talk.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.talk import Hear, Outbox

__all__ = ["WorkerTalk", "open_worker_talk"]

_AGAIN = 0.005  # seconds until a worker that takes nothing is tried again
_BUFFER = 1024 * 1024  # bytes of datagrams on their way; also the longest one
_OWN_FILES = Path("/proc/self/fd")  # a way to name a folder whose own name is too long


class WorkerTalk:
    """See `Talk`. Made by `open_worker_talk`; *others* tells the names of the living others."""

    def __init__(
        self,
        node: str,
        bound: socket.socket,
        address: Callable[[str], str],
        others: Callable[[], Iterable[str]],
    ) -> None:
        self.node = node
        self._socket = bound
        self._address = address
        self._others = others
        self._outbox = Outbox()

    def send(self, message: bytes, to: str | None = None) -> bool:
        """Put a message into the outbox, for one or for each of the others."""
        whole = b"\0".join((self.node.encode(), message))
        return all([self._outbox.put(name, whole) for name in ([to] if to else self._others())])

    async def run(self, hear: Hear) -> None:
        """See `Talk.run`."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all)
                while True:
                    await trio.lowlevel.wait_readable(self._socket)
                    sender, _, message = self._socket.recv(_BUFFER).partition(b"\0")
                    hear(sender.decode(errors="replace"), message)
        finally:
            self._send_what_goes()

    async def _send_all(self) -> None:
        while True:
            await self._outbox.something()
            self._send_what_goes()
            if self._outbox.addressees():
                await trio.sleep(_AGAIN)

    def _send_what_goes(self) -> None:
        """Send as much as the kernel takes just now."""
        for name in self._outbox.addressees():
            address = self._address(name)
            try:
                while (message := self._outbox.first(name)) is not None:
                    self._socket.sendto(message, address)
                    self._outbox.sent(name)
            except BlockingIOError:
                pass  # it is busy
            except OSError:
                self._outbox.clear(name)  # it has died


@contextmanager
def open_worker_talk(
    folder: Path, node: str, others: Callable[[], Iterable[str]]
) -> Iterator[WorkerTalk]:
    """Be a worker that the *others* of the same *folder* can talk to while the block runs.

    Raises ConfigError where there can be no socket file.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        place = _OWN_FILES / str(descriptor) if _OWN_FILES.is_dir() else folder

        def address(name: str) -> str:
            return str(place / f"{name}.talk")

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            _bind(bound, address(node), folder)
            yield WorkerTalk(node, bound, address, others)
            with suppress(FileNotFoundError):
                os.unlink(address(node))
    finally:
        os.close(descriptor)


def _bind(bound: socket.socket, address: str, folder: Path) -> None:
    """Give a socket its file, for the owner alone, in the place of one that died."""
    mask = os.umask(0o177)
    try:
        with suppress(FileNotFoundError):
            os.unlink(address)
        bound.bind(address)
    except OSError as exc:
        why = f"{folder} can hold no socket: {exc.strerror or exc}"
        raise ConfigError([Problem("data", why, "name a folder with a shorter path")]) from exc
    finally:
        os.umask(mask)
