"""`explain` tells failures apart, from the logs of the real receiver over memory streams.

The prepared failures, and the first code that is found for each:

 1. the application's answer has faults: https instead of wss, and no such track      MV-103
 2. on_answer raises                                                                  MV-102
 3. the answer starts no stream                                                       MV-206
 4. the platform connects after the token has expired                                 MV-204
 5. the receiver was started anew with another token key                              MV-203
 6. a proxy drops the upgrade's headers                                               MV-309
 7. nobody connects                                                                   MV-311
 8. the stream is opened and nothing is sent                                          MV-401
 9. audio is lost on its way                                                          MV-403
10. the platform vanishes in the middle                                               MV-501
11. on_stream raises                                                                  MV-509
12. on_stream is too slow                                                             MV-408
13. webhooks are signed with another secret                                           MV-604
14. the end of the call is never told                                                 MV-611
15. the platform's clock is wrong                                                     MV-612
16. on_event fails until the event is set aside                                       MV-609
17. only one of the two tracks comes                                                  MV-409
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from minivoice_ref.net.websocket import UpgradeRefused
from minivoice_ref.protocol.actions import Answer, hold, start_stream
from minivoice_ref.protocol.error_catalogue import CATALOGUE
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.app import AnswerRequest, App
from minivoice_ref.receiver.evidence import gather, read_lines
from minivoice_ref.receiver.explain import explain
from minivoice_ref.receiver.explanation import Explanation
from minivoice_ref.receiver.journal import WHAT
from minivoice_ref.receiver.media_stream import MediaStream
from receiver_lab import Lab, open_lab, patient, settings, wall_clock

Act = Callable[[Lab], Awaitable[None]]


def of_the_logs(data: Path, call_id: str | None = None) -> Explanation:
    """The explanation of a call from the logs in a data folder."""
    texts = [text for path in data.glob("*.jsonl") for text in path.read_bytes().splitlines()]
    lines, foreign = read_lines(texts)
    assert not foreign
    return explain(gather(lines, call_id))


async def tell(lab: Lab, event: str, *, skew: float = 0.0, secret: str | None = None) -> int:
    """Deliver a webhook that was made now, by a clock that is wrong by *skew* seconds."""
    made = datetime.fromtimestamp(wall_clock() + skew, timezone.utc)
    body = {
        "event": event,
        "created_at": made.isoformat().replace("+00:00", "Z"),
        "call": {"id": "call_1", "status": event.rpartition(".")[2]},
        "data": {},
    }
    return (await lab.deliver(json.dumps(body).encode(), secret=secret)).status


async def ask(lab: Lab) -> None:
    """Ask for the answer, whatever it is."""
    body = json.dumps({"call": {"id": "call_1"}}).encode()
    await lab.request("POST", "/answer", body, {"Content-Type": "application/json"})


async def a_good_stream(lab: Lab, *, lose: int = 0) -> None:
    """A stream of both tracks, *lose* pieces of which do not arrive, and its stop."""
    async with lab.stream() as caller:
        await caller.start()
        await caller.speak(10, "inbound", "outbound")
        await trio.sleep(lose * 0.02)
        await caller.speak(10, "inbound", "outbound", first=10 + lose)
        await caller.stop()
        await caller.close_code()


async def all_well(lab: Lab) -> None:
    await tell(lab, "call.created")
    await a_good_stream(lab)
    await tell(lab, "call.completed")


async def nothing_but_the_answer(lab: Lab) -> None:
    await tell(lab, "call.created")
    await ask(lab)
    await trio.sleep(1)
    await tell(lab, "call.completed")


async def late_for_the_token(lab: Lab) -> None:
    url = await lab.stream_url()
    await trio.sleep(61)
    with pytest.raises(UpgradeRefused):
        async with lab.stream(url=url):
            pass
    await tell(lab, "call.completed")


async def with_another_key(lab: Lab) -> None:
    url = await lab.stream_url()
    head, _, token = url.rpartition("/")
    with pytest.raises(UpgradeRefused):
        async with lab.stream(url=f"{head}/{'x' * 43}{token[43:]}"):
            pass
    await tell(lab, "call.completed")


async def without_an_upgrade(lab: Lab) -> None:
    url = await lab.stream_url()
    assert (await lab.request("GET", url[url.index("/stream") :])).status == 426
    await tell(lab, "call.completed")


async def a_silent_stream(lab: Lab) -> None:
    async with lab.stream() as caller:
        await caller.close_code()
    await tell(lab, "call.completed")


async def audio_lost(lab: Lab) -> None:
    await a_good_stream(lab, lose=5)
    await tell(lab, "call.completed")


async def the_platform_vanishes(lab: Lab) -> None:
    async with lab.stream() as caller:
        await caller.start()
        await caller.speak(10, "inbound", "outbound")
        await caller.socket.abort()
    await tell(lab, "call.completed")


async def one_track(lab: Lab) -> None:
    async with lab.stream() as caller:
        await caller.start()
        await caller.speak(10, "inbound")
        await caller.stop()
    await tell(lab, "call.completed")


async def stream_goes_wrong(lab: Lab) -> None:
    async with lab.stream() as caller:
        await caller.start()
        with suppress(Exception):
            await caller.speak(400, "inbound", "outbound")
            await caller.stop()
        await caller.close_code()
    await tell(lab, "call.completed")


async def with_the_wrong_secret(lab: Lab) -> None:
    await a_good_stream(lab)
    assert await tell(lab, "call.completed", secret="another") == 401


async def never_told(lab: Lab) -> None:
    await tell(lab, "call.created")
    await a_good_stream(lab)


async def by_a_wrong_clock(lab: Lab) -> None:
    await tell(lab, "call.created", skew=-90)
    await a_good_stream(lab)
    await tell(lab, "call.completed", skew=-90)


async def set_aside(lab: Lab) -> None:
    await all_well(lab)
    await trio.sleep(10)


async def bad_answer(request: AnswerRequest) -> Answer:
    await trio.lowlevel.checkpoint()
    return Answer(start_stream("https://media.example.com/minivoice", track="speaker"))


async def failing_answer(request: AnswerRequest) -> Answer:
    await trio.lowlevel.checkpoint()
    raise LookupError("no such customer")


async def no_stream(request: AnswerRequest) -> Answer:
    await trio.lowlevel.checkpoint()
    return Answer(hold())


async def raising(stream: MediaStream) -> None:
    async for _ in stream:
        raise ValueError("cannot listen")


async def slow(stream: MediaStream) -> None:
    async for _ in stream:
        await trio.sleep(0.5)


async def failing_event(event: CallEvent) -> None:
    await trio.lowlevel.checkpoint()
    raise OSError("the customer's database is down")


FAILURES: dict[str, tuple[App, dict[str, Any], Act]] = {
    "MV-103": (App(bad_answer), {}, nothing_but_the_answer),
    "MV-102": (App(failing_answer), {}, nothing_but_the_answer),
    "MV-206": (App(no_stream), {}, nothing_but_the_answer),
    "MV-204": (App(), {"token_lifetime": 60.0}, late_for_the_token),
    "MV-203": (App(), {}, with_another_key),
    "MV-309": (App(), {}, without_an_upgrade),
    "MV-311": (App(), {}, nothing_but_the_answer),
    "MV-401": (App(), {}, a_silent_stream),
    "MV-403": (App(), {}, audio_lost),
    "MV-501": (App(), {}, the_platform_vanishes),
    "MV-509": (App(on_stream=raising), {}, stream_goes_wrong),
    "MV-408": (App(on_stream=slow), {}, stream_goes_wrong),
    "MV-604": (App(), {"webhook_secret": "a secret of ours"}, with_the_wrong_secret),
    "MV-611": (App(), {}, never_told),
    "MV-612": (App(), {}, by_a_wrong_clock),
    "MV-609": (App(on_event=failing_event), {"event_attempts": 2}, set_aside),
    "MV-409": (App(), {}, one_track),
}


async def logs_of(tmp_path: Path, app: App, changes: dict[str, Any], act: Act) -> Path:
    """Run a receiver, let *act* happen to it, and return the folder of its logs."""
    config = settings(tmp_path, timeouts=patient(), **changes)
    async with open_lab(app, config) as lab:
        await act(lab)
        await trio.testing.wait_all_tasks_blocked()
    return config.data


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.documents("debug-order")
async def test_a_prepared_failure_is_told_from_all_others(
    code: str, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    explanation = of_the_logs(await logs_of(tmp_path, *FAILURES[code]))
    assert explanation.call == "call_1" and explanation.verdict == "fail"
    serious = [f.code for step in explanation.steps for f in step.findings if not f.is_remark]
    assert serious[0] == code
    assert not set(serious) & set(FAILURES) - {code}
    assert CATALOGUE[code].mend in " ".join(str(explanation).split())


async def test_all_is_well_with_a_good_call(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    explanation = of_the_logs(await logs_of(tmp_path, App(), {}, all_well))
    assert explanation.verdict == "pass" and explanation.codes == ()
    assert [step.ok for step in explanation.steps] == [True] * 7
    said = {step.name: step.said for step in explanation.steps}
    assert "start_stream (both)" in said["answer_valid"]
    assert "inbound 0.4 s in 20 pieces, nothing lost" in said["media_arrived"]
    assert "stopped by platform (1000)" in said["stream_closed"]
    assert said["call_result"] == "call.created, call.completed; the times agree"


async def test_the_documented_bad_answer_fails_two_questions(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    explanation = of_the_logs(await logs_of(tmp_path, *FAILURES["MV-103"]))
    assert [step.ok for step in explanation.steps[:3]] == [False, False, None]
    assert explanation.codes[:2] == ("MV-103", "MV-201")
    assert "actions[0].stream_url" in str(explanation) and "actions[0].track" in str(explanation)


async def test_an_expired_token_names_its_call_in_the_log(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    data = await logs_of(tmp_path, *FAILURES["MV-204"])
    lines = [json.loads(text) for text in (data / "streams.jsonl").read_text().splitlines()]
    (refused,) = [line for line in lines if line["what"] == "refused"]
    assert refused["call_id"] == "call_1" and refused["code"] == "MV-204"


async def test_a_call_that_goes_on_is_neither_good_nor_bad(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, timeouts=patient())) as lab:
        await tell(lab, "call.created")
        async with lab.stream() as caller:
            await caller.start()
            await caller.speak(300, "inbound", "outbound")
            await trio.testing.wait_all_tasks_blocked()
            explanation = of_the_logs(lab.config.data)
    assert explanation.verdict == "open"
    assert [step.ok for step in explanation.steps] == [True, True, True, True, None, None, True]
    assert "MV-512" in explanation.codes


async def test_the_last_call_is_explained_unless_another_is_named(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(), settings(tmp_path, timeouts=patient())) as lab:
        await all_well(lab)
        await trio.sleep(60)
        await lab.stream_url("call_2")
        await trio.testing.wait_all_tasks_blocked()
        data = lab.config.data
    assert of_the_logs(data).call == "call_2"
    assert of_the_logs(data, "call_1").verdict == "pass"


async def test_a_call_that_was_asked_for_without_its_id_is_put_together_by_its_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_lab(App(no_stream), settings(tmp_path, timeouts=patient())) as lab:
        await tell(lab, "call.created")
        await lab.request("GET", "/answer")
        await tell(lab, "call.completed")
        await trio.testing.wait_all_tasks_blocked()
        explanation = of_the_logs(lab.config.data)
    assert explanation.call == "call_1" and explanation.steps[0].ok is True
    assert explanation.codes == ("MV-206",)
    assert "because of its time" in str(explanation)


async def test_a_failed_call_and_its_failing_handler_are_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def act(lab: Lab) -> None:
        await a_good_stream(lab)
        await tell(lab, "call.failed")

    data = await logs_of(tmp_path, App(on_event=failing_event), {}, act)
    explanation = of_the_logs(data)
    assert explanation.codes == ("MV-608", "MV-613") and explanation.verdict == "fail"


# --- from lines alone ---


def line(log: str, what: str, second: float = 0.0, **fields: object) -> dict[str, object]:
    time = datetime.fromtimestamp(1_780_000_000 + second, timezone.utc)
    stamp = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"time": stamp, "log": log, "level": "info", "what": what, **fields}


def explained(*lines: dict[str, object], call_id: str | None = None) -> Explanation:
    read, _ = read_lines(json.dumps(one) for one in lines)
    return explain(gather(read, call_id))


def answered(second: float = 0.0, **fields: object) -> dict[str, object]:
    actions = [{"type": "start_stream", "stream_url": "wss://h/stream/x…", "track": "both"}]
    return line("answers", "answered", second, call_id="c", actions=actions, **fields)


def stream(what: str, second: float, **fields: object) -> dict[str, object]:
    return line("streams", what, second, call_id="c", stream_id="s", **fields)


def completed(second: float, created: str = "2026-05-28T20:26:45Z") -> dict[str, object]:
    fields = {"event": "call.completed", "created_at": created}
    return line("webhooks", "accepted", second, call_id="c", **fields)


def test_logs_without_any_id_are_explained_as_of_no_call() -> None:
    trouble = line("streams", "connection", kind="tls_failed", code="MV-301", why="no trust")
    explanation = explained(trouble)
    assert explanation.call is None and explanation.verdict == "fail"
    assert explanation.codes == ("MV-107", "MV-301", "MV-610")
    assert "no call is named" in str(explanation)


def test_a_request_for_an_answer_that_was_refused_explains_why_there_is_none() -> None:
    refused = line("answers", "refused", code="MV-105", status=400)
    explanation = explained(refused, completed(5))
    assert explanation.steps[0].ok is False and explanation.codes[0] == "MV-105"


def test_a_stream_without_an_answer_in_the_log_leaves_the_first_question_open() -> None:
    explanation = explained(stream("open", 1), completed(5))
    assert [step.ok for step in explanation.steps[:4]] == [None, True, True, None]


def test_a_door_that_was_only_knocked_at_is_a_remark() -> None:
    knock = line("streams", "connection", 1, kind="silent", code="MV-302")
    explanation = explained(answered(), knock, completed(5))
    assert explanation.codes == ("MV-311", "MV-302")


def test_without_an_answer_and_without_trouble_the_door_cannot_be_judged() -> None:
    explanation = explained(completed(5))
    assert [step.ok for step in explanation.steps[:6]] == [False, None, None, None, None, True]


@pytest.mark.documents("debug-order")
def test_a_stream_outside_its_call_makes_the_times_disagree() -> None:
    lines = [answered(), stream("open", 30), stream("disconnected", 40, how="stopped")]
    explanation = explained(*lines, stream("account", 40, tracks={}), completed(5))
    (finding,) = [f for f in explanation.steps[5].findings if f.code == "MV-612"]
    assert "was opened" in finding.said and "went on until" in finding.said


def test_a_clock_that_is_ahead_is_told_from_one_that_is_behind() -> None:
    explanation = explained(answered(), completed(5, "2026-05-28T20:28:45Z"))
    assert any("ahead of our clock" in f.said for f in explanation.steps[5].findings)


@pytest.mark.parametrize("created", ["soon", "2026-05-28T20:26:45"])
def test_an_event_without_a_usable_time_is_not_compared(created: str) -> None:
    assert explained(answered(), completed(5, created)).steps[5].ok is True


def test_a_stream_that_failed_and_one_that_goes_on_are_a_failure() -> None:
    lines = [answered(), stream("open", 1), stream("disconnected", 2, code="MV-501", how="closed")]
    other = line("streams", "open", 2, call_id="c", stream_id="s2")
    assert explained(*lines, other).steps[4].ok is False


def test_trouble_of_our_own_is_told_in_the_last_step() -> None:
    disk = line("webhooks", "inbox", 1, code="MV-704", why="disk full")
    explanation = explained(answered(), disk, completed(5))
    assert explanation.steps[6].ok is False and explanation.codes[-1] == "MV-704"


def test_lines_of_another_version_are_borne_with() -> None:
    odd: list[dict[str, object]] = [
        line("answers", "answered", call_id="c", actions="many"),
        stream("open", 1),
        stream("gap", 2, code="MV-499", sums={"a": 1}),
        stream("gap", 2, code=7),
        stream("account", 3, tracks=["inbound"]),
        stream("disconnected", 3),
        line("answers", "answered", 3, call_id="c", actions=[1, {"type": "hold"}]),
    ]
    explanation = explained(*odd, completed(4))
    assert explanation.codes == ("MV-499",)
    assert "Another version wrote it." in str(explanation)


def test_an_untold_track_counts_as_heard_where_the_audio_is_mixed() -> None:
    account = stream("account", 3, tracks={"mixed": {"frames": 1, "seconds": 1.0, "lost": 0}})
    explanation = explained(answered(), stream("open", 1), account, completed(4))
    assert explanation.steps[3].ok is True


def test_two_answers_at_one_time_belong_to_no_call_by_their_time() -> None:
    def nameless(number: int) -> dict[str, object]:
        return line("answers", "late", number, answer_id=f"a{number}", code="MV-101")

    def call(name: str) -> Iterator[dict[str, object]]:
        for second in (0.0, 9.0):
            yield line("webhooks", "accepted", second, call_id=name, event="call.created")

    explanation = explained(*call("c1"), *call("c2"), nameless(1), nameless(2))
    assert explanation.call == "a2" and explanation.codes[0] == "MV-101"
    assert not explanation.notes


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_IDS = ("call_id", "stream_id", "answer_id")
_FIELDS = ("actions", "tracks", "code", "event", "created_at", "problems", "traceback", "how")


@given(
    st.lists(
        st.builds(
            lambda kind, second, fields: {**line(kind[0], kind[1], second), **fields},
            st.sampled_from([(log, what) for log, whats in WHAT.items() for what in whats]),
            st.integers(0, 100),
            st.builds(
                lambda ids, fields: {**ids, **fields},
                st.dictionaries(st.sampled_from(_IDS), st.sampled_from("abc")),
                st.dictionaries(st.sampled_from(_FIELDS), _ANYTHING | st.just("MV-101")),
            ),
        ),
        max_size=12,
    )
)
def test_whatever_the_lines_say_there_is_an_explanation(lines: list[dict[str, object]]) -> None:
    explanation = explained(*lines)
    assert len(explanation.steps) == 7 and str(explanation)
    json.dumps(explanation.to_json())
