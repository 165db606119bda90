"""Records all that the simulator sends, byte for byte and with its time.

Two things would differ from one run to the next for good reason: the WebSocket's key and its masks,
which must be unpredictable, and the time of day. The latter is virtual here; whoever compares runs
uses `without_chance` as well.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
import trio
from simulator_lab import ANSWER_URL, WEBHOOK_URL, Lab

from minivoice_ref.net.connect import Connector
from minivoice_ref.simulator.call import CallPlan, place_call
from minivoice_ref.simulator.fault import Fault
from minivoice_ref.simulator.report import CallReport

WALL = 1_780_000_000.0
SECRET = "the-secret-of-this-test"

Sent = list[tuple[float, bytes]]


class _Recorded(trio.abc.Stream):
    """A byte stream that keeps what is sent, with the time, and when it was closed."""

    def __init__(self, below: trio.abc.Stream, sent: Sent) -> None:
        self._below = below
        self._sent = sent
        self._closed = False
        self._began = trio.current_time()

    def _keep(self, data: bytes) -> None:
        if not self._closed:
            self._sent.append((round(trio.current_time() - self._began, 6), data))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._keep(bytes(data))
        await self._below.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._below.receive_some(max_bytes)

    async def aclose(self) -> None:
        self._keep(b"(closed)")
        self._closed = True
        await self._below.aclose()


class Recorder:
    """A Connector that records each connection made through it."""

    def __init__(self, below: Connector) -> None:
        self._below = below
        self._connections: list[Sent] = []

    async def connect(self, host: str, port: int, tls: bool) -> trio.abc.Stream:
        sent: Sent = []
        self._connections.append(sent)
        return _Recorded(await self._below(host, port, tls), sent)

    def sent(self) -> list[Sent]:
        """What was sent, by connection; in an order that does not hang on Trio's scheduler."""
        return sorted(self._connections, key=lambda sent: [data for _, data in sent])

    def stream(self) -> Sent:
        """What was sent into the one stream."""
        (sent,) = [sent for sent in self._connections if sent and b"Upgrade" in _head(sent)]
        return sent


def _head(sent: Sent) -> bytes:
    return b"".join(data for _, data in sent[:20])


def wall_clock() -> float:
    """Unix seconds that pass as virtual time does."""
    return WALL + trio.current_time()


def without_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operating system's chance, which makes keys and masks, be the same each time."""
    drawn = 0

    def urandom(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_128(b"%d" % drawn).digest(size)

    monkeypatch.setattr(os, "urandom", urandom)


async def faulty_call(lab: Lab, *faults: Fault, **changes: Any) -> tuple[CallReport, Recorder]:
    """Place a call with *faults* at the lab's application, and record it."""
    settings: dict[str, Any] = {
        "answer_url": ANSWER_URL,
        "webhook_url": WEBHOOK_URL,
        "webhook_secret": SECRET,
        "call_id": "call_1",
        "seed": 7,
        "speak": 2.0,
        "faults": faults,
    }
    recorder = Recorder(lab.network.connect)
    plan = CallPlan(**(settings | changes))
    report = await place_call(
        plan, connect=recorder.connect, observe=lab.moments.append, clock=wall_clock
    )
    return report, recorder
