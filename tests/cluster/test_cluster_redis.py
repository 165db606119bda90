"""`--cluster`: nodes that share a Redis. A real redis-server, and receivers in processes."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import trio
from cluster_lab import Lab, Node, RedisServer, needs_redis, redis_server, until

from minivoice_ref.net.upgrade import UpgradeRefused

pytestmark = needs_redis

LEASE = 3.0  # seconds


class Cluster:
    """A Redis, and nodes that share it."""

    def __init__(self, lab: Lab, redis: RedisServer, nodes: list[Node]) -> None:
        self.lab = lab
        self.redis = redis
        self.nodes = nodes

    async def handled(self, count: int, seconds: float = 20.0) -> None:
        """Wait until so many events have been handled; each was, once."""
        await until(lambda: len(self.lab.told("handled")) >= count, seconds)
        assert set(self.lab.told("handled").values()) == {1}

    def waiting(self) -> int:
        """How many events wait in Redis."""
        return int(self.redis.cli("XLEN", "{minivoice}:events") or -1)


@asynccontextmanager
async def cluster(folder: Path, nodes: int = 2, **environ: str) -> AsyncIterator[Cluster]:
    """So many nodes, which know of each other."""
    with redis_server(folder / "redis") as redis:
        given = {"MINIVOICE_CLUSTER": redis.url, "MINIVOICE_TIMEOUTS_LEASE": str(LEASE)}
        lab = Lab(folder, given | environ)
        async with AsyncExitStack() as stack:
            running = [
                await stack.enter_async_context(lab.node(f"node-{number}"))
                for number in range(nodes)
            ]
            for node in running:
                with trio.fail_after(20):
                    await node.hears_of(nodes - 1)
            yield Cluster(lab, redis, running)


async def status_of(node: Node, call_id: str, url: str) -> int:
    """The status that a stream is answered with."""
    await trio.lowlevel.checkpoint()
    try:
        async with node.stream(call_id, url):
            return 101
    except UpgradeRefused as exc:
        return exc.status


async def admitted(node: Node, call_id: str, url: str) -> None:
    """Try to stream until it is allowed."""
    while await status_of(node, call_id, url) != 101:  # noqa: ASYNC110  # another process's
        await trio.sleep(0.1)
    await trio.lowlevel.checkpoint()


async def test_a_duplicate_at_another_node_is_known_and_each_event_is_handled_once(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        for number in range(20):
            for node in made.nodes:
                assert await node.deliver("call.completed", f"call_{number}") == 200
        await made.handled(20)
        await until(lambda: made.waiting() == 0)
    assert sum(len(node.lines("webhooks", "duplicate")) for node in made.nodes) == 20


async def test_of_one_call_only_one_event_at_a_time_is_handled_anywhere(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        first, second = made.nodes
        assert await first.deliver("call.created", "slow-1") == 200
        await until(lambda: made.lab.told("begun"))
        assert await second.deliver("call.completed", "slow-1") == 200
        await made.handled(2)
        text = (tmp_path / "handled").read_text().splitlines()
        assert [line.split()[0] for line in text] == ["begun", "handled"] * 2


def has_started(node: Node, call_id: str) -> bool:
    return any(line["call_id"] == call_id for line in node.lines("streams", "started"))


async def test_a_call_that_ends_at_one_node_ends_its_stream_at_another_within_a_second(
    tmp_path: Path,
) -> None:
    # With so long a lease a node looks every six seconds only: within one it is told.
    async with cluster(tmp_path, MINIVOICE_TIMEOUTS_LEASE="30") as made:
        first, second = made.nodes
        for number in range(1, 4):
            async with first.stream(f"call_{number}") as caller:
                await until(partial(has_started, first, f"call_{number}"))
                began = trio.current_time()
                assert await second.deliver("call.completed", f"call_{number}") == 200
                with trio.fail_after(2):
                    assert await caller.close_code() == 1000
                assert trio.current_time() - began < 1.0
        # A stream that begins only now hears of it, too.
        async with first.stream("call_1"), second.stream("call_1") as caller:
            with trio.fail_after(2):
                assert await caller.close_code() == 1000
    assert first.lines("streams", "disconnected")[0]["how"] == "call_ended"


async def test_a_token_made_at_one_node_opens_two_streams_at_another_and_no_third_anywhere(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        first, second = made.nodes
        url = await first.stream_url("call_1")
        there = f"ws{second.base.removeprefix('http')}/stream{url.partition('/stream')[2]}"
        async with first.stream("call_1", url), second.stream("call_1", there):
            assert await status_of(first, "call_1", url) == 429
            assert await status_of(second, "call_1", there) == 429
        with trio.fail_after(5):
            await admitted(second, "call_1", there)
    assert second.lines("streams", "opened_again")[0]["nth"] == 2


async def test_what_a_killed_node_was_handling_another_handles(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        first, second = made.nodes
        for number in range(4):
            assert await first.deliver("call.completed", f"held-{number}") == 200
        await until(lambda: len(made.lab.told("begun")) == 4)
        pid = str(first.process.pid)
        interrupted = {
            (call, event) for who, call, event in made.lab.by_node("begun") if who == pid
        }
        first.process.kill()
        assert await second.deliver("call.completed", "call_after") == 200
        made.lab.let_go()
        await made.handled(5, 30)
        twice = {key for key, count in made.lab.told("begun").items() if count > 1}
        assert twice == interrupted
        await until(lambda: made.waiting() == 0)


async def test_the_streams_of_a_killed_node_no_longer_count(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        first, second = made.nodes
        url = await first.stream_url("call_1")
        there = f"ws{second.base.removeprefix('http')}/stream{url.partition('/stream')[2]}"
        async with first.stream("call_1", url), first.stream("call_1", url):
            assert await status_of(second, "call_1", there) == 429
            first.process.kill()
            with trio.fail_after(LEASE + 5):
                await admitted(second, "call_1", there)


async def test_an_event_that_keeps_failing_ends_among_the_dead_letters(tmp_path: Path) -> None:
    async with cluster(tmp_path, MINIVOICE_EVENT_ATTEMPTS="2") as made:
        assert await made.nodes[0].deliver("call.completed", "bad-1") == 200
        assert await made.nodes[1].deliver("call.completed", "call_1") == 200
        await until(lambda: made.redis.cli("XLEN", "{minivoice}:dead") == "1")
        assert made.lab.told("begun")["bad-1", "call.completed"] == 2
        letter = made.redis.cli("XRANGE", "{minivoice}:dead", "-", "+")
        assert "RuntimeError: this one is bad" in letter and "bad-1" in letter
        await made.handled(1)
        assert made.waiting() == 0


async def test_an_event_that_kills_its_nodes_is_set_aside_as_well(tmp_path: Path) -> None:
    environ = {"MINIVOICE_EVENT_ATTEMPTS": "1", "MINIVOICE_WORKERS": "2"}
    async with cluster(tmp_path, 1, **environ) as made:
        assert await made.nodes[0].deliver("call.completed", "deadly-1") == 200
        await until(lambda: made.redis.cli("XLEN", "{minivoice}:dead") == "1", 40)
        assert made.lab.told("begun")["deadly-1", "call.completed"] == 1


async def test_nothing_acknowledged_is_lost_when_redis_is_killed_and_comes_back(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        first, second = made.nodes
        async with first.stream("call_1") as caller:
            assert await first.deliver("call.created", "long-1") == 200
            for number in range(5):
                assert await second.deliver("call.completed", f"slow-{number}") == 200
            await until(lambda: len(made.lab.told("begun")) == 6)
            made.redis.kill()
            for node in made.nodes:  # refused, and streams go on
                assert await node.deliver("call.completed", "call_refused") == 503
                health = await node.health()
                assert health["troubles"] == ["webhooks cannot be stored"]
            async with second.stream("call_2"):
                await until(lambda: second.lines("streams", "started"))
            await made.handled(5)  # by the application; that can be noted only later
            made.redis.start()
            with trio.fail_after(10):
                await first.accepted("call.completed", "call_1")
                assert await caller.close_code() == 1000
        await until(lambda: made.waiting() == 1)  # the long one
        assert await second.deliver("call.completed", "slow-0") == 200
        await made.handled(6)
        await until(lambda: len(second.lines("webhooks", "duplicate")) == 1)
    told = [line["why"] for line in first.lines("webhooks", "inbox")]
    assert told[-1] == "works again" and len(told) == 2


async def test_a_node_whose_redis_stands_still_for_ten_seconds_recovers(tmp_path: Path) -> None:
    """Redis is stopped as it is: connections stay, and nobody answers."""
    async with cluster(tmp_path, MINIVOICE_TIMEOUTS_CLUSTER="1") as made:
        first, second = made.nodes
        assert made.redis._process is not None
        async with first.stream("call_1") as caller:
            made.redis._process.send_signal(signal.SIGSTOP)
            began = trio.current_time()
            assert await second.deliver("call.completed", "call_1") == 503
            assert trio.current_time() - began < 3
            await trio.sleep(10)
            made.redis._process.send_signal(signal.SIGCONT)
            with trio.fail_after(10):
                await second.accepted("call.completed", "call_1")
                assert await caller.close_code() == 1000
        await made.handled(1)


class Cable:
    """What lies between one node and its Redis, and can be cut: nothing passes, nobody is told."""

    def __init__(self, redis: RedisServer) -> None:
        self._redis = redis
        self.whole = trio.Event()
        self.whole.set()

    async def _pass_on(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await self.whole.wait()
                await sink.send_all(data)
        await trio.aclose_forcefully(sink)

    async def connect(self, source: trio.SocketStream) -> None:
        """Pass on what one connection brings, both ways."""
        await self.whole.wait()
        sink = await trio.open_tcp_stream("127.0.0.1", self._redis.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_on, source, sink)
            nursery.start_soon(self._pass_on, sink, source)


async def test_a_node_that_is_cut_off_from_redis_for_ten_seconds_misses_nothing(
    tmp_path: Path,
) -> None:
    async with trio.open_nursery() as nursery:
        with redis_server(tmp_path / "redis") as redis:
            cable = Cable(redis)
            serve = partial(trio.serve_tcp, cable.connect, 0, host="127.0.0.1")
            (listener,) = await nursery.start(serve)
            far_url = f"redis://127.0.0.1:{listener.socket.getsockname()[1]}"
            lab = Lab(tmp_path, {"MINIVOICE_CLUSTER": redis.url})
            async with (
                lab.node("near") as near,
                lab.node("far", MINIVOICE_CLUSTER=far_url) as far,
                far.stream("call_1") as caller,
            ):
                assert await far.deliver("call.created", "slow-1") == 200
                await until(lambda: lab.told("begun"))
                cable.whole = trio.Event()
                assert await near.deliver("call.completed", "call_1") == 200
                assert await far.deliver("call.completed", "call_2") == 503
                await trio.sleep(10)
                assert not far.lines("streams", "disconnected")  # its stream has gone on
                cable.whole.set()
                with trio.fail_after(10):
                    assert await caller.close_code() == 1000
                    await far.accepted("call.completed", "call_2")
                await until(lambda: redis.cli("XLEN", "{minivoice}:events") == "0")
            assert set(lab.told("begun").values()) == set(lab.told("handled").values()) == {1}
            assert len(lab.told("handled")) == 3
        nursery.cancel_scope.cancel()


async def test_a_node_that_starts_without_its_redis_serves_streams_and_waits_for_it(
    tmp_path: Path,
) -> None:
    redis = RedisServer(tmp_path / "redis")
    lab = Lab(tmp_path, {"MINIVOICE_CLUSTER": redis.url})
    try:
        async with lab.node("node") as node:
            assert await node.deliver("call.created", "call_1") == 503
            await until(lambda: node.lines("webhooks", "inbox"))
            assert "ConnectionError: " in node.lines("webhooks", "inbox")[0]["why"]
            async with node.stream("call_1"):
                await until(lambda: node.lines("streams", "started"))
            redis.start()
            with trio.fail_after(10):
                await node.accepted("call.created", "call_1")
            await until(lambda: lab.told("handled"))
    finally:
        redis.kill()


async def test_what_waits_is_bounded(tmp_path: Path) -> None:
    async with cluster(tmp_path, 1, MINIVOICE_LIMITS_BACKLOG="10") as made:
        (node,) = made.nodes
        for number in range(10):
            assert await node.deliver("call.completed", f"long-{number}") == 200
        assert await node.deliver("call.completed", "long-10") == 503
        assert await node.deliver("call.completed", "long-1") == 200  # a duplicate


async def test_a_redis_that_may_lose_what_it_accepted_is_told_of(tmp_path: Path) -> None:
    options = ("--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    with redis_server(tmp_path / "redis", *options) as redis:
        async with Lab(tmp_path, {"MINIVOICE_CLUSTER": redis.url}).node("node") as node:

            def told() -> list[str]:
                lines = node.lines("streams", "settings")
                return [line["why"] for line in lines if line["code"] == "MV-712"]

            await until(lambda: len(told()) == 2)
            assert "append-only" in told()[0] and "allkeys-lru" in told()[1]


async def test_a_2xx_can_wait_for_a_replica(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        environ = {"MINIVOICE_CLUSTER": redis.url, "MINIVOICE_CLUSTER_REPLICAS": "1"}
        async with Lab(tmp_path, environ).node("node") as node:
            assert await node.deliver("call.created", "call_1") == 503
            assert await node.deliver("call.created", "call_1") == 503  # nor is a duplicate safe
            replica = ("--replicaof", "127.0.0.1", str(redis.port))
            with redis_server(tmp_path / "replica", *replica) as second:
                await until(lambda: "slave0" in redis.cli("INFO", "replication"))
                with trio.fail_after(20):
                    await node.accepted("call.created", "call_1")
                assert second.cli("KEYS", "*seen*")


async def test_health_says_how_the_other_nodes_are(tmp_path: Path) -> None:
    async with cluster(tmp_path, 3) as made:
        async with made.nodes[0].stream("call_1"):
            with trio.fail_after(10):
                while True:
                    health = await made.nodes[1].health()
                    others = health["others"].values()
                    if sorted(other["streams"] for other in others) == [0, 1]:
                        break
                    await trio.sleep(0.1)
        assert json.dumps(health).count('"ok"') == 3
