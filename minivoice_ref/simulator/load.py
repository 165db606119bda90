"""Many calls at once: when each begins, how many at a time, and how all of them end.

    Load.run
    ├─ the metronome      wakes up and notes how late it was: the simulator's own clock
    └─ the calls' nursery
       ├─ the arrivals    one after another, by chance (Poisson) or evenly
       └─ a task for each call (`call.py`), at most `at_once`

Calls arrive as a clock says and not when others are over: a receiver in trouble gets no less to do.
Only `at_once` bounds them. Where it is reached the next call waits for a place, later ones begin at
once until the clock is caught up with, and the report says how many had to wait.

It must not know sockets, nor how figures are shown. Read next: `load_report.py`,
`load_progress.py`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.net.connect import Connector
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.load_report import LoadReport
from minivoice_ref.simulator.speech import packaged_voice

__all__ = ["Load", "LoadPlan", "Progress"]

_BEAT = 0.011
"""Seconds between two wake-ups of the metronome: no divisor of a frame's 20 ms, so that it does not
always wake before, or always behind, the frames of the same streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A load: `calls` calls like `call`, `rate` a second, each with a seed of its own.

    `faults_on` is the percentage of calls that have the faults of `call`; the others have none.
    Calls arrive by chance unless `steady`; the same `seed` makes them arrive at the same times.
    Raises ConfigError with everything about it that cannot work.
    """

    call: CallPlan
    calls: int = 100
    rate: float = 10.0
    steady: bool = False
    faults_on: float = 100.0
    at_once: int = 5000
    seed: int | None = None

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ConfigError(problems)


def _problems(plan: LoadPlan) -> Iterator[Problem]:
    for name in ("calls", "at_once"):
        if getattr(plan, name) < 1:
            yield Problem(name, f"{getattr(plan, name)} is below 1", "it counts calls")
    if not (math.isfinite(plan.rate) and plan.rate > 0):
        yield Problem("rate", f"{plan.rate!r} is not a positive number", "it counts calls a second")
    if not 0 <= plan.faults_on <= 100:
        yield Problem("faults_on", f"{plan.faults_on!r} is not a percentage", "give 0 to 100")
    elif plan.faults_on < 100 and not plan.call.faults:
        yield Problem("faults_on", "there are no faults to have", "name some with --fault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a load has come, `elapsed` seconds after it began.

    A call rings until it has a stream. `frames` have left so far; `lateness` is the sum of how late
    they were, `worst` the most that one was, in seconds.
    """

    elapsed: float
    planned: int
    ringing: int
    streaming: int
    done: int
    failed: int
    frames: int
    lateness: float
    worst: float


@dataclass(slots=True, eq=False)
class _Placed:
    """A call that goes on. `interrupted`: the load was ended before it had a stream with audio."""

    number: int
    handle: CallHandle
    with_fault: bool
    interrupted: bool = False

    @property
    def streaming(self) -> bool:
        return any(stream.opened for stream in self.handle.streams)

    @property
    def too_young(self) -> bool:
        """Whether it cannot be judged yet: a stream of its own is still to come, or to speak."""
        streams = self.handle.streams
        return not streams or any(not (one.lateness.count or one.ended) for one in streams)


