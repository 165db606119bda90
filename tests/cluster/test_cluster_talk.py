"""What neighbours say to each other: by socket files, and by Redis's channels."""

from __future__ import annotations

import gc
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from cluster_lab import needs_redis, redis_server, until

from minivoice_ref.config import Config, ConfigError, Timeouts
from minivoice_ref.receiver.cluster_talk import RedisTalk
from minivoice_ref.receiver.talk import Talk
from minivoice_ref.receiver.worker_talk import WorkerTalk, open_worker_talk

WORKERS = ("worker-1", "worker-2", "worker-3")


class Listener:
    """One who talks, and what it has heard."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.heard: list[tuple[str, bytes]] = []
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Talk and hear until cancelled."""
        with self.scope:
            await self.talk.run(lambda sender, message: self.heard.append((sender, message)))

    def has_heard(self, *messages: tuple[str, bytes]) -> Callable[[], bool]:
        """Whether it has heard just that."""
        return lambda: self.heard == list(messages)


def open_workers(stack: ExitStack, folder: Path) -> list[WorkerTalk]:
    others = {name: set(WORKERS) - {name} for name in WORKERS}
    return [
        stack.enter_context(open_worker_talk(folder, name, partial(others.__getitem__, name)))
        for name in WORKERS
    ]


@asynccontextmanager
async def three_workers(folder: Path) -> AsyncIterator[list[Listener]]:
    """Three workers that talk while the block runs."""
    with ExitStack() as stack:
        made = [Listener(talk) for talk in open_workers(stack, folder)]
        async with trio.open_nursery() as nursery:
            for one in made:
                nursery.start_soon(one.run)
            await trio.testing.wait_all_tasks_blocked()
            yield made
            nursery.cancel_scope.cancel()


async def test_a_worker_says_something_to_one_or_to_all(tmp_path: Path) -> None:
    async with three_workers(tmp_path) as (first, second, third):
        assert first.talk.send(b"to all\0of you")
        assert third.talk.send(b"to you alone", "worker-2")
        await until(lambda: len(second.heard) == 2)
        assert sorted(second.heard) == [
            ("worker-1", b"to all\0of you"),
            ("worker-3", b"to you alone"),
        ]
        await until(third.has_heard(("worker-1", b"to all\0of you")))
        assert first.heard == []


async def test_a_busy_worker_hears_later_what_it_has_room_for_and_a_dead_one_nothing(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        first, busy, _ = map(Listener, open_workers(stack, tmp_path))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run)
            taken = [first.talk.send(b"%d" % number, "worker-2") for number in range(600)]
            assert taken == 512 * [True] + 88 * [False]
            assert first.talk.send(b"are you there?", "worker-of-yore")
            await trio.sleep(0.1)  # the kernel has taken as many as it does
            nursery.start_soon(busy.run)
            await until(lambda: len(busy.heard) == 512)
            assert [int(message) for _, message in busy.heard] == list(range(512))
            nursery.cancel_scope.cancel()


async def test_what_is_said_last_is_said(tmp_path: Path) -> None:
    async with three_workers(tmp_path) as (first, second, _):
        first.talk.send(b"goodbye", "worker-2")
        first.scope.cancel()
        await until(second.has_heard(("worker-1", b"goodbye")))


async def test_the_socket_file_is_its_users_alone_replaces_a_dead_ones_and_goes(
    tmp_path: Path,
) -> None:
    deep = tmp_path / ("a folder with a long name " * 4) / ("and another one" * 6)
    deep.mkdir(parents=True)
    (deep / "worker-1.talk").write_text("of one that was killed")
    async with three_workers(deep) as (first, second, _):
        for name in WORKERS:
            status = (deep / f"{name}.talk").stat()
            assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
        first.talk.send(b"hello", "worker-2")
        await until(second.has_heard(("worker-1", b"hello")))
        (deep / "worker-3.talk").unlink()
    assert list(deep.iterdir()) == []


def test_where_there_can_be_no_socket_file_the_settings_are_at_fault() -> None:
    with (
        pytest.raises(ConfigError, match="^data: /proc can hold no socket"),
        open_worker_talk(Path("/proc"), "worker-1", tuple),
    ):
        pass


def redis_talk(url: str, node: str) -> Listener:
    config = Config(
        plain=True,
        cluster=url,
        token_key="the same",
        timeouts=Timeouts(cluster=1.0, lease=1.0),
    )
    return Listener(RedisTalk(config, node))


# coredis forgets to close the queues of a connection that it could not open.
unclosed = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")


@needs_redis
@unclosed
async def test_nodes_talk_by_redis_also_after_it_was_away(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        first, second = (redis_talk(redis.url, name) for name in ("a", "b"))
        async with trio.open_nursery() as nursery:
            for one in (first, second):
                nursery.start_soon(one.run)
            await until(lambda: redis.cli("PUBSUB", "NUMSUB", "{minivoice}:talk").endswith("2"))
            first.talk.send(b"to all")
            first.talk.send(b"to b", "b")
            await until(second.has_heard(("a", b"to all"), ("a", b"to b")))
            redis.kill()
            await trio.sleep(1.5)
            first.talk.send(b"nobody hears it")
            await trio.sleep(1.5)
            redis.start()
            await until(lambda: redis.cli("PUBSUB", "NUMSUB", "{minivoice}:talk").endswith("2"))
            await until(lambda: second.talk.send(b"again", "a") and bool(first.heard))
            assert first.heard[0] == ("b", b"again") and len(second.heard) == 2
            first.talk.send(b"goodbye", "b")
            first.scope.cancel()
            await until(lambda: ("a", b"goodbye") in second.heard)
            redis.kill()
            second.talk.send(b"nobody is there", "a")
            second.scope.cancel()
    gc.collect()  # while they may be forgotten
