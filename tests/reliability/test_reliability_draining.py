"""Draining with fifty live streams: nothing new, nobody cut early, every file whole."""

from __future__ import annotations

import signal
import wave
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from reliability_lab import Caller, Receiver, Tell, event, running

from minivoice_ref.net.upgrade import UpgradeRefused

STREAMS, FRAMES = 50, 10


async def open_streams(receiver: Receiver, stack: AsyncExitStack) -> list[Caller]:
    """Open them all, each with its first frames."""
    callers = []
    for number in range(STREAMS):
        caller = await stack.enter_async_context(receiver.stream(f"call_{number}"))
        await caller.start()
        await caller.speak(FRAMES)
        callers.append(caller)
    await receiver.until(lambda: len(receiver.lines("streams", "first_media")) == STREAMS)
    return callers


def assert_files_are_whole(receiver: Receiver) -> None:
    """Each stream has its account, and a WAV with as many samples as the account tells of."""
    accounts = receiver.lines("streams", "account")
    assert len(accounts) == STREAMS
    for account in accounts:
        samples = account["tracks"]["inbound"]["received"]
        assert samples == FRAMES * 160
        with wave.open(account["recording"]) as file:
            assert file.getnframes() == samples == len(file.readframes(10**6)) // 4


async def test_draining_refuses_new_streams_lets_calls_end_and_cuts_at_the_deadline(
    tmp_path: Path, tell_figure: Tell
) -> None:
    settings: dict[str, Any] = {"record": True, "timeouts": {"grace": 3.0, "linger": 0.1}}
    with trio.fail_after(180):
        async with running(tmp_path / "data", **settings) as receiver, AsyncExitStack() as stack:
            callers = await open_streams(receiver, stack)
            url = await receiver.stream_url("call_new")
            began = trio.current_time()
            receiver.process.send_signal(signal.SIGTERM)
            with pytest.raises(UpgradeRefused) as refused:
                while True:  # until the signal has arrived
                    async with receiver.stream("call_new", url) as caller:
                        await caller.socket.abort()
            assert refused.value.status == 503
            status, health = await receiver.health()
            assert status == 503 and health["troubles"] == ["about to stop: no new streams"]
            for caller in callers[:20]:
                await caller.stop()
            assert [await caller.close_code() for caller in callers[:20]] == [1000] * 20
            # What ends a call is still heard, and ends its stream.
            for number in range(20, 30):
                assert await receiver.deliver(event(number)) == 200
            assert [await caller.close_code() for caller in callers[20:30]] == [1000] * 10
            assert [await caller.close_code() for caller in callers[30:]] == [1001] * 20
            assert await receiver.process.wait() == 0
            took = trio.current_time() - began
            assert 2.9 <= took < 10
    assert_files_are_whole(receiver)
    tell_figure(
        f"20 stop, 10 end with their calls, 20 hear 1001; a grace of 3 s, exit 0 after {took:.1f} s"
    )


async def test_the_second_signal_ends_it_at_once_and_files_are_whole(
    tmp_path: Path, tell_figure: Tell
) -> None:
    settings: dict[str, Any] = {"record": True, "timeouts": {"grace": 60.0}}
    with trio.fail_after(180):
        async with running(tmp_path / "data", **settings) as receiver, AsyncExitStack() as stack:
            callers = await open_streams(receiver, stack)
            receiver.process.send_signal(signal.SIGTERM)
            with trio.fail_after(30):
                while (await receiver.health())[0] != 503:  # noqa: ASYNC110
                    await trio.sleep(0.05)
            receiver.process.send_signal(signal.SIGTERM)
            began = trio.current_time()
            assert [await caller.close_code() for caller in callers] == [1001] * STREAMS
            with trio.fail_after(30):
                assert await receiver.process.wait() == 0
            took = trio.current_time() - began
    assert_files_are_whole(receiver)
    tell_figure(f"50 streams: 1001, 50 WAVs and accounts, exit 0 after {took:.1f} s")
