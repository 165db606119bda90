"""Followers share the media streams that others publish, and go on with each other's."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from cluster_lab import RedisServer, needs_redis, redis_server, until
from media_lab import Line, following, keys, receiving, script, talk

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.receiver.follower import FollowedStream, Following, follow
from minivoice_ref.receiver.media_stream import MediaStream

pytestmark = needs_redis

PROGRAM = Path(__file__).with_name("cluster_follower.py")
QUICK = Timeouts(lease=1.0)


class Told(NamedTuple):
    """A line of a follower in a process of its own."""

    pid: int
    call_id: str
    line: Line


class Copies:
    """Followers in processes of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.running: list[trio.Process] = []

    def told(self) -> list[Told]:
        """What they have heard, whole lines."""
        text = self._path.read_text() if self._path.exists() else ""
        found = []
        for line in text.splitlines(keepends=True):
            pid, call_id, track, position, payload = line.split(" ")
            if track != "over" and line.endswith("\n"):
                piece = (track, int(position), bytes.fromhex(payload))
                found.append(Told(int(pid), call_id, piece))  # type: ignore[arg-type]
        return found

    def over(self) -> int:
        """How many streams have been heard to their end."""
        return self._path.read_text().count(" over ") if self._path.exists() else 0


def pending(redis: RedisServer, group: str) -> str:
    """How many streams the followers of a group have."""
    return redis.cli("XPENDING", "{minivoice}:media", group).splitlines()[0]


@asynccontextmanager
async def copies(folder: Path, redis: RedisServer, count: int, most: int) -> AsyncIterator[Copies]:
    """So many of them, each of which follows *most* streams at once."""
    made = Copies(folder / "heard")
    command = [sys.executable, str(PROGRAM), redis.url, str(folder / "heard"), str(most)]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, stdout=subprocess.PIPE, check=False)
        for _ in range(count):
            process: trio.Process = await nursery.start(start, command)
            assert process.stdout is not None
            with trio.fail_after(30):
                assert (await process.stdout.receive_some()).startswith(b"here")
            made.running.append(process)
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_another_goes_on_with_the_stream_of_a_follower_that_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    said = list(script(9))
    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url) as node,
            copies(tmp_path, redis, 2, 4) as made,
            node.stream("call_1") as caller,
        ):
            await talk(caller, script(5))
            await until(made.told)
            first = made.told()[0].pid
            (process,) = (one for one in made.running if one.pid == first)
            process.send_signal(number)
            with trio.fail_after(20):
                await process.wait()
            await talk(caller, script(4, 5))
            assert await caller.stop() == 1000
            await until(lambda: made.over() == 1)
            told = made.told()
    before = [line for pid, _, line in told if pid == first]
    after = [line for pid, _, line in told if pid != first]
    assert before == said[: len(before)] and after == said[-len(after) :]
    again = len(before) + len(after) - len(said)
    assert 0 <= again <= 3 * 100, "nothing is missed, and of what is heard again there is little"


async def test_the_followers_of_a_group_share_the_streams_and_each_stream_is_ones(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url) as node,
            copies(tmp_path, redis, 2, 2) as made,
            AsyncExitStack() as calls,
        ):
            callers = [
                await calls.enter_async_context(node.stream(f"call_{number}"))
                for number in range(4)
            ]
            for caller in callers:
                await talk(caller, script(1), pace=4)
            await until(lambda: len(made.told()) == 4 * 100)
            for caller in callers:
                assert await caller.stop() == 1000
            await until(lambda: made.over() == 4)
            told = made.told()
    owners = {(call_id, pid) for pid, call_id, _ in told}
    assert len(owners) == 4, "each stream was one's"
    assert sorted([pid for _, pid in owners].count(one.pid) for one in made.running) == [2, 2]
    for number in range(4):
        assert [line for _, call, line in told if call == f"call_{number}"] == list(script(1))


