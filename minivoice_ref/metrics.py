"""Figures for Prometheus, at `/metrics`: what the receiver carries, and how well. An `Annex`.

    serve(app, config, annex=open_metrics)

Nothing is counted on the way of a frame. What the streams keep for themselves, their accounts, is
summed up when somebody asks: those that go on, and on top of them what those that have ended left
behind. Events, answers and endings are read off the lines of the logs. Two things have to be looked
at while they happen, and are, four times a second: how late the event loop turns, and how far each
`on_stream` is behind.

Names and units are as the Prometheus project recommends: seconds; `_total` for what only grows. No
label has a value that a peer may choose: an event of a name that is not documented is `other`.

With `--workers`, whichever worker is asked tells the figures of all (`metrics_workers.py`).

Open on loopback only, unless `metrics_auth` says what a scraper has to show. The text is written by
prometheus-client, which comes with the extra `metrics`. Read next: `metrics_workers.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import trio

from minivoice_ref._version import __version__
from minivoice_ref.net.front_door import Admission
from minivoice_ref.net.http import Request, Response, refuse_method
from minivoice_ref.net.proxies import read_address
from minivoice_ref.net.websocket import MediaSocket
from minivoice_ref.protocol.errors import MiniVoiceError
from minivoice_ref.protocol.webhooks import EVENTS, CallEvent
from minivoice_ref.receiver.annex import LiveStream
from minivoice_ref.receiver.disk import ThreadDisk
from minivoice_ref.receiver.entry import NotWelcome, check_credentials
from minivoice_ref.receiver.published import Published
from minivoice_ref.receiver.shared import Shared

try:
    from prometheus_client import CollectorRegistry, Histogram
    from prometheus_client import Counter as Total
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

    from minivoice_ref.metrics_workers import WorkersFigures
except ImportError:
    raise MiniVoiceError(
        "metrics are written by prometheus-client, which is not installed; "
        "install the extra: pip install 'minivoice-ref[metrics]'"
    ) from None

__all__ = ["Metrics", "open_metrics"]

_PATH = "/metrics"
_LOOK_EVERY = 0.25  # seconds
_AT_A_TIME = 50  # streams; a millisecond or so
_LATE = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # seconds, as below
_WAITS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BEHIND = (0.02, 0.04, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_GROWING = ("received", "silence", "repeated", "reordered", "late", "discarded")
_OUTCOMES = ("accepted", "duplicate", "refused", "not_stored", "handled", "failed", "set_aside")
_ANSWERS = ("answered", "invalid", "late", "failed", "refused")


def open_metrics(shared: Shared, stop: trio.Event) -> Metrics:
    """Make the metrics of a receiver that is about to open its doors; for `serve(annex=...)`."""
    del stop
    return Metrics(shared)


class Metrics:
    """See the essay above."""

    prefixes: tuple[str, ...] = (_PATH,)

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._streams = _Streams(shared)
        self._workers = _workers_figures(shared, self._look)
        registry = self._registry = CollectorRegistry()
        registry.register(self._streams)
        self._answers = Total(
            "minivoice_answers", "Requests to answer_url", ["outcome"], registry=registry
        )
        self._webhooks = Total(
            "minivoice_webhooks", "Webhooks", ["event", "outcome"], registry=registry
        )
        self._ended = Total(
            "minivoice_streams_ended", "Streams that are over", ["ending"], registry=registry
        )
        self._commit = Histogram(
            "minivoice_webhook_seconds",
            "From a webhook's arrival until it was safe",
            buckets=_WAITS,
            registry=registry,
        )
        self._handling = Histogram(
            "minivoice_event_seconds", "Runs of on_event", buckets=_WAITS, registry=registry
        )
        self._loop = Histogram(
            "minivoice_loop_lag_seconds",
            "How late the event loop turned",
            buckets=_LATE,
            registry=registry,
        )
        self._behind = Histogram(
            "minivoice_hand_over_seconds",
            "Audio of a stream that waits for on_stream, looked at four times a second",
            buckets=_BEHIND,
            registry=registry,
        )
        for outcome in _ANSWERS:  # so that each is there, as 0, before it happens
            self._answers.labels(outcome)

    # --- what the receiver tells ---

    async def run(self) -> None:
        """Look at what has to be looked at, until cancelled; show it to the other workers."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            if self._workers is not None:
                nursery.start_soon(self._workers.run)

    async def _watch(self) -> None:
        while True:
            due = trio.current_time() + _LOOK_EVERY
            await trio.sleep_until(due)
            self._loop.observe(max(0.0, trio.current_time() - due))
            for stream in self._streams.live:
                self._behind.observe(stream.behind())

    def line(self, line: Mapping[str, Any]) -> None:
        """Count what a line of the logs tells."""
        log, what = line["log"], line["what"]
        if log == "answers" and what in _ANSWERS:
            self._answers.labels(what).inc()
        elif log == "webhooks" and what in _OUTCOMES:
            event = line.get("event")
            self._webhooks.labels(event if event in EVENTS else "other", what).inc()
            if "seconds" in line:
                took = self._handling if what in ("handled", "failed") else self._commit
                took.observe(line["seconds"])
        elif log == "streams" and what == "disconnected":
            self._ended.labels(line["how"]).inc()

    def event(self, event: CallEvent) -> None:
        """Nothing: its line has come, or comes."""

    def opened(self, stream: LiveStream) -> None:
        """Look at a stream from now on."""
        self._streams.live.append(stream)

    def closed(self, stream: LiveStream) -> None:
        """Keep what a stream leaves behind."""
        self._streams.live.remove(stream)
        self._streams.left_behind.add(stream)

    # --- what the front door asks ---

    async def handle_request(self, request: Request) -> Response:
        """The figures, as text, in the form that the scraper understands."""
        await trio.lowlevel.checkpoint()
        if request.path != _PATH:
            return Response.problem(404)
        refusal = refuse_method(request, ("GET",))
        if refusal is not None:
            return refusal
        try:
            self._check(request)
        except NotWelcome as exc:
            return Response.problem(exc.status, headers=exc.headers)
        try:
            figures = await self._collect(summed="summed" in request.query_values)
        except OSError:
            return Response.problem(503)
        encode, content_type = choose_encoder(request.header("accept") or "")
        return Response(200, encode(_Found(figures)), (("Content-Type", content_type),))

    async def _collect(self, *, summed: bool) -> Iterable[Metric]:
        """Our figures, or those of all workers. Raises OSError where theirs cannot be read."""
        if self._workers is None:
            return await self._look()
        return await self._workers.collect(summed=summed)

    async def _look(self) -> Iterable[Metric]:
        """Our own figures."""
        await self._streams.look()
        return list(self._registry.collect())

    def _check(self, request: Request) -> None:
        wanted = self._shared.config.metrics_auth
        check_credentials(request, wanted)
        address = read_address(request.peer)
        if wanted is None and (address is None or not address.is_loopback):
            raise NotWelcome("without metrics_auth the figures are for this machine only", 403)

    async def admit(self, request: Request) -> Admission | Response:
        """There is no stream here."""
        await trio.lowlevel.checkpoint()
        return Response.problem(404)

    async def handle_stream(self, socket: MediaSocket, admission: Admission) -> None:
        """Never asked: `admit` lets nobody in."""
        raise AssertionError(admission)

    def note(self, kind: str, **fields: object) -> None:
        """Trouble with a connection is counted with the receiver's."""


