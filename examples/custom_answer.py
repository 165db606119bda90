"""python examples/custom_answer.py: a call flow that depends on who is calling.

Two decisions that every real answer_url has to take are taken here:

1. What may be heard. The documentation says to choose the narrowest track that solves the
   problem: `inbound` for caller-only analysis, `outbound` for agent audio, `both` for the whole
   conversation. Which one that is depends on the caller, so there is a table; whoever does not
   stand in it is not heard.
2. When to stop listening. A `transfer` ends the list, so nothing can be stopped behind it. The
   caller chooses a department by a key; with the first list over, `redirect` has the platform come
   back for a second one, which stops the stream first and transfers the call then.

The key that was pressed comes with the webhook `call.gathered`, by another road than the request
for the second list, and no order between the two is promised. So that request waits for it: a
moment, and not longer, because an answer_url has to be fast.

It places a test call from each kind of caller at itself. For the platform, put this in the place of
the last lines: trio.run(serve_until_signal, flow.app, Config.from_env()).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import trio

from minivoice_ref import (
    Answer,
    AnswerRequest,
    App,
    CallEvent,
    gather,
    redirect,
    say,
    start_stream,
    stop_stream,
    transfer,
)
from minivoice_ref.rehearsal import Rehearsal, open_rehearsal

#: The track to hear of whom: the longest beginning of a number counts.
HEARD: Mapping[str, Literal["inbound", "outbound", "both"]] = {
    "+1": "inbound",  # customers: what they ask for is to be understood
    "+1555123": "both",  # customers who agreed that the whole conversation is heard
    "+1555900": "outbound",  # our own trainers: how the agent does is all they want to know
}

#: Where each key leads, and who presses none.
DEPARTMENTS = {"1": "+15551230100", "2": "sip:repairs@example.com"}
ANYBODY = "+15551230199"

PATIENCE = 2.0  # seconds that the second list waits for the key
MOST_CALLS = 1000  # keys that are remembered; the oldest is forgotten first


class CallFlow:
    """What is asked of each call, and the keys that were pressed."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._pressed = trio.lowlevel.ParkingLot()
        self.app = App(on_answer=self.on_answer, on_event=self.on_event)

    async def on_answer(self, request: AnswerRequest) -> Answer:
        """The first list or the second: what our own URL says counts, the rest is undocumented."""
        if request.query.get("list") == "second":
            return await self._transfer(request)
        return self._greet(request)

    def _greet(self, request: AnswerRequest) -> Answer:
        """Hear who is to be heard, ask for a key, and have the platform come back."""
        here = dict(request.headers)["host"]
        call = quote(request.call_id or "", safe="")
        greeting = (
            say("One moment, please."),
            gather(prompt="For an order press one, for a repair two.", timeout_seconds=2),
            redirect(f"https://{here}/answer?list=second&call={call}"),
        )
        track = track_for(caller_of(request))
        if track is None:
            return Answer(*greeting)
        return Answer(start_stream(request.stream_url(), track=track), *greeting)

    async def _transfer(self, request: AnswerRequest) -> Answer:
        """Stop listening, then hand the call over. Without a match, stopping does nothing."""
        key = await self._key_of(request.query.get("call", ""))
        return Answer(stop_stream(), transfer(DEPARTMENTS.get(key, ANYBODY)))

    async def _key_of(self, call_id: str) -> str:
        """The key that was pressed; empty if nobody says so in time."""
        with trio.move_on_after(PATIENCE):  # noqa: ASYNC912  # waits only where it has to
            while call_id not in self._keys:
                await self._pressed.park()
        return self._keys.pop(call_id, "")

    async def on_event(self, event: CallEvent) -> None:
        """Note the key, and wake who waits for it."""
        if event.event == "call.gathered":
            self._keys[event.call.id] = str(event.data.get("digits", ""))
            if len(self._keys) > MOST_CALLS:
                self._keys.popitem(last=False)
            self._pressed.unpark_all()


def caller_of(request: AnswerRequest) -> str:
    """The caller's number, in the body's call object, as in the webhooks, or in the query.

    Not documented either, and so it may be missing: then nobody knows who calls.
    """
    call = request.fields.get("call")
    number = call.get("from") if isinstance(call, Mapping) else request.query.get("from")
    return number if isinstance(number, str) else ""


def track_for(number: str) -> Literal["inbound", "outbound", "both"] | None:
    """The track that may be heard of a caller; None where the table does not say."""
    beginnings = [beginning for beginning in HEARD if number.startswith(beginning)]
    return HEARD[max(beginnings, key=len)] if beginnings else None


async def call_from(number: str, digits: str, rehearsal: Rehearsal) -> None:
    """Have *number* call and press *digits*, and show what became of the call."""
    # No speech program: the packaged voice says the prompts, everywhere alike.
    report = await rehearsal.call(
        from_number=number, digits=digits, speak=1, talk=1, speech_programs=()
    )
    lines = [f"{number} presses {digits or 'nothing'}: {report.verdict}"]
    lines += [f"    heard: {stream.track}, {dict(stream.sent)}" for stream in report.streams]
    lines += [f"    {action}" for action in report.actions]
    print("\n".join(lines), flush=True)


async def main() -> None:
    """Serve, and have three callers and a stranger call at once."""
    async with open_rehearsal(CallFlow().app) as rehearsal, trio.open_nursery() as nursery:
        nursery.start_soon(call_from, "+15551230001", "1", rehearsal)
        nursery.start_soon(call_from, "+15554440001", "2", rehearsal)
        nursery.start_soon(call_from, "+15559000001", "", rehearsal)
        nursery.start_soon(call_from, "+442071838750", "1", rehearsal)


if __name__ == "__main__":
    trio.run(main)
