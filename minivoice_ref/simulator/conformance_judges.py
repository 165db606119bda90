"""How each scenario of the conformance suite is judged, from what is seen on MiniVoice's side.

That side sees answers, handshakes, close codes and the statuses of webhooks. What an application
makes of the audio it sees not, and no judge says anything about it. What an answer has no action
for cannot be shown: the judge says so, and neither praises nor blames.

It must not know how a trial is made. Read next: `scenarios.py`.

Facts: MiniVoice documentation, actions, media streams, webhooks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from minivoice_ref.protocol.actions import ACTIONS, STREAM_ACTION_ACCEPTED, read_answer
from minivoice_ref.simulator.conformance_evidence import Evidence, Judge, Judged
from minivoice_ref.simulator.faults import Outlook, worst_outlook
from minivoice_ref.simulator.report import (
    ActionResult,
    CallReport,
    StreamReport,
    WebhookReport,
)

__all__ = [
    "PROMPT",
    "judge_asked",
    "judge_call",
    "judge_cut",
    "judge_duplicates",
    "judge_fault",
    "judge_forged",
    "judge_form",
    "judge_good",
    "judge_order",
    "judge_prompt",
    "judge_redirect",
    "judge_stop",
    "judge_track",
    "judge_two",
    "judge_unsigned",
]

PROMPT = 1.0
"""Seconds within which an answer or an acknowledgement is prompt; an assumption."""

_NO_GOODBYE = 1006


def judge_good(evidence: Evidence, good: Evidence) -> Judged:
    """Is every step of the verdict as it should be, those about streams among them?"""
    report = evidence.report
    if report.passed and not report.streams:
        return _no_action(report, "start_stream")
    return judge_call(evidence, good)


def judge_call(evidence: Evidence, good: Evidence) -> Judged:
    """Is every step of the verdict as it should be that applies?"""
    report = evidence.report
    if report.passed:
        return Judged("pass", _in_short(report))
    return Judged("fail", _what_failed(report))


def judge_fault(evidence: Evidence, good: Evidence) -> Judged:
    """Did a good receiver's part in a call with a fault come about?"""
    if not _struck(evidence):
        return Judged("skip", "not shown: the stream was over before the fault could strike")
    return judge_call(evidence, good)


def judge_forged(evidence: Evidence, good: Evidence) -> Judged:
    """Was each forged event refused and then accepted as it should be, whatever else there was?"""
    report = evidence.report
    bad = [finding.seen for finding in report.findings if not finding.ok]
    bad += [_receipt(hook) for hook in report.webhooks if not hook.accepted]
    return Judged("fail", "; ".join(bad)) if bad else Judged("pass", _in_short(report))


def _struck(evidence: Evidence) -> bool:
    """Whether the trial's fault came about, as far as that shows; a slow opening leaves no time."""
    faults, report = evidence.plan.faults, evidence.report
    if not evidence.opened:
        return True  # which is judged by itself
    if worst_outlook(faults) is Outlook.BREAKS:
        return any(stream.broke_at is not None for stream in report.streams)
    return bool(report.findings) or not any(fault.may_end_with for fault in faults)


def judge_cut(evidence: Evidence, good: Evidence) -> Judged:
    """Was the call's end acknowledged although its stream was cut?"""
    report = evidence.report
    broken = [stream for stream in report.streams if stream.broke_at is not None]
    if not broken:
        return Judged("skip", "no stream was open that could be cut")
    last = next((hook for hook in report.webhooks if hook.event == "call.completed"), None)
    said = "call.completed: not sent" if last is None else _receipt(last)
    accepted = last is not None and last.accepted
    seen = "; ".join([*dict.fromkeys(map(_end, broken)), said])
    return Judged("pass" if accepted else "fail", seen)


