"""The seam for whoever watches a receiver and has pages of its own: the console, the metrics.

A receiver without an annex is complete. One that is given to `serve` is told of every line of the
logs, of every webhook and of every stream, and its pages stand below a path of their own behind the
same doors, or behind a door of their own (`console_listen`). The receiver knows no more of it. Two
are one by `together`.

What an annex is told it is told in the event loop, by tasks that must not wait: it must be quick
and must not raise. Of a stream's audio it sees nothing until it asks (`LiveStream.tap`).

This module knows no page. Read next: `server.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

from minivoice_ref.net.front_door import Admission, Site
from minivoice_ref.net.http import Request, Response
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.media import Track
from minivoice_ref.protocol.webhooks import CallEvent
from minivoice_ref.receiver.intake import Intake
from minivoice_ref.receiver.media_stream import Frame, HandOver

if TYPE_CHECKING:
    from minivoice_ref.receiver.shared import Shared

__all__ = ["Annex", "LiveStream", "OpenAnnex", "WithAnnex", "together", "watched"]


@dataclass(frozen=True, slots=True, eq=False)
class LiveStream:
    """An open stream, as a watcher sees it."""

    id: str
    _intake: Intake
    _hand_over: HandOver

    def tap(self, take: Callable[[Frame], None] | None) -> None:
        """Have *take* called with each frame from now on, by the receiving task; None: nobody."""
        self._intake.tap = take

    def state(self) -> dict[str, Any]:
        """The sums so far, and the samples of each track that wait for `on_stream`."""
        waiting: Mapping[Track, int] = self._hand_over.waiting()
        return {**self._intake.summary(), "waiting": waiting, "lagging": self._hand_over.lagging}

    def behind(self) -> float:
        """Seconds of audio that wait for `on_stream`, of the track of which most does."""
        rates = self._intake.rates()
        waiting = self._hand_over.waiting()
        return max((n / rates[track] for track, n in waiting.items()), default=0.0)


class Annex(Site, Protocol):
    """Watches a receiver, and is a site of its own below each of `prefixes`."""

    prefixes: tuple[str, ...]

    async def run(self) -> None:
        """Do what is to be done beside being told; cancelled when the receiver has drained."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Hear of a line of one of the logs."""

    def event(self, event: CallEvent) -> None:
        """Hear of a webhook that was accepted."""

    def opened(self, stream: LiveStream) -> None:
        """Hear of a stream that was let in."""

    def closed(self, stream: LiveStream) -> None:
        """Hear that a stream is over; its last line has come before this."""


OpenAnnex: TypeAlias = "Callable[[Shared, trio.Event], Annex]"
"""Makes the annex of a receiver that is about to open its doors; the event is set to drain."""


@contextmanager
def watched(annex: Annex | None, stream: LiveStream) -> Iterator[None]:
    """Tell the annex, if there is one, that *stream* is there while the block runs."""
    if annex is not None:
        annex.opened(stream)
    try:
        yield
    finally:
        stream.tap(None)
        if annex is not None:
            annex.closed(stream)


def together(*opened: OpenAnnex) -> OpenAnnex:
    """One annex of several; where none of them owns a path, the first one answers."""
    return lambda shared, stop: _Annexes([open_one(shared, stop) for open_one in opened])


class WithAnnex:
    """A site with the annex below its prefixes."""

    def __init__(self, main: Site, annex: Annex) -> None:
        self._main = main
        self._annex = annex

    def _of(self, request: Request) -> Site:
        """Who answers a request."""
        return self._annex if _owns(self._annex, request) else self._main

    async def handle_request(self, request: Request) -> Response:
        """See `Site.handle_request`."""
        return await self._of(request).handle_request(request)

    async def admit(self, request: Request) -> Admission | Response:
        """See `Site.admit`."""
        return await self._of(request).admit(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        """See `Site.handle_stream`."""
        await self._of(admission.request).handle_stream(socket, admission)

    def note(self, kind: str, **fields: Any) -> None:
        """See `Site.note`. Trouble with a connection is the receiver's to tell of."""
        self._main.note(kind, **fields)


class _Annexes:
    """Several annexes, each told of everything and asked for what is its own."""

    def __init__(self, annexes: Sequence[Annex]) -> None:
        self._annexes = annexes
        self.prefixes = tuple(prefix for annex in annexes for prefix in annex.prefixes)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for annex in self._annexes:
                nursery.start_soon(annex.run)

    def line(self, line: Mapping[str, Any]) -> None:
        for annex in self._annexes:
            annex.line(line)

    def event(self, event: CallEvent) -> None:
        for annex in self._annexes:
            annex.event(event)

    def opened(self, stream: LiveStream) -> None:
        for annex in self._annexes:
            annex.opened(stream)

    def closed(self, stream: LiveStream) -> None:
        for annex in self._annexes:
            annex.closed(stream)

    def _of(self, request: Request) -> Annex:
        owners = (annex for annex in self._annexes if _owns(annex, request))
        return next(owners, self._annexes[0])

    async def handle_request(self, request: Request) -> Response:
        return await self._of(request).handle_request(request)

    async def admit(self, request: Request) -> Admission | Response:
        return await self._of(request).admit(request)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        await self._of(admission.request).handle_stream(socket, admission)

    def note(self, kind: str, **fields: Any) -> None:
        self._annexes[0].note(kind, **fields)


def _owns(annex: Annex, request: Request) -> bool:
    return any(f"{request.path}/".startswith(f"{prefix}/") for prefix in annex.prefixes)
