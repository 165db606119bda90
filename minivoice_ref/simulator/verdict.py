"""The verdict on a call: six questions in the documented debug order, answered from what was seen.

A question that could not be asked because an earlier one failed counts as failed, and says so: a
verdict is good only where everything was seen to work.

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

_Finding = tuple[bool, str]
_NO_STREAM: _Finding = (False, "no stream was started")
_NOT_OPENED: _Finding = (False, "no stream was accepted")


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
    accepted, flowed, closed = _of_streams(plan, streams)
    if answer is None or not answer.valid:
        failure = "it had no valid answer"
    completed = _call_completed(plan, webhooks, failure)
    answers = (
        _answer_valid(answer, answer_fault),
        _url_is_wss(answer, streams, failure),
        accepted,
        flowed,
        _unless_found(closed, findings, "stream"),
        _unless_found(completed, findings, "webhook"),
    )
    return [Step(name, *finding) for name, finding in zip(STEPS, answers, strict=True)]


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
    if plan.expect_break or outlook is Outlook.BREAKS:
        return accepted, flowed, _break_expected(opened)
    closed = _stream_closed(opened)
    if outlook is Outlook.MAY_FAIL and streams:
        return _allowed(accepted), _allowed(flowed), _allowed(closed)
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
    return (False, "; ".join(bad)) if bad else finding


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


def _break_expected(opened: Sequence[StreamReport]) -> _Finding:
    """What `expect_break` asks for: a stream that broke, and a call that took no notice."""
    if not opened:
        return _NOT_OPENED
    broken = [stream for stream in opened if stream.broke_at is not None]
    if not broken:
        return False, "a stream was to break, and none did"
    times = ", ".join(f"{stream.broke_at:.3f} s" for stream in broken)
    return True, f"broke after {times}, as asked; the call went on ({_faults(broken)})"


def _call_completed(
    plan: CallPlan, webhooks: Sequence[WebhookReport], failure: str | None
) -> _Finding:
    if failure is not None:
        return False, f"the call failed: {failure}"
    if plan.webhook_url is None:
        return True, "the call completed; there was no webhook_url to tell"
    last = next((hook for hook in webhooks if hook.event == "call.completed"), None)
    if last is None or not last.accepted:
        why = last.fault if last else "it was not sent"
        return False, f"call.completed was not acknowledged: {why}"
    return True, (
        f"call.completed was acknowledged with {last.status}"
        f" after {_count(last.attempts, 'attempt')}"
    )


def _faults(streams: Sequence[StreamReport]) -> str:
    return "; ".join(f"{stream.track}: {stream.fault}" for stream in streams)


def _listed(problems: Sequence[Problem]) -> str:
    return f"{_count(len(problems), 'fault')}: " + "; ".join(map(str, problems))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
