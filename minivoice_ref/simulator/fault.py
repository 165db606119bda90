"""What a fault is: something that goes wrong on purpose, by name, in a call that we place.

A `Fault` in a plan is a value: a name and at most one number. For each stream, and for the webhooks
of each call, it is *armed*: a copy with its own chance and state, so that a thousand calls may
share a plan. The hooks below are all that a fault can do. The sender and the delivery call each of
them at one place and know no fault by name; a fault overrides the few that it needs.

Chance is seeded with the name of the stream, which comes from the plan's seed. So the same seed and
the same faults send the same bytes, whatever else goes on in the program; only the WebSocket's key
and its masks are new each time, since RFC 6455 (sections 4.1 and 5.3) wants them unpredictable.

It must not know calls or plans. Read next: `fault_messages.py`, the simplest ones; `faults.py`, the
catalogue; `fault_set.py`, which the sender holds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, Literal, Self, TypeAlias

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import Connector
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.media import Track, WireMessage

__all__ = [
    "BEGINS",
    "FAULTS",
    "Fault",
    "FaultError",
    "Finding",
    "Kind",
    "Line",
    "Outlook",
    "Seal",
    "StreamCut",
    "worst_outlook",
]

Kind: TypeAlias = Literal["connected", "start", "media", "digit", "stop"]
"""What messages that are about to be sent say."""

BEGINS = 1.0
"""Seconds after the first frame at which a fault strikes that happens once and names no moment."""


class FaultError(MiniVoiceError):
    """There is no such fault, or it cannot have such a value; the message says what can be."""


class StreamCut(MiniVoiceError):
    """A fault has ended the stream on purpose; the message says which and how."""


class Outlook(IntEnum):
    """What a fault means for its stream, from the mildest on; several faults: the worst counts.

    The call goes on and completes in each case (MiniVoice documentation, media streams).
    """

    GOOD = 0
    """It works, and ends as it would without the fault."""

    MAY_FAIL = 1
    """The receiver may refuse or end it, and may as well cope."""

    BREAKS = 2
    """It breaks after it was accepted, whatever the receiver does."""

    REFUSED = 3
    """A good receiver refuses it before the upgrade."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a fault brought to light about the other side: `ok` if it did what `expects` says."""

    fault: str
    who: Literal["stream", "webhook"]
    ok: bool
    seen: str

    def __str__(self) -> str:
        return f"fault {self.fault}: {self.seen}"

    def to_json(self) -> dict[str, object]:
        """The finding as the command line's `--json` prints it."""
        return {"fault": self.fault, "who": self.who, "ok": self.ok, "seen": self.seen}


@dataclass(frozen=True, slots=True)
class Seal:
    """What a webhook's delivery is signed with: the secret, and Unix seconds.

    `forged_by` names the faults that made it wrong.
    """

    secret: str = field(repr=False)
    timestamp: int
    forged_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """An open stream, as far as a fault may lay hands on it.

    `over` is set when the connection has ended. Whoever sets `finished` lets the call go on as if
    the stream were closed already.
    """

    socket: MediaSocket
    over: trio.Event
    finished: trio.Event


FAULTS: dict[str, type[Fault]] = {}
"""Every fault by its name, in the order of their definitions, which is that in which they act."""


