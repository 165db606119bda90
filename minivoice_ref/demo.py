"""One test call, both ends of it, on this machine: real sockets, real TLS, real speech.

Starts the receiver with a certificate made on the spot, points the simulator at it, and tells what
either side sees on one time axis. It knows of the receiver only what an embedding program knows:
`serve`, an `App`, and the three loggers.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
import signal
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import trio

from minivoice_ref.certificates import Certificates, make_certificates
from minivoice_ref.config import Config, Timeouts
from minivoice_ref.console import open_console
from minivoice_ref.console_calls import SimulatedCalls, stream_as_ordered
from minivoice_ref.net.connect import TcpConnector
from minivoice_ref.net.tls import client_context
from minivoice_ref.protocol.media import MediaFormat
from minivoice_ref.receiver.app import App
from minivoice_ref.receiver.journal import in_words
from minivoice_ref.receiver.media_stream import MediaStream
from minivoice_ref.receiver.server import Server, serve
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.faults import Fault
from minivoice_ref.simulator.report import CallReport, Moment, Step, StreamReport, Sums

__all__ = ["Demo", "Guest", "run_demo"]

_A_MOMENT = 10.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo is to show, in seconds; `cut_after` is counted from the stream's beginning.

    `dialect` and `media_format` are the simulator's; the receiver is left to recognise them.
    `faults` are the simulator's as well, with `seed` as their chance. With `console` there is one,
    at that address on loopback, and the demo stays when the call is over.
    """

    speak: float = 10.0
    track: Literal["inbound", "outbound", "both"] = "both"
    dialect: str = "twilio"
    media_format: MediaFormat | None = None
    cut_after: float | None = None
    data: Path = Path("minivoice-data")
    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    console: str | None = None


class Guest(Protocol):
    """Who looks at the console of a demo that stays."""

    async def welcome(self, url: str) -> None:
        """Hear where the console is, before the call is placed."""

    async def stay(self, report: CallReport) -> None:
        """Return when the demo may end; the call is over and *report* complete."""


async def run_demo(
    demo: Demo, show: Callable[[str], None], guest: Guest | None = None
) -> CallReport:
    """Place the call and return its report, with what the receiver received filled in.

    *show* gets each line of the timeline when it happens. Logs and recordings stay in `demo.data`.
    With `demo.console` there must be a *guest*. Cancellation ends both sides in order.
    """
    with tempfile.TemporaryDirectory(prefix="minivoice-") as folder:
        certificates = await trio.to_thread.run_sync(make_certificates, Path(folder))
        return await _run(demo, certificates, show, guest)


async def _run(
    demo: Demo, files: Certificates, show: Callable[[str], None], guest: Guest | None
) -> CallReport:
    config = Config(
        listen="127.0.0.1:0",
        tls_cert=files.cert,
        tls_key=files.key,
        track=demo.track,
        record=True,
        data=demo.data,
        # Not the folder's own inbox: what waits there belongs to somebody else's on_event.
        inbox=files.ca.with_name("inbox.sqlite3"),
        webhook_secret=secrets.token_urlsafe(),
        **_unsaid(demo.media_format),
        console=demo.console is not None,
        console_listen=demo.console,
    )
    timeline = _Timeline(show)
    logger = logging.getLogger("minivoice_ref")
    level = logger.level
    logger.addHandler(timeline)
    logger.setLevel(logging.INFO)
    try:
        async with trio.open_nursery() as watching:
            watching.start_soon(_end_at_sigterm)
            report = await _call_ourselves(demo, config, files, timeline, guest)
            watching.cancel_scope.cancel()
    finally:
        logger.removeHandler(timeline)
        logger.setLevel(level)
    return _judged(demo, timeline.complete(report))


def _unsaid(format: MediaFormat | None) -> dict[str, Any]:
    """The receiver's settings for what a wire may leave open: a byte order, a whole format."""
    if format is None:
        return {}
    order = {"l16": format.encoding} if format.encoding.startswith("l16") else {}
    return {"fallback_format": str(format), **order}


async def _call_ourselves(
    demo: Demo, config: Config, files: Certificates, timeline: _Timeline, guest: Guest | None
) -> CallReport:
    """Serve, place the call, and drain; with a guest, when the guest has seen enough."""
    async with trio.open_nursery() as nursery:
        connect = TcpConnector(client_context(files.ca), Timeouts())
        calls = SimulatedCalls(connect, config.webhook_secret)
        annex = partial(open_console, test_caller=calls) if config.console else None
        cut = _Cut(demo.cut_after)
        app = App(on_answer=stream_as_ordered, on_stream=cut.listen)
        server: Server = await nursery.start(partial(serve, app, config, annex=annex))
        calls.urls = server.urls
        if guest is not None:
            await guest.welcome(server.urls.console or "")
        plan = CallPlan(
            answer_url=server.urls.answer,
            webhook_url=server.urls.webhooks,
            webhook_secret=config.webhook_secret,
            speak=demo.speak,
            dialect=demo.dialect,
            media_format=demo.media_format,
            expect_stream=True,
            expect_break=demo.cut_after is not None,
            faults=demo.faults,
            seed=demo.seed,
        )
        report = await place_call(plan, connect=connect, observe=timeline.moment)
        if guest is not None:
            await timeline.wait_for_accounts()
            await guest.stay(_judged(demo, timeline.complete(report)))
        server.stop()
    return report


