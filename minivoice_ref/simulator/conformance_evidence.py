"""What is tried on an application, and what was seen: what judges of its conformance are given.

A *trial* is one thing that is done: a call with something particular about it, or only a question
to the answer_url. Scenarios whose trials are equal are judged by the same one.

It must not know what any of it proves. Read next: `conformance_judges.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from minivoice_ref.net.http_messages import Response
from minivoice_ref.simulator.call import CallPlan, RetrySchedule
from minivoice_ref.simulator.fault import Fault
from minivoice_ref.simulator.report import CallReport

__all__ = ["CLOSE", "RETRIES", "Evidence", "Judge", "Judged", "Outcome", "Trial"]

Outcome: TypeAlias = Literal["pass", "fail", "skip"]
"""Skip is what does not apply, or would have proved nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is done to the application.

    `calls` calls at once with these `faults`, whose parties speak for `longer` seconds more; their
    webhooks `unsigned`, each delivered twice, or some held back. Where `ask` is set nobody calls:
    the answer_url is asked once, with that method or as the plan has it.
    """

    calls: int = 1
    faults: tuple[Fault, ...] = ()
    longer: float = 0.0
    unsigned: bool = False
    duplicate: bool = False
    reorder: bool = False
    ask: Literal["", "plan", "POST", "GET"] = ""

    def plan(self, good: CallPlan, name: str, seed: int) -> CallPlan:
        """The plan of its calls, made of that of a *good* one; their variables tell *name*."""
        return replace(
            good,
            answer_method=self.ask if self.ask in ("POST", "GET") else good.answer_method,
            speak=good.speak + self.longer,
            faults=self.faults,
            duplicate_webhooks=self.duplicate,
            reorder_webhooks=self.reorder,
            webhook_secret=None if self.unsigned else good.webhook_secret,
            # An unsigned one is not to be accepted, however often it comes.
            retries=replace(good.retries, attempts=1) if self.unsigned else good.retries,
            variables={**good.variables, "minivoice_ref_conformance": name},
            seed=seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What came of a trial, in `seconds`.

    `urls` are the streams' URLs of each call, tokens and all: they are compared and never shown.
    `response` is that of the answer_url where it was only asked; `fault` says why there is none.
    """

    plan: CallPlan
    seconds: float
    reports: Sequence[CallReport] = ()
    urls: Sequence[Sequence[str]] = ()
    response: Response | None = None
    fault: str = ""

    @property
    def report(self) -> CallReport:
        """That of the only call."""
        (report,) = self.reports
        return report

    @property
    def opened(self) -> bool:
        """Whether the application has accepted any stream."""
        return any(s.opened_at is not None for report in self.reports for s in report.streams)

    @property
    def webhooks_accepted(self) -> bool:
        """Whether every event was accepted in the end."""
        return all(hook.accepted for report in self.reports for hook in report.webhooks)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the evidence shows, and in words what was seen."""

    outcome: Outcome
    seen: str


Judge: TypeAlias = Callable[[Evidence, Evidence], Judged]
"""Judges a trial's evidence, beside that of the good call that came before all others."""

RETRIES = RetrySchedule(attempts=3, first=0.3, longest=1.0)
"""The schedule of every trial: short, as there are many trials. None is documented."""

CLOSE = 5.0
"""Seconds that a closing handshake may take at least: with many trials this side is slow itself."""