async def test_who_follows_all_it_can_leaves_a_stream_until_there_is_room(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node:
            async with following(redis.url, most=1) as heard:
                async with node.stream("call_1") as first, node.stream("call_2") as second:
                    await talk(first, script(0.5))
                    await talk(second, script(0.5))
                    await until(lambda: len(heard.lines) == 50)
                    await trio.sleep(0.5)
                    assert len(heard.streams) == 1
                    await first.stop()
                    await second.stop()
                    await until(lambda: heard.over == 2)
    assert heard.lines == list(script(0.5)) * 2


async def test_each_group_gets_every_stream(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url) as node,
            following(redis.url, "transcription") as one,
            following(redis.url, "supervisors") as two,
        ):
            async with node.stream("call_1") as caller:
                await talk(caller, script(0.5))
                await caller.stop()
            await until(lambda: one.over and two.over)
            for group in ("transcription", "supervisors"):  # what is over nobody takes over
                await until(lambda group=group: pending(redis, group) == "0")  # type: ignore[misc]
    assert one.lines == two.lines == list(script(0.5))


async def test_what_an_on_stream_raises_ends_its_follower_and_another_goes_on_at_once(
    tmp_path: Path,
) -> None:
    async def fail(stream: MediaStream) -> None:
        async for _ in stream:
            raise LookupError("no words for this")

    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node, node.stream("call_1") as caller:
            await talk(caller, script(0.5))
            with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
                with trio.fail_after(10):
                    await follow(fail, Following(cluster=redis.url, group="tests"))
            async with following(redis.url) as heard:
                await until(lambda: heard.lines, 8)  # the lease is fifteen seconds
                await caller.stop()
                await until(lambda: heard.over)
    assert heard.lines == list(script(0.5))


async def test_a_stream_that_a_failing_follower_was_done_with_comes_to_nobody_else(
    tmp_path: Path,
) -> None:
    done = trio.Event()

    async def hear(stream: MediaStream) -> None:
        await trio.lowlevel.checkpoint()
        if stream.call_id == "call_1":
            done.set()
            return
        await done.wait()
        raise LookupError("no words for this")

    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url) as node,
            node.stream("call_1") as first,
            node.stream("call_2") as second,
        ):
            await talk(first, script(0.5))
            await talk(second, script(0.5))
            with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
                with trio.fail_after(10):
                    await follow(hear, Following(cluster=redis.url, group="tests"))
            async with following(redis.url) as heard:
                for caller in (first, second):
                    await caller.stop()
                await until(lambda: heard.over)
                assert pending(redis, "tests") in "01" and heard.followed.call_id == "call_2"


async def test_an_application_that_has_enough_leaves_a_stream_for_good(tmp_path: Path) -> None:
    taken: list[FollowedStream] = []

    async def hear_a_little(stream: FollowedStream) -> None:
        taken.append(stream)
        async for _ in stream:
            stream.close()

    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node, node.stream("call_1") as caller:
            async with trio.open_nursery() as nursery:
                settings = Following(cluster=redis.url, group="tests", timeouts=QUICK)
                nursery.start_soon(follow, hear_a_little, settings)
                await talk(caller, script(4))
                nursery.cancel_scope.cancel()
            assert await caller.stop() == 1000
    assert len(taken) == 1 and taken[0].ended is None


async def test_a_follower_that_was_cut_off_finds_its_stream_with_another(tmp_path: Path) -> None:
    """Its own process stands still for longer than the lease: nobody hears of it meanwhile."""
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node, node.stream("call_1") as caller:
            async with copies(tmp_path, redis, 1, 4) as made:
                await talk(caller, script(1))
                await until(made.told)
                (process,) = made.running
                process.send_signal(signal.SIGSTOP)
                async with following(redis.url, timeouts=Timeouts(lease=1.5)) as heard:
                    await talk(caller, script(3, 1))
                    await until(lambda: heard.lines)
                    process.send_signal(signal.SIGCONT)
                    await until(made.over)
                    before = len(made.told())
                    await talk(caller, script(1, 4))
                    await caller.stop()
                    await until(lambda: heard.over)
                    assert len(made.told()) == before, "it has let go of it"
    assert heard.lines == list(script(5))[-len(heard.lines) :]


