"""What an application supplies: three functions, each with a sensible default.

    async def on_answer(request: AnswerRequest) -> Answer:
        return Answer(start_stream(request.stream_url(), track="both"))

    async def on_stream(stream: MediaStream) -> None:
        async for frame in stream:
            ...                       # frame.track, frame.position, frame.pcm

    async def on_event(event: CallEvent) -> None:
        ...

    trio.run(serve, App(on_answer, on_stream, on_event), Config.from_env())

They are called in three separate places, so that trouble in one cannot hold up another; each call
is of one Trio task, and may be cancelled. This module knows of no socket, file or clock. Read
next: `answers.py`, which calls `on_answer`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar, cast

import trio

from minivoice_ref.protocol.actions import Answer, start_stream
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.media_stream import MediaStream

__all__ = ["AnswerRequest", "App", "OnAnswer", "OnEvent", "OnStream", "StreamTrack", "checked"]

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")

StreamTrack: TypeAlias = Literal["inbound", "outbound", "both"]


def _example_stream_url() -> str:
    return "wss://media.example.com/stream/example"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """The platform asks what to do with a call.

    What it sends is not documented, so all of it is here: `query` and `fields` (the JSON object
    or the form of the body, empty without one) as they came, `headers` with secret values
    replaced. `call_id` is the call's id where one was found in the body or in the query.
    `answer_id` is ours, and stands in the log. `track` is what the settings ask for.
    """

    call_id: str | None = None
    answer_id: str = "answer_example"
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, object] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    peer: str = ""
    track: StreamTrack = "both"
    new_stream_url: Callable[[], str] = field(default=_example_stream_url, repr=False)

    def stream_url(self) -> str:
        """A `wss` URL of this receiver for one stream of this call, another one each time.

        It carries a token that ties the stream to the call and expires, hence it is a secret: put
        it into the answer and nowhere else.
        """
        return self.new_stream_url()


OnAnswer: TypeAlias = Callable[[AnswerRequest], Awaitable[Answer]]
OnStream: TypeAlias = Callable[[MediaStream], Awaitable[None]]
OnEvent: TypeAlias = Callable[[CallEvent], Awaitable[None]]


async def stream_the_call(request: AnswerRequest) -> Answer:
    """Answer with one `start_stream` to this receiver: the default of `on_answer`."""
    await trio.lowlevel.checkpoint()
    return Answer(start_stream(request.stream_url(), track=request.track))


async def listen(stream: MediaStream) -> None:
    """Take every frame and let it go: the default of `on_stream`."""
    async for _ in stream:
        pass


async def let_pass(event: CallEvent) -> None:
    """Take an event and let it go: the default of `on_event`."""
    del event
    await trio.lowlevel.checkpoint()


@dataclass(frozen=True, slots=True)
class App:
    """The three functions of an application.

    `on_answer` decides within `timeouts.answer` seconds; late, failing or with an answer that has
    faults it causes a 500 and a line in the log. `on_stream` runs once for each stream, from its
    start on: it may return early, then the rest of the stream goes unheard; if it raises, the
    stream ends with 1011; after the stream's end it has `timeouts.finish` seconds for what still
    waits. `on_event` runs for several calls at once, but of one call one event at a time; where
    it raises, the event comes again later.
    """

    on_answer: OnAnswer = stream_the_call
    on_stream: OnStream = listen
    on_event: OnEvent = let_pass


def checked(app: App) -> App:
    """The same application, where a `def` that should be an `async def` is named as what it is."""
    return App(
        _checked("on_answer", app.on_answer),
        _checked("on_stream", app.on_stream),
        _checked("on_event", app.on_event),
    )


def _checked(
    name: str, function: Callable[[_Given], Awaitable[_Result]]
) -> Callable[[_Given], Awaitable[_Result]]:
    async def call(given: _Given) -> _Result:  # noqa: ASYNC910  # as the application does
        returned: object = function(given)
        if not isinstance(returned, Awaitable):
            what = type(returned).__name__
            raise TypeError(f"{name} returned {what}, not an awaitable: write `async def {name}`")
        return await cast(Awaitable[_Result], returned)

    return call