def judge_track(track: str) -> Judge:
    """A judge of the streams that the answer asked for with the parameter *track*."""

    def judge(evidence: Evidence, good: Evidence) -> Judged:
        streams = [stream for stream in evidence.report.streams if stream.track == track]
        if not streams:
            return _no_action(evidence.report, f"start_stream with track {track}")
        bad = [f"{s.fault or 'no audio was sent'}" for s in streams if s.fault or not _flowed(s)]
        if bad:
            return Judged("fail", "; ".join(bad))
        sent = ", ".join(
            f"{sums.frames} {name} frames" for s in streams for name, sums in s.sent.items()
        )
        return Judged("pass", f"sent {sent}; closed with 1000")

    return judge


def _flowed(stream: StreamReport) -> bool:
    return bool(stream.sent) and all(sums.frames for sums in stream.sent.values())


def judge_form(form: str) -> Judge:
    """A judge of the actions that the answer writes in the *form* `typed` or `keyed`."""

    def judge(evidence: Evidence, good: Evidence) -> Judged:
        if evidence.response is None or not evidence.response.ok:
            return _asked_in_vain(evidence)
        checked = read_answer(evidence.response.body)
        places = [place for place, name in _forms(evidence.response.body) if name == form]
        if not places:
            return Judged("skip", f"not applicable: its answer has no {form} action")
        bad = [str(problem) for place in places for problem in checked.problems_of(place)]
        if bad:
            return Judged("fail", "; ".join(bad))
        if not checked.valid:
            return Judged("skip", "not shown: its answer has faults elsewhere, and is not run")
        count = f"{len(places)} {form} action{'' if len(places) == 1 else 's'}"
        return Judged("pass", f"{count} taken, none with a fault")

    return judge


def _forms(body: bytes) -> Iterable[tuple[int, str]]:
    """The place and the form of each action in an answer."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    entries = document.get("actions") if isinstance(document, dict) else None
    for place, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            if "type" in entry:
                yield place, "typed"
            elif any(name in ACTIONS for name in entry):
                yield place, "keyed"


def judge_redirect(evidence: Evidence, good: Evidence) -> Judged:
    """Did a redirect bring a list with a `stop_stream` that was run?"""
    report = evidence.report
    redirects = _of_type(report, "redirect")
    if not redirects:
        return _no_action(report, "redirect")
    failed = [result.detail for result in redirects if result.outcome != "accepted"]
    if failed:
        return Judged("fail", f"the redirect failed: {'; '.join(failed)}")
    stops = [result for result in _of_type(report, "stop_stream") if result.list]
    if not stops:
        return Judged("skip", "not applicable: its redirect brings no list with a stop_stream")
    return Judged("pass", f"list {stops[0].list + 1} was fetched, its stop_stream: accepted")


def judge_stop(evidence: Evidence, good: Evidence) -> Judged:
    """Did a `stop_stream` end the stream and nothing but the stream?"""
    report = evidence.report
    stops = _of_type(report, "stop_stream")
    if not stops:
        return _no_action(report, "stop_stream")
    if not any(stop.detail == STREAM_ACTION_ACCEPTED for stop in stops):
        return Judged("skip", "not applicable: its stop_stream matches no open stream")
    return judge_call(evidence, good)


def judge_duplicates(evidence: Evidence, good: Evidence) -> Judged:
    """Was each event acknowledged once more?"""
    report = evidence.report
    again = sum(hook.duplicates for hook in report.webhooks)
    refused = [
        f"{hook.event}, a duplicate: {hook.duplicate_fault}"
        for hook in report.webhooks
        if hook.duplicate_fault is not None
    ]
    if refused:
        return Judged("fail", "; ".join(refused))
    if not again or not evidence.webhooks_accepted:
        return Judged("fail", _what_failed(report) or "no event was accepted in the first place")
    return Judged("pass", f"{again} events delivered twice, answered with a 2xx both times")


def judge_order(evidence: Evidence, good: Evidence) -> Judged:
    """Was each event acknowledged at once, in whatever order it came?"""
    report = evidence.report
    bad = [
        f"{hook.event}: {hook.fault or f'accepted only at attempt {hook.attempts}'}"
        for hook in report.webhooks
        if hook.attempts > 1 or not hook.accepted
    ]
    if bad:
        return Judged("fail", "; ".join(bad))
    order = [hook.event for hook in sorted(report.webhooks, key=lambda hook: hook.place or 0)]
    return Judged("pass", f"acknowledged in this order: {', '.join(order)}")


def judge_unsigned(evidence: Evidence, good: Evidence) -> Judged:
    """Was each event refused that had no signature?"""
    if not good.webhooks_accepted:
        return Judged("skip", "not shown: signed ones are not accepted either")
    hooks = evidence.report.webhooks
    seen = ", ".join(f"{hook.event}: {hook.status or hook.fault}" for hook in hooks)
    ok = all(hook.status is not None and 400 <= hook.status < 500 for hook in hooks)
    return Judged("pass" if ok else "fail", f"without a signature, {seen}")


def judge_prompt(evidence: Evidence, good: Evidence) -> Judged:
    """Were the answer and all acknowledgements there soon?"""
    report = evidence.report
    took = {hook.event: hook.seconds for hook in report.webhooks if hook.seconds is not None}
    never = [hook for hook in report.webhooks if hook.seconds is None]
    if report.answer_seconds is None or never:
        missing = [f"{hook.event}: {hook.fault}" for hook in never]
        return Judged("fail", "; ".join(missing) or "there was no answer at all")
    took["the answer"] = report.answer_seconds
    slowest = max(took, key=lambda name: took[name])
    seen = f"the slowest of {len(took)}: {slowest}, {took[slowest]:.3f} s"
    return Judged("pass" if took[slowest] <= PROMPT else "fail", seen)


def judge_asked(evidence: Evidence, good: Evidence) -> Judged:
    """Was the answer_url's answer to the method a good one?"""
    if evidence.response is None or not evidence.response.ok:
        return _asked_in_vain(evidence)
    checked = read_answer(evidence.response.body)
    if not checked.valid:
        return Judged("fail", "; ".join(map(str, checked.problems)))
    return Judged("pass", f"{evidence.response.status}, its actions valid: {len(checked.actions)}")


