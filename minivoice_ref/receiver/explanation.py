"""What `explain` answers: seven steps, each with what was found, in the documented debug order.

Only the form of the answer stands here, for people and as JSON; `explain.py` finds it. What a code
means comes from the error catalogue.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from minivoice_ref.protocol.error_catalogue import CATALOGUE, Entry
from minivoice_ref.receiver.evidence import Line

__all__ = ["QUESTIONS", "Explanation", "Finding", "Step", "findings_of"]

QUESTIONS: Mapping[str, str] = {
    "answer_valid": "was the action valid?",
    "url_is_wss": "was its URL wss, and its token good?",
    "connection_accepted": "was the connection accepted?",
    "media_arrived": "did media arrive?",
    "stream_closed": "who closed the stream, and why?",
    "call_result": "the final result, and do the times agree?",
    "receiver_well": "was the receiver itself well?",
}
"""The steps by name. Facts: MiniVoice documentation, media streams: debug order, three logs."""

_REMARKS = frozenset(
    ("MV-207", "MV-302", "MV-404", "MV-405", "MV-406", "MV-407", "MV-511", "MV-608", "MV-707")
)
_TOLD = frozenset(("time", "log", "level", "what", "code", "call_id", "stream_id", "answer_id"))
_MARKS = {True: "yes", False: "NO", None: "?"}
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found: its code in the catalogue, what the log says of it, how often.

    `time` is that of the first line; None where it is the lack of a line that says it.
    """

    code: str
    said: str
    time: str | None = None
    times: int = 1

    @property
    def entry(self) -> Entry:
        """What the catalogue has to say; something even of a code of another version."""
        unknown = Entry(self.code, "not in this catalogue", "Another version wrote it.", "Ask it.")
        return CATALOGUE.get(self.code, unknown)

    @property
    def is_remark(self) -> bool:
        """Whether it is worth a word, but not a failure."""
        return self.code in _REMARKS

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object, with its cause and its mend."""
        entry = self.entry
        return {
            "code": self.code,
            "title": entry.title,
            "said": self.said,
            "time": self.time,
            "times": self.times,
            "remark": self.is_remark,
            "cause": entry.cause,
            "mend": entry.mend,
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One question and its answer: `ok` is None where it cannot be told."""

    name: str
    ok: bool | None
    said: str
    findings: tuple[Finding, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The step as a JSON object."""
        return {
            "name": self.name,
            "question": QUESTIONS[self.name],
            "ok": self.ok,
            "said": self.said,
            "findings": [finding.to_json() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the logs say of one call. `call` is its id, None where no line names any."""

    call: str | None
    began: str | None
    ended: str | None
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or `open` where nothing failed but not all can be told."""
        answers = {step.ok for step in self.steps}
        return "fail" if False in answers else "open" if None in answers else "pass"

    @property
    def codes(self) -> tuple[str, ...]:
        """The code of every finding, in the debug order of the steps."""
        return tuple(finding.code for step in self.steps for finding in step.findings)

    def to_json(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        return {
            "call": self.call,
            "verdict": self.verdict,
            "began": self.began,
            "ended": self.ended,
            "steps": [step.to_json() for step in self.steps],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """The explanation for people."""
        head = f"call {self.call}" if self.call is not None else "no call is named in these logs"
        lines = [f"{head}: {self.verdict}", f"{self.began} to {self.ended}", ""]
        for number, step in enumerate(self.steps, 1):
            lines.append(f"{number} {_MARKS[step.ok]:<4}{QUESTIONS[step.name]}")
            lines += _wrapped(step.said, " " * 6)
            for finding in step.findings:
                lines += _in_words(finding)
        return "\n".join([*lines, *(f"\nnote: {note}" for note in self.notes)])


def findings_of(lines: Iterable[Line]) -> tuple[Finding, ...]:
    """What lines with a code say: one finding for each code, in the order of the codes."""
    found: dict[str, Finding] = {}
    for line in lines:
        code = line.get("code")
        if not isinstance(code, str):
            continue
        if code in found:
            first = found[code]
            found[code] = Finding(code, first.said, first.time, first.times + 1)
        else:
            found[code] = Finding(code, _details(line), line["time"])
    return tuple(found[code] for code in sorted(found))


def _details(line: Line) -> str:
    """What a line says beside what is in every line; of a traceback, its last line."""
    words = []
    for name, value in line.items():
        if name == "traceback" and "error" not in line:
            words.append(str(value).strip().rpartition("\n")[2])
        elif name == "problems" and isinstance(value, list):
            words += [str(problem) for problem in value]
        elif name != "traceback" and name not in _TOLD and not isinstance(value, dict):
            words.append(f"{name}={value}")
    return "; ".join(words)


def _in_words(finding: Finding) -> list[str]:
    entry = finding.entry
    often = f" ({finding.times} times)" if finding.times > 1 else ""
    at = f" at {finding.time}" if finding.time is not None else ""
    lines = _wrapped(f"{finding.code} {entry.title}{often}{at}", " " * 6)
    if finding.said:
        lines += _wrapped(finding.said, " " * 13)
    lines += _wrapped(f"means: {entry.cause}", " " * 13)
    return lines + _wrapped(f"do:    {entry.mend}", " " * 13)


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