async def _end_at_sigterm() -> None:
    """End in order when told to: the folder with the certificate's key must not stay behind."""
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise SystemExit(128 + signal.SIGTERM)


def _judged(demo: Demo, report: CallReport) -> CallReport:
    """The report of the demo's call; unless something was to go wrong, all must have arrived."""
    return _judge(report, exact=demo.cut_after is None and not demo.faults)


def _judge(report: CallReport, *, exact: bool) -> CallReport:
    """Ask of `media_flowed` what only both ends together can tell: did what was sent arrive?

    With *exact*, all of it must have arrived; otherwise some, since a stream was broken on purpose.
    A stream that was never open had nothing to say.
    """
    opened = [stream for stream in report.streams if stream.opened_at is not None]
    steps = []
    for step in report.steps:
        if step.name == "media_flowed" and step.ok and opened:
            missing = [fault for s in opened if (fault := _missing(s, exact=exact))]
            detail = f"{step.detail}; {'; '.join(missing) or 'all of it received and recorded'}"
            step = Step(step.name, not missing, detail)
        steps.append(step)
    return dataclasses.replace(report, steps=steps)


def _missing(stream: StreamReport, *, exact: bool) -> str | None:
    """What of a stream did not arrive or was not recorded; None where nothing lacks."""
    received = stream.received or {}
    for track, sent in stream.sent.items():
        arrived = received.get(track, Sums())
        # Not the frames: one that a fault repeats is received twice, and its samples are not.
        if (exact and arrived.samples != sent.samples) or (sent.samples and not arrived.samples):
            return f"of {sent.samples} {track} samples {arrived.samples} were received"
    if stream.recording is None or not Path(stream.recording).is_file():
        return "the recording was not written"
    return None


class _Cut:
    """Takes every frame; with *after* seconds, breaks the connection of the first stream then."""

    def __init__(self, after: float | None) -> None:
        self._after = after

    async def listen(self, stream: MediaStream) -> None:
        """The demo's `on_stream`."""
        after, self._after = self._after, None
        with trio.move_on_after(float("inf") if after is None else after) as patience:
            async for _ in stream:
                pass
        if patience.cancelled_caught:
            stream.abort()


#: What the log files keep and a timeline of one call on one machine need not repeat.
_UNTOLD = {
    "actions",
    "answer_id",
    "attempt",
    "call_id",
    "created_at",
    "headers",
    "method",
    "peer",
    "platform_stream_id",
    "stream_id",
    "target",
}


def _short(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a log without what is in `_UNTOLD`; of an account, the seconds and what is lost."""
    told = {name: value for name, value in line.items() if name not in _UNTOLD}
    if line["what"] == "account":
        for track, sums in told.pop("tracks").items():
            told[track] = f"{sums['received']} samples, {sums['lost']} lost"
    return told


class _Timeline(logging.Handler):
    """Shows what both sides see on one time axis, and remembers the receiver's accounts."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__()
        self._show = show
        self._began: float | None = None
        self._streams: dict[str, dict[str, Any]] = {}

    def moment(self, moment: Moment) -> None:
        """Show what the platform's side sees."""
        if self._began is None:
            self._began = trio.current_time() - moment.at
        self._line(moment.at, "MiniVoice", moment.who, moment.text)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line of the receiver's logs."""
        line: Mapping[str, Any] = record.__dict__["minivoice"]
        if line["what"] in ("started", "account"):
            self._streams.setdefault(line["stream_id"], {}).update(line)
        if line["what"] != "message":
            at = 0.0 if self._began is None else trio.current_time() - self._began
            self._line(at, "receiver", line["log"], in_words(_short(line)))

    async def wait_for_accounts(self) -> None:
        """Wait until each stream that has begun has its last line, for a moment at most."""
        deadline = trio.current_time() + _A_MOMENT
        await trio.lowlevel.checkpoint()
        while any(line["what"] == "started" for line in self._streams.values()):  # noqa: ASYNC110
            if trio.current_time() > deadline:
                return
            await trio.sleep(0.02)

    def _line(self, at: float, side: str, who: str, text: str) -> None:
        self._show(f"{at:8.3f}  {side:<9}  {who:<8}  {text}")

    def complete(self, report: CallReport) -> CallReport:
        """Fill in what the receiver alone knows: what it received, and where it recorded it."""
        return dataclasses.replace(report, streams=[self._received(s) for s in report.streams])

    def _received(self, stream: StreamReport) -> StreamReport:
        for seen in self._streams.values():
            # One call, one stream: that of a dialect without stream ids can be no other.
            if seen.get("platform_stream_id") in (stream.stream_id, None):
                heard = seen.get("tracks", {})
                received = {track: Sums() for track in stream.sent} | {
                    track: Sums(sums["frames"], sums["received"]) for track, sums in heard.items()
                }
                return dataclasses.replace(
                    stream, received=received, recording=seen.get("recording")
                )
        return stream
