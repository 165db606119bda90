"""What MiniVoice does not document and a call cannot do without: each guess by its name.

None of these is a fact about MiniVoice. Each has a value that we assume, and is a setting, so that
it can be changed on the day that somebody learns better: `CallPlan(assumptions=...)`, or `--assume
NAME=VALUE` on the command line. Beside these, `plan.py` names the assumptions that are settings of
the plan itself.

It must not know how a call is run. Read next: `executors.py`, which goes by it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

from minivoice_ref.protocol.documents import did_you_mean
from minivoice_ref.protocol.errors import MiniVoiceError, Problem

__all__ = ["Assumptions", "BadAssumption", "assume", "assumed"]


class BadAssumption(MiniVoiceError):
    """There is no such assumption, or it cannot have such a value; the message says what can be."""


def _assumed(value: Any, help: str) -> Any:
    """A guess and what it is about."""
    return field(default=value, metadata={"help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """How an action list is executed where the documentation is silent. Times are in seconds."""

    failing_action: Literal["fails_call", "goes_on"] = _assumed(
        "fails_call", "what a failing action does: the call fails, or the next action runs"
    )
    redirects_counted: Literal["http", "actions"] = _assumed(
        "http", "what max_redirects counts: HTTP redirects of one request, or redirect actions"
    )
    http_redirects: int = _assumed(
        0, "HTTP redirects that are followed where max_redirects is not given or counts actions"
    )
    most_lists: int = _assumed(21, "action lists of one call, so that a circle of redirects ends")
    streams_after_transfer: bool = _assumed(
        True, "streams go on when transfer, bridge or conference has ended the list"
    )
    conference_mutes: bool = _assumed(
        True, "`mute` of conference silences the inbound track for the rest of the call"
    )
    hold_silences: Literal["inbound", "outbound", "both"] = _assumed(
        "both", "the tracks on which nothing is heard while the call is held"
    )
    read_track: Literal["inbound", "outbound"] = _assumed(
        "inbound", "the track that the mute direction `read` means; `write` is the other"
    )
    gather_timeout: float = _assumed(5.0, "timeout of a gather that names none")
    gather_timeout_restarts: bool = _assumed(
        False, "the timeout of gather counts from the last key, not from the end of the prompt"
    )
    gather_keeps_finish_key: bool = _assumed(False, "the finish key is among the digits")
    gathered: str = _assumed("completed", "status of a gather with enough digits or a finish key")
    gathered_too_few: str = _assumed(
        "too_few_digits", "status of a gather whose finish key came before min_digits"
    )
    gathered_timeout: str = _assumed("timeout", "status of a gather that timed out")
    gathered_hangup: str = _assumed("hangup", "status of a gather that the caller's end ended")
    digits_told: Literal["carried", "all", "none"] = _assumed(
        "carried", "streams told of the caller's keys: those that carry their track, all, or none"
    )
    digit_seconds: float = _assumed(0.1, "how long the tone of a key is")
    digit_gap: float = _assumed(0.1, "silence between two tones of send_digits")
    pause_w: float = _assumed(0.5, "the pause `w` of send_digits")
    pause_W: float = _assumed(1.0, "the pause `W` of send_digits")
    pause_comma: float = _assumed(2.0, "the pause `,` of send_digits")
    send_digits_waits: bool = _assumed(True, "the next action waits for the end of the tones")
    recording_at_end: Literal["completed", "failed", "none"] = _assumed(
        "completed", "the event of a recording that is still running when the call ends"
    )

    def problems(self) -> Iterator[Problem]:
        """Everything that cannot be assumed."""
        types = get_type_hints(Assumptions)
        for f in dataclasses.fields(self):
            value, wanted = getattr(self, f.name), types[f.name]
            choices = get_args(wanted)
            if choices and value not in choices:
                mend = f"choose one of: {', '.join(choices)}"
                yield Problem(f"assumptions.{f.name}", f"{value!r} is unknown", mend)
            elif wanted in (int, float) and not (math.isfinite(value) and value >= 0):
                yield Problem(f"assumptions.{f.name}", f"{value!r} is not 0 or more", "mend it")
        if not 0.02 <= self.digit_seconds <= 10:
            yield Problem("assumptions.digit_seconds", "is no length of a tone", "0.02 to 10")


def assume(given: Assumptions, text: str) -> Assumptions:
    """*given* with what `NAME=VALUE` says. Raises BadAssumption."""
    name, _, value = text.partition("=")
    wanted = get_type_hints(Assumptions).get(name)
    if wanted is None:
        names = [f.name for f in dataclasses.fields(Assumptions)]
        raise BadAssumption(f"{name!r} is no assumption{did_you_mean(name, names)}")
    try:
        changed = dataclasses.replace(given, **{name: _value(wanted, value)})
    except (ValueError, KeyError):
        raise BadAssumption(f"{text}: {value!r} is not {_kind(wanted)}") from None
    problems = list(changed.problems())
    if problems:
        raise BadAssumption("; ".join(map(str, problems)))
    return changed


def assumed(given: Assumptions) -> list[str]:
    """One line for each assumption: how it is written, with its value, and what it is about."""
    lines = [(f"{f.name}={_shown(getattr(given, f.name))}", f) for f in dataclasses.fields(given)]
    width = max(len(written) for written, _ in lines)
    return [f"{written:<{width}}  {f.metadata['help']}" for written, f in lines]


def _value(wanted: Any, text: str) -> Any:
    """*text* as a value of the type *wanted*. Raises ValueError or KeyError."""
    if wanted is bool:
        return {"yes": True, "no": False}[text]
    return wanted(text) if wanted in (int, float) else text


def _kind(wanted: Any) -> str:
    return {bool: "yes or no", int: "a whole number", float: "a number"}[wanted]


def _shown(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
