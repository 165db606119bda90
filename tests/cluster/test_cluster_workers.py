"""`--workers`: one receiver in several processes of one machine."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio
from cluster_lab import PROGRAM, Lab, Node, children, free_port, until

from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.receiver.workers import listen_shared


def lab(folder: Path, workers: int = 2) -> Lab:
    return Lab(folder, {"MINIVOICE_WORKERS": str(workers)})


async def all_answer(node: Node, names: set[str]) -> None:
    """Wait until each of some workers answers, and hears of all the others."""
    heard: set[str] = set()
    with trio.fail_after(30):
        await trio.lowlevel.checkpoint()
        while heard != names:
            health = await node.health()
            if {health["node"], *health["others"]} == names:
                heard.add(health["node"])
            await trio.sleep(0.05)


async def test_each_worker_has_the_same_doors_and_says_how_all_are(tmp_path: Path) -> None:
    async with lab(tmp_path, 3).node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2", "worker-3"})
        assert len(children(node.process.pid)) == 3
        health = await node.health()
        assert {other["status"] for other in health["others"].values()} == {"ok"}
        node.process.send_signal(signal.SIGTERM)
        with trio.fail_after(20):
            assert await node.process.wait() == 0


async def test_a_webhook_may_come_to_any_worker_and_is_handled_once(tmp_path: Path) -> None:
    workers = lab(tmp_path)
    calls = [f"call_{number}" for number in range(30)]
    async with workers.node("machine") as node:
        for _ in range(3):  # duplicates, each on a connection of its own
            for call_id in calls:
                assert await node.deliver("call.completed", call_id) == 200
        await until(lambda: len(workers.told("handled")) == len(calls))
        assert len({pid for pid, _, _ in workers.by_node("handled")}) == 2
    assert workers.told("handled") == dict.fromkeys(
        ((call_id, "call.completed") for call_id in calls), 1
    )
    assert len(node.lines("webhooks", "duplicate")) == 60


async def test_a_call_that_ends_at_one_worker_ends_its_streams_at_the_others(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path).node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2"})
        for number in range(8):
            call_id = f"call_{number}"
            async with node.stream(call_id) as caller:
                await until(lambda call_id=call_id: started(node, call_id))  # type: ignore[misc]
                began = trio.current_time()
                assert await node.deliver("call.completed", call_id) == 200
                with trio.fail_after(2):
                    assert await caller.close_code() == 1000
                assert trio.current_time() - began < 0.05 + 0.5 + 0.3  # linger, notice, machine
    assert len({account["call_id"] for account in node.lines("streams", "account")}) == 8


def started(node: Node, call_id: str) -> bool:
    return any(line["call_id"] == call_id for line in node.lines("streams", "started"))


async def test_a_stream_that_begins_after_its_calls_end_elsewhere_ends_too(tmp_path: Path) -> None:
    async with lab(tmp_path).node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2"})
        for number in range(4):
            assert await node.deliver("call.completed", f"call_{number}") == 200
            async with node.stream(f"call_{number}") as caller:
                with trio.fail_after(3):
                    assert await caller.close_code() == 1000


async def test_a_token_has_two_live_streams_wherever_they_are(tmp_path: Path) -> None:
    async with lab(tmp_path).node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2"})
        for number in range(4):
            call_id = f"call_{number}"
            url = await node.stream_url(call_id)
            async with node.stream(call_id, url), node.stream(call_id, url):
                for _ in range(3):
                    with pytest.raises(UpgradeRefused, match="429"):
                        async with node.stream(call_id, url):
                            pass
    again = node.lines("streams", "opened_again")
    assert {(line["call_id"], line["nth"]) for line in again} >= {
        (f"call_{number}", 2) for number in range(4)
    }


async def test_what_a_killed_worker_was_handling_another_handles_and_a_new_one_comes(
    tmp_path: Path,
) -> None:
    workers = lab(tmp_path)
    async with workers.node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2"})
        for number in range(6):
            assert await node.deliver("call.completed", f"held-{number}") == 200
        await until(lambda: len(workers.told("begun")) == 6)
        victim = int(workers.by_node("begun")[0][0])
        interrupted = {(c, e) for pid, c, e in workers.by_node("begun") if int(pid) == victim}
        os.kill(victim, signal.SIGKILL)
        with trio.fail_after(20):
            await node.accepted("call.completed", "call_after")
        workers.let_go()
        await until(lambda: len(workers.told("handled")) == 7)
        # Twice begun is only what the kill interrupted.
        twice = {key for key, count in workers.told("begun").items() if count > 1}
        assert twice == interrupted and set(workers.told("handled").values()) == {1}
        await all_answer(node, {"worker-1", "worker-2"})
        assert victim not in children(node.process.pid)


async def test_a_worker_that_cannot_be_started_again_is_tried_until_it_can(tmp_path: Path) -> None:
    async with lab(tmp_path).node("machine") as node:
        await all_answer(node, {"worker-1", "worker-2"})
        victim, other = children(node.process.pid)
        files = resource.RLIMIT_NOFILE
        before = resource.prlimit(node.process.pid, files)
        resource.prlimit(node.process.pid, files, (3, before[1]))
        os.kill(victim, signal.SIGKILL)
        await until(lambda: children(node.process.pid) == [other])
        await trio.sleep(1)
        with trio.fail_after(10):
            await node.accepted("call.completed", "call_1")
        resource.prlimit(node.process.pid, files, before)
        await all_answer(node, {"worker-1", "worker-2"})
        assert other in children(node.process.pid)


async def test_an_event_that_kills_its_workers_is_set_aside_and_the_others_are_handled(
    tmp_path: Path,
) -> None:
    workers = Lab(tmp_path, {"MINIVOICE_WORKERS": "2", "MINIVOICE_EVENT_ATTEMPTS": "2"})
    async with workers.node("machine") as node:
        assert await node.deliver("call.completed", "deadly-1") == 200
        await until(lambda: node.lines("webhooks", "set_aside"), 40)
        assert workers.told("begun")["deadly-1", "call.completed"] == 2
        with trio.fail_after(30):
            await all_answer(node, {"worker-1", "worker-2"})
        assert await node.deliver("call.completed", "call_1") == 200
        await until(lambda: workers.told("handled")["call_1", "call.completed"] == 1)


async def test_sighup_reaches_every_worker_and_the_second_sigterm_insists(tmp_path: Path) -> None:
    environ = {"MINIVOICE_TIMEOUTS_GRACE": "60"}
    async with lab(tmp_path).node("machine", **environ) as node, AsyncExitStack() as kept:
        node.process.send_signal(signal.SIGHUP)
        await until(lambda: len(node.lines("streams", "certificate")) == 2)
        idle: dict[str, trio.SocketStream] = {}
        while len(idle) < 2:
            connection = await kept.enter_async_context(await connect(node))
            idle[await asked(connection)] = connection
        async with node.stream("call_1") as caller:
            await until(lambda: started(node, "call_1"))
            node.process.send_signal(signal.SIGTERM)
            for connection in idle.values():
                with trio.fail_after(10):
                    assert await connection.receive_some() == b""  # who drains closes it
            node.process.send_signal(signal.SIGTERM)
            with trio.fail_after(10):
                assert await caller.close_code() == 1001
        with trio.fail_after(20):
            assert await node.process.wait() == 0


async def test_a_sighup_ends_no_worker_that_is_about_to_begin_and_reaches_it_later(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path).node("machine") as node:
        names = {"worker-1", "worker-2"}
        await all_answer(node, names)
        before = children(node.process.pid)
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: set(children(node.process.pid)) - set(before))
        (new,) = set(children(node.process.pid)) - set(before)
        node.process.send_signal(signal.SIGHUP)
        await until(
            lambda: {line["node"] for line in node.lines("streams", "certificate")} == names
        )
        assert new in children(node.process.pid)


async def connect(node: Node) -> trio.SocketStream:
    host, _, port = node.base.removeprefix("http://").rpartition(":")
    return await trio.open_tcp_stream(host, int(port))


async def asked(connection: trio.SocketStream) -> str:
    """Ask for /health on a connection that stays open; which worker it is at."""
    await connection.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    said = b""
    with trio.fail_after(10):
        await trio.lowlevel.checkpoint()
        while not said.endswith(b"}\n"):
            said += await connection.receive_some()
    return str(json.loads(said.partition(b"\r\n\r\n")[2])["node"])


async def test_workers_drain_when_their_parent_is_killed(tmp_path: Path) -> None:
    async with lab(tmp_path).node("machine") as node:
        workers = children(node.process.pid)
        node.process.kill()
        await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in workers))


async def test_workers_that_outlive_their_parent_are_told_of_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with (
        lab(tmp_path).node("machine", MINIVOICE_TIMEOUTS_GRACE="30") as node,
        node.stream("call_1"),
    ):
        await until(lambda: started(node, "call_1"))
        workers = children(node.process.pid)
        node.process.kill()
        await node.process.wait()
        ended = await trio.to_thread.run_sync(
            lambda: start(tmp_path / "machine", MINIVOICE_LISTEN="127.0.0.1:0")
        )
        assert ended.returncode and "has still a worker that drains" in ended.stderr
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def start(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    given = {
        "MINIVOICE_WORKERS": "2",
        "MINIVOICE_PLAIN": "1",
        "MINIVOICE_DATA": str(folder),
        "NODE": "x",
        "HANDLED": str(folder / "handled"),
    }
    return subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, **given, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_an_address_in_use_a_folder_in_use_and_a_worker_that_cannot_start_are_told(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = await trio.to_thread.run_sync(
            lambda: start(tmp_path / "a", MINIVOICE_LISTEN=address)
        )
    assert ended.returncode and f"listen: {address} cannot be opened" in ended.stderr
    async with lab(tmp_path).node("machine"):
        ended = await trio.to_thread.run_sync(
            lambda: start(tmp_path / "machine", MINIVOICE_LISTEN="127.0.0.1:0")
        )
    assert ended.returncode and "is in use by another receiver" in ended.stderr
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "inbox.sqlite3").write_bytes(b"this is no database" * 100)
    ended = await trio.to_thread.run_sync(
        lambda: start(tmp_path / "b", MINIVOICE_LISTEN="127.0.0.1:0")
    )
    assert ended.returncode and "ended with 1 before its doors were open" in ended.stderr


async def test_shared_doors_stand_at_every_address_of_a_name_and_none_is_left_open() -> None:
    port = free_port()
    first = await listen_shared("localhost", port)
    second = await listen_shared("localhost", port)
    assert len(first) == len(second) >= 1
    for listener in (*first, *second):
        await listener.aclose()
    with pytest.raises(OSError):
        await listen_shared("192.0.2.1", port)
