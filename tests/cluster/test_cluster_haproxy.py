"""Three nodes behind HAProxy: sixty calls, and one node killed in the midst of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from cluster_lab import Lab, Node, free_port, needs_redis, redis_server, until
from netns_lab import machines, why_none

from minivoice_ref.certificates import Certificates, make_certificates

pytestmark = [
    needs_redis,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

SHIPPED = Path(__file__).parent.parent.parent / "examples" / "deploy" / "haproxy-cluster.cfg"
PLACES = ("10.0.0.7:8080", "10.0.0.8:8080", "10.0.0.9:8080")


def started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@asynccontextmanager
async def haproxy(
    folder: Path, port: int, files: Certificates, nodes: list[Node]
) -> AsyncIterator[None]:
    """HAProxy before some nodes, while the block runs."""
    pem = folder / "cert-and-key.pem"
    pem.write_bytes(files.cert.read_bytes() + files.key.read_bytes())
    addresses = [node.base.removeprefix("http://") for node in nodes]
    text = SHIPPED.read_text("utf-8")
    for old, new in (
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/ssl/minivoice/cert-and-key.pem", str(pem)),
        ("maxconn 40000", "maxconn 1000"),
        ("log /dev/log local0", "log stdout format raw local0"),
        *((f" {old}\n", f" {new}\n") for old, new in zip(PLACES, addresses, strict=True)),
    ):
        assert old in text
        text = text.replace(old, new)
    path = folder / "haproxy.cfg"
    path.write_text(text)
    process = started(["haproxy", "-db", "-f", str(path)])
    try:
        with trio.fail_after(20):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                except OSError:
                    await trio.sleep(0.05)
                else:
                    await stream.aclose()
                    break
        yield
    finally:
        process.kill()
        process.wait(10)


async def load(url: str, files: Certificates, rate: int = 12) -> dict[str, Any]:
    """Sixty calls, each of which streams for some seconds; what the simulator says of them."""
    command = [sys.executable, "-m", "minivoice_ref", "load", "--json", "--ca", str(files.ca)]
    command += ["--calls", "60", "--rate", str(rate), "--speak", "3", "--close-within", "20"]
    command += ["--retry-first", "0.5", "--response-within", "10"]
    command += ["--answer-url", f"{url}/answer", "--webhook-url", f"{url}/webhooks"]
    run = partial(trio.run_process, capture_stdout=True, check=False)
    with trio.fail_after(120):
        ended = await run(command)
    document = json.loads(ended.stdout)
    assert isinstance(document, dict)
    return document


@dataclass(frozen=True)
class Place:
    """Where a node runs: its own address, that of Redis, and what goes before its command."""

    address: str = "127.0.0.1"
    redis: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


@pytest.fixture(params=["ports", "namespaces"])
def places(request: pytest.FixtureRequest) -> Iterator[list[Place]]:
    """Three places: ports of this machine, and machines of their own where that can be had."""
    if request.param == "ports":
        yield [Place()] * 3
    elif (why := why_none()) is not None:
        pytest.skip(why)
    else:
        with machines(3) as made:
            yield [Place(machine.address, machine.redis, machine.prefix) for machine in made]


@asynccontextmanager
async def three_nodes(
    folder: Path, url: str, places: list[Place], lease: int
) -> AsyncIterator[tuple[Lab, list[Node]]]:
    """Three nodes with a Redis."""
    options = ("--bind", "*", "--protected-mode", "no") if places[0].prefix else ()
    with redis_server(folder / "redis", *options) as redis:
        environ = {
            "MINIVOICE_TIMEOUTS_LEASE": str(lease),
            "MINIVOICE_PUBLIC_URL": url,
            "MINIVOICE_TIMEOUTS_LINGER": "2",
            "MINIVOICE_INSECURE": "1",
        }
        lab = Lab(folder, environ)
        async with AsyncExitStack() as stack:
            nodes = []
            for number, place in enumerate(places):
                own = {
                    "MINIVOICE_LISTEN": f"{place.address}:0",
                    "MINIVOICE_CLUSTER": f"redis://{place.redis}:{redis.port}",
                }
                node = lab.node(f"node-{number}", *place.prefix, **own)
                nodes.append(await stack.enter_async_context(node))
            yield lab, nodes
            await until(lambda: redis.cli("XLEN", "{minivoice}:events") == "0", 40)


def all_passed(said: dict[str, Any]) -> bool:
    """Whether all calls passed; where the simulator itself was too slow, deadlines tell nothing."""
    return said["calls"]["passed"] == 60 or not said["simulator"]["kept_time"]


def accepted(nodes: list[Node]) -> set[tuple[str, str]]:
    """Every event that was acknowledged as new, by any node."""
    return {
        (line["call_id"], line["event"])
        for node in nodes
        for line in node.lines("webhooks", "accepted")
    }


@asynccontextmanager
async def behind_haproxy(
    folder: Path, places: list[Place], lease: int = 3
) -> AsyncIterator[tuple[Lab, list[Node], str, Certificates]]:
    """Three nodes behind HAProxy, whose URL they give to the platform."""
    files, port = make_certificates(folder / "certs"), free_port()
    url = f"https://localhost:{port}"
    async with three_nodes(folder, url, places, lease) as (lab, nodes):
        async with haproxy(folder, port, files, nodes):
            yield lab, nodes, url, files


def nodes_of(nodes: list[Node], log: str, what: str, **like: str) -> dict[str, str]:
    """Which node wrote a line of each call."""
    return {
        line["call_id"]: node.name
        for node in nodes
        for line in node.lines(log, what)
        if all(line.get(name) == value for name, value in like.items())
    }


async def test_sixty_calls_land_anywhere_and_every_event_is_handled_once(
    tmp_path: Path, places: list[Place]
) -> None:
    async with behind_haproxy(tmp_path, places) as (lab, nodes, url, files):
        said = await load(url, files)
        assert said["calls"]["completed"] == 60 and said["webhooks"]["given_up"] == 0
        assert all_passed(said), said["failures"]
        await until(lambda: len(nodes_of(nodes, "streams", "account")) == 60)
        # As many as the platform has seen acknowledged, each once.
        await until(lambda: len(lab.told("handled")) == said["webhooks"]["sent"])
        assert set(lab.told("begun").values()) == set(lab.told("handled").values()) == {1}
        await until(lambda: set(lab.told("handled")) == accepted(nodes))
        streams = nodes_of(nodes, "streams", "account")
        ends = nodes_of(nodes, "webhooks", "accepted", event="call.completed")
        assert len(streams) == len(ends) == 60
        assert set(streams.values()) == set(ends.values()) == {"node-0", "node-1", "node-2"}
        assert any(streams[call_id] != ends[call_id] for call_id in ends)


def ended(lab: Lab) -> int:
    """Of how many calls the end was handled."""
    return len([call for call, event in lab.told("handled") if event == "call.completed"])


async def test_a_node_that_is_killed_takes_its_streams_with_it_and_nothing_else(
    tmp_path: Path, places: list[Place]
) -> None:
    async with behind_haproxy(tmp_path, places) as (lab, nodes, url, files):
        said: dict[str, Any] = {}

        async def call() -> None:
            said.update(await load(url, files))

        victim = nodes[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await until(lambda: len(nodes_of(nodes, "streams", "started")) >= 25, 60)
            victim.process.kill()
        # Each call went on to its end, each of its events was acknowledged, and each was handled.
        assert said["calls"]["completed"] == 60 and said["webhooks"]["given_up"] == 0
        await until(lambda: ended(lab) == 60, 30)
        await until(lambda: len(lab.told("handled")) == said["webhooks"]["sent"])
        await until(lambda: accepted(nodes) <= set(lab.told("handled")), 30)
        pid = str(victim.process.pid)
        interrupted = {(call, event) for who, call, event in lab.by_node("begun") if who == pid}
        twice = {key for key, count in lab.told("begun").items() if count > 1}
        assert twice <= interrupted
        opened = set(nodes_of(nodes[1:], "streams", "open"))
        await until(lambda: set(nodes_of(nodes[1:], "streams", "account")) == opened)
        assert len(opened) > 20


async def test_a_machine_that_is_cut_off_from_redis_for_ten_seconds_costs_no_call_and_no_event(
    tmp_path: Path,
) -> None:
    if (why := why_none()) is not None:
        pytest.skip(why)
    with machines(3) as made:
        places = [Place(machine.address, machine.redis, machine.prefix) for machine in made]
        async with behind_haproxy(tmp_path, places, lease=18) as (lab, nodes, url, files):
            said: dict[str, Any] = {}

            async def call() -> None:
                said.update(await load(url, files, rate=5))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await until(lambda: len(nodes_of(nodes, "streams", "started")) >= 10, 60)
                made[0].cut()
                await trio.sleep(10)
                made[0].mend()
            assert said["calls"]["completed"] == 60 and all_passed(said), said["failures"]
            await until(lambda: len(nodes_of(nodes, "streams", "account")) == 60)
            assert said["webhooks"]["given_up"] == 0
            assert nodes[0].lines("webhooks", "inbox"), "it was cut off and has said so"
            await until(lambda: len(lab.told("handled")) == said["webhooks"]["sent"], 40)
            assert set(lab.told("begun").values()) == set(lab.told("handled").values()) == {1}
            with trio.fail_after(20):
                await nodes[0].accepted("call.completed", "call_after")
