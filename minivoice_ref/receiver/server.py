"""serve(): the receiver as a whole, alone in its process or inside a Trio program of yours.

    server = await nursery.start(serve, app, config)
    ...                                # server.urls says what was bound
    server.stop()                      # drain; `serve` returns when it is done

    serve
    ├─ _own                    the data folder is ours alone, as long as we live
    ├─ inbox, journal          opened first, closed last: what was accepted or noted is on the disk
    └─ workers
       ├─ worker.run           hands committed events to app.on_event
       └─ serving
          └─ serve_doors       net/front_door.py: doors inside, connections outside
             └─ …              each stream has the nursery that stream.py draws

The order of the end is the order of that picture, inside out. The doors close; connections and
streams end by themselves or at the end of the grace; the worker finishes what it is handling, new
events wait for the next start; the logs are written; the database is closed.

`serve_until_signal` is the same for a program that is nothing else: the first SIGINT or SIGTERM
drains, the second one insists. This is the last module of the room; begin again at
`minivoice_ref/__init__.py`.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import trio

from minivoice_ref.config import Config, ConfigError, split_address
from minivoice_ref.net.front_door import Door, serve_doors
from minivoice_ref.net.tls import server_context
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.disk import OpenDisk, ThreadDisk
from minivoice_ref.receiver.inbox import Inbox, open_inbox
from minivoice_ref.receiver.journal import Journal, open_journal
from minivoice_ref.receiver.routes import ReceiverSite
from minivoice_ref.receiver.shared import Shared
from minivoice_ref.receiver.worker import Worker

__all__ = ["Listen", "Server", "Urls", "listen_tcp", "serve", "serve_until_signal"]

Listeners: TypeAlias = Sequence[trio.abc.Listener[trio.abc.Stream]]
Listen: TypeAlias = Callable[[str, int], Awaitable[Listeners]]
"""Opens listeners at a host and a port: the way to inject another network."""

_RECORDING_THREADS = 4
_CAPTURE_THREADS = 2
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a server listens, as bound: a port 0 of the settings is a real one here."""

    base: str
    answer: str
    webhooks: str
    stream: str
    health: str


@dataclass(frozen=True, slots=True)
class Server:
    """A running receiver."""

    urls: Urls
    _stop: trio.Event = field(repr=False)

    def stop(self) -> None:
        """Drain: nobody new comes in, the others have `timeouts.grace` seconds. May be repeated."""
        self._stop.set()


async def listen_tcp(host: str, port: int) -> Listeners:
    """Listen at each address that *host* has. Raises OSError where it cannot."""
    return await trio.open_tcp_listeners(port, host=host)


