"""serve(): the receiver as a whole, alone in its process or inside a Trio program of yours.

    server = await nursery.start(serve, app, config)
    ...                                # server.urls says what was bound
    server.stop()                      # drain; `serve` returns when it is done

    serve
    ├─ own_folders             the data folder is ours alone, as long as we live
    ├─ commons, journal        opened first, closed last: what was accepted or noted is kept
    ├─ commons.run             hears from the neighbours, if there are any
    ├─ publisher.run           hands audio on to other machines (a setting)
    └─ workers
       ├─ worker.run           hands committed events to app.on_event
       ├─ annex.run            the console, if there is one
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

import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import trio

from minivoice_ref.config import Config, ConfigError
from minivoice_ref.net.front_door import serve_doors
from minivoice_ref.receiver.annex import Annex, OpenAnnex
from minivoice_ref.receiver.app import App, checked
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.disk import OpenDisk, ThreadDisk
from minivoice_ref.receiver.doors import Addresses, Listen, Urls, listen_tcp, open_doors
from minivoice_ref.receiver.health import how_it_is
from minivoice_ref.receiver.journal import Journal
from minivoice_ref.receiver.live_streams import LiveStreams
from minivoice_ref.receiver.open_files import allow_open_files, fit_to_open_files
from minivoice_ref.receiver.overruns import Overruns
from minivoice_ref.receiver.shared import Shared
from minivoice_ref.receiver.stores import new_publisher, open_stores
from minivoice_ref.receiver.watchdog import watched_loop
from minivoice_ref.receiver.worker import Worker
from minivoice_ref.receiver.workers import Membership, listen_shared, supervise

__all__ = ["Listen", "Server", "Urls", "listen_tcp", "serve", "serve_until_signal"]

_RECORDING_THREADS = 4
_CAPTURE_THREADS = 2


@dataclass(frozen=True, slots=True)
class Server:
    """A running receiver. `public_urls` are None where no `public_url` is set."""

    urls: Urls
    public_urls: Urls | None
    _drain: Callable[[], None] = field(repr=False)
    _read_certificate_anew: Callable[[], None] = field(repr=False)

    def stop(self) -> None:
        """Drain: nobody new comes in, the others have `timeouts.grace` seconds. May be repeated."""
        self._drain()

    def reload(self) -> None:
        """Read the certificate anew, for new connections. If that fails, the log says so."""
        self._read_certificate_anew()


async def serve(
    app: App,
    config: Config,
    *,
    listen: Listen = listen_tcp,
    disk: OpenDisk = ThreadDisk,
    clock: Callable[[], float] = time.time,
    annex: OpenAnnex | None = None,
    worker: str | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a receiver until `Server.stop` was called and all has drained.

    Reports a `Server` when all doors are open. Cancelled, it ends at once, which here means:
    streams say 1001, recordings and logs are closed whole. Raises ConfigError where a setting
    cannot work on this machine: an address, a certificate, the data folder, which is one
    receiver's at a time. *annex* makes whoever watches and has pages of its own, such as
    `console.open_console`. *worker* is the name of one of several processes that share the data
    folder, which is their parent's (`workers.py`). *listen*, *disk* and *clock* (Unix seconds) are
    there for tests in virtual time.
    """
    app = checked(app)
    config, few = fit_to_open_files(config)
    token_key = config.token_key or secrets.token_urlsafe(32)
    async with (
        open_doors(config, listen) as addresses,
        open_stores(config, token_key, disk, clock, worker) as (commons, journal, talk),
        _until_the_end() as hearing,
        trio.open_nursery() as workers,
    ):
        events = Worker(commons, app.on_event, journal, attempts=config.event_attempts)
        shared = Shared(
            app=app,
            config=config,
            calls=Calls(config.limits.calls),
            journal=journal,
            commons=commons,
            talk=talk,
            worker=events,
            overruns=Overruns(journal),
            live_streams=LiveStreams(config.limits),
            recordings=disk(_RECORDING_THREADS),
            captures=disk(_CAPTURE_THREADS),
            clock=clock,
            token_key=token_key,
            stream_base=addresses.stream_base(config),
            process=worker,
        )
        workers.start_soon(events.run)
        _stay_in_touch(shared, hearing)
        if annex is not None:
            shared.annex = annex(shared, shared.stop)
            journal.on_line = shared.annex.line
        _tell_doubts(shared, addresses, few)
        with watched_loop(config.watchdog, partial(_tell_blocked, journal)):
            async with _serving(shared, addresses) as server:
                task_status.started(server)
        shared.overruns.tell_the_rest()
        events.stop()
        workers.cancel_scope.deadline = trio.current_time() + config.timeouts.finish


