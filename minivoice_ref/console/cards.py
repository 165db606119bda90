"""One call in the list: its six steps as they are now, and what is wrong in words.

The steps are those of `explain`, from the same evidence, by the same code. `explain` looks back at
a call; here it goes on, so one thing is added: a step that fails only for the lack of a line is
*waiting* as long as the line may still come.

Pure: evidence in, JSON out. Read next: `memory.py`, which has the evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from minivoice_ref.receiver.evidence import Evidence, when
from minivoice_ref.receiver.explain import explain
from minivoice_ref.receiver.explanation import Explanation, Finding, Step

__all__ = ["Parties", "State", "card_of", "explanation_of", "is_over"]

State: TypeAlias = Literal["ok", "fail", "waiting", "unknown"]
"""How a step stands: unknown is what cannot be told any more, because an earlier one failed."""

Parties: TypeAlias = Mapping[str, str | None]
"""Who calls whom, as the webhooks said: `direction`, `from`, `to`, `status`."""

_PATIENCE = timedelta(seconds=10)  # for the next line of a call that has no open stream
_ENDS = ("call.completed", "call.failed")
_SHOWN = 6  # the seventh step, whether we were well, counts only where it fails


def is_over(evidence: Evidence, *, live: bool, now: datetime) -> bool:
    """Whether nothing more is to be expected of a call; *live* is whether it has an open stream."""
    if live:
        return False
    told = evidence.of("webhooks", "accepted")
    if any(line.get("event") in _ENDS for line in told):
        return True
    return not evidence.lines or now - when(evidence.lines[-1]) > _PATIENCE


def explanation_of(evidence: Evidence, *, over: bool) -> dict[str, Any]:
    """The explanation of a call as JSON, each step with its `state` as well."""
    explanation = explain(evidence)
    document = explanation.to_json()
    for step, told in zip(explanation.steps, document["steps"], strict=True):
        told["state"] = _state(step, evidence, over=over)
        if told["state"] == "waiting":
            told["findings"] = [one for one in told["findings"] if one["time"] is not None]
    document["verdict"] = _verdict(explanation, document)
    return document


def card_of(
    evidence: Evidence,
    parties: Parties,
    *,
    key: int,
    live: bool,
    over: bool,
    gone: str | None,
    explanation: Mapping[str, Any],
) -> dict[str, Any]:
    """The call in one object for the list; `key` stays when a better name becomes known.

    *gone* is the process that went with a stream of it.
    """
    steps = [
        {"name": step["name"], "state": step["state"], "said": step["said"]}
        for step in explanation["steps"]
        if step["name"] != "receiver_well" or step["state"] == "fail"
    ]
    return {
        "key": key,
        "name": evidence.name,
        "live": live,
        "over": over,
        "nodes": _each(evidence, "open", "node"),
        "gone": gone,
        "began": explanation["began"],
        "ended": explanation["ended"] if over else None,
        "dialects": _each(evidence, "started", "dialect"),
        "tracks": _each(evidence, "first_media", "track"),
        "streams": _each(evidence, "open", "stream_id"),
        "recordings": _each(evidence, "account", "recording") != [],
        "verdict": explanation["verdict"],
        "steps": steps,
        "wrong": _wrong(explanation),
        **parties,
    }


def _state(step: Step, evidence: Evidence, *, over: bool) -> State:
    if step.ok is True:
        return "ok"
    if step.name == "media_arrived" and step.ok is None and evidence.of("streams", "first_media"):
        return "ok"
    if step.ok is None:
        return "unknown" if over else "waiting"
    failures = [finding for finding in step.findings if not finding.is_remark]
    only_lacks = all(_is_lack(finding) for finding in failures)
    return "waiting" if only_lacks and not over else "fail"


def _is_lack(finding: Finding) -> bool:
    """Whether it is the lack of a line that says it."""
    return finding.time is None


def _verdict(explanation: Explanation, document: Mapping[str, Any]) -> str:
    states = {step["state"] for step in document["steps"][:_SHOWN]}
    if "fail" in states or explanation.steps[-1].ok is False:
        return "fail"
    return "pass" if states == {"ok"} else "open"


def _wrong(explanation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The first failure in the debug order: the one to mend first."""
    for step in explanation["steps"]:
        if step["state"] != "fail":
            continue
        # What fails has a reason, and the first one that is no remark is it.
        first = next(one for one in step["findings"] if not one["remark"])
        return {"step": step["name"], **first}
    return None


def _each(evidence: Evidence, what: str, name: str) -> list[str]:
    """The different values of a field of the streams' lines, in their order."""
    values = (line.get(name) for line in evidence.of("streams", what))
    return list(dict.fromkeys(str(value) for value in values if value is not None))
