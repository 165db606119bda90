"""A customer application for the doctor to examine, well or ill: real sockets and real TLS."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trustme
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.front_door import Admission, Door, serve_doors
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.net.websocket import MediaSocket, SocketClosed
from minivoice_ref.protocol.error_catalogue import CATALOGUE
from minivoice_ref.protocol.signing import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    BadSignature,
    check_webhook,
)
from minivoice_ref.simulator.doctor import DoctorPlan, Examination, examine
from minivoice_ref.simulator.doctor_report import Check

SECRET = "the-secret-of-the-doctor-tests"
PATIENCE = Timeouts(
    connect=5.0, tls_handshake=5.0, response=5.0, upgrade=5.0, close=0.3, first_message=30.0
)


class Authority:
    """An authority that the doctor trusts, and the server contexts that it makes."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def context(self, *names: str, begins: float = -30.0, ends: float = 60.0) -> ssl.SSLContext:
        """A server's context for *names*; the certificate's days count from today."""
        return context_of(certificate(self.ca, *names, begins=begins, ends=ends))


def certificate(
    ca: trustme.CA, *names: str, begins: float = -30.0, ends: float = 60.0
) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return ca.issue_cert(
        *(names or ("localhost", "127.0.0.1")),
        not_before=now + timedelta(days=begins),
        not_after=now + timedelta(days=ends),
    )


def context_of(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@dataclass
class Patient:
    """The application: healthy, until a test replaces one of its parts. It is a `Site`."""

    address: str = ""
    tokens: set[str] = field(default_factory=set)
    events: list[Request] = field(default_factory=list)
    asked: int = 0
    answer: Callable[[Patient], Response] = lambda patient: Response.json(
        {"actions": [start(patient.new_url())]}
    )
    delay: float = 0.0
    check_token: Callable[[Patient, Request], Response | None] = lambda patient, request: (
        None if request.path.rpartition("/")[2] in patient.tokens else Response.problem(403)
    )
    close_code: int | None = None
    hook: Callable[[Patient, Request], Response] = lambda patient, request: check_event(request)

    def new_url(self) -> str:
        """A stream's URL with a token of its own."""
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        return f"wss://{self.address}/media/{token}"

    async def handle_request(self, request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        if request.path == "/webhooks":
            self.events.append(request)
            return self.hook(self, request)
        await trio.sleep(self.delay)
        self.asked += 1
        return self.answer(self)

    async def admit(self, request: Request) -> Admission | Response:
        await trio.lowlevel.checkpoint()
        return self.check_token(self, request) or Admission(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        if self.close_code is not None:
            await socket.close(self.close_code)
        try:
            while True:
                await socket.receive()
        except SocketClosed:
            await trio.lowlevel.checkpoint()

    def note(self, kind: str, **fields: object) -> None:
        """Nobody reads this log."""

    def plan(self, authority: Authority, **changes: Any) -> DoctorPlan:
        """The plan to examine this application."""
        settings: dict[str, Any] = {
            "answer_url": f"https://{self.address}/answer",
            "webhook_url": f"https://{self.address}/webhooks",
            "webhook_secret": SECRET,
            "ca": authority.file,
            "fast_answer": 4.0,
            "timeouts": PATIENCE,
        }
        return DoctorPlan(**(settings | changes))


def start(url: str) -> dict[str, Any]:
    """A `start_stream` as an application writes it."""
    return {"type": "start_stream", "stream_url": url, "track": "both"}


def check_event(request: Request) -> Response:
    """Accept a webhook that is signed as it should be."""
    try:
        check_webhook(
            [SECRET],
            request.header(TIMESTAMP_HEADER),
            request.header(SIGNATURE_HEADER),
            request.body,
            now=time.time(),
            tolerance=300.0,
        )
    except BadSignature:
        return Response.problem(401)
    return Response(204)


@asynccontextmanager
async def open_patient(
    context: ssl.SSLContext | None, host: str = "127.0.0.1"
) -> AsyncGenerator[Patient, None]:
    """Serve an application on a port of this machine for a block."""
    patient = Patient()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    patient.address = f"{host}:{listeners[0].socket.getsockname()[1]}"
    doors = [Door(listeners, context, patient)]
    async with trio.open_nursery() as nursery:
        serving = partial(
            serve_doors, doors, trio.Event(), limits=Limits(), timeouts=Timeouts(close=0.2)
        )
        await nursery.start(serving)
        yield patient
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_raw(reply: bytes | None) -> AsyncGenerator[int, None]:
    """Listen on a port: say *reply* to whatever comes first and hang up; None: say nothing."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            if reply is None:
                await trio.sleep_forever()
            await stream.send_all(reply)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_silent(context: ssl.SSLContext) -> AsyncGenerator[str, None]:
    """Listen on a port: finish the TLS handshake, and never say a word."""

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, context, server_side=True, https_compatible=True) as tls:
            with suppress(trio.BrokenResourceError):
                await tls.receive_some()
                await tls.receive_some()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


class Names(trio.abc.HostnameResolver):
    """A name server: all names are this machine, or *addresses*, or unknown; or nobody answers."""

    def __init__(self, *addresses: str, fault: OSError | None = None, silent: bool = False) -> None:
        self._addresses = addresses or ("127.0.0.1",)
        self._fault = fault
        self._silent = silent

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **more: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self._silent:
            await trio.sleep_forever()
        if self._fault is not None:
            raise self._fault
        return [(2, 1, 6, "", (address, port)) for address in self._addresses]

    async def getnameinfo(self, *args: Any, **more: Any) -> Any:
        raise AssertionError("nobody asks for names")


async def checks_of(plan: DoctorPlan, **more: Any) -> dict[str, Check]:
    """Examine, and return every check by its full name."""
    return by_name(await examination_of(plan, **more))


async def examination_of(plan: DoctorPlan, **more: Any) -> Examination:
    """Examine within a time that no machine should need."""
    with trio.fail_after(30):
        return await examine(plan, **more)


def by_name(examination: Examination) -> dict[str, Check]:
    """Every check of *examination* by its full name."""
    return {
        f"{sheet.part}.{check.name}": check
        for sheet in examination.sheets
        for check in sheet.checks
    }


def failed(checks: dict[str, Check]) -> list[str]:
    """The names of the crosses; each has its code and a mend, and nothing else has."""
    for name, check in checks.items():
        assert bool(check.mend) == (check.outcome == "fail"), check
        assert check.said
        code = CODES[name.partition(".")[2]]
        if check.said.startswith("not accepted"):
            code = "MV-614"  # without a secret the unsigned webhook is the good one
        assert check.code == (code if check.outcome == "fail" else None), check
        assert check.code is None or check.code in CATALOGUE
    return [name for name, check in checks.items() if check.outcome == "fail"]


CODES = {
    "dns": "MV-801",
    "tcp": "MV-802",
    "tls": "MV-803",
    "chain": "MV-804",
    "name": "MV-805",
    "days_left": "MV-806",
    "valid": "MV-108",
    "fast": "MV-109",
    "again": "MV-110",
    "upgrade": "MV-312",
    "wrong_token": "MV-208",
    "signed": "MV-614",
    "unsigned": "MV-615",
    "wrong_signature": "MV-616",
    "stale_timestamp": "MV-617",
    "skew": "MV-807",
}
"""The code of the error catalogue that a cross of each check has."""


def with_outcome(checks: dict[str, Check], outcome: str) -> Sequence[str]:
    """The names of the checks that have this outcome."""
    return [name for name, check in checks.items() if check.outcome == outcome]
