"""One stream: opened, spoken into by the clock, and closed. Or failed, which the call survives.

The n-th frame leaves at `start + n * 20 ms`, where `start` is when the stream was open. Each moment
is reckoned from the start and not from the frame before, so nothing adds up: a frame that was held
up is followed by the next ones at once until the clock is caught up with, and their timestamps say
where they belong. Whatever was due before the stop leaves before the stop. What is due at one
moment, of both tracks, leaves in one piece: sending costs more than all the rest.

Whatever goes wrong with a stream ends here as a sentence in its report. MiniVoice documentation,
media streams: if the receiver is unreachable or drops the socket, the stream fails and the call
goes on. An error of ours is not caught. What goes wrong on purpose is in the hands of a `FaultSet`,
which is asked at each step and knows what the step is to become.

A dialect may want several ticks in one message: it leaves with the last of them, with the timestamp
of the first, and what is incomplete at the stop leaves then.

It must not know actions or webhooks, nor any fault by name. What is heard comes from `speech.py`,
what a dialect makes of it from `coding.py`. Read next: `coding.py`, then `fault.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from minivoice_ref._version import __version__
from minivoice_ref.net.connect import FetchError
from minivoice_ref.net.websocket import MediaSocket, SocketClosed, UpgradeRefused, open_connected
from minivoice_ref.protocol.media import Started, Track, WireMessage
from minivoice_ref.protocol.redaction import escape, redact_url
from minivoice_ref.protocol.webhooks import format_time
from minivoice_ref.simulator.coding import TICK_MS, StreamCoder, tracks_of
from minivoice_ref.simulator.context import CallContext
from minivoice_ref.simulator.fault import Kind, Line, StreamCut
from minivoice_ref.simulator.fault_set import FaultSet
from minivoice_ref.simulator.lateness import Lateness
from minivoice_ref.simulator.report import StreamReport
from minivoice_ref.simulator.speech import TICK, CallAudio, CallTrack

__all__ = ["StreamSender"]

_NORMAL = 1000
_NO_GOODBYE = 1006
_MOST_DIGITS = 64


class StreamSender:
    """One stream of one call: `run` it in a task, `stop` it, `report` what came of it.

    `lateness` counts how far behind its moment each frame left; delays that a fault asks for are
    not counted.
    """

    def __init__(self, context: CallContext, audio: CallAudio, url: str, track: str) -> None:
        self.url = url
        self.track = track
        plan = context.plan
        self._coder = StreamCoder(plan.dialect, tracks_of(track), audio, plan.media_format)
        self.stream_id = self._coder.encoder.stream_id(context.new_stream_digits())
        self.finished = trio.Event()
        self.lateness = Lateness()
        self._context = context
        self._audio = audio
        self._faults = FaultSet(context.plan.faults, self.stream_id, context.find)
        self._over = trio.Event()
        self._stopped = trio.Event()
        self._stopped_at = 0.0
        self._opening = trio.CancelScope()
        self._opened_at: float | None = None
        self._handshake: float | None = None
        self._closing: float | None = None
        self._broke_at: float | None = None
        self._close_code: int | None = None
        self._refused_with: int | None = None
        self._fault: str | None = None
        self._first_tick: int | None = None
        self._due = 0
        self._sent: dict[Track, int] = dict.fromkeys(self._coder.tracks, 0)  # bytes of audio
        self._digits: deque[tuple[str, CallTrack, int | None]] = deque()
        self._kept: dict[Track, bytearray] = {}
        if context.plan.keep_audio:
            self._kept = {kept: bytearray() for kept in self._sent}

    @property
    def ended(self) -> bool:
        """Whether it was stopped or has failed, so that there is nothing left to stop."""
        return self._stopped.is_set() or self.finished.is_set()

    @property
    def opened(self) -> bool:
        """Whether the receiver has accepted it, be it over by now or not."""
        return self._opened_at is not None

    def stop(self) -> None:
        """Have it say that it is over, close and end; one that is not yet open is given up."""
        if not self._stopped.is_set():
            self._stopped_at = trio.current_time()
            self._stopped.set()
        if not self.opened:
            self._opening.cancel()

    def send_digit(
        self, digit: str, track: CallTrack = "inbound", duration_ms: int | None = None
    ) -> None:
        """Have the stream say, before its next frame, that a key was pressed.

        Nothing is said by a stream that is not open yet or has ended; whether by one that does not
        carry *track* is an assumption (`digits_told`). At most `_MOST_DIGITS` wait to be said;
        further ones are dropped, with a remark.
        """
        told = self._context.plan.assumptions.digits_told
        is_told = told == "all" or (told == "carried" and self._coder.carries(track))
        if not is_told or not self.opened or self.ended:
            return
        if len(self._digits) >= _MOST_DIGITS:
            self._note(f"the digit {escape(digit)} was dropped: {_MOST_DIGITS} wait to be sent")
            return
        self._digits.append((digit, track, duration_ms))

    async def run(self) -> None:
        """Open the stream, speak until it is stopped or fails, close it, and set `finished`.

        May go on for a while after that, where a fault of the plan has something left to do or to
        see. Cancellation closes the connection (1001) and leaves the report as far as it had come.
        """
        async with trio.open_nursery() as beside:
            try:
                with self._opening:
                    await self._faults.before_stream(self._context.wait_webhooks_tried)
                    self._faults.start_beside(beside, self.url, self._context.connect)
                    await self._converse()
                if self._opening.cancelled_caught:
                    self._fail("it was stopped before the receiver had accepted it")
            except UpgradeRefused as exc:
                self._refused_with = exc.status
                self._fail(f"the receiver refused it: {exc}")
            except FetchError as exc:
                self._fail(f"it could not be opened: {exc}")
            finally:
                self.finished.set()
            self._say_how_it_ended()
            self._faults.judge(self._close_code, as_it_should_be=self._fault is None)
            await self._faults.after()

    def report(self) -> StreamReport:
        """What came of it so far."""
        return StreamReport(
            stream_url=redact_url(self.url),
            track=self.track,
            stream_id=self.stream_id,
            sent={track: self._coder.sums(size) for track, size in self._sent.items()},
            format=self._coder.format,
            close_code=self._close_code,
            opened_at=self._opened_at,
            broke_at=self._broke_at,
            fault=self._fault,
            first_tick=self._first_tick,
            audio={track: bytes(kept) for track, kept in self._kept.items()},
            handshake_seconds=self._handshake,
            closing_seconds=self._closing,
            refused_with=self._refused_with,
            due=self._due,
            lateness=self.lateness,
        )

    async def _converse(self) -> None:
        plan = self._context.plan
        self._note(f"connecting to {redact_url(self.url)}")
        began = self._context.elapsed()
        async with open_connected(
            self._faults.alter_url(self.url),
            connect=self._faults.connector(self._context.connect),
            headers=[("user-agent", f"minivoice-ref-simulator/{__version__}")],
            subprotocols=self._coder.encoder.subprotocols,
            limits=plan.limits,
            timeouts=self._faults.alter_timeouts(plan.timeouts),
        ) as socket:
            self._opened_at = self._context.elapsed()
            self._handshake = self._opened_at - began
            self._note(f"accepted by the receiver; sending {' and '.join(self._sent)}")
            self._faults.tell_unseen(type(self._coder.encoder))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, socket)
                try:
                    await self._speak(socket)
                except SocketClosed as exc:
                    self._end(exc.code, exc.reason)
                except StreamCut as exc:
                    self._end(_NO_GOODBYE, str(exc))
                await self._close(socket)  # while somebody listens, or the answer is not heard
                nursery.cancel_scope.cancel()
        heard = socket.heard_goodbye
        self._end(socket.close_code if heard else _NO_GOODBYE, socket.close_reason)

    async def _close(self, socket: MediaSocket) -> None:
        """Say goodbye unless that is over already; note how long after the stop the answer came."""
        in_order = self._close_code is None
        began, patience = trio.current_time(), self._context.plan.timeouts.close
        await socket.close(_NORMAL)
        took = trio.current_time() - began
        if in_order and socket.heard_goodbye:
            self._closing = took
        elif in_order and took >= patience:  # nothing broke: it was open all along
            self._break(_NO_GOODBYE, f"closing it took longer than {patience:g} s: no goodbye came")

    async def _listen(self, socket: MediaSocket) -> None:
        """Read, so that pings and the close are heard; remark once on what the receiver says."""
        heard = 0
        try:
            while True:
                heard += len(await socket.receive())
                if heard == 1:
                    self._note("the receiver sent a message; nothing is documented to be sent back")
        except SocketClosed:
            self._over.set()
            await trio.lowlevel.checkpoint()  # whoever sends next is told how it ended

    async def _speak(self, socket: MediaSocket) -> None:
        line, ticks = Line(socket, self._over, self.finished), self._coder.ticks
        await self._send_start(socket)
        start = due = trio.current_time()
        self._first_tick = self._audio.tick_at(self._context.elapsed())
        n = 0
        while True:
            due = max(due, start + n * TICK + self._faults.delay(n))
            await self._wait_until(due)
            if self._stopped.is_set() and start + n * TICK >= self._stopped_at:
                break
            await self._faults.at_tick(n, line)
            n += 1
            if n % ticks == 0:
                await self._send_audio(socket, n - ticks, ticks, due)
        if n % ticks:
            await self._send_audio(socket, n - n % ticks, n % ticks, due)
        await self._faults.before_stop(line)
        rest = self._coder.rest()
        audio = self._altered("media", None, rest) if rest else rest
        await socket.send_together([*audio, *self._altered("stop", None, self._coder.stop())])
        await self._faults.after_stop(line)

    async def _send_audio(  # noqa: ASYNC910  # who calls it often has a checkpoint of its own
        self, socket: MediaSocket, n: int, ticks: int, due: float
    ) -> None:
        """Send what is heard in *ticks* ticks from the stream's *n*-th on; it was *due* then."""
        messages, frames = self._messages_of(n, ticks)
        self._due += len(frames)
        await socket.send_together(messages)
        late = trio.current_time() - due
        for track, payload in frames:
            self.lateness.add(late)
            self._count(track, payload)

    def _messages_of(
        self, n: int, ticks: int
    ) -> tuple[list[WireMessage], list[tuple[Track, bytes]]]:
        """What to send of *ticks* ticks from the stream's *n*-th on, and the audio in it."""
        coder, first = self._coder, self._first_tick or 0
        messages: list[WireMessage] = []
        frames: list[tuple[Track, bytes]] = []
        while self._digits:
            digit = coder.encoder.digit(*self._digits.popleft())
            messages += self._altered("digit", None, digit)
        for track in coder.tracks:
            if not self._faults.loses(track, n):
                payload, prepared = coder.speak(track, first + n, ticks)
                media = coder.encoder.media_prepared(track, prepared, n * TICK_MS)
                messages += self._altered("media", track, media)
                frames.append((track, payload))
        return messages, frames

    async def _wait_until(self, due: float) -> None:
        """Sleep until *due*, or until the stop if that comes first; one checkpoint at least."""
        # Not move_on_at(): its context manager costs as much as the rest of the wait.
        with trio.CancelScope(deadline=due):
            await self._stopped.wait()

    async def _send_start(self, socket: MediaSocket) -> None:
        plan, encoder = self._context.plan, self._coder.encoder
        started = Started(
            dialect=plan.dialect,
            format=self._coder.format,
            tracks=self._coder.tracks,
            stream_id=self.stream_id,
            call_id=self._context.call_id,
            account_id=plan.customer_id,
            extra={
                "from": plan.from_number,
                "to": plan.to_number,
                "event_time": format_time(self._context.now()),
            },
        )
        greeting = self._altered("connected", None, encoder.connected())
        start = self._altered("start", None, encoder.start(started))
        await trio.lowlevel.checkpoint()
        await socket.send_together([*greeting, *start])

    def _altered(
        self, kind: Kind, track: Track | None, messages: Sequence[WireMessage]
    ) -> Sequence[WireMessage]:
        """*messages*, or what the faults make of them."""
        return self._faults.alter_messages(kind, track, messages)

    def _count(self, track: Track, payload: bytes) -> None:
        if not self._sent[track]:
            self._note(f"first {track} audio sent")
        self._sent[track] += len(payload)
        if self._kept:
            self._kept[track] += payload

    def _end(self, code: int | None, reason: str) -> None:
        """The connection is over. Good is only a closing handshake with 1000 after the stop."""
        if self._close_code is not None:
            return
        code = code or _NO_GOODBYE
        if self._stopped.is_set() and code == _NORMAL:
            self._close_code = code
            return
        when = "while it was being closed" if self._stopped.is_set() else "before it was stopped"
        if code == _NO_GOODBYE:
            how = "the connection broke without a goodbye"
        else:
            how = f"the receiver closed it with {code}"
        said = f" ({escape(reason)})" if reason else ""
        self._break(code, f"{how}{said} {when}")

    def _break(self, code: int, fault: str) -> None:
        """The connection is over with *code*, and not as it should be."""
        self._close_code = code
        self._broke_at = self._context.elapsed()
        self._fail(fault)

    def _fail(self, fault: str) -> None:
        self._fault = fault

    def _say_how_it_ended(self) -> None:
        sums = {track: self._coder.sums(size) for track, size in self._sent.items()}
        sent = ", ".join(f"{n.frames} {track} frames" for track, n in sums.items())
        if self._fault is not None:
            self._note(f"failed: {self._fault}; sent {sent}; the call goes on")
        else:
            self._note(f"stopped and closed with {self._close_code}; sent {sent}")

    def _note(self, text: str) -> None:
        self._context.note("stream", text)
