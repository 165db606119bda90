"""The conformance suite in virtual time, at an application that does what each test tells it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
import trio
import trio.testing

from minivoice_ref.config import ConfigError
from minivoice_ref.net.front_door import Admission
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.conformance import ConformancePlan, run_conformance
from minivoice_ref.simulator.conformance_evidence import Evidence, Judged
from minivoice_ref.simulator.conformance_report import ConformanceReport, Result
from minivoice_ref.simulator.faults import FAULTS
from minivoice_ref.simulator.scenarios import GOOD, SCENARIOS
from simulator_lab import ANSWER_URL, HOST, WEBHOOK_URL, Lab, open_lab, start

Clock = trio.testing.MockClock
STOP: dict[str, Any] = {"type": "stop_stream"}
LATER = f"https://{HOST}/later"


def plan(*names: str, jobs: int = 4, **changes: Any) -> ConformancePlan:
    """What to try: the scenarios *names*, or all."""
    settings: dict[str, Any] = {"answer_url": ANSWER_URL, "webhook_url": WEBHOOK_URL}
    settings |= {"speak": 1.5, "speech_programs": ()}
    return ConformancePlan(
        call=CallPlan(**(settings | changes)),
        scenarios=[SCENARIOS[name] for name in names or SCENARIOS],
        jobs=jobs,
    )


async def conformance(lab: Lab, *names: str, **changes: Any) -> ConformanceReport:
    return await run_conformance(plan(*names, **changes), connect=lab.network.connect)


async def judged(lab: Lab, name: str, **changes: Any) -> Result:
    """The result of one scenario."""
    (result,) = (await conformance(lab, name, **changes)).results
    return result


def test_every_fault_is_a_scenario_and_each_scenario_tells_where_its_fact_stands() -> None:
    assert set(FAULTS) < set(SCENARIOS)
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name and scenario.must_hold
        # A fact has a source. What is not documented says that it is assumed.
        source = scenario.documented
        assert source.startswith(("MiniVoice documentation, ", "RFC ")) or scenario.assumed
        for fault in scenario.trial.faults:
            assert fault.assumed in scenario.assumed
        if name in FAULTS:
            assert scenario.must_hold == FAULTS[name].expects


async def test_an_application_without_defence_fails_what_it_takes_and_should_not(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        report = await conformance(lab, webhook_secret="a secret")
    failed = {r.scenario.name for r in report.results if r.outcome == "fail"}
    # It takes any token, any webhook, and never ends a stream by itself.
    taken = {"wrong-token", "unsigned-webhooks", "wrong-signature", "stale-timestamp"}
    assert taken | {"two-calls", "vanish"} <= failed, str(report)
    passed = {r.scenario.name for r in report.results if r.outcome == "pass"}
    assert {"good-call", "track-both", "form-typed", "cut", "cut-keeps-call"} <= passed
    assert {"duplicate-webhooks", "reordered-webhooks", "prompt", "lose", "fragments"} <= passed
    assert not report.passed


async def test_redirect_and_stop_are_judged_where_the_answer_has_them(
    autojump_clock: Clock,
) -> None:
    names = ("redirect-then-stop", "stop-keeps-call", "form-keyed", "track-inbound")
    async with open_lab() as lab:
        plain = await conformance(lab, *names)
        assert [r.outcome for r in plain.results] == ["skip"] * 4
        assert all("its answer has no" in r.seen for r in plain.results)
        assert not plain.passed  # dashes alone are no pass

        redirect = {"redirect": {"url": LATER}}
        lab.answer_with(start(track="inbound"), redirect)
        lab.pages["/later"] = Response.json({"actions": [STOP]})
        assert [r.outcome for r in (await conformance(lab, *names)).results] == ["pass"] * 4

        lab.pages["/later"] = Response.text("gone", 410)
        broken = await judged(lab, "redirect-then-stop")
        assert broken.outcome == "fail" and "answered 410" in broken.seen


async def test_a_stop_that_matches_nothing_shows_nothing(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(track="inbound"), STOP | {"track": "outbound"})
        result = await judged(lab, "stop-keeps-call")
        assert (result.outcome, result.seen) == (
            "skip",
            "not applicable: its stop_stream matches no open stream",
        )
        lab.pages["/later"] = Response.json({"actions": []})
        lab.answer_with(start(), {"redirect": {"url": LATER}})
        assert (await judged(lab, "redirect-then-stop")).outcome == "skip"


async def test_without_a_good_stream_nothing_is_said_about_streams(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.text("no", 403)
        report = await conformance(lab, "good-call", "cut", "wrong-token", "two-calls")
    assert [r.outcome for r in report.results] == ["fail", "skip", "skip", "skip"]
    # A receiver that refuses everything is not praised for refusing a wrong token.
    assert report.results[2].seen == "not tried: the good call opened no stream"
    assert "receiver_accepted" in report.results[0].seen


async def test_to_an_application_without_streams_nothing_about_streams_applies(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with({"hold": {}})
        report = await conformance(lab)
    assert report.results[0].scenario is GOOD
    dashes = {r.scenario.name: r.seen for r in report.results if r.outcome == "skip"}
    assert dashes["good-call"] == "not applicable: its answer has no start_stream"
    assert dashes["cut"] == "not applicable: the good call's answer started no stream"
    passed = {r.scenario.name for r in report.results if r.outcome == "pass"}
    others = {"form-keyed", "answer-post", "answer-get", "prompt"}
    assert passed == others | {"duplicate-webhooks", "reordered-webhooks"}
    assert report.passed and len(passed) + len(dashes) == len(SCENARIOS)


@pytest.mark.parametrize(("status", "outcome"), [(401, "pass"), (204, "fail"), (None, "fail")])
async def test_forged_webhooks_are_judged_whatever_becomes_of_the_streams(
    status: int | None, outcome: str, autojump_clock: Clock
) -> None:
    async with open_lab() as lab:
        lab.refuse = Response.text("no", 403)
        for event in ("call.created", "call.answered", "call.completed"):
            # Of the good call, and then of the forged one: twice refused is too often.
            replies = [Response(204), Response(status or 401), Response(204)]
            lab.hook_replies[event] = replies if status else replies[:2] + [Response(500)] * 2
        result = await judged(lab, "wrong-signature", webhook_secret="s")
    assert result.outcome == outcome, result.seen
    if outcome == "fail":
        seen = "call.created was answered with 204" if status else "call.created: 500 at attempt 3"
        assert result.seen.startswith(seen)


def refuse_other(lab: Lab) -> None:
    """Have the application refuse the stream at /other, and none else."""
    admit = lab.admit

    async def admit_but_one(request: Request) -> Admission | Response:
        if request.path == "/other":
            await trio.lowlevel.checkpoint()
            return Response.text("full", 503)
        return await admit(request)

    lab.admit = admit_but_one  # type: ignore[method-assign]


async def test_of_several_streams_none_may_be_left_out(autojump_clock: Clock) -> None:
    """One of two is refused before anything binary could come, which is no answer to that."""
    async with open_lab() as lab:
        other = start(f"wss://{HOST}/other", "inbound")
        lab.answer_with(start(), other)
        assert (await judged(lab, "binary")).outcome == "pass"
        refuse_other(lab)
        result = await judged(lab, "binary")
    assert result.outcome == "fail" and "503" in result.seen


async def test_a_stream_of_a_track_that_is_not_taken_to_its_end_fails_the_track(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(track="inbound"), start(f"wss://{HOST}/other", "outbound"))
        refuse_other(lab)
        report = await conformance(lab, "track-inbound", "track-outbound", "track-both")
    assert [r.outcome for r in report.results] == ["pass", "fail", "skip"]
    assert "503" in report.results[1].seen


async def test_an_event_that_is_never_accepted_fails_what_needs_it(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response(500)] * 99
        names = ("good-call", "duplicate-webhooks", "two-calls", "cut")
        report = await conformance(lab, *names)
    for result in report.results:
        assert result.outcome == "fail", str(result)
        assert "1 event was never acknowledged: call.created (500)" in result.seen


async def test_what_is_no_action_has_no_form_and_shows_nothing_of_the_others(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.answer_with({"hold": {}})
        keyed = await judged(lab, "form-keyed")
        assert (keyed.outcome, keyed.seen) == ("pass", "1 keyed action taken, none with a fault")
        lab.answer = Response.json({"actions": [3, {"dance": {}}, {"hold": {}}]})
        assert "no typed action" in (await judged(lab, "form-typed")).seen
        assert (await judged(lab, "form-keyed")).seen.startswith("not shown: its answer has faults")


async def test_without_webhook_url_or_secret_their_scenarios_do_not_apply(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        unsigned = await judged(lab, "unsigned-webhooks")
        assert unsigned.seen == "not applicable: there is no secret"
        report = await conformance(lab, "duplicate-webhooks", "webhook-at-cut", webhook_url=None)
    assert {r.seen for r in report.results} == {"not applicable: there is no webhook_url"}


async def test_refusing_what_is_unsigned_proves_nothing_where_all_is_refused(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response.text("no", 401)] * 50
        result = await judged(lab, "unsigned-webhooks", webhook_secret="a secret")
    assert (result.outcome, result.seen) == (
        "skip",
        "not shown: signed ones are not accepted either",
    )


async def test_a_duplicate_that_is_refused_is_told_with_its_status(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        # The good call's, the event itself, and then its duplicate.
        replies = [Response.text("ok"), Response.text("ok"), Response.text("again?", 409)]
        lab.hook_replies["call.answered"] = replies
        result = await judged(lab, "duplicate-webhooks")
    assert (result.outcome, result.seen) == ("fail", "call.answered, a duplicate: answered 409")


async def test_an_event_out_of_order_must_be_taken_at_once(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.hook_replies["call.created"] = [Response.text("ok"), Response.text("late", 409)]
        result = await judged(lab, "reordered-webhooks")
        assert (result.outcome, result.seen) == (
            "fail",
            "call.created: accepted only at attempt 2",
        )
        lab.hook_replies.clear()
        result = await judged(lab, "reordered-webhooks")
    order = result.seen.removeprefix("acknowledged in this order: ").split(", ")
    assert order != sorted(order, key=("call.created", "call.answered", "call.completed").index)


async def test_what_comes_late_is_not_prompt(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        assert (await judged(lab, "prompt")).outcome == "pass"
        lab.hook_delay = 1.5
        result = await judged(lab, "prompt")
        assert result.outcome == "fail" and "1.500 s" in result.seen
        lab.hook_delay = 60.0
        never = await judged(lab, "prompt")
    assert never.outcome == "fail" and "call.created: " in never.seen


async def test_a_fault_that_had_no_time_to_strike_shows_nothing(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        for name in ("oversized", "vanish"):
            late = {"hang_up_after": 0.4}
            result = await judged(lab, name, **late)
            assert result.outcome == "skip" and "before the fault could strike" in result.seen


async def test_a_stream_that_is_refused_before_its_fault_is_no_answer_to_the_fault(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        scenario = SCENARIOS["garbage"]
        good = Evidence(plan=plan().call, seconds=0.0)
        lab.refuse = Response.text("full", 503)
        refused = scenario.trial.plan(plan().call, scenario.name, 1)
        report = await place_call(refused, connect=lab.network.connect)
    judged = scenario.judge(Evidence(plan=refused, seconds=1.0, reports=[report]), good)
    assert judged.outcome == "fail" and "receiver_accepted: both: " in judged.seen
    assert SCENARIOS["cut-keeps-call"].judge(
        Evidence(plan=refused, seconds=1.0, reports=[report]), good
    ) == Judged("skip", "no stream was open that could be cut")


async def test_calls_that_share_a_stream_url_cannot_be_told_apart(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        result = await judged(lab, "two-calls")
        assert len(lab.heard) == 3
    assert (result.outcome, result.seen) == ("fail", "both were given the same stream_url")


async def test_a_bad_answer_is_told_with_all_its_faults(autojump_clock: Clock) -> None:
    async with open_lab() as lab:
        lab.answer_with(start(url=ANSWER_URL, track="speaker"))
        report = await conformance(lab, "good-call", "form-typed", "answer-get")
        for result in report.results:
            assert result.outcome == "fail"
            assert "actions[0].stream_url" in result.seen and "actions[0].track" in result.seen
        lab.answer = Response.text("no", 500)
        assert (await judged(lab, "answer-post")).seen == "the answer_url answered 500"
        lab.answer = Response.text("[" * 5000)
        assert (await judged(lab, "form-keyed")).outcome == "skip"


async def test_an_application_that_is_not_there_fails_and_hangs_nothing(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        url = "https://nobody.example.com/answer"
        report = await conformance(lab, answer_url=url, webhook_url=None)
    assert report.results[0].outcome == "fail" and "answer_valid" in report.results[0].seen
    assert not report.passed and report.count("pass") == 0, str(report)


async def test_no_more_trials_than_asked_for_run_at_once_and_equal_ones_run_once(
    autojump_clock: Clock,
) -> None:
    async with open_lab() as lab:
        begins = trio.current_time()
        report = await conformance(lab, "cut", "cut-keeps-call", "jitter", "lose", "repeat", jobs=1)
        one_by_one = trio.current_time() - begins
        assert len(lab.heard) == 5  # the good call's, then four: cut serves two scenarios
        assert [r.outcome for r in report.results] == ["pass"] * 5
        begins = trio.current_time()
        await conformance(lab, "cut", "jitter", "lose", "repeat", jobs=4)
        assert trio.current_time() - begins < 2 * 1.5 + 0.5 < 5 * 1.5 - 0.5 < one_by_one
        ids = [heard.of("start")[0]["start"]["streamSid"] for heard in lab.heard[:5]]
        assert len(set(ids)) == 5


def test_a_run_that_cannot_work_is_refused_with_all_its_reasons() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(jobs=0, speak=0.5)
    assert "jobs" in str(caught.value) and "speak" in str(caught.value)


def report_of(*results: Result) -> ConformanceReport:
    return ConformanceReport(
        answer_url=ANSWER_URL, dialect="twilio", seconds=2.0, late=0.2, results=results
    )


def test_the_table_tells_what_must_hold_what_was_seen_and_where_it_stands() -> None:
    scenario = replace(GOOD, unseen="the audio", assumed="much")
    good = Result(scenario, Judged("pass", "closed with 1000"), 1.0)
    bad = Result(SCENARIOS["wrong-token"], Judged("fail", "accepted\x1b[31m"), 1.0)
    table = report_of(good, bad).table(200)
    assert "✓ good-call" in table and "✗ wrong-token" in table and "accepted\\x1b[31m" in table
    flat = " ".join(table.split())
    for said in ("closed with 1000 (unseen: the", "ASSUMED: much", "FAIL: 1 passed, 1 failed (1"):
        assert said in flat, flat
    assert "Frames left up to 0.20 s late" in table
    assert max(map(len, table.splitlines())) <= 200
    assert max(map(len, report_of(good).table(10).splitlines()[:-3])) <= 80


def test_junit_has_a_case_for_each_scenario_and_is_xml_whatever_was_seen() -> None:
    results = [
        Result(SCENARIOS["good-call"], Judged("pass", "fine"), 1.25),
        Result(SCENARIOS["lose"], Judged("fail", 'a "<b>" & \x00 \ud800'), 0.5),
        Result(SCENARIOS["stale-timestamp"], Judged("skip", "no secret")),
    ]
    report = report_of(*results)
    suites = ElementTree.fromstring(report.junit().encode())
    (suite,) = suites
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.get("name") for case in suite] == ["good-call", "lose", "stale-timestamp"]
    assert [child.tag for case in suite for child in case] == [
        "system-out",
        "failure",
        "system-out",
        "skipped",
        "system-out",
    ]
    failure = suite[1].find("failure")
    assert failure is not None and failure.get("message") == 'a "<b>" & \\x00 \\ud800'
    document = json.loads(json.dumps(report.to_json()))
    assert (document["verdict"], document["failed"], document["skipped"]) == ("fail", 1, 1)
    assert document["scenarios"][2]["seconds"] is None
