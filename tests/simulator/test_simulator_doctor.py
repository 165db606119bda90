"""The doctor: a healthy application gets ticks, and each illness the cross that belongs to it."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_lab import (
    SECRET,
    Authority,
    Patient,
    by_name,
    checks_of,
    examination_of,
    failed,
    open_patient,
    open_raw,
    open_silent,
    start,
    with_outcome,
)
from hypothesis import given
from hypothesis import strategies as st
from minivoice_ref.config import ConfigError, Timeouts
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.protocol.signing import SIGNATURE_HEADER, mint_token
from minivoice_ref.protocol.webhooks import read_event
from minivoice_ref.simulator.doctor import DoctorPlan
from minivoice_ref.simulator.doctor_checks import Heard, check_clock, forge
from minivoice_ref.simulator.doctor_report import Examination, Sheet

HOST = ["dns", "tcp", "tls", "chain", "name", "days_left"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("doctor"))


@pytest.fixture(scope="session")
def context(authority: Authority) -> ssl.SSLContext:
    return authority.context()


async def test_a_healthy_application_gets_ticks_in_the_order_of_the_visit(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        examination = await examination_of(patient.plan(authority))
    checks = by_name(examination)
    assert examination.passed and failed(checks) == []
    assert list(checks) == [
        *(f"answer_url.{name}" for name in (*HOST, "valid", "fast", "again")),
        *(f"stream_url.{name}" for name in (*HOST, "upgrade", "wrong_token")),
        *(f"webhook_url.{name}" for name in (*HOST, "signed", "unsigned", "wrong_signature")),
        "clock.skew",
        "clock.stale_timestamp",
    ]
    skipped = with_outcome(checks, "skip")
    assert skipped == [f"{part}.{name}" for part in ("stream_url", "webhook_url") for name in HOST]
    assert checks["answer_url.tls"].said.startswith("TLSv1.")
    assert checks["answer_url.days_left"].said.startswith("60 days left, until ")
    assert "trustme" in checks["answer_url.chain"].said
    assert "not reachable from the internet" in checks["answer_url.dns"].said


async def test_the_probes_are_documented_events_of_calls_that_are_clearly_none(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        examination = await examination_of(patient.plan(authority))
        events = [read_event(request.body) for request in patient.events]
        signed = [request.header(SIGNATURE_HEADER) is not None for request in patient.events]
    assert [event.event for event in events] == ["call.completed"] * 4
    assert signed == [True, False, True, True]
    ids = {event.call.id for event in events}
    assert len(ids) == 4 and all(id_.startswith(examination.call_id) for id_ in ids)
    assert examination.call_id.startswith("call_doctor_")
    assert patient.asked == 2


async def test_no_secret_of_the_visit_is_in_what_it_says(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.answer = lambda p: Response.json(
            {"actions": [start(p.new_url().replace("/media/", "/stream/"))]}
        )
        plan = patient.plan(authority)
        examination = await examination_of(plan)
        texts = [str(examination), json.dumps(examination.to_json()), repr(plan)]
        assert not any(token in text for token in patient.tokens for text in texts)
    assert not any(SECRET in text or "v1=" in text for text in texts)


# --- the answer ---


def reply(status: int, *headers: tuple[str, str]) -> Callable[[Patient], Response]:
    return lambda patient: Response(status, b"{}", headers)


def broken_off(patient: Patient) -> Response:
    raise RuntimeError("the application is broken")


BAD_ANSWERS: dict[str, tuple[Callable[[Patient], Response], str, str]] = {
    "no such path": (reply(404), "answered 404", "path"),
    "another method": (reply(405), "answered 405", "--answer-method"),
    "a login": (reply(401), "answered 401", "login"),
    "a redirect": (reply(302, ("Location", "/")), "answered 302", "redirects"),
    "a failure": (reply(500), "answered 500", "log"),
    "an odd refusal": (reply(410), "answered 410", "2xx"),
    "no JSON": (lambda _: Response.text("hello"), "not JSON", ""),
    "two faults": (
        lambda _: Response.json({"actions": [start("https://x/") | {"track": "speaker"}]}),
        "actions[0].track",
        "wss",
    ),
    "many faults": (
        lambda _: Response.json({"actions": [{"type": "sey"}] * 5}),
        ", and 2 more",
        "write say",
    ),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_an_answer_that_is_not_valid_gets_a_cross(
    name: str, authority: Authority, context: ssl.SSLContext
) -> None:
    answer, said, mend = BAD_ANSWERS[name]
    async with open_patient(context) as patient:
        patient.answer = answer
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["answer_url.valid"]
    assert said in checks["answer_url.valid"].said and mend in checks["answer_url.valid"].mend
    assert checks["answer_url.fast"].outcome == "pass"
    assert checks["answer_url.again"].outcome == checks["stream_url.upgrade"].outcome == "skip"
    assert checks["webhook_url.signed"].outcome == "pass"


async def test_an_answer_that_never_comes_gets_a_cross_and_the_rest_is_examined(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.delay = 60.0
        checks = await checks_of(patient.plan(authority, timeouts=Timeouts(response=1.0)))
    assert failed(checks) == ["answer_url.valid", "answer_url.again"]
    assert "no whole response within 1 s" in checks["answer_url.valid"].said
    assert checks["answer_url.fast"].outcome == "skip"
    assert checks["webhook_url.signed"].outcome == checks["clock.skew"].outcome == "pass"


@pytest.mark.documents("answer-fast-valid-deterministic")
async def test_a_slow_answer_gets_a_cross_with_its_time_and_the_threshold(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.delay = 0.2
        checks = await checks_of(patient.plan(authority, fast_answer=0.1))
    assert failed(checks) == ["answer_url.fast"]
    fast = checks["answer_url.fast"]
    assert "0.1 s" in fast.said and fast.seconds is not None and fast.seconds >= 0.2


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.documents("answer-fast-valid-deterministic")
async def test_an_application_that_answers_only_now_and_then_gets_a_cross(
    good: int, authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        healthy = patient.answer
        patient.answer = lambda p: healthy(p) if p.asked - 1 == good else Response.problem(503)
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["answer_url.valid"] * good + ["answer_url.again"]
    assert checks["stream_url.upgrade"].outcome == "pass"
    assert "no second stream_url" in checks["stream_url.wrong_token"].said


async def test_warnings_and_other_actions_are_said_and_are_no_cross(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.answer = lambda p: Response.json(
            {"actions": [{"type": "hold", "extra": 1}, {"type": "resume"}][: p.asked]}
        )
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == []
    assert "actions[0].extra" in checks["answer_url.valid"].said
    assert "other actions" in checks["answer_url.again"].said
    assert "no start_stream" in checks["stream_url.upgrade"].said


# --- the streams ---


@pytest.mark.parametrize(
    ("status", "mend"),
    [(400, "proxy"), (403, "token"), (404, "path"), (503, "log"), (200, "proxy")],
)
async def test_a_stream_that_is_not_accepted_gets_a_cross(
    status: int, mend: str, authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.check_token = lambda _, request: Response.problem(status)
        checks = await checks_of(patient.plan(authority))
    assert failed(checks)[0] == "stream_url.upgrade"
    assert f"answered {status}" in checks["stream_url.upgrade"].said
    assert mend in checks["stream_url.upgrade"].mend
    forged = checks["stream_url.wrong_token"]
    assert forged.outcome == ("fail" if status == 503 else "skip")
    if status != 503:
        assert "but so was its own" in forged.said


async def test_a_wrong_token_that_is_let_in_gets_a_cross(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.check_token = lambda _, request: None
        checks = await checks_of(patient.plan(authority))
        assert failed(checks) == ["stream_url.wrong_token"]
        assert checks["stream_url.wrong_token"].said == "let in with 101"
        patient.close_code = 1008
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["stream_url.wrong_token"]
    assert checks["stream_url.wrong_token"].said == "let in with 101, then closed with 1008"


async def test_a_wrong_token_that_breaks_the_receiver_gets_a_cross(
    authority: Authority, context: ssl.SSLContext
) -> None:
    def fail(patient: Patient, request: Request) -> Response | None:
        known = request.path.rpartition("/")[2] in patient.tokens
        return None if known else Response.problem(500)

    async with open_patient(context) as patient:
        patient.check_token = fail
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["stream_url.wrong_token"]
    assert "answered with 500" in checks["stream_url.wrong_token"].said


async def test_a_url_without_a_token_gets_a_dash_that_says_so(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.answer = lambda p: Response.json({"actions": [start(f"wss://{p.address}/media")]})
        patient.check_token = lambda _, request: None
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == []
    assert checks["stream_url.upgrade"].outcome == "pass"
    assert "has no token" in checks["stream_url.wrong_token"].said


async def test_a_stream_at_a_host_of_its_own_gets_the_same_steps(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient, open_patient(context) as other:
        patient.answer = lambda p: Response.json({"actions": [start(other.new_url())]})
        checks = await checks_of(patient.plan(authority))
        assert failed(checks) == []
        assert all(checks[f"stream_url.{name}"].outcome == "pass" for name in HOST)
        two = [start(other.new_url()), start("wss://127.0.0.1:1/x"), start(patient.new_url())]
        patient.answer = lambda p: Response.json({"actions": two})
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["stream_url_2.tcp"]
    assert checks["stream_url_3.dns"].outcome == "skip"
    assert checks["stream_url_3.upgrade"].outcome == "pass"


async def test_a_stream_that_nobody_listens_for_gets_a_cross_at_the_step_that_fails(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.answer = lambda p: Response.json({"actions": [start("wss://127.0.0.1:1/x")]})
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["stream_url.tcp"]
    assert checks["stream_url.upgrade"].outcome == "skip"


async def test_a_receiver_that_says_nothing_gets_crosses_within_the_deadline(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient, open_silent(context) as silent:
        urls = iter((f"wss://{silent}/x1", f"wss://{silent}/x2"))
        patient.answer = lambda p: Response.json({"actions": [start(next(urls))]})
        checks = await checks_of(patient.plan(authority, timeouts=Timeouts(upgrade=0.3)))
    assert failed(checks) == ["stream_url.upgrade", "stream_url.wrong_token"]
    assert "0.3 s" in checks["stream_url.upgrade"].said


# --- the webhooks ---


def refuse(status: int) -> Callable[[Patient, Request], Response]:
    return lambda patient, request: Response.problem(status)


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "secret"), (403, "secret"), (404, "path"), (500, "log")]
)
async def test_a_signed_webhook_that_is_refused_gets_a_cross(
    status: int, mend: str, authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.hook = refuse(status)
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == ["webhook_url.signed"]
    assert mend in checks["webhook_url.signed"].mend
    assert "no signed one was accepted" in checks["webhook_url.unsigned"].said


LAX: dict[str, tuple[int, list[str]]] = {
    "takes everything": (
        204,
        ["webhook_url.unsigned", "webhook_url.wrong_signature", "clock.stale_timestamp"],
    ),
    "fails": (
        500,
        ["webhook_url.unsigned", "webhook_url.wrong_signature", "clock.stale_timestamp"],
    ),
}


@pytest.mark.parametrize("name", LAX)
async def test_a_bad_webhook_that_is_not_refused_gets_a_cross(
    name: str, authority: Authority, context: ssl.SSLContext
) -> None:
    status, crosses = LAX[name]
    async with open_patient(context) as patient:
        healthy = patient.hook

        def lax(patient: Patient, request: Request) -> Response:
            response = healthy(patient, request)
            return response if response.ok else Response(status)

        patient.hook = lax
        checks = await checks_of(patient.plan(authority))
    assert failed(checks) == crosses


@pytest.mark.parametrize("lax", ["unsigned", "wrong_signature", "stale_timestamp"])
async def test_each_bad_webhook_has_a_cross_of_its_own(
    lax: str, authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        healthy = patient.hook

        def hook(patient: Patient, request: Request) -> Response:
            taken = read_event(request.body).call.id.endswith(lax)
            return Response(200) if taken else healthy(patient, request)

        patient.hook = hook
        checks = await checks_of(patient.plan(authority))
    (cross,) = failed(checks)
    assert cross.endswith(lax) and checks[cross].said == "accepted with 200"


async def test_webhooks_that_nobody_answers_get_crosses(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        url = f"https://{patient.address}/answer"
        patient.delay = 0.0
        patient.answer = lambda p: Response(200, b"x" * 2_000_000)  # more than a client takes
        checks = await checks_of(patient.plan(authority, webhook_url=url))
    crosses = failed(checks)
    assert {"webhook_url.signed", "webhook_url.unsigned", "clock.stale_timestamp"} <= set(crosses)
    assert "larger than" in checks["webhook_url.signed"].said
    assert checks["clock.skew"].outcome == "skip"


async def test_without_a_secret_the_unsigned_one_is_to_be_accepted(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        patient.hook = refuse(204)
        checks = await checks_of(patient.plan(authority, webhook_secret=None))
        assert failed(checks) == []
        assert checks["webhook_url.unsigned"].outcome == "pass"
        skipped = ["webhook_url.signed", "webhook_url.wrong_signature", "clock.stale_timestamp"]
        assert all("MINIVOICE_WEBHOOK_SECRET" in checks[name].said for name in skipped)
        patient.hook = refuse(401)
        checks = await checks_of(patient.plan(authority, webhook_secret=None))
    assert failed(checks) == ["webhook_url.unsigned"]
    assert checks["webhook_url.unsigned"].code == "MV-614"
    assert "MINIVOICE_WEBHOOK_SECRET" in checks["webhook_url.unsigned"].mend


async def test_without_a_webhook_url_its_checks_are_dashes(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        examination = await examination_of(patient.plan(authority, webhook_url=None))
    checks = by_name(examination)
    assert failed(checks) == [] and checks["clock.skew"].outcome == "pass"
    assert "no webhook_url was given" in checks["webhook_url.dns"].said
    assert "–  dns, tcp, tls, chain, name, days_left, signed" in str(examination)


async def test_webhooks_at_a_host_of_their_own_are_examined_while_the_answer_is_ill(
    authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient, open_raw(None) as silent:
        plan = patient.plan(
            authority,
            answer_url=f"https://127.0.0.1:{silent}/",
            timeouts=Timeouts(tls_handshake=1.5),
        )
        checks = await checks_of(plan)
        assert failed(checks) == ["answer_url.tls"]
        assert all(checks[f"webhook_url.{name}"].outcome == "pass" for name in (*HOST, "signed"))
        assert checks["clock.skew"].outcome == "pass"
        nowhere = patient.plan(authority, webhook_url="https://127.0.0.1:1/webhooks")
        checks = await checks_of(nowhere)
    assert failed(checks) == ["webhook_url.tcp"]
    assert checks["webhook_url.signed"].said == "the host cannot be reached"


# --- the clock ---


@pytest.mark.parametrize(("off", "side"), [(60.0, "behind"), (-60.0, "ahead of")])
async def test_clocks_that_do_not_agree_get_a_cross(
    off: float, side: str, authority: Authority, context: ssl.SSLContext
) -> None:
    async with open_patient(context) as patient:
        checks = await checks_of(patient.plan(authority), clock=lambda: time.time() + off)
    assert failed(checks) == ["clock.skew"]
    assert side in checks["clock.skew"].said and "0:0" in checks["clock.skew"].said


def test_the_skew_is_what_the_date_cannot_explain() -> None:
    def skew(date: str, began: float, ended: float) -> str:
        sheet = Sheet("clock")
        headers = (("Date", date),) if date else ()
        check_clock(sheet, [Heard(Response(200, b"", headers), began, ended, 0.1)], 5.0)
        (check,) = sheet.checks
        return check.outcome

    date, at = "Thu, 01 Jan 1970 00:16:40 GMT", 1000.0  # any moment of the second from 1000 on
    assert skew(date, at + 0.9, at + 1.1) == "pass"
    assert skew(date, at + 6.0, at + 6.1) == "pass" and skew(date, at + 6.1, at + 6.2) == "fail"
    assert skew(date, at - 5.1, at - 5.0) == "pass" and skew(date, at - 5.2, at - 5.1) == "fail"
    assert skew("", at, at) == skew("yesterday", at, at) == "skip"


# --- forging, reporting, planning ---


def test_a_forged_url_differs_in_what_ties_it_to_its_call() -> None:
    one = mint_token("key", "call_1", 1.0)
    two = mint_token("key", "call_2", 1.0)
    forged = forge(f"wss://h:1/a/{one}/b?x=1", f"wss://h:1/a/{two}/b?x=1")
    assert forged is not None and forged.startswith("wss://h:1/a/") and forged.endswith("/b?x=1")
    assert one not in forged and len(forged) == len(f"wss://h:1/a/{one}/b?x=1")
    assert forge("wss://h/a?token=xyz&x=1", None) == "wss://h/a?token=klm&x=1"
    assert forge("wss://h/a?call=1&x=1", "wss://h/a?call=2&x=1") == "wss://h/a?call=6&x=1"
    assert forge("wss://h/a/b1", "wss://h/c") == "wss://h/a/e6"
    assert forge("wss://h/a/09-af", "wss://h/a/1") == "wss://h/a/54-dc"
    assert forge("wss://h/a/%2Bz", "wss://h/a/1") == "wss://h/a/nm"
    assert forge("wss://h/a", "wss://h/a") is forge("wss://h/a", None) is None


@given(st.from_regex(r"[A-Za-z0-9_.-]*[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True))
def test_every_token_can_be_forged_and_keeps_its_length(token: str) -> None:
    forged = forge(f"wss://h/x/{token}", "wss://h/x/.")
    assert forged is not None and forged != f"wss://h/x/{token}"
    assert len(forged) == len(f"wss://h/x/{token}")


def test_the_report_has_rows_for_people_and_names_for_machines() -> None:
    sheet = Sheet("answer_url", "https://h/answer?token=abcdef", note="a remark")
    sheet.tick("dns", "192.0.2.1", 0.25)
    sheet.dash("no connection", "tls", "chain")
    sheet.dash("another reason", "name")
    sheet.cross("MV-108", "valid", "answered\n500", "mend it")
    examination = Examination("call_doctor_1", [sheet])
    assert str(examination).splitlines() == [
        "answer_url  https://h/answer?token=[redacted]",
        "  ✓  dns              192.0.2.1 (0.250 s)",
        "  –  tls, chain       no connection",
        "  –  name             another reason",
        "  ✗  valid            MV-108 answered\\n500",
        "                      mend: mend it",
        "                      note: a remark",
        "",
        "FAIL: 1 tick, 1 cross, 3 dashes",
        "`minivoice-ref help CODE` says more of a cross",
    ]
    document: dict[str, Any] = examination.to_json()
    assert document["verdict"] == "fail" and document["notes"] == {"answer_url": "a remark"}
    assert [document[name] for name in ("passed", "failed", "skipped")] == [1, 1, 3]
    assert document["checks"][0] == {
        "check": "answer_url.dns",
        "outcome": "pass",
        "code": None,
        "said": "192.0.2.1",
        "mend": None,
        "seconds": 0.25,
    }
    assert document["checks"][-1]["mend"] == "mend it"
    assert document["checks"][-1]["code"] == "MV-108"


def test_a_plan_that_cannot_work_names_all_that_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        DoctorPlan(
            answer_url="ftp://h/x",
            webhook_url="https://me:hush@h/",
            webhook_secret="",
            fast_answer=0.0,
            clock_skew=float("inf"),
        )
    assert [problem.path for problem in caught.value.problems] == [
        "answer_url",
        "webhook_url",
        "webhook_secret",
        "fast_answer",
        "clock_skew",
    ]
    assert "hush" not in str(caught.value)


async def test_a_ca_file_that_is_none_is_raised(tmp_path: Path) -> None:
    plan = DoctorPlan(answer_url="https://127.0.0.1:1/", ca=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="none.pem cannot be read"):
        await examination_of(plan)