class Load:
    """One load: `run` it in a task; `progress` and `hang_up` from another."""

    def __init__(self, plan: LoadPlan, connect: Connector) -> None:
        self.report = LoadReport(planned=plan.calls, rate=plan.rate)
        self._plan = plan
        self._connect = connect
        self._random = random.Random(plan.seed)
        self._places = trio.Semaphore(plan.at_once)
        self._placed: set[_Placed] = set()
        self._arrivals = trio.CancelScope()
        self._calls = trio.CancelScope()
        self._began = trio.current_time()

    async def run(self) -> LoadReport:
        """Place all calls and return what came of them, when the last one is over.

        If cancelled, the streams are closed with 1001 and the calls left undone.
        """
        for role in ("caller", "agent"):
            packaged_voice(role)  # read now, or the first call would make its own beginning late
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            with self._calls:
                async with trio.open_nursery() as calls:
                    with self._arrivals:
                        await self._arrive(calls)
            nursery.cancel_scope.cancel()
        self._give_up_the_rest()
        self.report.seconds = trio.current_time() - self._began
        return self.report

    def hang_up(self) -> None:
        """End the load now, properly: no more calls begin, in those that go on the callers hang up.

        `run` then returns within `timeouts.grace` seconds and the time that goodbyes take.
        """
        self.report.ended_early = True
        self._arrivals.cancel()
        self._calls.deadline = trio.current_time() + self._plan.call.timeouts.grace
        for placed in self._placed:
            placed.interrupted = placed.too_young
            placed.handle.hang_up()

    def progress(self) -> Progress:
        """How far it has come. Takes some microseconds for each call that goes on."""
        report, frames = self.report, self.report.frames
        live = [stream.lateness for p in self._placed for stream in p.handle.streams]
        streaming = sum(placed.streaming for placed in self._placed)
        return Progress(
            elapsed=trio.current_time() - self._began,
            planned=report.planned,
            ringing=len(self._placed) - streaming,
            streaming=streaming,
            done=report.asked - len(self._placed) - report.failed,
            failed=report.failed,
            frames=frames.count + sum(lateness.count for lateness in live),
            lateness=frames.total + sum(lateness.total for lateness in live),
            worst=max(frames.maximum, *(lateness.maximum for lateness in live), 0.0),
        )

    async def _beat(self) -> None:
        """Do nothing but be on time, and note how well that goes.

        One wake-up serves all beats that have gone by: with one for each, a loop whose turns take
        longer than a beat would fall behind more and more, and its debt would pass for lateness.
        """
        due = trio.current_time() + _BEAT
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            while due <= now:
                self.report.clock.add(now - due)
                due += _BEAT

    async def _arrive(self, nursery: trio.Nursery) -> None:
        plan, due = self._plan, trio.current_time()
        await trio.lowlevel.checkpoint()
        for number in range(plan.calls):
            await trio.sleep_until(due)
            if self._places.value == 0:
                self.report.held_up += 1
            await self._places.acquire()
            if self.report.ended_early:  # meanwhile, and nobody would hang up a call begun now
                return
            self.report.arrivals.add(trio.current_time() - due)
            self._begin(nursery, number)
            due += 1 / plan.rate if plan.steady else self._random.expovariate(plan.rate)

    def _begin(self, nursery: trio.Nursery, number: int) -> None:
        # Spread evenly over the calls, so that 10 percent of 20 calls are 2 calls.
        share, faults = self._plan.faults_on / 100, self._plan.call.faults
        with_fault = bool(faults) and math.floor((number + 1) * share) > math.floor(number * share)
        seed = self._random.getrandbits(63)
        plan = replace(self._plan.call, seed=seed, faults=faults if with_fault else ())
        placed = _Placed(number, CallHandle(), with_fault)
        self._placed.add(placed)
        self.report.asked += 1
        self.report.with_faults += with_fault
        nursery.start_soon(self._place, placed, plan)

    async def _place(self, placed: _Placed, plan: CallPlan) -> None:
        report = await place_call(plan, connect=self._connect, handle=placed.handle)
        self._placed.remove(placed)
        self._places.release()
        self.report.count(report, with_fault=placed.with_fault, interrupted=placed.interrupted)

    def _give_up_the_rest(self) -> None:
        """Count the calls that did not end within the grace."""
        grace = self._plan.call.timeouts.grace
        for placed in self._placed:
            self.report.blame(
                "call_completed",
                f"the call did not end within {grace:g} s of being hung up",
                f"the {placed.number + 1}. call",
                with_fault=placed.with_fault,
            )
        self._placed.clear()
