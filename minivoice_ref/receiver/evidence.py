"""Reads the three logs back, and finds the lines that belong to one call.

The logs are files, so anything may stand in them: a last line that a killed process tore, lines of
another program, lines of another version. What is no line of ours is counted and left out.

Three ids tie lines together: the call's, the answer's, the stream's. Lines that share one belong to
one call, whichever end named it first. An answer that was asked for without a call id, and whose
stream never came, has nothing to tie it but its time. Nor has a refusal: who is refused is nobody
yet. So lines without ids are *loose*: those of the call's time are evidence where something of the
call is missing, and only there.

Pure: lines in, lines out. Whoever reads the files has all lines at once (`gather`); whoever watches
a receiver adds them to `Groups` as they come. Read next: `explain.py`, which answers from them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from minivoice_ref.receiver.journal import LOGS, Log

__all__ = ["Evidence", "Group", "Groups", "Line", "NoSuchCall", "gather", "join_by_time"]
__all__ += ["is_line", "read_lines", "when"]

Line: TypeAlias = Mapping[str, Any]
"""One line of a log as `journal.py` wrote it: at least `time`, `log` and `what`."""

_IDS = ("call_id", "answer_id", "stream_id")
_BEFORE = timedelta(seconds=5)  # a loose line this long before a call may be of it
_AFTER = timedelta(seconds=30)  # or this long after: retries of a webhook are among them


class NoSuchCall(LookupError):
    """No line has the id. `known` are the latest calls that there are, the latest last."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__("no such call")
        self.known = tuple(known)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The lines of one call, and the loose ones of its time, each in the order of their times.

    `name` is the call's id, or another of its ids where it has none. `by_time` says that some of
    `lines` are taken to be of this call by their time alone.
    """

    name: str | None
    lines: tuple[Line, ...]
    loose: tuple[Line, ...] = ()
    by_time: bool = False

    def of(self, log: Log, *whats: str, loose: bool = False) -> list[Line]:
        """The lines of a log, of some kinds or of all; the *loose* ones instead."""
        lines = self.loose if loose else self.lines
        return [
            line for line in lines if line["log"] == log and (not whats or line["what"] in whats)
        ]


def when(line: Line) -> datetime:
    """The time of a line."""
    return datetime.fromisoformat(line["time"])


def read_lines(texts: Iterable[str | bytes]) -> tuple[list[Line], int]:
    """The lines among *texts* that are ours, by time, and how many are not."""
    lines, foreign = [], 0
    for text in texts:
        line = _read(text)
        if line is not None:
            lines.append(line)
        elif text.strip():
            foreign += 1
    lines.sort(key=when)
    return lines, foreign


def _read(text: str | bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if is_line(line) else None


def is_line(document: Any) -> bool:
    """Whether a document is a line of ours."""
    try:
        if document["log"] not in LOGS or not isinstance(document["what"], str):
            return False
        has_zone = when(document).tzinfo is not None
    except (ValueError, TypeError, KeyError):
        return False
    return has_zone and all(isinstance(document.get(name, ""), str) for name in _IDS)


@dataclass(slots=True, eq=False)
class Group:
    """Lines that belong together, in the order of their times. `ids` are (name, value) pairs."""

    ids: set[tuple[str, str]] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    by_time: bool = False

    @property
    def call_id(self) -> str | None:
        """The call's id; None where no line names it."""
        return next((value for name, value in sorted(self.ids) if name == "call_id"), None)

    @property
    def name(self) -> str:
        """The call's id, or another of its ids where it has none."""
        return self.call_id or min(self.ids)[1]

    @property
    def began(self) -> datetime:
        """When its first line was noted."""
        return when(self.lines[0])

    @property
    def ended(self) -> datetime:
        """When its last line was noted."""
        return when(self.lines[-1])

    @property
    def is_probe(self) -> bool:
        """Whether it is a webhook of `doctor`, whose call ids begin so, and no call."""
        return (self.call_id or "").startswith("call_doctor_")

    @property
    def has_answer(self) -> bool:
        """Whether a line of the answers' log is among its lines."""
        return any(line["log"] == "answers" for line in self.lines)

    def joined(self, other: Group) -> Group:
        """A new group of the lines of both, which only their time joins."""
        lines = sorted([*self.lines, *other.lines], key=when)
        return Group(self.ids | other.ids, lines, by_time=True)


