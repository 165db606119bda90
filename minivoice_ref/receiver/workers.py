"""Several processes behind the same doors, for a machine with more than one core: `--workers`.

    supervise                  the parent: it holds the addresses and the data folder, serves nobody
    └─ one nursery
       ├─ _obey                SIGTERM drains all, a second one insists, SIGHUP is passed on
       ├─ _Child.keep          worker-1: started, and started again when it dies, ever more slowly
       └─ …                    worker-2, and so on

Each worker is the same program, with the same arguments, and has doors of its own at the same
addresses (`SO_REUSEPORT`): the kernel deals out the connections. Which worker it is, where to
listen and the key of the stream tokens it reads in its environment, where other users cannot look.
A pair of sockets ties it to the parent: over it the worker says that its doors are open, and at its
end it knows that the parent is gone, and drains.

What a worker that dies held of streams is lost; its events are handled by another
(`neighbours.py`). Each says in `/health` how all of them are. Read next: `server.py`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from minivoice_ref.config import Config, ConfigError, split_address
from minivoice_ref.protocol.errors import MiniVoiceError, Problem
from minivoice_ref.receiver.doors import Listeners
from minivoice_ref.receiver.published import clear_published
from minivoice_ref.receiver.stores import own_folders

__all__ = ["Membership", "WorkerFailed", "listen_shared", "supervise"]

_LOG = logging.getLogger("minivoice_ref.workers")
_VARIABLE = "_MINIVOICE_WORKER"  # not one of the settings' names, which begin otherwise
_DOORS = ("listen", "stream_listen", "console_listen")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0  # seconds before a dead worker is started again
_HEALTHY_AFTER = 60.0  # seconds after which a worker's death says nothing of its start
_MOST_BYTES = 65536  # of what a worker says of its start
_BACKLOG = 1024


class WorkerFailed(MiniVoiceError):
    """A worker ended before its doors were open; it has said why."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a worker is told by its parent. `channel` is the descriptor of its socket to it."""

    name: str
    channel: int
    settings: Mapping[str, str | None]

    @classmethod
    def from_environ(cls) -> Membership | None:
        """What this process is told; None where it is no worker."""
        told = os.environ.get(_VARIABLE)
        return None if told is None else cls(**json.loads(told))

    def to_environ(self) -> dict[str, str]:
        """The environment of the worker."""
        return {**os.environ, _VARIABLE: json.dumps(dataclasses.asdict(self))}

    def apply(self, config: Config) -> Config:
        """The settings as they are for the worker."""
        given: dict[str, Any] = dict(self.settings)
        return dataclasses.replace(config, workers=1, **given)

    async def stay(self, urls: Mapping[str, Any]) -> None:
        """Tell the parent where the doors are; return when the parent is gone."""
        with trio.socket.from_stdlib_socket(socket.socket(fileno=self.channel)) as channel:
            with _peer_may_be_gone():
                await channel.send(json.dumps(urls).encode() + b"\n")
                await channel.recv(1)


@contextmanager
def _peer_may_be_gone() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ConnectionResetError):
        pass


async def listen_shared(host: str, port: int) -> Listeners:
    """Listen at each address that *host* has, beside others that do. Raises OSError."""
    listeners = []
    with ExitStack() as on_failure:
        for bound in await _bind_shared(host, port):
            on_failure.enter_context(bound)
            bound.listen(_BACKLOG)
            listeners.append(trio.SocketListener(bound))
        on_failure.pop_all()
    return listeners


async def _bind_shared(
    host: str, port: int, *, alone: bool = False
) -> list[trio.socket.SocketType]:
    """Sockets that are bound so that others may be, too; *alone*: where nobody else is yet."""
    bound: list[trio.socket.SocketType] = []
    with ExitStack() as on_failure:
        for family, kind, protocol, _, address in await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            for shared in (False, True) if alone and port else (True,):
                one = on_failure.enter_context(trio.socket.socket(family, kind, protocol))
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if shared:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                await one.bind(address)
                if not shared:  # it was only to see that nobody listens there
                    one.close()
            bound.append(one)
            if not port:
                break  # one port that was picked; the workers listen at all addresses with it
        on_failure.pop_all()
    return bound


async def supervise(
    config: Config,
    signals: AsyncIterator[int],
    on_ready: Callable[[Mapping[str, Any]], None],
    command: list[str] | None = None,
) -> None:
    """Keep `config.workers` workers alive until *signals* say to stop and all have drained.

    *on_ready* hears where the doors are when all of them are open. *command* starts a worker;
    left out: this very program. Cancelled, it has the workers terminated. Raises ConfigError where
    an address or the data folder cannot be had, and WorkerFailed where a worker cannot start.
    """
    with own_folders(config), ExitStack() as bound:
        clear_published(config.data)
        settings: dict[str, str | None] = {"token_key": config.token_key or os.urandom(32).hex()}
        for name in _DOORS:
            address: str | None = getattr(config, name)
            settings[name] = address and await _hold(name, address, bound)
        children = [
            _Child(
                f"worker-{number + 1}", command or [sys.executable, *sys.orig_argv[1:]], settings
            )
            for number in range(config.workers)
        ]
        async with trio.open_nursery() as root:
            root.start_soon(_obey, signals, children, root.cancel_scope)
            await _keep_all(children, on_ready)
            root.cancel_scope.cancel()


