"""Takes media streams over that a receiver elsewhere publishes (`--publish-media`).

    await follow(on_stream, Following(cluster="redis://10.0.0.5", group="transcription"))

`on_stream` is what it is in the receiver's own process: a function that iterates over the frames of
a `MediaStream`. The followers of one group share the streams, each stream is one follower's; groups
know nothing of each other, so that one may transcribe while another watches.

    follow
    └─ streams
       ├─ on_stream(stream)     one a stream that this follower has
       └─ one session with Redis after another
          ├─ look               takes streams over, those of followers that died among them; says
          │                     which are still ours, and how far we are; lets go of what is over
          └─ read               new entries of all streams that have room for more

A follower that is not heard of for `timeouts.lease` has died: another goes on with its streams,
`repeat` seconds before the place that it had read to, for what it had not finished. One that was
only cut off for so long finds its streams taken, and they end here. A stream that nobody took in
time has lost its beginning: Redis keeps `limits.published` pieces.

Read next: `examples/remote_transcription.py`, which uses it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import trio

from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.config_cluster import read_cluster_url
from minivoice_ref.protocol.errors import Problem, RemoteProtocolError
from minivoice_ref.receiver import media_scripts
from minivoice_ref.receiver.cluster_client import FAILURES, RedisLink, node_name
from minivoice_ref.receiver.media_entries import Begun, Ended, read_entry
from minivoice_ref.receiver.media_stream import Frame, HandOver, MediaStream

__all__ = ["FollowedStream", "Following", "OnFollowed", "follow"]

_LOOK_EVERY = 0.2  # seconds
_READ_EVERY = 0.05
_MOMENT = 0.1  # that Redis is asked to wait for something new
_AT_A_TIME = 100  # entries of one stream
_ROOM = 1.0  # seconds of a track that may wait for on_stream when more is read
_MOST_WAITING = 600.0  # seconds of a track; what one reading brings has room in any case
_RETRY_AFTER = 1.0

_log = logging.getLogger("minivoice_ref.follower")


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Where streams are published, and who follows them.

    The settings of the cluster are those of the receivers, with the same names and meanings
    (`config.py`). *group* is what the followers that share the streams have in common. *most* is
    how many streams this one follows at once, *repeat* how many seconds of audio a successor hears
    again. Raises ConfigError for a URL that cannot be used.
    """

    cluster: str
    group: str
    most: int = 8
    repeat: float = 3.0
    cluster_password: str | None = field(default=None, repr=False)
    cluster_ca: Path | None = None
    cluster_name: str = "minivoice"
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        try:
            read_cluster_url(self.cluster)
        except ValueError as exc:
            mend = "write for example redis://10.0.0.5:6379/0"
            raise ConfigError([Problem("cluster", str(exc), mend)]) from exc


class FollowedStream(MediaStream):
    """A stream of a receiver elsewhere.

    `node` is that receiver. `delay` is how long the newest audio had lain in Redis when it was read
    (seconds, by Redis's clock). `ended` tells how the stream ended and what was dropped before it
    got here; it stays None where nobody could say so, or another follower has the stream now.
    `close` and `abort` end the following, not the stream.
    """

    node: str = ""
    delay: float = 0.0
    ended: Ended | None = None


OnFollowed: TypeAlias = Callable[[FollowedStream], Awaitable[None]]


