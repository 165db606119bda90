"""The console's test calls, placed by the simulator at the receiver that the console watches.

Here the two sides meet that know nothing of each other: what the form of the page says becomes a
`CallPlan`, what the simulator sees becomes news for the page. The caller's voice is the packaged
one, or what the browser's microphone hears while the call goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import trio

from minivoice_ref.console.test_calls import Order
from minivoice_ref.net.connect import Connector
from minivoice_ref.protocol.actions import Answer, start_stream
from minivoice_ref.protocol.dialects.detect import DIALECTS
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.receiver.app import AnswerRequest
from minivoice_ref.receiver.doors import Urls
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.faults import FAULTS, parse_fault
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.report import CallReport, Moment
from minivoice_ref.simulator.speech import SILENCE, Voice

__all__ = ["LiveVoice", "SimulatedCalls", "stream_as_ordered"]

_REMEMBERED = 64  # frames that may be asked for again
_TRACK = "console_track"


async def stream_as_ordered(request: AnswerRequest) -> Answer:
    """Answer with one `start_stream`; of the track that a test call asks for in the URL's query."""
    await trio.lowlevel.checkpoint()
    ordered = request.query.get(_TRACK)
    track = ordered if ordered in ("inbound", "outbound", "both") else request.track
    return Answer(start_stream(request.stream_url(), track=track))


@dataclass(frozen=True, slots=True)
class LiveVoice(Voice):
    """A voice that is heard while it speaks: *take* gives its next 20 ms as mu-law.

    Every stream of a call asks for the same ticks, one a little later than another; the latest 64
    are remembered, and what lies before them is silence.
    """

    take: Callable[[], bytes] = field(kw_only=True)
    _heard: dict[int, bytes] = field(default_factory=dict, init=False, repr=False)

    def frame(self, tick: int) -> bytes:
        """The frame at *tick*; the same each time."""
        if tick not in self._heard:
            if self._heard and tick < max(self._heard):
                return SILENCE
            self._heard[tick] = self.take()
            if len(self._heard) > _REMEMBERED:
                del self._heard[min(self._heard)]
        return self._heard[tick]


class SimulatedCalls:
    """Places the console's test calls (`console.TestCaller`).

    *connect* trusts the receiver's certificate. `urls` are the receiver's; without them, which is
    before its doors are open, no call can be placed.
    """

    def __init__(self, connect: Connector, webhook_secret: str | None) -> None:
        self._connect = connect
        self._webhook_secret = webhook_secret
        self.urls: Urls | None = None

    def options(self) -> Mapping[str, Any]:
        """What can be ordered: see `console.TestCaller`."""
        faults = [
            {"name": name, "unit": fault.unit, "default": fault.default, "summary": fault.summary}
            for name, fault in FAULTS.items()
        ]
        return {"dialects": list(DIALECTS), "faults": faults}

    async def place(self, order: Order, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Place a call and tell what happens: see `console.TestCaller`."""
        await trio.lowlevel.checkpoint()
        try:
            plan = self._plan(order)
        except MiniVoiceError as exc:
            return tell({"problem": str(exc)})
        tell({"call_id": plan.call_id})
        handle = CallHandle()

        def observe(moment: Moment) -> None:
            tell({"moment": {"at": moment.at, "who": moment.who, "text": moment.text}})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hang_up, order.hang_up, handle)
            report = await place_call(plan, connect=self._connect, observe=observe, handle=handle)
            nursery.cancel_scope.cancel()
        tell({"report": _told(report)})

    def _plan(self, order: Order) -> CallPlan:
        """The plan of an order. Raises ConfigError and FaultError."""
        if self.urls is None:
            raise MiniVoiceError("the receiver's doors are not open yet")
        caller = None
        if order.microphone is not None:
            caller = LiveVoice("the browser's microphone", (SILENCE,), take=order.microphone.take)
        return CallPlan(
            answer_url=f"{self.urls.answer}?{_TRACK}={order.track}",
            webhook_url=self.urls.webhooks,
            webhook_secret=self._webhook_secret,
            speak=order.speak,
            dialect=order.dialect,
            caller=caller,
            faults=tuple(parse_fault(fault) for fault in order.faults),
            call_id=_new_call_id(),
        )


async def _hang_up(asked: trio.Event, handle: CallHandle) -> None:
    await asked.wait()
    handle.hang_up()


def _new_call_id() -> str:
    """An id of the documented look, `call_20260529T120000.000000000`."""
    return f"call_{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%f}{random.randrange(1000):03}"


def _told(report: CallReport) -> dict[str, Any]:
    return {
        "passed": report.passed,
        "steps": [step.to_json() for step in report.steps],
        "findings": [finding.to_json() for finding in report.findings],
    }
