"""What each of the fifteen actions does to the call: a function each, entered in `EXECUTORS`.

What an action does to its list stands in the table of the actions (`effect`), and `flow.py` sees to
it. A function here returns what became of its action: accepted, failed, or, of a `redirect`, the
list to go on with.

Facts: MiniVoice documentation, actions and media streams. What it leaves open is in
`assumptions.py` where it can be changed, and else in the table of assumptions (`nothing_to_do`,
`end_on_exit`, `stop_matches`, `recording_data`). Read next: `gathering.py`, the longest of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import trio

from minivoice_ref.protocol.actions import STREAM_ACTION_ACCEPTED, Action
from minivoice_ref.protocol.redaction import redact_url
from minivoice_ref.simulator.asking import Asked, Method, ask
from minivoice_ref.simulator.gathering import gather
from minivoice_ref.simulator.live import LiveCall, unless_hung_up
from minivoice_ref.simulator.report import Outcome
from minivoice_ref.simulator.sender import StreamSender
from minivoice_ref.simulator.speech import TICK, CallTrack

__all__ = ["EXECUTORS", "Done", "speak"]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an action; of a `redirect`, also the list to go on with.

    `rejected` is the faulty list that a redirect brought.
    """

    outcome: Outcome
    detail: str
    actions: Sequence[Action] | None = None
    rejected: Asked | None = None


Executor: TypeAlias = Callable[[LiveCall, trio.Nursery, Action], Awaitable[Done]]


async def speak(call: LiveCall, seconds: float) -> float:
    """Let the parties speak for *seconds*, less half a frame: none is due in the instant of a stop.

    So the number of frames is the same each time: 50 a second and track, of a stream that was
    accepted at once. Returns when the half frame will be over as well, by Trio's clock.
    """
    over = trio.current_time() + seconds
    await call.wait_until(over - TICK / 2)
    return over


async def _say(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    if call.context.plan.say_fails:
        await trio.lowlevel.checkpoint()
        return Done("failed", "playback failed, as the plan wants it")
    return Done("accepted", await call.say(str(action.get("text"))))


async def _gather(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    return Done("accepted", await gather(call, nursery, action))


async def _send_digits(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    pause = action.get("pause_before_ms")
    before = pause / 1000 if isinstance(pause, int) else 0.0
    seconds = call.play_keys(str(action.get("digits")), before)
    heard = f"{seconds:g} s"
    if call.context.plan.assumptions.send_digits_waits:
        heard = await call.hear(seconds)
    else:
        await trio.lowlevel.checkpoint()
    return Done("accepted", f"tones and pauses on the outbound track: {heard}")


async def _redirect(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    """Fetch another list: non-2xx, bad JSON or bad actions, and the redirect fails."""
    assumptions = call.context.plan.assumptions
    allowed = action.get("max_redirects")
    most, follow = assumptions.most_lists, assumptions.http_redirects
    if isinstance(allowed, int) and assumptions.redirects_counted == "http":
        follow = allowed
    elif isinstance(allowed, int):
        most = min(most, allowed + 1)
    if call.lists >= most:
        await trio.lowlevel.checkpoint()
        return Done("failed", f"{call.lists} action lists so far, and no more than {most} are run")
    url = str(action.get("url"))
    method: Method = "POST" if action.get("method") == "POST" else "GET"
    work = partial(ask, call.context, call.info(), url, method, redirects=follow)
    asked = await unless_hung_up(call.handle, work)
    if asked is None:
        return Done("accepted", "the caller hung up before the answer came")
    if asked.actions is None:
        return Done("failed", asked.why_not, rejected=asked)
    call.lists += 1
    return Done("accepted", f"the call goes on with the list of {redact_url(url)}", asked.actions)


async def _leave(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    """Transfer and bridge: somebody else talks with the caller."""
    await trio.lowlevel.checkpoint()
    return _left(call, f"the call goes on with {action.get('destination')}")


async def _conference(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    if action.get("mute") is True and call.context.plan.assumptions.conference_mutes:
        call.muted |= {"inbound"}
        call.silence()
    return _left(call, f"the caller is in the room {action.get('room')}")


def _left(call: LiveCall, where: str) -> Done:
    if not call.context.plan.assumptions.streams_after_transfer:
        for stream in call.streams:
            stream.stop()
    return Done("accepted", f"{where} until the caller hangs up")


async def _hold(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    already = "; it was held already" if call.held else ""
    call.held = True
    call.silence()
    return Done("accepted", f"the call is held{already}")


async def _resume(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    if not call.held:
        return Done("failed", "the call is not held")
    call.held = False
    call.silence()
    return Done("accepted", "the call is held no longer")


async def _mute(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    call.muted |= _tracks(call, action)
    return _heard(call)


async def _unmute(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    call.muted -= _tracks(call, action)
    return _heard(call)


def _tracks(call: LiveCall, action: Action) -> frozenset[CallTrack]:
    """The tracks that a direction means, which is an assumption."""
    read: CallTrack = call.context.plan.assumptions.read_track
    write: CallTrack = "outbound" if read == "inbound" else "inbound"
    return frozenset(
        {"read": (read,), "write": (write,)}.get(str(action.get("direction")), (read, write))
    )


def _heard(call: LiveCall) -> Done:
    call.silence()
    return Done("accepted", f"muted: {' and '.join(sorted(call.muted)) or 'nothing'}")


async def _start_recording(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    if call.recording is not None:
        return Done("accepted", f"{call.recording[0]} is running already")
    name = f"rec_{call.context.random.randbytes(8).hex()}"
    call.recording = name, call.context.elapsed()
    call.tell(nursery, "recording.started", {"recording_id": name})
    return Done("accepted", f"{name} has begun")


async def _stop_recording(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    await trio.lowlevel.checkpoint()
    if call.recording is None:
        return Done("accepted", "no recording is running")
    name = call.recording[0]
    outcome = "failed" if call.context.plan.recording_fails else "completed"
    call.end_recording(nursery, outcome)
    return Done("accepted", f"{name} {outcome}")


async def _start_stream(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    url = str(action.get("stream_url"))
    track = str(action.get("track") or call.context.plan.default_track)
    stream = StreamSender(call.context, call.audio, url, track)
    call.streams.append(stream)
    await trio.lowlevel.checkpoint()
    nursery.start_soon(stream.run)
    return Done("accepted", STREAM_ACTION_ACCEPTED)


async def _stop_stream(call: LiveCall, nursery: trio.Nursery, action: Action) -> Done:
    """Stop what matches by URL and by track, each only where given; a miss is not an error."""
    over = await speak(call, call.context.plan.speak)
    url, track = action.get("stream_url"), action.get("track")
    matching = [
        stream
        for stream in call.streams
        if not stream.ended and url in (None, stream.url) and track in (None, stream.track)
    ]
    for stream in matching:
        stream.stop()
    await call.wait_until(over)
    missed = "" if matching else "; no open stream matches it"
    return Done("accepted", STREAM_ACTION_ACCEPTED + missed)


EXECUTORS: Mapping[str, Executor] = {
    "say": _say,
    "gather": _gather,
    "send_digits": _send_digits,
    "redirect": _redirect,
    "transfer": _leave,
    "bridge": _leave,
    "conference": _conference,
    "hold": _hold,
    "resume": _resume,
    "mute": _mute,
    "unmute": _unmute,
    "start_recording": _start_recording,
    "stop_recording": _stop_recording,
    "start_stream": _start_stream,
    "stop_stream": _stop_stream,
}
"""All fifteen, by the action's name."""
