"""What a receiver shares with its neighbours: workers of one machine, or nodes of a cluster.

It is little. Events that were accepted: kept before they are acknowledged, each handled by one
process at a time. Which calls have ended, so that their streams close wherever they are. Which
streams are live, for the limits of a call and of a token. How the neighbours are.

Three ways to share it, and nobody above this seam knows which one there is:

    inbox.py        an SQLite file, ours alone: the only process there is
    neighbours.py   the same file, shared by the processes of one machine (`--workers`)
    cluster.py      Redis, shared by as many machines as there are (`--cluster`)

This module holds the seam and knows none of the three. Read next: `inbox.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from minivoice_ref.config import Limits
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.calls import Calls, usable_call_id

__all__ = [
    "AT_ONCE",
    "LONGEST_RETRY",
    "Commons",
    "Doubt",
    "InboxFailed",
    "SharedStream",
    "Tell",
    "WaitingEvent",
    "end_of_call",
]

AT_ONCE = 8
"""How many events a process works on at once."""

LONGEST_RETRY = 300.0
"""The longest that an event is put off, in seconds."""

Tell: TypeAlias = Callable[[], Mapping[str, Any]]
"""Says how this process is, for its neighbours: what `/health` shows of it."""

Doubt: TypeAlias = Callable[[str], None]
"""Hears why what was accepted may get lost all the same."""


class InboxFailed(MiniVoiceError):
    """What is shared cannot be had: a disk full or damaged, no memory, Redis away."""


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event that was taken, to be handled by whoever took it. *attempt* counts from 1.

    *claim* tells the commons which taking of it this was, where they have to know.
    """

    id: str
    call_id: str
    event: str
    body: bytes
    attempt: int
    claim: int = 0


@dataclass(frozen=True, slots=True)
class SharedStream:
    """A live stream, as the neighbours see it: its id, whose it is, what its token's digest is.

    *subject* is empty for a stream of nobody's, *token* for one without a token; *node* is where
    it is. *expires_at* (Unix seconds) is when the token does.
    """

    stream_id: str
    subject: str
    token: str
    node: str = ""
    expires_at: float = 0.0

    @staticmethod
    def digest(token: str | None) -> str:
        """What stands for a token where it is shared: the token itself opens streams."""
        return "" if token is None else hashlib.sha256(token.encode()).hexdigest()[:32]


class Commons(Protocol):
    """The seam. Whatever waits for a disk or for Redis raises InboxFailed where that fails.

    `trouble` then says so, until something could be stored again. `others` has what each living
    neighbour said last of itself, by its name.
    """

    node: str
    others: Mapping[str, Mapping[str, Any]]

    @property
    def trouble(self) -> str | None:
        """Why nothing can be stored; None where it can."""

    async def recover(self) -> None:
        """Free what is claimed by those who died; what they had handled is marked. Comes first."""

    async def accept(self, event: CallEvent, body: bytes) -> bool:
        """Keep an event as it came; return whether it is new. When this returns, it is safe.

        Where it ends its call, the neighbours hear of that, also from a duplicate.
        """

    async def take(self) -> WaitingEvent | float:
        """An event that is due and of a call that nobody is busy with; it is now ours.

        Where there is none: the seconds until one is due, as far as that is known.
        """

    async def returned(self, event: WaitingEvent, key: str) -> None:
        """Note that the application is done with the event of ours that has this *key*.

        Sooner than `handled` can, which comes next, and without fail: cancellation does not stop
        it, and where it cannot be noted there is no harm done.
        """

    async def handled(self, event: WaitingEvent) -> None:
        """Note that an event of ours was handled."""

    async def failed(self, event: WaitingEvent, error: str, wait: float) -> None:
        """Note that handling failed, and that it is to be tried again in *wait* seconds."""

    async def set_aside(self, event: WaitingEvent, error: str) -> None:
        """Note that an event is not to be tried again until a person has looked at it."""

    async def tidy(self) -> None:
        """Forget what was remembered for long enough."""

    async def check(self) -> None:
        """Write something, to see whether that can be done again after a trouble."""

    async def enter(self, stream: SharedStream, limits: Limits) -> int:
        """Say that a stream is here; return how many its token has opened by now, itself included.

        Raises TooMany where it is over a limit of its call or its token, wherever the others are.
        """

    def leave(self, stream: SharedStream) -> None:
        """Say that it is gone. Does not wait; the neighbours hear of it soon."""

    async def streams(self) -> Sequence[SharedStream]:
        """The live streams of all nodes."""

    async def run(self, calls: Calls, look: Callable[[], None], tell: Tell, doubt: Doubt) -> None:
        """Hear from the neighbours, for ever: end *calls* that have ended elsewhere.

        *look* is called when there may be events to take.
        """


def end_of_call(event: CallEvent) -> tuple[str, str] | None:
    """The call that an event ends and its last status; None where it ends none that has a name."""
    call_id = usable_call_id(event.call.id)
    if not event.ends_call or call_id is None:
        return None
    return call_id, event.call.status or event.event
