"""What the doctor found: ticks, crosses and dashes, for people and as JSON.

A *tick* is a question answered as it should be, a *cross* one that is not, with its code in the
error catalogue and what would mend it here, a *dash* one that could not be asked or would have
proved nothing, with the reason. Checks stand on sheets, one for each part of an application, in the
order in which MiniVoice would come by.

It must not know how anything was found out. Read next: `doctor.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from minivoice_ref.protocol.redaction import escape, redact_url

__all__ = ["Check", "Examination", "Outcome", "Sheet"]

Outcome: TypeAlias = Literal["pass", "fail", "skip"]

_SIGNS: dict[Outcome, str] = {"pass": "✓", "fail": "✗", "skip": "–"}
_WIDTH = 15  # of the column of names


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer. `seconds` is how long it took, where that says something."""

    name: str
    outcome: Outcome
    said: str
    mend: str = ""
    seconds: float | None = None
    code: str | None = None

    def to_json(self, part: str) -> dict[str, object]:
        """The check as `doctor --json` prints it; `code` and `mend` are null unless it failed."""
        return {
            "check": f"{part}.{self.name}",
            "outcome": self.outcome,
            "code": self.code,
            "said": self.said,
            "mend": self.mend or None,
            "seconds": None if self.seconds is None else round(self.seconds, 4),
        }

    def lines(self) -> Iterator[str]:
        """The check's row, and its mend below it."""
        took = "" if self.seconds is None else f" ({self.seconds:.3f} s)"
        said = f"{self.code} {self.said}" if self.code else self.said
        yield f"  {_SIGNS[self.outcome]}  {self.name:<{_WIDTH}}  {said}{took}"
        if self.mend:
            yield f"     {'':<{_WIDTH}}  mend: {self.mend}"


@dataclass(slots=True)
class Sheet:
    """The checks of one part of an application: of one URL, or of its clock. `note` is a remark."""

    part: str
    url: str | None = None
    note: str = ""
    checks: list[Check] = field(default_factory=list)

    def tick(self, name: str, said: str, seconds: float | None = None) -> None:
        """Note that all is well."""
        self.checks.append(Check(name, "pass", escape(said), seconds=seconds))

    def cross(
        self, code: str, name: str, said: str, mend: str, seconds: float | None = None
    ) -> None:
        """Note that something is wrong, its *code* in the error catalogue, and what mends it."""
        self.checks.append(Check(name, "fail", escape(said), escape(mend), seconds, code))

    def dash(self, why: str, *names: str) -> None:
        """Note that the questions *names* were not asked, and why."""
        self.checks += [Check(name, "skip", escape(why)) for name in names]

    def lines(self) -> Iterator[str]:
        """The sheet for people; neighbours that were left out for one reason share a row."""
        yield f"{self.part}  {redact_url(self.url)}" if self.url else self.part
        for check in _merged(self.checks):
            yield from check.lines()
        if self.note:
            yield f"     {'':<{_WIDTH}}  note: {self.note}"


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found. `call_id` is the one that the probes named; it is no call's."""

    call_id: str
    sheets: Sequence[Sheet]

    @property
    def passed(self) -> bool:
        """Whether there is no cross."""
        return not self.count("fail")

    def count(self, outcome: Outcome) -> int:
        """How many checks had this outcome."""
        return Counter(check.outcome for sheet in self.sheets for check in sheet.checks)[outcome]

    def to_json(self) -> dict[str, object]:
        """The examination as `doctor --json` prints it."""
        return {
            "verdict": "pass" if self.passed else "fail",
            "call_id": self.call_id,
            "passed": self.count("pass"),
            "failed": self.count("fail"),
            "skipped": self.count("skip"),
            "checks": [check.to_json(s.part) for s in self.sheets for check in s.checks],
            "notes": {sheet.part: sheet.note for sheet in self.sheets if sheet.note},
        }

    def __str__(self) -> str:
        """The table for people, and the verdict."""
        lines = [line for sheet in self.sheets for line in (*sheet.lines(), "")]
        counts = ", ".join(
            f"{count} {word}{'' if count == 1 else 'es' if word == 'cross' else 's'}"
            for word, count in (
                ("tick", self.count("pass")),
                ("cross", self.count("fail")),
                ("dash", self.count("skip")),
            )
        ).replace("dashs", "dashes")
        lines.append(f"{'PASS' if self.passed else 'FAIL'}: {counts}")
        if not self.passed:
            lines.append("`minivoice-ref help CODE` says more of a cross")
        return "\n".join(lines)


def _merged(checks: Sequence[Check]) -> Iterator[Check]:
    """The same checks, those of a run of dashes with one reason as one."""
    waiting: list[Check] = []
    for check in (*checks, None):
        if waiting and (check is None or check.said != waiting[0].said or check.outcome != "skip"):
            yield Check(", ".join(c.name for c in waiting), "skip", waiting[0].said)
            waiting = []
        if check is not None and check.outcome == "skip":
            waiting.append(check)
        elif check is not None:
            yield check
