"""Hands audio on to workers elsewhere, through Redis (`--publish-media`).

    receiving task ── add ──> Publication, one a stream        bounded like the hand-over
                                    │
    Publisher.run ── some times a second, what waits of all streams in one script ──> Redis

A stream's socket never waits for it. Where Redis is slow or away, what waits fills up, then the
oldest audio is dropped and counted; of each track, what was published and what was dropped add up
to what its account has as received. A stream that is over waits `timeouts.finish` at most until
Redis has acknowledged the rest, and what it has not by then counts as dropped.

Each entry is added once. What was sent and not acknowledged is sent again, after the new session
with Redis if need be, and Redis knows by the entries' numbers what it has (`media_scripts.py`). It
has connections of its own, so that no event waits behind audio. Read next: `follower.py`, the other
end.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import trio

from minivoice_ref.config import Config
from minivoice_ref.protocol.media import Started, Track
from minivoice_ref.protocol.timeline import Account
from minivoice_ref.receiver import media_scripts
from minivoice_ref.receiver.cluster_client import FAILURES, RedisLink
from minivoice_ref.receiver.endings import Ending
from minivoice_ref.receiver.journal import Journal, Note
from minivoice_ref.receiver.media_entries import (
    PLAIN_AUDIO,
    Begun,
    Ended,
    Fields,
    audio_entry,
    end_entry,
    start_entry,
)
from minivoice_ref.receiver.media_stream import Frame, HandOver

__all__ = ["Publication", "Publisher"]

_EVERY = 0.05  # seconds that audio waits at most before it is sent, where Redis is quick
_A_BATCH = 250  # entries; more would keep the event loop for long
_MOST_ANNOUNCED = 10000
_RETRY_AFTER = 1.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """An entry that was sent: the samples in it are of this track; none where it has no audio."""

    number: int
    fields: Fields
    track: Track | None = None
    samples: int = 0


class Publication:
    """One stream's audio on its way to Redis. All but `run` is synchronous and quick.

    What waits is bounded as `HandOver` is, *seconds* of each track; *note* logs where that is not
    enough.
    """

    def __init__(self, stream_id: str, node: str, seconds: float, note: Note) -> None:
        self.stream_id = stream_id
        self._node = node
        self._seconds = seconds
        self._note = note
        self.published: Counter[Track] = Counter()
        self.is_over = False
        self._lost: Counter[Track] = Counter()
        self._queue = HandOver(seconds, self._lag)
        self._begun: Begun | None = None
        self._to_begin = False
        self._end: tuple[Ending, Mapping[Track, Account]] | None = None
        self._number = 0
        self._flight: list[_Sent] = []
        self._done = trio.Event()

    @property
    def dropped(self) -> dict[Track, int]:
        """The samples of each track that were dropped; of an unknown codec, bytes."""
        return dict(self._lost + Counter(self._queue.dropped))

    def begin(self, call_id: str | None, started: Started) -> None:
        """Say that the stream has started, or who is calling, where that is known only now."""
        if self._begun is not None:  # who takes over later knows only the format of the first start
            started = replace(started, format=self._begun.started.format)
        self._begun = Begun(self.stream_id, call_id, self._node, started)
        self._to_begin = True

    def add(self, frame: Frame, samples: int) -> None:
        """Publish a frame of so many samples."""
        if self.is_over:  # what came last is told when all has been cancelled
            self._lost[frame.track] += samples
        self._queue.put_audio(frame, samples)

    def finish(self, ending: Ending, accounts: Mapping[Track, Account]) -> None:
        """Say that nothing more comes, how the stream ended, and what had come."""
        self._end = ending, accounts
        if self._begun is None:
            self._done.set()

    async def run(self) -> None:
        """Wait until Redis has all that came. Cancelled, the rest is dropped, and counted."""
        try:
            await self._done.wait()
        finally:
            self.is_over = True
            before = self._lost.total()
            self._lost.update(self._queue.waiting())
            self._queue.discard()
            self._lose_flight()
            if rest := self._lost.total() - before:
                self._note("not_published", code="MV-713", rest=rest)

    # --- what the publisher asks ---

    @property
    def goes_on(self) -> bool:
        """Whether Redis has, or will have, something of it."""
        return self._begun is not None and not self._done.is_set() and not self.is_over

    def take_off(self, most: int) -> list[_Sent]:
        """Take what waits, about *most* entries; it is in flight until `land` or `turn_back`."""
        if self._begun is None or not self.goes_on:
            return []
        if self._to_begin:
            self._to_begin = False
            self._send(start_entry(self._begun))
        usual = self._begun.started.format
        for frame, samples in self._queue.take(most):
            assert type(frame) is Frame  # nothing else was added
            self._send(audio_entry(frame, usual), frame.track, samples)
        if self._end is not None and not self._queue.pieces:
            ending, accounts = self._end
            self._send(end_entry(Ended(ending.what, accounts, self._going(), self.dropped)))
        return self._flight

    def freight(self) -> list[Any]:
        """What is in flight, as the script takes it; nothing at all of a stream that is over."""
        if self.is_over:
            return []
        begins = bool(self._flight) and self._flight[0].fields[:2] == ("what", "start")
        arguments: list[Any] = [self.stream_id, int(begins), len(self._flight)]
        for sent in self._flight:
            fields = sent.fields
            if fields[::2] == PLAIN_AUDIO:
                arguments += (sent.number, 0, *fields[3::2])
            else:
                arguments += (sent.number, len(fields), *fields)
        return arguments

    def _send(self, fields: Fields, track: Track | None = None, samples: int = 0) -> None:
        self._number += 1
        self._flight.append(_Sent(self._number, fields, track, samples))

    def _going(self) -> Counter[Track]:
        """What will have been published when what is in flight has landed."""
        flying: Counter[Track] = Counter()
        for sent in self._flight:
            if sent.track is not None:
                flying[sent.track] += sent.samples
        return self.published + flying

    def land(self) -> None:
        """Note that what was in flight is in Redis."""
        self.published = self._going()
        if self._flight and self._flight[-1].fields[:2] == ("what", "end"):
            self._done.set()
        self._flight = []

    def turn_back(self) -> None:
        """Note that Redis has lost the stream: what was in flight is lost, too, the rest is not."""
        self._lose_flight()
        self._to_begin = True

    def _lag(self, lagging: bool) -> None:
        if lagging:
            self._note("not_published", code="MV-713", behind=self._seconds)

    def _lose_flight(self) -> None:
        self._lost.update(self._going() - self.published)
        self._flight = []


class Publisher:
    """Publishes the streams of this process, which is the *node*, as long as `run` runs."""

    def __init__(self, config: Config, node: str, journal: Journal) -> None:
        self.node = node
        self._config = config
        self._journal = journal
        self._redis = RedisLink(config)
        self._live: deque[Publication] = deque()
        self._flight: list[Publication] = []
        self._wanted = trio.Event()
        self._touch_at = 0.0
        self._past: Counter[str] = Counter()  # what the streams that are over leave behind
        self._trouble: str | None = None

    def open(self, stream_id: str, note: Note) -> Publication:
        """Make ready for a stream, whose lines *note* logs; its `Publication.run` has to run."""
        publication = Publication(stream_id, self.node, self._config.limits.hand_over, note)
        self._live.append(publication)
        self._wanted.set()
        return publication

    def tell(self) -> dict[str, Any]:
        """The sums for `/health`, in samples, and what the matter is, if anything."""
        sums = Counter(self._past)
        for publication in self._live:
            sums += _sums(publication)
        told = {name: sums[name] for name in ("published", "dropped")}
        return told | {"trouble": self._redis.trouble}

    async def run(self) -> None:
        """Publish, for ever; a session with Redis that fails is followed by another."""
        while True:
            try:
                async with self._redis.session():
                    await self._publish()
            except* FAILURES as group:
                self._redis.fail_as(group)
                self._tell_trouble()
            self._forget_the_past()
            await trio.sleep(_RETRY_AFTER)

    async def _publish(self) -> None:
        while True:
            await self._wanted.wait()
            sent = self._load() if not self._flight else 0
            if self._flight:
                await self._fly()
            self._forget_the_past()
            if sent < _A_BATCH:
                await trio.sleep(_EVERY)

    def _load(self) -> int:
        """Have a batch take off, each stream in its turn; return how many entries it has.

        Now and then streams that are silent fly empty, so that their keys do not expire.
        """
        sent, now = 0, trio.current_time()
        for _ in range(len(self._live)):
            publication = self._live[0]
            self._live.rotate(-1)
            entries = publication.take_off(_A_BATCH - sent)
            if entries or (now >= self._touch_at and publication.goes_on):
                self._flight.append(publication)
                sent += len(entries)
            if sent >= _A_BATCH:
                return sent
        if now >= self._touch_at:
            self._touch_at = now + self._config.timeouts.published / 4
        return sent

    async def _fly(self) -> None:
        """Have Redis add what is in flight, and note what became of it."""
        config = self._config
        arguments: list[Any] = [config.limits.published, int(config.timeouts.published * 1000)]
        arguments.append(_MOST_ANNOUNCED)
        for publication in self._flight:
            arguments += publication.freight()
        gone = await self._redis.run(media_scripts.PUBLISH, *arguments)
        self._tell_trouble()
        lost = {stream_id.decode() for stream_id in gone}
        for publication in self._flight:
            if publication.stream_id in lost:
                publication.turn_back()
            else:
                publication.land()
        self._flight = []

    def _forget_the_past(self) -> None:
        """Keep the sums of the streams that are over, and no more of them."""
        for publication in [one for one in self._live if one.is_over]:
            self._live.remove(publication)
            self._past += _sums(publication)
        self._flight = [publication for publication in self._flight if not publication.is_over]
        if not self._live:
            self._wanted = trio.Event()

    def _tell_trouble(self) -> None:
        """Log when Redis begins to fail and when it works again, not every time."""
        trouble, note = self._redis.trouble, self._journal.note
        if trouble is not None and self._trouble is None:
            note("streams", "publishing", level=logging.ERROR, code="MV-713", why=trouble)
        elif trouble is None and self._trouble is not None:
            note("streams", "publishing", why="works again")
        self._trouble = trouble


def _sums(publication: Publication) -> Counter[str]:
    published, dropped = publication.published.total(), sum(publication.dropped.values())
    return Counter(published=published, dropped=dropped)
