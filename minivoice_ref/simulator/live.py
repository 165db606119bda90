"""A call while its actions run: what they act upon, and how long they may wait.

Every wait of the flow is cut short when the caller hangs up: `wait` for time that passes, and
`unless_hung_up` for everything else.

It must not know the action list, nor any action by name. Read next: `executors.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

import trio

from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.digits import key_ticks, presses, tone
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.say import spoken
from minivoice_ref.simulator.sender import StreamSender
from minivoice_ref.simulator.speech import TICK, CallAudio, CallTrack

__all__ = ["LiveCall", "Tell", "unless_hung_up"]

_T = TypeVar("_T")
_BOTH: frozenset[CallTrack] = frozenset(("inbound", "outbound"))


class Tell(Protocol):
    """Has an event delivered, in a task of the nursery."""

    def __call__(
        self, nursery: trio.Nursery, name: str, data: Mapping[str, object] | None = None
    ) -> None: ...


async def unless_hung_up(handle: CallHandle, work: Callable[[], Awaitable[_T]]) -> _T | None:
    """The result of *work*; None where the caller hung up first, and *work* was cancelled."""
    result: _T | None = None

    async def leave() -> None:
        await handle.hung_up.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        result = await work()
        nursery.cancel_scope.cancel()
    return result


class LiveCall:
    """What is so on a call at the moment. `info` is the call's object, `tell` sends an event."""

    def __init__(
        self,
        context: CallContext,
        audio: CallAudio,
        handle: CallHandle,
        info: Callable[[], CallInfo],
        tell: Tell,
    ) -> None:
        self.context = context
        self.audio = audio
        self.handle = handle
        self.info = info
        self.tell = tell
        self.streams: list[StreamSender] = []
        self.held = False
        self.muted: frozenset[CallTrack] = frozenset()
        self.lists = 1  # action lists so far, this one counted
        self.recording: tuple[str, float] | None = None  # its id, and when it began
        self.keys = context.plan.digits  # what the caller has not pressed yet

    @property
    def hung_up(self) -> bool:
        """Whether the caller has gone."""
        return self.handle.hung_up.is_set()

    @property
    def tick(self) -> int:
        """The tick of the call's audio that it is."""
        return self.audio.tick_at(self.context.elapsed())

    async def wait(self, seconds: float) -> bool:
        """Let *seconds* of the call pass; False where the caller hung up first."""
        return await self.wait_until(trio.current_time() + seconds)

    async def wait_until(self, moment: float) -> bool:
        """Wait until *moment* of Trio's clock; False where the caller hung up first."""
        with trio.move_on_at(moment):
            await self.handle.hung_up.wait()
        return not self.hung_up

    async def hear(self, seconds: float) -> str:
        """Let *seconds* of a sound pass; how much of it was heard, in words."""
        began = trio.current_time()
        if await self.wait(seconds):
            return f"{seconds:g} s"
        heard = min(seconds, trio.current_time() - began)
        return f"{heard:.2f} of {seconds:g} s (the caller hung up)"

    async def say(self, text: str) -> str:
        """Have the agent's track carry *text* as long as it takes; what was heard, in words."""
        voice = await unless_hung_up(self.handle, partial(spoken, text, self.context))
        tick = self.tick
        ticks = self.audio.say(text, tick) if voice is None else self.audio.speak(voice, tick)
        words = f", the words by {voice.name}" if voice is not None else ""
        return f"the agent's track carried speech for {await self.hear(ticks * TICK)}{words}"

    def press(self, key: str) -> None:
        """Have the caller press *key*: its tone on the inbound track, its message in the streams.

        A stream says it where its dialect has a message for it, and as `digits_told` assumes.
        """
        ticks = key_ticks(self.context.plan.assumptions)
        self.audio.cover("inbound", tone(key, ticks), self.tick)
        for stream in self.streams:
            if not stream.ended:
                stream.send_digit(key, "inbound", round(ticks * TICK * 1000))

    def play_keys(self, digits: str, pause: float) -> float:
        """Have the outbound track carry the tones of *digits* after a *pause*; the seconds of all.

        Longer than all of the call they need not be: they end with it.
        """
        assumptions = self.context.plan.assumptions
        pressed, seconds = presses(digits, assumptions)
        now = self.context.elapsed() + pause
        for press in pressed:
            sound = tone(press.key, key_ticks(assumptions))
            self.audio.cover("outbound", sound, self.audio.tick_at(now + press.after))
        return pause + seconds

    def silence(self) -> None:
        """Let be heard what is not held and not muted."""
        silent = self.muted
        if self.held:
            held = self.context.plan.assumptions.hold_silences
            silent |= {track for track in _BOTH if held in (track, "both")}
        self.audio.silence(silent, self.tick)

    def end_recording(self, nursery: trio.Nursery, outcome: str) -> None:
        """End the recording that runs and tell of it: `completed`, or `failed`."""
        if self.recording is not None:
            name, began = self.recording
            self.recording = None
            seconds = round(self.context.elapsed() - began, 3)
            data = {"recording_id": name, "duration_seconds": seconds}
            self.tell(nursery, f"recording.{outcome}", data)
