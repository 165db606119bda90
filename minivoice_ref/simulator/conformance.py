"""The conformance suite: every scenario tried on somebody's application, and judged.

    run_conformance
    ├─ the good call     first, and alone: what it does not show, no other one can
    └─ a task for each trial, at most `jobs` at a time, those that last longest first

It must not know what any scenario proves. Read next: `scenarios.py`, the catalogue, and
`conformance_report.py`, what is made of the results.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import trio

from minivoice_ref.config import ConfigError
from minivoice_ref.net.connect import Connector, FetchError
from minivoice_ref.protocol.dialects.detect import encoders
from minivoice_ref.protocol.errors import LocalProtocolError, Problem
from minivoice_ref.protocol.redaction import redact_url
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.asking import fetch_answer
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.conformance_evidence import CLOSE, RETRIES, Evidence, Judged, Trial
from minivoice_ref.simulator.conformance_report import ConformanceReport, Result
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.handle import CallHandle
from minivoice_ref.simulator.lateness import Lateness
from minivoice_ref.simulator.report import CallReport
from minivoice_ref.simulator.scenarios import GOOD, SCENARIOS, SHORTEST, Scenario

__all__ = ["ConformancePlan", "run_conformance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformancePlan:
    """What to try: `scenarios`, with calls like `call`, at most `jobs` trials at a time.

    The retries of `call` are ignored, its deadline `close` is made longer, its seed is where those
    of the calls begin. Raises ConfigError with everything about it that cannot work.
    """

    call: CallPlan
    scenarios: Sequence[Scenario] = field(default=tuple(SCENARIOS.values()))
    jobs: int = 4

    def __post_init__(self) -> None:
        problems = []
        if self.jobs < 1:
            problems.append(Problem("jobs", f"{self.jobs} is below 1", "one at a time is 1"))
        if not self.call.speak >= SHORTEST:
            why = "some faults strike a second into a stream"
            problems.append(Problem("speak", f"is below {SHORTEST:g} s", why))
        if problems:
            raise ConfigError(problems)


async def run_conformance(
    plan: ConformancePlan,
    *,
    connect: Connector,
    observe: Callable[[Result], None] = lambda _: None,
) -> ConformanceReport:
    """Try each scenario of *plan* and report; what the application does is never an exception.

    *observe* is called with each result as it comes: it must be quick and must not raise. A trial
    lasts as long as its call, which its plan's timeouts bound. If cancelled, the calls' streams are
    closed with 1001.
    """
    return await _Run(plan, connect, observe).run()


class _Run:
    """One run over the catalogue."""

    def __init__(
        self, plan: ConformancePlan, connect: Connector, observe: Callable[[Result], None]
    ) -> None:
        self._plan = plan
        self._connect = connect
        self._observe = observe
        timeouts = plan.call.timeouts
        patient = replace(timeouts, close=max(CLOSE, timeouts.close))
        self._call = replace(plan.call, retries=RETRIES, timeouts=patient)
        # Two runs without a seed are two runs: an application may remember the ids of the first.
        given = plan.call.seed
        self._seed = random.randrange(2**31) if given is None else given
        self._places = trio.CapacityLimiter(plan.jobs)
        self._results: dict[str, Result] = {}
        self._late = Lateness()

    async def run(self) -> ConformanceReport:
        began = trio.current_time()
        wanted = self._plan.scenarios
        good = await self._try(GOOD.trial, GOOD.name, 0)
        trials: dict[Trial, list[Scenario]] = {}
        for scenario in sorted(wanted, key=lambda scenario: not scenario.lasts):
            why = self._why_not(scenario, good)
            if why:
                self._note(Result(scenario, Judged("skip", why)))
            elif scenario.trial == GOOD.trial:
                self._judge(scenario, good, good)
            else:
                trials.setdefault(scenario.trial, []).append(scenario)
        async with trio.open_nursery() as nursery:
            for number, (trial, scenarios) in enumerate(trials.items(), 1):
                nursery.start_soon(self._try_and_judge, trial, scenarios, number, good)
        results = [self._results[scenario.name] for scenario in wanted]
        return ConformanceReport(
            answer_url=redact_url(self._call.answer_url),
            dialect=self._call.dialect,
            seconds=trio.current_time() - began,
            late=self._late.percentile(99),
            results=results,
        )

    def _why_not(self, scenario: Scenario, good: Evidence) -> str | None:
        """Why *scenario* cannot be tried; None where it can."""
        if scenario.needs_webhooks and self._call.webhook_url is None:
            return "not applicable: there is no webhook_url"
        if scenario.needs_secret and self._call.webhook_secret is None:
            return "not applicable: there is no secret"
        if scenario.needs_stream and not good.opened:
            if good.report.passed:
                return "not applicable: the good call's answer started no stream"
            return "not tried: the good call opened no stream"
        encoder = encoders()[self._call.dialect]
        unseen = [why for fault in scenario.trial.faults if (why := fault.unseen_in(encoder))]
        return f"not applicable: {'; '.join(unseen)}" if unseen else None

    async def _try_and_judge(
        self, trial: Trial, scenarios: Sequence[Scenario], number: int, good: Evidence
    ) -> None:
        async with self._places:
            evidence = await self._try(trial, scenarios[0].name, number)
        for scenario in scenarios:
            self._judge(scenario, evidence, good)

    def _judge(self, scenario: Scenario, evidence: Evidence, good: Evidence) -> None:
        judged = scenario.judge(evidence, good)
        self._note(Result(scenario, judged, evidence.seconds))

    def _note(self, result: Result) -> None:
        self._results[result.scenario.name] = result
        self._observe(result)

    async def _try(self, trial: Trial, name: str, number: int) -> Evidence:
        # Calls with one seed would have streams of one id, which no platform has at once.
        seed = self._seed * 1000 + 2 * number
        plan, began = trial.plan(self._call, name, seed), trio.current_time()
        if trial.ask:
            return await self._ask(plan, began)
        reports: dict[int, CallReport] = {}
        handles = [CallHandle() for _ in range(trial.calls)]

        async def place(index: int) -> None:
            numbered = replace(plan, seed=seed + index)
            reports[index] = await place_call(
                numbered, connect=self._connect, handle=handles[index]
            )

        async with trio.open_nursery() as nursery:
            for index in range(trial.calls):
                nursery.start_soon(place, index)
        for report in reports.values():
            for stream in report.streams:
                self._late.merge(stream.lateness)
        return Evidence(
            plan=plan,
            seconds=trio.current_time() - began,
            reports=[reports[index] for index in range(trial.calls)],
            urls=[[stream.url for stream in handle.streams] for handle in handles],
        )

    async def _ask(self, plan: CallPlan, began: float) -> Evidence:
        """Ask the answer_url for a call that never was."""
        info = CallInfo(
            id=CallContext(plan, self._connect, lambda _: None).call_id,
            status="dialing",
            direction=plan.direction,
            from_number=plan.from_number,
            to_number=plan.to_number,
            customer_id=plan.customer_id,
            application_id=plan.application_id,
        )
        response, fault = None, ""
        try:
            response = await fetch_answer(plan, info, self._connect)
        except (FetchError, LocalProtocolError) as exc:
            fault = f"no answer: {exc}"
            await trio.lowlevel.checkpoint()
        seconds = trio.current_time() - began
        return Evidence(plan=plan, seconds=seconds, response=response, fault=fault)
