"""The action `gather`: the caller's keys, one after the other, until there are enough.

What ends it, and what `call.gathered` says of it, is documented. How many keys are enough is an
assumption (`gather_enough` and `gathered_counts` in the table of them), and so are the words of the
status (`gathered…` in `assumptions.py`). What the caller does is the plan's to say: one key after
each `key_every`, once the prompt is over, while neither party speaks; keys that one gather does not
take are pressed in the next one.

Fact: MiniVoice documentation, actions: `gather`, and webhooks: `call.gathered`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import trio

from minivoice_ref.protocol.actions import Action
from minivoice_ref.simulator.digits import pauses
from minivoice_ref.simulator.live import LiveCall

__all__ = ["gather"]

_Ending: TypeAlias = Literal["enough", "finish_key", "timeout", "hangup"]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a gather asks for; `timeout` is in seconds."""

    least: int
    most: int
    enough: int
    timeout: float
    finish_on_key: str | None

    @classmethod
    def by(cls, action: Action, patience: float) -> _Wanted:
        """What *action* asks for, with *patience* as the timeout where it names none."""
        given = action.parameters
        least, most, count = (
            value if isinstance(value := given.get(name), int) else None
            for name in ("min_digits", "max_digits", "num_digits")
        )
        if count is not None:
            enough = count
        elif most is not None:
            enough = most
        else:
            enough = max(1, least or 0)
        seconds = given.get("timeout_seconds")
        key = given.get("finish_on_key")
        return cls(
            1 if least is None else least,
            enough if most is None else most,
            enough,
            seconds if isinstance(seconds, int) else patience,
            None if key is None else str(key),
        )


async def gather(call: LiveCall, nursery: trio.Nursery, action: Action) -> str:
    """Gather keys as *action* says and tell of it; what came of it, in words."""
    plan = call.context.plan
    wanted = _Wanted.by(action, plan.assumptions.gather_timeout)
    prompt = action.get("prompt")
    if prompt:
        await call.say(str(prompt))
    call.audio.listen(call.tick)
    digits, ending = await _collect(call, wanted)
    call.audio.go_on(call.tick)
    data = _data(call, wanted, digits, ending)
    call.tell(nursery, "call.gathered", data)
    return f"{len(digits)} digits, {data['status']} ({ending.replace('_', ' ')})"


async def _collect(call: LiveCall, wanted: _Wanted) -> tuple[str, _Ending]:
    """What the caller presses until the gather ends, and what ended it."""
    plan = call.context.plan
    silent = pauses(plan.assumptions)
    digits, over = "", trio.current_time() + wanted.timeout
    while True:
        key = call.keys[:1]
        pause = silent.get(key, plan.key_every) if key else float("inf")
        if not await call.wait_until(min(over, trio.current_time() + pause)):
            return digits, "hangup"
        if trio.current_time() >= over:
            return digits, "timeout"
        call.keys = call.keys[1:]
        if key in silent:
            continue
        call.press(key)
        finishes = key == wanted.finish_on_key
        if not finishes or plan.assumptions.gather_keeps_finish_key:
            digits += key
        if finishes or len(digits) >= wanted.enough:
            await call.wait(plan.assumptions.digit_seconds)  # the key is let go of
            return digits, "finish_key" if finishes else "enough"
        if plan.assumptions.gather_timeout_restarts:
            over = trio.current_time() + wanted.timeout


def _data(call: LiveCall, wanted: _Wanted, digits: str, ending: _Ending) -> Mapping[str, object]:
    """The documented data of `call.gathered`; the words of `status` are assumed."""
    assumptions = call.context.plan.assumptions
    status = {"timeout": assumptions.gathered_timeout, "hangup": assumptions.gathered_hangup}.get(
        ending, assumptions.gathered
    )
    if ending == "finish_key" and len(digits) < wanted.least:
        status = assumptions.gathered_too_few
    return {
        "digits": digits,
        "status": status,
        "timed_out": ending == "timeout",
        "min_digits": wanted.least,
        "max_digits": wanted.most,
        "timeout_seconds": wanted.timeout,
        "finish_on_key": wanted.finish_on_key,
    }
