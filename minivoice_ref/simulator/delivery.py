"""Webhooks: told in order, signed, and told again until they are accepted.

Each event is a task of its own, so that an endpoint in trouble never holds up the call. First
attempts keep the order of the events: an event waits until the one before it was tried once, not
until it was accepted. Any 2xx accepts; anything else, or no answer at all, is tried again after a
pause that grows, and is longer or shorter by chance, which is seeded. Each attempt is signed anew,
with its own time (an assumption: a signature as old as the first attempt would be refused as stale
by whoever checks its age).

On demand each event is delivered once more after it was accepted (duplicates happen, the
documentation says), and some are held back until the next one was tried (it promises no order).

It must not know calls or streams, nor decide when an event is due: `call.py` does.

Facts: MiniVoice documentation, webhooks. Not documented, hence settings of the plan: the schedule
of retries and how long an attempt may take. That the method is POST is an assumption.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import trio

from minivoice_ref.net.http_client import FetchError, fetch
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.fault import Seal
from minivoice_ref.simulator.fault_set import FaultSet
from minivoice_ref.simulator.report import WebhookReport

__all__ = ["Deliveries"]

_DUPLICATED_WITHIN = 1.0
"""Seconds within which an accepted event is delivered once more, where that is asked for."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of an attempt; without a fault the event was accepted."""

    status: int | None = None
    fault: str | None = None
    seconds: float | None = None


class _Delivery:
    """One event on its way. `held` is set where it waits until the next event was tried.

    `last` is the last attempt, `place` when it was accepted among the call's events, `again` what
    came of the duplicate.
    """

    def __init__(self, event: CallEvent, previous: _Delivery | None, *, held: bool) -> None:
        self.event = event
        self.previous = previous
        self.held = held
        self.tried = trio.Event()
        self.overtaken = trio.Event()
        self.attempts = 0
        self.last = _Outcome()
        self.place: int | None = None
        self.again: _Outcome | None = None

    def report(self) -> WebhookReport:
        last, again = self.last, self.again
        return WebhookReport(
            event=self.event.event,
            attempts=self.attempts,
            status=last.status,
            fault=last.fault,
            seconds=last.seconds,
            place=self.place,
            duplicates=0 if again is None else 1,
            duplicate_status=None if again is None else again.status,
            duplicate_fault=None if again is None else again.fault,
        )


class Deliveries:
    """The webhooks of one call; none are sent where the plan has no `webhook_url`."""

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self._deliveries: list[_Delivery] = []
        self._accepted = 0
        self._faults = FaultSet(context.plan.faults, context.call_id, context.find)
        seed = context.plan.seed
        self._chance = random.Random(None if seed is None else f"{seed} webhooks")

    def send(self, nursery: trio.Nursery, event: CallEvent) -> None:
        """Deliver *event* in a task of *nursery*, which ends when it is accepted or given up."""
        url = self._context.plan.webhook_url
        if url is not None:
            previous = self._deliveries[-1] if self._deliveries else None
            delivery = _Delivery(event, previous, held=self._holds_back())
            self._deliveries.append(delivery)
            self._context.webhooks_tried.append(delivery.tried)
            nursery.start_soon(self._deliver, url, delivery)

    def no_more(self) -> None:
        """Let go of what waits for a next event: there is none."""
        if self._deliveries:
            self._deliveries[-1].overtaken.set()

    def reports(self) -> list[WebhookReport]:
        """What came of each event so far, in the order of the events."""
        return [delivery.report() for delivery in self._deliveries]

    def _holds_back(self) -> bool:
        """Whether the next event is to be overtaken: the first one is, of the others half."""
        first = not self._deliveries
        return self._context.plan.reorder_webhooks and (first or self._chance.random() < 0.5)

    async def _deliver(self, url: str, delivery: _Delivery) -> None:
        await self._wait_for_its_turn(delivery)
        schedule, name = self._context.plan.retries, delivery.event.event
        while True:
            delivery.attempts += 1
            delivery.last = last = await self._attempt(url, delivery.event, delivery.attempts)
            self._tried(delivery)
            if last.fault is None:
                self._accepted += 1
                delivery.place = self._accepted
                self._note_acceptance(name, last)
                return await self._repeat(url, delivery)
            said = f"{name}: {last.fault} (attempt {delivery.attempts} of {schedule.attempts})"
            if delivery.attempts >= schedule.attempts:
                self._context.note("webhook", f"{said}; given up")
                return
            pause = schedule.delay(delivery.attempts, self._chance.random())
            self._context.note("webhook", f"{said}; again in {pause:.3g} s")
            await trio.sleep(pause)

    async def _wait_for_its_turn(self, delivery: _Delivery) -> None:
        await trio.lowlevel.checkpoint()
        if delivery.held:
            await delivery.overtaken.wait()
        elif delivery.previous is not None and not delivery.previous.held:
            await delivery.previous.tried.wait()

    def _tried(self, delivery: _Delivery) -> None:
        """Let those go that waited for the first attempt at *delivery*."""
        delivery.tried.set()
        if delivery.previous is not None:
            delivery.previous.overtaken.set()
            delivery.previous = None  # or each event would keep all before it

    async def _repeat(self, url: str, delivery: _Delivery) -> None:
        """Deliver an accepted event once more, where the plan asks for it."""
        await trio.lowlevel.checkpoint()
        if not self._context.plan.duplicate_webhooks:
            return
        await trio.sleep(self._chance.uniform(0, _DUPLICATED_WITHIN))
        event = delivery.event
        delivery.again = again = await self._attempt(url, event, delivery.attempts + 1)
        name = f"{event.event}, a duplicate"
        if again.fault is None:
            self._note_acceptance(name, again)
        else:
            self._context.note("webhook", f"{name}: {again.fault}; let be")

    async def _attempt(self, url: str, event: CallEvent, attempt: int) -> _Outcome:
        """Try once: the *attempt*-th delivery of *event*, counted from 1."""
        plan, body = self._context.plan, event.encode()
        headers = [("content-type", "application/json")]
        seal = self._faults.forge(
            Seal(plan.webhook_secret or "", int(self._context.now().timestamp())), attempt
        )
        if plan.webhook_secret is not None:
            timestamp = str(seal.timestamp)
            headers.append((TIMESTAMP_HEADER, timestamp))
            headers.append((SIGNATURE_HEADER, sign_webhook(seal.secret, timestamp, body)))
        began = self._context.elapsed()
        try:
            response = await fetch(
                "POST",
                url,
                headers=headers,
                body=body,
                connect=self._context.connect,
                timeouts=plan.timeouts,
                limits=plan.limits,
            )
        except FetchError as exc:
            await trio.lowlevel.checkpoint()
            return _Outcome(fault=str(exc))
        seconds, status = self._context.elapsed() - began, response.status
        self._faults.judge_webhook(seal, event.event, status)
        # Any 2xx accepts an event (MiniVoice documentation, webhooks).
        fault = None if response.ok else f"answered {status}"
        return _Outcome(status, fault, seconds)

    def _note_acceptance(self, name: str, outcome: _Outcome) -> None:
        took = (outcome.seconds or 0.0) * 1000
        self._context.note("webhook", f"{name}: {outcome.status} in {took:.0f} ms")
