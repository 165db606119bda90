"""Webhooks: signed, told in order, told again with growing pauses, and never in the call's way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

import pytest
import trio
import trio.testing
from simulator_lab import Lab, failing, open_lab

from minivoice_ref.config import Timeouts
from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadSignature,
    check_webhook,
)
from minivoice_ref.simulator.call import RetrySchedule

Clock = trio.testing.MockClock


def arrivals(lab: Lab, event: str) -> list[float]:
    """When one event arrived, in seconds after the first webhook of all."""
    first = lab.hooks[0][0]
    return [at - first for at, request in lab.hooks if event.encode() in request.body]


def check(lab: Lab, index: int, secret: str, now: float) -> None:
    request = lab.hooks[index][1]
    check_webhook(
        [secret],
        request.header(TIMESTAMP_HEADER),
        request.header(SIGNATURE_HEADER),
        request.body,
        now=now,
        tolerance=300.0,
    )


@pytest.mark.documents("signed-with-a-secret-only")
async def test_signed_webhooks_verify_with_the_secret_and_with_no_other(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report = await lab.call(webhook_secret="correct horse")
    assert report.verdict == "pass"
    now = datetime.now(timezone.utc).timestamp()
    for index in range(3):
        check(lab, index, "correct horse", now)
        with pytest.raises(BadSignature):
            check(lab, index, "battery staple", now)


async def test_each_attempt_is_signed_with_its_own_time(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.completed"] = [Response(500)]
        schedule = RetrySchedule(first=30.0, longest=30.0, jitter=0.0)
        await lab.call(webhook_secret="s", retries=schedule)
    (_, one), (_, other) = lab.hooks[-2:]
    stamps = [int(request.header(TIMESTAMP_HEADER) or 0) for request in (one, other)]
    assert stamps[1] - stamps[0] in (30, 31)
    assert one.body == other.body
    now = datetime.now(timezone.utc).timestamp()
    check(lab, -1, "s", now + 30)


async def test_a_refused_webhook_is_told_again_with_growing_pauses(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response(503), Response(302)]
        lab.hook_replies["call.answered"] = [Response(status) for status in (500, 404, 429)]
        report = await lab.call(speak=0.1)
    assert arrivals(lab, "call.created") == pytest.approx([0, 0.5, 1.5], abs=0.01)
    assert [hook.attempts for hook in report.webhooks] == [3, 4, 1]
    assert all(hook.status == 204 and hook.fault is None for hook in report.webhooks)
    assert report.verdict == "pass"
    said = lab.said("webhook")
    assert "call.created: answered 503 (attempt 1 of 6); again in 0.5 s" in said
    assert sum(hook.attempts for hook in report.webhooks) == len(lab.hooks)


async def test_a_webhook_that_is_never_accepted_is_given_up(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        for event in ("call.created", "call.answered", "call.completed"):
            lab.hook_replies[event] = [Response(503)] * 99
        schedule = RetrySchedule(attempts=3, first=1, factor=3, longest=99, jitter=0)
        report = await lab.call(retries=schedule)
    assert [(hook.attempts, hook.status) for hook in report.webhooks] == [(3, 503)] * 3
    assert arrivals(lab, "call.created") == pytest.approx([0, 1, 4], abs=0.01)
    assert failing(report) == ["call_completed"]
    lost = "call.created, call.answered, call.completed (503)"
    assert report.steps[-1].detail == f"3 events were never acknowledged: {lost}"
    assert "call.completed: answered 503 (attempt 3 of 3); given up" in lab.said("webhook")


async def test_an_endpoint_that_accepts_only_the_last_event_fails_the_verdict(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response(500)] * 99
        lab.hook_replies["call.answered"] = [Response(500)]
        report = await lab.call(retries=RetrySchedule(attempts=2, jitter=0))
    assert failing(report) == ["call_completed"]
    assert report.steps[-1].detail == "1 event was never acknowledged: call.created (500)"


async def test_an_endpoint_that_is_not_there_is_tried_as_often_and_has_no_status(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report = await lab.call(
            webhook_url="https://nobody.example.com/hook", retries=RetrySchedule(attempts=2)
        )
    assert [(hook.attempts, hook.status) for hook in report.webhooks] == [(2, None)] * 3
    assert "nobody listens" in (report.webhooks[0].fault or "")
    assert failing(report) == ["call_completed"]
    assert report.streams[0].fault is None


async def test_the_status_is_that_of_the_last_attempt(autojump_clock: Clock) -> None:
    """First a 503, then an endpoint that has gone: there is no status any more."""
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response(503)]
        connect, webhooks = lab.network.connect, 0

        async def fail_the_second_webhook(host: str, port: int, tls: bool) -> trio.abc.Stream:
            nonlocal webhooks
            webhooks += host == "hook.example.com"
            return await connect("app.example.com" if webhooks < 2 else host, port, tls)

        lab.network.connect = fail_the_second_webhook  # type: ignore[method-assign]
        report = await lab.call(
            webhook_url="https://hook.example.com/hook", retries=RetrySchedule(attempts=2)
        )
    assert report.webhooks[0].status is None


@pytest.mark.parametrize(
    ("settings", "speaks_until"),
    [({}, 1.0), ({"timeouts": Timeouts(response=60.0)}, 1.0)],
    ids=["given up", "in the end"],
)
async def test_a_slow_endpoint_does_not_hold_up_the_call(
    autojump_clock: Clock, settings: Mapping[str, object], speaks_until: float
) -> None:
    async with open_lab() as lab:
        lab.hook_delay = 30.0
        report = await lab.call(retries=RetrySchedule(attempts=1), **settings)
    hung_up = next(m.at for m in lab.moments if m.text == "the caller hangs up")
    assert hung_up == pytest.approx(speaks_until, abs=0.02)
    assert report.streams[0].fault is None
    accepted = bool(settings)
    assert [hook.accepted for hook in report.webhooks] == [accepted] * 3


async def test_first_attempts_keep_the_order_of_the_events(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_delay = 5.0
        lab.hook_replies["call.created"] = [Response(500)]
        await lab.call(speak=0.1)
    told = [event for event, _ in lab.events()]
    assert told == ["call.created", "call.answered", "call.created", "call.completed"]