@asynccontextmanager
async def _until_the_end() -> AsyncIterator[trio.Nursery]:
    """A nursery for what is needed as long as anything else runs, and no longer."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


def _stay_in_touch(shared: Shared, nursery: trio.Nursery) -> None:
    """Hear from the neighbours, and hand audio on where that is asked for."""
    nursery.start_soon(_hear, shared)
    if shared.config.publish_media:
        shared.publisher = new_publisher(shared.config, shared.commons.node, shared.journal)
        nursery.start_soon(shared.publisher.run)


async def _hear(shared: Shared) -> None:
    """Hear from the neighbours, and have them hear of us."""
    doubt = partial(shared.journal.note, "streams", "settings", code="MV-712", setting="cluster")
    await shared.commons.run(
        shared.calls,
        shared.worker.look,
        lambda: how_it_is(shared),
        lambda why: doubt(why=why),
    )


@asynccontextmanager
async def _serving(shared: Shared, addresses: Addresses) -> AsyncIterator[Server]:
    """Open the doors, and whatever stands beside them; the block ends when all has drained."""
    config, doors = shared.config, addresses.doors(shared)

    def read_certificate_anew() -> None:
        note = partial(shared.journal.note, "streams")
        try:
            addresses.read_certificate_anew(config, doors)
        except ConfigError as exc:
            note("certificate_failed", level=logging.ERROR, code="MV-709", why=str(exc))
        else:
            note("certificate", file=config.tls_cert)

    limits, timeouts = config.limits, config.timeouts
    async with _beside(shared.annex), trio.open_nursery() as serving:
        await serving.start(
            partial(serve_doors, doors, shared.stop, limits=limits, timeouts=timeouts)
        )
        public = addresses.public_urls(config)
        yield Server(addresses.urls, public, shared.stop.set, read_certificate_anew)


def _tell_doubts(shared: Shared, addresses: Addresses, few: str | None) -> None:
    """Log what is doubtful about the settings, here and now."""
    note, config = partial(shared.journal.note, "streams", "settings"), shared.config
    for setting, why in addresses.doubts(config):
        note(code="MV-207", setting=setting, why=why)
    if few is not None:
        note(code="MV-711", setting="limits.connections", why=few)
    if config.data.stat().st_mode & 0o077:
        note(code="MV-710", setting="data", why=f"others may look into {config.data}")


def _tell_blocked(journal: Journal, told: dict[str, Any]) -> None:
    journal.note("streams", "blocked", code="MV-708", **told)


@asynccontextmanager
async def _beside(annex: Annex | None) -> AsyncIterator[None]:
    """Run the annex, if there is one, while the block runs."""
    async with trio.open_nursery() as nursery:
        if annex is not None:
            nursery.start_soon(annex.run)
        yield
        nursery.cancel_scope.cancel()


def _nothing(server: Server) -> None:
    del server


async def serve_until_signal(
    app: App,
    config: Config,
    *,
    annex: OpenAnnex | None = None,
    on_started: Callable[[Server], None] = _nothing,
    on_serving: Callable[[Server], None] = _nothing,
) -> None:
    """Run a receiver until SIGINT or SIGTERM: the first one drains, the second one insists.

    SIGHUP reads the certificate anew. The process may then open as many files as the system lets
    it. With several `workers`, this program is started once more for each of them, and only they
    serve (`workers.py`). *on_started* is called once, *on_serving* in each process that serves.
    Must run in the main thread. Raises as `serve` does.
    """

    def on_both(server: Server) -> None:
        on_serving(server)
        on_started(server)

    allow_open_files()
    worker = Membership.from_environ()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        if worker is None and config.workers > 1:
            await supervise(config, signals, partial(_tell_started, on_started))
        elif worker is None:
            start = partial(serve, app, config, annex=annex)
            await _serve_obeying(signals, start, on_both)
        else:
            config = worker.apply(config)
            start = partial(
                serve, app, config, annex=annex, listen=listen_shared, worker=worker.name
            )
            await _serve_obeying(signals, start, on_serving, worker)


async def _serve_obeying(
    signals: AsyncIterator[int],
    start: Callable[..., Awaitable[None]],
    on_started: Callable[[Server], None],
    worker: Membership | None = None,
) -> None:
    """Run a receiver that obeys signals; as a *worker*, only as long as it has a parent."""
    insist = trio.CancelScope()
    async with trio.open_nursery() as root:
        with insist:
            async with trio.open_nursery() as serving:
                server: Server = await serving.start(start)
                root.start_soon(_obey, signals, server, insist)
                if worker is not None:
                    root.start_soon(_stay, worker, server)
                on_started(server)
        root.cancel_scope.cancel()


async def _stay(worker: Membership, server: Server) -> None:
    """Serve as a worker as long as there is a parent."""
    public = server.public_urls and asdict(server.public_urls)
    await worker.stay({"urls": asdict(server.urls), "public_urls": public})
    server.stop()


def _tell_started(on_started: Callable[[Server], None], told: Mapping[str, Any]) -> None:
    """Say for the workers where their doors are. Signals are what they obey."""
    public = told["public_urls"] and Urls(**told["public_urls"])
    drain, reload = (partial(signal.raise_signal, n) for n in (signal.SIGTERM, signal.SIGHUP))
    on_started(Server(Urls(**told["urls"]), public, drain, reload))


async def _obey(signals: AsyncIterator[int], server: Server, insist: trio.CancelScope) -> None:
    told_to_stop = False
    async for number in signals:
        if number == signal.SIGHUP:
            server.reload()
        elif told_to_stop:
            return insist.cancel()
        else:
            told_to_stop = True
            server.stop()
