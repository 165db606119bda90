"""The front door: TLS, the first request, then HTTP or WebSocket. The fault wall stands here.

An essay, since every stranger comes in through this file.

Every connection begins as HTTP. h11 reads its first head, within a size and a deadline, whatever
the peer has in mind; only a good upgrade that the site admits becomes a WebSocket. Everything else
is answered here, by h11, and the connection is closed or kept for the next request. So a refusal
is always plain HTTP that any client can show, and no stranger ever meets the WebSocket library.

    who is alive when

    serve_doors
    └─ gathering              reads what the streams of all connections bring: see gather.py
       └─ connections            outlives the doors; draining, it gets a deadline, now + grace
          ├─ doors               cancelled as soon as draining has no stream to wait for
          │  └─ serve_listeners  one for each door
          ├─ guard(stream)       one for each connection; the one fault wall
          │  └─ _Visit           TLS, then one request after the other; no nursery of its own
          └─ guard(stream)
             └─ _Visit           TLS, the head, the site's yes, then
                └─ open_accepted         the reader and the goodbye: see websocket.py
                   └─ site.handle_stream as long as the stream lives

Draining asks first and insists later:

1. new upgrades are answered 503. An idle connection is closed at once, a busy one after its
   response, which says so;
2. streams go on, and while there are any the doors stay open, for one request a connection: what
   ends the streams' calls may come as one. With the last stream the doors close;
3. at the deadline all are cancelled, and the streams' peers hear 1001.

The fault wall of a connection. Nothing that happens on one connection may reach another, so `guard`
catches every Exception of its connection, groups too, hands it to the site's log, and answers 500
if nothing was answered yet. It does not catch Cancelled or KeyboardInterrupt: these are not faults.
Two more places catch every Exception, each around one call of the application: a failing
`on_answer` is a 500 (`receiver/answers.py`), a failing `on_event` is tried again
(`receiver/worker.py`). What a peer does wrong never gets that far: it is refused where it is
noticed, by a RemoteProtocolError that carries the status.

Limits on connections are kept by `crowd.py`; a limit on streams is the site's, who says so in
`admit`, before the upgrade. Behind a proxy that the door trusts, a request's `peer` is the client
(`proxies.py`).

This file knows nothing of calls: what is served is the `Site`'s business.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.crowd import Crowd, Overrun
from minivoice_ref.net.drain import Drain
from minivoice_ref.net.gather import Gatherer, gathering
from minivoice_ref.net.http import ConnectionLost, HttpConnection
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.net.proxies import Proxies, is_among
from minivoice_ref.net.streams import aclose_politely, peer_name
from minivoice_ref.net.tls import HandshakeFailed, accept_tls
from minivoice_ref.net.upgrade import is_upgrade, refuse_upgrade
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, open_accepted
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.redaction import redact_path

__all__ = ["RETRY_LATER", "Admission", "Door", "Site", "guard", "serve_doors"]

RETRY_LATER = (("Retry-After", "5"),)
"""What a refusal adds that may be another answer in five seconds."""


@dataclass(frozen=True, slots=True)
class Admission:
    """A site's yes to an upgrade. `context` comes back to the site in `handle_stream`.

    `subprotocol` must be one that the client proposed (`upgrade.proposed_subprotocols`), or None.
    `release` is called once, when the connection is over, also if it never became a stream.
    """

    request: Request
    subprotocol: str | None = None
    context: object = None
    release: Callable[[], None] = lambda: None


class Site(Protocol):
    """What is served behind a door."""

    async def handle_request(self, request: Request) -> Response:
        """Answer one request; its body has been read. A RemoteProtocolError becomes its status."""

    async def admit(self, request: Request) -> Admission | Response:
        """Decide on a good upgrade before it happens; a Response refuses it. Must be quick.

        A refusal of its own it logs by itself.
        """

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        """Use an accepted WebSocket. Returning closes it with 1000, raising with another code."""

    def note(self, kind: str, **fields: object) -> None:
        """Log trouble with one connection. Must not raise. `peer` always comes along, and with

        `tls_failed` why, `silent` nothing, `refused` status and why, `upgrade_refused` path
        (redacted), status and why, `lost` why, `failed` the exception as `error`,
        `limit` its name as `limit`.
        """


@dataclass(slots=True, eq=False)
class Door:
    """Where connections come in, whether they speak TLS, and to whom they are led.

    `tls` may be replaced at any time: the next connection gets the new one. `proxies` are those
    whose word on their clients' addresses is taken. `transport` is the setting: how bytes are read;
    with a `gatherer`, those of streams are read together.
    """

    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]
    tls: ssl.SSLContext | None
    site: Site
    proxies: Proxies = Proxies()
    transport: str = "fast"
    gatherer: Gatherer | None = None


async def serve_doors(
    doors: Sequence[Door],
    stop: trio.Event,
    *,
    limits: Limits,
    timeouts: Timeouts,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve all *doors* until *stop* is set, then drain, at most `timeouts.grace` seconds.

    Reports started once all doors are open. The listeners are closed whenever this ends. If
    cancelled, all connections are, and streams say 1001.
    """
    drain, crowd = Drain(), Crowd(limits)
    gatherers = {door.gatherer for door in doors if door.gatherer is not None}
    async with gathering(gatherers), trio.open_nursery() as connections:
        async with trio.open_nursery() as open_doors:
            for door in doors:
                handler = partial(
                    guard, door=door, drain=drain, crowd=crowd, limits=limits, timeouts=timeouts
                )
                await open_doors.start(
                    partial(
                        trio.serve_listeners,
                        handler,
                        list(door.listeners),
                        handler_nursery=connections,
                    )
                )
            task_status.started()
            await stop.wait()
            connections.cancel_scope.deadline = trio.current_time() + timeouts.grace
            drain.begin()
            await drain.streams_ended.wait()
            open_doors.cancel_scope.cancel()


