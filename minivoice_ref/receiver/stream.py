"""One media stream, from the open socket to the last line of its account.

A stream is six things at once: audio is read whatever the application does, pings go out, three
clocks run, the call may end elsewhere, a recording is written, and the application does what it
likes with its frames. Each is a task that does one thing. What makes them safe is the shape they
stand in: nobody is forgotten, nobody outlives the stream, and whatever ends first ends all.

    run_stream
    └─ company                     what may outlive the socket a little: `timeouts.finish`
       ├─ _serve_application       on_stream(stream), from the start on
       ├─ Recording.run            writes whole seconds of audio (a setting)
       ├─ Capture.run              writes every message, as it came (a setting)
       ├─ Publication.run          waits until others have all of the audio (a setting)
       └─ watching (a scope)       closed by `end`, by whomever it is called first
          └─ watchers
             ├─ _receive           socket -> _take -> session -> account, recording, hand-over
             ├─ _keepalive         a ping now and then, its pong under a deadline
             ├─ _watch_clock       first message, silence, longest stream; the progress lines
             └─ _watch_call        call.completed or call.failed came, and the linger is over

A stream ends in three steps. Any task calls `end` with an `Ending` (`endings.py` lists them all):
the first one counts, and the watchers are cancelled. Then the platform hears the close code, at
once: it need not wait until the application has finished. Then the company gets the rest of the
audio and a deadline. The last line of the stream is its account, however it ended.

The rules, and why:

* `_receive` never waits for the application or for the disk. The hand-over drops the oldest audio,
  the recording counts what does not fit; both have bounds in seconds.
* `on_stream` begins when the stream has started, so it always knows the format.
* `on_stream` may return early: the stream goes on, is accounted for and recorded. If it raises, its
  exception is logged and ends the stream with 1011; an `OnStreamFailed` goes on upward, to the wall
  of the connection (`net/front_door.py`), which sees to it that no other notices.
* When the server drains, calls end by themselves at first. At the end of the grace, and at a second
  signal, the cancellation comes from outside; the goodbye is shielded from it, and says 1001.

This module knows no wire format and no HTTP. Read next: `routes.py`, which lets streams in.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import trio

from minivoice_ref.net.media_socket import MediaSocket, PongTimeout, SocketClosed
from minivoice_ref.protocol.errors import RemoteProtocolError
from minivoice_ref.protocol.media import Started, WireMessage
from minivoice_ref.receiver import endings
from minivoice_ref.receiver.annex import LiveStream, watched
from minivoice_ref.receiver.calls import CallRecord, Subject, usable_call_id
from minivoice_ref.receiver.capture import Capture, new_capture
from minivoice_ref.receiver.endings import Ending, is_cancellation
from minivoice_ref.receiver.intake import Intake, new_session, told_of_start
from minivoice_ref.receiver.journal import told_of
from minivoice_ref.receiver.media_stream import HandOver, MediaStream
from minivoice_ref.receiver.pace import Pace
from minivoice_ref.receiver.recording import new_recording
from minivoice_ref.receiver.shared import Shared

__all__ = ["run_stream"]


async def run_stream(
    socket: MediaSocket, stream_id: str, subject: Subject, shared: Shared, **opened: Any
) -> None:
    """Look after one stream until all that belongs to it has ended.

    *subject* is whose stream its token says it is; *opened* goes into the log's first line. The
    socket is closed on every way out, cancelled too. Raises OnStreamFailed where `on_stream` did.
    """
    with shared.look_after_stream():
        supervisor = _Supervisor(socket, stream_id, subject, shared)
        with watched(shared.annex, supervisor.live):
            await supervisor.run(opened)


class _Supervisor:
    """The state that the tasks of one stream share."""

    def __init__(
        self, socket: MediaSocket, stream_id: str, subject: Subject, shared: Shared
    ) -> None:
        config = self._config = shared.config
        self._socket = socket
        self._id = stream_id
        self._subject = subject
        self._shared = shared
        self._hand_over = HandOver(config.limits.hand_over, self._lag)
        self._dropped = self._hand_over.dropped
        self._recording = new_recording(shared, stream_id, self._describe, self._note)
        publisher = shared.publisher
        self._publication = publisher.open(stream_id, self._note) if publisher else None
        self._intake = Intake(
            new_session(config),
            self._hand_over,
            config.limits,
            note=self._note,
            on_start=self._start,
            age=lambda: self._heard_at - self._opened_at,
            recording=self._recording,
            publication=self._publication,
        )
        self.live = LiveStream(stream_id, self._intake, self._hand_over)
        self._call_id = subject.call_id
        self._call: CallRecord | None = None
        self._call_known = trio.Event()
        self._opened_at = self._heard_at = trio.current_time()
        self._pace = Pace(config.limits.message_rate, self._opened_at)
        self._heard = trio.Event()
        self._stream: MediaStream | None = None
        self._begun = trio.Event()
        self._capture: Capture | None = None
        self._round_trip: float | None = None
        self._ending: Ending | None = None
        self._watching = trio.CancelScope()
        self._application_runs = False

    async def run(self, opened: dict[str, Any]) -> None:
        """Run the nurseries of the picture above."""
        self._note("open", answer_id=self._subject.answer_id, **opened)
        if self._call_id is not None:
            self._attach(self._call_id)
        self._capture = new_capture(self._shared, self._id, self._call_id, opened, self._note)
        finish = self._config.timeouts.finish
        try:
            async with trio.open_nursery() as company:
                company.start_soon(self._serve_application)
                for other in (self._recording, self._capture, self._publication):
                    if other is not None:
                        company.start_soon(other.run)
                try:
                    await self._watch()
                finally:
                    self._let_the_company_finish()
                    company.cancel_scope.deadline = trio.current_time() + finish
                    with trio.move_on_after(self._config.timeouts.close * 2, shield=True):
                        await self._say_goodbye()
            if self._application_runs:
                self._note("application_cut", code="MV-511", after=finish)
        finally:
            if self._call is not None:
                self._call.streams -= 1
            self._note_account()
            # All of these know us: their memory would be free only when somebody looks for cycles.
            del self._socket, self._intake, self._hand_over, self._recording, self._publication
            del self._capture, self._stream, self.live

    def end(self, ending: Ending) -> None:
        """End the stream. The first ending counts; called from any task, and by the application."""
        if self._ending is None:
            self._ending = ending
            self._watching.cancel()

    # --- the watchers: the first to end the stream ends the others ---

    async def _watch(self) -> None:
        try:
            with self._watching:
                async with trio.open_nursery() as watchers:
                    for task in (self._receive, self._keepalive, self._watch_clock):
                        watchers.start_soon(task)
                    watchers.start_soon(self._watch_call)
        except BaseException as exc:
            self.end(endings.DRAINING if is_cancellation(exc) else endings.FAILED)
            raise

    async def _receive(self) -> None:  # noqa: ASYNC910  # the socket's checkpoint is enough
        """Take what comes. It is here that most streams end."""
        try:
            await self._socket.pour(self._take)
        except SocketClosed as exc:
            self.end((endings.closed if exc.by_peer else endings.broken)(exc.code, exc.reason))
        except RemoteProtocolError as exc:
            self.end(endings.broken(exc.close_code, str(exc)))

    def _take(self, messages: list[WireMessage]) -> bool:
        """Take what one read brought; False when no more is wanted."""
        self._heard_at = trio.current_time()
        self._heard.set()
        if not self._pace.allows(len(messages), self._heard_at):
            self.end(endings.TOO_FAST)
        else:
            if self._capture is not None:
                self._capture.add(messages)
            for message in messages:
                self._intake.take(message)
            if self._intake.stopped:
                self.end(endings.STOPPED)
        return self._ending is None

    async def _keepalive(self) -> None:  # noqa: ASYNC910  # sleeping is one
        """Ping, so that idle proxies keep the connection, and dead ones are found out."""
        with suppress(SocketClosed):  # `_receive` hears of it too, after what came before it
            while True:
                await trio.sleep(self._config.timeouts.ping_every)
                asked = trio.current_time()
                try:
                    self._round_trip = await self._socket.ping()
                except PongTimeout:
                    if self._heard_at < asked:  # else the pong waits behind unread messages
                        self.end(endings.NO_PONG)

    async def _watch_clock(self) -> None:
        """End a stream that stays silent or lasts too long; say now and then how it goes."""
        timeouts = self._config.timeouts
        longest = self._opened_at + timeouts.longest_stream
        with trio.move_on_after(timeouts.first_message):
            await self._heard.wait()
        if not self._heard.is_set():
            self.end(endings.no_message(timeouts.first_message))
        progress = trio.current_time() + self._config.progress_every
        while True:
            quiet = self._heard_at + timeouts.silence
            await trio.sleep_until(min(longest, quiet, progress))
            if trio.current_time() >= longest:
                self.end(endings.too_long(timeouts.longest_stream))
            elif trio.current_time() >= self._heard_at + timeouts.silence:
                self.end(endings.silent(timeouts.silence))
            elif trio.current_time() >= progress:
                progress += self._config.progress_every
                self._note("progress", ping=self._round_trip, **self._intake.told())

    async def _watch_call(self) -> None:
        """End the stream after its call, when no more of it comes; or it goes on all too long."""
        timeouts = self._config.timeouts
        await self._call_known.wait()
        assert self._call is not None
        await self._call.ended.wait()
        now = trio.current_time()
        latest, quiet = now + timeouts.silence, now + timeouts.linger
        while trio.current_time() < quiet:
            await trio.sleep_until(quiet)
            quiet = min(self._heard_at + timeouts.linger, latest)
        self.end(endings.call_ended(self._call.status))

    # --- the company: what may outlive the socket a little ---

    async def _serve_application(self) -> None:
        await self._begun.wait()
        if self._stream is None:
            return
        self._application_runs = True
        try:
            await self._shared.app.on_stream(self._stream)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            self._application_runs = False
            self._note("application_failed", level=logging.ERROR, code="MV-509", **told_of(exc))
            self.end(endings.RAISED)
            raise endings.OnStreamFailed from exc  # noqa: ASYNC104  # no cancellation gets here
        self._application_runs = False
        self._hand_over.discard()
        if self._ending is None:
            self._note("application_returned")

    # --- the steps between ---

    def _start(self, started: Started) -> None:
        """Note that the stream has started. A start after an assumed one says who is calling."""
        call_id = usable_call_id(started.call_id)
        if self._call_id is None and call_id:
            self._attach(call_id)
        self._note(
            "started",
            code="MV-405" if started.assumed else None,
            dialect=started.dialect,
            format=str(started.format),
            tracks=started.tracks,
            assumed=started.assumed or None,
            **told_of_start(started, self._config.limits.log_excerpt),
        )
        if call_id is not None and call_id != self._call_id:
            self._note("call_ids_differ", code="MV-407", named=call_id)
        if self._publication is not None:
            self._publication.begin(self._call_id, started)
        if self._stream is not None:
            self._stream.started = started
            return
        accounts = self._intake.accounts
        self._stream = MediaStream(
            self._id, self._call_id, started, self._hand_over, accounts=accounts, end=self.end
        )
        if self._recording is not None:
            self._recording.begin(started.format.sample_rate)
        self._begun.set()

    def _describe(self) -> dict[str, Any]:
        return {"call_id": self._call_id, "stream_id": self._id, **self._intake.summary()}

    def _attach(self, call_id: str) -> None:
        """Note whose call this is."""
        self._call_id = call_id
        self._call = self._shared.calls.heard(call_id, "stream")
        self._call.streams += 1
        if self._stream is not None:
            self._stream.call_id = call_id
        self._call_known.set()

    def _let_the_company_finish(self) -> None:
        """Give the application and the recording all that came; nothing more will."""
        self._intake.close()
        self._hand_over.finish()
        if self._recording is not None:
            self._recording.finish()
        ending = self._ending or endings.FAILED
        if self._capture is not None:
            self._capture.finish(ending)
        if self._publication is not None:
            self._publication.finish(ending, self._intake.accounts())
        self._begun.set()

    async def _say_goodbye(self) -> None:
        """Tell the platform how it ended, in bounded time and whatever cancels us."""
        ending = self._ending or endings.FAILED
        self._note("disconnected", **ending.told)
        if ending is endings.ABORTED:
            await self._socket.abort()
        else:
            await self._socket.close(ending.code, ending.reason)

    # --- the log ---

    def _note(self, what: str, **fields: Any) -> None:
        note = self._shared.journal.note
        note("streams", what, call_id=self._call_id, stream_id=self._id, **fields)

    def _note_account(self) -> None:
        if (recording := self._recording) and recording.file and recording.not_recorded:
            self._note("recording_lacks", code="MV-707", samples=recording.not_recorded)
        self._note(
            "account",
            code=None if self._intake.accounts() else "MV-402",
            seconds=round(trio.current_time() - self._opened_at, 3),
            recording=recording and recording.file,
            capture=self._capture and self._capture.file,
            **self._intake.told(),
        )

    def _lag(self, lagging: bool) -> None:
        if lagging:
            self._note("lagging", code="MV-408", behind=self._config.limits.hand_over)
        else:
            self._note("caught_up", dropped=dict(self._dropped))