class _Followed:
    """One stream that is ours: how far it was read, and what `on_stream` gets of it."""

    def __init__(self, announcement: bytes, begun: Begun, after: bytes) -> None:
        self.announcement = announcement
        self.after = self.mark = after  # the last entry that was read; where a successor begins
        self.is_over = self.is_done = False
        self._hand_over = HandOver(_MOST_WAITING, lambda lagging: None)
        self._read_at: deque[tuple[float, bytes]] = deque()
        self.stream = FollowedStream(
            begun.stream_id,
            begun.call_id,
            begun.started,
            self._hand_over,
            accounts=lambda: {} if self.stream.ended is None else self.stream.ended.accounts,
            end=lambda ending: self.finish(),
        )
        self.stream.node = begun.node

    @property
    def has_room(self) -> bool:
        """Whether more is to be read of it."""
        rate = self.stream.started.format.sample_rate
        waiting = max(self._hand_over.waiting().values(), default=0)
        return not self.is_over and waiting < _ROOM * rate

    def take(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
        """Take the next entry."""
        self.after = entry_id
        try:
            entry = read_entry(fields, self.stream.started.format)
        except RemoteProtocolError as exc:
            _log.warning("%s: %s", self.stream.id, exc)
            return
        if type(entry) is Frame:
            size = entry.samples if entry.format.readable else len(entry.payload)
            self._hand_over.put_audio(entry, size)
        elif isinstance(entry, Begun):
            self.stream.started, self.stream.call_id = entry.started, entry.call_id
        elif isinstance(entry, Ended):
            self.stream.ended = entry
            self.finish()

    def finish(self) -> None:
        """Hand over what was read and no more."""
        self.is_over = True
        self._hand_over.finish()

    def move_mark(self, repeat: float) -> None:
        """Let a successor begin *repeat* seconds before what has been read by now."""
        now = trio.current_time()
        self._read_at.append((now, self.after))
        while self._read_at and self._read_at[0][0] <= now - repeat:
            self.mark = self._read_at.popleft()[1]

    async def serve(self, on_stream: OnFollowed) -> None:
        """Have the application follow it."""
        await on_stream(self.stream)
        self._hand_over.discard()
        self.is_over = self.is_done = True


class _Follower:
    """See the essay above."""

    def __init__(self, on_stream: OnFollowed, following: Following) -> None:
        self._on_stream = on_stream
        self._following = following
        self._me = node_name(None)
        self._redis = RedisLink(following)
        self._ours: dict[str, _Followed] = {}  # by the stream's id
        self._cursor: bytes | str = "0-0"
        self._clock = 0.0  # what Redis's clock is ahead of Trio's, in seconds

    async def run(self) -> None:
        """Follow, for ever."""
        async with trio.open_nursery() as streams:
            try:
                await self._keep_in_touch(streams)
            finally:
                await self._give_back()  # noqa: ASYNC102  # it is shielded, for a moment

    async def _keep_in_touch(self, streams: trio.Nursery) -> None:
        while True:
            try:
                async with self._redis.session(), trio.open_nursery() as nursery:
                    nursery.start_soon(self._look, streams)
                    nursery.start_soon(self._read)
            except* FAILURES as group:
                self._redis.fail_as(group)
                _log.warning("Redis: %s", self._redis.trouble)
            await trio.sleep(_RETRY_AFTER)

    async def _look(self, streams: trio.Nursery) -> None:
        renew_at = 0.0
        while True:
            await self._take_over(streams)
            if trio.current_time() >= renew_at:
                renew_at = trio.current_time() + self._following.timeouts.lease / 5
                await self._renew()
            await self._let_go([one for one in self._ours.values() if one.is_done], True)
            await trio.sleep(_LOOK_EVERY)

    async def _take_over(self, streams: trio.Nursery) -> None:
        """Take streams that are new or that nobody has any more, as many as there is room for."""
        following = self._following
        room = following.most - len(self._ours)
        if room <= 0:
            return await trio.lowlevel.checkpoint()
        lease, kept = _ms(following.timeouts.lease), _ms(following.timeouts.published)
        arguments = (following.group, self._me, lease, room, self._cursor, kept)
        now, self._cursor, *taken = await self._redis.run(media_scripts.TAKE_OVER, *arguments)
        self._clock = now / 1000 - trio.current_time()
        for announcement, after, flat in taken:
            begun = _read_begun(dict(zip(flat[::2], flat[1::2], strict=True)))
            if begun is not None and begun.stream_id not in self._ours:
                followed = self._ours[begun.stream_id] = _Followed(announcement, begun, after)
                streams.start_soon(followed.serve, self._on_stream)
            elif begun is None or self._ours[begun.stream_id].announcement != announcement:
                # It cannot be read, or is of a stream that Redis had lost in the meantime.
                done = (following.group, self._me, 1, announcement, "")
                await self._redis.run(media_scripts.LET_GO, *done)

    async def _renew(self) -> None:
        """Say that we live; find out what is not ours, or not there, any more."""
        ours = list(self._ours.values())
        if not ours:
            return await trio.lowlevel.checkpoint()
        arguments: list[Any] = []
        for one in ours:
            one.move_mark(self._following.repeat)
            arguments += (one.announcement, one.stream.id, one.mark)
        kept = _ms(self._following.timeouts.published)
        group = self._following.group
        told = await self._redis.run(media_scripts.RENEW, group, self._me, kept, *arguments)
        for one, state in zip(ours, told, strict=True):
            if state != 1:
                one.finish()

    async def _let_go(self, some: Sequence[_Followed], done: bool) -> None:
        """Let go of streams: nobody needs to follow them, or, where not *done*, another may."""
        if not some:
            return await trio.lowlevel.checkpoint()
        named = [name for one in some for name in (one.announcement, one.stream.id)]
        group = self._following.group
        await self._redis.run(media_scripts.LET_GO, group, self._me, int(done), *named)
        for one in some:
            del self._ours[one.stream.id]

    async def _read(self) -> None:
        """Read on in all streams that have room."""
        prefix = f"{self._redis.prefix}:media:"
        while True:
            after = {
                prefix + stream_id: one.after
                for stream_id, one in self._ours.items()
                if one.has_room
            }
            if after:
                for key, entries in (
                    await self._redis.read_streams(after, _AT_A_TIME, _MOMENT)
                ).items():
                    self._take(self._ours.get(key.removeprefix(prefix)), entries)
            await trio.sleep(_READ_EVERY)

    def _take(
        self, followed: _Followed | None, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]
    ) -> None:
        if followed is None or followed.is_over:
            return  # it was let go while we read
        for entry_id, fields in entries:
            followed.take(entry_id, fields)
        came = int(followed.after.partition(b"-")[0]) / 1000
        followed.stream.delay = max(0.0, trio.current_time() + self._clock - came)

    async def _give_back(self) -> None:
        """Let others go on at once; without that they find out by themselves."""
        with trio.move_on_after(self._following.timeouts.cluster, shield=True):
            await trio.lowlevel.checkpoint()
            try:
                async with self._redis.session():
                    for done in (True, False):
                        ours = list(self._ours.values())
                        await self._let_go([one for one in ours if one.is_done is done], done)
            except* FAILURES:
                pass


def _read_begun(fields: Mapping[bytes, bytes]) -> Begun | None:
    try:
        begun = read_entry(fields)
    except RemoteProtocolError as exc:
        _log.warning("an announcement: %s", exc)
        return None
    return begun if isinstance(begun, Begun) else None


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


async def follow(on_stream: OnFollowed, following: Following) -> None:
    """Follow streams, for ever: each that is taken over is handed to *on_stream*.

    When that returns, the stream is done with for the whole group. What it raises ends all, and
    comes out of here; others go on with the streams then, as they do at once where this is
    cancelled. Redis need not be there: it is waited for.
    """
    await _Follower(on_stream, following).run()
