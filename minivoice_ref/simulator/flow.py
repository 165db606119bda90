"""The call flow: the action list, run in order, and the lists that redirects bring.

Each action leaves a line that says what became of it: accepted, rejected, failed or skipped, and
why. What an action does to the list stands in the table of the actions (`effect`); what it does to
the call, in `executors.py`.

Between the actions the two parties speak: for the plan's `speak` seconds before each `stop_stream`,
and for as long again when the list is over. A `transfer`, `bridge` or `conference` ends the list,
and they speak for `talk` seconds. Then the caller hangs up, or before that, where the plan says so
or whoever holds the call's handle. An action that fails ends the flow and fails the call (an
assumption: `failing_action`).

It must not know sockets or webhooks: streams are tasks of their own, in the call's nursery.

Facts: MiniVoice documentation, actions and media streams.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from minivoice_ref.protocol.actions import ACTIONS, Action, CheckedAnswer
from minivoice_ref.simulator.executors import EXECUTORS, Done, speak
from minivoice_ref.simulator.live import LiveCall
from minivoice_ref.simulator.report import ActionResult, Outcome
from minivoice_ref.simulator.speech import TICK

__all__ = ["CallFlow"]


class CallFlow:
    """Runs the actions of one call. `failure` says which one failed the call; None: none did."""

    def __init__(self, call: LiveCall) -> None:
        self.results: list[ActionResult] = []
        self.failure: str | None = None
        self._call = call
        self._list = 0  # the number of the list that is run, from 0
        self._over: str | None = None  # why nothing of the list is run any more
        self._left = False  # the list was ended by an action that hands the caller on

    def reject(self, checked: CheckedAnswer) -> None:
        """Leave a line for each action of a list that is not run because it has faults."""
        for index, name in enumerate(checked.types):
            problems = checked.problems_of(index)
            if problems:
                faults = "; ".join(map(str, problems))
                self._record(index, name or "not readable", "rejected", faults)
            else:
                self._record(index, name or "not read", "skipped", "the list has faults elsewhere")

    async def run(self, nursery: trio.Nursery, actions: Sequence[Action]) -> None:
        """Run *actions* until the list is over and the caller hangs up; streams run in *nursery*.

        The streams that are open then stay open. Cancellation stops the flow where it is.
        """
        async with trio.open_nursery() as clock:
            clock.start_soon(self._hang_up_in_time)
            following: Sequence[Action] | None = actions
            while following is not None:
                following = await self._run_list(nursery, following)
                self._list += following is not None
            if self.failure is None:
                await self._end()
            clock.cancel_scope.cancel()

    async def _run_list(
        self, nursery: trio.Nursery, actions: Sequence[Action]
    ) -> Sequence[Action] | None:
        """Run one list; return the one to go on with, if an action has brought one."""
        following: Sequence[Action] | None = None
        self._over = None
        for index, action in enumerate(actions):
            if self._over is None and self._call.hung_up:
                self._over = "the caller had hung up"
            if self._over is not None:
                self._record(index, action.type, "skipped", self._over)
                continue
            done = await EXECUTORS[action.type](self._call, nursery, action)
            self._record(index, action.type, done.outcome, done.detail)
            self._note_effect(index, action, done)
            following = done.actions
        await trio.lowlevel.checkpoint()
        return following

    def _note_effect(self, index: int, action: Action, done: Done) -> None:
        """See to what *action* has done to its list."""
        if done.rejected is not None and done.rejected.checked is not None:
            self._list += 1
            self.reject(done.rejected.checked)
            self._list -= 1
        if done.outcome == "failed":
            assumptions = self._call.context.plan.assumptions
            if assumptions.failing_action == "fails_call":
                self.failure = f"{action.type} failed: {done.detail}"
                self._over = f"not run after the failure of actions[{index}]"
        elif ACTIONS[action.type].ends_list or done.actions is not None:
            self._over = f"not run after {action.type}"
            self._left = ACTIONS[action.type].ends_list

    async def _end(self) -> None:
        """Let the parties speak for the rest of the call, and the caller hang up."""
        plan, call = self._call.context.plan, self._call
        seconds = plan.speak if plan.talk is None or not self._left else plan.talk
        await speak(call, seconds)
        call.handle.hang_up()
        call.context.note("platform", "the caller hangs up")

    async def _hang_up_in_time(self) -> None:
        """Have the caller hang up at the latest when it is time: between two frames, as `speak`."""
        plan = self._call.context.plan
        after = plan.timeouts.longest_stream if plan.hang_up_after is None else plan.hang_up_after
        await self._call.wait(after - TICK / 2)
        self._call.handle.hang_up()

    def _record(self, index: int, type: str, outcome: Outcome, detail: str) -> None:
        result = ActionResult(index, type, outcome, detail, self._list)
        self.results.append(result)
        self._call.context.note("platform", str(result))
