"""Explains one call from the three logs, in the documented debug order.

    1 was the action valid?                    answers.jsonl
    2 was its URL wss, its token good?         answers.jsonl, refusals in streams.jsonl
    3 was the connection accepted?             streams.jsonl
    4 did media arrive?                        streams.jsonl: the account of each track
    5 who closed the stream, and why?          streams.jsonl
    6 the final result, do the times agree?    webhooks.jsonl against streams.jsonl
    7 was the receiver itself well?            all three

A step fails for what a line with a code of its hundred says, or for a line that ought to be there
and is not. A step that an earlier failure made impossible cannot be told: it is not a failure of
its own. Loose lines (`evidence.py`) are asked only where the call's own lines are missing.

Pure: lines in, an explanation out. Facts: MiniVoice documentation, media streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from minivoice_ref.receiver.evidence import Evidence, Line, when
from minivoice_ref.receiver.explanation import Explanation, Finding, Step, findings_of

__all__ = ["CLOCK_TOLERANCE", "explain"]

CLOCK_TOLERANCE = 5.0
"""Seconds that the platform's times and ours may differ; an assumption, and an option."""

_ENDS = ("call.completed", "call.failed")
_NO_STREAM = "no stream was open"


def explain(evidence: Evidence, *, tolerance: float = CLOCK_TOLERANCE) -> Explanation:
    """What the evidence of a call says; *tolerance* (seconds) is how far the clocks may differ."""
    answer = _answer(evidence)
    url = _url(evidence, answer)
    connection = _connection(evidence, url)
    steps = (
        answer,
        url,
        connection,
        _media(evidence, connection),
        _closing(evidence),
        _result(evidence, tolerance),
        _receiver(evidence),
    )
    lines = evidence.lines or evidence.loose
    began, ended = (lines[0]["time"], lines[-1]["time"]) if lines else (None, None)
    notes = []
    if evidence.by_time:
        notes.append("the answer names no call; it is taken to be this one's because of its time")
    return Explanation(evidence.name, began, ended, steps, tuple(notes))


# --- the steps ---


def _answer(evidence: Evidence) -> Step:
    lines = evidence.of("answers", "answered", "invalid", "late", "failed")
    faults = findings_of(lines)
    if faults:
        return Step("answer_valid", False, "no: the platform got a 500", faults)
    if lines:
        actions = ", ".join(_told(action) for line in lines for action in _actions(line))
        seconds = lines[-1].get("seconds", "?")
        said = f"answered after {seconds} s with {actions or 'no action at all'}"
        return Step("answer_valid", True, said)
    faults = findings_of(evidence.of("answers", "refused", loose=True))
    if evidence.of("streams", "open"):
        said = "no request for an answer is in the log, yet a stream came"
        return Step("answer_valid", None, said, faults)
    said = "no request for an answer to this call is in the log"
    return Step("answer_valid", False, said, faults or (Finding("MV-107", ""),))


def _url(evidence: Evidence, answer: Step) -> Step:
    name = "url_is_wss"
    faults = tuple(finding for finding in answer.findings if "stream_url" in finding.said)
    if faults:
        return Step(name, False, "no", tuple(Finding("MV-201", f.said, f.time) for f in faults))
    if evidence.of("streams", "open"):
        return Step(name, True, "a stream was let in by its token")
    # A proven, but expired token names its call; any other refused one nobody.
    refused = evidence.of("streams", "refused") + evidence.of("streams", "refused", loose=True)
    faults = _hundred("2", findings_of(refused))
    if faults:
        return Step(name, False, "a stream was asked for, and refused", faults)
    starts = [action for action in _answered(evidence) if action.get("type") == "start_stream"]
    if starts:
        urls = ", ".join(str(action.get("stream_url")) for action in starts)
        return Step(name, True, urls)
    if answer.ok:
        return Step(name, False, "there is no URL", (Finding("MV-206", ""),))
    return Step(name, None, "there was no valid answer to look at")


