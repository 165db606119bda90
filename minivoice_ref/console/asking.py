"""What the processes beside this one tell of their calls, while somebody looks here.

    ask     to all, every second and when it changes: how closely which streams are watched
    stop    to all: nobody looks here any more

What they answer, `telling.py` sends: lines of their logs, which go into the memory here as if they
had been noted here, and what is seen and heard of their streams, each of which the feed watches as
if it were open here.

Answers may get lost. Those with lines are numbered, so that a loss is noticed, and the whole asked
for again. A process that was silent for three seconds is gone, and its streams with it, until it
says something again; so are the streams of one that died and was started again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import trio

from minivoice_ref.console.distant import DistantStream
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.watched import Attention
from minivoice_ref.receiver.evidence import Line, is_line
from minivoice_ref.receiver.talk import Talk

__all__ = ["AUDIO", "Asking"]

AUDIO = b"\0"
"""Begins a message with audio, and ends the stream's id in it."""

_ASK_EVERY = 1.0  # seconds
_SILENCE = 3.0  # seconds after which a process is gone
_AGAIN_AFTER = 2.0  # seconds between two times that one is asked for the whole
_MOST_NODES = 1000


class _Neighbour:
    """Another process, as it was heard."""

    def __init__(self, life: str) -> None:
        self.life = life
        self.heard = trio.current_time()
        self.number = 0  # of the last answer with lines
        self.is_whole = False  # whether all that it remembers has come
        self.has_past = False  # whether any of it was new
        self.asked_again = 0.0
        self.wants_again = False
        self.streams: dict[str, DistantStream] = {}


class Asking:
    """See above. `streams` are those that are open elsewhere, by their ids.

    For the feed: `fresh` are new lines, and `past_came` says that others have found their places.
    """

    def __init__(self, talk: Talk, memory: Memory) -> None:
        self._talk = talk
        self._memory = memory
        self._neighbours: dict[str, _Neighbour] = {}
        self._since: float | None = None
        self._asked: tuple[object, float] | None = None
        self.streams: dict[str, DistantStream] = {}
        self.fresh: list[Line] = []
        self.past_came = False

    def nodes(self) -> dict[str, str]:
        """The processes, and how each is: `here`, `there`; none where there can be but one."""
        if not self._talk.node:
            return {}
        there = dict.fromkeys(sorted(self._neighbours), "there")
        return {self._talk.node: "here", **there}

    def is_gone(self, node: str) -> bool:
        """Whether what was open at a process must have ended if it is not known to be open."""
        if node == self._talk.node:
            return True  # it was so in an earlier life of ours
        if node in self._neighbours:
            neighbour = self._neighbours[node]
            return neighbour.is_whole and not neighbour.wants_again
        return self._since is not None and trio.current_time() - self._since > _SILENCE

    # --- asking ---

    def ask(self, glance: bool) -> None:
        """Say what the viewers want now, if it has changed or was not said for a while."""
        now = trio.current_time()
        if self._since is None:
            self._since = now
        watched = {
            one.id: int(one.attention)
            for one in self.streams.values()
            if one.attention > Attention.GLANCE
        }
        again = self._again(now)
        wanted = (glance, watched)
        if self._asked is not None and not again:
            before, when = self._asked
            if before == wanted and now - when < _ASK_EVERY:
                return
        self._asked = (wanted, now)
        self._say({"type": "ask", "glance": glance, "streams": watched, "again": again})

    def stop(self) -> None:
        """Say that nobody looks any more, and forget what is of use only to those who do."""
        if self._since is None:
            return
        self._say({"type": "stop"})
        self._neighbours.clear()
        self._gather()
        self._since = self._asked = None
        self.fresh.clear()

    def look_round(self) -> None:
        """Give up who was silent for too long."""
        now = trio.current_time()
        silent = [n for n, one in self._neighbours.items() if now - one.heard > _SILENCE]
        for node in silent:
            del self._neighbours[node]
        self._gather()
        if silent or (self._since is not None and 0 <= now - self._since - _SILENCE < 0.5):
            self._memory.reconsider_all()

    def _gather(self) -> None:
        """Gather the streams of all who are there."""
        self.streams = {
            stream_id: stream
            for neighbour in self._neighbours.values()
            for stream_id, stream in neighbour.streams.items()
        }

    def _again(self, now: float) -> list[str]:
        """Of whom something was lost."""
        names = []
        for name, one in self._neighbours.items():
            if one.wants_again and now - one.asked_again > _AGAIN_AFTER:
                one.asked_again = now
                names.append(name)
        return names

    def _say(self, document: Mapping[str, Any]) -> None:
        self._talk.send(json.dumps(document).encode())

    # --- hearing ---

    def hear(self, sender: str, document: Mapping[str, Any]) -> None:
        """Take an answer. May raise KeyError, TypeError, ValueError where it is none."""
        if self._since is None or (
            sender not in self._neighbours and len(self._neighbours) >= _MOST_NODES
        ):
            return
        neighbour = self._neighbours.get(sender)
        if neighbour is None or neighbour.life != document["life"]:
            neighbour = self._neighbours[sender] = _Neighbour(str(document["life"]))
            self._memory.reconsider_all()
        neighbour.heard = trio.current_time()
        if document["type"] == "told":
            self._hear_lines(neighbour, document)
        else:
            _hear_of_streams(neighbour.streams, document)

    def hear_audio(self, sender: str, message: bytes) -> None:
        """Take audio."""
        stream_id, _, audio = message.partition(AUDIO)
        neighbour = self._neighbours.get(sender)
        if neighbour is not None:
            stream = neighbour.streams.get(stream_id.decode(errors="replace"))
            if stream is not None:
                stream.hear_audio(audio)

    def _hear_lines(self, neighbour: _Neighbour, document: Mapping[str, Any]) -> None:
        number = int(document["number"])
        if number == 1:  # the whole begins
            neighbour.wants_again = neighbour.is_whole = neighbour.has_past = False
        elif number != neighbour.number + 1:
            neighbour.wants_again = True
        neighbour.number = number
        for call_id, parties in document["parties"].items():
            self._memory.introduce(call_id, parties)
        lines = self._memory.insert(line for line in document["lines"] if is_line(line))
        self._hear_who_lives(neighbour, document["live"])
        if neighbour.is_whole:
            self.fresh += lines
        else:
            neighbour.has_past = neighbour.has_past or bool(lines)
        if document["whole"] and not neighbour.wants_again and not neighbour.is_whole:
            neighbour.is_whole = True
            self.past_came = self.past_came or neighbour.has_past
            self._memory.reconsider_all()

    def _hear_who_lives(self, neighbour: _Neighbour, live: list[str]) -> None:
        before = neighbour.streams
        neighbour.streams = {one: before.get(one) or DistantStream(one) for one in live}
        self._gather()
        for stream_id in before.keys() ^ neighbour.streams.keys():
            self._memory.reconsider(stream_id)


def _hear_of_streams(streams: Mapping[str, DistantStream], document: Mapping[str, Any]) -> None:
    """Take what was seen of some streams."""
    for stream_id, seen in document["seen"].items():
        stream = streams.get(stream_id)
        if stream is None:
            continue
        if "levels" in seen:
            stream.hear_levels(seen["levels"])
        if "peaks" in seen:
            stream.hear_peaks(seen["peaks"])
        if "state" in seen:
            stream.hear_state(seen["state"])
