"""`/metrics` of several workers: whichever is asked tells of all, apart or summed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio
from cluster_lab import Lab, Node, children, until
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

SECRET = "Bearer let-me-see-the-figures"
GIVEN = ("Authorization", SECRET)
WORKERS = {"worker-1", "worker-2"}
LAG = ("minivoice_loop_lag_seconds_count",)
ACCEPTED = ("minivoice_webhooks_total", ("event", "call.completed"), ("outcome", "accepted"))


@asynccontextmanager
async def machine(folder: Path, **environ: str) -> AsyncIterator[Node]:
    """Two workers that have heard of each other's figures."""
    given = {"MINIVOICE_METRICS": "1", "MINIVOICE_METRICS_AUTH": SECRET, "MINIVOICE_WORKERS": "2"}
    async with Lab(folder, given | environ).node("machine") as node:
        with trio.fail_after(20):
            while (await summed(node))["minivoice_workers",] < 2:  # noqa: ASYNC110  # theirs
                await trio.sleep(0.1)
        yield node


async def samples(node: Node, query: str = "") -> list[Sample]:
    response = await node.request("GET", f"/metrics{query}", None, GIVEN)
    assert response.status == 200
    return [s for family in parse_text(response.body.decode()) for s in family.samples]


async def summed(node: Node) -> dict[tuple[object, ...], float]:
    """Each sum by the sample's name and labels; of each there is one."""
    found = [((s.name, *sorted(s.labels.items())), s.value) for s in await samples(node, "?summed")]
    assert len(dict(found)) == len(found)
    return dict(found)


async def apart(node: Node) -> tuple[str, dict[str, dict[tuple[object, ...], float]]]:
    """Who was asked, and each worker's figures by the sample's name and its other labels."""
    workers: dict[str, dict[tuple[object, ...], float]] = {}
    for sample in await samples(node):
        labels = dict(sample.labels)
        mine = workers.setdefault(labels.pop("worker"), {})
        key = (sample.name, *sorted(labels.items()))
        assert key not in mine
        mine[key] = sample.value
    ages = {name: mine["minivoice_figures_age_seconds",] for name, mine in workers.items()}
    assert all(0 <= age < 10 for age in ages.values())
    return min(ages, key=lambda name: ages[name]), workers


def total(workers: dict[str, dict[tuple[object, ...], float]], key: tuple[object, ...]) -> float:
    return sum(mine.get(key, 0) for mine in workers.values())


async def test_whichever_worker_is_asked_tells_of_all_apart_and_summed(tmp_path: Path) -> None:
    async with machine(tmp_path) as node, AsyncExitStack() as streams:
        for number in range(20):
            assert await node.deliver("call.completed", f"call_{number}") == 200
        for number in range(6):
            await streams.enter_async_context(node.stream(f"live_{number}"))
        asked: set[str] = set()
        with trio.fail_after(20):
            await trio.lowlevel.checkpoint()
            while asked != WORKERS:  # each has to tell it
                who, workers = await apart(node)
                if (total(workers, ACCEPTED), total(workers, ("minivoice_streams",))) == (20, 6):
                    asked.add(who)
                await trio.sleep(0.05)
        sums = await summed(node)
        assert set(workers) == WORKERS
        assert all(workers[name][ACCEPTED] > 0 for name in WORKERS), "the kernel deals them out"
        assert sums[ACCEPTED] == sums["minivoice_webhook_seconds_count",] == 20
        assert sums["minivoice_webhook_seconds_bucket", ("le", "+Inf")] == 20
        assert (sums["minivoice_streams",], sums["minivoice_workers",]) == (6, 2)
        assert [value for (name, *_), value in sums.items() if name == "minivoice_build"] == [1]
        assert LAG in workers["worker-1"] and LAG not in sums


async def test_a_sum_does_not_fall_when_a_worker_dies_and_its_successor_begins_at_nothing(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as node:
        for number in range(24):
            assert await node.deliver("call.completed", f"call_{number}") == 200
        asked: dict[str, Counter[str]] = {}
        with trio.fail_after(20):
            await trio.lowlevel.checkpoint()
            while set(asked) != WORKERS:  # then each has shown what it has counted
                who, workers = await apart(node)
                if total(workers, ACCEPTED) == 24:
                    asked[who] = Counter({name: int(workers[name][ACCEPTED]) for name in workers})
                await trio.sleep(0.05)
        victim = "worker-1"
        killed = (await pids(node))[victim]
        os.kill(killed, signal.SIGKILL)
        with trio.fail_after(40):
            # Its parent has buried it, so its doors are closed as well.
            await until(lambda: killed not in children(node.process.pid))
            while True:
                sums = await summed(node)
                assert sums[ACCEPTED] == sums["minivoice_webhook_seconds_count",] == 24
                _, workers = await apart(node)
                if set(workers) == WORKERS:
                    break
                assert set(workers) == WORKERS - {victim} and sums["minivoice_workers",] == 1
                await trio.sleep(0.05)
        assert ACCEPTED not in workers[victim]
        assert workers["worker-2"][ACCEPTED] == asked["worker-2"]["worker-2"]
        assert await node.deliver("call.completed", "call_after") == 200
        with trio.fail_after(20):
            while (await summed(node))[ACCEPTED] != 25:  # noqa: ASYNC110  # another process's
                await trio.sleep(0.1)
    async with machine(tmp_path) as node:  # the whole begins anew
        assert ACCEPTED not in await summed(node)


async def pids(node: Node) -> dict[str, int]:
    """The process of each worker, as another one has heard it."""
    heard: dict[str, int] = {}
    await trio.lowlevel.checkpoint()
    while set(heard) != WORKERS:
        others = (await node.health())["others"]
        heard.update((name, other["pid"]) for name, other in others.items())
        await trio.sleep(0.05)
    return heard


async def test_the_official_parsers_read_both_in_both_forms(tmp_path: Path) -> None:
    wanted = ("Accept", "application/openmetrics-text; version=1.0.0")
    async with machine(tmp_path) as node:
        assert await node.deliver("call.completed", "call_1") == 200
        for query in ("", "?summed"):
            response = await node.request("GET", f"/metrics{query}", None, GIVEN, wanted)
            found = list(parse_openmetrics(response.body.decode()))  # type: ignore[no-untyped-call]
            types = {family.name: family.type for family in found}
            assert types["minivoice_webhooks"] == "counter"
            assert types["minivoice_webhook_seconds"] == "histogram"
            assert types["minivoice_streams"] == "gauge"


async def test_figures_that_cannot_be_shown_stop_nothing_and_their_age_tells(
    tmp_path: Path,
) -> None:
    async with machine(tmp_path) as node:
        # So the disk refuses what one worker would show.
        (tmp_path / "machine" / "figures.worker-1.new").mkdir()
        with trio.fail_after(20):
            while True:
                who, workers = await apart(node)
                ages = {n: mine["minivoice_figures_age_seconds",] for n, mine in workers.items()}
                if who == "worker-2" and max(ages.values()) > 3:
                    break
                await trio.sleep(0.1)
        assert all(mine["minivoice_streams",] == 0 for mine in workers.values())
        broken = tmp_path / "machine" / "figures.worker-3.json"
        broken.mkdir()  # and what one has shown cannot be read
        assert (await node.request("GET", "/metrics", None, GIVEN)).status == 503
        broken.rmdir()
        assert len(await samples(node)) > 50
