"""Every assumption about the platform: what is assumed, the setting that changes it, and why.

MiniVoice documents no wire format of its streams, not how it asks an answer_url, and much else. A
guess is never a fact: each has a name, one place, and a setting. This is the table of them all, for
`minivoice-ref assumptions` and for the README. A setting's value is read from where the setting is
declared; the simulator's guesses about the actions, and about what a good receiver does with its
faults, are read from their own tables (`simulator/assumptions.py`, the faults).

Where there is no setting, the program takes every form that is known, so nothing need be chosen;
or the fact is that of a platform whose dialect it is, not MiniVoice's.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minivoice_ref.assumption_texts import TEXTS
from minivoice_ref.config import Config, Limits, Timeouts
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.faults import FAULTS
from minivoice_ref.simulator.plan import CallPlan, RetrySchedule

__all__ = ["AREAS", "Assumption", "all_assumptions", "as_rst", "setting_default"]

AREAS = {
    "wire": "The media stream's wire (receiver)",
    "answer": "How the answer_url is asked (receiver)",
    "webhooks": "Webhooks (receiver)",
    "calls": "Calls and connections (receiver)",
    "platform": "What the stand-in for MiniVoice does (simulator)",
    "actions": "How an action list is executed (simulator; ``--assume NAME=VALUE``)",
    "faults": "What a good receiver does about a fault (simulator; ``--fault NAME=VALUE``)",
}
"""The parts of the table, in order, with their headings."""

_CLASSES: dict[str, type[Any]] = {
    "Config": Config,
    "Limits": Limits,
    "Timeouts": Timeouts,
    "CallPlan": CallPlan,
    "RetrySchedule": RetrySchedule,
    "Assumptions": Assumptions,
}
_WRITTEN = {
    "Config": "{}",
    "Limits": "limits.{}",
    "Timeouts": "timeouts.{}",
    "CallPlan": "CallPlan.{}",
    "RetrySchedule": "CallPlan.retries.{}",
    "Assumptions": "--assume {}",
}


@dataclass(frozen=True, slots=True)
class Assumption:
    """One guess. `place` is where its setting is declared, as `Config.dialect`; empty: none.

    `written` is how the user writes the setting, `value` what it is unless changed.
    """

    area: str
    name: str
    assumed: str
    why: str
    place: str = ""
    written: str = ""
    value: str = ""

    def to_json(self) -> dict[str, str | None]:
        """The assumption as a JSON object."""
        return {
            "area": self.area,
            "name": self.name,
            "assumed": self.assumed,
            "setting": self.written or None,
            "value": self.value or None,
            "why": self.why,
        }


_SILENT = "not documented"

_ENTRY = re.compile(
    r"^(?:# (?P<area>\w+)\n)?(?P<name>\w+)(?: \[(?P<place>[\w.]+)\])?\n"
    r"  (?P<assumed>.+(?:\n    .+)*)\n"
    r"  why: (?P<why>.+(?:\n    .+)*)\n",
    re.MULTILINE,
)


def _rows() -> Iterator[Assumption]:
    area = ""
    for match in _ENTRY.finditer(TEXTS):
        area = match["area"] or area
        assumed, why = (" ".join(match[part].split()) for part in ("assumed", "why"))
        if match["place"] is None:
            yield Assumption(area, match["name"], assumed, why)
        else:
            yield _with_setting(area, match["name"], assumed, why, match["place"])


def _with_setting(area: str, name: str, assumed: str, why: str, place: str) -> Assumption:
    owner, _, setting = place.partition(".")
    written = _WRITTEN[owner].format(setting)
    return Assumption(area, name, assumed, why, place, written, setting_default(place))


def all_assumptions() -> tuple[Assumption, ...]:
    """The table: one entry for each assumption, area by area."""
    actions = (
        _with_setting(
            "actions", field.name, field.metadata["help"], _SILENT, f"Assumptions.{field.name}"
        )
        for field in dataclasses.fields(Assumptions)
    )
    faults = (
        Assumption("faults", name, fault.assumed, "MiniVoice says little of failing receivers")
        for name, fault in FAULTS.items()
        if fault.assumed
    )
    return (*_rows(), *actions, *faults)


def setting_default(place: str) -> str:
    """The default of the setting declared at *place*, as the user would write it."""
    owner, _, name = place.partition(".")
    (field,) = (field for field in dataclasses.fields(_CLASSES[owner]) if field.name == name)
    value = field.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:.15g}" if isinstance(value, float) else "unset" if value is None else str(value)


def as_rst() -> str:
    """The table as reStructuredText, for the README: a list for each area."""
    parts = []
    for area, heading in AREAS.items():
        entries = [entry for entry in all_assumptions() if entry.area == area]
        parts += [f"**{heading}**\n", *map(_rst_entry, entries), ""]
    return "\n".join(parts)


def _rst_entry(entry: Assumption) -> str:
    setting = f" Setting: ``{entry.written}`` (``{entry.value}``)." if entry.written else ""
    why = f"{entry.why[0].upper()}{entry.why[1:]}."
    text = f"- *{entry.name}*: {entry.assumed}.{setting} {why}"
    return textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False)