class Groups:
    """Lines as they come, put together where they share ids; and the loose ones, which have none.

    It keeps every group until it is told to `forget` it, and every loose line that fits in
    *most_loose* (None: all).
    """

    def __init__(self, lines: Iterable[Line] = (), *, most_loose: int | None = None) -> None:
        self._by_id: dict[tuple[str, str], Group] = {}
        self.loose: deque[Line] = deque(maxlen=most_loose)
        for line in lines:
            self.add(line)

    def add(self, line: Line) -> Group | None:
        """Add a line, not before earlier ones; return its group, None for a loose line.

        Where the line shows that two groups are one, the group returned has taken in the others,
        which are left without lines.
        """
        ids = _ids(line)
        if not ids:
            self.loose.append(line)
            return None
        joined = {id(self._by_id[one]): self._by_id[one] for one in ids if one in self._by_id}
        group, *others = joined.values() if joined else [Group()]
        for other in others:
            group.lines = sorted([*group.lines, *other.lines], key=when)
            group.ids |= other.ids
        group.lines.append(line)
        if others or not ids <= group.ids:
            group.ids |= ids
            self._by_id.update((one, group) for one in group.ids)
        for other in others:
            other.lines = []
        return group

    def insert(self, line: Line) -> tuple[Group | None, bool]:
        """Add a line from elsewhere, which may be earlier than others, or be there already.

        Returns its group, as `add` does, and whether it is new.
        """
        found = (self._by_id[one] for one in _ids(line) if one in self._by_id)
        group = next(found, None)
        if line in (self.loose if group is None else group.lines):
            return group, False
        group = self.add(line)
        if group is not None:
            group.lines.sort(key=lambda line: str(line["time"]))
        return group, True

    def forget(self, group: Group) -> None:
        """Drop a group with all its lines."""
        for one in group.ids:
            self._by_id.pop(one, None)

    def find(self, wanted: str) -> Group | None:
        """The group that has *wanted* among its ids, as a call's rather than as another's."""
        found = (self._by_id.get((name, wanted)) for name in _IDS)
        return next((group for group in found if group is not None), None)

    def all(self) -> list[Group]:
        """All groups; the latest begun comes last."""
        groups = list({id(group): group for group in self._by_id.values()}.values())
        return sorted(groups, key=lambda group: group.began)

    def evidence(self, group: Group, others: Iterable[Group]) -> Evidence:
        """The evidence of one group, as it stands among all the *others*."""
        ended = group.ended
        after = [began for other in others if (began := other.began) > ended]
        until = min([ended + _AFTER, *after])
        # What is doubtful about the settings is said once, when the receiver starts.
        since = group.began - _BEFORE
        near = [
            line
            for line in self.loose
            if when(line) <= until and (when(line) >= since or line["what"] == "settings")
        ]
        return Evidence(group.name, tuple(group.lines), tuple(near), group.by_time)


def gather(lines: Sequence[Line], wanted: str | None = None) -> Evidence:
    """The evidence of the call *wanted*, by any of its ids; without one, of the call begun last.

    *lines* are in the order of their times. Where no line has any id at all, the evidence is all of
    them, and of no call. Raises NoSuchCall.
    """
    found = Groups(lines)
    groups = join_by_time(found.all())
    if wanted is not None:
        groups_wanted = [group for group in groups if wanted in {value for _, value in group.ids}]
        if not groups_wanted:
            raise NoSuchCall([group.name for group in groups[-5:]])
        group = groups_wanted[-1]
    elif groups:
        # What `doctor` asked is no call, unless there is nothing else.
        group = next((group for group in reversed(groups) if not group.is_probe), groups[-1])
    else:
        return Evidence(None, (), tuple(found.loose))
    return found.evidence(group, groups)


def join_by_time(groups: Iterable[Group]) -> list[Group]:
    """Give an answer that names no call to the one call that was going on then, if it was one.

    Returns new groups where that is so, by the times of their beginnings; *groups* stay as they
    are.
    """
    groups = sorted(groups, key=lambda group: group.began)
    calls = [group for group in groups if group.call_id is not None]
    found = [call for call in calls if call.has_answer]
    coming = deque(_Span.of(call) for call in calls if not call.has_answer)
    around: list[_Span] = []
    for group in groups:
        if group.call_id is not None:
            continue
        while coming and coming[0].since <= group.began:
            around.append(coming.popleft())
        found += [span.call for span in around if span.until < group.began]
        around = [span for span in around if span.until >= group.began]
        if len(around) != 1:
            found.append(group)
        elif (call := around[0].call.joined(group)).has_answer:
            found.append(call)
            around = []
        else:
            around = [_Span.of(call)]
    found += [span.call for span in (*around, *coming)]
    return sorted(found, key=lambda group: group.began)


class _Span(NamedTuple):
    """A call without an answer, and from when until when one may have been asked for it."""

    call: Group
    since: datetime
    until: datetime

    @classmethod
    def of(cls, call: Group) -> _Span:
        return cls(call, call.began - _BEFORE, call.ended + _BEFORE)


def _ids(line: Line) -> set[tuple[str, str]]:
    return {(name, line[name]) for name in _IDS if line.get(name)}
