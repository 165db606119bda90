"""What came of a conformance run: a table for people, JSON, and JUnit's XML for a build server.

Each row says what must hold, what was seen, and where the fact is documented. A dash is no pass:
the scenario did not apply, or would have proved nothing.

It must not know how anything was tried. Read next: `scenarios.py`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from xml.etree import ElementTree

from minivoice_ref.protocol.redaction import escape
from minivoice_ref.simulator.conformance_evidence import Judged, Outcome
from minivoice_ref.simulator.scenarios import Scenario

__all__ = ["NARROWEST", "ConformanceReport", "Result"]

NARROWEST = 80
"""Columns below which the table does not shrink."""

_SIGNS: Mapping[Outcome, str] = {"pass": "✓", "fail": "✗", "skip": "–"}
_NAME = 22  # columns of sign and name
_BUSY = 0.1  # seconds of lateness from which on it is told
_LONGEST = 600  # characters of what was seen that the table shows


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario and what came of it; `seconds` is how long its trial took, None without one."""

    scenario: Scenario
    judged: Judged
    seconds: float | None = None

    @property
    def outcome(self) -> Outcome:
        """Pass, fail, or skip."""
        return self.judged.outcome

    @property
    def seen(self) -> str:
        """What was seen, on one line."""
        return escape(self.judged.seen)

    def __str__(self) -> str:
        return f"{_SIGNS[self.outcome]} {self.scenario.name}: {self.seen}"

    def to_json(self) -> dict[str, object]:
        """The result as `conformance --json` prints it; null is what there is not."""
        scenario = self.scenario
        return {
            "scenario": scenario.name,
            "outcome": self.outcome,
            "must_hold": scenario.must_hold,
            "seen": self.seen,
            "unseen": scenario.unseen or None,
            "documented": scenario.documented,
            "assumed": scenario.assumed or None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }

    def lines(self, width: int) -> Iterator[str]:
        """Its row in a table that is *width* columns wide."""
        scenario = self.scenario
        seen = textwrap.shorten(self.seen, _LONGEST, placeholder=" …")
        if scenario.unseen and self.outcome == "pass":
            seen += f" (unseen: {scenario.unseen})"
        assumed = f"; ASSUMED: {scenario.assumed}" if scenario.assumed else ""
        cells = (
            f"{_SIGNS[self.outcome]} {scenario.name}",
            scenario.must_hold,
            seen,
            scenario.documented + assumed,
        )
        yield from _row(cells, width)


def _row(cells: Sequence[str], width: int) -> Iterator[str]:
    """*cells* beside each other, each wrapped within its column."""
    left = max(width, NARROWEST) - _NAME - 6
    widths = (_NAME, left * 3 // 10, left * 4 // 10, left - left * 3 // 10 - left * 4 // 10)
    columns = [textwrap.wrap(text, size) for text, size in zip(cells, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        row = "  ".join(f"{part:<{size}}" for part, size in zip(parts, widths, strict=True))
        yield row.rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceReport:
    """All results, in the order of the catalogue; `answer_url` is redacted.

    `late` is how many seconds behind their moments frames left, the worst hundredth left out.
    """

    answer_url: str
    dialect: str
    seconds: float
    late: float
    results: Sequence[Result]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and something was shown: dashes alone are no pass."""
        return not self.count("fail") and self.count("pass") > 0

    def count(self, outcome: Outcome) -> int:
        """How many scenarios had this outcome."""
        return sum(result.outcome == outcome for result in self.results)

    def to_json(self) -> dict[str, object]:
        """The report as `conformance --json` prints it."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "answer_url": self.answer_url,
            "dialect_assumed": self.dialect,
            "seconds": round(self.seconds, 3),
            "frames_late_p99_ms": round(self.late * 1000, 3),
            "passed": self.count("pass"),
            "failed": self.count("fail"),
            "skipped": self.count("skip"),
            "scenarios": [result.to_json() for result in self.results],
        }

    def table(self, width: int = 120) -> str:
        """The table for people, *width* columns wide, and the verdict."""
        head = ("  scenario", "what must hold", "what was seen", "where it is documented")
        lines = [*_row(head, width), "-" * max(width, NARROWEST)]
        for result in self.results:
            lines += result.lines(width)
        verdict = "PASS" if self.passed else "FAIL"
        lines += ["", f"{verdict}: {self._counts()}, in {self.seconds:.1f} s"]
        lines += [
            f"Assumed of every stream: the wire's format, here {self.dialect}."
            " Unseen: what only the receiver's own log tells."
        ]
        if self.late > _BUSY:
            lines += [
                f"Frames left up to {self.late:.2f} s late: what judges times is less sure by that."
                " Try fewer --jobs."
            ]
        return "\n".join(lines)

    def _counts(self) -> str:
        blamed = [result for result in self.results if result.outcome == "fail"]
        assumed = sum(bool(result.scenario.assumed) for result in blamed)
        of_these = f" ({assumed} of them by an assumption, in whole or in part)" if assumed else ""
        shown = f"{self.count('pass')} passed, {len(blamed)} failed{of_these}"
        return f"{shown}, {self.count('skip')} not applicable or not tried"

    def __str__(self) -> str:
        return self.table()

    def junit(self) -> str:
        """The report as JUnit's XML: a case for each scenario, skipped where it does not apply."""
        suite = ElementTree.Element(
            "testsuite",
            name="minivoice-ref conformance",
            tests=str(len(self.results)),
            failures=str(self.count("fail")),
            errors="0",
            skipped=str(self.count("skip")),
            time=f"{self.seconds:.3f}",
        )
        for result in self.results:
            suite.append(_case(result))
        suites = ElementTree.Element("testsuites")
        suites.append(suite)
        ElementTree.indent(suites)
        return ElementTree.tostring(suites, "unicode", xml_declaration=True) + "\n"


def _case(result: Result) -> ElementTree.Element:
    scenario = result.scenario
    case = ElementTree.Element(
        "testcase",
        classname="minivoice_ref.conformance",
        name=scenario.name,
        time=f"{result.seconds or 0.0:.3f}",
    )
    if result.outcome != "pass":
        tag = "failure" if result.outcome == "fail" else "skipped"
        ElementTree.SubElement(case, tag, message=result.seen)
    said = {
        "must hold": scenario.must_hold,
        "seen": result.seen,
        "not seen from here": scenario.unseen,
        "documented": scenario.documented,
        "assumed": scenario.assumed,
    }
    told = "\n".join(f"{name}: {text}" for name, text in said.items() if text)
    ElementTree.SubElement(case, "system-out").text = told
    return case
