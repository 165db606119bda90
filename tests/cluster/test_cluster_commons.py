"""The commons of a cluster by itself: two nodes in one process, with a real redis-server."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cluster_lab import RedisServer, needs_redis, redis_server, until, webhook

from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.protocol.webhooks import CallEvent, read_event
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.cluster import RedisCommons, open_cluster
from minivoice_ref.receiver.commons import InboxFailed, SharedStream, WaitingEvent
from minivoice_ref.receiver.disk import InlineDisk
from minivoice_ref.receiver.journal import open_journal
from minivoice_ref.receiver.live_streams import TooMany
from minivoice_ref.receiver.worker import OnEvent, Worker

pytestmark = needs_redis

# coredis forgets to close the queues of a connection that it could not open.
unclosed = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")

LEASE = 1.0
LIMITS = Limits(streams_per_call=3, streams_per_token=2)


class Member:
    """A node: its commons, the calls it knows, how often it was told to look."""

    def __init__(self, commons: RedisCommons) -> None:
        self.commons = commons
        self.calls = Calls(100)
        self.looks = 0
        self.doubts: list[str] = []
        self.alive = trio.CancelScope()
        self.worker: Worker | None = None

    def look(self) -> None:
        self.looks += 1
        if self.worker is not None:
            self.worker.look()

    async def accept(self, event: str = "call.completed", call_id: str = "call_1") -> bool:
        body = webhook(event, call_id)
        return await self.commons.accept(read_event(body), body)

    async def taken(self) -> WaitingEvent:
        """Take an event, as soon as there is one."""
        with trio.fail_after(10):
            event = await self.commons.take()
            while not isinstance(event, WaitingEvent):
                await trio.sleep(0.05)
                event = await self.commons.take()
        return event

    async def run(self) -> None:
        self.alive = trio.CancelScope()
        with self.alive:
            await self.commons.run(
                self.calls, self.look, lambda: {"is": "well"}, self.doubts.append
            )


@asynccontextmanager
async def member(
    redis: RedisServer, folder: Path, password: str | None = None
) -> AsyncIterator[Member]:
    """A node of the cluster at *redis* while the block runs."""
    config = Config(
        plain=True,
        data=folder,
        cluster=redis.url,
        cluster_password=password,
        token_key="the same everywhere",
        timeouts=Timeouts(lease=LEASE, cluster=1.0),
    )
    async with open_cluster(config, None) as commons, trio.open_nursery() as nursery:
        made = Member(commons)
        nursery.start_soon(made.run)
        yield made
        made.alive.cancel()


@asynccontextmanager
async def working(member: Member, on_event: OnEvent, folder: Path) -> AsyncIterator[Worker]:
    """Have a node's events handled while the block runs, and those that were begun to their end."""
    async with (
        open_journal(
            folder, InlineDisk(1), clock=time.time, limits=LIMITS, timeouts=Timeouts()
        ) as journal,
        trio.open_nursery() as nursery,
    ):
        member.worker = Worker(member.commons, on_event, journal, attempts=5)
        nursery.start_soon(member.worker.run)
        yield member.worker
        member.worker.stop()


async def test_a_node_may_have_one_event_in_hand_twice(tmp_path: Path) -> None:
    """It was away for so long that a neighbour took it, and failed; then it is due again."""
    begun, go_on = [], trio.Event()

    async def on_event(event: CallEvent) -> None:
        begun.append(event)
        await go_on.wait()

    with redis_server(tmp_path / "redis") as redis:
        async with (
            member(redis, tmp_path) as a,
            member(redis, tmp_path) as b,
            working(a, on_event, tmp_path / "log"),
            trio.open_nursery() as nursery,
        ):
            await a.accept()
            await until(lambda: begun)
            a.alive.cancel()
            taken = await b.taken()
            assert taken.attempt == 2
            await b.commons.failed(taken, "not here", 0.1)
            b.alive.cancel()
            nursery.start_soon(a.run)
            await until(lambda: len(begun) == 2)
            go_on.set()
            await until(lambda: redis.cli("XLEN", "{minivoice}:events") == "0")
            await a.accept(call_id="call_2")
            await until(lambda: len(begun) == 3)
            a.alive.cancel()


async def test_what_has_returned_is_acknowledged_though_the_node_is_told_to_end_just_then(
    tmp_path: Path,
) -> None:
    begun = []

    async def on_event(event: CallEvent) -> None:
        await trio.lowlevel.checkpoint()
        begun.append(event)
        told_to_end.cancel()

    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            await a.accept()
            with trio.CancelScope() as told_to_end, trio.fail_after(10):
                async with working(a, on_event, tmp_path / "log"):
                    await trio.sleep_forever()
            assert len(begun) == 1
            assert redis.cli("XLEN", "{minivoice}:events") == "0"