def _connection(evidence: Evidence, url: Step) -> Step:
    name = "connection_accepted"
    opened = evidence.of("streams", "open")
    if opened:
        peers = ", ".join(str(line.get("peer", "?")) for line in opened)
        answered = evidence.of("answers", "answered")
        after = ""
        if answered:
            waited = when(opened[0]) - when(answered[0])
            after = f", the first {waited.total_seconds():.3f} s after the answer"
        return Step(name, True, f"{_count(len(opened), 'stream')} from {peers}{after}")
    if url.ok is False:
        return Step(name, None, "no stream was let in")
    faults = _hundred("3", findings_of(evidence.of("streams", loose=True)))
    if not _ok(faults):
        return Step(name, False, "at that time there was trouble at the door", faults)
    if url.ok is None:
        return Step(name, None, "no stream was asked for", faults)
    doubts = findings_of(evidence.of("streams", "settings", loose=True))
    return Step(name, False, "nobody connected", (Finding("MV-311", ""), *doubts, *faults))


def _media(evidence: Evidence, connection: Step) -> Step:
    name = "media_arrived"
    accounts = _last_sums(evidence)
    if not accounts:
        return Step(name, None, "nothing is in the log yet" if connection.ok else _NO_STREAM)
    faults = _hundred("4", findings_of(evidence.of("streams")))
    heard: set[str] = set()
    said: list[str] = []
    for line in accounts:
        tracks = _mapping(line.get("tracks"))
        heard |= set(tracks)
        said += [_track(track, _mapping(sums)) for track, sums in tracks.items()]
    wanted = _wanted_tracks(evidence)
    ended_well = not findings_of(evidence.of("streams", "disconnected"))
    if heard and ended_well and "mixed" not in heard and wanted - heard:
        missing = " and ".join(sorted(wanted - heard))
        faults = (*faults, Finding("MV-409", f"{missing} was asked for"))
    return Step(name, _ok(faults), "; ".join(said) or "no audio", faults)


def _closing(evidence: Evidence) -> Step:
    name = "stream_closed"
    opened = [line.get("stream_id") for line in evidence.of("streams", "open")]
    if not opened:
        return Step(name, None, _NO_STREAM)
    ends = evidence.of("streams", "disconnected")
    faults = _hundred("5", findings_of(evidence.of("streams", "disconnected", "application_cut")))
    unfinished = set(opened) - {line.get("stream_id") for line in ends}
    said = [f"{end.get('how')} by {end.get('by')} ({end.get('close_code')})" for end in ends]
    if unfinished:
        said.append(f"{_count(len(unfinished), 'stream')} without an end")
        faults = (*faults, Finding("MV-512", ""))
        return Step(name, None if _ok(faults[:-1]) else False, "; ".join(said), faults)
    return Step(name, _ok(faults), "; ".join(said), faults)


def _result(evidence: Evidence, tolerance: float) -> Step:
    name = "call_result"
    told = evidence.of("webhooks", "accepted")
    faults = _hundred("6", findings_of(evidence.of("webhooks", "failed", "set_aside")))
    ends = [line for line in told if line.get("event") in _ENDS]
    said = ", ".join(str(line.get("event")) for line in told) or "no webhook"
    if not ends:
        refused = [
            *evidence.of("webhooks", "not_stored"),
            *evidence.of("webhooks", "refused", loose=True),
        ]
        lacking = Finding("MV-611" if told else "MV-610", "")
        faults = (*faults, *(_hundred("6", findings_of(refused)) or (lacking,)))
        is_going_on = _goes_on(evidence)
        return Step(name, None if is_going_on else False, said, faults)
    if ends[-1].get("event") == "call.failed":
        failed = Finding("MV-613", f"status {ends[-1].get('status')}", ends[-1]["time"])
        faults = (*faults, failed)
    odd = list(_odd_times(evidence, told, tolerance))
    if odd:
        faults = (*faults, Finding("MV-612", "; ".join(odd)))
    agree = "the times do not agree" if odd else "the times agree"
    return Step(name, _ok(faults), f"{said}; {agree}", faults)


