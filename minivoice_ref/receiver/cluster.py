"""The commons of many machines: Redis (`--cluster redis://…`, the extra `cluster`).

The distributed work is done by Redis; what it does in one step stands in `cluster_scripts.py`. Here
is when it is asked. While this node runs there is one client, and four tasks around it:

    run
    └─ one session with Redis after another
       ├─ _beat          says that this node lives, hears of the others, fetches what the dead left
       ├─ _run_errands   streams that have gone; calls that may have ended without our hearing of it
       ├─ _listen        calls that end elsewhere, the moment they do (pub/sub)
       └─ _read_on       an event that another node took in, when we have nothing to do (XREADGROUP)

A beat that fails ends the session, and the next one begins a second later, with new connections.
Meanwhile nothing is accepted (the platform gets a 503, and delivers again), streams go on, and what
was handled waits to be marked. What pub/sub could not tell a node that was cut off, the key of the
call that has ended does: it is looked up for each call with a stream, after each reconnection, and
with every beat.

What a 2xx is worth is Redis's to say: with `appendfsync always` it is on the disk of one machine,
with `cluster_replicas` (WAIT) in the memory of so many more. Read next: `stores.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from minivoice_ref.config import Config, Limits
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver import cluster_scripts
from minivoice_ref.receiver.calls import Calls
from minivoice_ref.receiver.cluster_client import FAILURES, RedisLink, node_name
from minivoice_ref.receiver.commons import (
    Doubt,
    InboxFailed,
    SharedStream,
    Tell,
    WaitingEvent,
    end_of_call,
)
from minivoice_ref.receiver.live_streams import TooMany

__all__ = ["RedisCommons", "open_cluster"]

_RETRY_AFTER = 1.0  # seconds between two sessions
_ERRANDS_EVERY = 0.1
_AT_A_TIME = 500  # keys
_MOST_DEAD = 10000  # events that were set aside and are kept
_GROUP = "workers"


class RedisCommons:
    """A node of a cluster; see `Commons`. Made by `open_cluster`."""

    def __init__(self, config: Config, node: str) -> None:
        self.node = node
        self.others: Mapping[str, Mapping[str, Any]] = {}
        self._config = config
        self._redis = RedisLink(config)
        self._prefix = self._redis.prefix
        self._patience = config.timeouts.cluster
        self._lease = config.timeouts.lease
        self._mine: dict[str, SharedStream] = {}
        self._left: dict[str, SharedStream] = {}
        self._asked: set[str] = set()
        self._claims = 0
        self._in_hand: set[int] = set()
        self._errand = trio.Event()
        self._idle = trio.Event()
        self._doubts_told = False

    @property
    def trouble(self) -> str | None:
        """What is the matter with Redis, until it has stored something again."""
        return self._redis.trouble

    # --- events ---

    async def recover(self) -> None:
        """Nothing to do: a node that comes back has another name. The others free what it had."""
        await trio.lowlevel.checkpoint()

    async def accept(self, event: CallEvent, body: bytes) -> bool:
        """Add an event to the stream, where its key is new; see `Commons.accept`."""
        config, end = self._config, end_of_call(event)
        told = await self._redis.run(
            cluster_scripts.ACCEPT,
            hashlib.sha256(event.key.encode()).hexdigest(),
            event.call.id,
            event.event,
            body,
            _ms(config.webhook_memory),
            config.limits.backlog,
            config.cluster_replicas or 0,
            "" if end is None else end[1],
            _ms(config.timeouts.longest_stream),
            replicas=config.cluster_replicas,
        )
        if told < 0:
            raise InboxFailed(f"{config.limits.backlog} events wait already (limits.backlog)")
        return bool(told)

    async def take(self) -> WaitingEvent | float:
        """Take an event that is due; see `Commons.take`."""
        self._claims += 1
        claim, told = self._claims, None
        self._in_hand.add(claim)
        try:
            told = await self._redis.run(cluster_scripts.TAKE, self.node, claim, writes=False)
        finally:
            if not isinstance(told, list):
                self._in_hand.discard(claim)
        if isinstance(told, list):
            event_id, call_id, event, body, attempt = told
            names = _text(event_id), _text(call_id), _text(event)
            return WaitingEvent(*names, body, attempt, claim)
        self._idle.set()
        wait = float(told)
        return wait if wait >= 0 else float("inf")

    async def returned(self, event: WaitingEvent, key: str) -> None:
        """Nothing to do: `handled` takes a round trip, and nothing waits before it."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        del event, key

    async def handled(self, event: WaitingEvent) -> None:
        """Acknowledge an event, and let it go."""
        await self._finish(event, "handled")

    async def failed(self, event: WaitingEvent, error: str, wait: float) -> None:
        """Put an event off; see `Commons.failed`."""
        await self._finish(event, "failed", wait, error)

    async def set_aside(self, event: WaitingEvent, error: str) -> None:
        """Move an event to the stream of dead letters."""
        await self._finish(event, "dead", error=error)

    async def _finish(
        self, event: WaitingEvent, what: str, wait: float = 0.0, error: str = ""
    ) -> None:
        arguments = (event.id, event.call_id, what, wait, error, _MOST_DEAD, event.claim)
        await self._redis.run(cluster_scripts.FINISH, self.node, *arguments)
        self._in_hand.discard(event.claim)

    async def tidy(self) -> None:
        """Nothing to do: what is remembered expires by itself."""
        await trio.lowlevel.checkpoint()

    async def check(self) -> None:
        """Nothing to do: the beat is a write."""
        await trio.lowlevel.checkpoint()

    # --- streams ---

    async def enter(self, stream: SharedStream, limits: Limits) -> int:
        """Say that a stream is here, where it may be; see `Commons.enter`."""
        self._mine[stream.stream_id] = stream  # even if Redis is away: it will be told
        most = {name: getattr(limits, name) for name in ("streams_per_call", "streams_per_token")}
        told = await self._enter(stream, *most.values())
        if not isinstance(told, int):
            raise TooMany(_text(told), most[_text(told)], 429)
        return told

    async def _enter(self, stream: SharedStream, *most: float) -> Any:
        fields = (stream.stream_id, stream.subject, stream.token)
        lasts = _ms(self._config.timeouts.longest_stream)
        whole = json.dumps([*fields, stream.expires_at])
        return await self._redis.run(
            cluster_scripts.ENTER, self.node, *fields, whole, *most, _ms(self._lease), lasts
        )

    def leave(self, stream: SharedStream) -> None:
        """Have Redis told that a stream is gone."""
        self._mine.pop(stream.stream_id, None)
        self._left[stream.stream_id] = stream
        self._errand.set()

    async def streams(self) -> Sequence[SharedStream]:
        """The live streams of all living nodes."""
        rows = await self._redis.run(cluster_scripts.STREAMS, writes=False)
        found = []
        for node, said in zip(rows[::2], rows[1::2], strict=True):
            match _read(said):
                case [str(stream_id), str(subject), str(token), int() | float() as expires_at]:
                    found.append(SharedStream(stream_id, subject, token, _text(node), expires_at))
        return found

    # --- the sessions ---

    async def run(self, calls: Calls, look: Callable[[], None], tell: Tell, doubt: Doubt) -> None:
        """Keep in touch, for ever; see `Commons.run`."""
        calls.on_stream = self._ask_about
        try:
            while True:
                try:
                    async with self._redis.session(), trio.open_nursery() as nursery:
                        self._asked.update(calls.with_streams())
                        nursery.start_soon(self._beat, calls, look, tell, doubt)
                        nursery.start_soon(self._run_errands, calls)
                        nursery.start_soon(self._listen, calls)
                        nursery.start_soon(self._read_on, look)
                except* FAILURES as group:
                    self._redis.fail_as(group)
                    look()  # the worker says how it goes
                await trio.sleep(_RETRY_AFTER)
        finally:
            await self._give_up()  # noqa: ASYNC102  # it is shielded, for a moment

    async def _give_up(self) -> None:
        """Tell the others at once that this node ends; without that they find out by themselves."""
        with trio.move_on_after(self._patience, shield=True):
            await trio.lowlevel.checkpoint()
            try:
                async with self._redis.session():
                    await self._redis.run(cluster_scripts.GIVE_UP, self.node)
            except* FAILURES:
                pass

    async def _beat(self, calls: Calls, look: Callable[[], None], tell: Tell, doubt: Doubt) -> None:
        """Say that we live; a few times as often as others would give us up."""
        reclaim_at = trio.current_time() + self._lease
        while True:
            ours = json.dumps(dict(tell()) | {"pid": os.getpid()})
            due, known, *others = await self._redis.run(
                cluster_scripts.BEAT, self.node, _ms(self._lease), ours
            )
            names, documents = map(_text, others[::2]), map(_read, others[1::2])
            all_told = sorted(zip(names, documents, strict=True), key=lambda one: one[0])
            self.others = {name: told for name, told in all_told if isinstance(told, dict)}
            if known != len(self._mine) + len(self._left):
                await self._enter_again()
            if trio.current_time() >= reclaim_at:
                reclaim_at = trio.current_time() + self._lease
                due += await self._reclaim()
            if due:
                look()
            await self._tell_doubts(doubt)
            self._asked.update(calls.with_streams())
            self._errand.set()
            await trio.sleep(self._lease / 5)

    async def _reclaim(self) -> int:
        """Free what dead nodes had, and what Redis gave us when we had given up waiting for it."""
        known = self._claims, *self._in_hand
        script, lease = cluster_scripts.RECLAIM, _ms(self._lease)
        return int(await self._redis.run(script, self.node, lease, *known))

    async def _enter_again(self) -> None:
        """Say which streams are here to a Redis that has forgotten some, and which are not."""
        await trio.lowlevel.checkpoint()
        for stream in list(self._mine.values()):
            await self._enter(stream, 1e9, 1e9)
        for stream in await self.streams():  # one that ended in the meantime is among them, too
            if stream.node == self.node and stream.stream_id not in self._mine:
                self.leave(stream)

    async def _run_errands(self, calls: Calls) -> None:
        """Tell of streams that have gone; look up calls that may have ended."""
        while True:
            await self._errand.wait()
            self._errand = trio.Event()
            for stream in list(self._left.values()):
                fields = (stream.stream_id, stream.subject, stream.token)
                await self._redis.run(cluster_scripts.LEAVE, self.node, *fields, writes=False)
                del self._left[stream.stream_id]
            asked, self._asked = sorted(self._asked), set()
            for at in range(0, len(asked), _AT_A_TIME):
                await self._look_up(asked[at : at + _AT_A_TIME], calls)
            await trio.sleep(_ERRANDS_EVERY)

    async def _look_up(self, asked: Sequence[str], calls: Calls) -> None:
        """End those of some calls that have a key which says that they have ended."""
        keys = [f"{self._prefix}:ended:{call_id}" for call_id in asked]
        for call_id, status in zip(asked, await self._redis.values(keys), strict=True):
            if status is not None:
                calls.end(call_id, _text(status))

    async def _listen(self, calls: Calls) -> None:
        """Hear of calls that end elsewhere."""

        def take(message: bytes) -> None:
            match _read(message):
                case [str(call_id), str(status)]:
                    calls.end(call_id, status)

        await self._redis.hear(take, f"{self._prefix}:ended")

    async def _read_on(self, look: Callable[[], None]) -> None:
        """Wait for events that others took in, while there is room to handle one."""
        events = f"{self._prefix}:events"
        while True:
            await self._idle.wait()
            read = await self._redis.read_group(events, _GROUP, self.node)
            for event_id, call_id in read:
                # Anybody's now; we look first.
                await self._redis.run(cluster_scripts.PARK, event_id, call_id)
                self._idle = trio.Event()
                look()

    def _ask_about(self, call_id: str) -> None:
        self._asked.add(call_id)
        self._errand.set()

    async def _tell_doubts(self, doubt: Doubt) -> None:
        """Say once what makes a 2xx worth less than it seems."""
        await trio.lowlevel.checkpoint()
        if self._doubts_told:
            return
        info = await self._redis.info()
        self._doubts_told = True
        if not info:
            doubt("Redis does not say how it keeps what it accepts: its user may not ask (INFO)")
        if info.get("aof_enabled") == "0":
            why = "Redis keeps no append-only file: what it accepted is lost when it is restarted"
            doubt(why)
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            policy = info["maxmemory_policy"]
            why = f"Redis may throw away what it accepted: maxmemory-policy {policy}"
            doubt(why)


def _read(said: bytes) -> Any:
    """What was said; None where it cannot be read: another version of us may be among the nodes."""
    try:
        return json.loads(said)
    except (ValueError, RecursionError):
        return None


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


@asynccontextmanager
async def open_cluster(config: Config, worker: str | None) -> AsyncIterator[RedisCommons]:
    """Be a node of the cluster that the settings name while the block runs.

    It need not be there: until it is, nothing is accepted.
    """
    yield RedisCommons(config, node_name(worker))
