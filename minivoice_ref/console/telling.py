"""What the processes beside this one are told of our calls, while somebody looks there.

Who asks (`asking.py`) is told for five seconds:

    told    at first all that we remember, a few pieces a round; from then on new lines as they
            come, and which of our streams are open. Numbered, so that a loss is noticed there
    seen    levels of our streams; peaks and sums of those that are looked at
            audio of those that are listened to, as a binary message

What another process has noted itself is left to it. What finds no room on its way is dropped, and
counted; the pieces of the past wait for room. Nobody asks: nothing is done, nothing is said.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from minivoice_ref.console.asking import AUDIO
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.seen import Seen
from minivoice_ref.console.watched import Attention
from minivoice_ref.receiver.evidence import Line
from minivoice_ref.receiver.talk import Talk

__all__ = ["Telling"]

_TOLD_FOR = 5.0  # seconds
_TELL_EVERY = 1.0  # seconds, also where there is no news
_PIECES = 2  # of the past, a round
_PIECE = 32 * 1024  # bytes
_AT_A_TIME = 400  # streams in one message
_MOST_WATCHERS = 100
_MOST_WATCHED = 100  # streams that one of them looks at


@dataclass(slots=True)
class _Watcher:
    """Another process where somebody looks. `live` is what it was told last of our streams."""

    until: float = 0.0
    glance: bool = False
    streams: Mapping[str, Attention] = field(default_factory=dict)
    past: deque[Line] = field(default_factory=deque)
    number: int = 0
    whole: bool = False
    live: list[str] | None = None
    told: float = 0.0
    missed: int = 0


class Telling:
    """See above. *others* has the names of the processes that live beside this one.

    *on_missed* hears of whom has missed how many messages when it asks no more.
    """

    def __init__(
        self,
        talk: Talk,
        memory: Memory,
        others: Callable[[], Container[str]],
        on_missed: Callable[[str, int], None],
    ) -> None:
        self._talk = talk
        self._memory = memory
        self._others = others
        self._on_missed = on_missed
        self._life = secrets.token_hex(4)
        self._watchers: dict[str, _Watcher] = {}

    # --- who asks, and for what ---

    @property
    def is_asked(self) -> bool:
        """Whether anybody asks."""
        return bool(self._watchers)

    @property
    def glance(self) -> bool:
        """Whether somebody elsewhere looks at the list."""
        return any(watcher.glance for watcher in self._watchers.values())

    def wanted(self) -> Iterator[tuple[str, Attention]]:
        """The streams that somebody elsewhere looks at, and how closely."""
        for watcher in self._watchers.values():
            yield from watcher.streams.items()

    def hear(self, sender: str, document: Mapping[str, Any]) -> None:
        """Take a question. May raise KeyError, TypeError, ValueError where it is none."""
        if document["type"] == "stop":
            self._forget(sender)
            return
        watched = list(document["streams"].items())[:_MOST_WATCHED]
        watcher = self._watchers.get(sender)
        if watcher is None or self._talk.node in document["again"]:
            if len(self._watchers) >= _MOST_WATCHERS:
                return
            past = deque(self._memory.lines_but_of(self._others()))
            watcher = self._watchers[sender] = _Watcher(
                past=past, missed=0 if watcher is None else watcher.missed
            )
        watcher.until = trio.current_time() + _TOLD_FOR
        watcher.glance = document["glance"] is True
        watcher.streams = {stream_id: Attention(degree) for stream_id, degree in watched}

    def _forget(self, node: str) -> None:
        watcher = self._watchers.pop(node, None)
        if watcher is not None and watcher.missed:
            self._on_missed(node, watcher.missed)

    # --- what they are told ---

    def look_round(self) -> None:
        """Forget who asks no more."""
        now = trio.current_time()
        for node in [node for node, one in self._watchers.items() if now > one.until]:
            self._forget(node)

    def tell_past(self, live: Iterable[str]) -> None:
        """Tell the next pieces of what we remember to those who are new."""
        for node, watcher in self._watchers.items():
            for _ in range(_PIECES):
                if watcher.whole:
                    break
                lines = _piece(watcher.past)
                if not self._tell(node, watcher, lines, live, whole=not watcher.past):
                    watcher.past.extendleft(reversed(lines))
                    watcher.number -= 1
                    break
                watcher.whole = not watcher.past

    def tell_lines(self, lines: list[Line], live: Iterable[str]) -> None:
        """Tell new lines, and which streams are open, where that is news or was not told lately."""
        now, living = trio.current_time(), list(live)
        for node, watcher in self._watchers.items():
            waiting = deque(lines)
            if not waiting and watcher.live == living and now - watcher.told < _TELL_EVERY:
                continue
            while True:
                if not self._tell(node, watcher, _piece(waiting), living, whole=watcher.whole):
                    watcher.missed += 1
                if not waiting:
                    break

    def _tell(
        self, node: str, watcher: _Watcher, lines: list[Line], live: Iterable[str], *, whole: bool
    ) -> bool:
        calls = {line["call_id"] for line in lines if "call_id" in line}
        watcher.number += 1
        watcher.live, watcher.told = list(live), trio.current_time()
        document = {
            "type": "told",
            "life": self._life,
            "number": watcher.number,
            "whole": whole,
            "live": watcher.live,
            "parties": self._memory.parties_of(calls),
            "lines": lines,
        }
        return self._talk.send(json.dumps(document).encode(), node)

    def tell_seen(self, seen: Seen, states: Callable[[str], Mapping[str, Any] | None]) -> None:
        """Tell what was taken of the streams; *states* makes the sums of one, if they are due."""
        for node, watcher in self._watchers.items():
            news: dict[str, dict[str, Any]] = {}
            if watcher.glance:
                news = {one: {"levels": levels} for one, levels in seen.levels.items()}
            for one in watcher.streams:
                if one in seen.peaks:
                    news.setdefault(one, {})["peaks"] = seen.peaks[one]
                if (state := states(one)) is not None:
                    news.setdefault(one, {})["state"] = state
            names = list(news)
            for at in range(0, len(names), _AT_A_TIME):
                part = {one: news[one] for one in names[at : at + _AT_A_TIME]}
                document = {"type": "seen", "life": self._life, "seen": part}
                self._send(node, watcher, json.dumps(document).encode())
            for one, degree in watcher.streams.items():
                if degree is Attention.EAR and one in seen.audio:
                    self._send(node, watcher, AUDIO + AUDIO.join((one.encode(), seen.audio[one])))

    def _send(self, node: str, watcher: _Watcher, message: bytes) -> None:
        watcher.missed += not self._talk.send(message, node)


def _piece(lines: deque[Line]) -> list[Line]:
    """Take lines from the front, as many as one message shall have; at least one."""
    taken: list[Line] = []
    size = 0
    while lines and size < _PIECE:
        taken.append(lines.popleft())
        size += len(json.dumps(taken[-1]))
    return taken