def judge_two(evidence: Evidence, good: Evidence) -> Judged:
    """Did calls at the same time go well, each with stream URLs of its own?"""
    bad = [_what_failed(report) for report in evidence.reports if not report.passed]
    if bad:
        return Judged("fail", "; ".join(bad))
    first, *others = [frozenset(urls) for urls in evidence.urls]
    if any(first & other for other in others):
        return Judged("fail", "both were given the same stream_url")
    return Judged("pass", f"{len(evidence.reports)} calls passed, each with its own stream_url")


def _asked_in_vain(evidence: Evidence) -> Judged:
    if evidence.response is None:
        return Judged("fail", evidence.fault)
    return Judged("fail", f"the answer_url answered {evidence.response.status}")


def _of_type(report: CallReport, name: str) -> list[ActionResult]:
    """The results of the actions *name* that were run."""
    return [r for r in report.actions if r.type == name and r.outcome in ("accepted", "failed")]


def _no_action(report: CallReport, what: str) -> Judged:
    return Judged("skip", f"not applicable: its answer has no {what}")


def _in_short(report: CallReport) -> str:
    """What was seen of a call that passed: what its faults found, its streams' end, and its own."""
    found = dict.fromkeys(finding.seen for finding in report.findings)
    ends = dict.fromkeys(map(_end, report.streams))
    return "; ".join([*found, *ends, *map(_receipt, report.webhooks[-1:])])


def _end(stream: StreamReport) -> str:
    if stream.refused_with is not None:
        return f"the stream was refused with {stream.refused_with}"
    if stream.broke_at is not None and stream.close_code == _NO_GOODBYE:
        return f"the stream broke after {stream.broke_at:.1f} s"
    return f"the stream closed with {stream.close_code}"


def _receipt(hook: WebhookReport) -> str:
    late = f" at attempt {hook.attempts}" if hook.attempts > 1 else ""
    return f"{hook.event}: {hook.status or hook.fault}{late}"


def _what_failed(report: CallReport) -> str:
    """The steps that are not as they should be; those that only follow from another left out."""
    bad = report.failures
    causes = [step for step in bad if not step.detail.startswith("no stream was ")]
    return "; ".join(f"{step.name}: {step.detail}" for step in causes or bad)
