"""Plays a captured stream to a receiver: the platform's messages, in their order, at their pace.

At full speed nothing is waited for but the receiver: every so many messages a ping must have been
answered before more are sent, so a receiver is never buried under more than it has read. How the
stream ended is played too: the platform's close code, or its vanishing.

Whatever goes wrong ends as a sentence in the report, as with the streams of a test call. A capture
that is torn, or lacks messages, is played as far as it goes, which is no pass: the receiver heard
another stream than it would have.

Knows no files: it is given a reader. Read next: `protocol/capture_format.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import trio

from minivoice_ref._version import __version__
from minivoice_ref.config import Limits, Timeouts
from minivoice_ref.net.connect import Connector, FetchError
from minivoice_ref.net.websocket import (
    MediaSocket,
    PongTimeout,
    SocketClosed,
    UpgradeRefused,
    open_connected,
)
from minivoice_ref.protocol.actions import read_answer
from minivoice_ref.protocol.capture_format import CaptureReader, Ended, Lost, Message, Record
from minivoice_ref.protocol.redaction import escape, redact_url
from minivoice_ref.protocol.webhooks import CallInfo
from minivoice_ref.simulator.asking import fetch_answer
from minivoice_ref.simulator.plan import CallPlan

__all__ = ["NoStream", "ReplayReport", "ask_for_stream", "replay"]

_BATCH = 200  # records that are read from the disk together
_AT_ONCE = 64  # messages that a receiver may be behind at full speed
_VANISHED = 1006
_SENDABLE = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)))

_reading = trio.CapacityLimiter(1)


class NoStream(Exception):
    """The answer_url named no stream to play to; the message says why."""


@dataclass(slots=True)
class ReplayReport:
    """What came of a replay. `fault` says what went wrong with it, None if nothing did.

    The rest tells of the capture: `missing` messages were never in it, `skipped` lines of it cannot
    be read, `ended` says whether its end was reached; else it is cut short after `last_at` seconds
    of the stream.
    """

    stream_url: str
    sent: int = 0
    bytes: int = 0
    seconds: float = 0.0
    close_code: int | None = None
    close_reason: str = ""
    missing: int = 0
    skipped: int = 0
    ended: bool = False
    last_at: float = 0.0
    fault: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all that the platform had said was played."""
        return self.ended and not self.missing and not self.skipped and self.fault is None

    @property
    def verdict(self) -> Literal["pass", "partial", "fail"]:
        """`partial` where all that could be read was played, and the capture is not whole."""
        if self.fault is not None:
            return "fail"
        return "pass" if self.complete else "partial"

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "verdict": self.verdict,
            "stream_url": self.stream_url,
            "sent": self.sent,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "close_code": self.close_code,
            "close_reason": self.close_reason,
            "complete": self.complete,
            "ended": self.ended,
            "last_at": round(self.last_at, 6),
            "missing": self.missing,
            "skipped_lines": self.skipped,
            "fault": self.fault,
        }

    def __str__(self) -> str:
        told = [
            f"{self.verdict.upper()}  {self.sent} messages, {self.bytes} bytes in"
            f" {self.seconds:.3f} s to {self.stream_url or 'nobody'}"
        ]
        if self.close_code is not None:
            reason = f" ({self.close_reason})" if self.close_reason else ""
            told.append(f"closed with {self.close_code}{reason}")
        if self.missing:
            told.append(f"messages that the capture never had, its disk being slow: {self.missing}")
        if self.skipped:
            told.append(f"lines of the capture that cannot be read, left out: {self.skipped}")
        if self.fault is not None:
            told.append(self.fault)
        elif not self.ended:
            told.append(f"the capture is cut short after {self.last_at:.3f} s: it has no end")
        return "\n      ".join(told)


