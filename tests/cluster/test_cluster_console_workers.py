"""The console of several workers: whoever looks at any of them sees and hears the calls of all."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from cluster_lab import Lab, Node, until
from watching_lab import CONSOLE, TOKEN, Onlooker, as_sent, onlooker, speak

WORKERS = {"worker-1", "worker-2"}


@asynccontextmanager
async def two_workers(folder: Path, **environ: str) -> AsyncIterator[tuple[Node, trio.Event]]:
    """A receiver of two workers with a console, each with a call that speaks.

    Until the event is set: then they are quiet.
    """
    hush = trio.Event()
    lab = Lab(folder, {"MINIVOICE_WORKERS": "2", **CONSOLE, **environ})
    async with lab.node("machine") as node, trio.open_nursery() as nursery:
        async with AsyncExitStack() as stack:
            for number in range(40):  # the kernel chooses the worker
                if {line["node"] for line in node.lines("streams", "open")} == WORKERS:
                    break
                caller = await stack.enter_async_context(node.stream(f"call_{number}"))
                nursery.start_soon(speak, caller, hush)
                await until(lambda so_far=number + 1: started(node) == so_far)  # type: ignore[misc]
            yield node, hush
            nursery.cancel_scope.cancel()


def started(node: Node) -> int:
    return len(node.lines("streams", "started"))


def call_at(node: Node, worker: str) -> str:
    """The call whose stream is at a worker, of those with one stream the first."""
    found = (one for one in node.lines("streams", "open") if one["node"] == worker)
    return str(next(found)["call_id"])


@asynccontextmanager
async def onlooker_at(node: Node, worker: str, **wants: object) -> AsyncIterator[Onlooker]:
    """Somebody who looks at a worker; which one it is, the kernel chooses."""
    for _ in range(40):
        async with onlooker(node, calls=True) as found:
            await until(lambda found=found: found.here)  # type: ignore[misc]
            if found.here == worker:
                await found.look(calls=True, **wants)
                yield found
                return
    raise AssertionError(f"the kernel never chose {worker}")


def is_live(looking: Onlooker, call_id: str) -> bool:
    return bool(looking.card(call_id).get("live"))


def arrives(looking: Onlooker, call_id: str) -> bool:
    """Whether the steps as far as the media are green, and the level meter is out."""
    card = looking.card(call_id)
    states = [step["state"] for step in card["steps"][:4]]
    return states == 4 * ["ok"] and looking.levels.get(str(card["key"]), {}).get("inbound", 0) > 0


def knows_both(looking: Onlooker) -> bool:
    return set(looking.nodes) == WORKERS


async def test_at_either_worker_the_calls_of_both_are_seen_live(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (node, _):
        calls = {worker: call_at(node, worker) for worker in WORKERS}
        async with (
            onlooker_at(node, "worker-1") as first,
            onlooker_at(node, "worker-2") as second,
        ):
            for looking in (first, second):
                for worker, call_id in calls.items():
                    await until(partial(is_live, looking, call_id))
                    assert looking.card(call_id)["nodes"] == [worker]
                    await until(partial(arrives, looking, call_id))
                await until(partial(knows_both, looking))


async def test_a_call_at_another_worker_is_looked_at_and_heard_as_it_was_spoken(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path) as (node, hush):
        call_id = call_at(node, "worker-2")
        async with onlooker_at(node, "worker-1") as looking:
            await until(lambda: looking.card(call_id).get("live"))
            await looking.look(call=call_id, listen=True)
            await until(lambda: len(looking.samples) > 100)
            places = sorted(looking.samples)
            assert as_sent(looking.samples)
            assert places == list(range(places[0], places[-1] + 1, 160))  # none is missing
            await until(lambda: looking.call["streams"])
            (stream,) = looking.call["streams"]
            assert stream["tracks"]["inbound"]["received"] > 100 and stream["coming"]["inbound"]
            assert len(looking.peaks) > 50 and max(looking.peaks) > 100
            assert {"answered", "open", "started", "first_media"} <= {
                line["what"] for line in looking.lines
            }
            # The webhook that ends it comes to some worker; the call ends for all to see.
            hush.set()
            assert await node.deliver("call.completed", call_id) == 200
            await until(lambda: looking.call["card"]["over"])
            whats = [line["what"] for line in looking.lines]
            assert {"accepted", "disconnected", "account"} <= set(whats)
            assert len([what for what in whats if what == "account"]) == 1
        (listening,) = node.lines("streams", "listening")
        assert (listening["node"], listening["call_id"]) == ("worker-1", call_id)


async def test_the_logs_of_all_workers_come_together(tmp_path: Path) -> None:
    async with (
        two_workers(tmp_path) as (node, _),
        onlooker_at(node, "worker-1", logs=True) as looking,
    ):
        await until(lambda: {line.get("node") for line in looking.logged} == WORKERS)
        for number in range(20):
            assert await node.deliver("call.created", f"call_{number}") == 200
        await until(
            lambda: sum(line["what"] == "accepted" for line in looking.logged) == 20
            and len({line["node"] for line in looking.logged if line["what"] == "accepted"}) == 2
        )
        kept = [(line["time"], line["what"]) for line in looking.logged]
        assert len(kept) == len(set(kept))


async def test_a_worker_that_is_killed_takes_its_calls_with_it_and_the_page_says_so(
    tmp_path: Path,
) -> None:
    async with two_workers(tmp_path) as (node, _):
        calls = {worker: call_at(node, worker) for worker in WORKERS}
        pids = {name: one["pid"] for name, one in (await all_of(node)).items()}
        async with onlooker_at(node, "worker-1") as looking:
            await until(lambda: looking.card(calls["worker-2"]).get("live"))
            os.kill(pids["worker-2"], signal.SIGKILL)
            await until(lambda: looking.card(calls["worker-2"])["gone"] == "worker-2", 10)
            assert not looking.card(calls["worker-2"])["live"]
            assert looking.card(calls["worker-1"])["live"]
            assert looking.card(calls["worker-1"])["gone"] is None
            await until(partial(knows_both, looking))  # another was started in its place
        # Who comes to the one that was started in its place is told the same.
        async with onlooker_at(node, "worker-2") as looking:
            await until(lambda: looking.card(calls["worker-2"]).get("gone") == "worker-2")
            await until(lambda: looking.card(calls["worker-1"]).get("live"))


async def all_of(node: Node) -> dict[str, dict[str, Any]]:
    """How all workers are, by what they say of each other."""
    told: dict[str, dict[str, Any]] = {}
    with trio.fail_after(30):
        await trio.lowlevel.checkpoint()
        while set(told) != WORKERS:
            told |= (await node.health())["others"]
    return told


async def test_the_recording_of_a_call_at_another_worker_can_be_had(tmp_path: Path) -> None:
    async with two_workers(tmp_path, MINIVOICE_RECORD="1") as (node, hush):
        call_id = call_at(node, "worker-2")
        hush.set()
        assert await node.deliver("call.completed", call_id) == 200
        await until(lambda: node.lines("streams", "account"))
        (account,) = node.lines("streams", "account")
        wav = Path(account["recording"]).read_bytes()
        for _ in range(12):  # whichever worker is asked
            answer = await node.request(
                "GET",
                f"/console/recordings/{account['stream_id']}",
                None,
                ("Authorization", f"Bearer {TOKEN}"),
            )
            assert answer.body == wav
        refused = await node.request("GET", f"/console/recordings/{account['stream_id']}")
        assert refused.status == 401


async def test_the_way_between_the_workers_is_for_their_user_alone(tmp_path: Path) -> None:
    async with two_workers(tmp_path) as (node, _):
        ways = sorted(node.data.glob("*.talk"))
        assert [way.name for way in ways] == ["worker-1.talk", "worker-2.talk"]
        assert {stat.S_IMODE(way.stat().st_mode) for way in ways} == {0o600}
    assert not list(node.data.glob("*.talk"))