def _workers_figures(
    shared: Shared, look: Callable[[], Awaitable[Iterable[Metric]]]
) -> WorkersFigures | None:
    """What shows the other workers our figures, if there are any."""
    if shared.process is None:
        return None
    published = Published(shared.config.data, shared.process, ThreadDisk(1))
    return WorkersFigures(published, shared.process, look)


class _Sums:
    """What streams received, by track, in samples and pieces, and by the message."""

    def __init__(self) -> None:
        self.samples: Counter[tuple[str, str]] = Counter()
        self.frames: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.plain: Counter[str] = Counter()

    def add(self, stream: LiveStream) -> None:
        """Add the sums of one stream."""
        state = stream.state()
        for track, sums in state["tracks"].items():
            self.frames[track] += sums["frames"]
            self.lost[track] += sums["lost"]
            for kind in _GROWING:
                self.samples[track, kind] += sums[kind]
        self.dropped.update(state["dropped"])
        for name in ("messages", "bytes", "gaps", "unknown"):
            self.plain[name] += state[name]
        self.plain["lagging"] += state["lagging"]

    def copy(self) -> _Sums:
        """The same sums, to be added to."""
        other = _Sums()
        for name, counter in vars(self).items():
            vars(other)[name] = counter.copy()
        return other


class _Found(CollectorRegistry):
    """Figures that are there already, for the encoder."""

    def __init__(self, figures: Iterable[Metric]) -> None:
        super().__init__()
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        """What was found."""
        return self._figures


