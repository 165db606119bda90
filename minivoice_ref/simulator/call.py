"""One test call, from `call.created` to the verdict.

    place_call
    └─ the call's nursery
       ├─ asks the answer_url, checks the answer, runs its actions (`flow.py`)
       ├─ a task for each stream (`sender.py`): its failure ends the stream, never the call
       └─ a task for each webhook (`delivery.py`): an endpoint in trouble holds up nothing

The order of events is: `call.created`; the answer_url is asked; `call.answered` once its answer is
known to be good; the actions; the caller hangs up; streams that are open are stopped and closed;
`call.completed`. Without a good answer: `call.failed` in the place of what follows it. Where an
action fails: `call.failed` in the place of `call.completed`. `call.gathered` and the recording's
events come when their actions have them come.

The documentation names the events and their usual order, and no more. What is assumed beside it is
in the table of assumptions, for example: that `call.answered` waits for a valid answer
(`answered_first`), that the answer_url is asked once and a bad answer fails the call
(`answer_asked_once`), what the data of `call.failed` is (`failure_data`).

It must not know sockets. The way out is a `Connector`, the clock is Trio's. Start reading here,
then `flow.py`, `sender.py`, `delivery.py`, `verdict.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import trio

from minivoice_ref.net.connect import Connector
from minivoice_ref.protocol.redaction import redact_url
from minivoice_ref.protocol.webhooks import CallEvent, CallInfo
from minivoice_ref.simulator.asking import Asked, ask
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.delivery import Deliveries
from minivoice_ref.simulator.flow import CallFlow
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.live import LiveCall, unless_hung_up
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule
from minivoice_ref.simulator.report import CallReport, Moment
from minivoice_ref.simulator.speech import CallAudio, packaged_voice
from minivoice_ref.simulator.verdict import judge

__all__ = ["CallPlan", "RetrySchedule", "place_call"]


def _ignore(_: Moment) -> None:
    """Observe nothing."""


async def place_call(
    plan: CallPlan,
    *,
    connect: Connector,
    observe: Callable[[Moment], None] = _ignore,
    handle: CallHandle | None = None,
    clock: Callable[[], float] = time.time,
) -> CallReport:
    """Place one test call as *plan* says and report what came of it.

    *observe* is called at each moment, in the event loop: it must be quick and must not raise.
    Through *handle* others see its streams and have the caller hang up; one handle is for one call.
    *clock* tells the Unix seconds at which it begins, for tests in virtual time.
    Whatever the other side does is in the report, never an exception. Returns when the streams are
    closed and the webhooks accepted or given up, which the plan's timeouts and retries bound. If
    cancelled, the streams are closed with 1001 and the rest of the call is left undone.
    """
    return await _Call(plan, connect, observe, handle or CallHandle(), clock).run()


class _Call:
    """The state of one call."""

    def __init__(
        self,
        plan: CallPlan,
        connect: Connector,
        observe: Callable[[Moment], None],
        handle: CallHandle,
        clock: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._handle = handle
        # Before the clock of the call runs: the first call of a program reads them from files.
        self._caller = plan.caller or packaged_voice("caller")
        self._agent = plan.agent or packaged_voice("agent")
        self._context = CallContext(plan, connect, observe, clock)
        self._deliveries = Deliveries(self._context)
        self._status = "dialing"

    async def run(self) -> CallReport:
        self._greet()
        async with trio.open_nursery() as nursery:
            self._send(nursery, "call.created")
            if self._plan.answered_first:
                self._answered(nursery)
            asked = await self._ask()
            live = self._live()
            flow = CallFlow(live)
            if asked.actions is None:
                self._fail(nursery, flow, asked)
            else:
                if not self._plan.answered_first:
                    self._answered(nursery)
                await flow.run(nursery, asked.actions)
                await self._complete(nursery, live, flow.failure)
            self._deliveries.no_more()
        return self._report(live, flow, asked)

    async def _ask(self) -> Asked:
        """Ask the answer_url, once."""
        plan = self._plan
        work = partial(ask, self._context, self._call_info(), plan.answer_url, plan.answer_method)
        asked = await unless_hung_up(self._handle, work)
        return asked or Asked(None, "the caller hung up before there was an answer")

    def _live(self) -> LiveCall:
        """The call while its actions run, beginning now, when its parties begin to speak."""
        audio = CallAudio(self._caller, self._agent, begins=self._context.elapsed())
        live = LiveCall(self._context, audio, self._handle, self._call_info, self._send)
        self._handle.streams = live.streams
        return live

    def _greet(self) -> None:
        plan = self._plan
        self._context.note(
            "platform",
            f"call {self._context.call_id}, {plan.direction},"
            f" from {plan.from_number} to {plan.to_number}",
        )
        for name, url in (("answer_url", plan.answer_url), ("webhook_url", plan.webhook_url)):
            if url is not None and not url.startswith("https:"):
                self._context.note(
                    "platform", f"the {name} is not https: MiniVoice would not use it"
                )

    def _answered(self, nursery: trio.Nursery) -> None:
        self._status = "in_progress"
        self._send(nursery, "call.answered")

    def _fail(self, nursery: trio.Nursery, flow: CallFlow, asked: Asked) -> None:
        """End a call that nobody told what to do."""
        if asked.checked is not None:
            flow.reject(asked.checked)
        self._status = "failed"
        self._send(nursery, "call.failed", {"reason": "no valid answer"})

    async def _complete(self, nursery: trio.Nursery, live: LiveCall, failure: str | None) -> None:
        """End the streams that are open, whatever becomes of them, the recording, and the call.

        The wait is bounded by the deadlines of the streams' own steps.
        """
        for stream in live.streams:
            stream.stop()
        await trio.lowlevel.checkpoint()
        for stream in live.streams:
            await stream.finished.wait()
        at_end = self._plan.assumptions.recording_at_end
        if at_end != "none":
            live.end_recording(nursery, "failed" if self._plan.recording_fails else at_end)
        if failure is None:
            self._status = "completed"
            self._send(nursery, "call.completed")
        else:
            self._status = "failed"
            self._send(nursery, "call.failed", {"reason": failure})

    def _send(
        self, nursery: trio.Nursery, name: str, data: Mapping[str, object] | None = None
    ) -> None:
        """Have the event *name* delivered, with the call as it is now."""
        created = name == "call.created"
        self._context.note("platform", name)
        event = CallEvent(
            event=name,
            created_at=self._context.now(),
            call=self._call_info(detailed=created),
            variables=self._plan.variables,
            data={"event_key": f"{self._context.call_id}:{name}"} if created else data or {},
        )
        self._deliveries.send(nursery, event)

    def _call_info(self, *, detailed: bool = False) -> CallInfo:
        """The call's object in the envelope; the first event shows more of it, as documented."""
        plan, extra = self._plan, {}
        if detailed:
            extra = {
                "provider_call_id": f"provider_{self._context.call_id}",
                "route_mode": "answer_url",
                "routing_target": redact_url(plan.answer_url),
            }
        return CallInfo(
            id=self._context.call_id,
            status=self._status,
            direction=plan.direction,
            from_number=plan.from_number,
            to_number=plan.to_number,
            customer_id=plan.customer_id,
            application_id=plan.application_id,
            extra=extra,
        )

    def _report(self, live: LiveCall, flow: CallFlow, asked: Asked) -> CallReport:
        streams = [stream.report() for stream in live.streams]
        webhooks = self._deliveries.reports()
        return CallReport(
            call_id=self._context.call_id,
            steps=judge(
                self._plan,
                asked.checked,
                asked.fault,
                streams,
                webhooks,
                self._context.findings,
                flow.failure,
            ),
            streams=streams,
            webhooks=webhooks,
            actions=flow.results,
            moments=self._context.moments,
            findings=self._context.findings,
            answer_seconds=asked.seconds,
        )