class Fault:
    """Something that goes wrong; without a *value* its default. Raises FaultError for a bad one.

    `summary` is its line in the list, with the unit in capitals where the value belongs; `expects`
    says what a good receiver does about it. `unit` is empty where there is no value. `assumed` says
    what of it rests on an assumption, empty where nothing does. `may_end_with` are the codes with
    which a receiver may close a stream that it need not put up with; `may_be_refused` says that it
    may refuse it before.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    expects: ClassVar[str]
    unit: ClassVar[str] = ""
    default: ClassVar[float] = 0.0
    least: ClassVar[float] = 0.0
    most: ClassVar[float] = 3600.0
    whole: ClassVar[bool] = False
    needs_secret: ClassVar[bool] = False
    assumed: ClassVar[str] = ""
    may_end_with: ClassVar[frozenset[int]] = frozenset()
    outlook: Outlook = Outlook.GOOD
    may_be_refused: bool = False

    def __init_subclass__(cls, *, name: str = "") -> None:
        """Enter the fault in the catalogue under *name*; without one it stays out of it."""
        if name:
            cls.name = name
            FAULTS[name] = cls

    def __init__(self, value: float | None = None) -> None:
        self.value = self.default if value is None else value
        self.random = random.Random(0)
        self._find: Callable[[Finding], None] = _tell_nobody
        if value is None:
            return
        if not self.unit:
            raise FaultError(f"{self.name} takes no value")
        number = "a whole number" if self.whole else "a number"
        if (
            not math.isfinite(value)
            or not self.least <= value <= self.most
            or (self.whole and value != int(value))
        ):
            raise FaultError(
                f"{self.name}={value:.10g}: {number} of {self.unit}"
                f" from {self.least:.10g} to {self.most:.10g} is needed"
            )

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """The fault with the value that *text* says; None: its default. Raises FaultError."""
        if text is None:
            return cls()
        try:
            return cls(float(text))
        except ValueError:
            raise FaultError(f"{cls.name}={text}: {text!r} is not a number") from None

    def arm(self, chance: str, find: Callable[[Finding], None]) -> Self:
        """A copy for one stream, or for one call's webhooks, whose chance hangs on *chance*."""
        armed = type(self)(self.value if self.unit else None)
        armed.random = random.Random(f"{chance} {self.name}")
        armed._find = find
        return armed

    def __str__(self) -> str:
        return f"{self.name}={self.value:.10g}" if self.unit else self.name

    def __repr__(self) -> str:
        return f"<Fault {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def found(self, ok: bool, seen: str) -> None:
        """Report what the other side did about it."""
        self._find(Finding(str(self), "stream", ok, seen))

    def happens(self) -> bool:
        """Whether it strikes this time, for a fault whose value is a percentage."""
        return self.random.random() * 100 < self.value

    def unseen_in(self, encoder: type[Encoder]) -> str | None:
        """Why no receiver can know of it in what *encoder* writes; None where one can."""
        return None

    # --- the connection ---

    def alter_url(self, url: str) -> str:
        """The URL to connect to in the place of *url*."""
        return url

    def alter_timeouts(self, timeouts: Timeouts) -> Timeouts:
        """The deadlines of our own side, where the fault takes time."""
        return timeouts

    def wrap(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        """The byte stream to speak through in the place of *stream*, inside TLS."""
        return stream

    async def before_stream(self, webhooks_tried: Callable[[], Awaitable[None]]) -> None:
        """Wait before the stream is opened; *webhooks_tried* waits until each was sent once."""
        await trio.lowlevel.checkpoint()

    async def beside(self, url: str, connect: Connector) -> None:
        """Do something while the stream goes on; the call waits until it is done."""
        await trio.lowlevel.checkpoint()

    # --- what is said, and when ---

    def delay(self, tick: int) -> float:
        """Seconds by which the frames of *tick* leave late; called once for each tick, in order."""
        return 0.0

    def loses(self, track: Track, tick: int) -> bool:
        """Whether a frame is lost before it becomes a message."""
        return False

    def alter_messages(
        self, kind: Kind, track: Track | None, messages: Sequence[WireMessage]
    ) -> Sequence[WireMessage]:
        """What to send in the place of *messages*, which say *kind* (of *track*)."""
        return messages

    async def at_tick(self, tick: int, line: Line) -> None:
        """Act before the frames of *tick* leave. Raises StreamCut once it has ended the stream."""
        await trio.lowlevel.checkpoint()

    # --- the end ---

    async def before_stop(self, line: Line) -> None:
        """Act in the place where the stream is to be stopped. May raise StreamCut."""
        await trio.lowlevel.checkpoint()

    async def after_stop(self, line: Line) -> None:
        """Act before the connection is closed. May raise StreamCut."""
        await trio.lowlevel.checkpoint()

    async def after(self) -> None:
        """Act when the stream is over as far as the call is concerned."""
        await trio.lowlevel.checkpoint()

    def judge(self, code: int | None, *, as_it_should_be: bool) -> None:
        """Report on the end of the stream: its close code, None where it was never open."""
        if self.may_end_with and code is not None:
            if as_it_should_be:
                self.found(True, "the receiver put up with it")
            else:
                self.found(code in self.may_end_with, f"the stream ended with {code}")

    # --- webhooks ---

    def forge(self, seal: Seal, attempt: int) -> Seal:
        """What to sign the *attempt*-th delivery of an event with, counted from 1."""
        return seal


def _tell_nobody(finding: Finding) -> None:
    """What a fault that is not armed has to tell."""
    del finding


def worst_outlook(faults: Iterable[Fault]) -> Outlook:
    """What *faults* together mean for a stream."""
    return max((fault.outlook for fault in faults), default=Outlook.GOOD)
