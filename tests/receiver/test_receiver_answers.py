"""`answer_url`: who asks how, where the call's id stands, and what never leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
import trio
from receiver_lab import WALL, open_lab, patient, settings

from minivoice_ref.protocol.actions import Answer, read_answer, say, start_stream
from minivoice_ref.protocol.errors import Problem
from minivoice_ref.protocol.signing import read_token
from minivoice_ref.receiver.answers import find_call_id
from minivoice_ref.receiver.app import AnswerRequest, App

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
KEY = "the token key of the tests"


class Decider:
    """An application that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[AnswerRequest] = []

    async def on_answer(self, request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        return Answer(say("hello"), start_stream(request.stream_url(), track=request.track))

    @property
    def app(self) -> App:
        return App(on_answer=self.on_answer)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers"),
    [
        ("POST", "/answer", b'{"call": {"id": "call_1"}}', JSON),
        ("POST", "/answer", b'{"call": {"id": "call_1"}}', {}),
        ("POST", "/answer", b'{"call": "call_1"}', {"Content-Type": "application/problem+json"}),
        ("POST", "/answer", b'{"call": {"call_id": "call_1"}}', JSON),
        ("POST", "/answer", b'{"call_id": "call_1"}', JSON),
        ("POST", "/answer", b'{"callId": "call_1"}', JSON),
        ("POST", "/answer", b"CallSid=call_1&From=%2B1555", FORM),
        ("POST", "/answer", b"call.id=call_1&call.from=%2B1555", FORM),
        ("POST", "/answer?call_id=call_1", None, {}),
        ("GET", "/answer?call.id=call_1", None, {}),
        ("GET", "/answer?CallUUID=call_1", None, {}),
        ("POST", "/answer?call_id=another", b'{"call_id": "call_1"}', JSON),
    ],
)
async def test_the_call_id_is_found_wherever_it_stands(
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    tmp_path: Path,
    autojump_clock: object,
) -> None:
    decider = Decider()
    async with open_lab(decider.app, settings(tmp_path)) as lab:
        response = await lab.request(method, path, body, headers)
        assert response.status == 200
        assert decider.asked[0].call_id == "call_1"
        (line,) = await lab.lines("answers", "answered")
        assert line["call_id"] == "call_1"
        assert line["call_id_from"].split()[0] in ("body", "query")


async def test_an_answer_without_any_call_id_is_tied_to_itself(
    tmp_path: Path, autojump_clock: object
) -> None:
    decider = Decider()
    async with open_lab(decider.app, settings(tmp_path, token_key=KEY)) as lab:
        response = await lab.request("GET", "/answer")
        url = json.loads(response.body)["actions"][1]["stream_url"]
        (line,) = await lab.lines("answers", "answered")
    token = read_token([KEY], url.rpartition("/")[2], now=WALL)
    assert decider.asked[0].call_id is None
    assert token.subject == f"answer:{line['answer_id']}"


async def test_a_request_for_the_tests_of_an_application_needs_no_server() -> None:
    answer = await App().on_answer(AnswerRequest(call_id="call_1"))
    assert answer.problems() == ()


@pytest.mark.parametrize("value", ["", "x" * 300, "a\nb", 7, None, ["call_1"], {"id": {}}])
def test_a_call_id_that_cannot_be_one_is_passed_over(value: object) -> None:
    assert find_call_id({"call": value, "call_id": value}, {"callId": "call_2"}) == (
        "call_2",
        "query callId",
    )


@pytest.mark.documents("wss-only")
async def test_the_stream_url_is_wss_and_its_token_says_whose_and_until_when(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, token_key=KEY, token_lifetime=600.0)
    async with open_lab(App(), config) as lab:
        url = urlsplit(await lab.stream_url("call_9"))
    assert (url.scheme, url.netloc) == ("wss", "receiver.test:80")
    folder, _, token = url.path.rpartition("/")
    assert folder == "/stream"
    read = read_token([KEY], token, now=WALL)
    assert read.subject == "call:call_9"
    assert read.expires_at - WALL == pytest.approx(600, abs=1)


async def test_the_stream_url_begins_with_the_public_url(
    tmp_path: Path, autojump_clock: object
) -> None:
    config = settings(tmp_path, public_url="https://media.example.com/minivoice/")
    async with open_lab(App(), config) as lab:
        url = await lab.stream_url()
    assert url.startswith("wss://media.example.com/minivoice/stream/")


@pytest.mark.parametrize("track", ["inbound", "outbound", "both"])
@pytest.mark.documents("stream-begins")
async def test_the_default_answer_is_one_start_stream_with_the_track_of_the_settings(
    track: str, tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path, track=track)) as lab:
        response = await lab.request("POST", "/answer")
        assert response.header("Content-Type") == "application/json"
        answer = read_answer(response.body)
    assert answer.valid
    (action,) = answer.actions
    assert action is not None and (action.type, action.get("track")) == ("start_stream", track)


