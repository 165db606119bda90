"""What the parts of one call share: the plan, the way out, the call's clock and its moments.

The call has one clock, Trio's: wall-clock time is read once, when the call begins, and every time
of the call is that plus what Trio's clock has counted since. So the times in webhooks, signatures
and the timeline agree with each other, and virtual time is virtual for all of them.

It must not know what the parts do with it. Read next: `flow.py`, `sender.py`, `delivery.py`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import trio

from minivoice_ref.net.connect import Connector
from minivoice_ref.simulator.fault import Finding
from minivoice_ref.simulator.plan import CallPlan
from minivoice_ref.simulator.report import Moment, Who

__all__ = ["CallContext"]


class CallContext:
    """One call's plan, connector, clock, chance and moments. Make it inside `trio.run`."""

    def __init__(
        self,
        plan: CallPlan,
        connect: Connector,
        observe: Callable[[Moment], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plan = plan
        self.connect = connect
        self.moments: list[Moment] = []
        self.findings: list[Finding] = []
        self.webhooks_tried: list[trio.Event] = []  # set when each was sent for the first time
        self.random = random.Random(plan.seed)
        self._observe = observe
        self._zero = trio.current_time()
        self._began = datetime.fromtimestamp(clock(), timezone.utc)
        self.call_id = plan.call_id or self._new_call_id()

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return trio.current_time() - self._zero

    def now(self) -> datetime:
        """The time of day, UTC."""
        return self._began + timedelta(seconds=self.elapsed())

    def note(self, who: Who, text: str) -> None:
        """Keep a moment and show it to whoever observes the call."""
        moment = Moment(self.elapsed(), who, text)
        self.moments.append(moment)
        self._observe(moment)

    def find(self, finding: Finding) -> None:
        """Keep what a fault of the plan has brought to light about the other side."""
        self.findings.append(finding)
        self.note(finding.who, str(finding))

    async def wait_webhooks_tried(self) -> None:
        """Wait until each webhook so far was sent once, accepted or not."""
        await trio.lowlevel.checkpoint()
        for tried in list(self.webhooks_tried):
            await tried.wait()

    def new_stream_digits(self) -> str:
        """The hexadecimal digits of a new stream's id; how it is written says the dialect."""
        return self.random.randbytes(16).hex()

    def _new_call_id(self) -> str:
        """A call's id of the documented look, `call_20260529T120000.000000000`.

        The digits below a microsecond are chance: calls that begin together get different ids.
        """
        return f"call_{self._began:%Y%m%dT%H%M%S.%f}{self.random.randrange(1000):03}"
