"""What came of many calls: figures only, so that a million calls take no more room than a hundred.

Each call's report is counted and forgotten. What stays is how many calls got how far, how long each
step took, how late frames left, and every failure under its first cause: the first step of the
documented debug order that was not as it should be, and why. Failures of calls into which a fault
was injected are told apart from the others.

A slow load generator must not be mistaken for a slow receiver. A frame can leave late because the
receiver did not take the ones before it, or because the simulator did not get round to it. The
simulator's own clock (`load.py`: a task that does nothing but wake up) knows only the second.

It must not know how calls are placed. Read next: `load.py`, which fills it in.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field

from minivoice_ref.simulator.lateness import Lateness
from minivoice_ref.simulator.report import CallReport

__all__ = ["Cause", "Durations", "LoadReport"]

_IN_TIME = 0.010
"""Seconds: while 99 of 100 of its own wake-ups are within them, the simulator keeps time."""

_MOST_CAUSES = 100
_OTHERS = "further causes, too many to tell apart"


class Durations:
    """How long something took, each time: 8 bytes for each, so that percentiles are exact."""

    def __init__(self) -> None:
        self._seconds = array("d")

    def add(self, seconds: float | None) -> None:
        """Note that it took *seconds*; None, for what did not happen, is not counted."""
        if seconds is not None:
            self._seconds.append(seconds)

    def to_json(self) -> dict[str, float]:
        """Number, p50, p90, p99 and maximum, in milliseconds."""
        ranked = sorted(self._seconds)
        figures: dict[str, float] = {"count": len(ranked)}
        for name, percent in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99), ("max_ms", 100)):
            figures[name] = round(_ranked(ranked, percent) * 1000, 3)
        return figures


def _ranked(ranked: list[float], percent: float) -> float:
    place = -(-len(ranked) * percent // 100)  # the nearest rank, counted from 1
    return ranked[max(0, int(place) - 1)] if ranked else 0.0


@dataclass(slots=True)
class Cause:
    """Why calls failed: the step of the verdict, in which words, how often, and one of them."""

    step: str
    text: str
    with_fault: bool
    example: str
    calls: int = 0

    def to_json(self) -> dict[str, object]:
        """The cause as `load --json` prints it."""
        return {
            "step": self.step,
            "cause": self.text,
            "calls": self.calls,
            "fault_injected": self.with_fault,
            "example_call_id": self.example,
        }


@dataclass(slots=True, kw_only=True)
class LoadReport:
    """The figures of a load, `planned` calls at `rate` a second; they grow while it runs.

    A call counts as asked when its answer_url was, as answered when the answer was valid, as
    completed when `call.completed` was acknowledged. Each asked call is in the end one of: passed,
    failed, or interrupted, which is one that had no stream yet when somebody ended the load.
    `clock` is how late the simulator's own clock was, `arrivals` how late calls began, of which
    `held_up` because too many others went on.
    """

    planned: int
    rate: float
    seconds: float = 0.0
    asked: int = 0
    answered: int = 0
    completed: int = 0
    passed: int = 0
    failed: int = 0
    with_faults: int = 0
    failed_with_faults: int = 0
    interrupted: int = 0
    due: int = 0
    sent: int = 0
    held_up: int = 0
    ended_early: bool = False
    answer: Durations = field(default_factory=Durations)
    handshake: Durations = field(default_factory=Durations)
    acknowledgement: Durations = field(default_factory=Durations)
    frames: Lateness = field(default_factory=Lateness)
    clock: Lateness = field(default_factory=Lateness)
    arrivals: Lateness = field(default_factory=Lateness)
    causes: dict[tuple[str, str, bool], Cause] = field(default_factory=dict)

    def count(self, report: CallReport, *, with_fault: bool, interrupted: bool = False) -> None:
        """Count a call that is over. *interrupted*: whatever it lacks is not its own doing."""
        good = {step.name for step in report.steps if step.ok}
        self.answered += "answer_valid" in good
        self.completed += "call_completed" in good
        self.answer.add(report.answer_seconds)
        for hook in report.webhooks:
            if hook.accepted:
                self.acknowledgement.add(hook.seconds)
        for stream in report.streams:
            self.handshake.add(stream.handshake_seconds)
            self.due += stream.due
            self.sent += sum(sums.frames for sums in stream.sent.values())
            self.frames.merge(stream.lateness)
        if report.passed:
            self.passed += 1
        elif interrupted:
            self.interrupted += 1
        else:
            step = next(step for step in report.steps if not step.ok)
            self.blame(step.name, step.detail, report.call_id, with_fault=with_fault)

    def blame(self, step: str, detail: str, call_id: str, *, with_fault: bool) -> None:
        """Count a call as failed for what *detail* says of *step*."""
        self.failed += 1
        self.failed_with_faults += with_fault
        key = (step, _without_particulars(detail), with_fault)
        if key not in self.causes and len(self.causes) >= _MOST_CAUSES:
            key = ("", _OTHERS, with_fault)
        cause = self.causes.setdefault(key, Cause(*key, example=call_id))
        cause.calls += 1

    @property
    def good(self) -> bool:
        """Whether there were calls and none failed."""
        return self.failed == 0 and self.asked > 0

    @property
    def kept_time(self) -> bool:
        """Whether the simulator itself kept time, whatever the receiver did."""
        return self.clock.percentile(99) <= _IN_TIME

    @property
    def statement(self) -> str:
        """In plain words whether the simulator kept time, and so whom late frames speak of."""
        p99, worst = self.clock.percentile(99) * 1000, self.clock.maximum * 1000
        own = f"its own clock was late by {p99:.1f} ms (p99), {worst:.1f} ms at worst"
        if not self.kept_time:
            return (
                f"The simulator did NOT keep time: {own}. What was slow may be the simulator,"
                " not the receiver: give it an idler machine or ask less of it."
            )
        kept = f"The simulator kept time: {own}."
        slow = self.frames.percentile(99)
        if slow > max(_IN_TIME, 2 * self.clock.percentile(99)):
            kept += (
                f" Frames left {slow * 1000:.1f} ms late (p99) all the same:"
                " the receiver, or the way to it, did not take them in time."
            )
        return kept

    def to_json(self) -> dict[str, object]:
        """The report as `load --json` prints it."""
        return {
            "verdict": "pass" if self.good else "fail",
            "ended_early": self.ended_early,
            "seconds": round(self.seconds, 3),
            "rate": self.rate,
            "calls": {
                "planned": self.planned,
                "asked": self.asked,
                "answered": self.answered,
                "completed": self.completed,
                "passed": self.passed,
                "failed": self.failed,
                "interrupted": self.interrupted,
                "with_faults": self.with_faults,
                "failed_with_faults": self.failed_with_faults,
            },
            "latency": {
                "answer": self.answer.to_json(),
                "stream_handshake": self.handshake.to_json(),
                "webhook_acknowledgement": self.acknowledgement.to_json(),
            },
            "frames": {"due": self.due, "sent": self.sent, "lateness": self.frames.to_json()},
            "simulator": {
                "kept_time": self.kept_time,
                "statement": self.statement,
                "clock": self.clock.to_json(),
                "arrivals": self.arrivals.to_json(),
                "arrivals_held_up": self.held_up,
            },
            "failures": [cause.to_json() for cause in self.ranked_causes()],
        }

    def ranked_causes(self) -> list[Cause]:
        """Every cause, those of calls without an injected fault first, the frequent ones first."""
        return sorted(self.causes.values(), key=lambda cause: (cause.with_fault, -cause.calls))

    def __str__(self) -> str:
        """The report for people."""
        return "\n".join([*self._call_lines(), *self._time_lines(), *self._cause_lines()])

    def _call_lines(self) -> list[str]:
        verdict = "PASS" if self.good else "FAIL"
        early = f", ended early ({self.planned} were planned)" if self.ended_early else ""
        lines = [
            f"load of {self.asked} calls in {self.seconds:.1f} s{early}: {verdict}",
            f"  calls       asked {self.asked}, answered {self.answered},"
            f" completed {self.completed}, passed {self.passed}, failed {self.failed}",
        ]
        if self.with_faults:
            lines.append(
                f"              {self.with_faults} with a fault injected,"
                f" of which {self.failed_with_faults} failed"
            )
        if self.interrupted:
            lines.append(f"              {self.interrupted} ended before they had a stream")
        if self.held_up:
            lines.append(f"              {self.held_up} began late: too many others went on")
        return lines

    def _time_lines(self) -> list[str]:
        lines = ["", f"  {'ms':<26}{'count':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"]
        rows = (
            ("answer", self.answer.to_json()),
            ("stream handshake", self.handshake.to_json()),
            ("webhook acknowledgement", self.acknowledgement.to_json()),
            ("frames late by", self.frames.to_json()),
            ("simulator's clock late by", self.clock.to_json()),
        )
        for name, row in rows:
            figures = "".join(f"{row[key]:9.1f}" for key in ("p50_ms", "p90_ms", "p99_ms"))
            lines.append(f"  {name:<26}{row['count']:8.0f}{figures}{row['max_ms']:9.1f}")
        over_5, over_20 = self.frames.over(0.005), self.frames.over(0.02)
        lines += [
            "",
            f"  frames      due {self.due}, sent {self.sent},"
            f" over 5 ms late {over_5}, over 20 ms late {over_20}",
            f"  {self.statement}",
        ]
        return lines

    def _cause_lines(self) -> list[str]:
        lines = ["", "  failures by their first cause"] if self.causes else []
        for cause in self.ranked_causes():
            asked_for = " (fault injected)" if cause.with_fault else ""
            lines.append(f"  {cause.calls:6}  {cause.step}{asked_for}: {cause.text}")
            lines.append(f"          for example {cause.example}")
        return lines


_URL_PATH = re.compile(r"((?:wss?|https?)://[^/\s]+)/[^\s:;,]*")
_DECIMAL = re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])")


def _without_particulars(detail: str) -> str:
    """*detail* without the paths and the times in it, which differ from call to call."""
    return _DECIMAL.sub("…", _URL_PATH.sub(r"\1/…", detail))