class _Streams(Collector):
    """The sums over all streams, made when they are asked for."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.live: list[LiveStream] = []
        self.left_behind = _Sums()
        self._now = _Sums()

    async def look(self) -> None:
        """Sum up what `collect` tells, some streams at a time: the others' audio does not wait."""
        now = self.left_behind.copy()
        now.plain["lagging"] = 0
        for number, stream in enumerate(tuple(self.live), 1):  # also those that end meanwhile
            now.add(stream)
            if number % _AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
        self._now = now
        await trio.lowlevel.checkpoint()

    def collect(self) -> Iterable[Metric]:
        """All of it, for the registry."""
        now = self._now
        yield from self._levels(now)
        yield from self._audio(now)
        refused = CounterMetricFamily("minivoice_limited", "Refused by a limit", labels=["limit"])
        for limit, count in self._shared.overruns.counts.items():
            refused.add_metric([limit], count)
        yield refused
        for name, what in (("messages", "Messages"), ("bytes", "Bytes of messages")):
            yield CounterMetricFamily(
                f"minivoice_stream_{name}", f"{what} that streams brought", now.plain[name]
            )
        yield CounterMetricFamily("minivoice_gaps", "Holes in audio as it came", now.plain["gaps"])
        yield CounterMetricFamily(
            "minivoice_unknown_messages", "Not understood", now.plain["unknown"]
        )

    def _levels(self, now: _Sums) -> Iterable[Metric]:
        """What goes up and down."""
        shared = self._shared
        info = GaugeMetricFamily("minivoice_build", "The receiver", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for name, what, value in (
            ("streams", "Streams that go on", len(self.live)),
            ("streams_lagging", "Streams whose on_stream is behind", now.plain["lagging"]),
            ("calls", "Calls that are remembered", len(shared.calls)),
            (
                "inbox_failing",
                "Whether webhooks cannot be kept",
                shared.commons.trouble is not None,
            ),
            ("draining", "Whether nobody new is let in", shared.stop.is_set()),
        ):
            yield GaugeMetricFamily(f"minivoice_{name}", what, float(value))

    def _audio(self, now: _Sums) -> Iterable[Metric]:
        """What became of the audio, by track."""
        samples = CounterMetricFamily(
            "minivoice_samples", "Samples of audio, by the account", labels=["track", "kind"]
        )
        for (track, kind), count in now.samples.items():
            samples.add_metric([track, kind], count)
        yield samples
        lost = GaugeMetricFamily(
            "minivoice_lost_samples", "Never came, or not yet: falls by late ones", labels=["track"]
        )
        frames = CounterMetricFamily("minivoice_frames", "Pieces of audio", labels=["track"])
        dropped = CounterMetricFamily(
            "minivoice_dropped_samples", "Dropped, as on_stream was behind", labels=["track"]
        )
        for track, count in now.frames.items():
            frames.add_metric([track], count)
            lost.add_metric([track], now.lost[track])
            dropped.add_metric([track], now.dropped[track])
        yield from (frames, lost, dropped)
