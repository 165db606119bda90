"""What the tests of published audio share: a receiver in this process, and a call that talks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import trio
from cluster_lab import TOKEN_KEY, Caller, Node, RedisServer, until

from minivoice_ref.config import Config
from minivoice_ref.protocol.media import Track
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.follower import FollowedStream, Following
from minivoice_ref.receiver.media_stream import Frame, MediaStream
from minivoice_ref.receiver.server import Server, serve

__all__ = ["Heard", "Line", "following", "keys", "line_of", "receiving", "script", "talk"]

Line = tuple[Track, int, bytes]
"""A piece of audio: its track, position and bytes."""


@dataclass
class Heard:
    """What an application has heard, in a receiver or elsewhere."""

    lines: list[Line] = field(default_factory=list)
    streams: list[MediaStream] = field(default_factory=list)
    over: int = 0

    async def on_stream(self, stream: MediaStream) -> None:
        """Hear a stream to its end."""
        self.streams.append(stream)
        async for frame in stream:
            self.lines.append(line_of(frame))
        self.over += 1

    @property
    def followed(self) -> FollowedStream:
        """The only stream, which a receiver elsewhere has."""
        (stream,) = self.streams
        assert isinstance(stream, FollowedStream)
        return stream


def line_of(frame: Frame) -> Line:
    return frame.track, frame.position, frame.payload


@asynccontextmanager
async def receiving(
    folder: Path, redis: str, heard: Heard | None = None, **settings: Any
) -> AsyncIterator[Node]:
    """A receiver that publishes, in this process, while the block runs."""
    given: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "plain": True,
        "data": folder / "receiver",
        "cluster": redis,
        "token_key": TOKEN_KEY,
        "publish_media": True,
    }
    app = App() if heard is None else App(on_stream=heard.on_stream)
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, app, Config(**given | settings))
        no_process = cast(trio.Process, None)
        yield Node("here", no_process, server.urls.base, folder / "receiver")
        server.stop()


@asynccontextmanager
async def following(
    redis: str, group: str = "tests", heard: Heard | None = None, **more: Any
) -> AsyncIterator[Heard]:
    """A follower in this process, while the block runs."""
    from minivoice_ref.receiver.follower import follow

    heard = heard or Heard()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, heard.on_stream, Following(cluster=redis, group=group, **more))
        yield heard
        nursery.cancel_scope.cancel()


def script(seconds: float, begin: float = 0.0) -> Iterator[Line]:
    """Both tracks of a conversation, in pieces of 20 ms of which no two are alike."""
    for number in range(round(begin * 50), round((begin + seconds) * 50)):
        for track in ("inbound", "outbound"):
            yield track, number * 160, f"{track} {number} ".encode().ljust(160, b"\xff")


async def talk(caller: Caller, lines: Iterator[Line], *, pace: float = 1.0) -> float:
    """Say the lines, *pace* times as fast as people talk; the longest that one of them took."""
    began, longest = trio.current_time(), 0.0
    first: int | None = None
    for track, position, payload in lines:
        first = position if first is None else first
        await trio.sleep_until(began + (position - first) / 8000 / pace)
        before = trio.current_time()
        await caller.say(track, payload, position // 8)
        longest = max(longest, trio.current_time() - before)
    await trio.lowlevel.checkpoint()
    return longest


def keys(redis: RedisServer) -> list[str]:
    """The keys in Redis that have to do with audio."""
    return redis.cli("KEYS", "*:media*").split()


async def account_of(node: Node) -> dict[str, Any]:
    """The last line of the only stream."""
    await until(lambda: node.lines("streams", "account"))
    (line,) = node.lines("streams", "account")
    return line
