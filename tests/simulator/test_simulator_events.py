"""Every documented event, at its moment, in the documented envelope; and how all are delivered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import trio.testing
from simulator_lab import Document, Lab, open_lab, start

from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.webhooks import EVENTS, parse_time, read_event
from minivoice_ref.simulator.plan import RetrySchedule

Clock = trio.testing.MockClock

FIVE_WORDS: Document = {"say": {"text": "one two three four five"}}  # takes 2 s
RECORD: list[Document] = [FIVE_WORDS, {"start_recording": {}}, FIVE_WORDS, {"stop_recording": {}}]


@dataclass(frozen=True)
class Told:
    """One event: what causes it, when it comes (seconds after the call began), what it says."""

    event: str
    fact: str
    actions: list[Document]
    at: float
    status: str
    data: frozenset[str] = frozenset()
    settings: Mapping[str, object] = field(default_factory=dict)


GATHERED = frozenset(
    ("digits", "status", "timed_out", "min_digits", "max_digits", "timeout_seconds")
) | {"finish_on_key"}
RECORDED = frozenset(("recording_id", "duration_seconds"))

TOLD = [
    Told("call.created", "the first", [start()], 0.0, "dialing", frozenset(["event_key"])),
    Told("call.answered", "usual order: created, answered", [start()], 0.0, "in_progress"),
    Told(
        "call.gathered",
        "digits, status, timed_out, min_digits, max_digits, timeout_seconds, finish_on_key",
        [FIVE_WORDS, {"gather": {"timeout_seconds": 3}}],
        5.0,
        "in_progress",
        GATHERED,
    ),
    Told("call.completed", "the last", [FIVE_WORDS], 3.0, "completed"),
    Told(
        "call.failed",
        "in the place of completed",
        [FIVE_WORDS, {"resume": {}}],
        2.0,
        "failed",
        frozenset(["reason"]),
    ),
    Told(
        "recording.started",
        "caused by start_recording",
        RECORD,
        2.0,
        "in_progress",
        frozenset(["recording_id"]),
    ),
    Told("recording.completed", "then", RECORD, 4.0, "in_progress", RECORDED),
    Told("recording.failed", "or", RECORD, 4.0, "in_progress", RECORDED, {"recording_fails": True}),
]


def bodies(lab: Lab, event: str) -> list[Document]:
    found = [json.loads(request.body) for _, request in lab.hooks]
    return [body for body in found if body["event"] == event]


@pytest.mark.parametrize("told", TOLD, ids=lambda told: f"{told.event}: {told.fact}")
@pytest.mark.documents("eight-events", "gathered-data")
async def test_the_documented_event(autojump_clock: Clock, told: Told) -> None:
    async with open_lab() as lab:
        began = trio.current_time()
        lab.answer_with(*told.actions)
        report = await lab.call(variables={"account": "7"}, **told.settings)
    (body,) = bodies(lab, told.event)
    assert list(body) == ["event", "created_at", "call", "variables", "data"]
    assert set(body["data"]) == told.data
    assert body["variables"] == {"account": "7"}
    call = body["call"]
    assert (call["id"], call["status"]) == (report.call_id, told.status)
    assert {"customer_id", "application_id", "direction", "from", "to"} < set(call)
    (arrived,) = [at for at, request in lab.hooks if told.event.encode() in request.body]
    assert arrived - began == pytest.approx(told.at, abs=0.03)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body["created_at"])
    created = parse_time(bodies(lab, "call.created")[0]["created_at"])
    assert (parse_time(body["created_at"]) - created).total_seconds() == pytest.approx(
        told.at, abs=0.03
    )


@pytest.mark.documents("eight-events")
def test_every_documented_event_is_told_of() -> None:
    assert [told.event for told in TOLD] == list(EVENTS)


@pytest.mark.parametrize(
    ("actions", "middle", "last"),
    [
        ([], [], "call.completed"),
        ([{"gather": {"timeout_seconds": 1}}], ["call.gathered"], "call.completed"),
        ([{"gather": {"timeout_seconds": 1}}, {"resume": {}}], ["call.gathered"], "call.failed"),
    ],
)
@pytest.mark.documents("usual-order")
async def test_the_usual_order_is_created_answered_gathered_completed_or_failed(
    autojump_clock: Clock, actions: list[Document], middle: list[str], last: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(), *actions)
        await lab.call()
    assert [event for event, _ in lab.events()] == ["call.created", "call.answered", *middle, last]
    times = [json.loads(request.body)["created_at"] for _, request in lab.hooks]
    assert times == sorted(times)


@pytest.mark.documents("call-created-shows-more")
async def test_the_first_event_also_shows_how_the_call_is_routed(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call()
    created, *others = [read_event(request.body) for _, request in lab.hooks]
    assert set(created.call.extra) == {"provider_call_id", "route_mode", "routing_target"}
    assert created.data["event_key"] == f"{report.call_id}:call.created"
    assert all(not other.call.extra for other in others)
    assert re.fullmatch(r"call_\d{8}T\d{6}\.\d{9}", report.call_id)


@pytest.mark.documents("keyed-by-call-and-event")
async def test_gathers_and_recordings_can_repeat_and_are_told_apart(autojump_clock: Clock) -> None:
    gather: Document = {"gather": {"timeout_seconds": 1}}
    record: list[Document] = [{"start_recording": {}}, {"stop_recording": {}}]
    async with open_lab() as lab:
        lab.answer_with(gather, gather, *record, *record)
        await lab.call()
    keys = [read_event(request.body).key for _, request in lab.hooks]
    assert len(keys) == len(set(keys)) == 9


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.documents("any-2xx")
async def test_any_2xx_accepts_the_event(autojump_clock: Clock, status: int) -> None:
    async with open_lab() as lab:
        lab.hook_replies = {event: [Response(status)] for event in EVENTS}
        report = await lab.call()
    assert [(hook.attempts, hook.status) for hook in report.webhooks] == [(1, status)] * 3


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 429, 500, 503])
@pytest.mark.documents("retried")
async def test_a_non_2xx_is_retried(autojump_clock: Clock, status: int) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.completed"] = [Response(status)]
        report = await lab.call()
    assert report.webhooks[-1].attempts == 2 and report.webhooks[-1].accepted


@pytest.mark.documents("retried")
async def test_an_unreachable_endpoint_is_retried(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(
            webhook_url="https://nobody.example.com/hook",
            retries=RetrySchedule(attempts=3, jitter=0),
        )
    assert [hook.attempts for hook in report.webhooks] == [3, 3, 3]
    assert all(hook.seconds is None for hook in report.webhooks)


async def test_how_long_an_acceptance_took_is_reported(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_delay = 0.25
        report = await lab.call()
    assert [hook.seconds for hook in report.webhooks] == pytest.approx([0.25] * 3, abs=0.01)


# --- retries by chance, duplicates, order ---


def pauses(lab: Lab, event: str) -> list[float]:
    times = [at for at, request in lab.hooks if event.encode() in request.body]
    return [later - earlier for earlier, later in zip(times, times[1:], strict=False)]


async def test_pauses_grow_with_a_jitter_that_hangs_on_the_seed(autojump_clock: Clock) -> None:
    found = []
    for seed in (1, 1, 2):
        async with open_lab() as lab:
            lab.hook_replies["call.created"] = [Response(500)] * 4
            await lab.call(seed=seed, retries=RetrySchedule(jitter=0.5))
            found.append(pauses(lab, "call.created"))
    assert found[0] == pytest.approx(found[1]) and found[0] != pytest.approx(found[2])
    for took, middle in zip(found[0], [0.5, 1, 2, 4], strict=True):
        assert middle * 0.5 <= took <= middle * 1.5 and took != pytest.approx(middle, abs=1e-3)


async def test_duplicates_are_the_same_event_signed_anew(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(duplicate_webhooks=True, webhook_secret="s", seed=3)
    keys = [read_event(request.body).key for _, request in lab.hooks]
    assert len(keys) == 6 and all(keys.count(key) == 2 for key in keys)
    assert [(hook.attempts, hook.duplicates) for hook in report.webhooks] == [(1, 1)] * 3
    assert [hook.duplicate_status for hook in report.webhooks] == [204] * 3
    assert report.verdict == "pass"
    assert sum("a duplicate" in text for text in lab.said("webhook")) == 3


async def test_a_refused_duplicate_is_let_be(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.completed"] = [Response(204), Response(409)]
        report = await lab.call(duplicate_webhooks=True)
    last = report.webhooks[-1]
    assert report.verdict == "pass" and (last.status, last.duplicate_status) == (204, 409)
    assert last.duplicate_fault == "answered 409" and not report.webhooks[0].duplicate_fault
    assert "call.completed, a duplicate: answered 409; let be" in lab.said("webhook")


@pytest.mark.documents("no-order-promised")
async def test_webhooks_come_in_another_order_which_hangs_on_the_seed(
    autojump_clock: Clock,
) -> None:
    orders = []
    for seed in (*range(6), 0):
        async with open_lab() as lab:
            lab.answer_with(start(), {"start_recording": {}}, {"stop_recording": {}})
            report = await lab.call(reorder_webhooks=True, seed=seed)
            orders.append([event for event, _ in lab.events()])
        assert report.verdict == "pass"
        assert orders[-1].index("call.answered") < orders[-1].index("call.created")
    assert orders[0] == orders[-1]
    assert len(set(map(tuple, orders))) > 1
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


async def test_a_single_event_that_is_held_back_is_let_go(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer = Response(500)
        await lab.call(reorder_webhooks=True)
    assert sorted(event for event, _ in lab.events()) == ["call.created", "call.failed"]


async def test_reordering_without_webhooks_is_nothing(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(reorder_webhooks=True, webhook_url=None)
    assert report.verdict == "pass" and not lab.hooks
