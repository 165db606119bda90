"""The faults of one stream, or of one call's webhooks, as their owner calls them: all at once.

Only the hooks that a fault overrides are called, so that a stream without faults, or without those
of one kind, pays nothing for them 50 times a second.

In whatever order a plan names its faults, they act in that of the catalogue, and the chance of each
hangs on its own name alone: so the same faults do the same.

It must not know what any fault does. Read next: `sender.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from minivoice_ref.config import Timeouts
from minivoice_ref.net.connect import Connector
from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.media import Track, WireMessage
from minivoice_ref.simulator.fault import FAULTS, Fault, Finding, Kind, Line, Seal, StreamCut

__all__ = ["FaultSet"]


def _turn(fault: Fault) -> tuple[int, float]:
    """When *fault* acts among others: a smaller one acts before."""
    names = list(FAULTS)
    return names.index(fault.name) if fault.name in FAULTS else len(names), fault.value


class FaultSet:
    """Armed faults. Where several act on the same thing, it is in the order of the catalogue."""

    def __init__(
        self, faults: Iterable[Fault], chance: str, find: Callable[[Finding], None]
    ) -> None:
        self._faults: list[Fault] = []
        twins = Counter[str]()  # of two with one name each has its own chance
        for fault in sorted(faults, key=_turn):
            self._faults.append(fault.arm(f"{chance} {twins[fault.name]}", find))
            twins[fault.name] += 1
        self._find = find
        self._cut = False
        self._delaying = self._with("delay")
        self._losing = self._with("loses")
        self._altering = self._with("alter_messages")
        self._at_tick = self._with("at_tick")

    def _with(self, hook: str) -> list[Fault]:
        """Those that override *hook*."""
        own = [f for f in self._faults if getattr(type(f), hook) is not getattr(Fault, hook)]
        return own

    def tell_unseen(self, encoder: type[Encoder]) -> None:
        """Report which faults no receiver can know of in what *encoder* writes."""
        for fault in self._faults:
            why = fault.unseen_in(encoder)
            if why is not None:
                fault.found(True, why)

    def alter_url(self, url: str) -> str:
        """See `Fault.alter_url`."""
        for fault in self._faults:
            url = fault.alter_url(url)
        return url

    def alter_timeouts(self, timeouts: Timeouts) -> Timeouts:
        """See `Fault.alter_timeouts`."""
        for fault in self._faults:
            timeouts = fault.alter_timeouts(timeouts)
        return timeouts

    def connector(self, connect: Connector) -> Connector:
        """A connector through *connect* whose byte streams the faults have wrapped."""
        wrapping = self._with("wrap")

        async def wrapped(host: str, port: int, tls: bool) -> trio.abc.Stream:
            stream = await connect(host, port, tls)
            for fault in wrapping:  # the first is next to the wire: it sees what the others made
                stream = fault.wrap(stream)
            return stream

        return wrapped if wrapping else connect

    async def before_stream(self, webhooks_tried: Callable[[], Awaitable[None]]) -> None:
        """See `Fault.before_stream`."""
        await trio.lowlevel.checkpoint()
        for fault in self._with("before_stream"):
            await fault.before_stream(webhooks_tried)

    def start_beside(self, nursery: trio.Nursery, url: str, connect: Connector) -> None:
        """Run each `Fault.beside` in a task of *nursery*."""
        for fault in self._with("beside"):
            nursery.start_soon(fault.beside, url, connect)

    def delay(self, tick: int) -> float:
        """Seconds by which the frames of *tick* leave late."""
        return sum([fault.delay(tick) for fault in self._delaying])

    def loses(self, track: Track, tick: int) -> bool:
        """Whether any fault loses the frame; each is asked, so that none hangs on another."""
        return any([fault.loses(track, tick) for fault in self._losing])

    def alter_messages(
        self, kind: Kind, track: Track | None, messages: Sequence[WireMessage]
    ) -> Sequence[WireMessage]:
        """See `Fault.alter_messages`."""
        for fault in self._altering:
            messages = fault.alter_messages(kind, track, messages)
        return messages

    async def at_tick(self, tick: int, line: Line) -> None:  # noqa: ASYNC910  # as it says
        """See `Fault.at_tick`. No checkpoint where nothing is to be done: it is called often."""
        for fault in self._at_tick:
            await self._unless_cut(fault.at_tick(tick, line))

    async def before_stop(self, line: Line) -> None:
        """See `Fault.before_stop`."""
        await trio.lowlevel.checkpoint()
        for fault in self._with("before_stop"):
            await self._unless_cut(fault.before_stop(line))

    async def after_stop(self, line: Line) -> None:
        """See `Fault.after_stop`."""
        await trio.lowlevel.checkpoint()
        for fault in self._with("after_stop"):
            await self._unless_cut(fault.after_stop(line))

    async def _unless_cut(self, act: Awaitable[None]) -> None:  # noqa: ASYNC910  # as *act* does
        try:
            await act
        except StreamCut:
            self._cut = True
            raise

    async def after(self) -> None:
        """See `Fault.after`."""
        await trio.lowlevel.checkpoint()
        for fault in self._with("after"):
            await fault.after()

    def judge(self, code: int | None, *, as_it_should_be: bool) -> None:
        """See `Fault.judge`. The end of a stream that a fault has cut says nothing of others."""
        for fault in self._faults if not self._cut else ():
            fault.judge(code, as_it_should_be=as_it_should_be)

    def forge(self, seal: Seal, attempt: int) -> Seal:
        """See `Fault.forge`."""
        for fault in self._faults:
            seal = fault.forge(seal, attempt)
        return seal

    def judge_webhook(self, seal: Seal, event: str, status: int) -> None:
        """Report what became of a delivery that was signed with *seal*, if that was forged."""
        if seal.forged_by:
            ok = 400 <= status < 500
            seen = f"{event} was {'refused' if ok else 'answered'} with {status}"
            self._find(Finding(", ".join(seal.forged_by), "webhook", ok, seen))
