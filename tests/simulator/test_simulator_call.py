"""Whole calls at a small application over the memory network, in virtual time."""

from __future__ import annotations

import base64
import json
import re

import pytest
import trio
import trio.testing
from simulator_lab import ANSWER_URL, HOST, STREAM_URL, Document, failing, open_lab, start

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.signing import SIGNATURE_HEADER
from minivoice_ref.protocol.webhooks import read_event
from minivoice_ref.simulator.report import STEPS, Sums
from minivoice_ref.simulator.speech import packaged_voice
from minivoice_ref.testing import living_tasks

Clock = trio.testing.MockClock


async def test_a_good_call_passes_every_step(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(speak=5.0)
    assert failing(report) == []
    assert report.verdict == "pass"
    assert tuple(step.name for step in report.steps) == STEPS
    (stream,) = report.streams
    assert stream.sent == {"inbound": Sums(250, 40000), "outbound": Sums(250, 40000)}
    assert stream.close_code == 1000 and stream.fault is None
    assert stream.stream_url == f"wss://{HOST}/stream/abcdef…"
    assert [(hook.event, hook.attempts, hook.status) for hook in report.webhooks] == [
        ("call.created", 1, 204),
        ("call.answered", 1, 204),
        ("call.completed", 1, 204),
    ]
    assert lab.heard[0].code == 1000
    assert lab.trouble == []


async def test_the_call_leaves_nothing_running(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        before = living_tasks()
        await lab.call()
        await trio.sleep(5)  # the application closes what it had open
        assert living_tasks() == before


@pytest.mark.documents("envelope", "statuses-and-directions", "signed-with-a-secret-only")
async def test_the_events_come_in_order_and_in_the_documented_envelope(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report = await lab.call(variables={"account": "7"}, direction="outbound")
    assert lab.events() == [
        ("call.created", "dialing"),
        ("call.answered", "in_progress"),
        ("call.completed", "completed"),
    ]
    events = [read_event(request.body) for _, request in lab.hooks]
    times = [event.created_at for event in events]
    assert times == sorted(times) and (times[2] - times[1]).total_seconds() > 0.9
    for event in events:
        assert event.call.id == report.call_id
        assert (event.call.from_number, event.call.to_number) == ("+15551230001", "+15551230002")
        assert event.call.direction == "outbound"
        assert event.variables == {"account": "7"}
    created = json.loads(lab.hooks[0][1].body)
    assert created["data"] == {"event_key": f"{report.call_id}:call.created"}
    assert {"provider_call_id", "route_mode", "routing_target"} <= set(created["call"])
    assert all(request.method == "POST" for _, request in lab.hooks)
    assert all(request.header(SIGNATURE_HEADER) is None for _, request in lab.hooks)


@pytest.mark.documents("times-and-ids")
async def test_a_call_has_an_id_of_the_documented_look_and_never_another_calls(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        one, other = await lab.call(), await lab.call()
        named = await lab.call(call_id="call_mine")
    assert re.fullmatch(r"call_\d{8}T\d{6}\.\d{9}", one.call_id)
    assert one.call_id != other.call_id
    assert named.call_id == "call_mine"


async def test_the_answer_url_is_asked_with_the_call_in_a_json_body(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call()
    (request,) = lab.asked
    assert (request.method, request.media_type) == ("POST", "application/json")
    document = json.loads(request.body)
    assert document["call"]["id"] == report.call_id
    assert document["call"]["status"] == "dialing"


@pytest.mark.parametrize(
    ("url", "fixed"), [(ANSWER_URL, {}), (f"{ANSWER_URL}?tenant=7", {"tenant": "7"})]
)
async def test_the_answer_url_is_asked_by_get_with_the_call_in_the_query(
    autojump_clock: Clock, url: str, fixed: dict[str, str]
) -> None:
    async with open_lab() as lab:
        report = await lab.call(answer_url=url, answer_method="GET")
    (request,) = lab.asked
    assert (request.method, request.body) == ("GET", b"")
    assert request.query_values == fixed | {
        "call_id": report.call_id,
        "from": "+15551230001",
        "to": "+15551230002",
    }


async def test_call_answered_can_be_sent_before_the_answer_url_is_asked(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer = Response(500)
        await lab.call()
        assert [event for event, _ in lab.events()] == ["call.created", "call.failed"]
        lab.hooks.clear()
        await lab.call(answered_first=True)
        assert [event for event, _ in lab.events()] == [
            "call.created",
            "call.answered",
            "call.failed",
        ]
        lab.answer_with(start())
        lab.hooks.clear()
        await lab.call(answered_first=True)
        assert [event for event, _ in lab.events()] == [
            "call.created",
            "call.answered",
            "call.completed",
        ]


async def test_both_parties_are_heard_as_the_packaged_conversation(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        await lab.call(speak=22.0)
    caller, agent = packaged_voice("caller").frames, packaged_voice("agent").frames
    assert lab.heard[0].payload("inbound") == b"".join((*caller, *caller[:50]))
    assert lab.heard[0].payload("outbound") == b"".join((*agent, *agent[:50]))


async def test_what_was_sent_is_kept_where_the_plan_asks_for_it(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        kept, unkept = await lab.call(keep_audio=True), await lab.call()
    (stream,) = kept.streams
    assert stream.first_tick == 0
    for track in ("inbound", "outbound"):
        assert stream.audio[track] == lab.heard[0].payload(track)
    assert unkept.streams[0].audio == {}


async def test_a_caller_without_webhooks_is_not_told_and_the_call_passes(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report = await lab.call(webhook_url=None)
    assert report.verdict == "pass"
    assert (lab.hooks, report.webhooks) == ([], [])


async def test_the_moments_tell_the_call_in_order_and_keep_secrets(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(webhook_secret="hunter2")
    assert list(report.moments) == lab.moments
    assert [moment.at for moment in lab.moments] == sorted(moment.at for moment in lab.moments)
    told = "\n".join(map(str, lab.moments))
    expected = [
        f"call {report.call_id}, inbound",
        "call.created",
        "POST https://app.example.com/answer",
        "200 in 0 ms",
        "call.answered",
        "actions[0] start_stream: accepted: stream action accepted by the call flow",
        "connecting to wss://app.example.com/stream/abcdef…",
        "accepted by the receiver; sending inbound and outbound",
        "first inbound audio sent",
        "the caller hangs up",
        "stopped and closed with 1000; sent 50 inbound frames, 50 outbound frames",
        "call.completed: 204 in 0 ms",
    ]
    places = [told.index(text) for text in expected]
    assert places == sorted(places)
    assert "ghijklmnop" not in told and "hunter2" not in told
    assert "ghijklmnop" not in str(report) + json.dumps(report.to_json())


@pytest.mark.documents("webhook-url")
async def test_plain_http_is_for_a_laboratory_and_remarked_on(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(answer_url=f"http://{HOST}:443/answer")
    assert report.verdict == "pass"
    assert "the answer_url is not https: MiniVoice would not use it" in lab.said("platform")


async def test_the_same_seed_sends_the_same_messages(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        for _ in range(2):
            await lab.call(seed=7, call_id="call_1")
        await lab.call(seed=8, call_id="call_1")
    one, other, different = ([message for _, message in h.messages] for h in lab.heard)
    assert one == other
    assert one != different


async def test_a_cancelled_call_says_goodbye_to_its_streams(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        with trio.move_on_after(0.5):
            await lab.call(speak=60.0)
        await trio.sleep(1)
        assert lab.heard[0].code == 1001
        assert [event for event, _ in lab.events()] == ["call.created", "call.answered"]


# --- answers that are none ---

DEEP = b'{"actions":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Response(500, b"Traceback"), "answered 500"),
        (Response(404), "answered 404"),
        (Response(302, headers=(("Location", "https://elsewhere.example.com"),)), "answered 302"),
        (Response(200), "is empty"),
        (Response(200, b"<html>"), "not JSON"),
        (Response(200, b"[]"), "not an object"),
        (Response(200, b'{"actions": {}}'), "actions"),
        (Response(200, b'{"actions": [{"type": "dance"}]}'), "actions[0]"),
        (Response(200, DEEP), "nested deeper"),
        (Response(200, b'{"actions": [' + b"[" * 98 + b"]" * 98 + b"]}"), "actions[0][0]"),
        (Response(200, b'{"actions": []}' + b" " * 10_000_000), "response"),
    ],
    ids=[
        "500", "404", "302", "empty", "not-json", "list", "no-list", "unknown", "deep", "deep-100",
        "huge",
    ],
)  # fmt: skip
@pytest.mark.documents("answer-url")
async def test_a_bad_answer_fails_the_call(
    autojump_clock: Clock, answer: Response, why: str
) -> None:
    async with open_lab() as lab:
        lab.answer = answer
        report = await lab.call(limits=Limits(response_body=1_000_000))
    assert failing(report) == list(STEPS)
    assert why in report.steps[0].detail
    assert report.streams == []
    assert lab.events() == [("call.created", "dialing"), ("call.failed", "failed")]
    assert "failed" in report.steps[-1].detail


@pytest.mark.documents("validated-first")
async def test_the_documented_bad_answer_has_two_faults_and_starts_nothing(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start("https://media.example.com/minivoice", "speaker"), {"hold": {}})
        report = await lab.call()
    assert failing(report) == list(STEPS)
    assert [(result.type, result.outcome) for result in report.actions] == [
        ("start_stream", "rejected"),
        ("hold", "skipped"),
    ]
    assert "stream_url" in report.actions[0].detail and "track" in report.actions[0].detail
    faults = [text for text in lab.said("answer") if text.startswith("fault: ")]
    assert [fault.split(":")[1].strip() for fault in faults] == [
        "actions[0].stream_url",
        "actions[0].track",
    ]


async def test_a_faulty_action_is_rejected_by_its_name_and_only_others_are_not_readable(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        faulty: Document = {"say": {"text": 3}}
        lab.answer_with(faulty, {"type": "dance"}, {"hold": {}}, *[{"type": "dance"}] * 200)
        report = await lab.call()
    found = [(result.type, result.outcome) for result in report.actions]
    assert found[:3] == [("say", "rejected"), ("not readable", "rejected"), ("hold", "skipped")]
    assert found[3] == ("not readable", "rejected")
    assert found[-1] == ("not read", "skipped") and len(found) == 203


async def test_what_an_answer_probably_does_not_mean_is_warned_of(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start() | {"volume": 11})
        report = await lab.call()
    assert report.verdict == "pass"
    assert any(text.startswith("warning: actions[0].volume") for text in lab.said("answer"))


async def test_an_answer_url_where_nobody_listens_fails_the_call(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(answer_url="https://nobody.example.com/answer")
    assert failing(report) == list(STEPS)
    assert "nobody listens" in report.steps[0].detail
    assert [event for event, _ in lab.events()] == ["call.created", "call.failed"]


@pytest.mark.parametrize("pause", [0.5, 1000.0], ids=["drop by drop", "never"])
async def test_an_answer_that_does_not_come_in_time_fails_the_call(
    autojump_clock: Clock, pause: float
) -> None:
    body = b'{"actions":[]}'

    async def dribble(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n")
                for byte in body * 100:
                    await trio.sleep(pause)
                    await stream.send_all(bytes([byte]))
            except trio.BrokenResourceError:
                pass

    async with open_lab() as lab, trio.open_nursery() as nursery:
        listener = lab.network.listener("slow.example.com", 443)
        await nursery.start(trio.serve_listeners, dribble, [listener])
        report = await lab.call(
            answer_url="https://slow.example.com/answer", timeouts=Timeouts(response=3.0)
        )
        nursery.cancel_scope.cancel()
    assert failing(report) == list(STEPS)
    assert "response" in report.steps[0].detail
    failed_at = next(moment.at for moment in lab.moments if moment.text == "call.failed")
    assert failed_at == pytest.approx(3.0, abs=0.01)


def media_of(document: Document) -> bytes:
    return base64.b64decode(document["media"]["payload"])


async def test_the_stream_speaks_the_dialect_from_greeting_to_stop(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        report = await lab.call(speak=0.1)
    (heard,) = lab.heard
    assert heard.events() == ["connected", "start", *["media"] * 10, "stop"]
    started = heard.of("start")[0]["start"]
    assert started["callSid"] == report.call_id
    assert started["streamSid"] == report.streams[0].stream_id
    assert started["tracks"] == ["inbound", "outbound"]
    assert started["mediaFormat"] == {
        "encoding": "audio/x-mulaw",
        "sampleRate": 8000,
        "channels": 1,
    }
    assert all(len(media_of(message)) == 160 for message in heard.of("media"))
    assert [message["media"]["timestamp"] for message in heard.of("media")] == [
        str(20 * n) for n in range(5) for _ in range(2)
    ]
    assert heard.of("stop")[0]["stop"]["callSid"] == report.call_id
    assert heard.path == STREAM_URL.removeprefix(f"wss://{HOST}")
