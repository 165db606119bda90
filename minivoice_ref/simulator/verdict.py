"""The verdict on a call: six questions in the documented debug order, answered from what was seen.

A question that could not be asked because an earlier one failed counts as failed, and says so: a
verdict is good only where everything was seen to work. Where a good answer started no stream and
none was expected, the questions about streams do not apply: they have a dash.

It must not know how anything was done; it reads reports. Read next: `call.py`.

Facts: MiniVoice documentation, media streams: the debug order; that a stream which fails changes
nothing for the call, whose `call.completed` still arrives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from minivoice_ref.protocol.actions import CheckedAnswer
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.simulator.fault import Finding, Outlook, worst_outlook
from minivoice_ref.simulator.plan import CallPlan
from minivoice_ref.simulator.report import STEPS, Step, StreamReport, WebhookReport

__all__ = ["judge"]

_Finding = tuple[bool | None, str]
_NOT_APPLICABLE: _Finding = (None, "the answer started no stream, and none was expected")
_NO_STREAM: _Finding = (False, "no stream was started")
_NOT_OPENED: _Finding = (False, "no stream was accepted")
_NO_GOODBYE = 1006


def judge(
    plan: CallPlan,
    answer: CheckedAnswer | None,
    answer_fault: str | None,
    streams: Sequence[StreamReport],
    webhooks: Sequence[WebhookReport],
    findings: Sequence[Finding] = (),
    failure: str | None = None,
) -> list[Step]:
    """Answer the six questions. *answer* is None where there was none; *answer_fault* says why.
    *failure* is what failed the call after a good answer.

    *findings* are those of the plan's faults: where the other side did not do about one what it
    should, the question that it belongs to is answered with no.
    """
    if answer is None or not answer.valid:
        failure = "it had no valid answer"
    url, accepted, flowed, closed = (_NOT_APPLICABLE,) * 4
    if streams or failure is not None or _expects_stream(plan, answer):
        url = _url_is_wss(answer, streams, failure)
        accepted, flowed, closed = _of_streams(plan, streams)
    completed = _call_completed(plan, webhooks, failure)
    answers = (
        _answer_valid(answer, answer_fault),
        url,
        accepted,
        flowed,
        _unless_found(closed, findings, "stream"),
        _unless_found(completed, findings, "webhook"),
    )
    return [Step(name, *finding) for name, finding in zip(STEPS, answers, strict=True)]


def _expects_stream(plan: CallPlan, answer: CheckedAnswer | None) -> bool:
    """Whether there should have been a stream: the plan says so, or breaks it, or the answer."""
    if plan.expect_stream or plan.expect_break or worst_outlook(plan.faults) > Outlook.MAY_FAIL:
        return True
    actions = answer.actions if answer is not None else ()
    return any(action is not None and action.type == "start_stream" for action in actions)


def _of_streams(plan: CallPlan, streams: Sequence[StreamReport]) -> tuple[_Finding, ...]:
    """The three questions about the streams; what they ask for hangs on the plan's faults."""
    opened = [stream for stream in streams if stream.opened_at is not None]
    outlook = worst_outlook(plan.faults)
    if outlook is Outlook.REFUSED and streams:
        refused = _refusal_expected(streams)
        if refused[0]:
            nothing = (True, "no stream was accepted, as it should be")
            return refused, nothing, nothing
        return refused, _media_flowed(opened), _stream_closed(opened)
    accepted, flowed = _receiver_accepted(streams), _media_flowed(opened)
    if streams and any(fault.may_be_refused for fault in plan.faults):
        accepted = _allowed(accepted)
    if plan.expect_break or outlook is Outlook.BREAKS:
        return accepted, flowed, _break_expected(plan, opened)
    closed = _stream_closed(opened)
    if outlook is Outlook.MAY_FAIL and streams:
        return accepted, _allowed(flowed), _allowed(closed)
    return accepted, flowed, closed


def _refusal_expected(streams: Sequence[StreamReport]) -> _Finding:
    """What a fault asks for that a good receiver refuses before the upgrade."""
    statuses = [stream.refused_with for stream in streams]
    if all(status is not None and 400 <= status < 500 for status in statuses):
        return True, "refused, as it should be, with " + ", ".join(map(str, statuses))
    if any(stream.opened_at is not None for stream in streams):
        return False, "a stream was accepted that should have been refused"
    return False, "not refused with a status of the 400s: " + _faults(streams)


def _allowed(finding: _Finding) -> _Finding:
    """A finding about what the plan's faults may cause."""
    ok, said = finding
    return finding if ok else (True, f"{said}: which the faults of the plan may cause")


def _unless_found(
    finding: _Finding, findings: Sequence[Finding], who: Literal["stream", "webhook"]
) -> _Finding:
    """*finding*, unless a fault found that the other side did not do what it should."""
    bad = [str(found) for found in findings if found.who == who and not found.ok]
    if not bad:
        return finding
    ok, said = finding
    return False, "; ".join(bad if ok else [*bad, said])


