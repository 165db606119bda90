"""Why something went wrong, of many times: the same reason is told once, with how often.

Reasons are the same where only paths and times in them differ, which do from call to call. Those of
calls into which a fault was injected are told apart from the others.

It must not know what went wrong. Read next: `load_report.py`, which asks it to count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Cause", "Causes"]

_MOST_CAUSES = 100
_OTHERS = "further causes, too many to tell apart"


@dataclass(slots=True)
class Cause:
    """What went wrong (a step of the verdict, an event), why in words, how often, and one call."""

    what: str
    text: str
    with_fault: bool
    example: str
    count: int = 0


class Causes:
    """Causes, counted: at most `_MOST_CAUSES`; all further ones count together as left over."""

    def __init__(self) -> None:
        self._causes: dict[tuple[str, str, bool], Cause] = {}

    def blame(self, what: str, detail: str, call_id: str, *, with_fault: bool) -> None:
        """Count that *what* went wrong in a call, for what *detail* says."""
        key = (what, _without_particulars(detail), with_fault)
        if key not in self._causes and len(self._causes) >= _MOST_CAUSES:
            key = ("", _OTHERS, with_fault)
        cause = self._causes.setdefault(key, Cause(*key, example=call_id))
        cause.count += 1

    def ranked(self) -> list[Cause]:
        """Every cause, those of calls without an injected fault first, the frequent ones first."""
        return sorted(self._causes.values(), key=lambda cause: (cause.with_fault, -cause.count))

    def to_json(self, what: str, counted: str) -> list[dict[str, object]]:
        """The causes as `load --json` prints them; the arguments are the names of two members."""
        return [
            {
                what: cause.what,
                "cause": cause.text,
                counted: cause.count,
                "fault_injected": cause.with_fault,
                "example_call_id": cause.example,
            }
            for cause in self.ranked()
        ]


_URL_PATH = re.compile(r"((?:wss?|https?)://[^/\s]+)/[^\s:;,]*")
_DECIMAL = re.compile(r"(?<![\d.])\d+\.\d+(?![\d.])")


def _without_particulars(detail: str) -> str:
    """*detail* without the paths and the times in it, which differ from call to call."""
    return _DECIMAL.sub("…", _URL_PATH.sub(r"\1/…", detail))
