"""The latest calls, from the lines of the three logs as they come.

Adding a line costs microseconds; nothing is concluded from it until somebody asks. The lines are
grouped by the same code, and explained by the same code, that `explain` uses on the files. What
other processes noted is asked for only while somebody looks (`asking.py`), and put at its place.

Bounded: the latest 200 calls; of each its 600 lines, of which the middle ones go first; 300 lines
without a call; and the last 400 lines of each log. Of progress lines a call keeps the last one of
each stream. What is forgotten here still stands in the files.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from minivoice_ref.console.cards import Parties, card_of, explanation_of, is_over
from minivoice_ref.protocol.redaction import excerpt
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.evidence import Evidence, Group, Groups, Line, join_by_time
from minivoice_ref.receiver.journal import LOGS, Log

__all__ = ["Known", "Memory"]

_MOST_CALLS = 200
_MOST_LINES = 600
_MOST_LOOSE = 300
_MOST_TAIL = 400
_KEPT_FIRST = 100  # lines of a call that stay when the middle ones go
_MOST_AT_ONCE = 50  # calls of which is concluded without a pause: 10 ms or so
_MOST_TOLD = 10000  # lines for another process
_LONGEST = 80  # characters of a number or a status that are shown
_TOLD = ("direction", "from", "to", "status")


@dataclass(slots=True, eq=False)
class Known:
    """One remembered call. `card` is None until somebody asks; `settled` when it cannot change.

    `told` is the card that `changes` handed out last: who looks at one call makes its card anew,
    and that is no reason to keep it from the list. `turn` grows with each conclusion.
    """

    key: int
    group: Group
    card: dict[str, Any] | None = None
    told: dict[str, Any] | None = None
    explanation: Mapping[str, Any] = field(default_factory=dict)
    changed: bool = True
    settled: bool = False
    turn: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it had an open stream when it was looked at last."""
        return self.card is not None and bool(self.card["live"])

    @property
    def streams(self) -> list[str]:
        """The ids of its streams."""
        return sorted(value for name, value in self.group.ids if name == "stream_id")