async def test_an_event_is_one_nodes_at_a_time_and_has_its_attempts(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            assert await a.accept() and not await b.accept()
            first = await b.taken()
            assert (first.event, first.call_id, first.attempt) == ("call.completed", "call_1", 1)
            assert not isinstance(await a.commons.take(), WaitingEvent)
            await b.commons.failed(first, "not today", 0.5)
            wait = await a.commons.take()
            assert isinstance(wait, float) and 0 < wait <= 0.5
            second = await a.taken()
            assert (second.id, second.attempt) == (first.id, 2)
            await b.commons.failed(first, "said too late", 0.5)  # it is not b's any more
            await b.commons.set_aside(first, "as late")
            await a.commons.handled(second)
            assert redis.cli("XLEN", "{minivoice}:events") == "0"
            assert redis.cli("XLEN", "{minivoice}:dead") == "0"
            assert await a.commons.take() == float("inf")
            await a.commons.tidy()
            await a.commons.check()


async def test_two_events_of_a_call_follow_each_other_and_those_of_another_pass(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            await a.accept("call.created")
            first = await a.taken()
            await b.accept("call.completed")
            await b.accept("call.created", "call_2")
            assert (await b.taken()).call_id == "call_2"
            assert not isinstance(await b.commons.take(), WaitingEvent)
            await a.commons.handled(first)
            assert (await b.taken()).event == "call.completed"


async def test_a_node_with_nothing_to_do_is_woken_by_what_another_took_in(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            assert await b.commons.take() == float("inf")
            await trio.sleep(0.3)
            looks = b.looks
            await a.accept()
            await until(lambda: b.looks > looks, 2)
            assert isinstance(await b.commons.take(), WaitingEvent)


async def test_what_a_node_leaves_behind_is_anybodys(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            async with member(redis, tmp_path) as b:  # ends in good order
                await b.accept()
                await b.commons.enter(SharedStream("s0", "call:1", "t"), LIMITS)
                taken = await b.taken()
            again = await a.taken()
            assert (again.id, again.attempt) == (taken.id, 2)
            assert not await a.commons.streams()
            # One that dies leaves an event that it had read, and one that it was handling.
            await a.commons.handled(again)
            await a.accept("call.created", "call_2")
            redis.cli(
                "XREADGROUP", "GROUP", "workers", "ghost", "STREAMS", "{minivoice}:events", ">"
            )
            redis.cli("HSET", "{minivoice}:busy", "call_2", "0-1 ghost")
            assert (await a.taken()).call_id == "call_2"
            await until(
                lambda: "ghost"
                not in redis.cli("XINFO", "CONSUMERS", "{minivoice}:events", "workers")
            )


async def test_an_event_whose_taking_was_never_heard_of_is_free_again(tmp_path: Path) -> None:
    """Redis does what it had been sent before it stood still, when nobody waits for the answer."""
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            await until(lambda: a.commons.others)
            await b.accept("call.created", "call_0")
            first = await a.commons.take()
            assert isinstance(first, WaitingEvent)
            await b.accept()
            with redis.standing_still():
                with pytest.raises(InboxFailed):
                    await a.commons.take()
            await until(lambda: "call_1" in redis.cli("HKEYS", "{minivoice}:busy"))
            await until(lambda: a.commons.trouble is None)
            taken = await b.taken()
            assert taken.attempt == 2
            await trio.sleep(2 * LEASE)  # what is being handled stays whose it is
            assert not isinstance(await a.commons.take(), WaitingEvent)
            await b.commons.handled(taken)
            await a.commons.handled(first)
            assert redis.cli("EXISTS", "{minivoice}:busy", "{minivoice}:tries") == "0"


async def test_ends_of_calls_are_heard_at_once_and_looked_up(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            await until(lambda: redis.cli("PUBSUB", "NUMSUB", "{minivoice}:ended")[-1:] == "2")
            early = b.calls.heard("call_1", "webhook")
            await a.accept()
            with trio.fail_after(1):
                await early.ended.wait()
            redis.cli("SET", "{minivoice}:ended:call_2", "failed")  # nobody said so
            late = b.calls.heard("call_2", "stream")
            with trio.fail_after(1):
                await late.ended.wait()
            assert (early.status, late.status) == ("completed", "failed")


async def test_what_cannot_be_read_in_redis_is_passed_over(tmp_path: Path) -> None:
    """Another version of a node may have said it."""
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            await a.commons.enter(SharedStream("s0", "call:1", "t", "", 50.0), LIMITS)
            await until(lambda: redis.cli("PUBSUB", "NUMSUB", "{minivoice}:ended")[-1:] == "2")
            node = b.commons.node
            for junk in ("junk", "7", '["call_1"]', '{"call_1": 1}', "[" * 100000):
                redis.cli("PUBLISH", "{minivoice}:ended", junk)
                redis.cli("SADD", "{minivoice}:nodes", "other")
                redis.cli("SET", "{minivoice}:node:other", junk, "PX", "1000")
                redis.cli("HSET", f"{{minivoice}}:live:{node}", "other", junk)
                assert [stream.stream_id for stream in await a.commons.streams()] == ["s0"]
                await trio.sleep(LEASE / 4)
            await a.accept()
            with trio.fail_after(1):
                await b.calls.heard("call_1", "webhook").ended.wait()
            assert set(a.commons.others) == {node}


async def test_the_limits_of_a_call_and_of_a_token_count_everywhere(tmp_path: Path) -> None:
    streams = [SharedStream(f"s{n}", "call:1", "token", "", 50.0) for n in range(3)]
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a, member(redis, tmp_path) as b:
            await until(lambda: a.commons.others and b.commons.others)
            assert await a.commons.enter(streams[0], LIMITS) == 1
            assert await b.commons.enter(streams[1], LIMITS) == 2
            with pytest.raises(TooMany, match="streams_per_token"):
                await a.commons.enter(streams[2], LIMITS)
            a.commons.leave(streams[2])
            assert await a.commons.enter(SharedStream("s3", "call:1", ""), LIMITS) == 1
            with pytest.raises(TooMany, match="streams_per_call"):
                await b.commons.enter(SharedStream("s4", "call:1", "x"), LIMITS)
            found = {s.stream_id: s.node for s in await b.commons.streams()}
            names = a.commons.node, b.commons.node
            assert found == {"s0": names[0], "s1": names[1], "s3": names[0]}
            a.commons.leave(streams[0])
            await until(lambda: "s0" not in redis.cli("HKEYS", f"{{minivoice}}:live:{names[0]}"))
            assert await b.commons.enter(streams[2], LIMITS) == 3


async def test_a_redis_that_has_forgotten_everything_hears_of_the_streams_again(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            await a.commons.enter(SharedStream("s0", "call:1", "t"), LIMITS)
            redis.cli("FLUSHALL")
            with trio.fail_after(5):
                while not await a.commons.streams():  # noqa: ASYNC110  # Redis tells nobody
                    await trio.sleep(0.05)
            assert await a.accept()
            await a.taken()


async def test_a_stream_that_redis_has_and_its_node_has_not_goes(tmp_path: Path) -> None:
    """As where Redis did at last what it had been sent before the stream's end."""
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            await until(lambda: redis.cli("EXISTS", "{minivoice}:nodes") == "1")
            await a.commons._enter(SharedStream("ghost", "call:1", "t"), 1, 1)
            with trio.fail_after(5):
                while await a.commons.streams():  # noqa: ASYNC110  # Redis tells nobody
                    await trio.sleep(0.05)
            assert redis.cli("EXISTS", "{minivoice}:of:call:1", "{minivoice}:of:t") == "0"


@unclosed
async def test_a_redis_that_is_away_refuses_and_one_that_is_back_is_found(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            assert await a.accept()
            looks = a.looks
            redis.kill()
            with pytest.raises(InboxFailed):
                await a.accept("call.created")
            assert a.commons.trouble
            await until(lambda: a.looks > looks)
            with pytest.raises(InboxFailed):
                await a.commons.enter(SharedStream("s0", "call:1", "t"), LIMITS)
            redis.start()
            await until(lambda: a.commons.trouble is None)
            assert not await a.accept() and await a.accept("call.created")
            assert [stream.stream_id for stream in await a.commons.streams()] == ["s0"]
    gc.collect()


async def test_a_redis_that_refuses_to_write_is_told_as_it_says_it(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with member(redis, tmp_path) as a:
            assert await a.accept("call.created")
            redis.cli("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(InboxFailed, match="OOM|maxmemory"):
                await a.accept("call.answered")
            redis.cli("CONFIG", "SET", "maxmemory", "0")
            await until(lambda: a.commons.trouble is None)
            assert await a.accept("call.answered")
            assert not a.doubts


async def test_a_user_who_may_do_nothing_dangerous_is_enough(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        redis.cli("ACL", "SETUSER", "ann", "on", "nopass", "~*", "&*", "+@all", "-@dangerous")
        redis.url = redis.url.replace("//", "//ann@")
        async with member(redis, tmp_path, "any password") as a:
            await until(lambda: a.doubts)
            assert await a.accept() and (await a.taken()).attempt == 1
            assert a.commons.trouble is None
            assert len(a.doubts) == 1 and "INFO" in a.doubts[0]


@unclosed
async def test_who_never_found_a_redis_ends_all_the_same(tmp_path: Path) -> None:
    async with member(RedisServer(tmp_path / "redis"), tmp_path) as a:
        await until(lambda: a.commons.trouble is not None)
    gc.collect()
