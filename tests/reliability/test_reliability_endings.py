"""A thousand streams, of every ending there is, leave nothing behind."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import trio
from reliability_lab import FRAME, Caller, Receiver, Tell, event, running

from minivoice_ref.certificates import make_certificates
from minivoice_ref.net.upgrade import UpgradeRefused
from minivoice_ref.receiver import endings

STREAMS, AT_ONCE = 1000, 24
WAYS = (
    "stop",
    "abandon",  # opened, and gone without a word
    "break",
    "leave",
    "leave-failed",
    "hang-up",
    "too-big",
    "too-fast",
    "say-nothing",
    "fall-silent",
    "answer-no-ping",
    "go-on",
    "refused",
    "application-raise",
    "application-close",
    "application-abort",
)
TIMEOUTS = {
    "linger": 0.05,
    "first_message": 0.3,
    "silence": 1.0,
    "ping_every": 0.2,
    "pong": 0.2,
    "longest_stream": 3.0,
    "grace": 0.5,
}


async def end_one(receiver: Receiver, number: int) -> None:
    """One stream, which ends in one of the ways."""
    way = WAYS[number % len(WAYS)]
    name = f"call_{number}-{way.removeprefix('application-')}"
    url = await receiver.stream_url(name)
    if way == "refused":
        with pytest.raises(UpgradeRefused):
            async with receiver.stream(name, url[:-2]):
                pass
        return
    transport = "fast" if way == "answer-no-ping" else "simple"
    async with receiver.stream(name, url, transport) as caller:
        if way == "abandon":
            return await caller.socket.abort()
        with caller.until_closed():
            if way != "say-nothing":
                await caller.start()
                await caller.speak(2)
                await _end(receiver, caller, way)
        await caller.close_code()


async def _end(receiver: Receiver, caller: Caller, way: str) -> None:
    socket = caller.socket
    await trio.lowlevel.checkpoint()
    if way == "stop":
        await caller.stop()
    elif way == "break":
        await socket.abort()
    elif way == "leave":
        await socket.close(1000)
    elif way == "leave-failed":
        await socket.send(FRAME)
        await socket.close(1011, "failed")
    elif way == "hang-up":
        await receiver.deliver(event(caller.call_id.removeprefix("call_")))
    elif way == "too-big":
        await socket.send("x" * 70000)
    elif way == "too-fast":
        await _speak_until_it_ends(caller, 20)
    elif way == "answer-no-ping":
        await trio.sleep(0.8)  # nothing is read, so nothing is answered
    elif way == "go-on":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_speak_until_it_ends, caller, 1)
            await caller.close_code()


async def _speak_until_it_ends(caller: Caller, frames: int) -> None:
    spoken = 2
    await trio.lowlevel.checkpoint()
    with caller.until_closed():
        while True:
            await caller.speak(frames, first=spoken)
            spoken += frames
            await trio.sleep(0.1)


def every_ending() -> set[str]:
    """The names of all endings, as the table of `endings.py` lists them."""
    names = set(re.findall(r"^    `(\w+)`  ", endings.__doc__ or "", re.M))
    assert len(names) == 14
    return names - {"failed"}  # a fault of ours: there is none to be had


async def test_a_thousand_streams_of_every_ending_leave_nothing_behind(
    tmp_path: Path, tell_figure: Tell
) -> None:
    """Descriptors and threads by the system's count, tasks by Trio's; over TLS, recorded."""
    files = make_certificates(tmp_path / "certificates")
    settings: dict[str, Any] = {
        "tls_cert": str(files.cert),
        "tls_key": str(files.key),
        "ca": files.ca,
        "record": True,
        "capture": True,
        "timeouts": TIMEOUTS,
        "limits": {"message_rate": 12},
    }
    with trio.fail_after(180):
        async with running(tmp_path / "data", "end_by_name", **settings) as receiver:

            def accounts() -> int:
                return len(receiver.lines("streams", "account"))

            await end_one(receiver, 0)
            await receiver.until(lambda: accounts() == 1 and receiver.threads() == 1)
            before = receiver.open_files(), await receiver.tasks()
            numbers = iter(range(STREAMS))

            async def some() -> None:
                await trio.lowlevel.checkpoint()
                for number in numbers:
                    await end_one(receiver, number)

            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(some)
            refused = len(range(WAYS.index("refused"), STREAMS, len(WAYS)))
            await receiver.until(lambda: accounts() == STREAMS - refused + 1, 60)
            await receiver.until(lambda: receiver.threads() == 1, 30)
            await receiver.until(lambda: receiver.open_files() <= before[0], 30)
            after = receiver.open_files(), await receiver.tasks()
            assert after == before
            assert (await receiver.health())[1]["streams"] == 0
            async with receiver.stream("call_last") as caller:
                await caller.start()
                receiver.process.send_signal(signal.SIGTERM)
                with trio.move_on_after(10):
                    await _speak_until_it_ends(caller, 1)
                assert await caller.close_code() == 1001
            assert await receiver.process.wait() == 0
    hows = Counter(line["how"] for line in receiver.lines("streams", "disconnected"))
    assert set(hows) == every_ending()
    assert not [x for x in receiver.lines("streams", "connection") if x["code"] == "MV-701"]
    told = f"{STREAMS} streams, {len(hows)} endings: {before[0]} descriptors and {before[1]} tasks"
    tell_figure(f"{told} before and after, 1 thread")
