"""A small customer application for the simulator to call: no receiver, only the front door.

It answers what a test tells it to, keeps what it was sent with the time of its arrival, and treats
streams in the ways that receivers in the field do. All of it over the memory network, so that time
is virtual.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.front_door import Admission, Door, serve_doors
from minivoice_ref.net.http_messages import Request, Response
from minivoice_ref.net.websocket import MediaSocket, SocketClosed
from minivoice_ref.simulator.call import CallPlan, RetrySchedule, place_call
from minivoice_ref.simulator.report import CallReport, Moment
from minivoice_ref.testing import MemoryNetwork

HOST = "app.example.com"
ANSWER_URL = f"https://{HOST}/answer"
WEBHOOK_URL = f"https://{HOST}/webhooks"
STREAM_URL = f"wss://{HOST}/stream/abcdefghijklmnop"

Document = dict[str, Any]


def start(url: str = STREAM_URL, track: str | None = "both") -> Document:
    """A `start_stream` as an application writes it."""
    action: Document = {"type": "start_stream", "stream_url": url}
    return action if track is None else action | {"track": track}


class Heard:
    """What one stream brought: each message with the time of its arrival, and how it ended."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.began = trio.current_time()
        self.messages: list[tuple[float, Document]] = []
        self.code: int | None = None

    def of(self, event: str) -> list[Document]:
        """The messages of one kind."""
        return [message for _, message in self.messages if message["event"] == event]

    def events(self) -> list[str]:
        """The kinds of all messages, in order."""
        return [str(message["event"]) for _, message in self.messages]

    def media(self, track: str) -> list[tuple[float, Document]]:
        """The audio of one track, with the times of arrival."""
        return [
            (at, message["media"])
            for at, message in self.messages
            if message["event"] == "media" and message["media"]["track"] == track
        ]

    def payload(self, track: str) -> bytes:
        """All audio of one track."""
        return b"".join(base64.b64decode(media["payload"]) for _, media in self.media(track))


Behaviour = Callable[[MediaSocket, Heard], Awaitable[None]]


async def listen(socket: MediaSocket, heard: Heard) -> None:
    """Behave well: take everything until the other side closes."""
    while True:
        for message in await socket.receive():
            heard.messages.append((trio.current_time(), json.loads(message)))


async def take(socket: MediaSocket, heard: Heard, count: int) -> None:
    """Take *count* messages."""
    await trio.lowlevel.checkpoint()
    while len(heard.messages) < count:
        for message in await socket.receive():
            heard.messages.append((trio.current_time(), json.loads(message)))


class Lab:
    """The application, as it is and as it was called. It is a `Site`."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.answer: Response = Response.json({"actions": [start()]})
        self.hook_replies: dict[str, list[Response]] = {}
        self.hook_delay = 0.0
        self.behave: Behaviour = listen
        self.refuse: Response | None = None
        self.asked: list[Request] = []
        self.pages: dict[str, Response] = {}
        self.visited: list[Request] = []
        self.hooks: list[tuple[float, Request]] = []
        self.heard: list[Heard] = []
        self.moments: list[Moment] = []
        self.trouble: list[str] = []

    def answer_with(self, *actions: Document) -> None:
        """Answer this list from now on."""
        self.answer = Response.json({"actions": list(actions)})

    async def handle_request(self, request: Request) -> Response:
        if request.path == "/answer":
            self.asked.append(request)
            await trio.lowlevel.checkpoint()
            return self.answer
        if request.path in self.pages:
            self.visited.append(request)
            await trio.lowlevel.checkpoint()
            return self.pages[request.path]
        self.hooks.append((trio.current_time(), request))
        await trio.sleep(self.hook_delay)
        replies = self.hook_replies.get(json.loads(request.body)["event"])
        return replies.pop(0) if replies else Response(204)

    async def admit(self, request: Request) -> Admission | Response:
        await trio.lowlevel.checkpoint()
        return self.refuse or Admission(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        heard = Heard(admission.request.target)
        self.heard.append(heard)
        try:
            await self.behave(socket, heard)
        except SocketClosed as exc:
            heard.code = exc.code
            await trio.lowlevel.checkpoint()

    def note(self, kind: str, **fields: object) -> None:
        self.trouble.append(kind)

    def events(self) -> list[tuple[str, str]]:
        """What the webhooks said: event and status of the call."""
        bodies = [json.loads(request.body) for _, request in self.hooks]
        return [(body["event"], body["call"]["status"]) for body in bodies]

    def data_of(self, event: str) -> list[Document]:
        """The data of each webhook of one kind, in the order of arrival."""
        bodies = [json.loads(request.body) for _, request in self.hooks]
        return [body["data"] for body in bodies if body["event"] == event]

    async def call(self, **changes: Any) -> CallReport:
        """Place a call at this application, by a plan with *changes*."""
        settings: Document = {
            "answer_url": ANSWER_URL,
            "webhook_url": WEBHOOK_URL,
            "speak": 1.0,
            "retries": RetrySchedule(jitter=0.0),
            "speech_programs": (),  # which would take real time
        }
        plan = CallPlan(**(settings | changes))
        return await place_call(plan, connect=self.network.connect, observe=self.moments.append)

    def said(self, who: str) -> list[str]:
        """The texts of the moments of one kind."""
        return [moment.text for moment in self.moments if moment.who == who]


@asynccontextmanager
async def open_lab() -> AsyncGenerator[Lab, None]:
    """Serve an application in memory for a block."""
    lab = Lab()
    door = Door([lab.network.listener(HOST, 443)], None, lab)
    timeouts, stop = Timeouts(silence=600.0, keep_alive=600.0), trio.Event()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_doors, [door], stop, limits=Limits(), timeouts=timeouts))
        yield lab
        nursery.cancel_scope.cancel()


def failing(report: CallReport) -> list[str]:
    """The names of the steps that are not as they should be."""
    return [step.name for step in report.failures]


def dashes(report: CallReport) -> list[str]:
    """The names of the steps that do not apply."""
    return [step.name for step in report.steps if step.ok is None]
