"""What a receiver keeps: its data folder, its journal, and the commons that fit its settings.

This is the one place that knows which commons there is, which way to talk, and what the extra
`cluster` brings. Read next: `server.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from minivoice_ref.config import Config, ConfigError
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.receiver.alive import living
from minivoice_ref.receiver.commons import Commons
from minivoice_ref.receiver.disk import OpenDisk
from minivoice_ref.receiver.inbox import open_inbox
from minivoice_ref.receiver.journal import Journal, open_journal
from minivoice_ref.receiver.neighbours import open_shared_inbox
from minivoice_ref.receiver.talk import Alone, Talk
from minivoice_ref.receiver.worker_talk import open_worker_talk

if TYPE_CHECKING:
    from minivoice_ref.receiver.publisher import Publisher

__all__ = ["new_publisher", "open_stores", "own_folders"]


@asynccontextmanager
async def open_stores(
    config: Config, token_key: str, disk: OpenDisk, clock: Callable[[], float], worker: str | None
) -> AsyncIterator[tuple[Commons, Journal, Talk]]:
    """Open what must not get lost, and the way to talk, while the block runs.

    The data folder is made ours; that of a *worker*, which is its name, is its parent's already.
    May raise ConfigError.
    """
    with ExitStack() as stack:
        if worker is None:
            stack.enter_context(own_folders(config))
        async with (
            _open_commons(config, disk, clock, worker) as commons,
            open_journal(
                config.data,
                disk(1),
                clock=clock,
                secrets=[*config.secrets, token_key],
                limits=config.limits,
                timeouts=config.timeouts,
                node=commons.node if worker is not None or config.cluster is not None else None,
            ) as journal,
        ):
            yield commons, journal, _open_talk(config, commons, worker, stack)


def _open_talk(config: Config, commons: Commons, worker: str | None, stack: ExitStack) -> Talk:
    """The way to talk with the neighbours, where there are any, and something to say."""
    if not config.console or (config.cluster is None and worker is None):
        return Alone()
    if config.cluster is not None:
        from minivoice_ref.receiver.cluster_talk import RedisTalk  # the extra is there: see below

        return RedisTalk(config, commons.node)
    assert worker is not None
    return stack.enter_context(open_worker_talk(config.data, worker, lambda: commons.others))


def _open_commons(
    config: Config, disk: OpenDisk, clock: Callable[[], float], worker: str | None
) -> AbstractAsyncContextManager[Commons]:
    """The commons that the settings ask for."""
    if config.cluster is not None:
        try:
            from minivoice_ref.receiver.cluster import open_cluster
        except ModuleNotFoundError as exc:
            why = f"needs a package that is not installed: {exc.name}"
            mend = "pip install 'minivoice-ref[cluster]'"
            raise ConfigError([Problem("cluster", why, mend)]) from exc
        return open_cluster(config, worker)
    path, notes, remembered = _inbox_path(config), config.notes, config.webhook_memory
    if worker is not None:
        return open_shared_inbox(path, notes, disk, clock=clock, remembered=remembered, node=worker)
    return open_inbox(path, notes, disk, clock=clock, remembered=remembered)


def new_publisher(config: Config, node: str, journal: Journal) -> Publisher:
    """Who hands audio on to other machines, for the *node* that keeps this *journal*."""
    from minivoice_ref.receiver.publisher import Publisher  # of an extra, as the cluster is

    return Publisher(config, node, journal)


def _inbox_path(config: Config) -> Path:
    return config.inbox or config.data / "inbox.sqlite3"


@contextmanager
def own_folders(config: Config) -> Iterator[None]:
    """Make the data folder, for the owner's eyes only, and hold its lock, while the block runs.

    So also the lock of an inbox elsewhere. Raises ConfigError where another receiver has them.
    """
    folder, inbox = config.data, _inbox_path(config)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        why = f"{folder} cannot be made: {exc.strerror or exc}"
        raise ConfigError([Problem("data", why, "name a folder that we may write to")]) from exc
    with ExitStack() as locks:
        _own("data", folder / "receiver.lock", locks)
        if config.inbox is not None:
            _own("inbox", inbox.with_name(f"{inbox.name}.lock"), locks)
        yield


def _own(setting: str, path: Path, locks: ExitStack) -> None:
    """Hold the lock of *path*: receivers that know nothing of each other would mix them up."""
    try:
        locks.enter_context(living(path))
    except BlockingIOError as exc:
        why = f"{path.parent} is in use by another receiver"
        mend = f"stop that one, or give this one a {setting} of its own"
        raise ConfigError([Problem(setting, why, mend)]) from exc
    except OSError as exc:
        why = f"{path} cannot be used: {exc.strerror or exc}"
        raise ConfigError([Problem(setting, why, "name a place that we may write to")]) from exc