async def _keep_all(children: list[_Child], on_ready: Callable[[Mapping[str, Any]], None]) -> None:
    """Keep the workers until each was told to stop and has; say when all have begun."""
    urls: list[Mapping[str, Any]] = []
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as starting:
            for child in children:
                starting.start_soon(_start, child, nursery, urls)
        if all(urls):
            on_ready(urls[0])


async def _start(child: _Child, nursery: trio.Nursery, urls: list[Mapping[str, Any]]) -> None:
    urls.append(await nursery.start(child.keep))


async def _hold(name: str, address: str, held: ExitStack) -> str:
    """Bind the address of a door, so that it stays ours; return it with the port that it has."""
    host, port = split_address(address)
    try:
        sockets = await _bind_shared(host, port, alone=True)
    except (OSError, UnicodeError) as exc:
        why = f"{address} cannot be opened: {getattr(exc, 'strerror', None) or exc}"
        raise ConfigError([Problem(name, why, "choose an address that is ours and free")]) from exc
    for one in sockets:
        held.enter_context(one)
    return f"{address.rpartition(':')[0]}:{sockets[0].getsockname()[1]}"


async def _obey(
    signals: AsyncIterator[int], children: list[_Child], insist: trio.CancelScope
) -> None:
    told = 0
    async for number in signals:
        told += number != signal.SIGHUP
        for child in children:
            child.pass_on(number)
        if told > 2:  # the second one was passed on, and did not help
            insist.cancel()


class _Child:
    """One worker, whatever process it is just now."""

    def __init__(self, name: str, command: list[str], settings: Mapping[str, str | None]) -> None:
        self._name = name
        self._command = command
        self._settings = settings
        self._process: trio.Process | None = None
        self._stopping = trio.Event()
        self._is_open = self._reload = False

    def pass_on(self, number: int) -> None:
        """Send a signal to the process; one to stop also keeps it from being started again.

        SIGHUP would end a process that is about to begin, so it waits until the doors are open.
        """
        if number != signal.SIGHUP:
            self._stopping.set()
            number = signal.SIGTERM
        elif not self._is_open:
            self._reload = True
            return
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def keep(  # noqa: ASYNC114  # in no context manager
        self, *, task_status: trio.TaskStatus[Mapping[str, Any]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run the worker, again and again, until it was told to stop."""
        pause, started = _FIRST_PAUSE, False
        await trio.lowlevel.checkpoint()

        def on_ready(urls: Mapping[str, Any]) -> None:
            nonlocal started
            self._is_open = True
            if self._reload:
                self._reload = False
                self.pass_on(signal.SIGHUP)
            if started:
                _LOG.warning("%s is back", self._name)
            else:
                started = True
                task_status.started(urls)

        while not self._stopping.is_set():
            began = trio.current_time()
            code = await self._run(on_ready)
            self._is_open = False
            if self._stopping.is_set():
                break
            if not started:
                raise WorkerFailed(f"{self._name} ended with {code} before its doors were open")
            if trio.current_time() - began > _HEALTHY_AFTER:
                pause = _FIRST_PAUSE
            _LOG.error("%s ended with %s; again in %g s", self._name, code, pause)
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(pause * 2, _LONGEST_PAUSE)
        if not started:
            task_status.started({})

    async def _run(self, on_ready: Callable[[Mapping[str, Any]], None]) -> int | BaseException:
        """Run one process of the worker to its end; return its code, or why it could not begin."""
        try:
            return await self._run_process(on_ready)
        except* OSError as group:  # no memory, no descriptors: that may pass
            failure: BaseException = group
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        return failure  # noqa: ASYNC910  # it has been tried

    async def _run_process(self, on_ready: Callable[[Mapping[str, Any]], None]) -> int:
        ours, theirs = socket.socketpair()
        told = Membership(self._name, theirs.fileno(), self._settings)
        start = partial(
            trio.run_process,
            self._command,
            check=False,
            stdin=subprocess.DEVNULL,
            env=told.to_environ(),
            pass_fds=(theirs.fileno(),),
            start_new_session=True,  # Ctrl-C is ours to hear, and to pass on
        )
        with trio.socket.from_stdlib_socket(ours) as channel:
            async with trio.open_nursery() as nursery:
                with theirs:
                    self._process = process = await nursery.start(start)
                if self._stopping.is_set():
                    process.send_signal(signal.SIGTERM)
                nursery.start_soon(_hear, channel, on_ready)
                await process.wait()
        return int(process.returncode)


async def _hear(channel: trio.socket.SocketType, on_ready: Callable[[Any], None]) -> None:
    """Wait until the worker has said where its doors are; or for its end."""
    said = b""
    await trio.lowlevel.checkpoint()
    with _peer_may_be_gone():
        while not said.endswith(b"\n") and len(said) < _MOST_BYTES:
            more = await channel.recv(_MOST_BYTES)
            if not more:
                return
            said += more
    on_ready(json.loads(said))