async def guard(
    stream: trio.abc.Stream,
    *,
    door: Door,
    drain: Drain,
    crowd: Crowd,
    limits: Limits,
    timeouts: Timeouts,
) -> None:
    """Serve one connection; whatever goes wrong on it stays on it. The fault wall."""
    visit = _Visit(stream, door, drain, limits, timeouts)
    try:
        await visit.run(crowd)
    except Exception as exc:
        visit.note("failed", error=exc)
        await visit.apologise()


class _Visit:
    """One connection, from the TLS handshake to the last byte."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        door: Door,
        drain: Drain,
        limits: Limits,
        timeouts: Timeouts,
    ) -> None:
        self._stream = stream
        self._door = door
        self._drain = drain
        self._limits = limits
        self._timeouts = timeouts
        self._peer = peer_name(stream)
        self._http: HttpConnection | None = None

    def note(self, kind: str, **fields: object) -> None:
        self._door.site.note(kind, peer=self._peer, **fields)

    async def run(self, crowd: Crowd) -> None:
        """Serve the connection and close it. Raises only what is a fault of ours."""
        is_proxy = is_among(self._peer, self._door.proxies.networks)
        with crowd.visit(self._peer, is_proxy=is_proxy) as overrun:
            if overrun is not None:
                self.note("limit", limit=overrun.limit, status=overrun.status)
                if not overrun.is_told:
                    return await trio.aclose_forcefully(self._stream)
            if await self._has_shaken_hands(crowd):
                await self._serve_and_close(overrun)

    async def _has_shaken_hands(self, crowd: Crowd) -> bool:
        """Finish the TLS handshake where there is to be one; False if nothing came of it."""
        await trio.lowlevel.checkpoint()
        if self._door.tls is None:
            return True
        with crowd.handshake() as handshake:
            try:
                self._stream = await accept_tls(
                    self._stream, self._door.tls, self._timeouts, self._door.transport
                )
            except HandshakeFailed as exc:  # the stream is closed by now
                self.note("tls_failed", why=str(exc))
                return False
        if handshake.cancelled_caught:
            self.note("limit", limit="handshakes")
            await trio.aclose_forcefully(self._stream)
            return False
        return True

    async def _serve_and_close(self, overrun: Overrun | None) -> None:
        self._http = HttpConnection(
            self._stream, limits=self._limits, timeouts=self._timeouts, peer=self._peer
        )
        unread = False
        try:
            if overrun is None:
                unread = await self._serve(self._http)
            else:
                unread = await self._turn_away(self._http, overrun)
        except RemoteProtocolError as exc:
            self.note("refused", status=exc.status, why=str(exc))
            await self._http.refuse(Response.problem(exc.status))
            unread = True
        except (ConnectionLost, SocketClosed) as exc:
            self.note("lost", why=str(exc))
        await aclose_politely(self._stream, self._timeouts, unread=unread)

    async def apologise(self) -> None:
        """Answer 500 if nothing was answered yet, and close the connection."""
        if self._http is not None:
            await self._http.refuse(Response.problem(500))
        await aclose_politely(self._stream, self._timeouts, unread=True)

    async def _serve(self, http: HttpConnection) -> bool:
        """Serve request after request; True if the last one was answered with its body unread."""
        first = True
        while await self._is_there_a_request(http, first):
            first = False
            request = await http.read_head()
            request = replace(request, peer=self._door.proxies.client_of(request))
            if is_upgrade(request):
                return await self._serve_upgrade(http, request)
            request = await http.read_body(request)
            response = await self._door.site.handle_request(request)
            if not await http.respond(response, last=self._drain.begun):
                break
        return False

    async def _turn_away(self, http: HttpConnection, overrun: Overrun) -> bool:
        """Answer the first request, whatever it is, with the overrun's status."""
        if await http.wait_for_request():
            await http.read_head()
            await http.refuse(Response.problem(overrun.status, headers=RETRY_LATER))
        return True

    async def _is_there_a_request(self, http: HttpConnection, first: bool) -> bool:
        there = False
        with self._drain.waiting(is_first=first):
            there = await http.wait_for_request()
            if first and not there:
                self.note("silent")
        return there

    async def _serve_upgrade(self, http: HttpConnection, request: Request) -> bool:
        """Lead a good and welcome upgrade to the site; True if it was refused."""
        refusal = refuse_upgrade(request)
        if refusal is None and self._drain.begun:
            refusal = Response.problem(503, "this server is about to stop", RETRY_LATER)
        if refusal is not None:
            path, why = redact_path(request.path), refusal.body.decode("utf-8", "replace")
            self.note("upgrade_refused", path=path, status=refusal.status, why=why)
            await http.refuse(refusal)
            return True
        answer = await self._door.site.admit(request)
        if isinstance(answer, Response):
            await http.refuse(answer)
            return True
        try:
            with self._drain.stream():
                async with open_accepted(
                    self._stream,
                    request,
                    trailing=http.trailing,
                    subprotocol=answer.subprotocol,
                    limits=self._limits,
                    timeouts=self._timeouts,
                    transport=self._door.transport,
                    gatherer=self._door.gatherer,
                ) as socket:
                    await self._door.site.handle_stream(socket, answer)
        finally:
            answer.release()
        return False