def _answer_valid(answer: CheckedAnswer | None, fault: str | None) -> _Finding:
    if answer is None:
        return False, fault or "there was no answer"
    if not answer.valid:
        return False, _listed(answer.problems)
    return True, _count(len(answer.actions), "action") + ", all valid"


def _url_is_wss(
    answer: CheckedAnswer | None, streams: Sequence[StreamReport], failure: str | None
) -> _Finding:
    if answer is None:
        return False, "there was no answer to look at"
    faulty = [problem for problem in answer.problems if problem.path.endswith(".stream_url")]
    if faulty:
        return False, _listed(faulty)
    if not answer.valid:
        return False, "the answer is not valid, so no stream was started"
    if not streams and failure is not None:
        return False, f"no stream was started before the call failed: {failure}"
    if not streams:
        return False, "the answer started no stream: it has no start_stream that was run"
    return True, ", ".join(stream.stream_url for stream in streams)


def _receiver_accepted(streams: Sequence[StreamReport]) -> _Finding:
    if not streams:
        return _NO_STREAM
    refused = [stream for stream in streams if stream.opened_at is None]
    if refused:
        return False, _faults(refused)
    slowest = max(stream.opened_at or 0.0 for stream in streams)
    return True, f"{_count(len(streams), 'stream')} open after {slowest:.3f} s"


def _media_flowed(opened: Sequence[StreamReport]) -> _Finding:
    if not opened:
        return _NOT_OPENED
    silent = [s for s in opened if any(sums.frames == 0 for sums in s.sent.values())]
    if silent:
        return False, "no audio was sent: " + _faults(silent)
    said = (
        f"{track} {sums.frames} frames ({stream.format.seconds(sums.samples):.2f} s)"
        for stream in opened
        for track, sums in stream.sent.items()
    )
    return True, ", ".join(said)


def _stream_closed(opened: Sequence[StreamReport]) -> _Finding:
    if not opened:
        return _NOT_OPENED
    faulty = [stream for stream in opened if stream.fault is not None]
    if faulty:
        return False, _faults(faulty)
    return True, "stopped, then closed with 1000"


def _break_expected(plan: CallPlan, opened: Sequence[StreamReport]) -> _Finding:
    """What `expect_break`, or a fault, asks for: a stream that broke, and a call that went on.

    Where a fault breaks it, the receiver has no reason to end it first.
    """
    if not opened:
        return _NOT_OPENED
    broken = [stream for stream in opened if stream.broke_at is not None]
    allowed = {_NO_GOODBYE, *(code for fault in plan.faults for code in fault.may_end_with)}
    ended = [stream for stream in broken if stream.close_code not in allowed]
    if ended and not plan.expect_break:
        return False, _faults(ended)
    if not broken:
        return False, "a stream was to break, and none did"
    times = ", ".join(f"{stream.broke_at:.3f} s" for stream in broken)
    return True, f"broke after {times}, as asked; the call went on ({_faults(broken)})"


def _call_completed(
    plan: CallPlan, webhooks: Sequence[WebhookReport], failure: str | None
) -> _Finding:
    """Did the call complete, and was every event acknowledged in the end, if not at once?"""
    lost = [hook for hook in webhooks if not hook.accepted]
    bad = [f"the call failed: {failure}"] if failure is not None else []
    bad += [_never_acknowledged(lost)] if lost else []
    if bad:
        return False, "; ".join(bad)
    if plan.webhook_url is None:
        return True, "the call completed; there was no webhook_url to tell"
    last = next((hook for hook in webhooks if hook.event == "call.completed"), None)
    if last is None:
        return False, "call.completed was not sent"
    said = (
        f"call.completed was acknowledged with {last.status}"
        f" after {_count(last.attempts, 'attempt')}"
    )
    late = sum(hook.attempts > 1 for hook in webhooks if hook is not last)
    return True, f"{said}, {_count(late, 'other event')} after more than one" if late else said


def _never_acknowledged(lost: Sequence[WebhookReport]) -> str:
    """Which events were given up, by what came of their last attempts."""
    events: dict[str, list[str]] = {}
    for hook in lost:
        events.setdefault(str(hook.status or hook.fault), []).append(hook.event)
    said = "; ".join(f"{', '.join(names)} ({why})" for why, names in events.items())
    were = "was" if len(lost) == 1 else "were"
    return f"{_count(len(lost), 'event')} {were} never acknowledged: {said}"


def _faults(streams: Sequence[StreamReport]) -> str:
    return "; ".join(f"{stream.track}: {stream.fault}" for stream in streams)


def _listed(problems: Sequence[Problem]) -> str:
    return f"{_count(len(problems), 'fault')}: " + "; ".join(map(str, problems))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
