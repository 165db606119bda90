"""Reads the three logs back, and finds the lines that belong to one call.

The logs are files, so anything may stand in them: a last line that a killed process tore, lines of
another program, lines of another version. What is no line of ours is counted and left out.

Three ids tie lines together: the call's, the answer's, the stream's. Lines that share one belong to
one call, whichever end named it first. An answer that was asked for without a call id, and whose
stream never came, has nothing to tie it but its time. Nor has a refusal: who is refused is nobody
yet. So lines without ids are *loose*: those of the call's time are evidence where something of the
call is missing, and only there.

Pure: lines in, lines out. Read next: `explain.py`, which answers from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from minivoice_ref.receiver.journal import LOGS, Log

__all__ = ["Evidence", "Line", "NoSuchCall", "gather", "read_lines", "when"]

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
        if line["log"] not in LOGS or not isinstance(line["what"], str):
            return None
        has_zone = when(line).tzinfo is not None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    ids_are_text = all(isinstance(line.get(name, ""), str) for name in _IDS)
    return line if has_zone and ids_are_text else None


@dataclass(slots=True)
class _Group:
    """Lines that belong together."""

    ids: set[tuple[str, str]] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    by_time: bool = False

    @property
    def call_id(self) -> str | None:
        return next((value for name, value in sorted(self.ids) if name == "call_id"), None)

    @property
    def name(self) -> str:
        return self.call_id or min(self.ids)[1]

    @property
    def began(self) -> datetime:
        return when(self.lines[0])

    @property
    def ended(self) -> datetime:
        return when(self.lines[-1])


def gather(lines: Sequence[Line], wanted: str | None = None) -> Evidence:
    """The evidence of the call *wanted*, by any of its ids; without one, of the call begun last.

    *lines* are in the order of their times. Where no line has any id at all, the evidence is all of
    them, and of no call. Raises NoSuchCall.
    """
    groups = _join_by_time(_groups(lines))
    loose = [line for line in lines if not _ids(line)]
    if wanted is not None:
        groups_wanted = [group for group in groups if wanted in {value for _, value in group.ids}]
        if not groups_wanted:
            raise NoSuchCall([group.name for group in groups[-5:]])
        group = groups_wanted[-1]
    elif groups:
        # What `doctor` asked is no call, unless there is nothing else.
        group = next((g for g in reversed(groups) if not _is_probe(g)), groups[-1])
    else:
        return Evidence(None, (), tuple(loose))
    after = [other.began for other in groups if other.began > group.ended]
    until = min([group.ended + _AFTER, *after])
    # What is doubtful about the settings is said once, when the receiver starts.
    since = group.began - _BEFORE
    near = [
        line
        for line in loose
        if when(line) <= until and (when(line) >= since or line["what"] == "settings")
    ]
    return Evidence(group.name, tuple(group.lines), tuple(near), group.by_time)


def _ids(line: Line) -> set[tuple[str, str]]:
    return {(name, line[name]) for name in _IDS if line.get(name)}


def _is_probe(group: _Group) -> bool:
    """Whether a group is a webhook of `doctor`, whose call ids begin so, and no call."""
    return (group.call_id or "").startswith("call_doctor_")


def _groups(lines: Iterable[Line]) -> list[_Group]:
    """The lines that share ids, directly or by others, in groups; the latest begun comes last."""
    by_id: dict[tuple[str, str], _Group] = {}
    for line in lines:
        ids = _ids(line)
        joined = {id(by_id[one]): by_id[one] for one in ids if one in by_id}
        group, *others = joined.values() if joined else [_Group()]
        for other in others:
            group.lines += other.lines
            group.ids |= other.ids
        group.lines.append(line)
        if others or not ids <= group.ids:
            group.ids |= ids
            by_id.update((one, group) for one in group.ids)
    groups = list({id(group): group for group in by_id.values()}.values())
    for group in groups:
        group.lines.sort(key=when)
    return sorted(groups, key=lambda group: group.began)


def _join_by_time(groups: list[_Group]) -> list[_Group]:
    """Give an answer that names no call to the one call that was going on then, if it was one."""
    named = [group for group in groups if group.call_id is not None]
    left = []
    for group in groups:
        around = [
            call
            for call in named
            if call.began - _BEFORE <= group.began <= call.ended + _BEFORE
            and not any(line["log"] == "answers" for line in call.lines)
        ]
        if group.call_id is None and len(around) == 1:
            call = around[0]
            call.lines = sorted([*call.lines, *group.lines], key=when)
            call.ids |= group.ids
            call.by_time = True
        else:
            left.append(group)
    return sorted(left, key=lambda group: group.began)
