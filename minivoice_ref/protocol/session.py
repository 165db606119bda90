"""One media stream as its receiver sees it: messages in, events out.

`MediaSession.receive(message)` takes one WebSocket message and returns the events that it means.
No sockets, no clocks, no tasks: whoever owns the connection calls it, and the same messages always
give the same events. The states, and where each event leads:

    state      Connected   Started     Media       Digit, Mark  Stopped   Unknown
    ---------  ----------  ----------  ----------  -----------  --------  ----------
    OPENING    stays       STREAMING   (rule 1)    stays        STOPPED   stays
    STREAMING  stays       (rule 2)    stays       stays        STOPPED   stays
    STOPPED    (rule 3)    (rule 3)    (rule 3)    (rule 3)     (rule 3)  stays
    CLOSED, BROKEN         dead: `receive` raises LocalProtocolError

1. No audio before a `Started`: its consumer must know the format. If the start never came, one is
   made up, marked `assumed`, with the format of the settings.
2. The format and the identity of a stream never change. A repeated start is an `Unknown`; one that
   contradicts the first cannot be gone on with: BROKEN, RemoteProtocolError, close code 1002. Only
   where the first was assumed, one that agrees with it is delivered: now we know who is calling.
3. What comes after the stop has no place in the stream: an `Unknown` that says so.

Every message becomes at least one event, at the latest at `close`, unless a dialect joins several
into one: nothing that a peer sends is dropped unseen, and nothing that it sends raises anything but
the error of rule 2.

**How a stream opens.** MiniVoice documents no wire format, so the first messages must tell which
dialect this is, and often cannot: a greeting is much the same in all of them, a piece of audio says
nothing. Only a start is certain. So until the dialect is settled, messages are looked at
(`dialects/detect.py`) and *held*, undecoded. The start settles it; then it is decoded first, since
it has the format that the rest is in, and what was held after it, in order. Audio that overtook its
own start comes out right that way. Two things settle the matter without a start, by the best guess:
a stop, and too much being held (a second of audio or so: a listener waits for it). And there is
nothing to wait for when audio has come and all that was held fits one dialect alone, which has no
starts. What no dialect lays claim to is not held but handed on at once as `Unknown`.

Naming a dialect skips the question which one it is, not the wait for the start, if it has starts.
The name `minivoice`, since nobody knows what that looks like, means what `auto` means.

Read next: `dialects/twilio.py`, then `timeline.py`, which places the audio that comes out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from minivoice_ref.protocol.dialects.base import FALLBACK_FORMAT, Dialect, DialectSettings, Sign
from minivoice_ref.protocol.dialects.detect import (
    ANY,
    DIALECTS,
    dialect_named,
    foreign,
    guess,
    look,
)
from minivoice_ref.protocol.dialects.fields import object_of
from minivoice_ref.protocol.errors import LocalProtocolError, RemoteProtocolError
from minivoice_ref.protocol.media import (
    Connected,
    Digit,
    Mark,
    Media,
    MediaFormat,
    Started,
    Stopped,
    StreamEvent,
    Track,
    Unknown,
    WireMessage,
)

__all__ = ["MediaSession", "State"]


class State(Enum):
    """Where a stream is; the table above says how it gets from one to the next."""

    OPENING = "opening"
    STREAMING = "streaming"
    STOPPED = "stopped"
    CLOSED = "closed"
    BROKEN = "broken"


_STREAMING = State.STREAMING  # to find a member of an enumeration takes a while

_NEXT: Mapping[State, Mapping[type[StreamEvent], State]] = {
    State.OPENING: {
        Connected: State.OPENING,
        Started: State.STREAMING,
        Digit: State.OPENING,
        Mark: State.OPENING,
        Stopped: State.STOPPED,
        Unknown: State.OPENING,
    },
    State.STREAMING: {
        Connected: State.STREAMING,
        Started: State.STREAMING,
        Media: State.STREAMING,
        Digit: State.STREAMING,
        Mark: State.STREAMING,
        Stopped: State.STOPPED,
        Unknown: State.STREAMING,
    },
    State.STOPPED: {Unknown: State.STOPPED},
}


class MediaSession:
    """The receiving end of one stream. `state`, `started`, `dialect_name` may be read at any time.

    *dialect* is a name; `auto` and `minivoice` stand for the one that the messages tell. *fallback*
    is the format of a stream that names none, *l16* the byte order of what is only called "L16",
    *one_channel* and *reorder_window* are as in `DialectSettings`. At most
    *hold_messages* messages and *hold_bytes* characters or bytes are held while it is open which
    dialect this is; when either is full, the best guess is taken and all that was held is
    delivered: nothing is lost by it. Raises LocalProtocolError where no dialect is named so.
    """

    def __init__(
        self,
        *,
        dialect: str = "auto",
        fallback: MediaFormat = FALLBACK_FORMAT,
        l16: Literal["l16le", "l16be"] | None = None,
        one_channel: Track = "mixed",
        reorder_window: int = 10,
        hold_messages: int = 50,
        hold_bytes: int = 131072,
    ) -> None:
        self.state = State.OPENING
        self.started: Started | None = None
        any_dialect = dialect in ANY
        self._settings = DialectSettings(fallback, l16, one_channel, reorder_window, any_dialect)
        self._candidates: tuple[type[Dialect], ...] = tuple(DIALECTS.values())
        self._dialect: Dialect | None = None
        if not any_dialect:
            named = dialect_named(dialect)
            self._candidates = (named,)
            if not named.has_start:
                self._dialect = named(self._settings)
        self._fitting = self._candidates  # those that know each message held
        self._held: list[WireMessage] = []
        self._held_size = 0
        self._hold_messages, self._hold_bytes = hold_messages, hold_bytes

    @property
    def dialect_name(self) -> str | None:
        """The dialect that the stream speaks; None while that is open."""
        return None if self._dialect is None else self._dialect.name

    def receive(self, message: WireMessage) -> list[StreamEvent]:
        """Take one message: the events that it completes, in order.

        Raises RemoteProtocolError, the peer's fault, where the stream cannot go on; `close_code` is
        for the peer. Raises LocalProtocolError once the session is closed or broken.
        """
        state, dialect = self.state, self._dialect
        # Nearly every message of a stream's life is one piece of audio: it takes the short way.
        if state is _STREAMING and dialect is not None:
            events = dialect.decode(message)
            if len(events) == 1 and type(events[0]) is Media:
                return events
            return self._advance(dialect, message, events)
        if state is State.CLOSED or state is State.BROKEN:
            raise LocalProtocolError(f"the session is {state.value}: no more messages")
        if dialect is None:
            return self._look(message)
        return self._advance(dialect, message, dialect.decode(message))

    def close(self) -> list[StreamEvent]:
        """End the stream, however it ended: the events of whatever was still held.

        May be called in every state, and again. Never raises: where what was held contradicts
        itself, there is nobody left to tell, and it is handed on as `Unknown`.
        """
        if self.state is State.CLOSED or self.state is State.BROKEN:
            return []
        held = self._held
        try:
            events = self._settle(guess(held, self._candidates)) if held else []
        except RemoteProtocolError as exc:
            return [Unknown(message, str(exc)) for message in held]
        if self._dialect is not None:
            try:
                events += self._advance(self._dialect, b"", self._dialect.flush())
            except RemoteProtocolError as exc:
                events.append(Unknown(b"", str(exc)))
        self.state = State.CLOSED
        return events

    def _look(self, message: WireMessage) -> list[StreamEvent]:
        """Take a message while the dialect is open: hold it, or settle the matter."""
        sign, dialect = look(message, self._candidates)
        if dialect is None:
            why = foreign(message) or "no dialect knows such a message before a start"
            return [Unknown(message, why)]
        if sign is Sign.START or sign is Sign.LIKELY_START:
            return self._settle(dialect, message)
        self._held.append(message)
        self._held_size += len(message)
        full = len(self._held) >= self._hold_messages or self._held_size >= self._hold_bytes
        if sign is Sign.STOP or full:
            return self._settle(guess(self._held, self._candidates))
        document = object_of(message)
        self._fitting = tuple(
            one for one in self._fitting if one.sign(message, document) is not Sign.NONE
        )
        is_audio = document is None and isinstance(message, bytes)
        if is_audio and len(self._fitting) == 1 and not self._fitting[0].has_start:
            return self._settle(self._fitting[0])
        return []

    def _settle(
        self, dialect_class: type[Dialect], start: WireMessage | None = None
    ) -> list[StreamEvent]:
        """Take the dialect for certain, and all that was held with it; the start comes first."""
        dialect = self._dialect = dialect_class(self._settings)
        messages = self._held if start is None else [start, *self._held]
        self._held = []
        events: list[StreamEvent] = []
        for message in messages:
            events += self._advance(dialect, message, dialect.decode(message))
        # A greeting needs no format, so it keeps its place before the start.
        events.sort(key=lambda event: not isinstance(event, Connected))
        return events

    def _advance(
        self, dialect: Dialect, message: WireMessage, decoded: list[StreamEvent]
    ) -> list[StreamEvent]:
        """Lead the decoded events of *message* through the table: what of them may be delivered."""
        if self.state is State.STOPPED:
            return self._after_stop(dialect, message, decoded)
        events: list[StreamEvent] = []
        for event in decoded:
            if isinstance(event, Media) and self.state is State.OPENING:
                assumed = dialect.assume()
                self.started, self.state = assumed, State.STREAMING
                events.append(assumed)
            elif isinstance(event, Started):
                if self.started is not None:
                    event = self._started_again(self.started, event, message)
                self.started = event if isinstance(event, Started) else self.started
            self.state = _NEXT[self.state][type(event)]
            events.append(event)
        return events

    def _after_stop(
        self, dialect: Dialect, message: WireMessage, decoded: list[StreamEvent]
    ) -> list[StreamEvent]:
        """Rule 3. What the dialect holds back to put in order has no order any more: out."""
        decoded = decoded + dialect.flush()
        strays = [event for event in decoded if not isinstance(event, Unknown)]
        if not strays:
            return decoded
        return [Unknown(message, f"{type(strays[0]).__name__.lower()} after the stop")]

    def _started_again(self, first: Started, second: Started, message: WireMessage) -> StreamEvent:
        """Rule 2: what a start is worth in a stream that has one."""
        for name in ("format", "stream_id", "call_id"):
            before, now = getattr(first, name), getattr(second, name)
            if before is not None and now is not None and before != now:
                self.state = State.BROKEN
                raise RemoteProtocolError(
                    f"a second start contradicts the {'assumed' if first.assumed else 'first'} one:"
                    f" {name} {str(now)[:80]!r} instead of {str(before)[:80]!r}",
                    close_code=1002,
                )
        if first.assumed and first != second:
            return second
        return Unknown(message, "the start is repeated")
