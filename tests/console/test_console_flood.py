"""Floods at the console: what strangers cause there is told a few times, and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from console_lab import HOST, ConsoleLab, open_console_lab

from minivoice_ref.config import Limits
from minivoice_ref.console import Console
from minivoice_ref.net.http import Request, Response

OWN_DOOR = ("127.0.0.1", 81)
ASK = b"GET /console/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def told(lab: ConsoleLab, door: tuple[str, int], request: bytes) -> bytes:
    """The status that a stranger reads who makes one request."""
    async with await lab.network.connect(*door, False) as stream:
        await stream.send_all(request)
        return bytes(await stream.receive_some()).split(b" ")[1]


@pytest.mark.parametrize(
    ("own_door", "request_", "status"),
    [(False, ASK, 401), (True, ASK, 401), (True, b"no HTTP\r\n\r\n", 400)],
)
async def test_strangers_at_the_console_cannot_flood_the_log(
    own_door: bool,
    request_: bytes,
    status: int,
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
) -> None:
    changes: dict[str, Any] = {"console_listen": "127.0.0.1:81"} if own_door else {}
    async with open_console_lab(tmp_path, **changes) as lab:
        for _ in range(2):
            for _ in range(80):
                door = OWN_DOOR if own_door else (HOST, 80)
                assert int(await told(lab, door, request_)) == status
            await trio.sleep(61)
        said = await lab.lines("streams", "console_refused")
        assert len(said) == 100 and {line["status"] for line in said} == {status}
        assert [line["left_out"] for line in said if "left_out" in line] == [30]


async def test_a_limit_at_a_door_of_its_own_is_told_once_and_counted(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    limits = Limits(connections=1)
    async with open_console_lab(tmp_path, console_listen="127.0.0.1:81", limits=limits) as lab:
        async with await lab.network.connect(*OWN_DOOR, False):
            assert [await told(lab, OWN_DOOR, ASK) for _ in range(3)] == [b"503"] * 3
        (line,) = await lab.lines("streams", "limit")
        assert (line["limit"], line["code"], line["refused"]) == ("connections", "MV-314", 1)
        health = json.loads((await lab.request("GET", "/health")).body)
        assert health["refused"] == {"connections": 3}


async def test_a_fault_of_ours_at_a_door_of_its_own_is_told_with_its_place(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(console: Console, request: Request) -> Response:
        raise RuntimeError("a slip of ours")

    monkeypatch.setattr(Console, "_answer", fail)
    async with open_console_lab(tmp_path, console_listen="127.0.0.1:81") as lab:
        assert await told(lab, OWN_DOOR, ASK) == b"500"
        (line,) = await lab.lines("streams", "console_refused")
        assert (line["kind"], line["error"]) == ("failed", "RuntimeError: a slip of ours")
        assert "in fail" in line["traceback"]