async def test_redis_may_go_and_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node, following(redis.url) as heard:
            async with node.stream("call_1") as caller:
                await talk(caller, script(1))
                await until(lambda: heard.lines)
                redis.kill()
                await talk(caller, script(1, 1))
                redis.start()  # its append-only file has all of it
                await talk(caller, script(3, 2))
                await caller.stop()
                await until(lambda: heard.over)
    assert heard.lines == list(script(5))
    assert "Redis: " in "".join(record.message for record in caplog.records)


async def test_what_others_write_into_redis_harms_no_follower(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        announce = ("XADD", "{minivoice}:media", "*")
        redis.cli(*announce, "what", "start", "stream", "odd")
        redis.cli(*announce, "what", "weather", "stream", "odd")
        redis.cli(*announce, "neither", "this")
        redis.cli("XADD", "{minivoice}:media:odd", "*", "what", "audio")
        async with receiving(tmp_path, redis.url) as node, following(redis.url) as heard:
            async with node.stream("call_1") as caller:
                await talk(caller, script(0.5))
                await until(lambda: heard.lines)
                (key,) = [key for key in keys(redis) if "stream_" in key and ":tests" not in key]
                last = redis.cli("XREVRANGE", key, "+", "-", "COUNT", "1").split("\n")[0]
                milliseconds, _, number = last.partition("-")
                redis.cli("XADD", key, f"{milliseconds}-{int(number) + 1}", "what", "audio")
                redis.cli("XADD", key, f"{milliseconds}-{int(number) + 2}", "what", "weather")
                first = redis.cli("XRANGE", key, "-", "+", "COUNT", "1").split("\n")[1:]
                redis.cli(*announce, *first)  # once more
                await trio.sleep(0.3)
                await talk(caller, script(0.5, 0.5))
                await caller.stop()
            await until(lambda: heard.over)
            await until(lambda: pending(redis, "tests") == "0")
    assert set(heard.lines) <= set(script(1)) and len(heard.streams) == 1
    warned = [r.message for r in caplog.records if r.name == "minivoice_ref.follower"]
    assert len(warned) == 2 and all(r.levelno == logging.WARNING for r in caplog.records)


async def test_a_follower_ends_in_time_where_redis_is_away(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node:
            async with node.stream("call_1") as caller:
                async with following(redis.url) as heard:
                    await talk(caller, script(0.5))
                    await until(lambda: heard.lines)
                    redis.kill()
                    began = trio.current_time()
                assert trio.current_time() - began < 3


async def test_a_stream_whose_receiver_died_ends_for_its_follower(tmp_path: Path) -> None:
    timeouts = Timeouts(published=1.0, lease=1.0)
    with redis_server(tmp_path / "redis") as redis:
        async with following(redis.url, timeouts=timeouts) as heard:
            announce = "what start stream s node n dialect d encoding mulaw rate 8000 channels 1"
            fields = [*announce.split(), "tracks", "inbound"]
            redis.cli("XADD", "{minivoice}:media:s", "1-1", *fields)
            redis.cli("PEXPIRE", "{minivoice}:media:s", "3000")
            redis.cli("XADD", "{minivoice}:media", "*", *fields)
            await until(lambda: heard.over)
        assert heard.followed.ended is None and heard.followed.account == {}
        await until(lambda: not keys(redis))


def test_a_url_that_cannot_be_used_is_refused_with_its_mend() -> None:
    with pytest.raises(ConfigError, match="^cluster: .*write for example redis://"):
        Following(cluster="http://example.com", group="tests")
    assert "secret" not in repr(
        Following(cluster="redis://h", group="g", cluster_password="a secret")
    )
