"""Hands accepted webhooks to the application: later, again if need be, each of them once.

The platform has its 2xx already when this worker begins, so a slow or failing `on_event` holds up
nobody but itself. Several calls are worked on at once, but of one call only one event at a time. A
failing event is tried again after 1, 2, 4 … up to 300 seconds, and other events pass it in the
meantime; after as many tries as the setting `event_attempts` allows it is set aside.

*Once* means: as soon as `on_event` has returned that is noted (`returned.py`), then the row is
marked, and nothing is handed over twice while this process lives. If it is killed inside
`on_event`, or in the instant until the note is written, the event comes again after the restart: an
application that must not see this keeps `event.key`.

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
from minivoice_ref.receiver.inbox import Inbox, InboxFailed, WaitingEvent
from minivoice_ref.receiver.journal import Journal, told_of
from minivoice_ref.receiver.returned import SLOTS, Returned

__all__ = ["OnEvent", "Worker"]

OnEvent: TypeAlias = Callable[[CallEvent], Awaitable[None]]

_FIRST_RETRY, _LONGEST_RETRY = 1.0, 300.0
_DATABASE_RETRY = 1.0
_MOMENT = 5.0  # seconds; SQLite gives up sooner by itself
_TIDY_EVERY = 3600.0
_LONGEST_NAME = 400  # characters of an event's name that the log quotes


class Worker:
    """Takes events out of an inbox and hands them to *on_event*.

    An event is tried at most *attempts* times. *clock* tells Unix seconds, because what is due must
    survive a restart. *returned* is what the last process knew, and is told what this one does.
    """

    def __init__(
        self,
        inbox: Inbox,
        returned: Returned,
        on_event: OnEvent,
        journal: Journal,
        *,
        clock: Callable[[], float],
        attempts: int,
    ) -> None:
        self._inbox = inbox
        self._returned = returned
        self._slots = list(range(SLOTS))
        self._on_event = on_event
        self._journal = journal
        self._clock = clock
        self._attempts = attempts
        self._busy: set[str] = set()
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

    async def run(self) -> None:
        """Work until `stop`.

        Cancelled, it cancels the handlers, whose events stay waiting for the next start.
        """
        tidy_at = trio.current_time()
        await self._insist(partial(self._inbox.recognise, self._returned.knows))
        async with trio.open_nursery() as nursery:
            while not self._stopping:
                self._news = trio.Event()
                if trio.current_time() >= tidy_at:
                    tidy_at = trio.current_time() + _TIDY_EVERY
                    nursery.start_soon(self._insist, self._inbox.forget_handled)
                wait = await self._begin_what_is_due(nursery)
                if not await self._inbox_is_well():
                    wait = _DATABASE_RETRY
                with trio.move_on_after(min(wait, _TIDY_EVERY)):
                    await self._news.wait()

    async def _begin_what_is_due(self, nursery: trio.Nursery) -> float:
        """Start a handler for each event that is due; return the seconds until to look again."""
        await trio.lowlevel.checkpoint()
        while len(self._busy) < SLOTS and not self._stopping:
            try:
                event = await self._inbox.first_waiting(self._busy)
            except InboxFailed:
                return _DATABASE_RETRY
            if event is None:
                break
            wait = event.due - self._clock()
            if 0 < wait <= _LONGEST_RETRY:  # beyond that a clock was set back: it is due
                return wait
            self._busy.add(event.call_id)
            nursery.start_soon(self._handle, event)
        return _TIDY_EVERY

    async def _handle(self, waiting: WaitingEvent) -> None:
        """Hand one event over, and mark what came of it."""
        slot = self._slots.pop()
        try:
            began = trio.current_time()
            failure = await self._try(waiting, slot)
            attempt = waiting.attempts + 1
            note = partial(
                self._journal.note,
                "webhooks",
                call_id=waiting.call_id,
                event=excerpt(waiting.event, _LONGEST_NAME),
                attempt=attempt,
                seconds=round(trio.current_time() - began, 3),
            )
            if failure is None:
                await self._insist(partial(self._inbox.handled, waiting.number))
                note("handled")
                return
            told = told_of(failure)
            error = self._journal.without_secrets(told["error"])
            note = partial(note, level=logging.ERROR, **told)
            if attempt >= self._attempts:
                await self._insist(partial(self._inbox.set_aside, waiting.number, error))
                note("set_aside", code="MV-609")
                return
            wait = min(_FIRST_RETRY * 2**waiting.attempts, _LONGEST_RETRY)
            due = self._clock() + wait
            await self._insist(partial(self._inbox.failed, waiting.number, error, due))
            note("failed", code="MV-608", again_in=wait)
        finally:
            self._busy.discard(waiting.call_id)
            self._slots.append(slot)
            self.look()

    async def _try(self, waiting: WaitingEvent, slot: int) -> Exception | None:
        """Call the application and return what it raised, None where it did not.

        A wall: an event whose handling fails is tried again, whatever the failure.
        """
        try:
            event = read_event(waiting.body)
            await self._on_event(event)
            await self._returned.note(slot, event.key)
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
        if self._inbox.trouble is not None:
            with suppress(InboxFailed):
                await self._inbox.check()
            self._tell_inbox()
        return self._inbox.trouble is None

    def _tell_inbox(self) -> None:
        """Log when the inbox begins to fail and when it works again, not every time."""
        trouble = self._inbox.trouble
        if (trouble is None) != (self._trouble is None):
            if trouble is None:
                self._journal.note("webhooks", "inbox", why="works again")
            else:
                level = logging.ERROR
                self._journal.note("webhooks", "inbox", level=level, code="MV-704", why=trouble)
        self._trouble = trouble