class Memory:
    """See above. *is_live* tells of a stream's id whether it is open now.

    *is_gone* tells of a process whether a stream that is open there no more must have ended, though
    no line says so.
    """

    def __init__(
        self,
        is_live: Callable[[str], bool],
        clock: Callable[[], float],
        is_gone: Callable[[str], bool] = lambda node: False,
    ) -> None:
        self._is_live = is_live
        self._clock = clock
        self._is_gone = is_gone
        self._groups = Groups(most_loose=_MOST_LOOSE)
        self._known: dict[Group, Known] = {}
        self._keys = itertools.count(1)
        self._turns = itertools.count(1)
        self._parties: dict[str, Parties] = {}
        self.tails: dict[Log, deque[Line]] = {log: deque(maxlen=_MOST_TAIL) for log in LOGS}

    def read_back(self, lines: Iterable[Line]) -> None:
        """Remember lines of earlier runs, the oldest first. Only before anything else is added."""
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> Known | None:
        """Remember a line; the call that it belongs to, None for a loose one."""
        self.tails[line["log"]].append(line)
        group = self._groups.add(line)
        if group is None or group.is_probe:
            return None
        known = self._known.get(group)
        if known is None:
            known = self._known[group] = Known(next(self._keys), group)
            if len(self._known) > _MOST_CALLS:
                self._forget_one()
        _trim(group, line)
        known.changed = True
        return known

    def insert(self, lines: Iterable[Line]) -> list[Line]:
        """Remember lines that other processes noted, each at its place; those that are new."""
        fresh = []
        for line in lines:
            group, is_new = self._groups.insert(line)
            if not is_new:
                continue
            fresh.append(line)
            if group is None or group.is_probe:
                continue
            if group not in self._known:
                self._known[group] = Known(next(self._keys), group)
            self._known[group].changed = True
            _trim(group, line)
        for log, tail in self.tails.items():
            own = [line for line in fresh if line["log"] == log]
            if own:
                self.tails[log] = deque(sorted([*tail, *own], key=_time), maxlen=_MOST_TAIL)
        self._drop_merged()
        if len(self._known) > _MOST_CALLS:
            self._known = dict(sorted(self._known.items(), key=lambda one: _time(one[0].lines[0])))
            for _ in range(len(self._known) - _MOST_CALLS):
                self._forget_one()
        return fresh

    def lines_but_of(self, nodes: Container[str]) -> list[Line]:
        """The lines that are remembered, but of some processes; call by call, the latest last.

        Of 10,000 at most.
        """
        lines = list(self._groups.loose)
        for known in sorted(self.all(), key=lambda one: _time(one.group.lines[0])):
            lines += known.group.lines
        return [line for line in lines[-_MOST_TOLD:] if line.get("node") not in nodes]

    def hear(self, event: CallEvent) -> None:
        """Remember who calls whom."""
        call = event.call
        told = {
            "direction": call.direction,
            "from": call.from_number,
            "to": call.to_number,
            "status": call.status,
        }
        self.introduce(call.id, told)

    def introduce(self, call_id: str, parties: Parties) -> None:
        """Remember who calls whom, as far as *parties* says."""
        told = {name: excerpt(str(parties[name]), _LONGEST) for name in _TOLD if parties.get(name)}
        self._parties[call_id] = {**self._parties.pop(call_id, {}), **told}
        if len(self._parties) > _MOST_CALLS:
            del self._parties[next(iter(self._parties))]

    def parties_of(self, call_ids: Iterable[str]) -> dict[str, Parties]:
        """Who calls whom, of some calls, as far as it is remembered."""
        return {one: self._parties[one] for one in call_ids if one in self._parties}

    def find(self, wanted: str) -> Known | None:
        """The call that has *wanted* among its ids."""
        group = self._groups.find(wanted)
        return self._known.get(group) if group is not None else None

    def reconsider(self, wanted: str) -> None:
        """Conclude anew of a call what no line tells: that a stream of it is open no more."""
        known = self.find(wanted)
        if known is not None:
            known.changed = True

    def reconsider_all(self) -> None:
        """Conclude anew of every call, since a process came or went."""
        for known in self._known.values():
            known.changed = True

    def all(self) -> list[Known]:
        """All remembered calls, the first heard of first."""
        self._drop_merged()
        return list(self._known.values())

    def look(self, known: Known) -> dict[str, Any]:
        """The card of a call as it is now, concluded anew where something may have changed."""
        if known.card is None or known.changed or not known.settled:
            self._conclude(known)
        assert known.card is not None
        return known.card

    def changes(self, *, unsettled: bool) -> list[dict[str, Any]]:
        """The cards that differ from what this told last.

        Asks the calls that have new lines; with *unsettled* also those that time alone can change.
        Of many only some at a time, for the loop has other things to do: who was asked last waits.
        """
        cards = []
        calls = self.all()
        due = [known for known in calls if known.changed or (unsettled and not known.settled)]
        for known in sorted(due, key=lambda known: known.turn)[:_MOST_AT_ONCE]:
            self._conclude(known)
        for known in calls:
            card, told, known.told = known.card, known.told, known.card
            if card is not None and card is not told and card != told:
                cards.append(card)
        return cards

    def _conclude(self, known: Known) -> None:
        evidence = self._evidence(known.group)
        live = any(self._is_live(stream) for stream in known.streams)
        now = datetime.fromtimestamp(self._clock(), timezone.utc)
        over = is_over(evidence, live=live, now=now)
        known.explanation = explanation_of(evidence, over=over)
        known.card = card_of(
            evidence,
            self._parties.get(known.group.call_id or "", {}),
            key=known.key,
            live=live,
            over=over,
            gone=self._gone(evidence),
            explanation=known.explanation,
        )
        # While a stream is open, whatever changes is told by a line; afterwards time may do it.
        known.changed, known.settled, known.turn = False, over or live, next(self._turns)

    def _gone(self, evidence: Evidence) -> str | None:
        """The process that took a stream of the call with it; None where none did."""
        told = {line.get("stream_id") for line in evidence.of("streams", "account")}
        for line in evidence.of("streams", "open"):
            stream, node = line.get("stream_id"), line.get("node")
            if node is None or stream in told or self._is_live(str(stream)):
                continue
            if self._is_gone(str(node)):
                return str(node)
        return None

    def _evidence(self, group: Group) -> Evidence:
        """What `explain` would find in the files, as far as it is remembered."""
        self._drop_merged()
        groups = list(self._known)
        if group.call_id is None or not group.has_answer:
            wanted = group.ids
            groups = join_by_time(groups)
            group = next(one for one in groups if wanted <= one.ids)
        return self._groups.evidence(group, groups)

    def _drop_merged(self) -> None:
        """Drop the calls that have turned out to be parts of others."""
        for group in [group for group in self._known if not group.lines]:
            del self._known[group]

    def _forget_one(self) -> None:
        """Forget the call that was heard of first, of those without an open stream."""
        self._drop_merged()
        idle = (
            group
            for group, known in self._known.items()
            if not any(self._is_live(stream) for stream in known.streams)
        )
        group = next(idle, None)
        if group is not None and len(self._known) > _MOST_CALLS:
            del self._known[group]
            self._groups.forget(group)


def _trim(group: Group, line: Line) -> None:
    """Keep the lines of a call few; *line* is new."""
    lines = group.lines
    if line["what"] == "progress":
        stream = line.get("stream_id")
        newest = True
        for place in range(len(lines) - 1, -1, -1):
            if lines[place]["what"] == "progress" and lines[place].get("stream_id") == stream:
                if not newest:
                    del lines[place]
                    break
                newest = False
    if len(lines) > _MOST_LINES:
        del lines[_KEPT_FIRST]


def _time(line: Line) -> str:
    return str(line["time"])
