"""Every row of the documentation's table of actions, executed: the fact is the test's id.

A row is an answer, what the caller does, and what must then be so. More about the longer ones is in
`test_simulator_gather.py` and `test_simulator_redirect.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import trio.testing
from simulator_lab import HOST, STREAM_URL, Document, Lab, open_lab, start

from minivoice_ref.net.http_messages import Response
from minivoice_ref.protocol.actions import ACTIONS, STREAM_ACTION_ACCEPTED
from minivoice_ref.simulator.assumptions import Assumptions
from minivoice_ref.simulator.digits import tone
from minivoice_ref.simulator.report import CallReport
from minivoice_ref.simulator.speech import SILENCE, Voice

Clock = trio.testing.MockClock
Check = Callable[[Lab, CallReport], None]

FIVE_WORDS: Document = {"say": {"text": "one two three four five"}}  # takes 2 s
NEXT_URL = f"https://{HOST}/next"
OTHER_URL = f"wss://{HOST}/other"
PHONE = "+15551230003"
CALLER = Voice("caller", tuple(bytes([n]) * 160 for n in range(1, 101)))
AGENT = Voice("agent", tuple(bytes([n]) * 160 for n in range(101, 201)))


@dataclass(frozen=True)
class Row:
    """One documented fact, and what shows it."""

    fact: str
    actions: list[Document]
    check: Check
    settings: Mapping[str, object] = field(default_factory=dict)


def lines(report: CallReport) -> list[str]:
    return [str(result) for result in report.actions]


def outcomes(report: CallReport) -> list[str]:
    return [result.outcome for result in report.actions]


def at(lab: Lab, text: str) -> float:
    """When a moment that begins with *text* was, in seconds after the call began."""
    return next(moment.at for moment in lab.moments if moment.text.startswith(text))


def frames(report: CallReport, track: str) -> list[bytes]:
    """What the first stream carried of a track."""
    audio = report.streams[0].audio[track]
    return [audio[n : n + 160] for n in range(0, len(audio), 160)]


def tones(report: CallReport, track: str, keys: str) -> list[float]:
    """When in the first stream the tone of each of *keys* is heard, in seconds."""
    heard = b"".join(frames(report, track))
    found = [heard.index(b"".join(tone(key, 5).frames)) for key in keys]
    return [position / 8000 for position in found]


def all_accepted(lab: Lab, report: CallReport) -> None:
    assert set(outcomes(report)) == {"accepted"}
    assert lab.events()[-1][0] == "call.completed"


def says(lab: Lab, report: CallReport) -> None:
    all_accepted(lab, report)
    assert at(lab, "actions[2]") - at(lab, "actions[0]") == pytest.approx(2.0, abs=0.03)
    spoken = AGENT.without_pauses(100).frames
    assert frames(report, "outbound")[:100] == list(spoken)
    assert set(frames(report, "inbound")[:100]) == {SILENCE}


def gathers(**expected: object) -> Check:
    def check(lab: Lab, report: CallReport) -> None:
        all_accepted(lab, report)
        (data,) = lab.data_of("call.gathered")
        assert {name: data[name] for name in expected} == expected

    return check


def lasts(seconds: float, **expected: object) -> Check:
    """The gather is over when the hold after it has its line."""

    def check(lab: Lab, report: CallReport) -> None:
        gathers(**expected)(lab, report)
        assert at(lab, "actions[1] hold") == pytest.approx(seconds, abs=0.03)

    return check


def prompts(lab: Lab, report: CallReport) -> None:
    gathers(digits="7")(lab, report)
    assert frames(report, "outbound")[:100] == list(AGENT.without_pauses(100).frames)
    assert tones(report, "inbound", "7") == pytest.approx([2.5], abs=0.03)
    assert [message["dtmf"]["digit"] for message in lab.heard[0].of("dtmf")] == ["7"]


def hangs_up_in_gather(lab: Lab, report: CallReport) -> None:
    gathers(digits="", timed_out=False, status="hangup")(lab, report)
    assert at(lab, "the caller hangs up") == pytest.approx(2.0, abs=0.03)


def sends_digits(lab: Lab, report: CallReport) -> None:
    all_accepted(lab, report)
    assert tones(report, "outbound", "1#A") == pytest.approx([0.5, 0.7, 1.4], abs=0.03)
    assert at(lab, "actions[2] hold") == pytest.approx(1.5, abs=0.03)


def sends_every_key(lab: Lab, report: CallReport) -> None:
    all_accepted(lab, report)
    keys = "0123456789*#ABCD"
    found = tones(report, "outbound", keys)
    assert found == sorted(found) and len(found) == len(keys)
    # The three pauses stand between the last two.
    assert found[-1] - found[-2] > 2 * (found[-2] - found[-3])


def goes_on_with_another_list(lab: Lab, report: CallReport) -> None:
    (visit,) = lab.visited
    assert visit.method == "GET"
    assert report.verdict == "pass"
    assert [(r.type, r.outcome, r.list) for r in report.actions] == [
        ("start_stream", "accepted", 0),
        ("redirect", "accepted", 0),
        ("hold", "skipped", 0),
        ("stop_stream", "accepted", 1),
    ]
    assert at(lab, "stopped and closed") == pytest.approx(1.0, abs=0.03)


def follows(*paths: str) -> Check:
    """The call goes on, by way of *paths*."""

    def check(lab: Lab, report: CallReport) -> None:
        assert [visit.path for visit in lab.visited] == list(paths)
        assert report.actions[0].outcome == "accepted"
        assert lab.events()[-1] == ("call.completed", "completed")

    return check


def posts(lab: Lab, report: CallReport) -> None:
    (visit,) = lab.visited
    assert (visit.method, json.loads(visit.body)["call"]["id"]) == ("POST", report.call_id)


def ends_the_list(detail: str) -> Check:
    def check(lab: Lab, report: CallReport) -> None:
        assert report.verdict == "pass"
        assert outcomes(report) == ["accepted", "accepted", "skipped", "skipped"]
        assert detail in lines(report)[1] and "not run after" in lines(report)[3]
        assert at(lab, "the caller hangs up") == pytest.approx(3.0, abs=0.03)
        assert report.streams[0].sent["inbound"].frames == 150

    return check


def warned(lab: Lab, report: CallReport) -> None:
    assert outcomes(report) == ["accepted", "accepted"]
    assert PHONE in lines(report)[1]
    assert any(text.startswith("warning: actions[1]") for text in lab.said("answer"))


def conference_mutes(lab: Lab, report: CallReport) -> None:
    assert set(frames(report, "inbound")[1:]) == {SILENCE}
    assert len(set(frames(report, "outbound"))) > 10


def held(lab: Lab, report: CallReport) -> None:
    all_accepted(lab, report)
    for track in ("inbound", "outbound"):
        heard = frames(report, track)
        assert set(heard[:100]) == {SILENCE}
        assert len(set(heard[100:])) > 10


def fails(why: str) -> Check:
    def check(lab: Lab, report: CallReport) -> None:
        assert "failed" in outcomes(report)
        assert lab.events()[-1] == ("call.failed", "failed")
        assert why in report.steps[-1].detail and why in lab.data_of("call.failed")[0]["reason"]

    return check


def rest_is_run(lab: Lab, report: CallReport) -> None:
    assert outcomes(report) == ["accepted", "failed", "accepted"]
    assert lab.events()[-1] == ("call.completed", "completed")


def muted(*silent: str) -> Check:
    """The *silent* tracks carry nothing until the `say` is over; then they are heard again."""

    def check(lab: Lab, report: CallReport) -> None:
        all_accepted(lab, report)
        for track in ("inbound", "outbound"):
            heard = frames(report, track)
            # While the agent says something, the caller listens anyway.
            assert (set(heard[:100]) == {SILENCE}) == (track in (*silent, "inbound"))
            assert len(set(heard[100:])) > 10

    return check


def stays_muted(track: str, other: str) -> Check:
    def check(lab: Lab, report: CallReport) -> None:
        assert set(frames(report, track)) == {SILENCE}
        assert len(set(frames(report, other))) > 10

    return check


def records(lab: Lab, report: CallReport) -> None:
    all_accepted(lab, report)
    assert [event for event, _ in lab.events()] == [
        "call.created",
        "call.answered",
        "recording.started",
        "recording.completed",
        "call.completed",
    ]
    (started,), (ended,) = lab.data_of("recording.started"), lab.data_of("recording.completed")
    assert started["recording_id"] == ended["recording_id"]
    assert ended["duration_seconds"] == pytest.approx(2.0, abs=0.03)


def recording_fails(lab: Lab, report: CallReport) -> None:
    events = [event for event, _ in lab.events()]
    assert events[2:4] == ["recording.started", "recording.failed"]


def streams(*inbound_frames: int) -> Check:
    def check(lab: Lab, report: CallReport) -> None:
        assert report.verdict == "pass"
        found = [next(iter(stream.sent.values())).frames for stream in report.streams]
        assert found == list(inbound_frames)
        for result in report.actions:
            assert result.detail.startswith(STREAM_ACTION_ACCEPTED)
        assert not any("stream" in event for event, _ in lab.events())

    return check


def nothing_is_stopped(lab: Lab, report: CallReport) -> None:
    streams(100)(lab, report)
    assert lab.events()[-1][0] == "call.completed"


GATHER: Document = {"type": "gather"}
HOLD: Document = {"hold": {}}
KEPT = {"keep_audio": True, "caller": CALLER, "agent": AGENT}
TALK = {"talk": 3.0}

ROWS = [
    Row("say: next action when playback ends", [start(), FIVE_WORDS, HOLD], says, KEPT),
    Row(
        "say: a failed one may stop the rest",
        [start(), FIVE_WORDS, HOLD],
        fails("playback failed"),
        {"say_fails": True},
    ),
    Row(
        "say: a failed one may stop the rest, and may not",
        [start(), FIVE_WORDS, HOLD],
        rest_is_run,
        {"say_fails": True, "assumptions": Assumptions(failing_action="goes_on")},
    ),
    Row(
        "gather: num_digits, default 1; ends on enough digits; causes call.gathered",
        [GATHER, HOLD],
        lasts(0.6, digits="4", timed_out=False, min_digits=1, max_digits=1),
        {"digits": "42"},
    ),
    Row(
        "gather: num_digits",
        [GATHER | {"num_digits": 3}, HOLD],
        lasts(1.6, digits="421", min_digits=1, max_digits=3),
        {"digits": "421"},
    ),
    Row(
        "gather: max_digits, min_digits",
        [GATHER | {"min_digits": 1, "max_digits": 2}],
        gathers(digits="42", min_digits=1, max_digits=2),
        {"digits": "421"},
    ),
    Row(
        "gather: ends on the finish key",
        [GATHER | {"num_digits": 9, "finish_on_key": "#"}, HOLD],
        lasts(1.1, digits="1", status="completed", finish_on_key="#", timed_out=False),
        {"digits": "1#"},
    ),
    Row("gather: ends on hang-up", [GATHER], hangs_up_in_gather, {"hang_up_after": 2.0}),
    Row(
        "gather: ends on timeout; timeout_seconds 1-30",
        [GATHER | {"timeout_seconds": 30}, HOLD],
        lasts(30.0, digits="", timed_out=True, timeout_seconds=30, finish_on_key=None),
    ),
    Row(
        "gather: prompt",
        [start(), GATHER | {"prompt": "one two three four five"}],
        prompts,
        KEPT | {"digits": "7"},
    ),
    Row(
        "send_digits: digits from 0-9 * # A-D w W , and pause_before_ms; continues",
        [start(), {"send_digits": {"digits": "1#wA", "pause_before_ms": 500}}, HOLD],
        sends_digits,
        KEPT,
    ),
    Row(
        "send_digits: every key and every pause",
        [start(), {"send_digits": {"digits": "0123456789*#ABCwW,D"}}],
        sends_every_key,
        KEPT,
    ),
    Row(
        "redirect: method default GET; the call goes on with the action list fetched from there",
        [start(), {"redirect": {"url": NEXT_URL}}, HOLD],
        goes_on_with_another_list,
    ),
    Row(
        "redirect: url, HTTP or HTTPS",
        [{"redirect": {"url": f"http://{HOST}:443/next"}}],
        follows("/next"),
    ),
    Row("redirect: method POST", [{"redirect": {"url": NEXT_URL, "method": "POST"}}], posts),
    Row(
        "redirect: non-2xx: the redirect fails",
        [{"redirect": {"url": f"https://{HOST}/missing"}}],
        fails("answered 404"),
    ),
    Row(
        "redirect: bad JSON: the redirect fails",
        [{"redirect": {"url": f"https://{HOST}/text"}}],
        fails("not JSON"),
    ),
    Row(
        "redirect: bad actions: the redirect fails",
        [{"redirect": {"url": f"https://{HOST}/bad"}}],
        fails("actions[0].track"),
    ),
    Row(
        "redirect: max_redirects 0-20",
        [{"redirect": {"url": f"https://{HOST}/moved", "max_redirects": 0}}],
        fails("answered 302"),
    ),
    Row(
        "redirect: max_redirects 0-20, and as many are followed",
        [{"redirect": {"url": f"https://{HOST}/moved", "max_redirects": 20}}],
        follows("/moved", "/next"),
    ),
    Row(
        "transfer: destination, E.164; later actions are not run",
        [start(), {"transfer": {"destination": PHONE}}, HOLD, HOLD],
        ends_the_list(PHONE),
        TALK,
    ),
    Row(
        "transfer: destination, SIP URI",
        [start(), {"transfer": {"destination": "sip:agent@example.com"}}, HOLD, HOLD],
        ends_the_list("sip:agent@example.com"),
        TALK,
    ),
    Row(
        "transfer: shown with to and from: accept both spellings, warn on the second",
        [start(), {"transfer": {"to": PHONE, "from": "+15551230002"}}],
        warned,
    ),
    Row(
        "bridge: destination; later actions are not run",
        [start(), {"bridge": {"destination": PHONE}}, HOLD, HOLD],
        ends_the_list(PHONE),
        TALK,
    ),
    Row(
        "bridge: destination, SIP URI",
        [start(), {"bridge": {"destination": "sips:agent@example.com"}}, HOLD, HOLD],
        ends_the_list("sips:agent@example.com"),
        TALK,
    ),
    Row(
        "bridge: shown with to, from and timeout_seconds: accept, and warn",
        [start(), {"bridge": {"to": PHONE, "from": "+15551230002", "timeout_seconds": 20}}],
        warned,
    ),
    Row(
        "conference: room; later actions are not run while in the room",
        [start(), {"conference": {"room": "the.lobby-1"}}, HOLD, HOLD],
        ends_the_list("the.lobby-1"),
        TALK,
    ),
    Row(
        "conference: mute, end_on_exit",
        [start(), {"conference": {"room": "lobby", "mute": True, "end_on_exit": True}}],
        conference_mutes,
        KEPT,
    ),
    Row(
        "hold, resume: continues",
        [start(), HOLD, FIVE_WORDS, {"resume": {}}],
        held,
        KEPT,
    ),
    Row("resume fails when not held", [start(), {"resume": {}}, HOLD], fails("not held")),
    Row(
        "mute, unmute: direction read",
        [start(), {"mute": {"direction": "read"}}],
        stays_muted("inbound", "outbound"),
        KEPT,
    ),
    Row(
        "mute, unmute: direction write",
        [
            start(),
            {"mute": {"direction": "write"}},
            FIVE_WORDS,
            {"unmute": {"direction": "write"}},
        ],
        muted("outbound"),
        KEPT,
    ),
    Row(
        "mute, unmute: direction both; continues",
        [start(), {"mute": {"direction": "both"}}, FIVE_WORDS, {"unmute": {"direction": "both"}}],
        muted("inbound", "outbound"),
        KEPT,
    ),
    Row(
        "start_recording, stop_recording: causes recording.started, then recording.completed",
        [{"start_recording": {}}, FIVE_WORDS, {"stop_recording": {}}],
        records,
    ),
    Row(
        "start_recording, stop_recording: or recording.failed",
        [{"start_recording": {}}, {"stop_recording": {}}],
        recording_fails,
        {"recording_fails": True},
    ),
    Row(
        "start_stream: stream_url (wss), track; continues; no stream events",
        [start(), start(OTHER_URL, "inbound"), start(OTHER_URL, "outbound")],
        streams(50, 50, 50),
    ),
    Row(
        "stop_stream: stream_url, track; continues",
        [
            start(),
            start(OTHER_URL, "inbound"),
            {"stop_stream": {"stream_url": STREAM_URL}},
            {"stop_stream": {"track": "inbound"}},
        ],
        streams(50, 100),
    ),
    Row(
        "stop_stream: both optional: matches all where neither is given",
        [start(), start(OTHER_URL, "inbound"), {"stop_stream": {}}],
        streams(50, 50),
    ),
    Row(
        "stop_stream: no match: nothing visible happens",
        [start(), {"stop_stream": {"stream_url": OTHER_URL}}],
        nothing_is_stopped,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fact)
@pytest.mark.documents(
    "stream-begins",
    "no-stream-events",
    "stop-matches",
    "a-list-run-in-order",
    "say",
    "gather",
    "send-digits",
    "redirect",
    "redirect-reaches-stop",
    "transfer",
    "bridge",
    "conference",
    "hold-and-resume",
    "mute-and-unmute",
    "recording",
    "stream-actions",
    "two-spellings",
)
async def test_the_documented_action(autojump_clock: Clock, row: Row) -> None:
    async with open_lab() as lab:
        lab.answer_with(*row.actions)
        lab.pages = {
            "/next": Response.json({"actions": [{"type": "stop_stream"}]}),
            "/missing": Response(404),
            "/text": Response(200, b"<html>"),
            "/bad": Response.json({"actions": [start(track="speaker")]}),
            "/moved": Response(302, headers=(("Location", NEXT_URL),)),
        }
        report = await lab.call(**row.settings)
    row.check(lab, report)


@pytest.mark.documents("fifteen-actions")
def test_every_documented_action_has_a_row() -> None:
    assert {name for row in ROWS for name in ACTIONS if name in row.fact} == set(ACTIONS)
    assert len(ACTIONS) == 15


REQUIRED = [
    (name, parameter)
    for name, rule in ACTIONS.items()
    for parameter, known in rule.parameters.items()
    if known.required
]


@pytest.mark.documents("stream-actions")
def test_these_parameters_are_documented_as_required() -> None:
    assert REQUIRED == [
        ("say", "text"),
        ("send_digits", "digits"),
        ("redirect", "url"),
        ("transfer", "destination"),
        ("bridge", "destination"),
        ("conference", "room"),
        ("mute", "direction"),
        ("unmute", "direction"),
        ("start_stream", "stream_url"),
    ]


@pytest.mark.parametrize(("name", "parameter"), REQUIRED)
@pytest.mark.documents("fifteen-actions")
async def test_an_action_without_a_parameter_that_it_requires_is_rejected(
    autojump_clock: Clock, name: str, parameter: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with({"type": name}, {name: {}}, HOLD)
        report = await lab.call()
    assert [(result.type, result.outcome) for result in report.actions] == [
        (name, "rejected"),
        (name, "rejected"),
        ("hold", "skipped"),
    ]
    typed, keyed, _ = (result.detail for result in report.actions)
    assert typed.startswith(f"actions[0].{parameter}: is missing")
    assert keyed.startswith(f"actions[1].{name}.{parameter}: is missing")
    assert lab.events()[-1] == ("call.failed", "failed") and not report.streams


FORMS: dict[str, list[Document]] = {
    "typed": [start(), {"type": "hold"}],
    "keyed": [{"start_stream": {"stream_url": STREAM_URL, "track": "both"}}, {"hold": {}}],
    "mixed": [start(), {"hold": {}}],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.documents("two-forms")
async def test_two_forms_of_the_same_action_which_may_be_mixed_in_one_list(
    autojump_clock: Clock, form: str
) -> None:
    async with open_lab() as lab:
        lab.answer_with(*FORMS[form])
        report = await lab.call()
    assert report.verdict == "pass"
    assert [line.split(": ")[:2] for line in lines(report)] == [
        ["actions[0] start_stream", "accepted"],
        ["actions[1] hold", "accepted"],
    ]