async def test_the_application_sees_all_that_was_asked_but_no_secrets(
    tmp_path: Path, autojump_clock: object
) -> None:
    decider = Decider()
    async with open_lab(decider.app, settings(tmp_path, track="inbound")) as lab:
        headers = JSON | {"Authorization": "Bearer abc", "X-Other": "yes"}
        await lab.request("POST", "/answer?a=1", b'{"from": "+1555", "call_id": "c"}', headers)
    (asked,) = decider.asked
    assert (asked.method, asked.query, asked.track) == ("POST", {"a": "1"}, "inbound")
    assert asked.fields == {"from": "+1555", "call_id": "c"}
    found = {name.lower(): value for name, value in asked.headers}
    assert (found["authorization"], found["x-other"]) == ("[redacted]", "yes")
    assert asked.peer
    assert "stream" not in repr(asked)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b"<call/>", {"Content-Type": "application/xml"}, 415),
        (b"hello", {}, 415),
        (b"a=%FF", FORM, 400),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_and_logged(
    body: bytes, headers: dict[str, str], status: int, tmp_path: Path, autojump_clock: object
) -> None:
    decider = Decider()
    async with open_lab(decider.app, settings(tmp_path)) as lab:
        assert (await lab.request("POST", "/answer", body, headers)).status == status
        (line,) = await lab.lines("answers", "refused")
        assert line["status"] == status and line["why"]
    assert not decider.asked


async def test_every_fault_of_a_json_body_is_in_the_log(
    tmp_path: Path, autojump_clock: object
) -> None:
    body = b'{"call": {"id": "call_1", "id": "call_2"}, "n": [NaN]}'
    async with open_lab(Decider().app, settings(tmp_path)) as lab:
        assert (await lab.request("POST", "/answer", body, JSON)).status == 400
        (line,) = await lab.lines("answers", "refused")
    assert (line["code"], line["why"]) == ("MV-105", "the body has faults")
    assert [problem.partition(":")[0] for problem in line["problems"]] == ["call", "n[0]"]


async def test_another_method_is_refused_with_what_is_allowed(
    tmp_path: Path, autojump_clock: object
) -> None:
    async with open_lab(App(), settings(tmp_path)) as lab:
        response = await lab.request("DELETE", "/answer")
        assert (response.status, response.header("Allow")) == (405, "GET, HEAD, POST")


@pytest.mark.documents("answer-fast-valid-deterministic", "answers-logged")
async def test_an_answer_with_faults_never_leaves_and_every_fault_is_logged(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        url = request.stream_url().replace("wss:", "https:")
        return Answer(start_stream(url, track="speaker"))

    async with open_lab(App(on_answer=on_answer), settings(tmp_path)) as lab:
        response = await lab.request("POST", "/answer")
        assert response.status == 500
        assert json.loads(response.body) == {"error": "Internal Server Error"}
        (line,) = await lab.lines("answers", "invalid")
        places = [problem.partition(":")[0] for problem in line["problems"]]
        assert places == ["actions[0].stream_url", "actions[0].track"]
        assert line["level"] == "error"


async def test_an_answer_is_checked_once(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Answer] = []
    check = Answer.problems

    def count(answer: Answer) -> tuple[Problem, ...]:
        checked.append(answer)
        return check(answer)

    monkeypatch.setattr(Answer, "problems", count)
    async with open_lab(App(), settings(tmp_path)) as lab:
        assert (await lab.request("POST", "/answer")).status == 200
    assert len(checked) == 1


async def test_what_is_no_answer_at_all_never_leaves(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        return cast(Answer, {"actions": []})

    async with open_lab(App(on_answer=on_answer), settings(tmp_path)) as lab:
        assert (await lab.request("POST", "/answer")).status == 500
        (line,) = await lab.lines("answers", "invalid")
        assert line["problems"] == ["on_answer returned dict; return an Answer"]


@pytest.mark.documents("answers-logged")
async def test_an_application_that_raises_is_answered_500_and_logged(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        raise LookupError("the application's own fault")

    async with open_lab(App(on_answer=on_answer), settings(tmp_path)) as lab:
        response = await lab.request("POST", "/answer")
        assert response.status == 500
        assert b"fault" not in response.body
        (line,) = await lab.lines("answers", "failed")
        assert "LookupError: the application's own fault" in line["traceback"]
        assert line["error"] == "LookupError: the application's own fault"
        assert (await lab.request("GET", "/health")).status == 200


@pytest.mark.documents("answer-fast-valid-deterministic")
async def test_an_application_that_does_not_decide_in_time_is_answered_500(
    tmp_path: Path, autojump_clock: object
) -> None:
    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.sleep(60)
        return Answer()

    config = settings(tmp_path, timeouts=patient(answer=5))
    async with open_lab(App(on_answer=on_answer), config) as lab:
        began = trio.current_time()
        assert (await lab.request("POST", "/answer")).status == 500
        assert trio.current_time() - began == 5.0
        (line,) = await lab.lines("answers", "late")
        assert line["seconds"] == 5.0


async def test_two_streams_of_one_answer_have_two_urls_of_one_call(
    tmp_path: Path, autojump_clock: object
) -> None:
    urls: list[str] = []

    async def on_answer(request: AnswerRequest) -> Answer:
        await trio.lowlevel.checkpoint()
        urls.extend((request.stream_url(), request.stream_url()))
        return Answer(*(start_stream(url, track="inbound") for url in urls))

    async with open_lab(App(on_answer=on_answer), settings(tmp_path, token_key=KEY)) as lab:
        await lab.request("POST", "/answer", b'{"call_id": "call_1"}', JSON)
        tokens = [read_token([KEY], url.rpartition("/")[2], now=WALL) for url in urls]
    assert urls[0] != urls[1]
    assert tokens[0].subject == tokens[1].subject
