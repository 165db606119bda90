"""`--publish-media`: audio that is handed on to other machines, through a real Redis."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from cluster_lab import RedisServer, needs_redis, redis_server, until
from media_lab import Heard, account_of, following, keys, receiving, script, talk
from test_cluster_kinds import a_cluster, over_tls, sentinels

from minivoice_ref.config import Config, ConfigError, Limits, Timeouts

pytestmark = needs_redis


def samples(heard: Heard) -> dict[str, int]:
    """How many samples of each track came."""
    sums: Counter[str] = Counter()
    for track, _, payload in heard.lines:
        sums[track] += len(payload)
    return dict(sums)


def balance(account: Mapping[str, Any]) -> dict[str, int]:
    """What was published and what was dropped, which is all that was received; what was dropped."""
    for track, told in account["tracks"].items():
        published = account["published"].get(track, 0)
        assert published + account["publish_dropped"].get(track, 0) == told["received"]
    dropped = account["publish_dropped"]
    assert isinstance(dropped, dict)
    return dropped


def stream_of(redis: RedisServer) -> str:
    """The key of the only stream."""
    return next((key for key in keys(redis) if "stream_" in key), "none")


def stop(redis: RedisServer) -> None:
    """Have Redis stand still: connections stay, and nobody answers."""
    assert redis._process is not None
    redis._process.send_signal(signal.SIGSTOP)


def go_on(redis: RedisServer) -> None:
    assert redis._process is not None
    redis._process.send_signal(signal.SIGCONT)


async def test_every_piece_arrives_in_its_order_byte_for_byte(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node, following(redis.url) as heard:
            async with node.stream("call_1") as caller:
                await talk(caller, script(3))
                await until(lambda: heard.lines)
                assert (await node.health())["media"]["trouble"] is None
                assert await caller.stop() == 1000
            await until(lambda: heard.over)
            account = await account_of(node)
    assert heard.lines == list(script(3))
    assert balance(account) == {} and account["published"] == samples(heard)
    stream = heard.followed
    assert (stream.call_id, stream.started.dialect) == ("call_1", "twilio")
    assert stream.ended is not None and stream.ended.how == "stopped"
    assert {track: told.received for track, told in stream.account.items()} == samples(heard)
    assert stream.ended.published == samples(heard) and not any(stream.ended.dropped.values())
    assert 0 <= stream.delay < 2


@pytest.mark.parametrize("kind", [over_tls, sentinels, a_cluster])
async def test_any_kind_of_redis_will_do(kind: Any, tmp_path: Path) -> None:
    with kind(tmp_path) as settings:
        given = {name.removeprefix("MINIVOICE_").lower(): kind for name, kind in settings.items()}
        url, rest = given.pop("cluster"), dict[str, Any](given)
        if "cluster_ca" in rest:
            rest["cluster_ca"] = Path(rest["cluster_ca"])
        timeouts = Timeouts(finish=30)  # it may take a cluster so long to be one
        async with (
            receiving(tmp_path, url, timeouts=timeouts, **rest) as node,
            following(url, **rest) as heard,
        ):
            async with node.stream("call_1") as caller:
                await talk(caller, script(1))
                assert await caller.stop() == 1000
            await until(lambda: heard.over, 60)
    assert heard.lines == list(script(1))


async def test_a_redis_that_stands_still_holds_up_no_socket_and_what_it_costs_is_counted(
    tmp_path: Path,
) -> None:
    here = Heard()
    impatient = {"limits": Limits(hand_over=1), "timeouts": Timeouts(cluster=1)}
    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url, here, **impatient) as node,
            following(redis.url) as heard,
            node.stream("call_1") as caller,
        ):
            await talk(caller, script(1))
            stop(redis)
            longest = await talk(caller, script(4, 1))
            while len(here.lines) < 500:  # noqa: ASYNC110  # the application's
                await trio.sleep(0.01)
            asked = trio.current_time()
            await caller.socket.ping()
            longest = max(longest, trio.current_time() - asked)
            media = (await node.health())["media"]
            assert media["dropped"] > 0 and "did not answer" in media["trouble"]
            go_on(redis)
            await talk(caller, script(3, 5))
            assert await caller.stop() == 1000
            await until(lambda: heard.over)
            account = await account_of(node)
            await until(lambda: len(node.lines("streams", "publishing")) == 2)
            lag = node.lines("streams", "not_published")
            told = node.lines("streams", "publishing")
    assert longest < 1.5, "the caller's messages and its ping were taken at once"
    assert here.lines == list(script(8)) and account["dropped"] == {}
    dropped = balance(account)
    assert set(dropped) == {"inbound", "outbound"} and min(dropped.values()) >= 8000
    assert heard.lines == sorted(set(heard.lines), key=list(script(8)).index), "each once, in order"
    assert account["published"] == samples(heard)
    ended = heard.followed.ended
    assert ended is not None and ended.dropped == dropped
    assert {line["code"] for line in lag} == {"MV-713"}
    assert told[0]["code"] == "MV-713" and told[1]["why"] == "works again"


async def test_a_stream_that_ends_while_redis_stands_still_is_closed_at_once(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        timeouts = Timeouts(cluster=1, finish=3)
        async with receiving(tmp_path, redis.url, timeouts=timeouts) as node:
            async with node.stream("call_1") as caller:
                await talk(caller, script(1))
                await until(lambda: redis.cli("XLEN", stream_of(redis)) == "101")  # and its start
                stop(redis)
                await talk(caller, script(1, 1))
                began = trio.current_time()
                assert await caller.stop() == 1000
                assert trio.current_time() - began < 1.5
            account = await account_of(node)
            assert 3 <= trio.current_time() - began < 5
            go_on(redis)
            dropped = balance(account)
            assert set(dropped.values()) == {8000}, "the second of two seconds"
            (rest,) = node.lines("streams", "not_published")
            assert rest["rest"] == sum(dropped.values()) and rest["code"] == "MV-713"
            assert not node.lines("streams", "application_cut")
            async with node.stream("call_2") as caller, following(redis.url) as heard:
                await talk(caller, script(1), pace=10)
                await caller.stop()
                await until(lambda: "call_2" in [stream.call_id for stream in heard.streams])


async def test_a_redis_that_has_lost_everything_gets_the_stream_from_there_on(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url) as node:
            async with node.stream("call_1") as caller:
                await talk(caller, script(1))
                await trio.sleep(0.3)
                assert redis.cli("FLUSHALL") == "OK"
                async with following(redis.url) as heard:
                    await talk(caller, script(2, 1))
                    assert await caller.stop() == 1000
                    await until(lambda: heard.over)
            account = await account_of(node)
    said = list(script(3))
    assert heard.lines and heard.lines == said[-len(heard.lines) :]
    dropped = balance(account)
    assert 0 < max(dropped.values()) <= 8000
    ended = heard.followed.ended
    assert ended is not None and sum(ended.dropped.values()) == sum(dropped.values())


async def test_what_redis_keeps_of_a_stream_is_capped(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url, limits=Limits(published=100)) as node:
            async with node.stream("call_1") as caller:
                await talk(caller, script(6), pace=6)
                assert await caller.stop() == 1000
            account = await account_of(node)
            assert 100 <= int(redis.cli("XLEN", stream_of(redis))) < 200
    assert balance(account) == {}


async def test_published_audio_is_gone_from_redis_some_time_after_its_last(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "redis") as redis:
        timeouts = Timeouts(published=2, lease=1)
        async with (
            receiving(tmp_path, redis.url, timeouts=timeouts) as node,
            following(redis.url, timeouts=timeouts) as heard,
        ):
            async with node.stream("call_1") as caller:
                await talk(caller, script(2))
                assert len(keys(redis)) == 3, "the stream, its mark, and the announcements"
                await caller.stop()
            await until(lambda: heard.over)
        await until(lambda: not keys(redis), 10)


async def test_a_stream_that_is_silent_for_a_while_is_not_forgotten(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        timeouts = Timeouts(published=2)
        async with receiving(tmp_path, redis.url, timeouts=timeouts) as node:
            async with node.stream("call_1") as caller:
                await talk(caller, script(0.5))
                await trio.sleep(5)
                async with following(redis.url, timeouts=timeouts) as heard:
                    await talk(caller, script(0.5, 0.5))
                    assert await caller.stop() == 1000
                    await until(lambda: heard.over)
                    assert redis.cli("XLEN", "{minivoice}:media") == "1"
            account = await account_of(node)
    assert heard.lines == list(script(1)) and balance(account) == {}


async def test_where_audio_is_not_published_redis_has_none(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with receiving(tmp_path, redis.url, publish_media=False) as node:
            async with node.stream("call_1") as caller:
                await talk(caller, script(0.5))
                await caller.stop()
            account = await account_of(node)
            assert "media" not in await node.health()
        assert keys(redis) == []
    assert "published" not in account and "publish_dropped" not in account


async def test_audio_of_an_unknown_codec_is_handed_on_and_counted_in_bytes(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as redis:
        async with (
            receiving(tmp_path, redis.url) as node,
            following(redis.url) as heard,
            node.stream("call_1", codec="audio/opus") as caller,
        ):
            await talk(caller, script(0.5))
            await caller.stop()
            await until(lambda: heard.over)
            account = await account_of(node)
    assert [payload for _, _, payload in heard.lines] == [line[2] for line in script(0.5)]
    assert account["published"] == account["bytes_unread"] == {"inbound": 4000, "outbound": 4000}


def test_publishing_needs_a_cluster() -> None:
    with pytest.raises(ConfigError, match="^publish_media: .*set cluster to redis://HOST:PORT"):
        Config(plain=True, publish_media=True)
