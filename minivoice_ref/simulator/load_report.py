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

import textwrap
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from minivoice_ref.simulator.lateness import Lateness
from minivoice_ref.simulator.load_causes import Causes
from minivoice_ref.simulator.report import CallReport

__all__ = ["Durations", "LoadReport"]

_IN_TIME = 0.010
"""Seconds: while 99 of 100 of its own wake-ups are within them, the simulator keeps time."""

_WIDTH = 100


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


@dataclass(slots=True, kw_only=True)
class LoadReport:
    """The figures of a load, `planned` calls at `rate` a second; they grow while it runs.

    A call counts as asked when its answer_url was, as answered when the answer was valid, as
    completed when `call.completed` was acknowledged. Each asked call is in the end one of: passed,
    failed, or interrupted, which is one that had no stream with audio yet when the load was ended.
    Webhooks count as retried where one attempt was not enough, and as given up where none was.
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
    webhooks: int = 0
    retried: int = 0
    given_up: int = 0
    due: int = 0
    sent: int = 0
    held_up: int = 0
    ended_early: bool = False
    answer: Durations = field(default_factory=Durations)
    handshake: Durations = field(default_factory=Durations)
    closing: Durations = field(default_factory=Durations)
    acknowledgement: Durations = field(default_factory=Durations)
    frames: Lateness = field(default_factory=Lateness)
    clock: Lateness = field(default_factory=Lateness)
    arrivals: Lateness = field(default_factory=Lateness)
    causes: Causes = field(default_factory=Causes)
    lost: Causes = field(default_factory=Causes)

    def count(self, report: CallReport, *, with_fault: bool, interrupted: bool = False) -> None:
        """Count a call that is over. *interrupted*: whatever it lacks is not its own doing."""
        self._count_webhooks(report, with_fault=with_fault)
        good = {step.name for step in report.steps if step.ok}
        ended = any(hook.accepted for hook in report.webhooks if hook.event == "call.completed")
        self.answered += "answer_valid" in good
        self.completed += ended or "call_completed" in good
        self.answer.add(report.answer_seconds)
        for stream in report.streams:
            self.handshake.add(stream.handshake_seconds)
            self.closing.add(stream.closing_seconds)
            self.due += stream.due
            self.sent += sum(sums.frames for sums in stream.sent.values())
            self.frames.merge(stream.lateness)
        if report.passed:
            self.passed += 1
        elif interrupted:
            self.interrupted += 1
        else:
            step = report.failures[0]
            self.blame(step.name, step.detail, report.call_id, with_fault=with_fault)

    def blame(self, step: str, detail: str, call_id: str, *, with_fault: bool) -> None:
        """Count a call as failed for what *detail* says of *step*."""
        self.failed += 1
        self.failed_with_faults += with_fault
        self.causes.blame(step, detail, call_id, with_fault=with_fault)

    def _count_webhooks(self, report: CallReport, *, with_fault: bool) -> None:
        for hook in report.webhooks:
            self.webhooks += 1
            self.retried += hook.attempts > 1
            if hook.accepted:
                self.acknowledgement.add(hook.seconds)
            else:
                self.given_up += 1
                why = hook.fault or "not tried"
                self.lost.blame(hook.event, why, report.call_id, with_fault=with_fault)

    @property
    def good(self) -> bool:
        """Whether calls passed and none failed; where nothing was measured, nothing is good."""
        return self.failed == 0 and self.passed > 0

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
                f"The simulator did NOT keep time: {own}. What was slow, or came too late for its"
                " deadline, may be the doing of the simulator, not the receiver: give it an idler"
                " machine or ask less of it."
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
                "stream_closing": self.closing.to_json(),
                "webhook_acknowledgement": self.acknowledgement.to_json(),
            },
            "webhooks": {
                "sent": self.webhooks,
                "retried": self.retried,
                "given_up": self.given_up,
                "causes": self.lost.to_json("event", "webhooks"),
            },
            "frames": {"due": self.due, "sent": self.sent, "lateness": self.frames.to_json()},
            "simulator": {
                "kept_time": self.kept_time,
                "statement": self.statement,
                "clock": self.clock.to_json(),
                "arrivals": self.arrivals.to_json(),
                "arrivals_held_up": self.held_up,
            },
            "failures": self.causes.to_json("step", "calls"),
        }

    def __str__(self) -> str:
        """The report for people."""
        lines = [*self._call_lines(), *self._time_lines()]
        if self.failed:
            own = "" if self.kept_time else " (the simulator itself did not keep time)"
            lines += ["", f"  failed calls by their first cause{own}", *_cause_lines(self.causes)]
        if self.given_up:
            lines += ["", "  webhooks given up, by event and cause", *_cause_lines(self.lost)]
        return "\n".join(lines)

    def _call_lines(self) -> Iterator[str]:
        verdict = "PASS" if self.good else "FAIL"
        early = f", ended early ({self.planned} were planned)" if self.ended_early else ""
        yield f"load of {self.asked} calls in {self.seconds:.1f} s{early}: {verdict}"
        yield (
            f"  calls       asked {self.asked}, answered {self.answered},"
            f" completed {self.completed}, passed {self.passed}, failed {self.failed}"
        )
        if self.with_faults:
            injected = f"{self.with_faults} with a fault injected"
            yield f"              {injected}, of which {self.failed_with_faults} failed"
        if self.interrupted:
            yield f"              {self.interrupted} ended before their streams had any audio"
        if self.held_up:
            yield f"              {self.held_up} began late: too many others went on"
        if self.webhooks:
            told = f"sent {self.webhooks}, retried {self.retried}, given up {self.given_up}"
            yield f"  webhooks    {told}"
        over_5, over_20 = self.frames.over(0.005), self.frames.over(0.02)
        yield (
            f"  frames      due {self.due}, sent {self.sent},"
            f" over 5 ms late {over_5}, over 20 ms late {over_20}"
        )

    def _time_lines(self) -> Iterator[str]:
        yield ""
        yield f"  {'ms':<26}{'count':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"
        for name, row in (
            ("answer", self.answer.to_json()),
            ("stream handshake", self.handshake.to_json()),
            ("stream closing", self.closing.to_json()),
            ("webhook acknowledgement", self.acknowledgement.to_json()),
            ("frames late by", self.frames.to_json()),
            ("simulator's clock late by", self.clock.to_json()),
        ):
            keys = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
            shown = "".join(f"{row[key]:9.1f}" if row["count"] else f"{'–':>9}" for key in keys)
            yield f"  {name:<26}{row['count']:8.0f}{shown}"
        yield ""
        yield _wrapped(self.statement, "  ", "  ")


def _cause_lines(causes: Causes) -> Iterator[str]:
    """A line for each of *causes*, and one of its calls."""
    for cause in causes.ranked():
        asked_for = " (fault injected)" if cause.with_fault else ""
        said = f"{cause.what}{asked_for}: {cause.text}"
        yield _wrapped(said, f"  {cause.count:6}  ", " " * 10)
        yield f"          for example {cause.example}"


def _wrapped(text: str, first: str, others: str) -> str:
    """*text* in lines of a terminal's usual width; a long word, such as a URL, is left whole."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
