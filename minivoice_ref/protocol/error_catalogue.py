"""The error catalogue: a code for each thing that can go wrong, its cause and its mend.

A line of the three logs that tells of trouble carries a `code`, `MV-101` and so on, as do the
crosses of `minivoice-ref doctor`; `minivoice-ref help MV-101` prints what stands here,
`minivoice-ref explain` uses it. The hundreds follow the documented debug order, so that the lowest
code of a failed call is where to begin; only what `doctor` finds at the hosts comes last.

Facts: MiniVoice documentation, media streams (the debug order). Knows nothing of logs.
Read next: `error_texts.py`, the table itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minivoice_ref.protocol.error_texts import TEXTS

__all__ = ["CATALOGUE", "GROUPS", "Entry"]

GROUPS: Mapping[str, str] = {
    "1": "the answer",
    "2": "the stream's URL and its token",
    "3": "accepting the connection",
    "4": "the media",
    "5": "the end of the stream",
    "6": "webhooks and the call's result",
    "7": "ourselves and our disk",
    "8": "the hosts, before any call",
}
"""What the first digit of a code says: the documented debug order, then ourselves, then hosts."""

_ENTRY = re.compile(
    r"^(?P<code>MV-[1-8]\d\d) (?P<title>.+)\n"
    r"cause: (?P<cause>.+(?:\n  .+)*)\n"
    r"mend: (?P<mend>.+(?:\n  .+)*)\n",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One error: `title` says what is the case, `cause` why it happens, `mend` what to do next."""

    code: str
    title: str
    cause: str
    mend: str

    @property
    def group(self) -> str:
        """The step of the debug order that it belongs to."""
        return GROUPS[self.code[3]]

    def to_json(self) -> dict[str, str]:
        """The entry as a JSON object."""
        return {
            "code": self.code,
            "group": self.group,
            "title": self.title,
            "cause": self.cause,
            "mend": self.mend,
        }


def _read(text: str) -> Iterator[Entry]:
    for match in _ENTRY.finditer(text):
        yield Entry(**{name: " ".join(part.split()) for name, part in match.groupdict().items()})


CATALOGUE: Mapping[str, Entry] = {entry.code: entry for entry in _read(TEXTS)}
"""Every error by its code, in order."""