async def ask_for_stream(
    answer_url: str, method: Literal["POST", "GET"], call_id: str, *, connect: Connector
) -> str:
    """Ask an answer_url as a test call would; return the URL of its first `start_stream`.

    Raises NoStream, which says why there is none, and ConfigError for what is no URL.
    """
    plan = CallPlan(answer_url=answer_url, answer_method=method)
    call = CallInfo(
        id=call_id, status="dialing", from_number=plan.from_number, to_number=plan.to_number
    )
    try:
        response = await fetch_answer(plan, call, connect)
    except FetchError as exc:
        raise NoStream(f"the answer cannot be had: {exc}") from None
    if not response.ok:
        raise NoStream(f"the answer came with status {response.status}")
    for action in read_answer(response.body).actions:
        if action is not None and action.type == "start_stream":
            return str(action.parameters["stream_url"])
    raise NoStream("the answer has no valid start_stream; `minivoice-ref check` says more")


async def replay(
    reader: CaptureReader,
    url: str,
    *,
    connect: Connector,
    speed: float | None = 1.0,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
) -> ReplayReport:
    """Play the capture to *url*, *speed* times as fast as it was; None: as fast as it goes.

    Reads from the disk in a thread. Raises nothing that the receiver, the network or the URL is to
    blame for. Cancellation closes the connection (1001).
    """
    timeouts = timeouts or Timeouts()
    report = ReplayReport(redact_url(url))
    began = trio.current_time()
    try:
        async with open_connected(
            url,
            connect=connect,
            headers=[("user-agent", f"minivoice-ref-replay/{__version__}")],
            subprotocols=reader.handshake.subprotocols,
            limits=limits or Limits(),
            timeouts=timeouts,
        ) as socket:
            began = trio.current_time()
            await _Player(reader, socket, report, speed, timeouts).run()
        report.close_code, report.close_reason = socket.close_code, escape(socket.close_reason)
    except UpgradeRefused as exc:
        report.fault = f"the receiver refused it: {exc}"
    except FetchError as exc:
        report.fault = f"it could not be opened: {exc}"
    report.seconds = trio.current_time() - began
    await trio.lowlevel.checkpoint()
    return report


class _Player:
    """Plays into one open socket."""

    def __init__(
        self,
        reader: CaptureReader,
        socket: MediaSocket,
        report: ReplayReport,
        speed: float | None,
        timeouts: Timeouts,
    ) -> None:
        self._reader = reader
        self._records = iter(reader)
        self._socket = socket
        self._report = report
        self._speed = speed
        self._timeouts = timeouts
        self._began = trio.current_time()
        self._over = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen)
            try:
                while batch := await trio.to_thread.run_sync(
                    _next_batch, self._records, limiter=_reading
                ):
                    for record in batch:
                        await self._play(record)
                self._report.ended = self._reader.ended is not None
                await self._end(self._reader.ended)
            except SocketClosed as exc:
                self._report.fault = f"{exc} before all was sent"
            except PongTimeout as exc:
                self._report.fault = str(exc)
            self._report.skipped = self._reader.skipped
            nursery.cancel_scope.cancel()

    async def _listen(self) -> None:
        """Read, so that pings and the close are heard."""
        try:
            while True:
                await self._socket.receive()
        except SocketClosed:
            self._over.set()
            await trio.lowlevel.checkpoint()

    async def _play(self, record: Record) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._report.last_at = record.at
        if isinstance(record, Lost):
            self._report.missing += record.messages
        if isinstance(record, Ended) or self._speed is not None:
            await self._wait(record.at)
        elif self._report.sent % _AT_ONCE == _AT_ONCE - 1:
            await self._socket.ping()
        if isinstance(record, Message) and record.sender == "platform":
            await self._socket.send(record.content)
            self._report.sent += 1
            self._report.bytes += len(record.content)

    async def _wait(self, at: float) -> None:
        """Wait until a record's moment, or not at all at full speed."""
        if self._speed is None:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep_until(self._began + at / self._speed)

    async def _end(self, ended: Ended | None) -> None:
        """End as the captured stream did; where the receiver closed that, let it do so again."""
        if ended is None:
            await self._socket.close(1000)
            return
        if ended.how == "closed":
            if ended.code == _VANISHED:
                await self._socket.abort()
            else:
                await self._socket.close(ended.code if ended.code in _SENDABLE else 1000)
            return
        with trio.move_on_after(self._timeouts.close):
            await self._over.wait()
        await self._socket.close(1000)


def _next_batch(records: Iterator[Record]) -> list[Record]:
    return list(islice(records, _BATCH))
