"""Hands accepted webhooks to the application: later, again if need be, each of them once.

The platform has its 2xx already when this worker begins, so a slow or failing `on_event` holds up
nobody but itself. Several calls are worked on at once, but of one call only one event at a time. A
failing event is tried again after 1, 2, 4 … up to 300 seconds, and other events pass it in the
meantime; after as many tries as the setting `event_attempts` allows it is set aside.

*Once* means: as soon as `on_event` has returned that is noted (`returned.py`), then the event is
marked, and nothing is handed over twice while this process lives. If it is killed inside
`on_event`, or in the instant until the note is written, the event comes again, after the restart or
at a neighbour: an application that must not see this keeps `event.key`. An event that kills whoever
tries it is set aside after as many attempts.

Read next: `media_stream.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import trio

from minivoice_ref.protocol.redaction import excerpt
from minivoice_ref.protocol.webhooks import CallEvent, read_event
from minivoice_ref.receiver.commons import (
    AT_ONCE,
    LONGEST_RETRY,
    Commons,
    InboxFailed,
    WaitingEvent,
)
from minivoice_ref.receiver.journal import Journal, told_of

__all__ = ["OnEvent", "Worker"]

OnEvent: TypeAlias = Callable[[CallEvent], Awaitable[None]]

_FIRST_RETRY = 1.0  # seconds
_DATABASE_RETRY = 1.0
_MOMENT = 5.0  # seconds; SQLite gives up sooner by itself
_TIDY_EVERY = 3600.0
_LONGEST_NAME = 400  # characters of an event's name that the log quotes


class Worker:
    """Takes events and hands them to *on_event*, each of them *attempts* times at most."""

    def __init__(
        self,
        commons: Commons,
        on_event: OnEvent,
        journal: Journal,
        *,
        attempts: int,
    ) -> None:
        self._commons = commons
        self._on_event = on_event
        self._journal = journal
        self._attempts = attempts
        self._busy = 0
        self._inside: dict[WaitingEvent, float] = {}  # `on_event`; since when, in Trio's time
        self._news = trio.Event()
        self._stopping = False
        self._trouble: str | None = None

    def look(self) -> None:
        """Say that there may be something to do: an event was accepted, or could not be."""
        self._news.set()

    def stop(self) -> None:
        """Begin nothing more. `run` returns when what is being handled has been."""
        self._stopping = True
        self.look()

    @property
    def held_up(self) -> float:
        """For how many seconds nothing could be begun, because `on_event` returns from nothing."""
        if len(self._inside) < AT_ONCE:
            return 0.0
        return trio.current_time() - max(self._inside.values())

    async def run(self) -> None:
        """Work until `stop`.

        Cancelled, it cancels the handlers, whose events stay waiting for the next start.
        """
        tidy_at = trio.current_time()
        await self._insist(self._commons.recover)
        async with trio.open_nursery() as nursery:
            while not self._stopping:
                self._news = trio.Event()
                if trio.current_time() >= tidy_at:
                    tidy_at = trio.current_time() + _TIDY_EVERY
                    nursery.start_soon(self._insist, self._commons.tidy)
                wait = await self._begin_what_is_due(nursery)
                if not await self._inbox_is_well():
                    wait = _DATABASE_RETRY
                with trio.move_on_after(min(wait, _TIDY_EVERY)):
                    await self._news.wait()

    async def _begin_what_is_due(self, nursery: trio.Nursery) -> float:
        """Start a handler for each event that is due; return the seconds until to look again."""
        await trio.lowlevel.checkpoint()
        while self._busy < AT_ONCE and not self._stopping:
            try:
                taken = await self._commons.take()
            except InboxFailed:
                return _DATABASE_RETRY
            if not isinstance(taken, WaitingEvent):
                return taken
            self._busy += 1
            nursery.start_soon(self._handle, taken)
        return _TIDY_EVERY

    async def _handle(self, waiting: WaitingEvent) -> None:
        """Hand one event over, and mark what came of it."""
        try:
            began = trio.current_time()
            failure = await self._try(waiting)
            note = partial(
                self._journal.note,
                "webhooks",
                call_id=waiting.call_id,
                event=excerpt(waiting.event, _LONGEST_NAME),
                attempt=waiting.attempt,
                seconds=round(trio.current_time() - began, 3),
            )
            if failure is None:
                await self._insist(partial(self._commons.handled, waiting))
                note("handled")
                return
            told = told_of(failure)
            error = self._journal.without_secrets(told["error"])
            note = partial(note, level=logging.ERROR, **told)
            if waiting.attempt >= self._attempts:
                await self._insist(partial(self._commons.set_aside, waiting, error))
                note("set_aside", code="MV-609")
                return
            wait = min(_FIRST_RETRY * 2.0 ** (waiting.attempt - 1), LONGEST_RETRY)
            await self._insist(partial(self._commons.failed, waiting, error, wait))
            note("failed", code="MV-608", again_in=wait)
        finally:
            self._busy -= 1
            self.look()

    async def _try(self, waiting: WaitingEvent) -> Exception | None:
        """Call the application and return what it raised, None where it did not.

        A wall: an event whose handling fails is tried again, whatever the failure.
        """
        if waiting.attempt > self._attempts:  # each time, the process was gone before it could say
            await trio.lowlevel.checkpoint()
            return RuntimeError(f"the process ended in each of {self._attempts} attempts")
        try:
            event = read_event(waiting.body)
            key = event.key  # now: the application may change what it is made of
            self._inside[waiting] = trio.current_time()
            try:
                await self._on_event(event)
            finally:
                del self._inside[waiting]
            await self._commons.returned(waiting, key)
        except Exception as exc:
            return exc  # noqa: ASYNC910  # the application has run
        return None

    async def _insist(self, change: Callable[[], Awaitable[None]]) -> None:
        """Make a change in the inbox, every second again until the disk lets us.

        What the application has done must not be forgotten because we are told to end just now, so
        each attempt is shielded, for a moment.
        """
        while True:
            try:
                with trio.move_on_after(_MOMENT, shield=True):
                    return await change()
            except InboxFailed:
                self._tell_inbox()
                self.look()
            await trio.sleep(_DATABASE_RETRY)

    async def _inbox_is_well(self) -> bool:
        """Whether events can be stored. Where they could not be, see whether they can again.

        It is not left to the next webhook to find out: none may come while we say that we are ill.
        """
        await trio.lowlevel.checkpoint()
        self._tell_inbox()
        if self._commons.trouble is not None:
            with suppress(InboxFailed):
                await self._commons.check()
            self._tell_inbox()
        return self._commons.trouble is None

    def _tell_inbox(self) -> None:
        """Log when the inbox begins to fail and when it works again, not every time."""
        trouble = self._commons.trouble
        if (trouble is None) != (self._trouble is None):
            if trouble is None:
                self._journal.note("webhooks", "inbox", why="works again")
            else:
                level = logging.ERROR
                self._journal.note("webhooks", "inbox", level=level, code="MV-704", why=trouble)
        self._trouble = trouble
