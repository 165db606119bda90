"""The console as a whole: what the receiver tells it, what browsers ask it.

    GET   /console/                    the page (with a token set: a login page first)
    GET   /console/static/NAME         its files
    POST  /console/login, /logout      a token for a session, and the session's end
    GET   /console/recordings/STREAM   a recording, in ranges
    GET   /console/feed                a WebSocket: everything that moves

    Console.run                        in the receiver's nursery, as long as it serves
    ├─ feed.run                        the rounds, while there is a viewer
    ├─ exchange.run                    what other processes say, where there are several
    └─ test calls                      a task each, at most four at once; cancelled when draining

    Console.handle_stream              one a browser, under the connection's guard
    ├─ viewer.send_all                 what waits for it
    ├─ _keepalive                      a ping now and then: a dead browser is found out
    ├─ _leave                          when the server drains and no stream is open any more
    └─ (the receiving)                 its commands

It is an `Annex` (`receiver/annex.py`): told of lines, webhooks and streams, it must be quick. The
lines of earlier runs are read back from the ends of the logs, once, before the doors open.

Who opens the console, who listens and who was refused stands in the streams' log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import trio

from minivoice_ref._version import __version__
from minivoice_ref.console.access import Access
from minivoice_ref.console.commands import Commands
from minivoice_ref.console.exchange import Exchange
from minivoice_ref.console.feed import TICK, Feed
from minivoice_ref.console.memory import Memory
from minivoice_ref.console.pages import Pages, hardened
from minivoice_ref.console.recordings import read_recording
from minivoice_ref.console.test_calls import Order, TestCaller
from minivoice_ref.console.viewers import Viewer
from minivoice_ref.net.front_door import Admission
from minivoice_ref.net.http import Request, Response, refuse_method
from minivoice_ref.net.media_socket import GOING_AWAY, PongTimeout
from minivoice_ref.net.websocket import MediaSocket, SocketClosed
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.redaction import redact_path
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.annex import LiveStream
from minivoice_ref.receiver.evidence import Line, read_lines
from minivoice_ref.receiver.journal import LOGS, told_of
from minivoice_ref.receiver.log_files import last_lines
from minivoice_ref.receiver.shared import Shared

__all__ = ["Console", "open_console"]

_PREFIX = "/console"
_READ_BACK = 512 * 1024  # bytes of the end of each log
_MOST_TEST_CALLS = 4
_AGAIN = {401: "wrong.html", 429: "wait.html"}  # what a login that failed is answered with

_NO_COMMAND = 1008  # the close code for what our page never sends
_LAST_NEWS = 0.5  # seconds that viewers stay after the last stream, while draining

_Tell = Callable[[Mapping[str, Any]], None]


def open_console(
    shared: Shared, stop: trio.Event, *, test_caller: TestCaller | None = None
) -> Console:
    """Make the console of a receiver that is about to open its doors; for `serve(annex=...)`.

    With *test_caller* the page has a form that places test calls.
    """
    console = Console(shared, stop, test_caller)
    console.memory.read_back(_tails(shared.config.data))
    return console


class Console:
    """See the essay above."""

    prefixes: tuple[str, ...] = (_PREFIX,)

    def __init__(self, shared: Shared, stop: trio.Event, test_caller: TestCaller | None) -> None:
        self._shared = shared
        self._stop = stop
        self._test_caller = test_caller
        config = shared.config
        self._access = Access(config.console_token, config.public_url, shared.clock)
        self._pages = Pages()
        self._disk = shared.recordings
        self.memory = Memory(self._is_live, shared.clock, self._is_gone)
        self._exchange = Exchange(
            self.memory, shared.talk, lambda: shared.commons.others, self._note_missed
        )
        self.feed = Feed(self.memory, self._hello, self._exchange)
        self._orders, self._ordered = trio.open_memory_channel[tuple[Order, _Tell]](
            _MOST_TEST_CALLS
        )
        self._placing = 0

    # --- what the receiver tells ---

    def line(self, line: Line) -> None:
        """Remember a line of the logs, and show it to whoever looks."""
        self.memory.add(line)
        self.feed.line(line)

    def event(self, event: CallEvent) -> None:
        """Remember who calls whom."""
        self.memory.hear(event)

    def opened(self, stream: LiveStream) -> None:
        """Let a stream be watched."""
        self.feed.opened(stream)

    def closed(self, stream: LiveStream) -> None:
        """Let a stream go; while draining, the others may not hear of it later."""
        self.feed.closed(stream.id)
        self.memory.reconsider(stream.id)
        if self._stop.is_set():
            self.feed.round(0)

    async def run(self) -> None:
        """Tell the viewers, and have test calls placed, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._place_test_calls)
            nursery.start_soon(self._exchange.run, self.feed.attend)
            await self.feed.run()

    # --- what the front door asks ---

    async def handle_request(self, request: Request) -> Response:
        """Answer a request that is no upgrade."""
        await trio.lowlevel.checkpoint()
        try:
            answer = self._answer(request)
        except RemoteProtocolError as exc:
            self._note_refusal(request, exc.status, str(exc))
            answer = Response.problem(exc.status)
        if isinstance(answer, str):
            folder, wanted = self._shared.config.data / "recordings", request.header("range")
            answer = await self._disk.run(partial(read_recording, folder, answer, wanted))
        return hardened(answer)

    async def admit(self, request: Request) -> Admission | Response:
        """Let a browser of ours have the feed; 403 for all others, 404 elsewhere."""
        await trio.lowlevel.checkpoint()
        if request.path != f"{_PREFIX}/feed":
            return hardened(Response.problem(404))
        refusal = self._access.refuse(request, acts=True)
        if refusal is not None:
            self._note_refusal(request, refusal.status, _reason(refusal))
            return hardened(Response.problem(403))
        return Admission(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        """Show one browser what it looks at, until it leaves."""
        viewer = Viewer(admission.request.peer)
        commands = Commands(viewer, self.feed, self._order, self._note)
        await trio.lowlevel.checkpoint()
        self._note("console_opened", peer=viewer.peer)
        self.feed.add(viewer)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(viewer.send_all, socket, self.feed.state)
                nursery.start_soon(self._keepalive, socket)
                nursery.start_soon(self._leave, socket)
                while True:
                    for message in await socket.receive():
                        commands.obey(message)
        except* (SocketClosed, PongTimeout):
            pass  # the browser has gone, or was given up
        except* RemoteProtocolError as wrong:
            why = str(wrong.exceptions[0])
            self._note("console_refused", why=why, peer=viewer.peer)
            await socket.close(_NO_COMMAND, why)
        finally:
            commands.leave()
            self.feed.remove(viewer)
            self._note("console_closed", peer=viewer.peer, missed=viewer.missed or None)

    def note(self, kind: str, **fields: object) -> None:
        """Log trouble with a connection. Only behind a door of our own does it come here."""
        if kind == "limit":
            count = self._shared.overruns.count
            return count(str(fields["limit"]), "MV-314", peer=fields["peer"])
        if isinstance(error := fields.pop("error", None), BaseException):
            fields.update(told_of(error))
        self._note_stranger(f"{kind} {fields.get('status')}", kind=kind, **fields)

    # --- the routes ---

    def _answer(self, request: Request) -> Response | str:
        """The answer, or the stream whose recording is to answer with."""
        path = request.path.removeprefix(_PREFIX)
        posts = path in ("/login", "/logout")
        refusal = refuse_method(request, ("GET", "POST") if posts else ("GET",))
        if refusal is not None:
            return refusal
        if request.method == "POST":
            return self._session(request, path)
        file = self._file(path)
        if file is not None and (self._access.wants_token or not self._access.refuse(request)):
            return file
        refusal = self._access.refuse(request)
        if refusal is not None:
            if refusal.status == 401 and path in ("", "/"):
                return _redirect("login")
            self._note_refusal(request, refusal.status, _reason(refusal))
            return refusal
        if path.startswith("/recordings/"):
            return path.removeprefix("/recordings/")
        if path in ("", "/login", "/logout"):
            return _redirect("")
        page = self._pages.get("index.html") if path == "/" else None
        return page or Response.problem(404)

    def _file(self, path: str) -> Response | None:
        """What may be seen without a session: the login page, and the files, which hold nothing."""
        if path == "/login" and self._access.wants_token:
            return self._pages.get("login.html")
        if path.startswith("/static/") and not path.endswith(".html"):
            return self._pages.get(path.removeprefix("/static/"))
        return None

    def _session(self, request: Request, path: str) -> Response:
        if path == "/logout":
            return self._access.refuse(request, acts=True) or self._access.log_out()
        request.expect_media_type("application/x-www-form-urlencoded")
        response = self._access.log_in(request, request.form().get("token", ""))
        if response.status != 303:
            self._note_refusal(request, response.status, "a login failed")
        again = self._pages.get(_AGAIN.get(response.status, ""))
        if again is None:
            return response
        return Response(response.status, again.body, (*again.headers, *_retry_after(response)))

    # --- one browser ---

    async def _keepalive(self, socket: MediaSocket) -> None:
        while True:
            await trio.sleep(self._shared.config.timeouts.ping_every)
            await socket.ping()

    async def _leave(self, socket: MediaSocket) -> None:
        """Go when the server goes; while calls are still going on, they can be watched."""
        await self._stop.wait()
        while self.feed.live_streams:  # noqa: ASYNC110  # seldom, and not for long
            await trio.sleep(TICK)
        await trio.sleep(_LAST_NEWS)
        await socket.close(GOING_AWAY, "the server is going away")

    # --- test calls ---

    def _order(self, order: Order, tell: _Tell) -> str | None:
        """Have a test call placed; why not, where it is not."""
        if self._test_caller is None:
            return "this console places no test calls: set console_test_calls"
        if self._placing >= _MOST_TEST_CALLS or self._stop.is_set():
            return f"{_MOST_TEST_CALLS} test calls are going on: wait for one to end"
        self._placing += 1
        self._orders.send_nowait((order, tell))
        return None

    async def _place_test_calls(self) -> None:
        async with trio.open_nursery() as calls:
            calls.start_soon(self._cancel_at_stop, calls.cancel_scope)
            async for order, tell in self._ordered:
                calls.start_soon(self._place, order, tell)

    async def _place(self, order: Order, tell: _Tell) -> None:
        assert self._test_caller is not None
        try:
            await self._test_caller.place(order, tell)
        finally:
            self._placing -= 1

    async def _cancel_at_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    # --- the steps between ---

    def _is_live(self, stream_id: str) -> bool:
        return self.feed.is_live(stream_id)

    def _is_gone(self, node: str) -> bool:
        return self._exchange.asking.is_gone(node)

    def _hello(self) -> dict[str, Any]:
        config = self._shared.config
        now = datetime.fromtimestamp(self._shared.clock(), timezone.utc)
        return {
            "version": __version__,
            "now": now.isoformat(),
            "test": None if self._test_caller is None else self._test_caller.options(),
            "track": config.track,
            "record": config.record,
            "hand_over": config.limits.hand_over,
            "log_out": self._access.wants_token,
        }

    def _note(self, what: str, **fields: Any) -> None:
        self._shared.journal.note("streams", what, **fields)

    def _note_missed(self, node: str, missed: int) -> None:
        self._note("console_missed", neighbour=node, missed=missed)

    def _note_refusal(self, request: Request, status: int, why: str) -> None:
        path = redact_path(request.path)
        told = {"status": status, "why": why, "path": path, "peer": request.peer}
        self._note_stranger(str(status), **told)

    def _note_stranger(self, trouble: str, /, **fields: Any) -> None:
        """Note that somebody may not look: some times for each sort of trouble, then counted."""
        overruns, sort = self._shared.overruns, f"console {trouble}"
        if overruns.has_ration(sort):
            self._note("console_refused", left_out=overruns.left_out(sort), **fields)


def _reason(refusal: Response) -> str:
    return str(json.loads(refusal.body)["error"])


def _retry_after(response: Response) -> list[tuple[str, str]]:
    return [(name, value) for name, value in response.headers if name == "Retry-After"]


def _redirect(path: str) -> Response:
    return Response(303, b"", (("Location", f"{_PREFIX}/{path}"),))


def _tails(folder: Path) -> list[Line]:
    """The last lines of the three logs, by time; none where there are no files yet."""
    texts: list[bytes] = []
    for log in LOGS:
        with suppress(OSError):  # that it cannot be read, the journal will say
            texts += last_lines(folder, log, _READ_BACK)
    return read_lines(texts)[0]
