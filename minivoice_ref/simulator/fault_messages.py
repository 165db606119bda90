"""Faults in what a stream says: messages left out, doubled, out of order, strange, or too big.

All but one act on messages that the dialect's encoder has written, so they are the same for every
dialect. They act in this order: whoever holds messages back until the stop must be asked after the
stop is gone, and whoever counts audio before others add to it. Read next: `fault_timing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from minivoice_ref.protocol.dialects.base import Encoder
from minivoice_ref.protocol.media import Track, WireMessage
from minivoice_ref.simulator.fault import BEGINS, Fault, Kind, Line, Outlook
from minivoice_ref.simulator.speech import TICK

__all__ = [
    "Binary",
    "Garbage",
    "MediaBeforeStart",
    "NoStop",
    "Oversized",
    "Reorder",
    "Repeat",
    "Unknown",
]

_Messages = Sequence[WireMessage]


class NoStop(Fault, name="no-stop"):
    """Closes the WebSocket, properly, without having said that the stream is over."""

    summary = "the stream is closed without a stop message"
    expects = "the close ends the stream as well as a stop does"

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        return [] if kind == "stop" else messages


class _Misplaces(Fault):
    """Sends audio where it does not belong; where nothing says where it belongs, that is that."""

    def unseen_in(self, encoder: type[Encoder]) -> str | None:
        if encoder.has_timestamps or encoder.has_sequence:
            return None
        return "without timestamps and sequence numbers no receiver can know where audio belongs"


class Repeat(_Misplaces, name="repeat"):
    """Sends messages of audio twice, word for word."""

    summary = "PERCENT of the frames are sent twice, word for word"
    expects = "the second copy changes nothing: no audio is doubled, none is lost"
    unit, default, most = "percent", 5.0, 100.0

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        return [*messages, *messages] if kind == "media" and self.happens() else messages


class Reorder(_Misplaces, name="reorder"):
    """Lets a frame be overtaken by the next one of its track."""

    summary = "PERCENT of the frames are overtaken by the next one of their track"
    expects = "each frame is placed by its timestamp: the audio is whole and in order"
    unit, default, most = "percent", 5.0, 100.0

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._held: dict[Track | None, _Messages] = {}

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        if kind == "media":
            overtaken = self._held.pop(track, None)
            if overtaken is not None:
                return [*messages, *overtaken]
            if self.happens():
                self._held[track] = messages
                return []
        elif kind == "stop":
            held = [message for track in self._held.values() for message in track]
            self._held.clear()
            return [*held, *messages]
        return messages


class MediaBeforeStart(Fault, name="media-before-start"):
    """Holds the start message back until some audio has been sent."""

    summary = "the start message comes behind MESSAGES messages of audio"
    expects = "the audio waits for its format: none is lost, none is misread"
    unit, default, least, most, whole = "messages", 5.0, 1.0, 40.0, True

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._held: _Messages = ()
        self._left = 0

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        if kind == "start":
            self._held, self._left = messages, int(self.value)
            return []
        if kind == "media" and self._held:
            self._left -= len(messages)
            if self._left <= 0:
                return [*messages, *self._release()]
        return [*self._release(), *messages] if kind == "stop" else messages

    def _release(self) -> _Messages:
        held, self._held = self._held, ()
        return held


class Unknown(Fault, name="unknown"):
    """Puts messages that no dialect knows behind the audio."""

    summary = "PERCENT of the frames are followed by a message of an unknown kind"
    expects = "they are passed over, and better, logged; the audio around them is whole"
    unit, default, most = "percent", 5.0, 100.0
    messages: ClassVar[tuple[str, ...]] = (
        '{"event":"sentiment","sentiment":{"mood":"fine","score":0.93}}',
        '{"event":"media.v2","data":[1,2,3]}',
        '{"type":"keepalive"}',
        '{"event":17}',
        "{}",
    )

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        if kind == "media" and self.happens():
            return [*messages, self.random.choice(self.messages)]
        return messages


class Garbage(Unknown, name="garbage"):
    """Puts text that is no JSON, or is not meant to be read, behind the audio."""

    summary = "PERCENT of the frames are followed by text that is no JSON, or hostile"
    expects = "it is logged and passed over, or the stream is closed with a code that says why"
    outlook = Outlook.MAY_FAIL
    may_end_with = frozenset({1002, 1003, 1007, 1008})
    messages = (
        "",
        "garbage",
        '{"event":"media","media":{',
        '{"event":"media","media":{"track":"inbound","timestamp":"soon","payload":"@@@@"}}',
        '{"event":"media","media":{"track":["inbound"],"payload":{}}}',
        '{"event":"media","media":null}',
        '["event","media"]',
        '{"event":NaN}',
        '{"event":"\\u0000\\ud800"}',
        '{"event":"media","sequenceNumber":' + "9" * 5000 + "}",
        "[" * 20000,
        "null",
    )


class Oversized(Fault, name="oversized"):
    """Sends one message that is larger than a receiver needs to take, a second into the stream."""

    summary = "a second into the stream comes one message of BYTES bytes"
    expects = "it closes with 1009, or copes; either way in bounded memory and time"
    unit, default, least, most, whole = "bytes", 1048576.0, 1024.0, 67108864.0, True
    outlook = Outlook.MAY_FAIL
    may_end_with = frozenset({1009})

    def __init__(self, value: float | None = None) -> None:
        super().__init__(value)
        self._struck = False

    async def at_tick(self, tick: int, line: Line) -> None:  # noqa: ASYNC910  # mostly nothing
        if tick == round(BEGINS / TICK):
            self._struck = True
            form = '{"event":"oversized","filler":"%s"}'
            await line.socket.send(form % ("x" * (int(self.value) - len(form) + 2)))

    def judge(self, code: int | None, *, as_it_should_be: bool) -> None:
        if self._struck:
            super().judge(code, as_it_should_be=as_it_should_be)


class Binary(Fault, name="binary"):
    """Sends messages that are text as binary ones."""

    summary = "PERCENT of the frames are sent as binary messages where text is expected"
    expects = "they are read all the same, or the stream is closed with a code that says why"
    unit, default, most = "percent", 5.0, 100.0
    outlook = Outlook.MAY_FAIL
    may_end_with = frozenset({1003, 1007, 1008})

    def alter_messages(self, kind: Kind, track: Track | None, messages: _Messages) -> _Messages:
        if kind == "media" and self.happens():
            return [m.encode() if isinstance(m, str) else m for m in messages]
        return messages