def _receiver(evidence: Evidence) -> Step:
    lines = (*evidence.lines, *evidence.loose)
    # What on_stream raises goes through the fault wall as well, and is no fault of ours.
    raised = bool(evidence.of("streams", "application_failed"))
    own = _hundred("7", findings_of(lines))
    own = tuple(finding for finding in own if finding.code != "MV-701" or not raised)
    said = "nothing failed here" if _ok(own) else "no: something failed here at that time"
    return Step("receiver_well", _ok(own), said, own)


# --- what the lines say ---


def _odd_times(evidence: Evidence, told: list[Line], tolerance: float) -> Iterable[str]:
    """Where the platform's times (`created_at`) and ours contradict each other."""
    created = [(line, made) for line in told if (made := _created_at(line)) is not None]
    if not created:
        return
    # A delivery takes time, and a retry more; nothing arrives before it was made. So the least
    # delay of all is the difference of the clocks, give or take one delivery.
    delay = min((when(line) - made).total_seconds() for line, made in created)
    if abs(delay) > tolerance:
        whose = "behind" if delay > 0 else "ahead of"
        yield f"every webhook was made at least {abs(delay):.1f} s {whose} our clock"
    ended = [made for line, made in created if line.get("event") in _ENDS]
    slack = timedelta(seconds=tolerance)
    for line in evidence.of("streams", "open"):
        if ended and when(line) > max(ended) + slack:
            yield f"a stream was opened at {line['time']}, after the end of the call"
    for line in evidence.of("streams", "disconnected"):
        if ended and when(line) > max(ended) + slack:
            yield f"a stream went on until {line['time']}, after the end of the call"


def _created_at(line: Line) -> datetime | None:
    try:
        made = datetime.fromisoformat(line["created_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return made if made.tzinfo is not None else None


def _last_sums(evidence: Evidence) -> list[Line]:
    """The last line with sums of each stream: its account, or its progress so far."""
    last = {line.get("stream_id"): line for line in evidence.of("streams", "progress", "account")}
    return list(last.values())


def _goes_on(evidence: Evidence) -> bool:
    """Whether a stream of the call has not ended yet."""
    opened = {line.get("stream_id") for line in evidence.of("streams", "open")}
    return bool(opened - {line.get("stream_id") for line in evidence.of("streams", "account")})


def _wanted_tracks(evidence: Evidence) -> set[str]:
    """The tracks that the answer's start_stream asked for by name."""
    wanted: set[str] = set()
    for action in _answered(evidence):
        if action.get("type") == "start_stream":
            track = action.get("track")
            names = ("inbound", "outbound")
            wanted |= set(names) if track == "both" else {name for name in names if name == track}
    return wanted


def _answered(evidence: Evidence) -> list[Mapping[str, Any]]:
    return [action for line in evidence.of("answers", "answered") for action in _actions(line)]


def _actions(line: Line) -> list[Mapping[str, Any]]:
    actions = line.get("actions")
    return [one for one in actions if isinstance(one, dict)] if isinstance(actions, list) else []


def _told(action: Mapping[str, Any]) -> str:
    track = action.get("track")
    return f"{action.get('type')}" if track is None else f"{action.get('type')} ({track})"


def _track(track: str, sums: Mapping[str, Any]) -> str:
    """The account of one track in words."""
    odd = ("lost", "repeated", "late", "discarded", "jumps")
    rest = [f"{name} {sums[name]}" for name in odd if sums.get(name)]
    told = f"{track} {sums.get('seconds')} s in {sums.get('frames')} pieces"
    return f"{told}, samples: {', '.join(rest)}" if rest else f"{told}, nothing lost"


def _hundred(digit: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding.code.startswith(f"MV-{digit}"))


def _ok(findings: Iterable[Finding]) -> bool:
    return all(finding.is_remark for finding in findings)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
