"""What is known of each call, from whichever end it was first heard of.

A call reaches us by three ways that know nothing of each other: the platform asks `answer_url`,
opens a media stream, delivers webhooks, in any order. The ways meet here, and only for one
purpose so far: a stream ends when its call has.

The stream tokens that our answers mint carry a *subject*, which says whose stream it is: the
call's id where the platform named it when it asked, else an id that we gave the answer. A call id
in a stream's start message is used where the token names none; the token wins, because it is
ours.

This module knows neither sockets nor files, and its one Trio object is the event that a call has
ended. Ids are hostile input: they are compared and logged, and never become part of a file's name.
Read next: `app.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import trio

from minivoice_ref.protocol.signing import LONGEST_SUBJECT

__all__ = [
    "CallRecord",
    "Calls",
    "Subject",
    "new_answer_id",
    "new_stream_id",
    "usable_call_id",
]

Source: TypeAlias = Literal["answer", "stream", "webhook"]

_LONGEST_ID = LONGEST_SUBJECT - len("call:")


def usable_call_id(value: object) -> str | None:
    """*value* where it can serve as a call's id: printable, and not longer than a token can carry.

    MiniVoice documents the look of its ids, `call_` and a time, and promises nothing about it.
    """
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable():
        return value
    return None


def new_answer_id() -> str:
    """An id for one answer of ours, unlike any other."""
    return f"answer_{secrets.token_hex(8)}"


def new_stream_id() -> str:
    """An id for one stream connection, unlike any other and safe in a file's name."""
    return f"stream_{secrets.token_hex(6)}"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose stream a token admits: a call's where its id was known, else an answer's."""

    call_id: str | None = None
    answer_id: str | None = None

    def __str__(self) -> str:
        """The form that stands in the token."""
        return f"call:{self.call_id}" if self.call_id is not None else f"answer:{self.answer_id}"

    @classmethod
    def from_token(cls, text: str) -> Subject:
        """Read the subject of a token; a text without one of our prefixes is a call id."""
        kind, colon, value = text.partition(":")
        if colon and kind == "answer":
            return cls(answer_id=value)
        return cls(call_id=value if colon and kind == "call" else text)


@dataclass(slots=True, eq=False)
class CallRecord:
    """What is known of one call. `ended` is set once it has, and then `status` says how.

    `streams` counts its live streams; while there are any, the call is not forgotten.
    """

    call_id: str
    heard_from: Source
    ended: trio.Event = field(default_factory=trio.Event)
    status: str | None = None
    streams: int = 0


class Calls:
    """The calls that were heard of, at most *limit* of them.

    When full, the call that ended longest ago is forgotten first, then the one heard of longest
    ago. A call with a live stream is never forgotten: its stream waits for its end. `on_stream` is
    called with the call of each stream that begins and may have ended elsewhere.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._going: dict[str, CallRecord] = {}
        self._ended: dict[str, CallRecord] = {}
        self.on_stream: Callable[[str], None] = lambda call_id: None

    def __len__(self) -> int:
        return len(self._going) + len(self._ended)

    def heard(self, call_id: str, source: Source) -> CallRecord:
        """The record of a call, a new one when this is the first that is heard of it."""
        record = self._going.get(call_id) or self._ended.get(call_id)
        if record is None:
            while len(self) >= self._limit and self._forget_one():
                pass
            record = self._going[call_id] = CallRecord(call_id, source)
        if source == "stream" and not record.ended.is_set():
            self.on_stream(call_id)
        return record

    def with_streams(self) -> list[str]:
        """The calls whose streams wait for their end."""
        return [call_id for call_id, record in self._going.items() if record.streams]

    def end(self, call_id: str, status: str) -> None:
        """Note that a call has ended. A second end of the same call changes nothing."""
        record = self.heard(call_id, "webhook")
        if record.ended.is_set():
            return
        self._ended[call_id] = self._going.pop(call_id)
        record.status = status
        record.ended.set()

    def _forget_one(self) -> bool:
        """Forget a call; false where every one has a stream."""
        for records in (self._ended, self._going):
            idle = next((record for record in records.values() if not record.streams), None)
            if idle is not None:
                del records[idle.call_id]
                return True
        return False
