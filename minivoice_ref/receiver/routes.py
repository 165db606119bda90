"""What is asked at the doors, and who answers it.

    GET, POST  /answer            answers.py: the platform asks what to do with a call
    POST       /webhooks          an event of a call: checked, committed, then acknowledged
    GET        /stream/<token>    a WebSocket: a media stream, for whoever has a good token
    GET        /health            are we well?
    GET        /ready             shall a balancer send us more calls?

With `stream_listen` the streams have a door of their own, and each door has only its own routes
(the last two stand at both). A `Site` is what `net/front_door.py` asks: it gets requests that are
whole and within their limits, and its refusals are answered by HTTP before any upgrade.

Every refusal is logged with its reason in the log it belongs to; the peer gets a short one. This
module knows no bytes. Read next: `server.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio

from minivoice_ref.net.front_door import RETRY_LATER, Admission
from minivoice_ref.net.http import Headers, Request, Response, refuse_method
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.net.upgrade import proposed_subprotocols
from minivoice_ref.protocol.dialects.detect import choose_subprotocol, known_subprotocols
from minivoice_ref.protocol.errors import InvalidDocument, RemoteProtocolError
from minivoice_ref.protocol.redaction import (
    excerpt,
    redact_headers,
    redact_path,
    redact_subprotocols,
)
from minivoice_ref.protocol.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadToken,
    check_webhook,
    read_token,
)
from minivoice_ref.protocol.webhooks import EVENTS, CallEvent, format_time, read_event
from minivoice_ref.receiver.answers import give_answer
from minivoice_ref.receiver.calls import Subject, usable_call_id
from minivoice_ref.receiver.commons import InboxFailed, SharedStream
from minivoice_ref.receiver.codes import code_of_connection, code_of_refusal, subject_of
from minivoice_ref.receiver.endings import OnStreamFailed
from minivoice_ref.receiver.entry import Entry, NotWelcome
from minivoice_ref.receiver.health import tell_health, tell_readiness
from minivoice_ref.receiver.journal import Log, told_of
from minivoice_ref.receiver.live_streams import Place, TooMany
from minivoice_ref.receiver.shared import Shared
from minivoice_ref.receiver.stream import run_stream
from minivoice_ref.receiver.watchdog import current_stream

__all__ = ["ReceiverSite"]

_STREAM = "/stream"
_FOR_EVERYBODY = ("/health", "/ready")
_LONGEST_ID = 256  # characters of a call's id that a log quotes


@dataclass(frozen=True, slots=True)
class _Route:
    """Who answers a path, to which methods, and which log tells of refusals."""

    answer: Callable[[Request], Awaitable[Response]]
    methods: tuple[str, ...]
    log: Log


class ReceiverSite:
    """The receiver behind one door. *http* and *streams* say what is served there."""

    def __init__(self, shared: Shared, *, http: bool = True, streams: bool = True) -> None:
        self._shared = shared
        self._entry = Entry(shared.config)
        self._streams = streams
        self._routes = {
            "/health": _Route(self._health, ("GET",), "streams"),
            "/ready": _Route(self._ready, ("GET",), "streams"),
        }
        if http:
            self._routes["/answer"] = _Route(self._answer, ("GET", "POST"), "answers")
            method = shared.config.webhook_method
            self._routes["/webhooks"] = _Route(self._webhook, (method,), "webhooks")

    # --- what the front door asks ---

    async def handle_request(self, request: Request) -> Response:
        """Answer a request that is no upgrade. Never raises for what the peer sent."""
        await trio.lowlevel.checkpoint()
        route = self._routes.get(request.path)
        if route is None:
            if self._is_stream(request):
                no_upgrade = RemoteProtocolError("a stream is a WebSocket", status=426)
                return self._refuse(request, "streams", no_upgrade, (("Upgrade", "websocket"),))
            return self._refuse(request, "streams", RemoteProtocolError("no such path", status=404))
        refusal = refuse_method(request, route.methods)
        if refusal is not None:
            wrong = RemoteProtocolError(f"no {request.method} here", status=refusal.status)
            return self._refuse(request, route.log, wrong, refusal.headers)
        try:
            if request.path not in _FOR_EVERYBODY:
                self._entry.check_network(request)
            return await route.answer(request)
        except RemoteProtocolError as exc:
            return self._refuse(request, route.log, exc)

    async def admit(self, request: Request) -> Admission | Response:
        """Decide on an upgrade.

        404 where no streams are, 401 or 403 for who may not, 429 or 503 where there are too many.
        """
        await trio.lowlevel.checkpoint()
        try:
            if not self._is_stream(request):
                raise RemoteProtocolError("no stream here", status=404)
            self._entry.check_network(request)
            self._entry.check_stream(request)
            token = request.path.removeprefix(_STREAM).strip("/")
            place, expires_at = self._place(token)
            leave = await self._enter(place, token, expires_at)
        except RemoteProtocolError as exc:
            return self._refuse(request, "streams", exc)
        proposed = proposed_subprotocols(request)
        chosen = choose_subprotocol(proposed, self._shared.config.dialect)
        return Admission(request, chosen, context=place, release=leave)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        """Look after an admitted stream until its end."""
        request, known, place = admission.request, known_subprotocols(), admission.context
        assert isinstance(place, Place)
        stream_id, subject = place.stream_id, place.subject
        current_stream.set(stream_id)
        if place.nth > 1:
            self._shared.journal.note(
                "streams",
                "opened_again",
                call_id=subject.call_id,
                stream_id=stream_id,
                answer_id=subject.answer_id,
                nth=place.nth,
            )
        await run_stream(
            socket,
            stream_id,
            subject,
            self._shared,
            peer=request.peer,
            path=redact_path(request.target),
            headers=redact_headers(request.headers, subprotocols=known),
            subprotocols=redact_subprotocols(proposed_subprotocols(request), known),
            subprotocol=socket.subprotocol,
        )

    def note(self, kind: str, **fields: Any) -> None:
        """Log trouble with a connection."""
        overruns = self._shared.overruns
        if kind == "limit":
            fields.pop("status", None)
            return overruns.count(fields.pop("limit"), "MV-314", **fields)
        if kind != "failed" and not overruns.has_ration(kind):
            return
        fields["left_out"] = overruns.left_out(kind)
        error = fields.pop("error", None)
        if isinstance(error, BaseException):
            if _is_told(error):
                return
            fields |= told_of(error)
        level = logging.ERROR if kind == "failed" else logging.WARNING
        code = code_of_connection(kind, fields.get("status"))
        note = self._shared.journal.note
        note("streams", "connection", level=level, code=code, kind=kind, **fields)

    # --- the routes ---

    async def _answer(self, request: Request) -> Response:
        self._entry.check_answer(request)
        return await give_answer(request, self._shared)

    async def _webhook(self, request: Request) -> Response:
        """Take an event: a 2xx says that it is on the disk."""
        began = trio.current_time()
        await trio.lowlevel.checkpoint()
        event = self._read(request)
        note = self._shared.journal.note
        limit, status = self._shared.config.limits.log_excerpt, event.call.status
        told: dict[str, Any] = {
            "call_id": excerpt(event.call.id, _LONGEST_ID),
            "event": excerpt(event.event, limit),
            "created_at": format_time(event.created_at),
            "status": status and excerpt(status, limit),
        }
        try:
            new = await self._shared.commons.accept(event, request.body)
        except InboxFailed as exc:
            level, code = logging.ERROR, "MV-607"
            note("webhooks", "not_stored", level=level, code=code, why=str(exc), **told)
            self._shared.worker.look()
            return Response.problem(503, headers=RETRY_LATER)
        self._hear_of(event)
        known = None if event.event in EVENTS else False
        told |= {"known": known, "seconds": round(trio.current_time() - began, 6)}
        note("webhooks", "accepted" if new else "duplicate", **told)
        if self._shared.annex is not None:
            self._shared.annex.event(event)
        if new:
            self._shared.worker.look()
        return Response.json({"accepted": True, "duplicate": not new})

    async def _health(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        del request
        return tell_health(self._shared)

    async def _ready(self, request: Request) -> Response:
        del request
        return await tell_readiness(self._shared)

    # --- the steps between ---

    def _read(self, request: Request) -> CallEvent:
        """The event of a delivery that is proven to be the platform's, where a secret is set.

        Raises BadSignature (401) and InvalidDocument (400).
        """
        shared = self._shared
        if shared.config.webhook_secrets:
            check_webhook(
                shared.config.webhook_secrets,
                request.header(TIMESTAMP_HEADER),
                request.header(SIGNATURE_HEADER),
                request.body,
                now=shared.clock(),
                tolerance=shared.config.webhook_tolerance,
            )
        return read_event(request.body)

    def _hear_of(self, event: CallEvent) -> None:
        """Let the streams of a call know that it has ended."""
        call_id = usable_call_id(event.call.id)
        if call_id is None:
            return
        if event.ends_call:
            self._shared.calls.end(call_id, event.call.status or event.event)
        else:
            self._shared.calls.heard(call_id, "webhook")

    def _is_stream(self, request: Request) -> bool:
        return self._streams and f"{request.path}/".startswith(f"{_STREAM}/")

    def _place(self, token: str) -> tuple[Place, float | None]:
        """A place for the stream whose token it is, and when that expires.

        Raises BadToken and TooMany. Where streams are let in without a token, it is nobody's.
        """
        shared = self._shared
        enter, now = shared.live_streams.enter, shared.clock()
        try:
            read = read_token([shared.token_key], token, now=now)
        except BadToken:
            if shared.config.require_token:
                raise
            return enter(Subject(), None, now, now), None
        return enter(Subject.from_token(read.subject), token, read.expires_at, now), read.expires_at

    async def _enter(
        self, place: Place, token: str, expires_at: float | None
    ) -> Callable[[], None]:
        """Tell the neighbours of a stream that has a place; return how to give both back.

        Raises TooMany. While the neighbours cannot be asked, what this process knows has to do.
        """
        await trio.lowlevel.checkpoint()
        commons = self._shared.commons
        nobodys = place.subject == Subject()
        stream = SharedStream(
            place.stream_id,
            "" if nobodys else str(place.subject),
            SharedStream.digest(None if expires_at is None else token),
            commons.node,
            expires_at or 0.0,
        )

        def leave() -> None:
            place.release()
            commons.leave(stream)

        try:
            place.nth = max(place.nth, await commons.enter(stream, self._shared.config.limits))
        except InboxFailed:
            self._shared.worker.look()
        except BaseException:
            leave()
            raise
        return leave

    def _refuse(
        self, request: Request, log: Log, refusal: RemoteProtocolError, headers: Headers = ()
    ) -> Response:
        """Refuse a request: why, to the log; the status and no more, to the peer."""
        if isinstance(refusal, TooMany):
            told = {"status": refusal.status, "why": str(refusal), "peer": request.peer}
            self._shared.overruns.count(refusal.limit, "MV-307", **told)
            return Response.problem(refusal.status, headers=RETRY_LATER)
        if isinstance(refusal, NotWelcome):
            headers = refusal.headers
        kind = f"{log} {refusal.status}"
        if self._shared.overruns.has_ration(kind):
            self._note_refusal(request, log, refusal, self._shared.overruns.left_out(kind))
        return Response.problem(refusal.status, headers=headers)

    def _note_refusal(
        self, request: Request, log: Log, refusal: RemoteProtocolError, left_out: int | None
    ) -> None:
        why, problems = str(refusal), None
        if isinstance(refusal, InvalidDocument):
            why = f"{refusal.what} has faults"
            problems = [str(problem) for problem in refusal.problems]
        subject = subject_of(refusal)
        self._shared.journal.note(
            log,
            "refused",
            code=code_of_refusal(log, refusal),
            call_id=subject.call_id,
            answer_id=subject.answer_id,
            status=refusal.status,
            why=why,
            problems=problems,
            method=request.method,
            path=redact_path(request.path),
            peer=request.peer,
            left_out=left_out,
        )


def _is_told(error: BaseException) -> bool:
    """Whether all of it is failures of `on_stream`, each of which has its line already."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(OnStreamFailed)[1] is None
    return isinstance(error, OnStreamFailed)