async def serve(
    app: App,
    config: Config,
    *,
    listen: Listen = listen_tcp,
    disk: OpenDisk = ThreadDisk,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a receiver until `Server.stop` was called and all has drained.

    Reports a `Server` when all doors are open. Cancelled, it ends at once, which here means:
    streams say 1001, recordings and logs are closed whole. Raises ConfigError where a setting
    cannot work on this machine: an address, a certificate, the data folder, which is one
    receiver's at a time. *listen*, *disk* and
    *clock* (Unix seconds) are there for tests in virtual time.
    """
    stop = trio.Event()
    token_key = config.token_key or secrets.token_urlsafe(32)
    async with (
        _open_doors(config, listen) as addresses,
        _open_stores(config, token_key, disk, clock) as (inbox, journal),
        trio.open_nursery() as workers,
    ):
        for setting, why in addresses.doubts(config):
            journal.note("streams", "settings", code="MV-207", setting=setting, why=why)
        worker = Worker(inbox, app.on_event, journal, clock=clock, attempts=config.event_attempts)
        shared = Shared(
            app=app,
            config=config,
            calls=Calls(config.limits.calls),
            journal=journal,
            inbox=inbox,
            worker=worker,
            recordings=disk(_RECORDING_THREADS),
            captures=disk(_CAPTURE_THREADS),
            clock=clock,
            token_key=token_key,
            stream_base=addresses.stream_base(config),
        )
        workers.start_soon(worker.run)
        async with trio.open_nursery() as serving:
            await serving.start(
                partial(
                    serve_doors,
                    addresses.doors(shared),
                    stop,
                    limits=config.limits,
                    timeouts=config.timeouts,
                )
            )
            task_status.started(Server(addresses.urls, stop))
        worker.stop()
        workers.cancel_scope.deadline = trio.current_time() + config.timeouts.finish


async def serve_until_signal(
    app: App, config: Config, *, on_started: Callable[[Server], None] = lambda server: None
) -> None:
    """Run a receiver until SIGINT or SIGTERM: the first one drains, the second one insists.

    Must run in the main thread. Raises as `serve` does.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        insist = trio.CancelScope()
        async with trio.open_nursery() as root:
            with insist:
                async with trio.open_nursery() as serving:
                    server = await serving.start(serve, app, config)
                    on_started(server)
                    root.start_soon(_obey, signals, server, insist)
            root.cancel_scope.cancel()


async def _obey(signals: AsyncIterator[int], server: Server, insist: trio.CancelScope) -> None:
    await anext(signals)
    server.stop()
    await anext(signals)
    insist.cancel()


@dataclass(frozen=True, slots=True)
class _Addresses:
    """What was bound: the main door's listeners, and those of the streams' own door, if any."""

    tls: ssl.SSLContext | None
    main: Listeners
    main_name: str
    streams: Listeners | None
    streams_name: str

    @property
    def urls(self) -> Urls:
        """The URLs that lead to these doors."""
        s = "" if self.tls is None else "s"
        base = f"http{s}://{self.main_name}"
        return Urls(
            base=base,
            answer=f"{base}/answer",
            webhooks=f"{base}/webhooks",
            stream=f"ws{s}://{self.streams_name}/stream",
            health=f"{base}/health",
        )

    def stream_base(self, config: Config) -> str:
        """What stream tokens are appended to. Always `wss`: the platform takes nothing else."""
        if config.public_url is not None:
            return f"wss{config.public_url.removeprefix('https').rstrip('/')}/stream"
        return f"wss://{self.streams_name}/stream"

    def doubts(self, config: Config) -> Iterator[tuple[str, str]]:
        """The settings with which the streams' URLs of our answers may lead nowhere, and why."""
        if config.public_url is not None:
            if self.streams is not None:
                yield "stream_listen", (
                    f"answers name {self.stream_base(config)}, the public_url's door: "
                    f"a proxy there must route /stream to {config.stream_listen}"
                )
            return
        if config.plain:
            why = f"answers name {self.stream_base(config)}, but that door speaks no TLS"
            yield "plain", f"{why}: set public_url to the proxy's"
        name, address = "listen", config.listen
        if config.stream_listen is not None:
            name, address = "stream_listen", config.stream_listen
        if split_address(address)[0] in _WILDCARDS:
            why = (
                f"answers name {self.stream_base(config)}, which leads here from this machine only"
            )
            yield name, f"{why}: set public_url"

    def doors(self, shared: Shared) -> list[Door]:
        """The doors, with what stands behind each."""
        if self.streams is None:
            return [Door(self.main, self.tls, ReceiverSite(shared))]
        return [
            Door(self.main, self.tls, ReceiverSite(shared, streams=False)),
            Door(self.streams, self.tls, ReceiverSite(shared, http=False)),
        ]


@asynccontextmanager
async def _open_doors(config: Config, listen: Listen) -> AsyncIterator[_Addresses]:
    """Load the certificate and bind the addresses; whatever happens next, they are freed again."""
    tls = None
    if config.tls_cert is not None and config.tls_key is not None:
        tls = server_context(config.tls_cert, config.tls_key)
    bound: list[trio.abc.Listener[trio.abc.Stream]] = []
    try:
        main, main_name = await _bind("listen", config.listen, listen)
        bound += main
        streams, streams_name = None, main_name
        if config.stream_listen is not None:
            streams, streams_name = await _bind("stream_listen", config.stream_listen, listen)
            bound += streams
        yield _Addresses(tls, main, main_name, streams, streams_name)
    finally:
        for listener in bound:
            await trio.aclose_forcefully(listener)


async def _bind(name: str, address: str, listen: Listen) -> tuple[Listeners, str]:
    """Listen at the address of a setting; return also its `host:port` for a URL."""
    host, port = split_address(address)
    try:
        listeners = await listen(host, port)
    except (OSError, UnicodeError) as exc:
        why = f"{address} cannot be opened: {getattr(exc, 'strerror', None) or exc}"
        raise ConfigError([Problem(name, why, "choose an address that is ours and free")]) from exc
    first = listeners[0]
    if isinstance(first, trio.SocketListener):
        host, port = first.socket.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return listeners, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def _open_stores(
    config: Config, token_key: str, disk: OpenDisk, clock: Callable[[], float]
) -> AsyncIterator[tuple[Inbox, Journal]]:
    """Make the data folder ours, and open in it what must not get lost."""
    _make_folder(config.data)
    known_secrets = [secret for secret in (config.webhook_secret, token_key) if secret]
    path = config.inbox or config.data / "inbox.sqlite3"
    with ExitStack() as locks:
        locks.enter_context(_own("data", config.data / "receiver.lock"))
        if config.inbox is not None:
            locks.enter_context(_own("inbox", path.with_name(f"{path.name}.lock")))
        async with (
            open_inbox(path, disk(1), clock=clock, remembered=config.webhook_memory) as inbox,
            open_journal(
                config.data,
                disk(1),
                clock=clock,
                secrets=known_secrets,
                timeouts=config.timeouts,
            ) as journal,
        ):
            yield inbox, journal


def _make_folder(folder: Path) -> None:
    """Make the data folder, for the owner's eyes only."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        why = f"{folder} cannot be made: {exc.strerror or exc}"
        raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc


@contextmanager
def _own(setting: str, path: Path) -> Iterator[None]:
    """Hold the lock file *path*: two receivers with one inbox would handle an event twice.

    The kernel lets go of the lock when its holder dies. The file stays: a file that is deleted
    while another waits for it would be two locks.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        why = f"{path} cannot be used: {exc.strerror or exc}"
        raise ConfigError([Problem(setting, why, "name a place that we may write to")]) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            why = f"{path.parent} is in use by another receiver"
            mend = f"stop that one, or give this one a {setting} of its own"
            raise ConfigError([Problem(setting, why, mend)]) from exc
        yield
    finally:
        os.close(descriptor)
