"""`answer_url`: the platform asks what to do with a call, the application decides.

What the platform sends is not documented: neither the method nor the body, nor whether the call's
id is in it. So GET and POST are taken, with a body of JSON, a form or nothing, and the id is
looked for wherever it may stand. All of it goes to the application, and the log tells where the
id was found.

What leaves is checked first, by the same table that the simulator checks with. An answer with
faults is the application's fault: it is logged with every one of them and never sent. So are
answers that come too late, and exceptions; the platform gets a 500 without internals.

This module knows nothing of sockets. Read next: `routes.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from typing import cast

import trio

from minivoice_ref.net.http import Request, Response
from minivoice_ref.protocol.action_table import Action
from minivoice_ref.protocol.actions import Answer
from minivoice_ref.protocol.errors import FaultyAnswer, RemoteProtocolError
from minivoice_ref.protocol.redaction import redact_headers, redact_path, redact_url
from minivoice_ref.protocol.signing import mint_token
from minivoice_ref.receiver.app import AnswerRequest, StreamTrack
from minivoice_ref.receiver.codes import code_of_answer
from minivoice_ref.receiver.calls import Subject, new_answer_id, usable_call_id
from minivoice_ref.receiver.journal import told_of
from minivoice_ref.receiver.shared import Shared

__all__ = ["find_call_id", "give_answer", "read_fields"]

_FORM = "application/x-www-form-urlencoded"
# How the field's platforms name the id of a call; MiniVoice's webhooks have `call.id`.
_ID_NAMES = (
    "call_id",
    "callId",
    "CallId",
    "call_sid",
    "callSid",
    "CallSid",
    "call_uuid",
    "callUuid",
    "CallUUID",
)


async def give_answer(request: Request, shared: Shared) -> Response:
    """Answer a request to `answer_url`.

    Raises RemoteProtocolError (400, 415) for a body that cannot be read.
    """
    fields = read_fields(request)
    query = request.query_values
    call_id, found = find_call_id(fields, query)
    asked = _asked(request, fields, query, call_id, shared)
    if call_id is not None:
        shared.calls.heard(call_id, "answer")
    note = partial(
        shared.journal.note,
        "answers",
        call_id=call_id,
        answer_id=asked.answer_id,
        method=request.method,
        target=redact_path(request.target),
        peer=request.peer,
        call_id_from=found,
    )
    began = trio.current_time()
    answer: object = None
    with trio.move_on_after(shared.config.timeouts.answer) as patience:
        answer, failure = await _ask(asked, shared)
    note = partial(note, seconds=round(trio.current_time() - began, 3))
    if patience.cancelled_caught:
        allowed = shared.config.timeouts.answer
        note("late", level=logging.ERROR, code="MV-101", allowed=allowed)
    elif failure is not None:
        note("failed", level=logging.ERROR, code="MV-102", **told_of(failure))
    else:
        body, code, faults = _encode(answer)
        if isinstance(answer, Answer) and body is not None:
            note("answered", actions=[_told(action) for action in answer.actions])
            return Response(200, body, (("Content-Type", "application/json"),))
        note("invalid", level=logging.ERROR, code=code, problems=faults)
    return Response.problem(500)


def read_fields(request: Request) -> Mapping[str, object]:
    """The body's fields, empty where there is none. Raises RemoteProtocolError (400, 415)."""
    if not request.body:
        return {}
    if request.media_type == _FORM:
        return request.form()
    if request.media_type.endswith("json") or request.body.lstrip()[:1] == b"{":
        document = request.json()
        if not isinstance(document, dict):
            raise RemoteProtocolError("the JSON body is not an object")
        return document
    request.expect_media_type("application/json", _FORM)
    raise AssertionError  # what is neither of the two was refused just now


def find_call_id(
    fields: Mapping[str, object], query: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """The call's id and the place where it stood, in the body first; None and None without one."""
    call = fields.get("call")
    candidates: list[tuple[str, object]] = []
    if isinstance(call, Mapping):
        candidates += [(f"body call.{name}", call.get(name)) for name in ("id", *_ID_NAMES)]
    else:
        candidates.append(("body call", call))
    candidates += [(f"body {name}", fields.get(name)) for name in ("call.id", *_ID_NAMES)]
    candidates += [(f"query {name}", query.get(name)) for name in ("call.id", "call", *_ID_NAMES)]
    for place, value in candidates:
        call_id = usable_call_id(value)
        if call_id is not None:
            return call_id, place
    return None, None


async def _ask(asked: AnswerRequest, shared: Shared) -> tuple[object, Exception | None]:
    """Let the application decide; return its answer, or what it raised.

    A wall: a call must get its 500 at once, and a line in the right log, whatever fails.
    """
    try:
        return await shared.app.on_answer(asked), None
    except Exception as exc:
        return None, exc  # noqa: ASYNC910  # the application has run


def _encode(answer: object) -> tuple[bytes | None, str | None, list[str]]:
    """The body to send; None, the faults' code and all faults, where it must not be sent."""
    if not isinstance(answer, Answer):
        return None, "MV-104", [f"on_answer returned {type(answer).__name__}; return an Answer"]
    try:
        return answer.encode(), None, []
    except FaultyAnswer as exc:
        return None, code_of_answer(exc.problems), [str(problem) for problem in exc.problems]


def _asked(
    request: Request,
    fields: Mapping[str, object],
    query: Mapping[str, str],
    call_id: str | None,
    shared: Shared,
) -> AnswerRequest:
    """The request as the application sees it."""
    answer_id = new_answer_id()
    subject, number = Subject(call_id, answer_id), count()

    def new_stream_url() -> str:
        # Two URLs of one answer are two streams, so no two may expire in the same millisecond.
        expires = shared.clock() + shared.config.token_lifetime + next(number) / 1000
        return f"{shared.stream_base}/{mint_token(shared.token_key, str(subject), expires)}"

    return AnswerRequest(
        call_id=call_id,
        answer_id=answer_id,
        method=request.method,
        query=query,
        fields=fields,
        headers=tuple(redact_headers(request.headers)),
        peer=request.peer,
        track=cast(StreamTrack, shared.config.track),
        new_stream_url=new_stream_url,
    )


def _told(action: Action) -> dict[str, object]:
    """An action for the log, typed whatever its form: its URLs without their secrets."""
    return {
        name: redact_url(value) if isinstance(value, str) and "://" in value else value
        for name, value in replace(action, form="typed").to_json().items()
    }
