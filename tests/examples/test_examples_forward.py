"""forward.py: a service that is slow, gone or broken costs audio, which is counted, and no call."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from examples_lab import load, run, running

from minivoice_ref import Frame, MediaFormat

forward = load("forward")
PEER = Path(__file__).with_name("aiohttp_recogniser.py")
FRAME = 160  # samples


def frame(number: int) -> Frame:
    return Frame("inbound", FRAME * number, bytes(2 * FRAME), MediaFormat("l16le"))


def new_way(url: str, on_result: Callable[[str], None] = lambda result: None) -> Any:
    return forward.Way(url, 8000, on_result)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        await trio.lowlevel.checkpoint()
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def test_it_runs_and_survives_its_moody_service(tmp_path: Path) -> None:
    told = run("forward.py", cwd=tmp_path)
    assert told.count("closed by the peer with 1011") == 1 and "status 503" in told
    sums = re.findall(r"bound: (\d+) samples sent, (\d+) dropped, (\d) connections", told)
    assert sorted(connections for _, _, connections in sums) == ["1", "2"]
    assert all(int(sent) + int(dropped) >= 39000 for sent, dropped, _ in sums), told
    assert "PASS" in told


def test_a_server_of_another_framework_hears_every_sample(tmp_path: Path) -> None:
    with running(PEER, "0") as port:
        told = run("forward.py", f"ws://127.0.0.1:{port}", cwd=tmp_path)
    sent = dict(re.findall(r"(\w+): (\d+) samples sent, 0 dropped, 1 connections", told))
    for track in ("inbound", "outbound"):
        assert f"{2 * int(sent[track])} bytes at 8000" in told, told
        assert int(sent[track]) >= 39000


async def test_after_a_break_it_connects_again_and_goes_on() -> None:
    results: list[str] = []
    with running(PEER, "0", str(2 * FRAME * 10)) as port:
        way = new_way(f"ws://127.0.0.1:{port}", results.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            for number in range(10):
                way.put(frame(number))
            await until(lambda: len(way.failures) == 1)
            for number in range(10, 30):
                way.put(frame(number))
            way.finish()
    assert way.connections == 2 and "1006" in way.failures[0]
    assert results == ['{"text": "%d bytes at 8000"}' % (2 * FRAME * 20)]
    assert (way.sent, way.dropped, way.waiting) == (FRAME * 30, 0, 0)


async def test_while_the_service_is_gone_the_oldest_audio_is_dropped_and_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    results: list[str] = []
    way = new_way(f"ws://127.0.0.1:{port}", results.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(way.run)
        for number in range(1000):  # 20 s
            way.put(frame(number))
        await until(lambda: len(way.failures) == 2)
        assert (way.waiting, way.dropped) == (5 * 8000, 15 * 8000)
        with running(PEER, port) as printed:
            assert printed == port
            await until(lambda: way.waiting == 0)
            way.finish()
            await until(lambda: bool(results))
    assert (way.sent, way.connections) == (5 * 8000, 1)
    assert results == ['{"text": "80000 bytes at 8000"}']


async def fill_until_it_fails(way: Any) -> None:
    with trio.fail_after(20):
        await trio.lowlevel.checkpoint()
        while not way.failures:  # noqa: ASYNC110
            for number in range(100):
                way.put(frame(number))
            await trio.sleep(0.001)


async def test_a_service_that_takes_nothing_is_left_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadlines = forward.Timeouts(connect=5, upgrade=5, send=0.2, close=0.2)
    monkeypatch.setattr(forward, "DEADLINES", deadlines)
    with running(PEER, "0", "deaf") as port:
        way = new_way(f"ws://127.0.0.1:{port}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.run)
            await fill_until_it_fails(way)
            way.finish()
            await until(lambda: way.connections == 2 and way.waiting == 0)
    assert way.dropped > 0 and way.sent > 0


@pytest.mark.parametrize(
    "said", [b"", b"what?\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\nx", b"\xff" * 100_000], ids=len
)
async def test_a_service_that_talks_nonsense_is_a_failure_like_any_other(said: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(said)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, talk, [listener])
        way = new_way(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}")
        way.put(frame(0))
        nursery.start_soon(way.run)
        await until(lambda: len(way.failures) == 2)
        nursery.cancel_scope.cancel()
    way.give_up()
    assert (way.sent, way.dropped, way.waiting) == (0, FRAME, 0)
