"""Who is told what, and when: the heart of the console.

    every  50 ms   audio, to those who listen
    every 100 ms   peaks, to those who look at the call
    every 250 ms   what has changed: cards and levels in the list, lines in the logs, the open call

One task does it, and only while there is a viewer. Each message is made once, for all who want it;
each viewer's queue holds a reference (`viewers.py`). So what a viewer costs is the sending. Where
there are several processes, a viewer is shown what all of them have: those beside this one are
asked for it (`asking.py`), and told, while somebody looks there (`telling.py`).

Messages are JSON objects with a `type`, audio is binary (`watched.py` has its form):

    hello    what this console can do, and what it is called
    nodes    the processes, where there are several, and how they are: {name: "here" or "there"}
    calls    cards that are new or different; all of them where `all` says so; `gone` keys
    levels   how loud each live call is now: {key: {track: peak}}
    logs     lines of the three logs, the oldest first; all that are remembered where `all` says so
    call     the open call: card, explanation, its lines (`all`, or those that are new), its streams
    peaks    new peaks of the open call: {stream: {track: [[first, peak, ...], ...]}}

and the answers to commands, `checked` and `test` (`commands.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import trio

from minivoice_ref.console.exchange import Exchange
from minivoice_ref.console.memory import Known, Memory
from minivoice_ref.console.seen import OpenStream, Seen, take
from minivoice_ref.console.viewers import Viewer
from minivoice_ref.console.watched import Attention, WatchedStream
from minivoice_ref.protocol.media import WireMessage
from minivoice_ref.receiver.annex import LiveStream
from minivoice_ref.receiver.evidence import Line

__all__ = ["TICK", "Feed", "encode"]

TICK = 0.05
"""Seconds between two rounds."""

_PEAKS_EVERY, _STATE_EVERY, _TIME_EVERY = 2, 5, 20  # rounds

encode = partial(json.dumps, separators=(",", ":"))
"""Makes a message of a document."""


class Feed:
    """The viewers, and the streams that are open. *hello* makes what a viewer is told first."""

    def __init__(
        self,
        memory: Memory,
        hello: Callable[[], Mapping[str, Any]],
        exchange: Exchange | None = None,
    ) -> None:
        self._memory = memory
        self._hello = hello
        exchange = exchange or Exchange(memory)
        self._asking, self._telling = exchange.asking, exchange.telling
        self._viewers: list[Viewer] = []
        self._is_watched = False
        self._somebody = trio.Event()
        self._streams: dict[str, WatchedStream] = {}
        self._fresh: list[Line] = []  # lines since the last round that told of lines
        self._shown: set[int] = set()  # the keys of the cards that the viewers have
        self._nodes: dict[str, str] = {}  # what the viewers know of the processes

    # --- what happens, whether somebody looks or not ---

    def line(self, line: Line) -> None:
        """Keep a line for the next round."""
        if self._is_watched:
            self._fresh.append(line)

    def opened(self, stream: LiveStream) -> None:
        """Keep an open stream, so that it can be watched."""
        self._streams[stream.id] = WatchedStream(stream)

    def closed(self, stream_id: str) -> None:
        """Let an ended stream go; the sums of its last line are in the log."""
        self._streams.pop(stream_id, None)

    def is_live(self, stream_id: str) -> bool:
        """Whether a stream is open, here or at another process that we hear of."""
        return stream_id in self._streams or stream_id in self._asking.streams

    @property
    def live_streams(self) -> int:
        """How many streams are open here."""
        return len(self._streams)

    # --- the viewers ---

    @property
    def viewers(self) -> int:
        """How many look on."""
        return len(self._viewers)

    def add(self, viewer: Viewer) -> None:
        """Tell *viewer* from now on."""
        self._viewers.append(viewer)
        viewer.refresh()
        self.attend()

    def remove(self, viewer: Viewer) -> None:
        """Forget a viewer that has gone."""
        self._viewers.remove(viewer)
        self.attend()

    def attend(self) -> None:
        """Watch each stream as closely as is wanted now, here and elsewhere, and no closer."""
        glance = any(viewer.wants.calls for viewer in self._viewers)
        wanted: dict[str, Attention] = {}
        for viewer in self._viewers:
            for stream in self._streams_of(viewer):
                degree = Attention.EAR if viewer.wants.listen else Attention.LOOK
                wanted[stream.id] = max(degree, wanted.get(stream.id, Attention.NONE))
        base = Attention.GLANCE if glance else Attention.NONE
        for distant in self._asking.streams.values():
            distant.watch(max(base, wanted.get(distant.id, base)))
        if self._viewers:
            self._asking.ask(glance)
        else:
            self._asking.stop()
        for stream_id, degree in self._telling.wanted():
            wanted[stream_id] = max(degree, wanted.get(stream_id, Attention.NONE))
        base = Attention.GLANCE if glance or self._telling.glance else Attention.NONE
        for watched in self._streams.values():
            watched.watch(max(base, wanted.get(watched.id, base)))
        self._is_watched = bool(self._viewers) or self._telling.is_asked
        if self._is_watched:
            self._somebody.set()
        else:
            self._somebody = trio.Event()
            self._fresh.clear()

    def ids_of(self, wanted: str | None) -> dict[str, str] | None:
        """How the log names a call that has *wanted* among its ids; None for one not remembered."""
        known = self._memory.find(wanted) if wanted is not None else None
        if known is None:
            return None
        call_id = known.group.call_id
        return {"call_id": call_id} if call_id is not None else {"stream_id": known.streams[0]}

    def state(self, viewer: Viewer) -> Iterator[WireMessage]:
        """The whole present state of what a viewer looks at, with the greeting first."""
        # To the others, for whom it is news; this one gets it with the state.
        self._send_cards(unsettled=True)
        self._send_lines()
        yield encode({"type": "hello", **self._hello()})
        if viewer.wants.calls:
            if nodes := self._asking.nodes():
                yield encode({"type": "nodes", "nodes": nodes})
            cards = [self._memory.look(known) for known in self._memory.all()]
            self._shown |= {card["key"] for card in cards}
            yield encode({"type": "calls", "all": True, "calls": cards, "gone": []})
        if viewer.wants.logs:
            yield self._all_logs()
        if viewer.wants.call is not None:
            known = self._memory.find(viewer.wants.call)
            if known is None:
                yield encode({"type": "call", "asked": viewer.wants.call, "card": None})
            else:
                yield self._call(viewer.wants.call, known, known.group.lines, whole=True)

    # --- the rounds ---

    async def run(self) -> None:
        """Tell the viewers, for ever. Sleeps while nobody looks, here or elsewhere."""
        number = 0
        while True:
            await self._somebody.wait()
            due = trio.current_time() + TICK
            while self._is_watched:
                self.round(number)
                number += 1
                await trio.sleep_until(due)
                due = max(due + TICK, trio.current_time())

    def round(self, number: int) -> None:
        """Tell what is due in the *number*-th round. Never waits."""
        is_state = number % _STATE_EVERY == 0
        if is_state:
            self._asking.look_round()
            self._telling.look_round()
            self.attend()
        everywhere: list[OpenStream] = [*self._streams.values(), *self._asking.streams.values()]
        seen = take(everywhere, peaks=number % _PEAKS_EVERY == 0, levels=is_state)
        self._send_audio(seen)
        self._send_peaks(seen)
        if is_state:
            self._send_nodes()
            self._send_cards(unsettled=number % _TIME_EVERY == 0)
            self._send_levels(seen)
            self._send_lines()
        if self._telling.is_asked:
            self._telling.tell_past(self._streams)
            self._telling.tell_seen(seen, self._state_of if is_state else _not_due)

    def _state_of(self, stream_id: str) -> Mapping[str, Any] | None:
        """The sums of a stream that is open here."""
        stream = self._streams.get(stream_id)
        return stream.state() if stream is not None else None

    def _send_audio(self, seen: Seen) -> None:
        for viewer in self._viewers if seen.audio else ():
            if viewer.wants.listen:
                for stream in self._streams_of(viewer):
                    if stream.id in seen.audio:
                        viewer.put(seen.audio[stream.id])

    def _send_peaks(self, seen: Seen) -> None:
        messages: dict[int, str | None] = {}
        for viewer in self._viewers if seen.peaks else ():
            known = self._open_call(viewer)
            if known is None:
                continue
            if known.key not in messages:
                live = [stream.id for stream in self._live(known)]
                peaks = {one: seen.peaks[one] for one in live if one in seen.peaks}
                messages[known.key] = encode({"type": "peaks", "peaks": peaks}) if peaks else None
            message = messages[known.key]
            if message is not None:
                viewer.put(message)

    def _send_nodes(self) -> None:
        nodes = self._asking.nodes()
        if nodes != self._nodes:
            self._nodes = nodes
            viewers = [viewer for viewer in self._viewers if viewer.wants.calls]
            _tell(viewers, encode({"type": "nodes", "nodes": nodes}))

    def _send_cards(self, *, unsettled: bool) -> None:
        viewers = [viewer for viewer in self._viewers if viewer.wants.calls]
        if not viewers:
            return
        changed = self._memory.changes(unsettled=unsettled)
        known = self._memory.all()
        gone = self._shown - {one.key for one in known}
        self._shown = self._shown - gone | {card["key"] for card in changed}
        if changed or gone:
            document = {"type": "calls", "all": False, "calls": changed, "gone": sorted(gone)}
            _tell(viewers, encode(document))

    def _send_levels(self, seen: Seen) -> None:
        viewers = [viewer for viewer in self._viewers if viewer.wants.calls]
        if not viewers or not seen.levels:
            return
        levels = {}
        for known in self._memory.all():
            live = [seen.levels[one] for one in known.streams if one in seen.levels]
            if live:
                levels[known.key] = {track: peak for one in live for track, peak in one.items()}
        if levels:
            _tell(viewers, encode({"type": "levels", "levels": levels}))

    def _send_lines(self) -> None:
        fresh, self._fresh = self._fresh, []
        self._telling.tell_lines(fresh, self._streams)
        elsewhere, self._asking.fresh = self._asking.fresh, []
        self._send_logs(fresh + elsewhere)
        self._send_calls(fresh + elsewhere)
        if self._asking.past_came:
            self._asking.past_came = False
            for viewer in self._viewers:
                if viewer.wants.logs or viewer.wants.call is not None:
                    viewer.refresh()

    def _send_logs(self, fresh: list[Line]) -> None:
        viewers = [viewer for viewer in self._viewers if viewer.wants.logs]
        if fresh and viewers:
            _tell(viewers, encode({"type": "logs", "all": False, "lines": fresh}))

    def _send_calls(self, fresh: list[Line]) -> None:
        messages: dict[str, str | None] = {}
        for viewer in self._viewers:
            wanted = viewer.wants.call
            if wanted is None:
                continue
            if wanted not in messages:
                messages[wanted] = self._news_of(wanted, fresh)
            message = messages[wanted]
            if message is not None:
                viewer.put(message)

    def _news_of(self, wanted: str, fresh: list[Line]) -> str | None:
        """What has changed of an open call since the last round; None where nothing can have."""
        known = self._memory.find(wanted)
        if known is None:
            return None
        ids = known.group.ids
        lines = [line for line in fresh if any(line.get(name) == value for name, value in ids)]
        if not lines and known.settled and not known.is_live:
            return None
        return self._call(wanted, known, lines, whole=False)

    def _call(self, wanted: str, known: Known, lines: Iterable[Line], *, whole: bool) -> str:
        document = {
            "type": "call",
            "asked": wanted,
            "all": whole,
            "card": self._memory.look(known),
            "explanation": known.explanation,
            "lines": list(lines),
            "streams": [one for stream in self._live(known) if (one := stream.state())],
        }
        return encode(document)

    def _all_logs(self) -> str:
        lines = [line for tail in self._memory.tails.values() for line in tail]
        lines.sort(key=lambda line: str(line["time"]))
        return encode({"type": "logs", "all": True, "lines": lines})

    def _open_call(self, viewer: Viewer) -> Known | None:
        """The call that a viewer looks at."""
        return self._memory.find(viewer.wants.call) if viewer.wants.call is not None else None

    def _streams_of(self, viewer: Viewer) -> list[OpenStream]:
        """The open streams of the call that a viewer looks at."""
        known = self._open_call(viewer)
        return self._live(known) if known is not None else []

    def _live(self, known: Known) -> list[OpenStream]:
        """The open streams of a call, wherever they are."""
        here, elsewhere = self._streams, self._asking.streams
        found = (here.get(one) or elsewhere.get(one) for one in known.streams)
        return [stream for stream in found if stream is not None]


def _not_due(stream_id: str) -> None:
    del stream_id


def _tell(viewers: Iterable[Viewer], message: str) -> None:
    for viewer in viewers:
        viewer.put(message)
