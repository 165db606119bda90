"""The figures of several workers at one door: each with its name on it, or summed up.

A scrape reaches whichever worker the kernel chooses. So each shows the others its figures every two
seconds (`receiver/published.py`), and who is asked adds its own, as they are just then, to what the
others have shown.

    /metrics           each sample as its worker has it, with the label `worker`
    /metrics?summed    what only grows is added up, also from the lives of workers that have died:
                       a sum that fell by what a dead worker had counted would seem to have begun
                       anew, and all that the others have counted would be counted once more

Levels are summed of the living; what is a flag is up where it is up anywhere. How late the event
loop turns is a worker's own affair, and is in no sum. `minivoice_workers` says of how many workers
a sum speaks, `minivoice_figures_age_seconds` how old each one's figures are. What a worker that was
killed had counted since it last showed its figures is lost.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

import trio
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from minivoice_ref.receiver.published import Published, Shown

__all__ = ["WorkersFigures"]

_EVERY = 2.0  # seconds
_GROWING = ("counter", "histogram")
_FLAGS = ("minivoice_build", "minivoice_inbox_failing", "minivoice_draining")
_OWN = ("minivoice_loop_lag_seconds",)

Families: TypeAlias = Sequence[Any]
"""As JSON has them, of each family: name, help, type, and of each sample: name, labels, value."""


class WorkersFigures:
    """The figures of all workers, as one of them. *look* has its own figures looked at."""

    def __init__(
        self, published: Published, name: str, look: Callable[[], Awaitable[Iterable[Metric]]]
    ) -> None:
        self._published = published
        self._name = name
        self._look = look
        left = published.left or {"now": [], "before": []}
        self._before = _added_up([left["now"], left["before"]], _GROWING)

    async def run(self) -> None:
        """Show the others our figures, again and again, until cancelled."""
        await trio.lowlevel.checkpoint()
        while True:
            with suppress(OSError):
                # What lies there is of the one who had our name before: no living one's figures.
                await self._publish(_plain(await self._look()))
                with self._published.alive():
                    await self._keep_showing()
            await trio.sleep(_EVERY)

    async def _keep_showing(self) -> None:
        await trio.lowlevel.checkpoint()
        while True:
            await trio.sleep(_EVERY)
            with suppress(OSError):  # then the age tells
                await self._publish(_plain(await self._look()))

    async def collect(self, *, summed: bool) -> Iterable[Metric]:
        """The figures of all. Raises OSError where those of the others cannot be read."""
        now = _plain(await self._look())
        with suppress(OSError):
            await self._publish(now)
        shown = await self._published.shown()
        document = {"now": now, "before": self._before}
        shown[self._name] = Shown(document, alive=True, age=0.0)  # also where the disk is full
        return _sums(shown) if summed else _apart(shown)

    async def _publish(self, now: Families) -> None:
        await self._published.publish({"now": now, "before": self._before})


def _plain(metrics: Iterable[Metric]) -> Families:
    """Metrics as JSON can have them, without the times at which each began."""
    return [
        (
            metric.name,
            metric.documentation,
            metric.type,
            [(s.name, s.labels, s.value) for s in metric.samples if s.name[-8:] != "_created"],
        )
        for metric in metrics
    ]


def _metrics(families: Families) -> Iterable[Metric]:
    """What `_plain` has been made of."""
    for name, what, kind, samples in families:
        metric = Metric(name, what, kind)
        for sample in samples:
            metric.add_sample(*sample)
        yield metric


def _added_up(lives: Iterable[Families], kinds: Collection[str]) -> Families:
    """The families of some *kinds*, their samples added up by name and labels."""
    sums: dict[str, tuple[str, str, dict[Any, Any]]] = {}
    for name, what, kind, samples in chain.from_iterable(lives):
        if kind in kinds and name not in _OWN:
            _, _, found = sums.setdefault(name, (what, kind, {}))
            add = max if name in _FLAGS else operator.add
            for sample, labels, value in samples:
                key = sample, tuple(sorted(labels.items()))
                found[key] = add(found.get(key, 0), value)
    return [
        (name, what, kind, [(sample, dict(labels), n) for (sample, labels), n in found.items()])
        for name, (what, kind, found) in sums.items()
    ]


def _sums(shown: Mapping[str, Shown]) -> Iterable[Metric]:
    """One set of figures of all."""
    documents = [one.document for one in shown.values()]
    alive = [one.document["now"] for one in shown.values() if one.alive]
    lives = [document[when] for document in documents for when in ("now", "before")]
    yield from _metrics(_added_up(alive, ("gauge",)))
    yield from _metrics(_added_up(lives, _GROWING))
    yield GaugeMetricFamily("minivoice_workers", "Of how many workers this speaks", len(alive))


def _apart(shown: Mapping[str, Shown]) -> Iterable[Metric]:
    """The figures of each living worker, with its name as a label."""
    families: dict[str, Metric] = {}
    ages = GaugeMetricFamily(
        "minivoice_figures_age_seconds", "How old a worker's figures are", labels=["worker"]
    )
    for worker, one in shown.items():
        if not one.alive:
            continue
        ages.add_metric([worker], one.age)
        for metric in _metrics(one.document["now"]):
            of_all = families.setdefault(metric.name, Metric(*_described(metric)))
            for sample in metric.samples:
                of_all.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
    return [*families.values(), ages]


def _described(metric: Metric) -> tuple[str, str, str]:
    return metric.name, metric.documentation, metric.type
